"""Names that MicroPython has in its flash anyway, for what the firmware calls its own.

MicroPython keeps each name that it meets for good: its text and seven bytes more, in a table that grows by doubling. A
gateway has eight hundred names of functions, classes and attributes; the image of a Raspberry Pi Pico has nine hundred
in its flash, most of which no gateway uses (`IRQ_RISING`, `ldrex`). So ours take theirs; when those are used up, very
short ones. One name becomes one other, in all modules at once, so nothing else changes. What stands at the top of a
module and is not asked for from outside (no import, attribute, keyword or class member anywhere is called so) shares
its name with its like in other modules: a few dozen names do for four hundred. Which is which is written down beside
the compiled files ("module:name" for the shared ones): a traceback names file and line of the real source, but the
function by its other name.

A name is left as it is when it may mean something to others than us:

- it is not ours: no module defines it, or MicroPython knows it (data/micropython_names.txt);
- it is the name of a module or of an exception: logs say these;
- it stands in a string: `getattr` may ask for it. "time set" is taken for `time_set` too, "wi-fi" for `_wifi`.
"""

from __future__ import annotations

import ast
import builtins
import io
import keyword
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, count, product
from pathlib import Path

from host_tools.image.app.trees import walk

DATA = Path(__file__).parent / "data" / "micropython_names.txt"
SIGNS = "abcdefghijklmnopqrstuvwxyz"
# What MicroPython's C code asks objects for that we hand to it, and what its own types have.
ASKED_FOR = {
    "asm_pio_encode", "chdir", "getcwd", "ilistdir", "ioctl", "irq", "mkdir", "mount", "open", "pend_throw", "read",
    "readblocks", "readinto", "readline", "remove", "rename", "rmdir", "setblocking", "stat", "statvfs", "sync",
    "umount", "value", "errno", "write", "writeblocks", "send", "throw", "close",
}  # fmt: skip
# What the compiler takes for more than a name.
SPECIAL = {"const", "micropython", "native", "viper", "bytecode", "OrderedDict", "errno", "math", "uctypes"}
SPECIAL |= set(keyword.softkwlist)
OF_TYPES = set(chain(*map(dir, (str, bytearray, list, dict, set, int, OSError, memoryview))))


def give(sources: dict[str, str], roots: tuple[str, ...] = ("main",)) -> tuple[dict[str, str], dict[str, str]]:
    """The same modules (dotted name → source) with other names in them, and what each new name stands for. What is
    needed first, by way of the imports from `roots`, gets the best names; what is at their top keeps its own."""
    in_rom, elsewhere = _of_micropython()
    trees = {name: ast.parse(text) for name, text in sources.items()}
    words = {name: set(_names(text)) for name, text in sources.items()}
    fixed = in_rom | elsewhere | set(dir(builtins)) | set(keyword.kwlist)
    fixed |= {part for name in sources for part in name.split(".")}
    fixed |= {bound for root in roots for bound in _bound(trees[root].body)}
    fixed |= _exceptions(trees.values())
    said = set().union(*map(_said, trees.values()))
    taken = set().union(*words.values())
    free = sorted(in_rom - taken - said - ASKED_FOR - SPECIAL - OF_TYPES - set(dir(builtins)))
    short = (sign for sign in _signs() if sign not in taken | fixed | said)
    names = chain(free, short)
    others = set(chain(fixed, said, *map(_asked_from_outside, trees.values())))
    inner = {module: _inner(tree, others) for module, tree in trees.items()}
    shared = [next(names) for _ in range(max(map(len, inner.values()), default=0))]
    local = {module: dict(zip(inner[module], shared)) for module in trees}
    new: dict[str, str] = {}
    ours = {name for tree in trees.values() for name in _defined(tree)}
    for module in _in_order(trees, roots):
        for name in sorted((words[module] & ours).difference(local[module])):
            if name not in new and name not in fixed and not name.startswith("__") and name not in said:
                new[name] = next(names)
    stands_for = {short: name for name, short in new.items()}
    stands_for |= {f"{module}:{local[module][name]}": name for module in trees for name in local[module]}
    return {name: _renamed(text, {**new, **local[name]}) for name, text in sources.items()}, stands_for


def functions(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """ "module:name" → what a function that has another name now was called; "one or other" where several have it."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, text in after.items():
        for old, new in zip(walk(ast.parse(before[module])), walk(ast.parse(text)), strict=True):
            if isinstance(new, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert isinstance(old, (ast.FunctionDef, ast.AsyncFunctionDef))
                if old.name != new.name:
                    found[f"{module}:{new.name}"].add(old.name)
    return {name: " or ".join(sorted(functions)) for name, functions in found.items()}


def _inner(tree: ast.Module, others: set[str]) -> list[str]:
    """Names at the top of a module that nobody outside asks it for."""
    return sorted(name for name in set(_bound(tree.body)) - others if not name.startswith("__"))


def _asked_from_outside(tree: ast.Module) -> Iterator[str]:
    """Names by which a module may ask another one, an object or a function for something, and those of class members,
    which subclasses have too."""
    for node in walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield from (alias.name, alias.asname or "")
        elif isinstance(node, ast.ClassDef):
            yield from _bound(node.body)


def _of_micropython() -> tuple[set[str], set[str]]:
    """The names in its flash, and the others that it knows."""
    _, in_rom, elsewhere = re.split(r"^\[.*\]$", re.sub(r"^#.*$", "", DATA.read_text("utf-8"), flags=re.M), flags=re.M)
    return set(in_rom.split()), set(elsewhere.split())


def _signs() -> Iterator[str]:
    """aa, ab, … each once."""
    for length in count(2):
        yield from map("".join, product(SIGNS, repeat=length))


def _names(text: str) -> Iterator[str]:
    return (
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.NAME
    )


def _defined(tree: ast.Module) -> Iterator[str]:
    """Names that a module gives to something, local variables aside: those cost a board nothing."""
    yield from _bound(tree.body)
    for node in walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from _bound(node.body)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Global):
            yield from node.names


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Names that the statements of a module or class bind."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        else:
            yield from (n.id for n in walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def _said(tree: ast.AST) -> set[str]:
    """Names that a module's strings may be meant to find."""
    found: set[str] = set()
    docstrings = {id(node.value) for node in walk(tree) if isinstance(node, ast.Expr)}
    for node in walk(tree):
        if isinstance(node, ast.JoinedStr):  # before Python 3.12 nobody knows where the names in it stand
            found.update(
                n.id if isinstance(n, ast.Name) else n.attr
                for n in walk(node)
                if isinstance(n, (ast.Name, ast.Attribute))
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text = node.value
            found |= {text, text.replace(" ", "_"), "_" + text.replace("-", "")}
    return found


def _exceptions(trees: Iterable[ast.Module]) -> set[str]:
    """Names of all exceptions: those that are built in and those that inherit from them."""
    classes = [node for tree in trees for node in walk(tree) if isinstance(node, ast.ClassDef)]
    found: set[str] = set()
    more = {name for name, each in vars(builtins).items() if isinstance(each, type) and issubclass(each, BaseException)}
    while more - found:
        found |= more
        more = {
            node.name
            for node in classes
            if found & {n.id for b in node.bases for n in walk(b) if isinstance(n, ast.Name)}
        }
    return found


def _in_order(trees: dict[str, ast.Module], roots: tuple[str, ...]) -> list[str]:
    """All modules: first those that the roots lead to by the fewest imports inside of functions."""
    steps = dict.fromkeys(roots, 0)
    waiting = [(root, 0) for root in roots]
    while waiting:
        name, step = waiting.pop(0)
        if steps.get(name, step) < step:
            continue
        for other, inside in _imports(name, trees):
            if step + inside < steps.get(other, 1 << 30):
                steps[other] = step + inside
                waiting.append((other, step + inside))
    return sorted(trees, key=lambda name: (steps.get(name, 1 << 30), name))


def _imports(module: str, trees: dict[str, ast.Module]) -> Iterator[tuple[str, bool]]:
    """Modules that one may import, and whether only inside of a function."""
    package = module if any(name.startswith(module + ".") for name in trees) else module.rpartition(".")[0]
    at_top = {id(node) for node in trees[module].body}
    for node in walk(trees[module]):
        wanted: list[str] = []
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (package if node.level else "", node.module)))
            wanted = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from ((name, id(node) not in at_top) for name in wanted if name in trees)


def _renamed(text: str, new: dict[str, str]) -> str:
    lines = text.splitlines(keepends=True)
    changes: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in new:
            changes[token.start[0] - 1].append((token.start[1], token.end[1], new[token.string]))
    for row, found in changes.items():
        for start, end, name in reversed(found):
            lines[row] = lines[row][:start] + name + lines[row][end:]
    return "".join(lines)

"""Source of the firmware without what a board pays for and never uses; what is left behaves the same.

MicroPython keeps in its heap every function, every name and every constant of a module, used or not, and one name takes
some twenty bytes for good. The library is written for both sides, so half of some files (a decoder, the hub's half of a
receipt) is never run on a gateway. Given all modules of one firmware, this takes out of them

- functions, classes, constants and imports at the top of a module that nothing leads to from `main`;
- whole-number constants: the number stands where the name stood, in other modules too;
- the names of parameters that no call gives by keyword: they become one letter.

Lines stay where they are, so that a traceback points into the real source. What is looked up by a name in a string
must not be at the top of a module; that is the one rule this asks for (attributes and methods are left alone).
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from itertools import chain
from typing import Any

from host_tools.image.app.trees import children, walk

WITH_OWN_NAMES = ("hal.rp2.names_in_place",)  # no other module may have a parameter that is called like one of these
SMALL = 1 << 30  # a larger number is an object in the heap, and would be one at each place
PURE_CALLS = ("namedtuple", "bytes", "tuple", "len", "const")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
Reference = tuple[str, str]
"""Module and the name at its top; "" is the module itself."""


def shrink(sources: dict[str, str], roots: tuple[str, ...] = ("main",)) -> dict[str, str]:
    """Dotted name → source of every module that is needed, made smaller. `roots` are kept whole."""
    modules = {name: _Module(name, text, set(sources)) for name, text in sources.items()}
    numbers = _Numbers(modules)
    for module in modules.values():
        _inline(module, numbers)
    live = _live(modules, roots)
    keywords = {
        word.arg for m in modules.values() for node in walk(m.tree) if isinstance(node, ast.Call)
        for word in node.keywords if word.arg
    }  # fmt: skip
    found = {}
    for name, module in modules.items():
        if (name, "") in live:
            _drop(module, {wanted for m, wanted in live if m == name})
            if name not in WITH_OWN_NAMES:
                _rename_parameters(module, keywords)
            found[name] = module.text()
    return found


class _Module:
    """One module: its tree, what its names at the top are, and the edits to be made."""

    def __init__(self, name: str, text: str, known: set[str]):
        self.name = name
        self.source = text.encode()
        self.tree = ast.parse(text)
        self.rebound = {name for node in walk(self.tree) if isinstance(node, ast.Global) for name in node.names}
        self.known = known
        self.starts = [0]
        for line in self.source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.edits: dict[tuple[int, int], bytes] = {}
        self.inlined: set[ast.AST] = set()
        package = name.split(".")[:-1]
        if any(other.startswith(name + ".") for other in known):
            package = name.split(".")
        self.package = package
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.aliases: dict[str, Reference] = {}  # bound by an import at the top
        for statement in self.tree.body:
            for bound in _bound_by(statement):
                self.definitions.setdefault(bound, []).append(statement)
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                self.aliases.update(self.imported(statement))

    def imported(self, statement: ast.Import | ast.ImportFrom) -> dict[str, Reference]:
        """Bound name → what it is, for those that are of this firmware."""
        found: dict[str, Reference] = {}
        for alias in statement.names:
            bound = alias.asname or alias.name.split(".")[0]
            if isinstance(statement, ast.Import):
                target = alias.name if alias.asname else bound
                if target in self.known:
                    found[bound] = (target, "")
                continue
            base = self.package[: len(self.package) + 1 - statement.level] if statement.level else []
            dotted = ".".join([*base, *([statement.module] if statement.module else [])])
            if f"{dotted}.{alias.name}" in self.known:
                found[bound] = (f"{dotted}.{alias.name}", "")
            elif dotted in self.known:
                found[bound] = (dotted, alias.name)
        return found

    def replace(self, node: ast.AST, text: str):
        """Put `text` in a node's place, with as many line ends as it had."""
        at, end = self.span(node)
        lines = self.source[at:end].count(b"\n") - text.count("\n")
        self.edits[at, end] = text.encode() + b"\n" * lines

    def span(self, node) -> tuple[int, int]:
        """Where a node stands, decorators included."""
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        column = node.col_offset if first == node.lineno else 0
        return self.starts[first - 1] + column, self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self) -> str:
        """The source with all edits made; an edit within another is dropped with it."""
        out, at = [], 0
        for (start, end), new in sorted(self.edits.items(), key=lambda edit: (edit[0][0], -edit[0][1])):
            if start >= at:
                out += [self.source[at:start], new]
                at = end
        return b"".join([*out, self.source[at:]]).decode()


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top of a module binds."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
        return
    for node in walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)


def _locals_of(scope) -> set[str]:
    """Names that a function binds itself, nested functions not looked into."""
    found = {argument.arg for argument in walk(scope.args) if isinstance(argument, ast.arg)}
    elsewhere: set[str] = set()
    waiting: list[ast.AST] = [scope.body] if isinstance(scope, ast.Lambda) else list(scope.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            elsewhere.update(node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        if not isinstance(node, (*SCOPES, *COMPREHENSIONS)):  # these have names of their own
            waiting.extend(children(node))
    return found - elsewhere


def _global_uses(tree: ast.AST) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Every node in order, with the names that are not global there."""

    waiting: list[tuple[ast.AST, frozenset[str]]] = [(tree, frozenset())]
    below: list[tuple[ast.AST, frozenset[str]]]
    while waiting:
        node, hidden = waiting.pop()
        yield node, hidden
        if isinstance(node, SCOPES):
            outside: list[ast.AST] = [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]
            outside += getattr(node, "decorator_list", [])
            inside = hidden | _locals_of(node)
            body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
            below = [(child, hidden) for child in outside] + [(child, inside) for child in body]
        elif isinstance(node, ast.ClassDef):
            bound = {name for statement in node.body for name in _bound_by(statement)}
            below = [(child, hidden) for child in chain(node.bases, node.keywords, node.decorator_list)]
            for child in node.body:
                # A method does not see what its class binds.
                below.append((child, hidden if isinstance(child, SCOPES) else hidden | bound))
        else:
            inside = hidden
            if isinstance(node, COMPREHENSIONS):
                inside = hidden | {n.id for g in node.generators for n in walk(g.target) if isinstance(n, ast.Name)}
            below = [(child, inside) for child in children(node)]
        waiting += reversed(below)


# Numbers.


class _Numbers:
    """The whole-number constants of all modules: bound once, at the top, to a small number."""

    def __init__(self, modules: dict[str, _Module]):
        self._modules = modules
        self._known: dict[Reference, int | None] = {}

    def of(self, reference: Reference) -> int | None:
        """The number, or None where that is no such constant."""
        if reference not in self._known:
            self._known[reference] = None  # while it is looked for: a circle is no number
            self._known[reference] = self._find(*reference)
        return self._known[reference]

    def _find(self, name: str, constant: str) -> int | None:
        module = self._modules.get(name)
        bound = module.definitions.get(constant, []) if module else []
        if not module or len(bound) != 1:
            return None
        statement = bound[0]
        if isinstance(statement, ast.ImportFrom):
            return self.of(module.aliases[constant]) if constant in module.aliases else None
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            return self._of_many(module, statement, constant)
        return None if constant in module.rebound or len(statement.targets) > 1 else self.value(module, statement.value)

    def _of_many(self, module, statement, constant):
        """A constant of `A, B = 1, 2`."""
        if not isinstance(statement, ast.Assign) or len(statement.targets) > 1:
            return None
        target, value = statement.targets[0], statement.value
        if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple) or len(target.elts) != len(value.elts):
            return None
        for left, right in zip(target.elts, value.elts):
            if isinstance(left, ast.Name) and left.id == constant:
                return self.value(module, right)
        return None

    def value(self, module: _Module, node: ast.AST) -> int | None:
        """What an expression of numbers and constants comes to."""
        if isinstance(node, ast.Constant):
            return node.value if type(node.value) is int and node.value < SMALL else None
        if isinstance(node, ast.Name):
            return self.of((module.name, node.id))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            target = module.aliases.get(node.value.id)
            return self.of((target[0], node.attr)) if target and not target[1] else None
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            operand = self.value(module, node.operand)
            return None if operand is None else -operand
        if isinstance(node, ast.BinOp):
            left, right = self.value(module, node.left), self.value(module, node.right)
            if left is None or right is None or not isinstance(node.op, tuple(_OPERATIONS)):
                return None
            number = _OPERATIONS[type(node.op)](left, right)
            return number if abs(number) < SMALL else None
        return None


_OPERATIONS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.LShift: lambda a, b: a << min(b, 64),
    ast.BitOr: lambda a, b: a | b,
}


def _inline(module: _Module, numbers: _Numbers):
    """Write the number wherever a constant is used."""
    for node, hidden in _global_uses(module.tree):
        number = None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in hidden:
            number = numbers.of((module.name, node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
            if node.value.id not in hidden:
                number = numbers.value(module, node)
        elif isinstance(node, ast.ImportFrom) and node not in module.tree.body:
            # Inside a function: the name becomes local, so its uses there are replaced here and now.
            _inline_local_import(module, numbers, node)
        if number is not None:
            module.replace(node, str(number) if number >= 0 else f"({number})")
            module.inlined.update(walk(node))


def _inline_local_import(module, numbers, statement):
    found = {
        bound: number
        for bound, reference in module.imported(statement).items()
        if (number := numbers.of(reference)) is not None
    }
    if not found:
        return
    scope = next(
        node for node in walk(module.tree)
        if isinstance(node, SCOPES) and any(child is statement for child in walk(node))
    )  # fmt: skip
    for node in walk(scope):
        if isinstance(node, ast.Name) and node.id in found and isinstance(node.ctx, ast.Load):
            module.replace(node, str(found[node.id]))
            module.inlined.add(node)
    _import_only(module, statement, {alias.asname or alias.name for alias in statement.names} - set(found))


def _import_only(module: _Module, statement: ast.Import | ast.ImportFrom, wanted: set[str]):
    """Leave only the wanted names of an import."""
    names = [alias for alias in statement.names if (alias.asname or alias.name.split(".")[0]) in wanted]
    if len(names) < len(statement.names):
        fields: dict[str, Any] = {**vars(statement), "names": names}
        kept = ast.copy_location(type(statement)(**fields), statement)
        text = ast.unparse(kept) if names else "" if statement in module.tree.body else "pass"
        statement.names = names
        module.replace(statement, text)


# What is needed.


def _live(modules: dict[str, _Module], roots: tuple[str, ...]) -> set[Reference]:
    """All that the roots lead to."""
    live: set[Reference] = set()
    waiting: list[Reference] = [(root, "*") for root in roots]
    while waiting:
        reference = waiting.pop()
        name, wanted = reference
        if name not in modules or reference in live:
            continue
        live.add(reference)
        module = modules[name]
        waiting.append((name, ""))
        parts = name.split(".")
        waiting += [(".".join(parts[:depth]), "") for depth in range(1, len(parts))]
        if not wanted:
            statements = [s for s in module.tree.body if not _may_go(s)]
        elif wanted == "*":
            statements = module.tree.body
            waiting += [(name, bound) for bound in module.definitions]
        else:
            statements = module.definitions.get(wanted, [])
        if wanted in module.aliases:
            waiting.append(module.aliases[wanted])
        for statement in statements:
            if not isinstance(statement, (ast.Import, ast.ImportFrom)):
                waiting += _references(module, statement)
            if isinstance(statement, ast.AugAssign):  # `A += 1` needs the A before it
                waiting += [(name, bound) for bound in _bound_by(statement)]
    return live


def _may_go(statement: ast.stmt) -> bool:
    """Whether a statement at the top of a module does nothing but bind names."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return not statement.decorator_list
    if not isinstance(statement, ast.Assign):
        return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    calls = [node for node in walk(statement.value) if isinstance(node, ast.Call)]
    names = [target for t in statement.targets for target in walk(t) if not isinstance(target, ast.expr_context)]
    return all(isinstance(n, (ast.Name, ast.Tuple)) for n in names) and all(
        isinstance(call.func, ast.Name) and call.func.id in PURE_CALLS for call in calls
    )


def _references(module: _Module, statement: ast.stmt) -> Iterator[Reference]:
    """What a statement that is needed leads to."""
    of_alias: set = set()
    for node, hidden in _global_uses(statement):
        if node in module.inlined:
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((name, wanted or "*") for name, wanted in module.imported(node).values())
            if isinstance(node, ast.Import):
                yield from ((alias.name, "*") for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id not in hidden:
            target = module.aliases.get(node.value.id)
            if target and not target[1]:
                of_alias.add(node.value)
                yield module.name, node.value.id
                yield target[0], node.attr
        elif isinstance(node, ast.Name) and node.id not in hidden and node not in of_alias:
            if not isinstance(node.ctx, ast.Load):
                continue
            target = module.aliases.get(node.id)
            if target and not target[1]:
                yield target[0], "*"  # the module itself is handed on
            yield module.name, node.id
        elif isinstance(node, ast.ClassDef):
            # `NAME = NAME` in a class: the one on the right is the module's.
            rows = [child for child in node.body if not isinstance(child, SCOPES)]
            yield from ((module.name, n.id) for row in rows for n in walk(row) if isinstance(n, ast.Name))
        elif isinstance(node, ast.Global):
            yield from ((module.name, name) for name in node.names)


def _drop(module: _Module, wanted: set[str]):
    """Take out of a module what is not needed."""
    if "*" in wanted:
        return
    for statement in module.tree.body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            ours = set(module.imported(statement))
            bound = {alias.asname or alias.name.split(".")[0] for alias in statement.names}
            _import_only(module, statement, (bound - ours) | (ours & wanted))
        elif _may_go(statement) and not wanted.intersection(_bound_by(statement)):
            module.replace(statement, "")
            module.inlined.update(walk(statement))


# Parameters.


def _rename_parameters(module: _Module, keywords: set[str]):
    """Give short names to parameters that no call names."""
    top = set(module.definitions)
    holders = [node for node in module.tree.body if isinstance(node, ast.ClassDef)]
    for node in [*module.tree.body, *(child for holder in holders for child in holder.body)]:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.decorator_list:
            _rename_in(module, node, keywords, top)


def _rename_in(module, function, keywords, top):
    inside = list(walk(function))
    names = {node.id for node in inside if isinstance(node, ast.Name)}
    parameters = [node.arg for node in inside if isinstance(node, ast.arg)]
    fixed = keywords | top | {"self", *dir(builtins)}
    for node in inside:  # names that stand where no edit reaches
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            fixed |= set(node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            fixed = fixed | {node.name}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            fixed = fixed | {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            fixed = fixed | {node.name}
        elif isinstance(node, ast.JoinedStr):
            fixed = fixed | {n.id for n in walk(node) if isinstance(n, ast.Name)}
    free = (letter for letter in LETTERS if letter not in names and letter not in parameters and letter not in top)
    short: dict[str, str] = {}
    for parameter in parameters:
        if parameter not in fixed and parameter not in short and len(parameter) > 1:
            letter = next(free, None)
            if letter is None:
                break
            short[parameter] = letter
    for node in inside:
        if isinstance(node, ast.Name) and node.id in short and node not in module.inlined:
            module.replace(node, short[node.id])
        elif isinstance(node, ast.arg) and node.arg in short:
            at, _ = module.span(node)
            module.edits[at, at + len(node.arg.encode())] = short[node.arg].encode()

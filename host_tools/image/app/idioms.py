"""What the firmware's source must not do, because the steps that make it small could not keep its meaning.

Those steps (shrink, private_names, firmware_names) rename and take away what they can see: a name where it stands in
the source. A program that finds a name in another way would change its meaning without an error. So the build stops at
each such place, by file and line, and says what to write instead. tests/host/test_idioms.py plants each.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from host_tools.image.app.trees import walk
from parkgate.errors import ParkgateError

SEES_NAMES = {"globals", "locals", "vars", "dir", "eval", "exec", "__import__"}
BY_NAME = {"getattr", "setattr", "hasattr", "delattr"}
# Module and function ("" at its top) → why the meaning stays: each was looked at. Names in strings keep their names.
ALLOWED = {
    ("parkgate.wire.batch", "__init__"): "Header: names of HEADER_FIELDS, which are strings",
    ("parkgate.meters.bus_statistics", "as_dict"): "names of NAMES, which are strings",
    ("gateway.loaded", "drop"): "names of modules, which keep theirs",
    ("mqtt", ""): "methods of umqtt, by strings",
    ("mqtt", "open"): "umqtt.socket is no number",
    ("tasks.console", "_handler"): "a command's words, which are a string in parkgate.console.line",
    ("tasks.console_change", "_stage"): "functions of settings.edit, which callers name by strings",
    ("tasks.console_test", "link_test"): "names of _STEPS, which are strings",
    ("hal.device.board", "spi"): "** into machine.SPI, which is not ours",
    ("hal.device.board", "reset_cause"): "names of machine, by strings",
    ("hal.device.inputs", "on_edge"): "** into Pin.irq, which is not ours",
    ("hal.device.wifi", "_reason"): "names of network, by strings",
    ("hal.esp32.ethernet", "_start"): "** into network.LAN, which is not ours",
    ("hal.rp2.in_place", "move"): "reads values of __dict__, no names",
    ("hal.rp2.in_place", "_value"): "reads values of __dict__, no names",
    ("umqtt.simple", "connect"): "** into ssl.wrap_socket, which is not ours",
}


class IdiomError(ParkgateError):
    """The firmware does what the steps that make it small cannot keep."""


def faults(sources: dict[str, str], allowed=frozenset(ALLOWED)) -> list[str]:
    """A line for each place that would not keep its meaning. `sources`: dotted module name → text."""
    found = []
    for name in sorted(sources):
        tree = ast.parse(sources[name])
        places = sorted(_of_module(name, tree, set(sources), allowed))
        found += [f"{name}, line {line}: {what}" for line, what in places]
    return found


def check(sources: dict[str, str]) -> None:
    """Raises IdiomError that names every such place."""
    found = faults(sources)
    if found:
        raise IdiomError("this would not mean the same on a board:\n  " + "\n  ".join(found))


def _of_module(name: str, tree: ast.Module, modules: set[str], allowed) -> Iterator[tuple[int, str]]:
    bound = _bound_by_imports(tree, name, modules)
    alone = (node.value for node in walk(tree) if isinstance(node, ast.Expr))
    texts = {id(value) for value in alone if isinstance(value, ast.Constant)}  # docstrings
    inside = {}  # node → the innermost function that it stands in
    for scope in walk(tree):
        if isinstance(scope, _FUNCTIONS):
            inside.update((id(node), scope.name) for node in walk(scope))
    for node in walk(tree):
        if id(node) not in texts and (name, inside.get(id(node), "")) not in allowed:
            for what in _of_node(node, bound):
                yield getattr(node, "lineno", 0), what


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _of_node(node: ast.AST, bound: _Bound) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        if not isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name) and node.value.id in bound.modules:
            yield f"sets {node.value.id}.{node.attr}: others have its number already; call a function of the module"
        if node.attr == "__dict__":
            yield "__dict__: it holds other names on a board; name the attributes"
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.ClassDef):
        for base in node.bases:
            inner = base.value if isinstance(base, ast.Attribute) else base
            if not isinstance(inner, ast.Name):
                yield f"class {node.name}: its base is computed; write a name or module.name"
            elif isinstance(base, ast.Name) and base.id in bound.renamed:
                yield f"class {node.name}: its base {base.id} is imported under another name; import it under its own"
        if node.keywords:
            yield f"class {node.name}: keywords of a class; MicroPython has none"
    elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
        yield "import *: nobody sees which names it brings; name them"
    elif isinstance(node, _COMPREHENSIONS):
        if any(isinstance(each, ast.NamedExpr) for each in walk(node)):
            yield ":= in a comprehension: its name belongs to the function around; write a loop"
    elif isinstance(node, ast.JoinedStr):
        if any(isinstance(each, ast.Constant) and str(each.value).endswith("=") for each in node.values):
            yield "an f-string may print a name ({x=}); write the text"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _looks_up_attributes(node.value):
        yield "a format that reads attributes ({0.name}); give it the value"


def _of_call(node: ast.Call) -> Iterator[str]:
    if any(word.arg is None for word in node.keywords):
        yield "** in a call: parameters have other names on a board; name the arguments"
    if isinstance(node.func, ast.Name) and node.func.id in SEES_NAMES:
        yield f"{node.func.id}(): it sees names, which are others on a board"
    if isinstance(node.func, ast.Name) and node.func.id in BY_NAME:
        name = node.args[1] if len(node.args) > 1 else None
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            yield f"{node.func.id}() with a computed name: write the name as text, or a table of functions"
    if isinstance(node.func, ast.Name) and node.func.id == "type" and len(node.args) == 3:
        yield "type() with three arguments: write the class"


def _looks_up_attributes(text: str) -> bool:
    """Whether str.format would read an attribute for this text, as in "{0._count}"."""
    return any(part.split("}")[0].partition(".")[2].isidentifier() and _is_field(part) for part in text.split("{")[1:])


def _is_field(part: str) -> bool:
    field = part.split("}")[0].partition(".")[0]
    return "}" in part and (field == "" or field.isidentifier() or field.isdigit())


class _Bound:
    """What a module's imports bind: names of our modules, and names under which something else is called here."""

    def __init__(self, modules: set[str], renamed: set[str]):
        self.modules, self.renamed = modules, renamed


def _bound_by_imports(tree: ast.Module, name: str, modules: set[str]) -> _Bound:
    ours: set[str] = set()
    renamed: set[str] = set()
    package = name if any(other.startswith(name + ".") for other in modules) else name.rpartition(".")[0]
    for node in walk(tree):
        if isinstance(node, ast.Import):
            ours |= {alias.asname or alias.name.split(".")[0] for alias in node.names if alias.name in modules}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (package if node.level else "", node.module)))
            for alias in node.names:
                if f"{base}.{alias.name}" in modules:
                    ours.add(alias.asname or alias.name)
                elif alias.asname and alias.asname != alias.name and base in modules:
                    renamed.add(alias.asname)
    return _Bound(ours, renamed)

"""The firmware's modules without folders: `parkgate.journal.space` becomes `space`.

MicroPython keeps for good, of each module, its dotted name and the path of its file as names, and for each package a
module with a table of what is in it. For the hundred modules of a running gateway that was a twentieth of a Pico W's
heap. The last word of a module's name mostly stands in the program anyway, so as the whole name it costs nothing more.

Import statements and the texts that name a module (of what is dropped and loaded again) are rewritten, in their lines.
What could not keep its meaning is refused with FlatteningError: a package that is asked for a module by attribute, or
a text that names a package as a whole.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from host_tools.image.app.trees import walk
from parkgate.errors import ParkgateError

# Modules that some MicroPython has in its flash, or that its files import: none of ours may be called so.
OF_MICROPYTHON = {
    "_asyncio", "_boot", "_boot_fat", "_onewire", "_rp2", "_thread", "_webrepl", "aioble", "aioespnow",
    "apa106", "array", "asyncio", "binascii", "bluetooth", "boot", "btree", "builtins", "cmath", "collections",
    "cryptolib", "deflate", "dht", "ds18x20", "errno", "esp", "esp32", "espnow", "ffi", "flashbdev", "framebuf",
    "gc", "hashlib", "heapq", "inisetup", "io", "json", "lwip", "machine", "marshal", "math", "micropython",
    "mip", "neopixel", "network", "ntptime", "onewire", "os", "platform", "random", "re", "requests", "rp2",
    "select", "socket", "ssl", "struct", "sys", "termios", "time", "tls", "uarray", "uasyncio", "ubinascii",
    "ubluetooth", "ucollections", "ucryptolib", "uctypes", "uerrno", "uhashlib", "uheapq", "uio", "ujson",
    "umachine", "umqtt", "uos", "uplatform", "upysh", "urandom", "ure", "urequests", "uselect", "usocket",
    "ussl", "ustruct", "usys", "utime", "utimeq", "uwebsocket", "uzlib", "vfs", "webrepl", "webrepl_setup",
    "websocket", "zlib",
}  # fmt: skip


class FlatteningError(ParkgateError):
    """The firmware names a module in a way that would not find it when modules have no folders."""


def flatten(sources: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The same modules (dotted name → source) under their flat names, and dotted name → flat name. A package of which
    nothing is asked but its modules is left out. Raises FlatteningError."""
    readers = {name: _Reader(name, text, sources.keys()) for name, text in sources.items()}
    asked = set().union(*(reader.asked for reader in readers.values()))
    kept = [name for name in sources if name in asked or not _has_inside(name, sources.keys())]
    flat = _names(kept)
    return {flat[name]: readers[name].rewritten(flat) for name in kept}, flat


def named_by_texts(sources: dict[str, str], flat: dict[str, str]) -> set[str]:
    """Flat names of the modules that a text of the firmware names: those that are taken out of memory at times. Of a
    module without a package, every text that is like its name counts."""
    texts = {
        node.value for text in sources.values() for node in walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }  # fmt: skip
    return {short for dotted, short in flat.items() if dotted in texts}


def _has_inside(name: str, modules) -> bool:
    return any(other.startswith(name + ".") for other in modules)


def _names(modules: list[str]) -> dict[str, str]:
    """The last word of each name; with the word before it where that is not enough."""
    taken = {name for name in modules if "." not in name}
    last = Counter(name.rpartition(".")[2] for name in modules)
    found = {name: name for name in taken}
    for name in sorted(set(modules) - taken):
        words = name.split(".")
        for count in range(1, len(words) + 1):
            short = "_".join(words[-count:])
            if short not in taken and short not in OF_MICROPYTHON and (count > 1 or last[short] == 1):
                break
        else:
            raise FlatteningError(f"{name}: other modules have all names that it could have; rename it")
        taken.add(short)
        found[name] = short
    return found


class _Reader:
    """One module. `asked`: modules of which it asks more than what is inside them."""

    def __init__(self, name: str, text: str, modules):
        self._name, self._text, self._modules = name, text, modules
        self._package = name if _has_inside(name, modules) else name.rpartition(".")[0]
        self._tree = ast.parse(text)
        self._bound: dict[str, set[str]] = {}  # name that an import binds → the modules that it may be
        self.asked: set[str] = set()
        self._imports = [
            node for node in walk(self._tree)
            if isinstance(node, (ast.Import, ast.ImportFrom)) and any(self._targets(node))
        ]  # fmt: skip
        for node in self._imports:
            for module, inner, bound in self._targets(node):
                self.asked.add(module)
                if inner is None:
                    self._bound.setdefault(bound, set()).add(module)
        self._check()

    def _targets(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str | None, str]]:
        """(module, name in it or None for the module itself, name bound or "") for those of this firmware."""
        for alias in node.names:
            if isinstance(node, ast.Import):
                if alias.name in self._modules:  # without "as" it binds the package, which nobody may use (_check)
                    yield alias.name, None, alias.asname or ("" if "." in alias.name else alias.name)
                continue
            base = self._base(node)
            bound = alias.asname or alias.name
            if f"{base}.{alias.name}" in self._modules:
                yield f"{base}.{alias.name}", None, bound
            elif base in self._modules:
                yield base, alias.name, bound

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self._package.split(".")
        package = package[: len(package) + 1 - node.level]
        return ".".join([*package, *([node.module] if node.module else [])])

    def _check(self) -> None:
        for node in self._imports:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in self._modules and "." in alias.name and not alias.asname:
                        self._refuse_use_of(alias.name.split(".")[0])
            elif len(list(self._targets(node))) < len(node.names):
                raise self._fault(node, "import what is ours in a statement of its own")
        for node in walk(self._tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                for module in self._bound.get(node.value.id, ()):
                    if f"{module}.{node.attr}" in self._modules:
                        raise self._fault(node, f"import {module}.{node.attr} by its own name")
            elif self._names_package(node):
                raise self._fault(node, f"{ast.unparse(node)} is a package: name each of its modules")

    def _names_package(self, node) -> bool:
        text = node.value if isinstance(node, ast.Constant) else None
        return isinstance(text, str) and "." in text and _has_inside(text, self._modules)

    def _refuse_use_of(self, package: str) -> None:
        for node in walk(self._tree):
            if isinstance(node, ast.Name) and node.id == package:
                raise self._fault(node, f"import the module itself, not by way of {package}")

    def _fault(self, node, advice: str) -> FlatteningError:
        return FlatteningError(f"{self._name}, line {node.lineno}: {advice}")

    def rewritten(self, flat: dict[str, str]) -> str:
        """The source with flat names."""
        lines = self._text.encode().splitlines(keepends=True)
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line))
        edits = []
        for node in walk(self._tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                if not any(self._targets(node)):
                    continue
                new = self._statement(node, flat)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
                if node.value not in flat:
                    continue
                new = repr(flat[node.value])
            else:
                continue
            at = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
            edits.append((at, end, new))
        text = self._text.encode()
        for at, end, new in sorted(edits, reverse=True):
            text = text[:at] + new.encode() + b"\n" * text[at:end].count(b"\n") + text[end:]
        return text.decode()

    def _statement(self, node: ast.Import | ast.ImportFrom, flat: dict[str, str]) -> str:
        """The imports that do the same, in one line."""
        found: list[str] = []
        names: dict[str, list[str]] = {}
        ours = list(self._targets(node))
        if isinstance(node, ast.Import):
            found += [ast.unparse(ast.Import([alias])) for alias in node.names if alias.name not in self._modules]
        for module, inner, bound in ours:
            if inner is None:
                found.append(f"import {flat[module]}" + ("" if bound in ("", flat[module]) else f" as {bound}"))
            else:
                names.setdefault(module, []).append(inner if inner == bound else f"{inner} as {bound}")
        found += [f"from {flat[module]} import {', '.join(names[module])}" for module in names]
        return "; ".join(found)

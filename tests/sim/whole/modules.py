"""A world of modules for each machine: what a board has loaded, apart from all others and from this process.

Firmware and library are run from their sources, compiled once. What they import is looked up here: their own modules,
what the machine puts in place of a board's (asyncio, time, os, sys, gc, open), and pure modules of Python. A start
begins with none loaded, as a board does. `edits` are planted bugs: path from the root → [(text, text instead)].
"""

import builtins
import importlib.util
import sys
import traceback
import types

from tests.sim.whole import ROOT

FOLDERS = ("firmware", "lib", "build/device_lib")
SHARED = {"parkgate.errors"}  # the classes that the world raises, too
PURE = {"array", "binascii", "builtins", "collections", "errno", "hashlib", "io", "json", "struct"}
ALIASES = {"ustruct": "struct", "ubinascii": "binascii"}
_compiled: dict = {}


class NoSuchEdit(Exception):
    """The text to replace does not stand there exactly once."""


def find(name: str):
    """(path, whether it is a package) of a module of the device; None for others."""
    parts = name.replace(".", "/")
    for folder in FOLDERS:
        path = ROOT / folder / parts
        if path.with_suffix(".py").is_file():
            return path.with_suffix(".py"), False
        if path.is_dir():
            return path / "__init__.py", True
    return None


def compiled(name: str, edits: dict):
    """(code or None, path, whether a package)."""
    if name not in _compiled:
        found = find(name)
        if found is None:
            _compiled[name] = None
        else:
            path, is_package = found
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            for old, new in edits.get(str(path.relative_to(ROOT)), ()):
                if text.count(old) != 1:
                    raise NoSuchEdit(f"{path}: {text.count(old)} times {old!r}")
                text = text.replace(old, new)
            _compiled[name] = compile(text, str(path), "exec"), str(path), is_package
    return _compiled[name]


class Modules:
    """`given` is name → module; `opener` stands for open()."""

    def __init__(self, given: dict, opener, edits: dict):
        self._edits = edits
        self.loaded: dict = {}
        self._given = {
            **given,
            "gc": _module("gc", collect=lambda: 0, threshold=lambda *_: 0, mem_alloc=lambda: 0, mem_free=lambda: 0),
            "sys": _module(
                "sys", modules=self.loaded, platform="rp2", maxsize=(1 << 31) - 1, print_exception=_print_exception
            ),
            "usocket": _module("usocket"),
        }
        self._builtins = {**vars(builtins), "__import__": self._import, "open": opener}
        self._of_mqtt = {**self._builtins, "bytearray": _Bytes}

    def load(self, name: str):
        """The module, loaded if it is not."""
        if name in self.loaded:
            return self.loaded[name]
        if name in self._given:
            return self._given[name]
        if name in SHARED:
            self.loaded[name] = importlib.import_module(name)
            return self.loaded[name]
        above, _, last = name.rpartition(".")
        parent = self.load(above) if above else None
        found = compiled(name, self._edits)
        if found is None:
            name = ALIASES.get(name, name)
            if name in PURE:
                return importlib.import_module(name)
            raise ImportError("no module named '%s'" % name)
        code, path, is_package = found
        made = types.ModuleType(name)
        own = self._of_mqtt if name == "mqtt" else self._builtins
        made.__dict__.update(__builtins__=own, __file__=path, __package__=name if is_package else above)
        if is_package:
            made.__path__ = []
        self.loaded[name] = made
        try:
            exec(code, made.__dict__)
        except BaseException:
            self.loaded.pop(name, None)
            raise
        if parent is not None:
            setattr(parent, last, made)
        return made

    def _import(self, name, globals=None, _locals=None, fromlist=(), level=0):
        if level:
            package = globals["__package__"].split(".")
            base = package[: len(package) - level + 1]
            name = ".".join(base + ([name] if name else []))
        found = self.load(name)
        if not fromlist:
            return self.load(name.split(".")[0])
        for each in fromlist:
            if not hasattr(found, each):
                below = f"{name}.{each}"
                if compiled(below, self._edits) is None:
                    raise ImportError("cannot import name '%s' from '%s'" % (each, name))
                setattr(found, each, self.load(below))
        return found


class _Bytes(bytearray):
    """MicroPython's takes text as its bytes; umqtt counts on that."""

    def extend(self, data):
        super().extend(data.encode() if isinstance(data, str) else data)


def _module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    return made


def _print_exception(error, file=None):
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    (file or sys.stderr).write(text)


def host(edits: dict | None = None):
    """The hub's parts that the world drives."""
    return types.SimpleNamespace(
        HubKey=importlib.import_module("host_tools.base.keys").HubKey,
        Store=importlib.import_module("host_tools.hub.stores.store").Store,
        Intake=importlib.import_module("host_tools.hub.receiving.intake").Intake,
        Message=importlib.import_module("host_tools.hub.receiving.intake").Message,
        open_recorder=importlib.import_module("host_tools.log.record").open_recorder,
        enrol=importlib.import_module("host_tools.hub.verbs.enrol").enrol,
    )

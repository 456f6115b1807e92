"""Compiled code run where it lies in flash: bytecode and long texts of the modules take no heap.

MicroPython copies a .mpy file into the heap. `parkgate flash` writes the same bytecode and texts once more, into the
gap that MicroPython leaves in front of the storage area (host_tools/image/app/code_in_place.py says how). After each
import the function objects of the new modules are pointed there, and the copies in the heap become garbage.

Nothing is pointed to flash unless the bytes there equal those in the heap, and no word of the heap is read as an
address unless it is one: where objects look different in another MicroPython, or the files are newer than what lies in
the gap, all stays in the heap and works as before.

In front of the code there may be the modules' tables of names and function objects that are ready
(host_tools/image/app/names_in_place.py). They take the places of those in the heap in the same way.

A function that is running must stay where it is. So a module is moved only after the import that brought it has ended.
"""

import builtins
import gc
import struct
import sys
from binascii import crc32

import uctypes
from machine import mem32

from hal.rp2.mapped_table import HEAD_BYTES, TABLE_BYTES

MAGIC = b"parkgate code 1\0"
NAMES_MAGIC = b"parkgate names 1"
NAMES_TAIL_BYTES = 56
STARTING_BYTES, CONTEXT_BYTES, ROW_BYTES = 640, 16, 12
TAIL_BYTES = 28  # magic, then length of all, length of the index, CRC-32 of the index
_RAM = 0x20000000

loads = loads_in_place = 0  # how often a module was loaded that lies in flash, and how often it runs there


def _kinds():
    """Addresses of the types: functions; what holds so many functions; texts; tuples."""

    def function():
        pass

    def generator():
        yield

    closure = type(lambda: function)
    wrappers = {id(closure): 1, id(staticmethod): 1, id(classmethod): 1, id(property): 3}
    return (id(type(_kinds)), id(type(generator))), wrappers, (id(str), id(bytes)), id(tuple)


class CodeInPlace:
    """What lies in the gap. `find` and `move` are used by `install`."""

    def __init__(self, begin, index):
        self._begin = begin
        self._index = index
        self._at = self._number = 0
        self._rows = 0
        self._any = False
        self._look_for_names()
        self._functions_are, self._wrappers, self._texts_are, self._tuple = _kinds()
        self._ram_end = _RAM + (520 if "RP2350" in sys.implementation._machine else 264) * 1024

    def _look_for_names(self):
        """Find what lies in front of the code: names, and functions (host_tools/image/app/names_in_place.py). Those can
        be used if names_in_place has put the arena where they look for it."""
        arena = sys.modules.get("hal.rp2.names_in_place")
        tail = uctypes.bytearray_at(self._begin - NAMES_TAIL_BYTES, NAMES_TAIL_BYTES)
        size, _, _, at, _, _, _, rows, functions = struct.unpack_from("<9I", tail, 16)
        if isinstance(arena, bytearray) and uctypes.addressof(arena) == at and tail[:16] == NAMES_MAGIC:
            self._names = self._begin - size
            self._rows, self._made = self._names + rows, self._names + functions
            self._contexts = at + STARTING_BYTES

    def _in_ram(self, address, size):
        return address & 3 == 0 and _RAM <= address <= self._ram_end - size

    def find(self, name: str):
        """Number of functions, constants and texts of a module, and where in the index they are; None if unknown."""
        index, wanted = self._index, name.encode()
        for _ in range(2):  # modules come in about the order of the index: go on from the last one
            while self._at < len(index):
                size, functions, constants, texts, length = struct.unpack_from("<HHHHB", index, self._at)
                at = self._at + 9
                self._at += size
                self._number += 1
                if length == len(wanted) and index[at : at + length] == wanted:
                    return functions, constants, texts, at + length
            self._at = self._number = 0
        return None

    def move(self, name: str, module, inner=None):
        """Let a module's functions and texts lie in flash; `inner` is a function that its names do not lead to."""
        record = self.find(name)
        if record is None:
            return
        global loads, loads_in_place
        functions, constants, texts, at = record
        self._any = False
        entry = "<IHH"
        self._functions = [struct.unpack_from(entry, self._index, at + 8 * i) for i in range(functions)]
        self._first = [mem32[self._begin + each[0]] for each in self._functions]
        at += 8 * functions
        self._texts = [struct.unpack_from("<IH", self._index, at + 6 * i) for i in range(texts)]
        self._dicts = [mem32[id(module) + 4]] if self._in_ram(id(module), 16) else []  # tables of names and members
        for value in module.__dict__.values():
            self._value(value, name)
        if inner is not None:
            self._object(id(inner))
        if self._in_ram(id(module), 16):
            self._constants(mem32[id(module) + 12], constants)
            if self._rows:
                self._names_and_functions(module, name, constants)
        self._functions = self._first = self._texts = ()
        self._dicts = None
        if functions > 1:  # the first is the module's own code, which has ended
            loads += 1
            loads_in_place += self._any

    def _names_and_functions(self, module, name, constants):
        """Let a module's table of names lie in flash, and the functions that are ready there be its functions."""
        row = uctypes.bytearray_at(self._rows + ROW_BYTES * (self._number - 1), ROW_BYTES)
        at, count, context, first, functions = struct.unpack("<IHHHH", row)
        self._numbers(id(module) + 8, self._names + at, 2 * count, constants)
        if not functions:
            return
        self._of_module = id(module)
        self._context = self._contexts + CONTEXT_BYTES * context
        for i in (4, 8, 12):  # its variables, names and constants
            mem32[self._context + i] = mem32[id(module) + i]
        self._ready_at = self._made + 16 * first
        self._ready = uctypes.bytearray_at(self._ready_at, 16 * functions)
        assert self._dicts is not None
        for table in self._dicts:
            self._replace(table)

    def _replace(self, table):
        """Put the ready functions into a dict instead of those that are the same in the heap."""
        if not self._in_ram(table, 16) or mem32[table] != id(dict):
            return
        count, at = mem32[table + 8], mem32[table + 12]
        if self._in_ram(at, 8 * count):
            for place in range(at + 4, at + 8 * count, 8):
                self._put_ready(place)

    def _put_ready(self, place):
        """The same for one place that holds a function, or a static method, a property or a closure that does."""
        address = mem32[place]
        if not self._in_ram(address, 16):
            return
        kind = mem32[address]
        if kind in self._functions_are:
            if mem32[address + 4] == self._of_module and mem32[address + 8] == 0:
                found = self._ready.find(struct.pack("<4I", kind, self._context, 0, mem32[address + 12]))
                if found >= 0 and found & 15 == 0:
                    mem32[place] = self._ready_at + found
        else:
            for i in range(self._wrappers.get(kind, 0)):
                self._put_ready(address + 4 + 4 * i)

    def _numbers(self, tables, there, size, constants):
        """Let a module's table of names lie in flash. It stands in one piece of the heap with that of the constants,
        which needs a piece of its own then."""
        here = mem32[tables]
        if not size or not self._in_ram(here, size):
            return
        if uctypes.bytearray_at(here, size) != uctypes.bytearray_at(there, size):
            return
        if constants:
            objects = mem32[tables + 4]
            if objects != here + (size + 3 & ~3) or not self._in_ram(objects, 4 * constants):
                return
            copy = bytearray(uctypes.bytearray_at(objects, 4 * constants))
            mem32[tables + 4] = uctypes.addressof(copy)
        mem32[tables] = there

    def _value(self, value, name):
        if isinstance(value, type):
            if value.__dict__.get("__module__") != name:
                return  # a class of another module, which has been moved with that one
            slot = uctypes.bytearray_at(id(value) + 19, 1)[0]  # of the members: slot_index_locals_dict in py/obj.h
            if slot and self._in_ram(id(value), 20 + 4 * slot):
                assert self._dicts is not None
                self._dicts.append(mem32[id(value) + 16 + 4 * slot])
            for member in value.__dict__.values():
                if not isinstance(member, type):
                    self._object(id(member))
        else:
            self._object(id(value))

    def _object(self, address):
        """Move the function at an address, or those that a static method, a property or a closure there holds."""
        if not self._in_ram(address, 16):
            return
        kind = mem32[address]
        if kind in self._functions_are:
            code = mem32[address + 12]
            if self._in_ram(code, 4):
                number = self._same_code(code)
                if number is not None:
                    self._children(mem32[address + 8], number)
                    mem32[address + 12] = self._begin + self._functions[number][0]
        else:
            for i in range(self._wrappers.get(kind, 0)):
                self._object(mem32[address + 4 + 4 * i])

    def _same_code(self, code):
        word = mem32[code]
        for number, first in enumerate(self._first):
            if first == word and self._same(code, self._functions[number][0], self._functions[number][1]):
                return number
        return None

    def _same(self, address, offset, size):
        if not self._in_ram(address, size):
            return False
        if uctypes.bytearray_at(address, size) != uctypes.bytearray_at(self._begin + offset, size):
            return False
        self._any = True
        return True

    def _children(self, table, number):
        """Move the functions inside of a function; the number of the first entry behind them."""
        count = self._functions[number][2]  # pyright: ignore[reportGeneralTypeIssues]
        number += 1
        for i in range(count):
            child = mem32[table + 4 * i] if self._in_ram(table, 4 * count) else 0
            within = 0
            if self._in_ram(child, 12):
                offset, size, _ = self._functions[number]  # pyright: ignore[reportAssignmentType]
                if self._same(mem32[child + 4], offset, size):
                    mem32[child + 4] = self._begin + offset
                    within = mem32[child + 8]
            number = self._children(within, number)
        return number

    def _constants(self, table, count):
        """Move the texts of a table of constants, in the order in which the index has them."""
        for i in range(count):
            if not self._texts or not self._in_ram(table, 4 * count):
                return
            address = mem32[table + 4 * i]
            if not self._in_ram(address, 16):
                continue
            kind = mem32[address]
            if kind == self._tuple:
                self._constants(address + 8, mem32[address + 4])
            elif kind in self._texts_are:
                for number, (offset, size) in enumerate(self._texts):
                    if mem32[address + 8] == size and self._same(mem32[address + 12], offset, size):
                        mem32[address + 12] = self._begin + offset
                        self._texts = self._texts[number + 1 :]
                        break


def code_in_place():
    """What lies in the gap, None when it is not whole."""
    import rp2  # not kept: see Rp2Board.comb_point

    end = uctypes.addressof(rp2.Flash()) - TABLE_BYTES - HEAD_BYTES  # the storage area shows where flash is mapped
    tail = uctypes.bytearray_at(end - TAIL_BYTES, TAIL_BYTES)
    if tail[:16] != MAGIC:
        return None
    size, index_size, crc = struct.unpack_from("<III", tail, 16)
    if not TAIL_BYTES + index_size <= size <= 1 << 20:
        return None
    index = uctypes.bytearray_at(end - TAIL_BYTES - index_size, index_size)
    if crc32(index) != crc:
        return None
    return CodeInPlace(end - size, index)


def brought_by(name, variables=None, _=None, names=None, level=0):
    """Full names of the modules that one import may bring, from the arguments of __import__. What those import in turn
    comes through imports of its own, so only these need a look."""
    if level:
        assert variables is not None
        package = variables["__name__"]
        for _ in range(level - ("__path__" in variables)):
            package = package[: package.rfind(".")]
        name = package + "." + name if name else package
    found = []
    at = name.find(".")
    while at >= 0:
        found.append(name[:at])
        at = name.find(".", at + 1)
    found.append(name)
    for each in names if isinstance(names, tuple) else ():  # asyncio gives True
        found.append(name + "." + each)
    return found


def install():
    """From now on, each module is moved to flash when its import has ended."""
    code = code_in_place()
    if code is None:
        return
    load = builtins.__import__

    def load_in_place(*args):
        new = [name for name in brought_by(*args) if name not in sys.modules]
        module = load(*args)
        for name in new:
            if name in sys.modules:
                code.move(name, sys.modules[name])
        return module

    builtins.__import__ = load_in_place
    # This module itself: what runs just now runs on in its copy, which must not be collected before it has returned.
    gc.disable()
    code.move(__name__, sys.modules[__name__], load_in_place)
    gc.enable()

"""The firmware's names where they lie in flash: a thousand names take no heap.

MicroPython keeps each name that its own image does not have in the heap, for good. `parkgate flash` writes a table of
all names of the firmware into the gap in front of the storage area (host_tools/image/app/names_in_place.py says how),
in the form that MicroPython's own tables have. This hangs it in behind the few names that the start has brought.

MicroPython's variable that points to the newest table must be found for that. It is looked for by what it points to,
and tried: the next name must show there. The block says for which image it was made, by place and size of that image's
own table, and has a CRC. Where anything is not as expected, nothing is changed, and names come into the heap as before.

This runs before any other module is imported, so that the start has brought few names. What it has brought cannot stand
in the table: so this module shares no name with any other, nor a text that is like a name.
"""

import gc
import sys
from binascii import crc32
from struct import pack, unpack_from

import uctypes
from machine import mem32

_MAGIC_OF_CODE = b"parkgate code 1\0"
_TAIL_OF_CODE = 28
_SIGNING_TABLE = 32768 + 32  # with its head: mapped_table.py, which is not loaded yet
_MAGIC_OF_NAMES = b"parkgate names 1"
_TAIL_OF_NAMES = 56
_STARTING_NAMES = 96
_STARTING_BYTES = 640
_RAM_BEGIN = 0x20000000


class _Probe:
    pass


def use_names():
    """Hang the table in. What must stay in memory for it is put into sys.modules in place of this module."""
    del sys.modules[__name__]
    from rp2 import Flash

    end = uctypes.addressof(Flash()) - _SIGNING_TABLE
    tail = uctypes.bytearray_at(end - _TAIL_OF_CODE, _TAIL_OF_CODE)
    end -= unpack_from("<1I", tail, 16)[0]
    if tail[:16] != _MAGIC_OF_CODE:
        return
    tail = uctypes.bytearray_at(end - _TAIL_OF_NAMES, _TAIL_OF_NAMES)
    if tail[:16] != _MAGIC_OF_NAMES:
        return
    size, begin, table, arena, arena_bytes, rom, count, _, _, crc = unpack_from("<10I", tail, 16)
    if (
        begin != end - size
        or not _TAIL_OF_NAMES < size < 1 << 20
        or crc32(uctypes.bytearray_at(begin, size - 4)) != crc
    ):
        return
    # The image's own table: the one of which the block was made?
    if (mem32[rom + 4] & 0x7FFFFFFF) + mem32[rom + 12] != count or mem32[table] != arena:
        return
    ram = uctypes.bytearray_at(_RAM_BEGIN, arena + arena_bytes - _RAM_BEGIN)
    variable, pools = _newest_table(ram, rom, count, [])
    if not variable:
        return
    known = [
        (mem32[pool + 24 + 4 * i], uctypes.bytearray_at(mem32[pool + 20] + i, 1)[0])
        for pool in pools
        for i in range(mem32[pool + 12])
    ]
    texts = uctypes.bytearray_at(begin, table - begin)
    for place, length in known:
        if texts.find(b"\0" + uctypes.bytes_at(place, length) + b"\0") >= 0:
            return  # it would have two numbers
    kept = len(known) <= _STARTING_NAMES and _piece_at(arena, arena_bytes)
    if not kept:
        return
    here = pack("<6I", rom, count, len(known), len(known), arena + 24 + 4 * len(known), arena + 24 + 5 * len(known))
    here += b"".join([pack("<1I", place) for place, _ in known])
    here += b"".join([uctypes.bytearray_at(mem32[pool + 16], mem32[pool + 12]) for pool in pools])
    here += bytes([length for _, length in known])
    kept[: len(here)] = here
    newest = pools[-1]
    if mem32[variable] != newest or sum([mem32[pool + 12] for pool in pools]) != len(known):
        return
    mem32[variable] = table
    setattr(_Probe(), "name of nothing, for a trial", None)
    if mem32[variable] == table:  # it is full: MicroPython has not asked this variable, or there would be a new one
        mem32[variable] = newest
    else:
        sys.modules[__name__] = kept


def _newest_table(ram, latest, count, pools):
    """Address of MicroPython's variable, and all tables in the heap behind the one at `latest`, the newest at the end.
    The heap has old ones too, of before a restart: nothing leads to those. Address 0 where none is found."""
    if pools:
        at = -1
        while True:
            at = ram.find(pack("<1I", latest), at + 1, pools[0] - _RAM_BEGIN)
            if at < 0:
                break
            if at & 3 == 0:
                return _RAM_BEGIN + at, pools
    at = -1
    while True:
        at = ram.find(pack("<1I", latest), at + 1)
        if at < 0:
            return 0, pools
        pool = _RAM_BEGIN + at
        if at & 15 == 0 and at + 24 < len(ram) and mem32[pool + 4] == count:
            most, used, hashes = mem32[pool + 8], mem32[pool + 12], mem32[pool + 16]
            if 0 < used <= most < 4096 and hashes == pool + 24 + 4 * most and mem32[pool + 20] == hashes + most:
                found = _newest_table(ram, pool, count + used, pools + [pool])
                if found[0]:
                    return found


def _piece_at(wanted_at, size):
    """A piece of the heap that lies at an address, which is near its end; None if that cannot be had."""
    gc.collect()
    kept = []
    try:
        for _ in range(16):
            piece = bytearray(size)
            at = uctypes.addressof(piece)
            if at == wanted_at:
                return piece
            kept.append(piece)
            for less in range(0, 64, 16):
                try:
                    kept.append(bytearray(max(0, wanted_at - at - size - less)))
                except MemoryError:
                    continue
                piece = bytearray(size)
                if uctypes.addressof(piece) == wanted_at:
                    return piece
                kept.pop()
    except MemoryError:
        pass
    return None

"""The signing table in place, where an RP2 maps its flash into memory: no heap, no file.

`parkgate flash` writes it into the gap that MicroPython leaves between itself and the storage area:

    storage - 32800   28 bytes  b"parkgate p256 comb table 1\\0\\0"
            -     4   CRC-32 of the table, little-endian
    storage - 32768   the four tables of 8192 bytes

A wrong table would make wrong signatures, and those can give a key away: without a right CRC it is not used.
"""

from binascii import crc32

import uctypes

MAGIC = b"parkgate p256 comb table 1\0\0"
TABLE_BYTES = 32768
HEAD_BYTES = 32


def mapped_point():
    """Reader for p256.use_table; None when there is no whole table in the gap."""
    import rp2  # not kept: see Rp2Board.comb_point

    begin = uctypes.addressof(rp2.Flash()) - TABLE_BYTES  # the storage area shows where it is mapped
    head = uctypes.bytearray_at(begin - HEAD_BYTES, HEAD_BYTES)
    if head[:28] != MAGIC:
        return None
    data = uctypes.bytearray_at(begin, TABLE_BYTES)
    if crc32(data) != int.from_bytes(head[28:], "little"):
        return None

    def point(table: int, offset: int) -> bytes:
        """The 64 bytes at `offset` of table 0..3."""
        at = table * 8192 + offset
        return bytes(data[at : at + 64])

    return point

"""The one bit that flipped, found by the CRC-32 that no longer fits (reflected, polynomial 0xEDB88320, as in zlib).

A CRC is linear: what a flipped bit changes in it depends on the bit's distance from the end alone. Two flipped bits are
never taken for one in what a journal sector holds (the code's distance is at least 4 up to 91,607 bits: Koopman,
"32-bit cyclic redundancy codes for internet applications", DSN 2002). Bytes that are something else altogether fit by
chance once in 2^32 / `bits`.
"""

from binascii import crc32

_POLYNOMIAL = 0xEDB88320
_ONES = 0xFFFFFFFF
_STRIDE = 32
_ZEROS = bytes(_STRIDE // 8)


def flipped_bit(difference: int, bits: int) -> int:
    """Distance from the end of the one bit, of the last `bits` that the CRC covers, whose flip changes the CRC by
    `difference` (found XOR expected); −1 when no single one does. Bit 7 of the last byte has distance 0.

    Two walks that meet: from the difference 31 bits back, one by one, and from the end forward, 32 at a time. So the
    header of a sector takes 95 steps, and not 2,016: a start can afford it for each of 256 sectors."""
    near = {}
    for back in range(_STRIDE):
        near[difference] = back
        difference = (difference ^ _POLYNOMIAL) << 1 | 1 if difference >> 31 else difference << 1
    change = _POLYNOMIAL
    for distance in range(0, bits, _STRIDE):
        if change in near:
            distance += near[change]
            return distance if distance < bits else -1
        change = crc32(_ZEROS, change ^ _ONES) ^ _ONES
    return -1


def mend(data, found: int, expected: int) -> bool:
    """Turn back the one bit of `data` (writable) that makes its CRC `found` and not `expected`. True when there is one,
    or when the one that flipped is in the CRC itself; else nothing changes."""
    difference = found ^ expected
    if not difference & difference - 1:
        return True
    distance = flipped_bit(difference, 8 * len(data))
    if distance < 0:
        return False
    data[len(data) - 1 - (distance >> 3)] ^= 0x80 >> (distance & 7)
    return True

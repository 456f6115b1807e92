"""One flipped bit is found wherever it is; two, and other bytes, are not taken for one."""

from binascii import crc32

from check import equal, true
from flash_sim import Chance
from parkgate.journal.single_bit import flipped_bit, mend

DATA = bytes(range(40)) + b"123456789"


def test_every_single_bit_is_turned_back():
    right = crc32(DATA)
    for at in range(len(DATA)):
        for bit in range(8):
            hurt = bytearray(DATA)
            hurt[at] ^= 1 << bit
            equal(flipped_bit(crc32(hurt) ^ right, 8 * len(DATA)), 8 * (len(DATA) - 1 - at) + 7 - bit)
            true(mend(hurt, crc32(hurt), right))
            equal(bytes(hurt), DATA)


def test_a_bit_of_the_crc_itself():
    right = crc32(DATA)
    for bit in range(32):
        hurt = bytearray(DATA)
        true(mend(hurt, right, right ^ 1 << bit))
        equal(bytes(hurt), DATA)


def test_two_bits_are_left_alone():
    right = crc32(DATA)
    for first in range(0, 8 * len(DATA), 7):
        for second in range(first + 1, 8 * len(DATA), 11):
            hurt = bytearray(DATA)
            for place in (first, second):
                hurt[place >> 3] ^= 1 << (place & 7)
            before = bytes(hurt)
            true(not mend(hurt, crc32(hurt), right), "bits %d and %d" % (first, second))
            equal(bytes(hurt), before)


def test_other_bytes_are_left_alone():
    chance = Chance(11)
    for _ in range(50):
        other = bytearray(chance.data(60))
        true(not mend(other, crc32(other), crc32(DATA)))

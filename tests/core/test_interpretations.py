"""Raw registers in every type and order at once."""

from check import equal, true
from parkgate.meters.profile.interpretations import interpretations


def test_a_word_and_two():
    found = interpretations([0xFF4E])
    true(("uint16", "ABCD", 65358, 1) in found)
    true(("int16", "ABCD", -178, 1) in found)
    true(("sign16", "ABCD", -32590, 1) in found)
    true(("uint16", "BADC", 0x4EFF, 1) in found)
    true(not [row for row in found if row[0][:3] == "bcd"], "FF4E has no decimals")
    found = interpretations([0x458C, 0xA000])
    true(("float32", "ABCD", 4500 * 2048, 2048) in found, [row for row in found if row[0] == "float32"])
    equal(len([row for row in found if row[0] == "uint32"]), 4)
    true(("mod10k32", "ABCD", 0, 1) not in found)


def test_four_words_and_equal_orders():
    found = interpretations([0x0108, 0x18D4, 0x002B, 0])
    true(("mod10k64", "CDAB", 4363560264, 1) in found)
    equal([row[1] for row in interpretations([0, 0]) if row[0] == "uint32"], ["ABCD"])
    true([row for row in interpretations([1, 2, 3]) if row[0] == "uint48"])

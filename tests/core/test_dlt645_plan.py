"""DL/T 645 data: what the bytes say, which identifiers are read together, and what a refusal teaches."""

import json

from check import equal, raises, true
from parkgate.errors import ProfileError
from parkgate.meters import profiles
from parkgate.meters.dlt645 import values
from parkgate.meters.dlt645.frame import READ, address_bytes, identifier_bytes, text_of
from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED

FOLDER = __file__[: -len("core/test_dlt645_plan.py")] + "vectors/dlt645/"
ROWS = [
    ["voltage_l1", "02010100", "bcd16", 1, "V", ""],
    ["voltage_l2", "02010200", "bcd16", 1, "V", ""],
    ["voltage_l3", "02010300", "bcd16", 1, "V", ""],
    ["current_l1", "02020100", "sbcd24", 3, "A", ""],
    ["active_power", "02030000", "sbcd24", 4, "kW", ""],
    ["active_power_l1", "02030100", "sbcd24", 4, "kW", ""],
    ["import_active_energy", "00010000", "bcd32", 2, "kWh", ""],
    ["import_active_energy_t1", "00010100", "bcd32", 2, "kWh", ""],
    ["import_active_energy_l1", "00150000", "bcd32", 2, "kWh", ""],
    ["frequency", "02800002", "bcd16", 2, "Hz", ""],
    ["active_power_demand_max", "01010000", "bcd24", 4, "kW", ""],
    ["serial_number", "04000402", "bcd48", 0, "1", ""],
]


def profile(rows=ROWS, **options):
    return profiles.load(document(rows), "made-up", [row[0] for row in rows], **options)


def document(rows):
    return {
        "meter": "A meter", "manual": "none", "sources": ["tests"], "licences": ["ours"], "protocol": "dlt645",
        "usual": [rows[0][0]], "registers": rows,
    }  # fmt: skip


def number(type_name, data, identifier="02010100"):
    return values.number(data, 0, identifier_bytes(identifier), values.layout(type_name))


def test_every_number_of_the_captured_frames():
    # The table of identifiers tells bytes and sign, the frames tell what they hold.
    table = {}
    with open(FOLDER + "identifiers.csv") as file:
        for line in file.read().split("\n")[1:-1]:
            fields = line.replace('"', "").split(",")
            table[fields[0]] = fields
    with open(FOLDER + "frames.json") as file:
        entries = json.load(file)["frames"]
    seen = 0
    for entry in entries:
        if "numbers" not in entry:
            continue
        wire = [int(pair, 16) for pair in entry["reply"].split()]
        data = bytes([(byte - 0x33) & 0xFF for byte in wire[wire.index(0x68) + 14 : -2]])
        identifier = entry["identifier"]
        block = identifier[4:6] == "FF"
        single = identifier[:4] + ("0100" if identifier[:2] == "02" else "0000") if block else identifier
        size = int(table[single][2])
        code = values.layout("%s%d" % ("sbcd" if table[single][5] == "1" else "bcd", 8 * size))
        equal(len(data) % size, 0, entry["id"])
        found = [values.number(data, at, identifier_bytes(single), code) for at in range(0, len(data), size)]
        equal([value for value, _ in found], entry["numbers"], entry["id"])
        true(all([quality == (NOT_CONFIGURED if value is None else GOOD) for value, quality in found]))
        seen += 1
    equal(seen, 26)


def test_decimals_signs_and_what_is_no_number():
    equal(number("bcd16", b"\x03\x23"), (2303, GOOD))
    equal(number("sbcd24", b"\x99\x49\x00"), (4999, GOOD))
    # The sign is the top bit of the last byte: -12.34 kWh as the library dlt645 writes it.
    equal(number("sbcd32", b"\x34\x12\x00\x80"), (-1234, GOOD))
    equal(number("sbcd32", b"\x99\x99\x99\xf9"), (-79999999, GOOD))
    equal(number("sbcd32", b"\x99\x99\x99\x79"), (79999999, GOOD))
    equal(number("sbcd24", b"\x00\x00\x80"), (0, GOOD))
    equal(number("bcd32", b"\x99\x99\x99\x99"), (99999999, GOOD), "without a sign the whole range")
    for data in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff"):
        equal(number("bcd32", data), (None, NOT_CONFIGURED if data == b"\xff" * 4 else BAD_REPLY))
    equal(number("sbcd32", b"\xff\xff\xff\xff"), (None, NOT_CONFIGURED))
    for bad in (0x0A, 0xA0, 0x1F, 0xEE):
        for at in range(4):
            data = bytearray(4)
            data[at] = bad
            equal(number("bcd32", data), (None, BAD_REPLY))
    # In the last byte the sign takes one bit: EEh is 6Eh, and E is no digit.
    equal(number("sbcd16", b"\xee\xee"), (None, BAD_REPLY))
    equal(number("sbcd16", b"\x00\xa0"), (-2000, GOOD))
    for name in ("", "bcd", "bcd12", "bcd72", "sbcd", "uint16", "bcd0", "time48", "sbcd4"):
        equal(values.layout(name), None, name)


def test_a_demand_has_its_time():
    data = b"\x34\x12\x00" + b"\x34\x12\x02\x01\x23"  # 0.1234 kW at 2023-01-02 12:34
    equal(number("bcd24", data, "01010000"), (1234, GOOD))
    equal(number("time40", data, "01010000"), (1672662840, GOOD))
    equal(number("time40", b"\0\0\0" + b"\x00\x00\x29\x02\x24", "01010000"), (1709164800, GOOD), "a leap day")
    for bad in ("6000010123", "0024010123", "0000320123", "0000290223", "0000011323", "00000a0123", "0000010aff"):
        equal(number("time40", bytes(3) + bytes.fromhex(bad), "01010000"), (None, BAD_REPLY), bad)
    equal(number("time40", bytes(8), "01010000"), (None, NOT_CONFIGURED), "there was none yet")


def test_neighbours_are_read_by_their_block():
    plan = profile().plan
    equal(
        [(text_of(block.address), block.count, block.rows) for block in plan.blocks],
        [
            ("00150000", 4, [8]),
            ("0001FF00", 8, [6, 7]),
            ("01010000", 8, [10]),
            ("0201FF00", 6, [0, 1, 2]),
            ("02020100", 3, [3]),
            ("0203FF00", 6, [4, 5]),
            ("02800002", 2, [9]),
            ("04000402", 6, [11]),
        ],
    )
    true(all([block.function == READ for block in plan.blocks]))


def read(plan, answers):
    """One pass: `answers` are identifier → data, or an error code; what was asked, values, qualities."""
    readings, qualities = plan.empty()
    asked = []
    i = 0
    while i < len(plan.blocks):
        name = text_of(plan.blocks[i].address)
        asked.append(name)
        answer = answers.get(name, 2)
        if type(answer) is int:
            plan.refused(i)
            continue
        plan.decode(i, answer, readings, qualities)
        i += 1
    readings, qualities = plan.finish(readings, qualities)
    return asked, readings, qualities


def test_values_of_a_pass():
    answers = {
        "0201FF00": b"\x56\x22\xff\xff\xff\xff",  # F12, a single-phase meter
        "02020100": b"\x99\x49\x80",
        "0203FF00": b"\x12\x25\x00" + b"\x12\x25\x80" + bytes(6),
        "0001FF00": b"\x29\x01\x00\x00" + b"\x62\x00\x00\x00" * 4,  # F11
        "00150000": b"\xee\xee\xee\xee",
        "02800002": b"\x98\x49",
        "01010000": b"\x34\x12\x00" + bytes(5),
        "04000402": address_bytes("002241020208"),
    }
    _, readings, qualities = read(profile().plan, answers)
    want = {
        "voltage_l1": 2256, "current_l1": -4999, "active_power": 2512, "active_power_l1": -2512,
        "import_active_energy": 129, "import_active_energy_t1": 62, "frequency": 4998,
        "active_power_demand_max": 1234, "serial_number": 2241020208,
    }  # fmt: skip
    for i, row in enumerate(ROWS):
        equal(readings[i], want.get(row[0]), row[0])
        bad = {"voltage_l2": NOT_CONFIGURED, "voltage_l3": NOT_CONFIGURED, "import_active_energy_l1": BAD_REPLY}
        equal(qualities[i], bad.get(row[0], GOOD), row[0])


def test_a_refused_block_is_read_one_by_one():
    answers = {
        "02010100": b"\x56\x22", "02010300": b"\x57\x22", "02030000": bytes(3), "02030100": bytes(3),
        "00010000": bytes(4), "00150000": bytes(4), "02800002": b"\x00\x50", "04000402": bytes(6),
    }  # fmt: skip
    plan = profile().plan
    asked, readings, qualities = read(plan, answers)
    true("0201FF00" in asked and "02010200" in asked)
    equal([readings[i] for i in (0, 1, 2)], [2256, None, 2257])
    equal(qualities[1], NOT_CONFIGURED)
    asked, readings, _ = read(plan, answers)
    true(not any([name in asked for name in ("0201FF00", "02010200", "0203FF00", "02020100")]), "this was learnt")
    equal([readings[i] for i in (0, 1, 2)], [2256, None, 2257])
    plan.ask_again()
    asked, _, _ = read(plan, answers)
    true("02010200" in asked and "02020100" in asked)
    true("0201FF00" not in asked)


def test_a_reply_of_another_size_has_no_value():
    plan = profile().plan
    for answers in (
        {"0201FF00": b"\x56\x22\xff", "02020100": b"\x99\x49", "00150000": bytes(8), "02800002": b""},
        {"0201FF00": b"", "02020100": bytes(6), "00150000": bytes(3), "02800002": bytes(3)},
    ):
        _, readings, qualities = read(plan, answers)
        for i in (0, 1, 2, 3, 8, 9):
            equal((readings[i], qualities[i]), (None, BAD_REPLY), ROWS[i][0])
    plan = profile().plan
    _, readings, qualities = read(plan, {"0201FF00": b"\x56\x22"})
    equal((readings[:3], list(qualities[:3])), ([2256, None, None], [GOOD, NOT_CONFIGURED, NOT_CONFIGURED]))


def test_ratios_that_are_set_are_multiplied():
    rows = [ROWS[0], ROWS[3], ROWS[4], ROWS[6]]
    made = profile(rows, ct_ratio="100:5", vt_ratio="10")
    answers = {"02010100": b"\x56\x22", "02020100": b"\x99\x49\x00", "02030000": b"\x12\x25\x00"}
    answers["00010000"] = b"\x01\x00\x00\x00"
    _, readings, qualities = read(made.plan, answers)
    equal(readings, [22560, 99980, 502400, 200])
    equal(list(qualities), [GOOD] * 4)
    equal(made.channels[3].rollover, 200 * 10**8)


def test_what_cannot_be_a_profile():
    for row, words in (
        (["voltage_l1", 40, "bcd16", 1, "V", ""], "8 hexadecimal digits"),
        (["voltage_l1", "0201010", "bcd16", 1, "V", ""], "8 hexadecimal digits"),
        (["voltage_l1", "0201ff00", "bcd16", 1, "V", ""], "8 hexadecimal digits"),
        (["voltage_l1", "0201FF00", "bcd16", 1, "V", ""], "is a block"),
        (["voltage_l1", "02010100", "uint16", 1, "V", ""], "unknown type 'uint16'"),
        (["voltage_l1", "02010100", 16, 1, "V", ""], "unknown type"),
        (["active_power_demand_max", "01010000", "bcd32", 4, "kW", ""], "24 bits"),
        (["serial_number", "04000402", "time40", 0, "1", ""], "only a demand"),
        (["voltage_l1", "02010100", "bcd16", 1, "V", "", {"order": "CDAB"}], "is for Modbus"),
    ):
        error = raises(ProfileError, profile, [row])
        true(words in str(error), "%s in %s" % (words, error))
    wrong = document(ROWS)
    wrong["protocol"] = "dlt698"
    true("modbus, dlt645" in str(raises(ProfileError, profiles.load, wrong, "made-up")))
    wrong = document(ROWS)
    wrong["function"] = 3
    true("for Modbus" in str(raises(ProfileError, profiles.load, wrong, "made-up")))

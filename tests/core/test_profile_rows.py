"""What a row of a profile can say: each option read from registers, each fault of one refused by name and reason."""

from check import equal, raises, true
from parkgate.errors import ProfileError
from parkgate.meters import profiles, registers
from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, SECONDARY_SIDE, SENSOR_FAULT, TIMEOUT


def document(*rows, **fields):
    base = {"meter": "m", "manual": "m", "sources": ["s"], "licences": ["l"], "function": 3, "order": "ABCD"}
    base["registers"] = [list(row) for row in rows]
    base["usual"] = [row[0] for row in rows]
    base.update(fields)
    return base


def row(quantity, address, type_name, decimals=0, unit="W", **options):
    return [quantity, address, type_name, decimals, unit, "", options]


def sample(profile, held, failed=None):
    """[(value, quality), …] of one pass over the reads. `held`: address → word; others are refused. `failed`: address →
    quality with which a read that holds it fails."""
    plan = profile.plan
    values, qualities = plan.empty()
    i = 0
    while i < len(plan.blocks):
        block = plan.blocks[i]
        addresses = range(block.address, block.address + block.count)
        lost = [failed[a] for a in addresses if failed and a in failed]
        if lost:
            plan.failed(i, lost[0], values, qualities)
        elif any([a not in held for a in addresses]):
            plan.refused(i)
            continue
        else:
            plan.decode(i, b"".join([held[a].to_bytes(2, "big") for a in addresses]), values, qualities)
        i += 1
    values, qualities = plan.finish(values, qualities)
    return list(zip(values, qualities))


def read(described, held, failed=None, **ratios):
    return sample(profiles.load(described, "m", (), ratios.get("ct", ""), ratios.get("vt", "")), held, failed)


def one(held, *words, **options):
    """The reading of one row at address 0 with these options."""
    fields = options.pop("fields", {})
    return read(document(row("active_power", 0, *words, **options), **fields), dict(enumerate(held)))[0]


def refused(words, *rows, **fields):
    said = str(raises(ProfileError, profiles.load, document(*rows, **fields), "m"))
    for word in words:
        true(word in said, "%r in %r" % (word, said))


# What a row of its own can say.


def test_function_and_order_of_a_row():
    described = document(
        row("active_power", 0, "sign32", 0, "W", order="CDAB"),
        row("import_active_energy", 2, "uint32", 0, "Wh"),
        row("voltage", 0, "uint16", 1, "V", function=4),
    )
    plan = profiles.load(described, "m").plan
    equal([(b.function, b.address, b.count) for b in plan.blocks], [(3, 0, 4), (4, 0, 1)])
    values = read(described, {0: 0x05DC, 1: 0x8000, 2: 1, 3: 0})
    equal(values[:2], [(-1500, GOOD), (65536, GOOD)])


def test_both_ends_of_a_type_are_not_available_without_a_word():
    for type_name, contents in (
        ("int16", [0x8000]), ("int16", [0x7FFF]), ("uint16", [0xFFFF]), ("int32", [0x7FFF, 0xFFFF]),
        ("int32", [0x8000, 0]), ("uint32", [0xFFFF, 0xFFFF]), ("int64", [0x8000, 0, 0, 0]), ("sign16", [0x8000]),
        ("uint48", [0xFFFF] * 3), ("bcd32", [0xFFFF, 0xFFFF]), ("mod10k48", [0x8000] * 3), ("sbcd16", [0xFFFF]),
    ):  # fmt: skip
        equal(one(contents, type_name), (None, NOT_CONFIGURED), type_name)
        equal(one(contents, type_name, not_available=[])[1] == NOT_CONFIGURED, False, type_name)
    equal(one([0xFFFF], "int16"), (-1, GOOD))
    equal(one([0x7FFF], "uint16"), (32767, GOOD))
    equal(one([0x12A4], "bcd16"), (None, BAD_REPLY))


def test_patterns_of_the_manual():
    equal(one([0xFFF5], "uint16", not_available=["FFF0-FFFE", "1234"]), (None, NOT_CONFIGURED))
    equal(one([0x1234], "uint16", not_available=["FFF0-FFFE", "1234"]), (None, NOT_CONFIGURED))
    equal(one([0xFFFF], "uint16", not_available=["1234"]), (None, NOT_CONFIGURED), "the end of the type as well")
    equal(one([0x1235], "uint16", not_available=["1234"]), (0x1235, GOOD))
    equal(one([0x7FC0, 0], "float32"), (None, SENSOR_FAULT))
    equal(one([0x7FC0, 0], "float32", not_available=["nan"]), (None, NOT_CONFIGURED))
    equal(one([0xFFC0, 1], "float32", fields={"not_available": {"float32": ["nan"]}}), (None, NOT_CONFIGURED))
    equal(one([0x7F80, 0], "float32", not_available=["nan"]), (None, SENSOR_FAULT), "infinity")
    equal(one([9], "uint16", fields={"not_available": {"uint16": ["0009"], "int16": ["0008"]}}), (None, NOT_CONFIGURED))
    states = document(["meter_status", 0, "uint16", 0, "1", ""])
    equal(read(states, {0: 0xFFFF}), [(65535, GOOD)], "all bits of a state may be set")


def test_factor_and_offset_are_exact_fractions():
    equal(one([10], "uint16", 0, "W", factor=[1, 3], fields={"scales": {"active_power": 3}}), (3333, GOOD))
    equal(one([5], "uint16", 0, "W", factor=[1, 2], fields={"scales": {"active_power": 0}}), (3, GOOD))
    equal(one([0xFFFB], "int16", 0, "W", factor=[1, 2], fields={"scales": {"active_power": 0}}), (-3, GOOD))
    warm = document(row("temperature", 0, "int16", 1, "Cel", offset=[-55, 2]))
    equal(read(warm, {0: 500}), [(225, GOOD)])
    float_row = row("active_power", 0, "float32", 0, "kW", factor=[1, 3])
    equal(read(document(float_row), {0: 0x4040, 1: 0}), [(10000, GOOD)])


def test_packed_fields():
    described = document(
        row("voltage", 0, "uint16", 0, "V", bits=[8, 15]),
        row("active_power", 0, "int16", 0, "W", bits=[0, 3]),
        row("import_active_energy", 1, "uint32", 0, "Wh", bits=[4, 27]),
    )
    equal(read(described, {0: 0xE6AD, 1: 0xF123, 2: 0x4567}), [(230, GOOD), (-3, GOOD), (0x123456, GOOD)])
    equal(read(described, {0: 0xFFFF, 1: 0, 2: 0})[0], (None, NOT_CONFIGURED))


def test_schneider_power_factor():
    rows = (
        row("power_factor", 0, "int16", 3, "1", coding="schneider_pf"),
        row("power_quadrant", 0, "int16", 3, "1", coding="schneider_quadrant"),
    )
    for says, factor, quadrant in ((900, 900, 1), (-900, -900, 2), (-1100, -900, 3), (1100, 900, 4), (1000, 1000, 1)):
        equal(read(document(*rows), {0: says & 0xFFFF}), [(factor, GOOD), (quadrant, GOOD)])
    equal(read(document(*rows), {0: 2001}), [(None, SENSOR_FAULT)] * 2)


# What other registers say.


def sunspec(power):
    return document(
        row("active_power", 0, "int16", 0, "W", power_of_ten="w_sf"),
        auxiliary=[["w_sf", 4, "int16", 0, "1", "W_SF"]],
        scales={"active_power": power},
    )


def test_a_scale_factor_register():
    equal(read(sunspec(0), {0: 1234, 4: 1}), [(12340, GOOD)])
    equal(read(sunspec(1), {0: 1234, 4: 0xFFFE}), [(123, GOOD)], "12.34 W in tenths")
    equal(read(sunspec(0), {0: 1234, 4: 11}), [(None, SENSOR_FAULT)], "a scale factor is -10 to 10")
    equal(read(sunspec(0), {0: 1234, 4: 0x8000}), [(None, NOT_CONFIGURED)])


def test_without_its_scale_register_a_reading_has_no_value():
    equal(read(sunspec(0), {0: 1234}), [(None, NOT_CONFIGURED)], "refused")
    equal(read(sunspec(0), {0: 1234, 4: 1}, {4: TIMEOUT}), [(None, TIMEOUT)])
    equal(read(sunspec(0), {0: 1234, 4: 1}, {0: BAD_REPLY}), [(None, BAD_REPLY)])


def test_decimal_point_sign_and_unit_registers():
    described = document(
        row("import_active_energy", 0, "uint32", 0, "kWh", decimals_from="point"),
        row("active_power", 2, "uint16", 0, "W", times="sign", power_of_ten="unit"),
        auxiliary=[
            ["point", 27, "uint16", 0, "1", ""],
            ["sign", 28, "uint16", 0, "1", "", {"bits": [3, 3], "map": {"0": 1, "1": -1}}],
            ["unit", 29, "uint16", 0, "1", "", {"map": {"0": 0, "1": 3}}],
        ],
        scales={"import_active_energy": -2, "active_power": 0},
    )
    held = {0: 1, 1: 0xE240, 2: 42, 27: 1, 28: 8, 29: 1}
    equal(read(described, held), [(123456, GOOD), (-42000, GOOD)], "12,345.6 kWh")
    held[28] = 7
    equal(read(described, held)[1], (42000, GOOD))
    held[29] = 2
    equal(read(described, held)[1], (None, SENSOR_FAULT), "a unit that the manual does not name")


def test_divided_by_and_plus():
    described = document(
        row("import_active_energy", 0, "uint16", 0, "kWh", plus="rest"),
        row("current", 1, "uint16", 0, "A", divided_by=["parts"]),
        auxiliary=[["rest", 2, "uint16", 3, "1", "Wh"], ["parts", 3, "uint16", 0, "1", ""]],
        scales={"import_active_energy": 0, "current": 3},
    )
    equal(read(described, {0: 12, 1: 7, 2: 345, 3: 3}), [(12345, GOOD), (2333, GOOD)])
    equal(read(described, {0: 12, 1: 7, 2: 345, 3: 0})[1], (None, SENSOR_FAULT))


# Transformer ratios.


def behind_transformers(**fields):
    return document(
        row("current", 0, "uint16", 3, "A"),
        row("voltage", 1, "uint16", 1, "V"),
        row("active_power", 2, "int16", 0, "W"),
        row("import_active_energy", 3, "uint32", 0, "Wh"),
        row("frequency", 5, "uint16", 2, "Hz"),
        **fields,
    )


HELD = {0: 4500, 1: 2300, 2: 1000, 3: 0, 4: 7, 5: 5000, 6: 20, 7: 100, 8: 5, 9: 10}


def test_ratios_of_settings():
    direct = behind_transformers()
    equal(read(direct, HELD), [(4500, GOOD), (2300, GOOD), (1000, GOOD), (7, GOOD), (5000, GOOD)])
    equal(read(direct, HELD, ct="100:5")[:4], [(90000, GOOD), (2300, GOOD), (20000, GOOD), (140, GOOD)])
    found = read(behind_transformers(side="secondary"), HELD, ct="7/3", vt="10")
    equal(found[:4], [(10500, GOOD), (23000, GOOD), (23333, GOOD), (163, GOOD)])
    said = raises(ProfileError, profiles.load, behind_transformers(side="primary"), "m", (), "20")
    true("ct_ratio: none of its channels takes one" in str(said), said)
    for bad in ("0", "-3", "a", "1:2:3", "100:0", "1.5", "99999999", ":5", "5:"):
        said = str(raises(ProfileError, profiles.load, direct, "m", (), bad))
        true("ct_ratio: %r is not a ratio" % bad in said, said)


def test_an_unknown_ratio_is_said():
    found = read(behind_transformers(side="secondary"), HELD)
    equal(found[0], (4500, SECONDARY_SIDE))
    equal([quality for _, quality in found], [SECONDARY_SIDE, GOOD, SECONDARY_SIDE, SECONDARY_SIDE, GOOD])
    found = read(behind_transformers(side="secondary", ratio={"ct": "set", "vt": "set"}), HELD, ct="20")
    equal([quality for _, quality in found], [GOOD, SECONDARY_SIDE, SECONDARY_SIDE, SECONDARY_SIDE, GOOD])
    profile = profiles.load(behind_transformers(side="secondary"), "m")
    true(profile.words().endswith(", ct not set, secondary side"), profile.words())
    equal(sample(profile, {0: 0xFFFF, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1})[0], (None, NOT_CONFIGURED))


def test_ratios_of_registers():
    auxiliary = [
        ["ct_1", 7, "uint16", 0, "1", ""], ["ct_2", 8, "uint16", 0, "1", ""],
        ["vt", 9, "uint16", 1, "1", "", {"absent": 1}], ["ct_whole", 6, "uint16", 0, "1", ""],
    ]  # fmt: skip
    pair = behind_transformers(side="secondary", ratio={"ct": ["ct_1", "ct_2"], "vt": "vt"}, auxiliary=auxiliary)
    profile = profiles.load(pair, "m")
    equal(sample(profile, HELD)[:4], [(90000, GOOD), (2300, GOOD), (20000, GOOD), (140, GOOD)])
    equal(profile.plan.ratios, {"ct": (20, 1), "vt": (1, 1)})
    true(profile.words().endswith(", ct from registers, vt from registers"), profile.words())
    without = dict(HELD)
    del without[9]
    equal(read(pair, without)[1], (2300, GOOD), "a meter without the register has no voltage transformers")
    equal(read(pair, HELD, {9: TIMEOUT})[1], (None, TIMEOUT), "one that is silent may have them")
    equal(read(pair, HELD, {8: TIMEOUT})[0], (None, TIMEOUT))
    none = dict(HELD)
    none[8] = 0
    equal(read(pair, none)[0], (None, SENSOR_FAULT), "no ratio is 20:0")
    absurd = dict(HELD)
    absurd[7], absurd[8] = 10001, 1
    equal(read(pair, absurd)[0], (None, SENSOR_FAULT), "no transformer has 10001:1")
    absurd[7] = 10000
    equal(read(pair, absurd)[0][1], GOOD)
    set_too = profiles.load(pair, "m", (), "50:5")
    equal(sample(set_too, HELD)[0], (45000, GOOD), "a ratio that is set holds, whatever the register says")
    equal([block.address for block in set_too.plan.blocks], [0, 9], "which is then not read")
    fixed = behind_transformers(side="secondary", ratio={"ct": ["ct_1", 5]}, auxiliary=auxiliary)
    equal(read(fixed, HELD)[:2], [(90000, GOOD), (2300, GOOD)])


def test_rows_of_both_sides_in_one_file():
    described = document(
        row("current", 0, "uint16", 3, "A"),
        row("current_l1", 0, "uint16", 3, "A", side="primary"),
        row("current_residual", 0, "uint16", 3, "A", ratio=""),
        side="secondary",
    )
    equal([v for v, _ in read(described, {0: 100}, ct="20")], [2000, 100, 100])
    equal([q for _, q in read(described, {0: 100})], [SECONDARY_SIDE, GOOD, GOOD])


def test_counters_know_their_end_and_step_behind_a_ratio():
    energy = row("import_active_energy", 0, "uint32", 2, "kWh")
    plain, behind = profiles.load(document(energy), "m"), profiles.load(document(energy), "m", (), "20")
    equal((plain.channels[0].rollover, plain.channels[0].step), (1 << 32, 1))
    equal((behind.channels[0].rollover, behind.channels[0].step), (20 << 32, 20))
    shown = document(energy, rollover=10000000)
    equal(profiles.load(shown, "m").channels[0].rollover, 10000000)
    by_register = document(
        energy, side="secondary", ratio={"ct": "r"}, auxiliary=[["r", 2, "uint16", 0, "1", ""]], rollover=10000000
    )
    profile = profiles.load(by_register, "m")
    equal(profile.channels[0].rollover, None, "known with a sample only")
    sample(profile, {0: 0, 1: 1, 2: 20})
    equal(profile.plan.ends, {0: (200000000, 20, (20, 1))})


# Pages and unlocking.


def test_writes_before_reading():
    described = document(
        row("voltage", 10, "uint16", 1, "V"),
        row("import_active_energy", 10, "uint32", 0, "Wh", page="b"),
        row("export_active_energy", 11, "uint32", 0, "Wh", page="a"),
        row("import_reactive_energy", 13, "uint32", 0, "varh", page="a"),
        unlock=[[100, 0x55AA]],
        pages={"a": [[50, 1]], "b": [[50, 2], [51, 3]]},
    )
    plan = profiles.load(described, "m").plan
    equal([(b.address, b.count, b.page) for b in plan.blocks], [(10, 1, 0), (11, 4, 1), (10, 2, 2)])
    unlock = (100, 0x55AA)
    equal([plan.writes(i) for i in range(3)], [(unlock,), (unlock, (50, 1)), (unlock, (50, 2), (51, 3))])
    plan.refused(1)
    equal([plan.writes(i) for i in (1, 2)], [(unlock, (50, 1))] * 2, "each part: a write may be lost")
    equal(profiles.load(document(row("voltage", 0, "uint16", 1, "V")), "m").plan.writes(0), ())


# The id of what is applied.


def test_the_content_id_follows_whatever_changes_a_reading():
    def content(described, channels=(), ct=""):
        return profiles.load(described, "m", channels, ct).content_id

    base = sunspec(0)
    first = content(base)
    equal(len(first), 32)
    equal(first, content(sunspec(0)))
    seen = [first]
    for changes in (
        {"scales": {"active_power": 1}},
        {"order": "CDAB"},
        {"function": 4},
        {"registers": [row("active_power", 0, "int16", 1, "W", power_of_ten="w_sf")]},
        {"registers": [row("active_power", 0, "int16", 0, "kW", power_of_ten="w_sf")]},
        {"registers": [row("active_power", 1, "int16", 0, "W", power_of_ten="w_sf")]},
        {"registers": [row("active_power", 0, "uint16", 0, "W", power_of_ten="w_sf")]},
        {"registers": [row("active_power", 0, "int16", 0, "W", decimals_from="w_sf")]},
        {"registers": [row("active_power", 0, "int16", 0, "W", power_of_ten="w_sf", factor=2)]},
        {"registers": [row("active_power", 0, "int16", 0, "W", power_of_ten="w_sf", not_available=["0000"])]},
        {"auxiliary": [["w_sf", 5, "int16", 0, "1", ""]]},
        {"auxiliary": [["w_sf", 4, "int16", 1, "1", ""]]},
        {"auxiliary": [["w_sf", 4, "int16", 0, "1", "", {"factor": 2}]]},
        {"unlock": [[1, 2]]},
        {"side": "secondary"},
    ):
        changed = dict(base)
        changed.update(changes)
        seen.append(content(changed))
    seen.append(content(base, (), "20"))
    seen.append(content(base, (), "30"))
    equal(len(set(seen)), len(seen))
    same = dict(base)
    same.update({"notes": ["x"], "meter": "y", "gap_max": 3, "line": {"baud": 9600}})
    equal(content(same), first, "words and line facts do not change a reading")


# Faults.


def test_faults_of_options_are_named():
    good = row("active_power", 0, "int16")
    aux = ["a", 4, "int16", 0, "1", ""]
    for option, value, words in (
        ("colour", 1, ["unknown option 'colour'"]),
        ("function", 7, ["function: 7"]),
        ("order", "BA", ["order: 'BA'"]),
        ("not_available", ["FF"], ["'FF' is not 4 hexadecimal digits"]),
        ("not_available", ["ffff"], ["'ffff'"]),
        ("not_available", ["FFFF-0000"], ["backwards"]),
        ("not_available", "FFFF", ["list"]),
        ("not_available", ["nan"], ["'nan'"]),
        ("factor", 0, ["factor: 0"]),
        ("factor", [1, 0], ["factor: [1, 0]"]),
        ("factor", [1, 2, 3], ["factor"]),
        ("offset", "1", ["offset: '1'"]),
        ("times", "b", ["times: 'b' is not among the auxiliaries"]),
        ("times", [], ["times"]),
        ("plus", ["a", "a"], ["plus"]),
        ("bits", [3, 16], ["bits 3 to 16; they are 0 to 15"]),
        ("bits", [5, 4], ["bits 5 to 4"]),
        ("bits", 3, ["bits is [first, last]"]),
        ("coding", "x", ["coding 'x'"]),
        ("page", "p", ["page 'p' is not among the pages"]),
        ("side", "left", ["side 'left'"]),
        ("ratio", "pt", ["ratio 'pt'"]),
        ("rollover", 5, ["rollover"]),
        ("map", {"0": 1}, ["unknown option 'map'"]),
    ):
        refused(["m: registers entry 1 (active_power): "] + words, good[:6] + [{option: value}], auxiliary=[aux])
    refused(["options are an object"], good[:6] + [5])
    refused(["coding takes no factor"], good[:6] + [{"coding": "schneider_pf", "factor": 2}])


def test_faults_of_fields_are_named():
    good = row("active_power", 0, "int16")
    for fields, words in (
        ({"not_available": {"int17": []}}, ["not_available: unknown type 'int17'"]),
        ({"not_available": {"int16": ["8"]}}, ["int16", "'8' is not 4"]),
        ({"side": "third"}, ["side: 'third'"]),
        ({"above_max": "noise"}, ["above_max: 'noise'"]),
        ({"ratio": {"pt": "set"}}, ["ratio: unknown 'pt'"]),
        ({"ratio": {"ct": "x"}, "side": "secondary"}, ["ratio: 'x' is not"]),
        ({"ratio": {"ct": [100, 5]}, "side": "secondary"}, ["ratio: [100, 5] is not"]),
        ({"ratio": {"ct": "set"}}, ["ratio: no row is secondary-side"]),
        ({"auxiliary": [["A", 4, "int16", 0, "1", ""]]}, ["auxiliary entry 1", "name 'A'"]),
        ({"auxiliary": [["a", 4, "int16", 0, "W", ""]]}, ["auxiliary entry 1 (a)", "wrong unit 'W'"]),
        ({"auxiliary": [["a", 4, "int16", 0, "1", "", {"map": {"x": 1}}]]}, ["map is"]),
        ({"auxiliary": [["a", 4, "int16", 0, "1", "", {"map": {}}]]}, ["map is"]),
        ({"auxiliary": [["a", 4, "int16", 0, "1", "", {"times": "a"}]]}, ["unknown option 'times'"]),
        ({"auxiliary": [["a", 4, "int16", 0, "1", ""], ["a", 5, "int16", 0, "1", ""]]}, ["entry 2 (a)", "entry 1"]),
        ({"unlock": [[1, 2, 3]]}, ["unlock: [1, 2, 3]"]),
        ({"unlock": [[0, 0]] * 5}, ["unlock: at most 4"]),
        ({"unlock": [[0, 65536]]}, ["unlock: [0, 65536]"]),
        ({"pages": {"a": []}}, ["pages: 'a'"]),
        ({"line": {"baud": 9601}}, ["baud: 9601"]),
        ({"line": {"rest_ms": 9999}}, ["rest_ms: 9999"]),
        ({"line": {"speed": 1}}, ["line: unknown 'speed'"]),
        ({"protocol": "iec"}, ["protocol: 'iec'"]),
        ({"rollover": -1}, ["rollover"]),
        ({"sunspec": {"x": ""}}, ["sunspec: 'x'"]),
    ):
        if "rollover" in fields:
            refused(words, row("import_active_energy", 0, "uint16", 0, "Wh"), **fields)
        else:
            refused(words, good, **fields)


def test_simple_rows_compile_to_no_rule():
    described = document(
        row("active_power", 0, "int32", 1, "W", not_available=["7FFFFFFF"]),
        row("voltage", 2, "uint16", 1, "V"),
        row("import_active_energy", 4, "float32", 0, "kWh"),
    )
    plan = profiles.load(described, "m").plan
    equal(plan.rules, None)
    equal([registers.width(code) for _, code, _ in plan.entries], [2, 1, 2])

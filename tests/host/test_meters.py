"""`parkgate meters`, the included profiles, load curves, and floats taken apart."""

import re
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools import cli
from host_tools.base.paths import METER_PROFILES
from host_tools.meters import command, load_curve, register_map
from parkgate import quantities
from parkgate.errors import ProfileError, SettingsError
from parkgate.meters import profiles, registers
from parkgate.reading import GOOD, SENSOR_FAULT

NAMES = sorted(path.stem for path in METER_PROFILES.glob("*.json"))

# These are promised.
# fmt: off
NAMED = (
    "eastron-sdm120", "eastron-sdm220", "eastron-sdm230", "eastron-sdm630", "eastron-sdm72d", "pzem-004t",
    "schneider-iem3000", "carlo-gavazzi-em24", "carlo-gavazzi-em111", "carlo-gavazzi-em340", "abb-b2x",
    "chint-ddsu666", "chint-dtsu666", "orno-we514", "orno-we516", "finder-7m24", "finder-7m38",
    "siemens-pac3200", "janitza-umg96rm", "lovato-dmg610", "selec-mfm383a", "socomec-countis-e3x",
)
# fmt: on

# RFC 8428 section 12.1 and RFC 8798 section 3 (only those that the table uses).
# fmt: off
SENML_UNITS = (
    "V", "A", "W", "var", "VA", "/", "Hz", "deg", "/100", "Wh", "varh", "kVAh", "count", "s", "m3", "l/s",
    "Pa", "1/min", "Cel", "%RH", "mA", "mV", "m/s", "m/s2", "B",
)
# fmt: on


def test_the_named_meters_are_there():
    assert len(NAMES) >= 75
    assert set(NAMED) <= set(NAMES)


def test_units_are_in_the_senml_registry():
    for quantity in quantities.everything():
        assert quantity.senml in SENML_UNITS or quantity.kind == "state", quantity.name
        assert quantity.obis is None or re.fullmatch(r"\d{1,3}\.[78456]\.\d{1,3}", quantity.obis)


@pytest.mark.parametrize("name", NAMES)
def test_every_register_of_every_profile_says_where_it_is_from(name):
    document = register_map.read_document(name)
    assert document["sources"] and document["licences"] and document["manual"]
    text = (METER_PROFILES / f"{name}.json").read_text(encoding="utf-8")
    assert command.check_text(text, name) is None
    assert len(text) < 6000, "small enough for a board to parse"


def test_list_and_show_and_check(capsys):
    assert cli.main(["meters", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in NAMES)
    assert "+energy-401e" in listed
    for name in NAMES:
        assert cli.main(["meters", "show", name]) == 0
    assert cli.main(["meters", "show", "chint-dtsu666+energy-401e"]) == 0
    assert "16414" in capsys.readouterr().out
    assert cli.main(["meters", "check"]) == 0
    assert f"{len(NAMES)} of {len(NAMES)} profiles are good" in capsys.readouterr().out
    assert cli.main(["meters", "show", "no-such-meter"]) == 2
    assert "parkgate meters list" in capsys.readouterr().err
    assert cli.main(["meters", "show", "eastron-sdm630+fc9"]) == 2


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (('["voltage_l2"', '["voltage_l9"'), "voltage_l9", "unknown quantity"),
        (('["voltage_l2", 2,', '["voltage_l2", 70000,'), "70000", "impossible address"),
        (
            ('["voltage_l2", 2, "float32", 0, "V"', '["voltage_l2", 2, "float32", 0, "A"'),
            '2, "float32", 0, "A"',
            "wrong unit",
        ),
        (('["voltage_l2", 2, "float32", 0', '["voltage_l2", 2, "float32", 99'), "99", "wrong scale"),
        (('"order": "ABCD"', '"order": "ABCE"'), "ABCE", "order"),
        (('"function": 4', '"function": 9'), '"function": 9', "function: 9"),
        (('"registers": [', '"colour": 1,\n  "registers": ['), "colour", "unknown field"),
        (('"meter":', '"meter": "again",\n  "meter":'), '"meter"', "twice"),
        (('"gap_max": 16,', '"gap_max": 16'), "registers", "not JSON"),
    ],
)
def test_faults_are_found_by_file_and_line(tmp_path, capsys, change, line, words):
    text = (METER_PROFILES / "eastron-sdm630.json").read_text(encoding="utf-8")
    assert change[0] in text
    text = text.replace(change[0], change[1], 1)
    path = tmp_path / "eastron-sdm630.json"
    path.write_text(text, encoding="utf-8")
    assert cli.main(["meters", "check", str(path)]) == 1
    out = capsys.readouterr().out
    found = re.match(re.escape(str(path)) + r":(\d+): (.*)", out)
    assert found, out
    assert words in found.group(2)
    number = int(found.group(1))
    near = "\n".join(text.splitlines()[max(0, number - 1) : number + 1])
    assert line in near, (number, near)


def test_faults_in_a_variant_are_found(tmp_path):
    text = (METER_PROFILES / "chint-dtsu666.json").read_text(encoding="utf-8")
    text = text.replace("16424", "99999")
    line, message = command.check_text(text, "chint-dtsu666")
    assert "chint-dtsu666+energy-401e" in message and "impossible address 99999" in message
    assert "99999" in text.splitlines()[line - 1]


def test_a_file_name_is_lower_case(tmp_path):
    text = (METER_PROFILES / "ddm18sd.json").read_text(encoding="utf-8")
    assert "lower case" in command.check_text(text, "DDM18SD")[1]


@given(st.binary(max_size=400))
def test_no_file_upsets_the_check(data):
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    assert command.check_text(text, "x") is not None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(sorted(profiles._FIELDS)),
)
def test_no_value_of_a_field_upsets_the_check(value, field):
    document = register_map.read_document("chint-dtsu666")
    document[field] = value
    try:
        profiles.load(document, "x")
    except ProfileError as error:
        assert "x" in str(error)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4), max_leaves=4
    ),
    st.integers(0, 5),
)
def test_no_item_of_a_row_upsets_the_check(item, place):
    document = register_map.read_document("chint-dtsu666")
    document["registers"][3][place] = item
    try:
        profiles.load(document, "x")
    except ProfileError as error:
        assert "entry" in str(error)


@given(st.integers(0, 2**32 - 1), st.integers(-9, 9))
def test_floats_of_32_bits_are_exact(raw, exponent):
    _compare(raw, 32, struct.unpack(">f", raw.to_bytes(4, "big"))[0], exponent)


@given(st.integers(0, 2**64 - 1), st.integers(-9, 9))
def test_floats_of_64_bits_are_exact(raw, exponent):
    _compare(raw, 64, struct.unpack(">d", raw.to_bytes(8, "big"))[0], exponent)


@given(st.floats(-(2.0**39), 2.0**39, width=32), st.integers(-3, 6))
def test_usual_floats_are_exact(number, exponent):
    _compare(struct.unpack(">I", struct.pack(">f", number))[0], 32, number, exponent)


def _compare(raw, bits, number, exponent):
    got = registers.convert(raw, registers.layout(f"float{bits}"), exponent)
    if number - number != 0:
        assert got == (None, SENSOR_FAULT)
        return
    exact = Fraction(number) * Fraction(10) ** exponent
    nearest = int(abs(exact) + Fraction(1, 2))
    value = nearest if exact >= 0 else -nearest
    assert got == ((value, GOOD) if abs(value) < 2**63 else (None, SENSOR_FAULT))


def _limits(type_name):
    """(least, greatest) number that a register type can hold, its ends left out."""
    bits = register_map.bits_of(type_name)
    kind = "mod10k" if type_name.startswith("mod10k") else type_name.rstrip("0123456789")
    top = {"uint": 2**bits - 2, "bcd": 10 ** (bits // 4) - 1, "mod10k": 10 ** (bits // 4) - 1}
    top |= {"int": 2 ** (bits - 1) - 2, "sign": 2 ** (bits - 1) - 2, "sbcd": 8 * 10 ** (bits // 4 - 1) - 1}
    if kind == "time":
        return 946684800, 4102444799 - 1  # 2000 to 2099
    least = 0 if kind in ("uint", "bcd") else -top[kind]
    return max(least, 1 - 2**63), min(top[kind], 2**63 - 1)


WHOLE_TYPES = [name for name in sorted(registers.type_names()) if not name.startswith(("float", "text", "bit"))]


@given(st.data(), st.sampled_from(WHOLE_TYPES), st.sampled_from(registers.ORDERS))
def test_registers_come_back_as_they_were_put_in(data, type_name, order):
    from tests.vectors.generate.meter_vectors import what_it_says

    number = data.draw(st.integers(*_limits(type_name)))
    words = register_map.encode(type_name, order, number)
    packed = b"".join(word.to_bytes(2, "big") for word in words)
    assert registers.decode(packed, 0, registers.layout(type_name, order, True), 0) == (number, GOOD)
    assert what_it_says(type_name, order, words) == number


@given(st.data(), st.sampled_from(sorted(registers.type_names())), st.sampled_from(registers.ORDERS))
def test_no_contents_upset_a_type(data, type_name, order):
    packed = data.draw(st.binary(min_size=32, max_size=32))
    value, quality = registers.decode(packed, 0, registers.layout(type_name, order, data.draw(st.booleans())), 0)
    assert (value is not None) == (quality == GOOD)
    assert value is None or abs(value) < 2**63


def test_the_included_curve_and_others(tmp_path):
    curve = load_curve.read()
    assert curve.peak_w == pytest.approx(153.14 * 4000)
    assert curve.active_w(0) == curve.active_w(384 * 2.0)
    path = tmp_path / "curve.csv"
    path.write_text("# a comment\ntime,power_w\n1,100\n2,300\n3,200\n")
    curve = load_curve.read(path, row_s=10)
    assert curve.active_w(5) == 200
    assert curve.active_ws(10) == pytest.approx(2000)
    assert curve.active_ws(30) == pytest.approx(2000 + 2500 + 1500)
    assert curve.active_ws(65) == pytest.approx(2 * 6000 + 5 * 150)
    path.write_text("time,load\n1,5\n2,6\n")
    with pytest.raises(SettingsError, match="it has time, load"):
        load_curve.read(path)
    assert load_curve.read(path, column="load").active_w(0) == 5
    path.write_text("time,kwh\n1,5\n2,x\n")
    with pytest.raises(SettingsError, match="row 2"):
        load_curve.read(path)
    path.write_text("kwh\n5\n")
    with pytest.raises(SettingsError, match="two rows"):
        load_curve.read(path)
    path.write_text("")
    with pytest.raises(SettingsError, match="no rows"):
        load_curve.read(path)


def test_the_reference_curve_can_be_replayed(reference):
    curve = load_curve.read(reference / "steel_industry.csv")
    assert curve.peak_w == pytest.approx(157.18 * 4000)

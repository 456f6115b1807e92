"""Which meters a total contains: none counts twice, and none is put in another's place."""

import contextlib
import itertools
import json

import pytest

from batches import FakeGateway
from host_tools import cli
from host_tools.hub.park import answers, zone
from host_tools.hub.park.metering import meters
from host_tools.hub.park.metering.meters import Meter, contained
from host_tools.hub.stores.store import connect
from hub_rig import fill_meters, meters_schema
from parkgate.errors import SettingsError
from parkgate.log import statement
from test_hub_park import MINUTE, NOON

NAMES = ("main", "press", "mill")
A, B, C, D = (Meter("aa", name) for name in ("a", "b", "c", "d"))


def by_definition(of, behind):
    """The rule in its own words: each meter counts unless something before it, however far, is in the total."""

    def before(meter):
        found = []
        while meter in behind:
            meter = behind[meter]
            found.append(meter)
        return found

    return [meter for meter in of if not set(before(meter)) & set(of)]


@pytest.mark.parametrize("behind", [
    {}, {B: A}, {B: A, C: A}, {B: A, C: B}, {C: B, B: A, A: D}, {A: D, B: D, C: D}, {C: A, D: B},
])  # fmt: skip
def test_the_rule_for_every_set_of_meters(behind):
    for size in range(5):
        for of in itertools.combinations((A, B, C, D), size):
            inside, left_out = contained(of, behind)
            assert inside == by_definition(of, behind)
            assert {*inside, *left_out} == set(of) and all(main in of for main in left_out.values())


@pytest.fixture
def park(rig):
    """A gate house with the park's main meter, a hall with a main meter and two machines behind it."""
    gate, hall = FakeGateway(1, meters_schema(["supply"])), FakeGateway(2, meters_schema(NAMES))
    gate.name, hall.name = "gate house", "hall 3"
    rig.enrol(gate, hall)
    fill_meters(rig, gate, [10_000], NOON - 40 * zone.HOUR_MS, NOON + MINUTE)
    fill_meters(rig, hall, [6000, 2000, 1000], NOON - 40 * zone.HOUR_MS, NOON + MINUTE)

    def ask(now_ms=NOON):
        with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
            return answers.overview(db, [rig.summary(each) for each in (gate, hall)], zone.zone("UTC"), now_ms)

    rig.ask, rig.gate, rig.hall = ask, gate, hall
    return rig


def say(rig, *words):
    return cli.main(["park", words[0], "--data", str(rig.data_dir), *words[1:]])


def kilo(total):
    assert total["energy"]["today"]["least_mwh"] == total["energy"]["today"]["most_mwh"]
    return total["power"]["value_mw"] // 1_000_000, total["energy"]["today"]["least_mwh"] // 1_000_000


def test_totals_of_hall_and_park(park, capsys):
    assert kilo(park.ask()) == (19, 228), "nothing is said yet: each counts"
    for machine in NAMES[1:]:
        assert say(park, "behind", "--meter", "hall 3", machine, "--main", "hall 3", "main") == 0
    found = park.ask()
    hall = next(each for each in found["halls"] if each["name"] == "hall 3")
    assert kilo(found) == (16, 192) and kilo(hall) == (6, 72)
    assert [each["instrument"] for each in hall["meters"]["inside"]] == ["main"]
    assert [(each["instrument"], each["behind"]["instrument"]) for each in hall["meters"]["left_out"]] == [
        ("press", "main"), ("mill", "main"),
    ]  # fmt: skip
    assert say(park, "behind", "--meter", "hall 3", "main", "--main", "gate house", "supply") == 0
    found = park.ask()
    assert kilo(found) == (10, 120) and found["power"]["of"] == 1
    hall = next(each for each in found["halls"] if each["name"] == "hall 3")
    assert kilo(hall) == (6, 72), "the hall's own total does not contain the meter in the gate house"
    assert found["meters"]["left_out"][1]["behind"]["name"] == "hall 3"
    assert say(park, "apart", "--meter", "hall 3", "mill") == 0
    assert kilo(park.ask()) == (11, 132)
    capsys.readouterr()
    assert say(park, "meters", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["meters"]
    assert [(each["instrument"], each["behind"] and each["behind"]["gateway"]) for each in listed] == [
        ("supply", None), ("main", "gate house"), ("mill", None), ("press", "hall 3"),
    ]  # fmt: skip


def test_a_main_meter_without_readings_leaves_the_total_unknown(park):
    assert say(park, "behind", "--meter", "hall 3", "press", "--main", "hall 3", "main") == 0
    rows = {0: [(NOON + n * MINUTE, 0, [None, None], [8, 8]) for n in range(1, 11)]}
    rows |= {1: [(NOON + n * MINUTE, 0, [20_000, 10**6], [0, 0]) for n in range(1, 11)]}
    park.now_unix_ms = NOON + 11 * MINUTE
    assert park.take((park.hall.batch_topic(), park.hall.batch(tables=rows)))[0].receipt
    hall = next(each for each in park.ask(NOON + 11 * MINUTE)["halls"] if each["name"] == "hall 3")
    assert hall["power"]["known"] == 0 and hall["power"]["of"] == 2, "main and mill; press does not stand in for main"
    assert hall["power"]["value_mw"] == 0


def test_a_meter_does_not_stand_behind_itself(park, capsys):
    assert say(park, "behind", "--meter", "hall 3", "press", "--main", "hall 3", "main") == 0
    assert say(park, "behind", "--meter", "hall 3", "mill", "--main", "hall 3", "press") == 0
    assert say(park, "behind", "--meter", "hall 3", "main", "--main", "hall 3", "mill") == 2
    assert "'main' behind 'mill' behind 'press' behind 'main'" in capsys.readouterr().err
    assert say(park, "behind", "--meter", "hall 3", "main", "--main", "hall 3", "main") == 2
    with contextlib.closing(connect(park.data_dir)) as db:
        assert len(meters.load(db)) == 2, "nothing is changed"


@pytest.mark.parametrize("words, text", [
    (("behind", "--meter", "hall 3", "press"), "--main"),
    (("apart",), "--meter"),
    (("apart", "--meter", "hall 3", "press", "--main", "hall 3", "main"), "no --main"),
    (("behind", "--meter", "hall 9", "press", "--main", "hall 3", "main"), "no gateway is called 'hall 9'"),
    (("behind", "--meter", "hall 3", "x", "--main", "hall 3", "main"), "it has main, mill, press"),
])  # fmt: skip
def test_wrong_words(park, capsys, words, text):
    assert say(park, *words) == 2
    assert text in capsys.readouterr().err


def test_the_log_says_who_changed_it(park):
    assert say(park, "behind", "--meter", "hall 3", "press", "--main", "hall 3", "main") == 0
    assert say(park, "behind", "--meter", "hall 3", "press", "--main", "hall 3", "main") == 0, "again: no change"
    told = [statement.Statement(row[0]) for row in park.rows("SELECT bytes FROM statement ORDER BY leaf")]
    told = [each.facts for each in told if each.kind == statement.SETTING]
    assert told == [{"name": "meter behind", "meter": [park.hall.id.hex(), "press"], "before": None,
                     "value": [park.hall.id.hex(), "main"]}]  # fmt: skip


@pytest.mark.parametrize("text", ["x", "[[1, 2]]", '[[["a", "b"], ["c", 4]]]', "7", "[" * 100_000])
def test_a_damaged_setting_is_no_setting(park, text):
    with contextlib.closing(connect(park.data_dir)) as db:
        db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (meters.NAME, text))
        with pytest.raises(SettingsError):
            meters.load(db)


def test_an_earlier_self_of_a_channel_does_not_stay_unknown(rig):
    gateway = FakeGateway(1, meters_schema(["mill"]))
    rig.enrol(gateway)
    fill_meters(rig, gateway, [6000], NOON - 90 * zone.HOUR_MS, NOON - 80 * zone.HOUR_MS)
    gateway.schema = [["mill", "SDM630; every 60 s", [["active_power", "W", 1], ["import_active_energy", "Wh", 1]]]]
    fill_meters(rig, gateway, [6000], NOON - 40 * zone.HOUR_MS, NOON + MINUTE, steps=10)
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        found = answers.overview(db, [rig.summary(gateway)], zone.zone("UTC"), NOON)
    assert found["energy"]["today"]["known"] == found["energy"]["today"]["of"] == 1
    assert found["energy"]["today"]["least_mwh"] == 72_000_000

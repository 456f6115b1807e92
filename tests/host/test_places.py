"""Places: names that people can tell apart, gateways that come and go, and a history that goes on."""

import contextlib
import hashlib
import json

import pytest

from archives import load_audit
from batches import METER, FakeGateway
from host_tools import cli
from host_tools.base.names import look, place_name, rough_look
from host_tools.hub.park import by_place, zone
from host_tools.hub.park import place as place_page
from host_tools.hub.park.exchange import complete, replace
from host_tools.hub.stores import places
from host_tools.hub.stores.gateways import enrol
from host_tools.hub.stores.store import connect
from host_tools.log import keys
from host_tools.log.signer import Signer
from hub_rig import make_older
from parkgate.errors import SettingsError
from parkgate.log import statement

DAY_MS = 1_790_000_000_000


@contextlib.contextmanager
def opened(rig):
    with contextlib.closing(connect(rig.data_dir)) as db:
        yield db


def said_of_places(rig):
    """The statements about places, in the order of the log, as (entry, Statement)."""
    rows = rig.rows("SELECT entry, bytes FROM statement JOIN leaf USING (leaf) WHERE kind = 4 ORDER BY leaf")
    found = [(entry, statement.Statement(data)) for entry, data in rows]
    return [(entry, said) for entry, said in found if "prior" in said.facts]


# Names.


@pytest.mark.parametrize(
    "text, name",
    [
        ("  Hall 3 ", "Hall 3"),
        ("Hall   3", "Hall 3"),
        ("Geba\u0308ude", "Geb\u00e4ude"),  # NFC
        ("\u179f\u17b6\u179b \u17e3", "\u179f\u17b6\u179b \u17e3"),  # Khmer
        ("3", "3"),
    ],
)
def test_a_name_is_kept_in_one_form(text, name):
    assert place_name(text) == name


@pytest.mark.parametrize("text", ["", "   ", "x" * 65, "a\nb", "a\u200bb", "a\u202eb", "---", "\u3164", "\u2800"])
def test_a_name_that_cannot_be_read_is_refused(text):
    with pytest.raises(SettingsError):
        place_name(text)


@pytest.mark.parametrize(
    "name, other",
    [
        ("Hall A", "Hall \u0410"),  # Cyrillic
        ("Hall A", "hall a"),
        ("HOPE", "\u041d\u041e\u0420\u0415"),
        ("Hall 3", "Hall \uff13"),  # full width
        ("Hall 3", "Hall\u00a03"),
        ("x-1", "x\u20131"),
        ("Hall", "Ha\ufe0fll"),
        ("Oven", "\u039fven"),  # Greek
    ],
)
def test_names_that_look_the_same(name, other):
    assert look(name) == look(other)


@pytest.mark.parametrize("name, other", [("Hall 1", "Hall l"), ("Hall O", "Hall 0"), ("Garn", "Gam"), ("Säge", "Sage")])
def test_names_that_are_easily_taken_for_each_other(name, other):
    assert look(name) != look(other) and rough_look(name) == rough_look(other)


@pytest.mark.parametrize("name, other", [("Hall 1", "Hall 2"), ("Hall 1", "Hall 11"), ("\u179f\u17b6", "\u179f\u17b7")])
def test_names_that_differ(name, other):
    assert rough_look(name) != rough_look(other)


def test_one_look_is_one_place(rig):
    with opened(rig) as db:
        places.add(db, "Hall A", "test")
        with pytest.raises(SettingsError, match="looks the same"):
            places.add(db, "hall \u0410", "test")
        assert places.alike(db, "Hall 4") == []
        places.add(db, "Hall 1", "test")
        assert places.alike(db, "Hall l") == ["Hall 1"]  # a warning, no refusal
        places.add(db, "Hall l", "test")
        with pytest.raises(SettingsError, match="looks the same"):
            places.rename(db, "Hall 1", "HALL A", "test")
        assert [place.name for place in places.listed(db)] == ["Hall 1", "Hall A", "Hall l"]


# What is done, and what the log says of it.


def test_a_gateway_gets_a_place_of_its_own(rig, gateway):
    with opened(rig) as db:
        (place,) = places.listed(db)
        assert (place.name, place.gateway) == ("gateway 0", "gateway 0")
        assert [tuple(stay)[3:] for stay in places.stays(db, place.pl)] == [(0, None)]
    rig.store.refresh()
    assert rig.summary(gateway)["place"] == {"id": place.id.hex(), "name": "gateway 0"}
    ((_, said),) = said_of_places(rig)
    assert said.kind == "place added"
    assert said.facts == {
        "place": place.id, "name": "gateway 0", "gateway": gateway.id, "from_ms": 0, "prior": None,
    }  # fmt: skip


def test_each_statement_names_the_one_before_it(rig, gateway):
    with opened(rig) as db:
        places.rename(db, "gateway 0", "Hall 3", "test")
        places.rename(db, "Hall 3", "Foundry", "test")
        place = places.find(db, "foundry")  # by its look
        kinds = [(kind, facts.get("before")) for _, kind, _, facts in places.history(db, place.pl)]
        assert kinds == [("place added", None), ("place renamed", "gateway 0"), ("place renamed", "Hall 3")]
    before = None
    for entry, said in said_of_places(rig):
        assert said.facts["prior"] == before
        before = entry
    rig.store.refresh()
    assert rig.summary(gateway)["place"]["name"] == "Foundry"


def test_enrolled_at_a_place(rig):
    first, second = FakeGateway(1), FakeGateway(2)
    with opened(rig) as db:
        enrol(db, first.xy, "board 1", place="Hall 3")
        with pytest.raises(SettingsError, match="--replaces"):
            enrol(db, second.xy, "board 2", place="Hall 3")
        with pytest.raises(SettingsError, match="looks the same"):
            places.add(db, "H\u0430ll 3", "test")
        assert db.execute("SELECT count(*) FROM gateway").fetchone() == (1,)
        enrol(db, second.xy, "board 2", place=places.NOWHERE)
        assert [place.gateway for place in places.listed(db)] == ["board 1"]
        enrol(db, first.xy, "board 1", place="Hall 3")  # once more: nothing new
        assert len(said_of_places(rig)) == 1
        enrol(db, second.xy, "board 2", place="Hall 4")
        assert [(place.name, place.gateway) for place in places.listed(db)] == [
            ("Hall 3", "board 1"), ("Hall 4", "board 2"),
        ]  # fmt: skip


def test_a_gateway_that_moves(rig, gateway):
    with opened(rig) as db:
        places.add(db, "Hall 4", "test")
        found = db.execute("SELECT gw, kid, name FROM gateway").fetchone()
        places.put(db, found, "Hall 4", DAY_MS, "test")
        place = places.find(db, "Hall 4")
        assert [(stay.gateway, stay.from_ms, stay.to_ms) for stay in places.stays(db, place.pl)] == [
            ("gateway 0", DAY_MS, None)
        ]
        # The place that was only made for it is closed, and its name is free again.
        assert [(each.name, bool(each.closed_unix_ms)) for each in places.listed(db)] == [
            ("Hall 4", False), ("gateway 0", True),
        ]  # fmt: skip
        places.add(db, "gateway 0", "test")
    assert [said.kind for _, said in said_of_places(rig)] == [
        "place added", "place added", "gateway taken away", "place closed", "gateway placed", "place added",
    ]  # fmt: skip


# An exchange.


def metered(number, values, start_ms):
    """A gateway with one meter whose register has these values, a minute apart; its batch is made by `fill`."""
    gateway = FakeGateway(number, [METER])
    rows = [(start_ms + 60_000 * n, 0, [2300, 900, value], None) for n, value in enumerate(values)]
    return gateway, rows


def fill(rig, gateway, rows):
    rig.batches(gateway, gateway.batch(tables={0: rows}))


def test_a_board_is_replaced(rig):
    old, rows = metered(1, [100, 110, 120], DAY_MS)
    new, _ = metered(2, [150, 160], DAY_MS + 3_600_000)
    rig.enrol(old)
    fill(rig, old, rows)
    with opened(rig) as db:
        enrol(db, new.xy, "board 2", place=places.NOWHERE)
        before = places.listed(db)[0]
        place = replace(db, "gateway 0", "board 2", by="test")
        assert (place.id, place.name, place.gateway) == (before.id, before.name, "board 2")
        with pytest.raises(SettingsError, match="stands at no place"):
            replace(db, "gateway 0", "board 2")
    said = said_of_places(rig)[-1][1]
    assert said.kind == "replaced" and said.by == "test"
    (line,) = said.facts["registers"]
    assert line == ["meter 1", "import_active_energy", "Wh", 0, DAY_MS + 120_000, 120, None, None]
    assert (said.facts["before"], said.facts["gateway"]) == (old.id, new.id)
    # The first registers of the new one follow when they are there: `at_ms` was the moment of the verb.
    rig.store.refresh()
    assert complete(rig.store.db, rig.intake.leaves, said.facts["at_ms"]) == 0
    later = [(said.facts["at_ms"] + 60_000 * n, 0, [2300, 900, value], None) for n, value in enumerate((150, 160))]
    fill(rig, new, later)
    assert complete(rig.store.db, rig.intake.leaves, said.facts["at_ms"]) == 1
    facts = said_of_places(rig)[-1][1].facts
    assert facts["registers"] == [line[:6] + [said.facts["at_ms"], 150]]
    assert complete(rig.store.db, rig.intake.leaves, said.facts["at_ms"]) == 0


def test_the_moment_of_an_exchange_is_the_new_gateways_first_reading(rig):
    old, rows = metered(1, [100, 110, 120], DAY_MS)
    new, later = metered(2, [150, 160], DAY_MS + 3_600_000)
    rig.enrol(old, new)
    fill(rig, old, rows)
    fill(rig, new, later)
    with opened(rig) as db:
        place = replace(db, "gateway 0", "gateway 1")
        stays = [(stay.gateway, stay.from_ms, stay.to_ms) for stay in places.stays(db, place.pl)]
    at_ms = DAY_MS + 3_600_000
    assert stays == [("gateway 0", 0, at_ms), ("gateway 1", at_ms, None)]
    facts = said_of_places(rig)[-1][1].facts
    assert facts["registers"] == [
        ["meter 1", "import_active_energy", "Wh", 0, DAY_MS + 120_000, 120, at_ms, 150],
    ]
    assert rig.rows("SELECT * FROM exchange") == []


def test_boards_that_ran_at_the_same_time(rig):
    old, rows = metered(1, [100, 110, 120], DAY_MS)
    new, later = metered(2, [101, 111, 121, 131], DAY_MS + 1000)
    rig.enrol(old, new)
    fill(rig, old, rows)
    fill(rig, new, later)
    with opened(rig) as db:
        replace(db, "gateway 0", "gateway 1")
    (line,) = said_of_places(rig)[-1][1].facts["registers"]
    assert line[4:] == [DAY_MS + 120_000, 120, DAY_MS + 121_000, 121]


def test_the_history_of_a_place_goes_on(rig, tmp_path, capsys):
    """Export and archive by place: both boards, and the energy between them, to the last digit."""
    old, rows = metered(1, [100, 110, 120], DAY_MS)
    new, later = metered(2, [150, 160, 175], DAY_MS + 3_600_000)
    other, others = metered(3, [1, 2, 3], DAY_MS)
    rig.enrol(old, new, other)
    for gateway, read in ((old, rows), (new, later), (other, others)):
        fill(rig, gateway, read)
        rig.beat(gateway, buffered=0)
    with opened(rig) as db:
        place = replace(db, "gateway 0", "gateway 1")
        places.rename(db, place.name, "Hall 3", "test")
    signer = Signer(rig.intake.leaves)
    signer.sign(rig.now_unix_ms)
    signer.close()
    words = ["--data", str(rig.data_dir), "--place", "hall 3"]
    assert cli.main(["export", "--format", "csv", *words]) == 0
    lines = [line.split(",") for line in capsys.readouterr().out.splitlines() if "import_active_energy" in line]
    assert [line[-2] for line in lines] == ["100", "110", "120", "150", "160", "175"]
    assert cli.main(["archive", *words, "--out", str(tmp_path / "hall.zip")]) == 0
    with open(tmp_path / "hall.zip", "rb") as file:
        said = load_audit().Audit(file, [keys.read(rig.data_dir).id.hex()]).verdict()
    assert [gateway["name"] for gateway in said["gateways"]].count("gateway 2") == 0
    assert [reason["reason"] for reason in said["reasons"]] == ["no_witness"]
    (told,) = said["places"]
    assert [name["name"] for name in told["names"]] == ["gateway 0", "Hall 3"]
    assert [stay["to_ms"] for stay in told["stays"]] == [DAY_MS + 3_600_000, None]
    energy = {(row["from_ms"] - DAY_MS, row["energy"]) for row in said["energy"]}
    assert energy == {(0, "20"), (120_000, "30"), (3_600_000, "25")}  # 175 - 100 in all
    assert {row["place"] for row in said["energy"]} == {place.id.hex()}


def test_the_energy_of_a_place_goes_on_over_an_exchange(rig, capsys):
    """One register, read by two boards: the day is exact, and the hours add up to it."""
    midnight = DAY_MS // 86_400_000 * 86_400_000
    at_ms = midnight + 10 * 3_600_000 + 1_234_567
    old, rows = metered(1, range(100, 220, 10), midnight + 9 * 3_600_000)
    new, later = metered(2, range(400, 460, 10), at_ms)
    other, others = metered(3, range(0, 9000, 1000), midnight + 9 * 3_600_000)
    rig.enrol(old, new, other)
    for gateway, read in ((old, rows), (new, later), (other, others)):
        fill(rig, gateway, read)
    with opened(rig) as db:
        place = replace(db, "gateway 0", "gateway 1")
        day = {"from_ms": midnight, "to_ms": midnight + 86_400_000, "tz": zone.zone("UTC"), "now_ms": rig.now_unix_ms}
        (whole,) = by_place.bars(db, place, "day", **day)["series"]
        (hours,) = by_place.bars(db, place, "hour", **day)["series"]
        (alone,) = by_place.bars(db, places.find(db, "gateway 2"), "day", **day)["series"]
    assert [bar["energy"] for bar in whole["bars"] if bar["energy"]] == [{"least": 350, "most": 350}]
    assert [bar["energy"]["most"] for bar in alone["bars"] if bar["energy"]] == [8000]
    grown = [bar["energy"] for bar in hours["bars"] if bar["energy"]]
    assert grown[0] == {"least": 110, "most": 300}, "between two readings nobody knows"
    assert sum(bar["count"] for bar in hours["bars"]) == len(rows) + len(later)
    assert hours["bars"][-1]["unexplained"] == 0
    assert cli.main(["place", "energy", "gateway 0", "--data", str(rig.data_dir), "--unit", "month"]) == 0


def test_the_page_of_a_place_goes_on_over_an_exchange_and_stands_beside_another(rig):
    midnight = DAY_MS // 86_400_000 * 86_400_000
    hour = 3_600_000
    old, rows = metered(1, range(100, 220, 10), midnight + 9 * hour)
    new, later = metered(2, range(400, 460, 10), midnight + 10 * hour + 1_234_567)
    other, others = metered(3, range(0, 9000, 1000), midnight + 9 * hour)
    rig.enrol(old, new, other)
    for gateway, read in ((old, rows), (new, later), (other, others)):
        fill(rig, gateway, read)
    utc = zone.zone("UTC")
    with opened(rig) as db:
        mine = place_page.of_place(db, replace(db, "gateway 0", "gateway 1"), [])
        beside = place_page.Beside(place_page.of_place(db, places.find(db, "gateway 2"), []), midnight)
        found = place_page.view(db, mine, "day", midnight, utc, rig.now_unix_ms, beside)
        minutes = place_page.view(db, mine, "hour", midnight + 9 * hour, utc, rig.now_unix_ms)
        alone = place_page.view(db, place_page.of_gateway(db, 1, []), "day", midnight, utc, rig.now_unix_ms)
    assert found["total"]["whole"]["least_mwh"] == found["total"]["whole"]["most_mwh"] == 350_000
    assert alone["total"]["whole"]["most_mwh"] == 110_000, "a gateway by itself has only what it read"
    assert [leg["gateway"] for leg in found["energy"][0]["legs"]] == [old.id.hex(), new.id.hex()]
    assert found["beside"]["whole"]["least_mwh"] == 8_000_000 and len(found["beside"]["bars"]) == 24
    assert [one["gateway"] for one in found["history"]["gateways"]] == ["gateway 0", "gateway 1"]
    assert sum(bar["most_mwh"] for bar in minutes["total"]["bars"] if bar["known"]) >= 100_000


# Hubs that are older.


@pytest.mark.sqlite
def test_an_older_hub_gets_places(rig, gateway):
    rig.batches(gateway, gateway.batch())
    rig.store.close()
    with opened(rig) as db:
        make_older(db, 4)
    rig.open()
    with opened(rig) as db:
        assert [(place.name, place.gateway) for place in places.listed(db)] == [("gateway 0", "gateway 0")]
    said = said_of_places(rig)
    assert [one.kind for _, one in said] == ["place added", "place added"]  # the older hub's, and this one's
    assert rig.rows("SELECT entry FROM place_history") == [(said[-1][0],)]
    assert hashlib.sha256(rig.rows("SELECT bytes FROM statement ORDER BY leaf DESC")[0][0]).digest() == said[-1][0]


# The verb.


def test_the_verb(rig, gateway, capsys):
    def run(*words):
        assert cli.main(["place", *words, "--data", str(rig.data_dir)]) == 0
        return capsys.readouterr().out

    run("add", "Hall 3")
    assert "looks much like" in run("add", "Hall3")
    run("rename", "Hall 3", "Foundry")
    run("put", "Foundry", "gateway 0")
    shown = json.loads(run("show", "Foundry", "--json"))
    assert [each["name"] for each in shown["gateways"]] == ["gateway 0"]
    assert [each["kind"] for each in shown["history"]] == ["place added", "place renamed", "gateway placed"]
    assert "Hall 3 became Foundry" in run("show", "Foundry")
    names = {each["name"]: each["gateway"] for each in json.loads(run("list", "--json"))["places"]}
    assert names == {"Foundry": "gateway 0", "Hall3": None, "gateway 0": None}
    run("close", "Hall3")
    assert cli.main(["place", "close", "Foundry", "--data", str(rig.data_dir)]) == 2
    assert "stands at" in capsys.readouterr().err

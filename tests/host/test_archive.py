"""Archives: what a stranger's verifier says of honest ones and of each kind of crooked one, and how they are made."""

import contextlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from archive_campaign import by_the_other
from archives import DAY_MS, HubKey, Parts, Plant, load_audit, rewritten
from batches import START_MS, FakeGateway
from crooked import KINDS
from host_tools.archive import command, log_part
from host_tools.archive.writer import ArchiveError
from host_tools.hub.service import Hub
from host_tools.hub.stores.store import DATABASE_FILE
from host_tools.log import keys
from host_tools.log.signer import Signer
from parkgate.errors import SettingsError

audit = load_audit()


def verdict(data, *trust):
    return audit.Audit(io.BytesIO(data), trust).verdict()


def reasons(said):
    return [reason["reason"] for reason in said["reasons"]]


@pytest.fixture(scope="module")
def plants():
    return [Plant(1, 30), Plant(2, 30)]


def test_an_honest_archive(plants):
    parts = Parts(plants)
    said = verdict(parts.write(), parts.key.id.hex())
    assert reasons(said) == ["no_log"] and said["overall"] == "incomplete"
    assert [said["lines"][name]["state"] for name in audit.LINES] == ["yes", "yes", "yes", "not shown"]
    assert {chain["end"] for gateway in said["gateways"] for chain in gateway["chains"]} == {"beat"}
    assert [gateway["batches"] for gateway in said["gateways"]] == [30, 30]


def test_without_cryptography_the_verdict_is_the_same(plants, monkeypatch):
    parts = Parts(plants)
    honest = parts.write()
    data = bytearray(honest)
    data[len(data) // 2] ^= 1
    with_it = [verdict(each, parts.key.id.hex()) for each in (honest, bytes(data))]
    monkeypatch.setattr(audit, "ec", None)
    monkeypatch.setattr(audit, "TABLE_AFTER", 20)  # both ways of multiplying
    assert [verdict(each, parts.key.id.hex()) for each in (honest, bytes(data))] == with_it


def test_energy_is_the_difference_of_registers_and_adds_up():
    plant = Plant(1, 4 * 24 * 3)
    parts = Parts([plant])
    rows = verdict(parts.write(), parts.key.id.hex())["energy"]
    assert len(rows) == 4, "a day begun, two whole days, a day begun"
    total = sum(int(row["energy"].replace(".", "")) for row in rows)
    assert total == plant.energy - 17 - 100_000
    for row in rows[1:3]:
        assert row["energy"] == f"{96 * 3 * 17 / 100:.2f}" and row["unit"] == "kWh"
        assert row["to_ms"] - row["from_ms"] == DAY_MS


@pytest.mark.parametrize("what", [1, 2, 6])
def test_a_register_that_began_again_gives_no_energy(what):
    plant = Plant(1, 4)
    plant.more(events=[[9, "press", "import_active_energy", what, 9, 0, [plant.time_ms, 0]]])
    plant.beats = [plant.gateway.beat(time_ms=plant.time_ms)]
    parts = Parts([plant])
    assert [row["energy"] for row in verdict(parts.write(), parts.key.id.hex())["energy"]] == [None]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_tampering_is_refused_for_its_own_reason(kind):
    for seed in range(2):
        crooked, trust, expected = KINDS[kind](seed)
        said = verdict(crooked, *trust)
        assert expected in reasons(said), (kind, seed, said["reasons"])
        assert said["overall"] == ("failure" if audit.REASONS[expected][1] == audit.WRONG else "incomplete")


def test_every_reason_is_met():
    met = {KINDS[kind](0)[2] for kind in KINDS}
    assert set(audit.REASONS) - met == {"no_log"}


def test_a_signed_gap_is_a_loss_and_no_failure():
    plant = Plant(1, 5)
    plant.lose(2)
    plant.more(events=[[5, 5, 6, 12, 0, []]])
    plant.beats = [plant.gateway.beat(time_ms=plant.time_ms)]
    parts = Parts([plant])
    said = verdict(parts.write(), parts.key.id.hex())
    assert reasons(said) == ["no_log"]
    assert said["gateways"][0]["chains"][0]["gaps"] == [[5, 6, "signed"]]


def test_a_month_proves_its_end_by_what_follows(plants):
    from_ms, to_ms = START_MS + 5 * 900_000, START_MS + 20 * 900_000
    parts = Parts(plants, from_ms=from_ms, to_ms=to_ms)
    for place in range(2):
        parts.batches(place)[:] = parts.batches(place)[4:21]
    parts.gateways = [one._replace(chains=[one.chains[0]._replace(runs=[(4, 20)])]) for one in parts.gateways]
    said = verdict(parts.write(), parts.key.id.hex())
    assert reasons(said) == ["no_log"]
    assert {chain["end"] for gateway in said["gateways"] for chain in gateway["chains"]} == {"goes on"}


# The file.


def archive(rig, out, *words):
    parser = __import__("argparse").ArgumentParser()
    command.add_parser(parser.add_subparsers(dest="verb"))
    args = parser.parse_args(["archive", "--out", str(out), "--zone", "UTC", *words])
    assert command.run(args) == 0
    return out.read_bytes()


@pytest.fixture
def park(rig):
    """A hub with two gateways, four days of readings, and a beat of each."""
    rig.plants = [Plant(1, 4 * 24, 3_600_000), Plant(2, 4 * 24, 3_600_000)]
    for plant in rig.plants:
        plant.gateway.name = plant.name
    rig.enrol(*[plant.gateway for plant in rig.plants])
    for plant in rig.plants:
        rig.batches(plant.gateway, *plant.sealed)
        rig.beat(plant.gateway, plant.gateway.beat(time_ms=plant.time_ms))
    return rig


def ids(rig):
    return [plant.gateway.id.hex() for plant in rig.plants]


def test_an_archive_of_a_hub(park, tmp_path):
    said = verdict(archive(park, tmp_path / "all.zip", "--data", str(park.data_dir)), *ids(park))
    assert set(reasons(said)) <= {"no_log", "no_witness", "statement_unsigned"}
    assert [gateway["batches"] for gateway in said["gateways"]] == [96, 96] and said["class"] == "hub"
    assert [line["what"] for line in said["gateways"][0]["history"]] == ["enrolled"]
    with zipfile.ZipFile(tmp_path / "all.zip") as file:
        assert file.testzip() is None
        assert {"README.txt", "audit.py", "verify.html", "statement.cbor"} <= set(file.namelist())


def sign(rig):
    signer = Signer(rig.intake.leaves)
    try:
        return signer.sign(rig.now_unix_ms)
    finally:
        signer.close()


def test_with_the_log_and_a_witness_everything_is_shown(park, tmp_path):
    plant, words = park.plants[0], ["--data", str(park.data_dir)]
    hub = keys.read(park.data_dir).id.hex()
    seen = sign(park)
    said = verdict(archive(park, tmp_path / "1.zip", *words), hub)
    assert reasons(said) == ["no_witness"] and said["lines"]["authentic"]["state"] == "yes"
    plant.more(events=[[32, seen.size, seen.root]])
    park.batches(plant.gateway, plant.sealed[-1])
    park.beat(plant.gateway, plant.gateway.beat(time_ms=plant.time_ms))
    archive(park, tmp_path / "2.zip", *words)
    assert reasons(verdict((tmp_path / "2.zip").read_bytes(), hub)) == ["no_log"], "not signed yet, and it says so"
    sign(park)
    data = archive(park, tmp_path / "3.zip", *words)
    said = verdict(data, hub)
    assert (reasons(said), said["overall"]) == ([], "success")
    assert said["lines"]["witnessed"]["by"] == [{"gateway": plant.gateway.id.hex(), "size": seen.size}]
    one_day = ["--gateway", "hall 1", "--from", "2023-11-16", "--to", "2023-11-17"]
    said = verdict(archive(park, tmp_path / "4.zip", *words, *one_day), plant.gateway.id.hex())
    assert reasons(said) == ["no_witness"], "this day's batches confirm nothing"
    assert by_the_other(data, [hub]) == json.loads(json.dumps(verdict(data, hub)))


def test_outages_of_the_hub_are_listed_from_the_archive_alone(park, tmp_path):
    park.store.close()
    ends = [["stop", "crash"][n * n % 3 == 1] for n in range(20)]
    for end in ends:
        hub = Hub(park.data_dir, "mqtt://127.0.0.1:1")
        hub._log_start()
        if end == "stop":
            hub.stop()
        else:  # it says nothing any more
            hub.signer.close()
            hub.store.close()
            os.close(hub._lock)
    Hub(park.data_dir, "mqtt://127.0.0.1:1").stop()
    park.open()
    sign(park)
    hub_id = keys.read(park.data_dir).id.hex()
    data = archive(park, tmp_path / "all.zip", "--data", str(park.data_dir))
    said = verdict(data, hub_id)
    assert reasons(said) == ["no_witness"] and by_the_other(data, [hub_id]) == json.loads(json.dumps(said))
    says = said["hub_statements"]
    assert all(each["in_log"] for each in says) and len(said["left_out"]) == 1, "only the settings"
    starts = [each["facts"]["after"] for each in says if each["kind"] == "hub started"]
    assert starts == ["first start", *ends[:-1]]
    assert sum(each["kind"] == "hub stopped" for each in says) == ends.count("stop") > 5
    shown = "\n".join(audit.as_text(said))
    assert shown.count("hub started: after crash") == ends[:-1].count("crash") > 5
    assert audit.as_html(said, "all.zip").count("hub started: after crash") == ends[:-1].count("crash")


def test_statements_about_gateways_that_are_not_in_it_stay_out(park, tmp_path, monkeypatch):
    monkeypatch.setattr(log_part, "WHOLE_BELOW", 0)
    sign(park)
    words = ["--data", str(park.data_dir), "--gateway", "hall 2"]
    said = verdict(archive(park, tmp_path / "one.zip", *words), park.plants[1].gateway.id.hex())
    about = [each["facts"].get("gateway") for each in said["hub_statements"]]
    assert set(about) == {None, park.plants[1].gateway.id.hex()}
    kinds = [(each["kind"], each["in_log"]) for each in said["hub_statements"]]
    wanted = "log begun", "enrolled", "place added", "epoch seen"
    assert kinds == [(kind, False) for kind in wanted], "they stand before its batches"
    assert [place["names"][0]["name"] for place in said["places"]] == ["hall 2"]


def test_a_damaged_statement_of_the_hub_is_left_out_and_named(park, tmp_path):
    sign(park)
    with contextlib.closing(__import__("sqlite3").connect(park.data_dir / DATABASE_FILE)) as db, db:
        db.execute("UPDATE statement SET bytes = zeroblob(200) WHERE leaf = 1")
    said = verdict(archive(park, tmp_path / "all.zip", "--data", str(park.data_dir)), *ids(park))
    assert reasons(said) == ["no_witness"]
    assert [line for line in said["left_out"] if "statement 1 of the hub" in line]


def test_a_hub_that_tells_two_histories_is_found(park, tmp_path):
    """The hub serves a log that is not the one that the gateway has confirmed."""
    plant = park.plants[0]
    seen = sign(park)
    plant.more(events=[[32, seen.size, bytes(32)]])
    park.batches(plant.gateway, plant.sealed[-1])
    sign(park)
    said = verdict(archive(park, tmp_path / "a.zip", "--data", str(park.data_dir)), *ids(park))
    assert "claim_differs" in reasons(said) and said["overall"] == "failure"


def test_an_archive_of_one_day_of_one_gateway(park, tmp_path):
    words = ["--data", str(park.data_dir), "--gateway", "hall 2", "--from", "2023-11-16", "--to", "2023-11-17"]
    said = verdict(archive(park, tmp_path / "day.zip", *words), park.plants[1].gateway.id.hex())
    assert set(reasons(said)) <= {"no_log", "no_witness", "statement_unsigned"}
    assert len(said["gateways"]) == 1 and said["others"] == [park.plants[0].gateway.id.hex()]
    chain = said["gateways"][0]["chains"][0]
    assert chain["end"] == "goes on" and chain["batches"] == 24 + 2
    assert len([row for row in said["energy"] if row["to_ms"] - row["from_ms"] > DAY_MS - 3_600_000]) == 1


def test_a_month_in_the_park_s_zone():
    args = SimpleNamespace(month="2026-10", begin=None, end=None)
    span = command.span_of(args, command.zone_of("Asia/Phnom_Penh"))
    assert (span.to_ms - span.from_ms, span.from_ms) == (31 * DAY_MS, 1_790_787_600_000)
    for month in ("2026-13", "October", "2026-10-01"):
        with pytest.raises(SettingsError):
            command.span_of(SimpleNamespace(month=month, begin=None, end=None), None)


def test_a_damaged_batch_is_set_aside_and_named(park, tmp_path):
    with contextlib.closing(__import__("sqlite3").connect(park.data_dir / DATABASE_FILE)) as db, db:
        db.execute("UPDATE batch SET bytes = zeroblob(200) WHERE ep = 1 AND seq = 7")
    said = verdict(archive(park, tmp_path / "all.zip", "--data", str(park.data_dir)), *ids(park))
    assert "set_aside" in reasons(said) and said["overall"] == "incomplete"
    assert any("batch 7" in line for line in said["left_out"])


def test_an_archive_of_a_backup(park, tmp_path):
    park.store.close()
    backup = tmp_path / "backup"
    backup.mkdir()
    (backup / "yesterday.sqlite").write_bytes((park.data_dir / DATABASE_FILE).read_bytes())
    os.chmod(backup, 0o555)
    said = verdict(archive(park, tmp_path / "b.zip", "--data", str(backup / "yesterday.sqlite")), *ids(park))
    assert set(reasons(said)) == {"statement_unsigned", "no_log"} and said["class"] == "backup"
    assert sorted(os.listdir(backup)) == ["yesterday.sqlite"]
    park.open()


def test_an_archive_from_a_gateway_by_cable(rig, tmp_path):
    from host_tools.base.messages import Message, write_messages

    plant = Plant(1, 5)
    topic = f"tele/{plant.gateway.topic}/"
    messages = [Message(topic + "batch", data) for data in plant.sealed]
    write_messages(tmp_path / "hall.txt", [*messages, Message(topic + "beat", plant.beats[0])])
    words = ["--messages", str(tmp_path / "hall.txt"), "--key", plant.gateway.xy.hex()]
    said = verdict(archive(rig, tmp_path / "g.zip", *words), plant.gateway.id.hex())
    assert reasons(said) == ["statement_unsigned", "no_log"] and said["class"] == "gateway"
    with pytest.raises(ArchiveError, match="another gateway"):
        archive(rig, tmp_path / "h.zip", *words[:2], "--key", FakeGateway(9).xy.hex())
    assert not (tmp_path / "h.zip").exists() and not list(tmp_path.glob(".*"))


def test_nothing_is_replaced(park, tmp_path):
    (tmp_path / "mine.zip").write_text("mine")
    with pytest.raises(ArchiveError, match="not replaced"):
        archive(park, tmp_path / "mine.zip", "--data", str(park.data_dir))
    assert (tmp_path / "mine.zip").read_text() == "mine"


# Hostile files: one reason, nothing else.


def hostile():
    honest = Parts([Plant(1, 2)]).write()
    yield b""
    yield b"PK"
    yield honest[:-1]
    yield honest + b"x"
    yield honest[:100] + honest[101:]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("statement.cbor", bytes(50 << 20))
    yield out.getvalue()
    for name in ("../../etc/passwd", "/etc/passwd", "a//b", "a\\b", ".x", "a/../b", "con:1", "a" * 200, "ü"):
        yield rewritten(honest, {name: b"x"})
    yield rewritten(honest, {"statement.cbor": None})
    out = io.BytesIO()
    with pytest.warns(UserWarning), zipfile.ZipFile(out, "w") as file:
        file.writestr("statement.cbor", b"1")
        file.writestr("statement.cbor", b"2")
    yield out.getvalue()
    with zipfile.ZipFile(io.BytesIO(honest)) as file:
        offset = file.getinfo("README.txt").header_offset
    for at in (offset + 8, offset + 14, offset + 18, offset + 26, offset + 28):
        yield honest[:at] + bytes([honest[at] ^ 1]) + honest[at + 1 :]


def test_hostile_files_get_one_reason():
    for number, data in enumerate(hostile()):
        said = verdict(data)
        assert reasons(said) == ["not_an_archive"], number
        assert said["overall"] == "failure" and len("\n".join(audit.as_text(said))) < 2000
        assert audit.as_html(said, "x")


@pytest.mark.parametrize(
    "payload", [b"", b"\xa0", b"\xf6", b"\x9f", b"\x81" * 5000, b"\xbb" + b"\xff" * 8, b"\xa1\x61a"]
)
def test_hostile_statements(payload):
    honest = Parts([Plant(1, 2)]).write()
    said = verdict(rewritten(honest, {"statement.cbor": payload or b"\x00"}))
    assert reasons(said) == ["statement_malformed"]


def test_the_program(plants, tmp_path):
    """As a stranger runs it: in another folder, isolated from everything that is installed."""
    parts = Parts(plants)
    script = Path(audit.__file__).read_bytes()
    (tmp_path / "audit.py").write_bytes(script)
    (tmp_path / "a.zip").write_bytes(parts.write())
    command_line = [sys.executable, "-I", "-S", "audit.py", "a.zip", "--trust", parts.key.id.hex()[:16]]
    done = subprocess.run(
        [*command_line, "--json", "out.json", "--html", "out.html"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 3, done.stderr
    assert "authentic  YES" in done.stdout and "witnessed  NOT SHOWN" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text()) == verdict(parts.write(), parts.key.id.hex()[:16])
    assert "<table>" in (tmp_path / "out.html").read_text()
    assert subprocess.run([*command_line[:4], "none.zip"], cwd=tmp_path, capture_output=True).returncode == 2
    assert HubKey(1).id == parts.key.id

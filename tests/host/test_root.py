"""The offline root (SPEC 3.7): the hub's keys are changed, or lost and made anew, and no gateway needs a visit."""

import argparse
import contextlib
import io
import re
from hashlib import sha256
from pathlib import Path

import cbor2
import pytest

import independent_archive
import root_vectors
from archives import load_audit
from batches import FakeGateway
from host_tools.archive import command
from host_tools.base.keys import HubKeyMissing, Verifier, hub_key
from host_tools.hub.receiving.roots import RETRY_MS, Roots
from host_tools.hub.service import Hub
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs import root as verb
from host_tools.log import keys
from host_tools.log import root as documents
from host_tools.log.check import Check
from host_tools.log.keys import LogError
from host_tools.log.log import Log
from hub_rig import Rig
from park import Park
from parkgate import events
from parkgate.errors import FormatError, IntegrityError, ParkgateError, SettingsError
from parkgate.log import root
from parkgate.wire import cbor, cose, p256, receipt

DAY_MS = 86_400_000


def run(*words) -> int:
    parser = argparse.ArgumentParser()
    verb.add_parser(parser.add_subparsers())
    return verb.run(parser.parse_args(["root", *map(str, words)]))


class Office:
    """Where the root's keys are: not at the hub."""

    def __init__(self, folder, hub_folder):
        self.folder, self.hub = folder, hub_folder
        run("make", "--out", folder / "root")
        self.public = folder / "root" / "root.pub"
        self.id = root.root_id([bytes.fromhex(line) for line in self.public.read_text().split()])
        self.count = 0

    def draft(self, *more, name=None):
        self.count += 1
        out = self.folder / (name or f"{self.count}.draft")
        run("draft", "--data", self.hub, "--root", self.public, "--out", out, *more)
        return out

    def sign(self, draft, *by):
        for number in by or (1, 3):
            run("sign", draft, "--key", self.public.with_name(f"root-{number}.pem"))
        return draft

    def change(self, *more):
        run("take", self.sign(self.draft(*more)), "--data", self.hub)


class Device:
    """A gateway's side of it: its settings, and the code that its firmware runs. It signs as a FakeGateway."""

    def __init__(self, number: int, hub_xy: bytes, root_id: bytes | None, serial: int):
        self.gateway = FakeGateway(number)
        self.settings = {
            "hub": {"public_key": hub_xy.hex(), "root": root_id.hex() if root_id else "", "root_serial": serial}
        }

    @property
    def hub_xy(self) -> bytes:
        return bytes.fromhex(self.settings["hub"]["public_key"])

    def verify_steps(self, key, digest, signature):
        return documents.verify_steps(key, digest, signature)

    def speak(self, park: "Hall", events_=()) -> bool:
        """Send a batch; take what comes back. Whether the receipt was one for this gateway."""
        sealed = self.gateway.batch(rows=1, events=events_)
        outcome = park.rig.take((self.gateway.batch_topic(), sealed))[0]
        took = False
        for message in (outcome.receipt, *outcome.older):
            with contextlib.suppress(FormatError, IntegrityError):
                self.gateway.take_receipt(message, self.hub_xy)
                took = True
        message = park.roots.message(park.rig.store.by_topic[self.gateway.topic], park.rig.now_unix_ms)
        if message is not None:
            with contextlib.suppress(FormatError, IntegrityError):
                serial, key = park.finish(root.take_steps(message, self.settings, self.verify_steps, p256.on_curve))
                self.speak(park, [[events.HUB_KEY_TAKEN, serial, cose.thumbprint(key)]])
        return took


class Hall:
    """A hub with gateways."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.rig = Rig(folder)
        self.open()

    def open(self):
        chain = documents.check_keys(self.folder, self.rig.key.xy, keys.read(self.folder).xy)
        self.roots = self.rig.intake.roots = Roots(self.rig.store, self.rig.key, chain)

    @contextlib.contextmanager
    def stopped(self):
        self.rig.store.close()
        now = self.rig.now_unix_ms
        yield
        self.rig = Rig(self.folder)
        self.rig.now_unix_ms = now
        self.open()

    def files(self):
        """What is in the folder beside the database."""
        return {
            path.name: path.read_bytes() for path in self.folder.iterdir() if path.suffix in (".pem", ".key", ".cbor")
        }

    def enrol(self, *devices):
        self.rig.enrol(*[device.gateway for device in devices])

    @staticmethod
    def finish(steps):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value


@pytest.fixture
def hall(tmp_path):
    hall = Hall(tmp_path / "hub")
    yield hall
    hall.rig.store.close()


@pytest.fixture
def office(tmp_path, hall):
    with hall.stopped():
        office = Office(tmp_path, hall.folder)
        office.change()
    return office


@pytest.mark.parametrize("lost", [False, True])
def test_three_of_ten_gateways_are_away_for_six_weeks(hall, office, lost):
    """The keys are stolen, or the disk with them is lost, while three gateways hear nothing."""
    devices = [Device(number, hall.rig.key.xy, office.id, 1) for number in range(20, 30)]
    hall.enrol(*devices)
    assert all(device.speak(hall) for device in devices)
    old = hall.rig.key
    with hall.stopped():
        if lost:
            (hall.folder / "hub_key.pem").unlink()
            (hall.folder / keys.KEY_FILE).unlink()
            with pytest.raises(HubKeyMissing, match="Put the file back from a backup"):
                Hub(hall.folder)
        office.change("--new-keys")
    assert hall.rig.key.xy != old.xy and (hall.rig.key.before == ()) == lost
    for device in devices[3:]:
        device.speak(hall)
        assert device.hub_xy == hall.rig.key.xy and device.settings["hub"]["root_serial"] == 2
        assert device.speak(hall) and not hall.roots.keys(hall.rig.store.by_topic[device.gateway.topic])
    hall.rig.now_unix_ms += 42 * DAY_MS
    for device in devices[:3]:
        assert device.hub_xy == old.xy
        assert device.speak(hall) != lost, "its receipts hold under the old key, where the hub still has it"
        assert device.hub_xy == hall.rig.key.xy and device.speak(hall)
        device.gateway.held.clear() if lost else None
    for device in devices:
        assert hall.rig.summary(device.gateway)["alarms"] == []
        assert hall.roots.message(hall.rig.store.by_topic[device.gateway.topic], hall.rig.now_unix_ms) is None
        with pytest.raises((FormatError, IntegrityError)):  # who has the old key can make it free nothing
            key = old.receipt_key(device.gateway.xy)
            forged = receipt.encode_receipt(key, old.id, device.gateway.id, device.gateway.epoch, 0, bytes(32), 1)
            device.gateway.take_receipt(forged, device.hub_xy)
    hall.rig.restart()
    hall.open()
    assert all(device.speak(hall) for device in devices), "what they said outlives a restart"
    assert hall.roots._shown == {}


def test_a_gateway_without_a_root_goes_on_by_the_key_before(hall, office):
    old = Device(40, hall.rig.key.xy, None, 0)
    hall.enrol(old)
    with hall.stopped():
        office.change("--new-keys")
    assert [old.speak(hall) for _ in range(3)] == [True] * 3 and old.hub_xy == hall.rig.key.before[0].xy
    gateway = hall.rig.store.by_topic[old.gateway.topic]
    asked = []
    for _ in range(2000):  # two weeks
        hall.rig.now_unix_ms += RETRY_MS
        asked.append(hall.roots.message(gateway, hall.rig.now_unix_ms) is not None)
    assert 15 < sum(asked) < 30, "it is asked ever more seldom"


def test_another_root_signs_from_its_document_on(hall, office, tmp_path):
    device = Device(41, hall.rig.key.xy, office.id, 1)
    hall.enrol(device)
    (tmp_path / "two").mkdir()
    second = Office(tmp_path / "two", hall.folder)
    with hall.stopped():
        office.change("--next", second.public)
        with pytest.raises(SettingsError, match="another root"):
            office.draft("--new-keys")
        second.change("--new-keys")
    for _ in range(4):
        device.speak(hall)
        hall.rig.now_unix_ms += DAY_MS
    assert device.settings["hub"] == {
        "public_key": hall.rig.key.xy.hex(), "root": second.id.hex(), "root_serial": 3,
    }  # fmt: skip


def test_what_does_not_hold_changes_nothing(hall, office, tmp_path):
    before = hall.files()
    (tmp_path / "thief").mkdir()
    with hall.stopped():
        one = office.draft()
        for refusal, draft in (
            ("two or three signatures", one),
            ("one of the three keys", None),
            ("two or three signatures", office.sign(office.draft(), 2)),
        ):
            with pytest.raises(ParkgateError, match=refusal):
                if draft is None:
                    thief = Office(tmp_path / "thief", hall.folder)
                    run("sign", one, "--key", thief.public.with_name("root-1.pem"))
                run("take", draft, "--data", hall.folder)
        with pytest.raises(SettingsError, match="already"):
            office.sign(one, 2, 2)
        office.sign(one, 1)
        data = bytearray(one.read_bytes())
        data[-1] ^= 1
        (tmp_path / "bent").write_bytes(data)
        with pytest.raises(IntegrityError, match="does not hold"):
            run("take", tmp_path / "bent", "--data", hall.folder)
        with pytest.raises(SettingsError, match="is there already"):
            run("make", "--out", tmp_path / "root")
    assert hall.files() == before
    with hall.stopped():
        run("take", one, "--data", hall.folder)
        run("take", one, "--data", hall.folder)  # cut off and begun again: the same
        with pytest.raises(IntegrityError, match="number 3 comes next"):
            run("take", tmp_path / "1.draft", "--data", hall.folder)


def test_a_hub_with_other_keys_than_the_root_names_does_not_start(hall, office):
    with hall.stopped():
        old = {name: (hall.folder / name).read_bytes() for name in ("hub_key.pem", "hub_public.key", keys.KEY_FILE)}
        office.change("--new-keys")
        new = {name: (hall.folder / name).read_bytes() for name in old}
        for name in ("hub_key.pem", "hub_public.key"):
            (hall.folder / name).write_bytes(old[name])
        with pytest.raises(HubKeyMissing, match="not the key that root document 2 names"):
            Hub(hall.folder)
        for name in ("hub_key.pem", "hub_public.key"):
            (hall.folder / name).write_bytes(new[name])
        (hall.folder / keys.KEY_FILE).write_bytes(old[keys.KEY_FILE])
        with pytest.raises(LogError, match="not the key"):
            Hub(hall.folder)
        (hall.folder / keys.KEY_FILE).write_bytes(new[keys.KEY_FILE])
        data = (hall.folder / documents.ROOT_FILE).read_bytes()
        (hall.folder / documents.ROOT_FILE).write_bytes(data[:-1])
        with pytest.raises(LogError, match="damaged"):
            Hub(hall.folder)
        (hall.folder / documents.ROOT_FILE).write_bytes(data)


def test_the_new_log_names_the_old_one_and_agrees(hall, office):
    device = Device(42, hall.rig.key.xy, office.id, 1)
    hall.enrol(device)
    device.speak(hall)
    with hall.stopped():
        office.change("--new-keys")
        hub = Hub(hall.folder, "mqtt://127.0.0.1:1")
        hub.signer.sign(hub.started_unix_ms)
        hub.stop()
        assert Check(hall.folder).run().findings == []
        with Log.open(hall.folder) as log:
            assert log.key_xy == documents.read(hall.folder).newest.log
    said = hall.rig.rows("SELECT bytes FROM statement WHERE bytes IS NOT NULL")
    kinds = [cbor.decode(cose.Sign1(data, 65106).payload)[1] for (data,) in said if b"root document" in data]
    assert kinds.count("root document") == 2


def test_an_archive_follows_the_hubs_keys(hall, office, tmp_path):
    """What the key of before signed still counts, and who names the root needs to know no other id."""
    device = Device(44, hall.rig.key.xy, office.id, 1)
    hall.enrol(device)
    device.speak(hall)
    with hall.stopped():
        office.change("--new-keys")
        hub = Hub(hall.folder, "mqtt://127.0.0.1:1")
        hub.signer.sign(hub.started_unix_ms)
        hub.stop()
        parser = argparse.ArgumentParser()
        command.add_parser(parser.add_subparsers())
        out = tmp_path / "all.zip"
        assert command.run(parser.parse_args(["archive", "--data", str(hall.folder), "--out", str(out)])) == 0
        data = out.read_bytes()
        for trust in ([office.id.hex()], [cose.thumbprint(keys.read(hall.folder).xy).hex()], ["0" * 64]):
            said = load_audit().Audit(io.BytesIO(data), trust).verdict()
            assert said == independent_archive.verdict(data, trust)
            known = trust != ["0" * 64]
            assert said["lines"]["authentic"]["state"] == ("yes" if known else "no"), said["reasons"]
            assert said["lines"]["unaltered"]["state"] == "yes" and [row["number"] for row in said["root"]] == [1, 2]
        kinds = {each["kind"] for each in said["hub_statements"]}
        assert {"enrolled", "log begun"} <= kinds and len({each["log"] for each in said["hub_statements"]}) == 2


def test_a_claim_of_another_document_is_an_alarm(hall, office):
    device = Device(43, hall.rig.key.xy, office.id, 1)
    hall.enrol(device)
    for event in ([35, 7, bytes(32)], [35, 1, bytes(32)]):
        device.gateway.held.clear()
        hall.rig.take((device.gateway.batch_topic(), device.gateway.batch(rows=1, events=[event])))
    assert [alarm["kind"] for alarm in hall.rig.summary(device.gateway)["alarms"]] == ["restored"]
    for event in ([35], [35, True, bytes(32)], [35, 1, "x"], [35, 1, bytes(32), 1]):
        hall.rig.take((device.gateway.batch_topic(), device.gateway.batch(rows=1, events=[event])))
    assert device.speak(hall)


def test_the_firmware_takes_a_new_key(tmp_path, monkeypatch):
    """A real gateway at a real hub, whose keys are changed while the gateway is off."""
    with Park(tmp_path, [("oven", "pzem-004t", 2)]) as park:
        park.hub.stop()
        office = Office(tmp_path, park.hub.folder)
        office.change()
        park.hub.start()
        plain = park.settings

        def with_root(meters=None):
            settings = plain(meters)
            settings["hub"] |= {"root": office.id.hex(), "root_serial": 1}
            return settings

        monkeypatch.setattr(park, "settings", with_root)

        def said():
            with connect(park.hub.folder, read_only=True) as db:
                rows = db.execute("SELECT event FROM event WHERE kind = 35 ORDER BY ep, seq").fetchall()
            return [cbor.decode(row[0])[1:] for row in rows]

        park.start_gateway()
        park.wait(lambda: said() == [[1, hub_key(park.hub.folder).id]], 60, "the gateway goes by document 1")
        park.gateway.kill()
        park.hub.stop()
        office.change("--new-keys")
        park.hub.start()
        park.gateway.start()
        new = hub_key(park.hub.folder).id
        park.wait(lambda: [2, new] in said(), 60, "it goes by document 2")
        freed = park.gateway.status.get("acknowledged", 0)
        park.wait(lambda: park.gateway.status.get("acknowledged", 0) > freed, 60, "receipts free its journal")
        assert park.at_hub()["alarms"] == []


def test_the_vectors_and_the_example_of_the_spec():
    """Made again with cbor2 and cryptography, the same; what SPEC 3.7 shows of the first one is so."""
    assert root_vectors.FILE.read_text() == root_vectors.text()
    spec = (Path(__file__).resolve().parents[2] / "lib" / "SPEC.md").read_text()
    section = spec[spec.index("### 3.7 ") : spec.index("## 4 ")]
    shown = dict(re.findall(r"^\| ([^|]+?)(?:, \d+ bytes)? \| `([0-9a-f]+)` \|$", section, re.MULTILINE))
    vectors = root_vectors.vectors()
    data = bytes.fromhex(vectors[0]["document"])
    document = root.Document(data)
    assert f"has {len(vectors)} documents" in section and f"document, {len(data)} bytes" in section
    assert shown["SHA-256 of the document"] == sha256(data).hexdigest()
    assert shown["SHA-256 of the payload"] == sha256(document.payload).hexdigest()
    assert (shown["root id"], shown["hub x"] + shown["hub y"]) == (document.root.hex(), document.hub.hex())
    for number, (kid, _) in zip((1, 3), document.signatures):
        assert shown[f"id of root key {number}"] == kid.hex()
        assert shown[f"hash that root key {number} signs"] == root.digest(kid, document.payload).hex()


def test_another_library_reads_a_root_document():
    """The COSE_Sign taken apart by cbor2 alone, its signatures checked by cryptography alone."""
    tagged = cbor2.loads(bytes.fromhex(root_vectors.vectors()[0]["document"]))
    protected, unprotected, payload, signatures = tagged.value
    keys_ = {cose.thumbprint(key): key for key in cbor2.loads(payload)[2]}
    assert tagged.tag == 98 and unprotected == {} and len(signatures) == 2
    for header, _, signature in signatures:
        digest = sha256(cbor2.dumps(["Signature", protected, header, b"", payload])).digest()
        Verifier(keys_[cbor2.loads(header)[4]]).check(digest, signature)

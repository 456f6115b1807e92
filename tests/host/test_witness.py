"""Gateways as witnesses of the hub's log: the firmware beside a real hub, and what the hub shows to whom."""

import pytest

from host_tools.hub.receiving.witnesses import RETRY_MS, WITNESS_MS, Witnesses
from host_tools.hub.stores.store import connect
from host_tools.log import record
from host_tools.log.log import Log
from host_tools.log.signer import Signer
from park import Park
from parkgate import events
from parkgate.log import receipt
from parkgate.log.witness import INTRODUCTION_TYPE, Witness
from parkgate.wire import cbor, cose, p256
from parkgate.wire.steps import finish

NOW = 1_800_000_000_000


class Shown:
    """The hub's side, with a gateway that answers as the firmware does."""

    def __init__(self, rig, gateway):
        self.rig, self.gateway, self.witness = rig, gateway, Witness()
        self.signer = Signer(rig.intake.leaves)
        self.witnesses = Witnesses(rig.store, self.signer, rig.key, rig.data_dir)
        self.now = NOW

    def ask(self):
        self.signer.sign(self.now)
        return self.witnesses.message(self.rig.store.by_topic[self.gateway.topic], self.now)

    def take(self, message):
        """As `firmware/tasks/witness.py`; the event goes into the next batch."""
        if message[:1] == b"\xd1":
            key = self.rig.key.receipt_key(self.gateway.xy)
            payload = cose.open_mac0(key, self.rig.key.id, INTRODUCTION_TYPE, message)
            steps = self.witness.introduced_steps(payload, self.gateway.id, cose.thumbprint, p256.verify_steps)
        else:
            steps = self.witness.accept_steps(message, cose.thumbprint, p256.verify_steps)
        assert finish(steps)
        self.witness = Witness(self.witness.encode())
        event = [events.CHECKPOINT_HELD, self.witness.size, self.witness.root]
        self.rig.batches(self.gateway, self.gateway.batch(rows=1, events=[event]))


@pytest.fixture
def shown(rig, gateway):
    rig.batches(gateway, gateway.batch())
    shown = Shown(rig, gateway)
    yield shown
    shown.signer.close()


def test_introduced_then_asked_every_two_hours(shown):
    shown.take(shown.ask())
    first = shown.witness.size
    assert shown.ask() is None, "it was asked just now"
    shown.now += WITNESS_MS
    message = shown.ask()
    found = receipt.Receipt(message)
    assert (found.kind, found.first) == (receipt.CONSISTENCY, first)
    shown.take(message)
    assert shown.witness.size > first
    shown.rig.restart()
    shown.signer.close()
    again = Shown(shown.rig, shown.gateway)
    again.witness = shown.witness
    again.take(again.ask())
    again.signer.close()
    with Log.open(shown.rig.data_dir) as log:
        kept = {made.size: made.root for made in log.checkpoints()}
    for (data,) in shown.rig.rows("SELECT event FROM event WHERE kind = 32"):
        _, size, root = cbor.decode(data)
        assert kept[size] == root, "the hub's signature for every claim is kept"


def test_asked_again_while_it_does_not_answer(shown):
    assert shown.ask()[:1] == b"\xd1"
    assert shown.ask() is None
    shown.now += RETRY_MS
    assert shown.ask()[:1] == b"\xd1"


def test_nothing_new_is_not_shown(shown):
    shown.take(shown.ask())
    shown.now += WITNESS_MS
    shown.take(shown.ask())
    with Log.open(shown.rig.data_dir) as log:
        assert log.size < len(shown.rig.rows("SELECT leaf FROM leaf"))


def test_a_checkpoint_that_this_log_does_not_have_is_an_alarm_and_convicts_nobody(shown):
    shown.take(shown.ask())
    event = [events.CHECKPOINT_HELD, 1_000_000, bytes(32)]
    shown.rig.batches(shown.gateway, shown.gateway.batch(rows=1, events=[event]))
    shown.now += WITNESS_MS
    assert shown.ask()[:1] == b"\xd1"
    alarms = [alarm["kind"] for alarm in shown.rig.summary(shown.gateway)["alarms"]]
    assert alarms == ["witness"]
    assert shown.signer.sign(shown.now) is None and not shown.signer.broken


def test_claims_of_another_form_are_passed_over(shown):
    for event in ([32], [32, -1, bytes(32)], [32, 5, bytes(31)], [32, True, bytes(32)], [32, 5, bytes(32), 1]):
        shown.rig.batches(shown.gateway, shown.gateway.batch(rows=1, events=[event]))
    assert shown.ask()[:1] == b"\xd1"
    assert shown.rig.summary(shown.gateway)["alarms"] == []


def test_a_new_log_is_introduced(shown):
    shown.take(shown.ask())
    before = shown.witness.log_id
    shown.signer.close()
    shown.rig.store.close()
    db = connect(shown.rig.data_dir)
    record.renew(db, "the disk was lost")
    db.close()
    shown.rig.open()
    again = Shown(shown.rig, shown.gateway)
    again.witness = shown.witness
    again.take(again.ask())
    again.signer.close()
    assert again.witness.log_id != before
    assert again.rig.summary(again.gateway)["alarms"] == []


def test_the_firmware_is_a_witness(tmp_path):
    with Park(tmp_path, [("oven", "pzem-004t", 2)]) as park:

        def claims():
            with connect(park.hub.folder, read_only=True) as db:
                rows = db.execute("SELECT event FROM event WHERE kind = 32 ORDER BY ep, seq").fetchall()
            return [cbor.decode(row[0])[1:] for row in rows]

        park.start_gateway()
        park.wait(lambda: len(claims()) == 1, 60, "the gateway holds a checkpoint")
        park.hub.kill()
        park.hub.start()
        park.wait(lambda: len(claims()) == 2, 60, "the gateway holds a later one")
        with Log.open(park.hub.folder) as log:
            kept = {made.size: made.root for made in log.checkpoints()}
        assert [kept[size] for size, _ in claims()] == [root for _, root in claims()]
        assert not [line for line in park.gateway.lines if "witness" in line and "error" in line.lower()]

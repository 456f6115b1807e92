"""The running hub between receiver and database: what it acknowledges, and what it survives."""

import sqlite3
import time
from collections import namedtuple

import pytest

from batches import FakeGateway
from host_tools.hub import service
from host_tools.hub.receiving.receive import AddressError, Receiver, parse_address
from hub_rig import Rig

WAIT_S = 100
Mqtt = namedtuple("Mqtt", "topic payload")


class HandReceiver:
    """Stands for the broker: gives groups that a test puts there, and notes what is acknowledged and published."""

    url = "mqtt://by.hand:1"

    def __init__(self):
        self.groups, self.acknowledged, self.published = [], [], []

    def start(self):
        pass

    stop = start

    def group(self, wait_s):
        if self.groups:
            return self.groups.pop(0)
        time.sleep(min(wait_s, 0.01))
        return []

    def done(self, group):
        self.acknowledged.append(group)

    def publish(self, topic, data):
        self.published.append((topic, data))

    def receipts(self):
        """The topics of receipts; the hub also shows its log to a gateway."""
        return [topic for topic, _ in self.published if topic.endswith("/receipt")]


@pytest.fixture
def gateway(tmp_path):
    rig = Rig(tmp_path)
    gateway = FakeGateway(1)
    rig.enrol(gateway)
    rig.store.close()
    return gateway


@pytest.fixture
def hub(tmp_path, gateway, monkeypatch):
    monkeypatch.setattr(service, "RETRY_S_MIN", 0.02)
    hub = service.Hub(tmp_path, "mqtt://127.0.0.1:1")
    hub.receiver = HandReceiver()
    hub.start()
    yield hub
    hub.stop()


def until(fits):
    deadline = time.monotonic() + WAIT_S
    while not fits():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def group(gateway, *sealed):
    return [(1, Mqtt(gateway.batch_topic(), data)) for data in sealed]


def test_receipts_and_acknowledgements_follow_the_commit(hub, gateway):
    hub.receiver.groups.append(group(gateway, gateway.batch(), gateway.batch(), b"garbage"))
    until(lambda: hub.receiver.acknowledged)
    assert hub.receiver.receipts() == [gateway.receipt_topic()] * 2
    assert len(hub.receiver.acknowledged[0]) == 3, "garbage is acknowledged too, or it would come for ever"


def test_a_full_disk_delays_and_loses_nothing(hub, gateway, monkeypatch, caplog):
    take, calls = hub.intake.take, []

    def full_twice(*args):
        calls.append(args)
        if len(calls) < 3:
            assert hub.receiver.acknowledged == hub.receiver.published == []
            raise sqlite3.OperationalError("database or disk is full")
        return take(*args)

    monkeypatch.setattr(hub.intake, "take", full_twice)
    hub.receiver.groups.append(group(gateway, gateway.batch()))
    until(lambda: calls)
    until(lambda: hub.receiver.acknowledged)
    assert len(calls) == 3 and len(hub.receiver.receipts()) == 1
    assert hub.storage_fault is None
    assert "cannot store: database or disk is full" in caplog.text


def test_a_fault_of_its_own_does_not_end_the_hub(hub, gateway, monkeypatch):
    def broken(*_args):
        raise RuntimeError("a bug")

    monkeypatch.setattr(hub.intake, "take", broken)
    hub.receiver.groups.append(group(gateway, gateway.batch()))
    until(lambda: hub.faults == 1)
    monkeypatch.undo()
    assert hub.receiver.acknowledged == []
    hub.receiver.groups.append(group(gateway, *[data for data, _ in gateway.held.values()]))
    until(lambda: hub.receiver.acknowledged)
    assert len(hub.receiver.receipts()) == 1


def test_one_hub_at_a_time_on_a_directory(hub, tmp_path):
    with pytest.raises(service.HubBusy):
        service.Hub(tmp_path, "mqtt://127.0.0.1:1")


@pytest.mark.parametrize(
    "url,parts",
    [
        ("mqtt://127.0.0.1:1883", (False, "127.0.0.1", 1883, None, None)),
        ("mqtts://hub:a%40b@broker.example", (True, "broker.example", 8883, "hub", "a@b")),
        ("broker", (False, "broker", 1883, None, None)),
        ("mqtt://[::1]:5000/", (False, "::1", 5000, None, None)),
    ],
)
def test_broker_addresses(url, parts):
    assert parse_address(url) == parts


@pytest.mark.parametrize("url", ["", "http://x", "mqtt://", "mqtt://x:99999", "mqtt://x:y", "mqtt://x/topic"])
def test_broker_addresses_that_are_none(url):
    with pytest.raises(AddressError):
        parse_address(url)


def test_a_password_in_the_address_is_not_shown():
    assert Receiver("mqtt://hub:secret@127.0.0.1:1", "x").url == "mqtt://127.0.0.1:1"

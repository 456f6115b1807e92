"""What the hub says to a beat: its hash and the hub's time under the receipt key (SPEC 6.3)."""

import hashlib
import queue
from types import SimpleNamespace

import pytest

from batches import FakeGateway
from host_tools.hub.receiving import receive
from hub_rig import NOW_MS
from parkgate.errors import FormatError, IntegrityError
from parkgate.wire import receipt


def opened(rig, gateway, outcome):
    """(beat hash, hub's time, wanted) of an answer."""
    assert outcome.answer_topic == f"cmd/{gateway.topic}/answer"
    return receipt.decode_answer(gateway.receipt_key(rig.key.xy), rig.key.id, gateway.id, outcome.answer)


def test_a_beat_is_answered_with_its_hash_and_the_hubs_time(rig, gateway):
    rig.batches(gateway, gateway.batch())
    data = gateway.beat()
    outcome = rig.beat(gateway, data)
    assert outcome.receipt is None
    assert opened(rig, gateway, outcome) == (hashlib.sha256(data).digest(), NOW_MS, [])
    with pytest.raises(IntegrityError):
        other = FakeGateway(2).receipt_key(rig.key.xy)
        receipt.decode_answer(other, rig.key.id, gateway.id, outcome.answer)
    with pytest.raises(FormatError):
        receipt.decode_receipt(gateway.receipt_key(rig.key.xy), rig.key.id, gateway.id, outcome.answer)


def test_an_older_beat_is_answered_too_and_a_refused_one_is_not(rig, gateway):
    old = gateway.beat(sampled=1)
    rig.beat(gateway, gateway.beat(sampled=9, buffered=9))
    outcome = rig.beat(gateway, old)
    assert outcome.kind == "stale beat"
    assert opened(rig, gateway, outcome)[0] == hashlib.sha256(old).digest()
    refused = rig.beat(gateway, old[:-1] + bytes([old[-1] ^ 1]))
    assert refused.kind == "refused" and refused.answer is None


def test_a_broker_that_refuses_the_subscription_once_is_asked_again(monkeypatch):
    monkeypatch.setattr(receive, "SUBSCRIBE_AGAIN_S", 0.01)
    receiver = receive.Receiver("mqtt://127.0.0.1:1", "test")
    asked = queue.Queue()
    monkeypatch.setattr(receiver._client, "subscribe", asked.put)
    receiver._session = 3
    receiver._on_subscribe(None, None, 1, [SimpleNamespace(is_failure=True)], None)
    assert asked.get(timeout=150) == list(receive.TOPICS)
    assert receiver.connected_unix_ms is None
    receiver._subscribe_again(2)
    assert asked.empty(), "of a connection that is over"
    receiver._on_subscribe(None, None, 2, [SimpleNamespace(is_failure=False)], None)
    assert receiver.connected_unix_ms is not None

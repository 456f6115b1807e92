"""Receipts and answers: what the hub says after the commit, and only then (SPEC 6)."""

from host_tools.base.keys import HubKey
from host_tools.hub.receiving.state import Gateway
from parkgate.wire import receipt


def receipt_topic(gateway: Gateway) -> str:
    return f"cmd/{gateway.topic_name()}/receipt"


def answer_topic(gateway: Gateway) -> str:
    return f"cmd/{gateway.topic_name()}/answer"


def make_receipt(key: HubKey, gateway: Gateway, epoch: bytes, seq: int, batch_hash: bytes, now_unix_ms: int) -> bytes:
    """The receipt for a batch whose commit is done, at `now_unix_ms`."""
    return receipt.encode_receipt(shared_key(key, gateway), key.id, gateway.kid, epoch, seq, batch_hash, now_unix_ms)


def make_answer(
    key: HubKey, gateway: Gateway, beat_hash: bytes, now_unix_ms: int, wanted: list[tuple[int, int]]
) -> bytes:
    """The answer to the beat with this hash. `now_unix_ms` is the hub's clock between the beat's arrival and this
    moment: a gateway may set its clock by it. `wanted` are ranges of seq of the beat's epoch that the hub lacks."""
    return receipt.encode_answer(shared_key(key, gateway), key.id, gateway.kid, beat_hash, now_unix_ms, wanted)


def shared_key(key: HubKey, gateway: Gateway) -> bytes:
    """The key under which this hub and this gateway make MACs (SPEC 6.1)."""
    if key.id not in gateway.receipt_keys:
        gateway.receipt_keys[key.id] = key.receipt_key(gateway.keys[-1].xy, gateway.kid)
    return gateway.receipt_keys[key.id]

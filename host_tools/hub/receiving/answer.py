"""Receipts: what the hub says after the commit, and only then (SPEC 6)."""

from host_tools.base.keys import HubKey
from host_tools.hub.receiving.state import Gateway
from parkgate.wire import receipt


def receipt_topic(gateway: Gateway) -> str:
    return f"cmd/{gateway.topic_name()}/receipt"


def make_receipt(key: HubKey, gateway: Gateway, epoch: bytes, seq: int, batch_hash: bytes, now_unix_ms: int) -> bytes:
    """The receipt for a batch whose commit is done. `now_unix_ms` is the hub's clock at this moment, also for
    a duplicate: a gateway may set its clock by a receipt that came quickly."""
    if gateway.receipt_key is None:
        gateway.receipt_key = key.receipt_key(gateway.public_key)
    return receipt.encode_receipt(gateway.receipt_key, key.id, gateway.kid, epoch, seq, batch_hash, now_unix_ms)

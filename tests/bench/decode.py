"""Reading a batch at the hub, stage by stage: what the strictness costs beside the signature, which nobody can save.

A batch is 240 rows of six channels of the recorded load (1,440 readings). Times are processor time on one core. The
peer of the stages is the C library cbor2 doing a part of the same work: decode and encode again to see whether the
bytes were canonical. The peer of the rates is what the hub is wanted to do.
"""

import csv
import hashlib
import time
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from batches import START_MS, FakeGateway
from host_tools.base.keys import Verifier
from host_tools.hub.reading.decode import decode_group
from parkgate.wire import batch, cbor, cose

CURVE = Path(__file__).resolve().parent.parent.parent / "host_tools" / "meters" / "load_curve.csv"
QUANTITIES = ("kwh", "kvarh_lag", "kvarh_lead")
ROWS, CHANNELS, GROUP = 240, 6, 128
WANTED_VERIFIED_A_S, WANTED_DECODED_A_S = 8000, 2000


def sealed_batches(count: int) -> tuple[FakeGateway, list[bytes]]:
    """Sealed batches of the recorded load, two phases of it side by side, each batch a little later."""
    with CURVE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    curve = [[round(float(row[name]) * 100) for name in QUANTITIES] for row in rows]
    gateway = FakeGateway(
        1, [["meter", "load", [[f"{name}_{half}", "Wh", -1] for half in "ab" for name in QUANTITIES]]]
    )
    sealed = []
    for n in range(count):
        samples = []
        for row in range(ROWS):
            at = n + row
            values = curve[at % len(curve)] + curve[(at + 96) % len(curve)]
            samples.append((START_MS + 900_000 * at, 0, values, None))
        sealed.append(gateway.batch(tables={0: samples}))
    return gateway, sealed


def _figure(name, value, unit, peer=None, peer_value=None):
    """For a time the ratio tells how often ours fits into the peer's; for a rate how often it is what is wanted."""
    ratio = None
    if peer_value is not None:
        ratio = peer_value / value if unit == "µs" else value / peer_value
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def _microseconds(work, items, rounds=5):
    """Processor time for one item, the best of some rounds."""
    best = 1e9
    for _ in range(rounds):
        began = time.process_time()
        for item in items:
            work(item)
        best = min(best, (time.process_time() - began) / len(items))
    return best * 1e6


def figures(size: int = 1) -> list[dict]:
    """The figures; `size` times as many batches."""
    gateway, sealed = sealed_batches(2 * GROUP * size)
    verifier = Verifier(gateway.xy)
    public = gateway.private.public_key()
    es256 = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    payloads = [cose.Sign1(data, cose.BATCH_TYPE).payload for data in sealed]
    digests = []
    for data in sealed:
        sign1 = cose.Sign1(data, cose.BATCH_TYPE)
        r, s = int.from_bytes(sign1.signature[:32], "big"), int.from_bytes(sign1.signature[32:], "big")
        digests.append((utils.encode_dss_signature(r, s), sign1.digest()))

    def verified(data):
        message = batch.Batch(data)
        verifier.check(message.sign1.digest(), message.sign1.signature)
        hashlib.sha256(data).digest()
        return message

    def decoded(group):
        if any(isinstance(tables, Exception) for tables in decode_group([verified(data) for data in group])):
            raise RuntimeError("a column of the bench does not decode")

    again_us = _microseconds(lambda payload: cbor2.dumps(cbor2.loads(payload)) == payload, payloads)
    alone_us = _microseconds(lambda pair: public.verify(pair[0], pair[1], es256), digests)
    groups = [sealed[at : at + GROUP] for at in range(0, len(sealed), GROUP)]
    verify_us = _microseconds(verified, sealed)
    group_us = _microseconds(decoded, groups, rounds=3)
    cbor_us = _microseconds(cbor.decode, payloads)
    return [
        _figure("decode: canonical CBOR of the payload", cbor_us, "µs", "cbor2, there and back", again_us),
        _figure("decode: all fields of a batch", _microseconds(batch.Batch, sealed), "µs"),
        _figure("decode: strict verify, columns left encoded", verify_us, "µs", "ES256 alone", alone_us),
        _figure(
            "decode: strict verify, columns left encoded", 1e6 / verify_us, "batches/s", "wanted", WANTED_VERIFIED_A_S
        ),
        _figure("decode: the same, columns decoded", 1e6 * GROUP / group_us, "batches/s", "wanted", WANTED_DECODED_A_S),
        _figure("decode: bytes a value, all in", sum(map(len, sealed)) / len(sealed) / ROWS / CHANNELS, "B"),
    ]

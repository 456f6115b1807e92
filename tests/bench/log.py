"""The log: leaves a second from transaction to signed checkpoint, what it costs the hub's intake, and a proof."""

import random
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from batches import FakeGateway
from host_tools.log.log import Log
from host_tools.log.record import Recorder
from host_tools.log.signer import Signer
from hub_rig import Rig
from tests.bench.hub import GROUP, SCHEMA, wandering

LEAVES = 20_000
PROOFS = 200
SEED = 1


class NoLog(Recorder):
    """The hub without its log, to compare."""

    def __init__(self):
        pass

    def begin(self):
        pass

    def batch(self, entry, ep, seq):
        pass

    def signed_bytes(self, kind, data):
        return b""

    def statement(self, kind, facts, by, now_unix_ms):
        return b""


def figures(size: int = 1) -> list[dict]:
    """The figures of the log; `size` times as many leaves and batches."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        rate, proof_ms, receipt_bytes = _append(rig, LEAVES * size)
        rig.store.close()
    sealed = wandering(FakeGateway(1, SCHEMA), 4 * GROUP * size, rows=60)
    without = _ingest(sealed, logged=False)
    return [
        _figure("log: leaves committed and signed", rate, "leaves/s", "bound", 3000),
        _figure("hub: intake with the log", _ingest(sealed, logged=True), "batches/s", "without it", without),
        _figure(f"log: a receipt under {LEAVES * size} leaves, from tiles", proof_ms, "ms"),
        _figure("log: bytes of that receipt", receipt_bytes, "bytes"),
    ]


def _figure(name, value, unit, peer=None, peer_value=None):
    ratio = value / peer_value if peer_value else None
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def _append(rig, leaves):
    """(leaves a second of wall time, ms a receipt, bytes of one). Groups as the hub's, a checkpoint a second."""
    signer, recorder, db = Signer(rig.intake.leaves), rig.intake.leaves, rig.store.db
    entries = [sha256(b"%d" % number).digest() for number in range(leaves)]
    began = due = time.perf_counter()
    for first in range(0, leaves, GROUP):
        db.execute("BEGIN IMMEDIATE")
        recorder.begin()
        for number in range(first, min(first + GROUP, leaves)):
            recorder.batch(entries[number], 1, number)
        db.execute("COMMIT")
        if time.perf_counter() >= due:
            signer.sign(rig.now_unix_ms)
            due += 1
    signer.sign(rig.now_unix_ms)
    rate = leaves / (time.perf_counter() - began)
    signer.close()
    choose = random.Random(SEED)
    with Log.open(rig.data_dir) as log:
        began = time.perf_counter()
        sizes = [len(log.receipt(choose.randrange(leaves))) for _ in range(PROOFS)]
        proof_ms = (time.perf_counter() - began) / PROOFS * 1000
    return rate, proof_ms, max(sizes)


def _ingest(sealed, logged):
    """Batches a second of wall time through the intake, signed once a second where there is a log."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        gateway = FakeGateway(1, SCHEMA)
        rig.enrol(gateway)
        signer = Signer(rig.intake.leaves)
        if not logged:
            rig.intake.leaves = NoLog()
        began = due = time.perf_counter()
        for at in range(0, len(sealed), GROUP):
            rig.take(*[(gateway.batch_topic(), data) for data in sealed[at : at + GROUP]])
            if logged and time.perf_counter() >= due:
                signer.sign(rig.now_unix_ms)
                due += 1
        if logged:
            signer.sign(rig.now_unix_ms)
        rate = len(sealed) / (time.perf_counter() - began)
        signer.close()
        rig.store.close()
    return rate

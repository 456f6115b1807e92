"""A week without a hub, and then the drain: 20 channels once a minute for 7 days (201,600 readings) lie on the flash of
a gateway, sealed hourly or every ten minutes. It starts, on the Unix port and with the settings' own pacing, samples
a meter of 20 channels once a second, and sends. Measured are how long the hub takes to have the whole backlog, and how
old a live reading is when it lies in the hub's database."""

import contextlib
import hashlib
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from batches import FakeGateway
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs.enrol import enrol
from park import Park
from parkgate import reading
from parkgate.journal.journal import Journal
from parkgate.settings import kept_twice
from parkgate.wire import batch, cose, p256

ROOT = Path(__file__).resolve().parent.parent.parent
MINUTES, CHANNELS = 7 * 24 * 60, 20
LIVE_SEAL_S = 2
GOAL_S, LIVE_GOAL_S = 180, 5
SECRET = int.from_bytes(hashlib.sha256(b"drain").digest(), "big") % p256.N
SCHEMA = [["hall", "a week", [[f"channel_{n}", "W", 0] for n in range(CHANNELS)]]]
METER = "eastron-sdm630"


class _Drained(Park):
    """A park of which the gateway has the settings' own pacing, and a live meter of 20 channels."""

    def settings(self, meters=None):
        made = super().settings(meters)
        made["sealing"] = {"period_s": LIVE_SEAL_S}
        made["sending"] = {}
        names = [row[0] for row in _profile()["registers"]][:CHANNELS]
        for instrument in made["instruments"]:
            instrument["channels"] = names
        return made


def _profile():
    return json.loads((ROOT / "lib" / "meters" / f"{METER}.json").read_text())


def fill(folder: Path, rows: int) -> tuple[FakeGateway, int]:
    """Put a key and a journal with the backlog into a gateway's folder; its chain, and the number of batches."""
    gateway = FakeGateway(1, SCHEMA)
    gateway.private = ec.derive_private_key(SECRET, ec.SECP256R1())
    numbers = gateway.private.public_key().public_numbers()
    gateway.xy = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    gateway.id = cose.thumbprint(gateway.xy)
    folder.mkdir(parents=True)
    sys.path.append(str(ROOT / "boards" / "unix"))
    flash = importlib.import_module("nor_flash").NorFlash(str(folder / "journal.nor"), 4096, 256, 256)
    journal = Journal(flash, lambda: bytes(range(16)))
    journal.recover(1)
    gateway.epoch = journal.epoch
    begin_ms = (int(time.time()) - 60 * MINUTES - 3600) * 1000
    values = [1000 * n for n in range(CHANNELS)]
    made: list = []
    for minute in range(MINUTES):
        values = [value + (minute * 7 + n * 13) % 11 - 5 for n, value in enumerate(values)]
        row = begin_ms + 60_000 * minute, 0, list(values), None
        journal.append(journal.SAMPLE, reading.encode_sample(0, row[0], 0, values), CHANNELS)
        made.append(row)
        if len(made) == rows:
            records = list(journal.unsealed())
            sealed = gateway.batch(tables={0: made}, boot=journal.boot)
            journal.commit_batch(
                journal.next_seq, sealed, batch.chain_hash(sealed), records[-1].position, CHANNELS * rows
            )
            made = []
    journal.save()
    folder.joinpath("public.key").write_text(gateway.xy.hex())

    class Files:
        write = staticmethod(lambda name, data: folder.joinpath(name).write_bytes(data))

    kept_twice.write(Files, "identity.key", kept_twice.sealed(b"PGK1", SECRET.to_bytes(32, "big")))
    return gateway, journal.next_seq


def drain(folder: Path, rows: int) -> dict:
    """One drain. Figures: batches, seconds, live_s (the oldest live reading when its batch was stored)."""
    with _Drained(folder, [("press", METER, 1)], period_ms=1000) as park:
        gateway, count = fill(park.gateway.folder, rows)
        with contextlib.closing(connect(park.hub.folder)) as db:
            enrol(db, gateway.xy, "gateway")
        park.gateway.configure(park.settings())
        began_ms = time.time() * 1000  # its start and the connection are part of what is measured
        park.gateway.start()

        def rows_of(what, *values):
            with contextlib.closing(connect(park.hub.folder, read_only=True)) as db:
                return db.execute(what, values).fetchall()

        def stored():
            return rows_of("SELECT count(*) FROM batch WHERE seq < ?", count)[0][0]

        park.wait(lambda: stored() == count, 2 * GOAL_S, "the backlog at the hub")
        last_ms = rows_of("SELECT max(received_unix_ms) FROM batch WHERE seq < ?", count)[0][0]
        readings = rows_of("SELECT sum(readings) FROM batch WHERE seq < ?", count)[0][0]
        if readings != MINUTES * CHANNELS:
            raise ValueError(f"{readings} readings of the backlog are at the hub, not {MINUTES * CHANNELS}")
        late = []
        for data, received_ms in rows_of(
            "SELECT bytes, received_unix_ms FROM batch WHERE seq >= ? AND received_unix_ms <= ?", count, int(last_ms)
        ):
            late.append(received_ms - batch.Batch(bytes(data)).base_ms)
    return {"batches": count, "seconds": (last_ms - began_ms) / 1000, "live_s": max(late, default=0) / 1000,
            "live_batches": len(late)}  # fmt: skip


def figures(size: int = 1) -> list[dict]:
    """Hourly batches; with a size above 1 those of ten minutes, too."""
    found = []
    for rows, word in ((60, "hourly"), (10, "10 min"))[: min(size, 2)]:
        with tempfile.TemporaryDirectory() as folder:
            got = drain(Path(folder) / "park", rows)
        name = f"drain: 7 days, {MINUTES * CHANNELS:,} readings, sealed {word} ({got['batches']} batches)"
        found.append(_figure(name, got["seconds"], "s", "wanted within", GOAL_S))
        live = f"drain: oldest live reading when stored, {word} ({got['live_batches']} batches)"
        found.append(_figure(live, got["live_s"], "s", "wanted within", LIVE_GOAL_S))
    return found


def _figure(name, value, unit, peer, peer_value):
    return {"name": name, "value": round(value, 2), "unit": unit, "peer": peer, "peer_value": peer_value,
            "ratio": round(value / peer_value, 3)}  # fmt: skip

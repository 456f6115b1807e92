"""SIGKILL of a real broker and of the hub, at random instants, under load: `python -m tests.host.kills --kills 50`.

The load: one gateway that runs the firmware and reads a meter four times a second, and further ones that publish ready
batches as fast as receipts come back. After each kill, what a receipt has freed must lie in the hub's database. At the
end every batch that was made must be there once, to the last byte, and the chains must link and add up by
independent_verifier.py, which was written from SPEC.md alone.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

for _folder in (".", "lib", "tests/sim", "tests/host"):
    _path = str(Path(__file__).resolve().parent.parent.parent / _folder)
    if _path not in sys.path:
        sys.path.append(_path)

import independent_verifier as stranger  # noqa: E402
from batches import FakeGateway  # noqa: E402
from host_tools.broker.broker import mosquitto_program  # noqa: E402
from host_tools.hub.stores.store import connect  # noqa: E402
from host_tools.hub.verbs.enrol import enrol  # noqa: E402
from park import BUSY_MACHINE, Park  # noqa: E402
from parkgate.errors import ParkgateError  # noqa: E402

METERS = [("press", "eastron-sdm120", 1)]
WINDOW, AGAIN_S, TURN_S = 6, 4.0, 0.1
VICTIMS = ("hub", "broker", "both")
PAUSE_S = 1.2  # between kills, at most


class Broken(Exception):
    """Something was lost, doubled, or is not explained."""


def need(holds, why, *values):
    if not holds:
        raise Broken(why % values)


class Load:
    """A gateway that makes batches as long as it is allowed to, and sends each until its receipt comes."""

    def __init__(self, broker, hub, number: int, rows: int):
        self.gateway, self.hub, self.rows = FakeGateway(number), hub, rows
        self.made: list[bytes] = []
        self.freed: set[int] = set()
        self.readings = 0
        self.makes = True
        self._sent_s: dict[int, float] = {}
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self.failed: Exception | None = None
        self.client = Client(CallbackAPIVersion.VERSION2, f"load-{number}")
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe(self.gateway.receipt_topic(), 1)
        self.client.on_message = self._on_message
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()

    def close(self):
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join()
        self.client.disconnect()
        self.client.loop_stop()

    def held(self):
        with self._lock:
            return set(self.gateway.held)

    def _on_message(self, _client, _data, message):
        with self._lock, contextlib.suppress(ParkgateError):
            self.gateway.take_receipt(message.payload, self.hub)
            self.freed = set(range(len(self.made))) - set(self.gateway.held)

    def _run(self):
        try:
            while not self._ends.wait(TURN_S):
                self._turn()
        except Exception as error:  # shown by the campaign, which would wait for receipts without end otherwise
            self.failed = error

    def _turn(self):
        now_s = time.monotonic()
        with self._lock:
            if self.makes and len(self.gateway.held) < WINDOW:
                self.made.append(self.gateway.batch(rows=self.rows))
                self.readings += self.gateway.last_readings
            held = {seq: data for seq, (data, _) in self.gateway.held.items()}
        for seq, data in held.items():
            if now_s - self._sent_s.get(seq, -AGAIN_S) >= AGAIN_S:
                self._sent_s[seq] = now_s
                self.client.publish(self.gateway.batch_topic(), data, qos=1)


def stored(folder, kid):
    """Bytes of the batches of a gateway at the hub, by seq."""
    with contextlib.closing(connect(folder, read_only=True)) as db:
        return db.execute(
            "SELECT batch.seq, batch.bytes FROM batch JOIN epoch ON epoch.ep = batch.ep"
            " JOIN gateway ON gateway.gw = epoch.gw WHERE gateway.kid = ? ORDER BY epoch.ep, batch.seq",
            (kid,),
        ).fetchall()


def kill(park, victim, draw):
    """Kill it, and start it again after a while; sometimes it is killed once more as soon as it is there."""
    for again in range(2):
        if victim != "hub":
            park.broker.kill()
        if victim != "broker":
            park.hub.kill()
        time.sleep(draw.random() * 0.3)
        if victim != "hub":
            park.broker.start()
        if victim != "broker":
            park.hub.start()
        if again or draw.random() > 0.15:
            return 1 + again
        time.sleep(draw.random() * 0.1)
    return 2


def live(folder, kind: str, kills: int, seed: int, readings: int = 0, loads: int = 3, rows: int = 60) -> dict:
    """The campaign with one kind of broker: at least so many kills and readings. Raises Broken."""
    draw = random.Random(seed)
    began_s = time.monotonic()
    done: dict[str, int] = dict.fromkeys(VICTIMS, 0)
    with Park(Path(folder), METERS, broker=kind) as park, contextlib.ExitStack() as stack:
        park.start_gateway()
        made = []
        with contextlib.closing(connect(park.hub.folder)) as db:
            for number in range(loads):
                made.append(Load(park.broker, bytes.fromhex(park.hub.about["public_key"]), number + 10, rows))
                stack.callback(made[-1].close)
                enrol(db, made[-1].gateway.xy, f"load-{number}")
        for load in made:
            load.start()
        park.wait(lambda: all(load.freed for load in made), 20, "the first receipts")
        while sum(done.values()) < kills:
            time.sleep(draw.random() * PAUSE_S)
            freed = [set(load.freed) for load in made]
            victim = draw.choice(VICTIMS)
            done[victim] += kill(park, victim, draw)
            for load, before in zip(made, freed):
                there = {seq for seq, _ in stored(park.hub.folder, load.gateway.id)}
                need(before <= there, "%d freed batches are not at the hub", len(before - there))
        park.wait(lambda: sum(load.readings for load in made) >= readings, 60 + readings // 2000, "all readings made")
        for load in made:
            load.makes = False
        park.wait(lambda: not any(load.held() for load in made) or _failed(made), 60, "the last receipts")
        _failed(made)
        park.drain()
        figures = {"kind": kind, "kills": sum(done.values()), **done, "readings": 0, "batches": 0}
        for load in made:
            count_once(figures, stored(park.hub.folder, load.gateway.id), load.gateway.xy, load.made)
        count_once(figures, stored(park.hub.folder, bytes.fromhex(park.gateway_id)), park.gateway.public_key(), None)
        summary = park.at_hub()
        status = park.gateway.status
        need(summary["readings_stored"] == status["sampled"] and not status["dropped"],
             "the gateway sampled %d, dropped %d; the hub has %d",
             status["sampled"], status["dropped"], summary["readings_stored"])  # fmt: skip
        with contextlib.closing(connect(park.hub.folder, read_only=True)) as db:
            for table in ("missing", "evidence", "alarm"):
                rows_there = db.execute(f"SELECT * FROM {table}").fetchmany(3)
                need(not rows_there, "the hub's table %s is not empty: %s", table, rows_there)
        log = (park.hub.folder / "hub.log").read_text(errors="replace")
        need("Traceback" not in log, "the hub's log has a traceback:\n%s", log[-3000:])
    return {**figures, "seconds": round(time.monotonic() - began_s, 1)}


def _failed(made):
    for load in made:
        if load.failed:
            raise load.failed
    return False


def count_once(figures, rows, xy, made):
    """Each batch once, with its bytes; the chain links and adds up."""
    need([seq for seq, _ in rows] == list(range(len(rows))), "batches are missing, doubled, or in two chains")
    if made is not None:
        need(len(rows) == len(made), "%d batches were made, %d are there", len(made), len(rows))
        for (seq, data), sent in zip(rows, made):
            need(bytes(data) == sent, "batch %d is not what was sent", seq)
    last = None
    total = 0
    for _seq, data in rows:
        batch = stranger.read_batch(bytes(data), xy)
        if last is not None:
            stranger.check_link(last, batch)
        last = batch
        total += batch["readings"]
    need(last is not None and last["sampled"] == total and not last["dropped"], "the readings do not add up")
    figures["readings"] += total
    figures["batches"] += len(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.host.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="so many, half of them with each kind of broker (50)")
    parser.add_argument("--readings", type=int, default=1_000_000, help="at least so many readings in all (1,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    kinds = ["nats", "mosquitto"] if mosquitto_program() else ["nats"]
    print("" if len(kinds) > 1 else "mosquitto is not installed: all kills are with nats")
    for number, kind in enumerate(kinds):
        kills = args.kills // len(kinds) + (number < args.kills % len(kinds))
        with tempfile.TemporaryDirectory() as folder:
            figures = live(
                Path(folder) / "park", kind, kills, args.seed + number, args.readings // len(kinds), rows=120
            )
        print(figures, flush=True)
    print(f"0 lost, 0 doubled, 0 unexplained (busy machines wait {BUSY_MACHINE} times as long)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

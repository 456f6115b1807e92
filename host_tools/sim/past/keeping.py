"""The demo's past at the demo's hub: made once, kept for other demos, imported, and gone on with while the demo runs.

What was signed is kept in a folder beside the demo's, under a hash of what made it, so that a second demo only reads
it. The state of the chains stands in the demo's own folder, with what was sent last: it is written before anything is
sent, so that a chain never says two things at one place.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from host_tools.base import files
from host_tools.base.messages import Message
from host_tools.hub.alarms import limits
from host_tools.hub.park import exchange, zone
from host_tools.hub.park.metering import meters, register
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.receiving import intake
from host_tools.hub.service import Hub, now_unix_ms
from host_tools.hub.stores import gateways, places
from host_tools.hub.stores.store import connect
from host_tools.sim.past import chains, halls, making
from host_tools.sim.past.halls import DAY_MS
from parkgate.errors import ParkgateError

DAYS = 61
STATE_FILE = "history.json"
_BEGIN_FILE = "begin_ms"  # of a past that is kept: written last
LIVE_EVERY_S = 20.0
LIVE_BATCH_MS = 60_000
TARIFFS = Path(zone.__file__).parent / "money" / "tariffs"
TARIFF = "demo-example"
_GROUP = 200
_BY = "the demo"


class PastFailed(ParkgateError):
    """The hub did not take what the demo's past has."""


class Past:
    """The past of one demo folder. `bring` before the hub runs, `live` while it does."""

    def __init__(self, folder: Path, kept: Path):
        self._path = folder / STATE_FILE
        self._kept = kept
        self._state: dict = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_there(self) -> bool:
        """Whether nothing is left to be made that takes long."""
        return self._path.exists() or (self._kept / made_by() / _BEGIN_FILE).exists()

    def bring(self, hub_folder: Path, now_ms: int) -> int:
        """Import the past up to now into a hub that does not run. Returns how many batches. Raises PastFailed,
        NotMade, FormatError, StoreError."""
        messages: list[Message] = []
        is_new = not self._path.exists()
        if is_new:
            self._state, messages = self._made(now_ms)
        else:
            self._state = json.loads(files.read_text(self._path))
            messages = [Message(topic, base64.b64decode(data)) for topic, data in self._state["sent"]]
        more = self._go_on(now_ms // chains.ROW_MS * chains.ROW_MS, chains.ROW_MS, chains.BATCH_MS)
        hub = Hub(hub_folder)
        try:
            if is_new:
                self._enrol(hub)
            self._write(more)
            _take(hub, [*messages, *more])
            if is_new:
                self._furnish(hub)
        finally:
            hub.stop()
        return len(messages) + len(more)

    def _made(self, now_ms: int) -> tuple[dict, list[Message]]:
        """Two months, from the folder where they are kept, or made now and kept there."""
        folder = self._kept / made_by()
        if not (folder / _BEGIN_FILE).exists():
            today = (now_ms + halls.OFFSET_MS) // DAY_MS * DAY_MS - halls.OFFSET_MS
            shutil.rmtree(self._kept, ignore_errors=True)  # also those that other code made
            files.make_folder(folder)
            making.make(folder, today - DAYS * DAY_MS, today)
            files.write(folder / _BEGIN_FILE, str(today - DAYS * DAY_MS))
        states, messages = making.read(folder)
        return {"begin_ms": int(files.read_text(folder / _BEGIN_FILE)), "chains": states, "sent": []}, messages

    def _go_on(self, until_ms: int, row_ms: int, batch_ms: int) -> list[Message]:
        """The batches of every chain that still goes on."""
        made: list[Message] = []
        for hall, state in self._living():
            made += chains.batches(hall, state, until_ms, row_ms, batch_ms)
        return made

    def _living(self):
        by_name = {name: (hall, end_ms) for hall, name, _, end_ms in chains.park(self._state["begin_ms"])}
        for state in self._state["chains"]:
            hall, end_ms = by_name[state["name"]]
            if end_ms is None:
                yield hall, state

    def _write(self, sent: Sequence[Message]) -> None:
        self._state["sent"] = [[topic, base64.b64encode(data).decode()] for topic, data in sent]
        files.write(self._path, json.dumps(self._state))

    # The hub's side.

    def _enrol(self, hub: Hub) -> None:
        with contextlib.closing(connect(hub.data_dir)) as db:  # so that the hub's own sees that something is new
            for hall, name, *_ in chains.park(self._state["begin_ms"]):
                place = None if name == hall.name else places.NOWHERE
                gateways.enrol(db, chains.Key(name).xy, name, _BY, place)
        if hub.store.setting("zone") is None:
            hub.set_zone(halls.ZONE)

    def _furnish(self, hub: Hub) -> None:
        """What a park's manager would have entered: exchanged boards, meters behind others, serial numbers, limits."""
        db, begin_ms = hub.store.db, self._state["begin_ms"]
        current: dict[str, str] = {}
        for hall, name, _, end_ms in chains.park(begin_ms):
            if end_ms is not None and hall.successor is not None:
                exchange.replace(db, name, hall.successor[0], end_ms + 1_500_000, _BY)
            current[hall.name] = chains.Key(name).id.hex()
        for hall in halls.PARK:
            for one in hall.instruments:
                if one.is_meter:
                    self._register(db, hall, one, Meter(current[hall.name], one.name))
                    if one.behind is not None:
                        meters.put(db, Meter(current[hall.name], one.name), Meter(current[hall.name], one.behind))
        limits.add(db, ("Hall 3 cold store", "cold room", "temperature"), "-15", None, 20, _BY)
        limits.add(db, ("Hall 2 dye house", "pump", "vibration_velocity_rms"), "4.5", None, 30, _BY)
        if not (hub.data_dir / "tariffs").exists():
            shutil.copytree(TARIFFS, hub.data_dir / "tariffs")
            files.write(hub.data_dir / "tariffs" / f"{TARIFF}.json", json.dumps(tariff(begin_ms), indent=1))

    def _register(self, db, hall, one, meter: Meter) -> None:
        first = halls.moment(self._state["begin_ms"], 0).day
        entries = [(one.serial, first)]
        if (hall.name, one.name) == halls.EXCHANGED[:2]:
            entries.append((halls.EXCHANGED[5], first + halls.EXCHANGED[2]))
        for serial, day in entries:
            fields = {"serial": serial, "model": one.profile, "installed_on": _date(day)}
            register.add(db, meter, fields)

    # While the demo runs.

    def live(self, broker_url: str) -> None:
        """Go on, a row each LIVE_EVERY_S, through the broker as every gateway."""
        self._thread = threading.Thread(target=self._run, args=(broker_url,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread:
            self._thread.join(10)

    def _run(self, broker_url: str) -> None:
        from urllib.parse import urlsplit

        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        url = urlsplit(broker_url)
        client = Client(CallbackAPIVersion.VERSION2)
        client.connect_async(url.hostname or "127.0.0.1", url.port or 1883)
        client.loop_start()
        try:
            while not self._stopping.is_set():
                now_ms = now_unix_ms()
                until_ms = now_ms // LIVE_BATCH_MS * LIVE_BATCH_MS
                made = self._go_on(until_ms, chains.LIVE_ROW_MS, LIVE_BATCH_MS)
                if made:
                    self._write(made)
                beats = [chains.beat(state, now_ms) for _, state in self._living()]
                for message in [*made, *beats]:
                    client.publish(message.topic, message.data, qos=1)
                self._stopping.wait(LIVE_EVERY_S)
        finally:
            client.disconnect()
            client.loop_stop()


def made_by() -> str:
    """A name for what makes the past: another program or another seed has another."""
    found = hashlib.sha256(chains.SEED.encode())
    for module in (halls, chains):
        found.update(Path(str(module.__file__)).read_bytes())
    return found.hexdigest()[:16]


def tariff(begin_ms: int) -> dict:
    """Prices for every month of the demo, from the one it begins in. They are invented; the file says so."""
    day = [{"days": "mon-sat", "from": "07:00", "to": "21:00"}]
    return {
        "tariff": TARIFF,
        "about": "An example for the demo. Nobody charges these prices: they show what a bill with times of use looks"
                 " like. Replace them by your supplier's.",
        "source": "invented for Parkgate's demo",
        "currency": "USD",
        "rounding": "0.01",
        "versions": [{
            "from": _date(halls.moment(begin_ms, 0).day)[:7], "to": None,
            "energy": [{"name": "Day", "price": "0.150", "when": day}, {"name": "Night and Sunday", "price": "0.120"}],
            "fixed": [{"name": "Service", "amount": "25.00"}],
            "tax": [{"name": "VAT", "percent": "10"}],
        }],
    }  # fmt: skip


def _take(hub: Hub, messages: Sequence[Message]) -> None:
    """Give the messages to the hub's intake, as `parkgate import` does."""
    for at in range(0, len(messages), _GROUP):
        group = [intake.Message(*message) for message in messages[at : at + _GROUP]]
        for outcome in hub.intake.take(group, now_unix_ms()):
            if outcome.kind == intake.REFUSED:
                raise PastFailed(f"the hub refused a batch of the demo's past: {outcome.what}")


def _date(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * 86_400))

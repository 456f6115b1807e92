"""Messages about alarms: by apprise (e-mail, webhooks, Telegram and many more) and by MQTT, in a thread of its own.

What cannot be sent is tried again with growing delay, TRIES_MAX times; then it is given up, logged and counted. One
message carries all that is due for an address, and an address gets one in PAUSE_MS at most. Nothing of the hub waits
for any of it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from host_tools.base import files
from host_tools.base.output import plain
from host_tools.hub.alarms import addresses, ledger
from host_tools.hub.alarms.addresses import Address
from host_tools.hub.alarms.rules import CLOSED
from host_tools.log.database.seam import Database, DatabaseError
from parkgate.errors import ParkgateError, SettingsError

log = logging.getLogger("parkgate.hub")

LOOK_S = 2.0
PAUSE_MS = 60_000
RETRY_MS_MIN, RETRY_MS_MAX = 30_000, 2 * 3_600_000
TRIES_MAX = 12  # over about half a day
LINES_MAX = 40
DUE_MAX = 1000
TIMEOUT_S = 10

Publish = Callable[[str, bytes], None]


class SendError(ParkgateError):
    """A message could not be sent. The text says why, without the address: it may hold a password."""


def send(address: Address, title: str, body: str, document: dict, publish: Publish | None) -> None:
    """Send one message now, however long it takes. Raises SendError."""
    if address.mqtt is not None:
        if publish is None:
            raise SendError("only a running hub is connected to the broker")
        try:
            publish(address.mqtt, json.dumps(document).encode())
        except ValueError as error:
            raise SendError(f"the broker's client refuses the topic: {error}") from None
        return
    try:
        import apprise
    except ImportError:
        raise SendError("the package apprise is missing: pip install 'parkgate[alarms]'") from None
    kept = _Kept()
    logger = logging.getLogger("apprise")
    logger.addHandler(kept)
    try:
        service = apprise.Apprise()
        # Without these, its services wait for 4 seconds, whatever the network is like.
        separator = "&" if "?" in (address.url or "") else "?"
        if not service.add(f"{address.url}{separator}cto={TIMEOUT_S}&rto={TIMEOUT_S}"):
            raise SendError("apprise does not know such an address: https://github.com/caronc/apprise lists them")
        if not service.notify(title=title, body=body):
            raise SendError(kept.last or "the service did not take it")
    except SendError:
        raise
    except Exception as error:  # one of a hundred services: none of them may end the thread
        raise SendError(f"apprise failed: {type(error).__name__}") from None
    finally:
        logger.removeHandler(kept)


class _Kept(logging.Handler):
    """Why apprise could not send: its newest warning."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.last = plain(record.getMessage())[:200]


def title_and_body(park: str, told: list[tuple[str, dict]], tz: ZoneInfo) -> tuple[str, str]:
    """The words of one message. `told` are (event, alarm as JSON)."""
    begun = sum(1 for event, _ in told if event != CLOSED)
    over = len(told) - begun
    parts = [f"{n} {word}{'s' if n > 1 else ''}" for n, word in ((begun, "alarm"), (over, "all-clear")) if n]
    lines = [_line(event, alarm, tz) for event, alarm in told[:LINES_MAX]]
    if len(told) > LINES_MAX:
        lines.append(f"and {len(told) - LINES_MAX} more: see the hub's page")
    first = told[0][1]
    title = f"{park}: {' and '.join(parts)}" if len(told) > 1 else f"{park}: {_head(*told[0])}"
    return plain(title[:150]), "\n\n".join(lines) if len(told) > 1 else lines[0] or first["what"]


def _head(event: str, alarm: dict) -> str:
    return f"{'over: ' if event == CLOSED else ''}{_who(alarm)}{alarm['what']}"


def _who(alarm: dict) -> str:
    return f"{alarm['gateways'][0]['name']}: " if len(alarm["gateways"]) == 1 else ""


def _line(event: str, alarm: dict, tz: ZoneInfo) -> str:
    def clock(ms: int) -> str:
        return datetime.fromtimestamp(ms / 1000, tz).strftime("%Y-%m-%d %H:%M")

    if event == CLOSED:
        ended = alarm["closed_unix_ms"]
        when = f"from {clock(alarm['begun_unix_ms'])}" + (f" to {clock(ended)}" if ended else "")
        return plain(f"OVER  {_who(alarm)}{alarm['what']}") + f"\n      {when}  (alarm {alarm['id']})"
    mark = "URGENT" if alarm["urgent"] else "ALARM"
    text = plain(f"{mark}  {_who(alarm)}{alarm['what']}")
    return f"{text}\n      since {clock(alarm['begun_unix_ms'])}  (alarm {alarm['id']})\n      {alarm['todo']}"


class Sender:
    """The thread that sends. `open_db` gives a connection of its own; `publish` sends by MQTT."""

    def __init__(self, open_db: Callable[[], Database], data_dir, publish: Publish, tz: Callable[[], ZoneInfo]):
        self._open_db, self._data_dir, self._publish, self._tz = open_db, data_dir, publish, tz
        self.failing: dict[str, int] = {}  # address → since when nothing arrives there
        self.given_up = 0
        self.fault: str | None = None  # of the file of addresses
        self._good: list[Address] = []  # those of the file when it was read last
        self._last_ms: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub-alarm-sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Nothing waits for a message that is on its way: it is sent again after the next start."""
        self._stopping.set()

    def addresses(self) -> list[Address]:
        """Those of the file as it is now; while it has a fault, which is logged once, those that it had before."""
        try:
            self._good = addresses.load(self._data_dir)
            self.fault = None
            self.failing.pop(addresses.FILE, None)
        except (SettingsError, files.FileTrouble) as error:
            if self.fault != str(error):
                log.error("new addresses for alarms are not taken: %s", error)
            self.fault = str(error)
            self.failing.setdefault(addresses.FILE, time.time_ns() // 1_000_000)
        return self._good

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                with contextlib.closing(self._open_db()) as db:
                    self.turn(db, time.time_ns() // 1_000_000)
            except (ParkgateError, DatabaseError) as error:
                log.warning("messages about alarms wait: %s", error)
            except Exception:
                log.exception("the sender of alarms failed; it goes on")

    def turn(self, db: Database, now_ms: int) -> None:
        """Send what is due at this moment."""
        due: dict[str, list[ledger.Message]] = {}
        for message in ledger.due_messages(db, now_ms, DUE_MAX):
            due.setdefault(message.address, []).append(message)
        if not due:
            return
        known = {address.name: address for address in self.addresses()}
        for name, messages in due.items():
            if name not in known:
                if self.fault is None:  # the address is no longer in the file
                    with ledger.writing(db):
                        ledger.sent(db, messages)
                    self.failing.pop(name, None)
            elif now_ms - self._last_ms.get(name, 0) >= PAUSE_MS:
                self._send(db, known[name], messages, now_ms)

    def _send(self, db, address: Address, messages: list[ledger.Message], now_ms: int) -> None:
        told = []
        for message in messages:
            with contextlib.suppress(SettingsError):  # forgotten meanwhile
                told.append((message.event, ledger.one(db, message.alarm)))
        self._last_ms[address.name] = now_ms
        try:
            if told:
                title, body = title_and_body("Parkgate", told, self._tz())
                alarms = [{"event": event, **alarm} for event, alarm in told]
                send(address, title, body, {"alarms": alarms}, self._publish)
        except SendError as error:
            self._failed(db, address, messages, now_ms, error)
            return
        with ledger.writing(db):
            ledger.sent(db, messages)
        self.failing.pop(address.name, None)

    def _failed(self, db, address: Address, messages: list[ledger.Message], now_ms: int, error: SendError) -> None:
        over = [message for message in messages if message.tries + 1 >= TRIES_MAX]
        again = [message for message in messages if message.tries + 1 < TRIES_MAX]
        delay_ms = min(RETRY_MS_MIN << min(message.tries for message in messages), RETRY_MS_MAX)
        with ledger.writing(db):
            ledger.sent(db, over)
            ledger.put_off(db, again, now_ms + delay_ms)
        self.given_up += len(over)
        self.failing.setdefault(address.name, now_ms)
        log.warning(
            "%d messages about alarms did not reach %s: %s%s", len(messages), address.name, error,
            f"; {len(over)} are given up" if over else "",
        )  # fmt: skip

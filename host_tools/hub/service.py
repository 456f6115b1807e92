"""The running hub: the receiver's queue to the intake, receipts back, the board kept up to date.

One thread does all of it, so there is one writer and no lock. When the database fails (disk full, locked by a backup)
the thread keeps its group and tries again with growing delay: nothing is acknowledged meanwhile, the broker
holds the rest, and the state says so.
"""

import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

from host_tools.base import files, folder_lock
from host_tools.base.keys import hub_key
from host_tools.hub.receiving.intake import Intake, Message
from host_tools.hub.receiving.receive import Receiver
from host_tools.hub.stores.store import DATABASE_FILE, Store
from host_tools.hub.web.summary import Board
from parkgate.errors import ParkgateError

log = logging.getLogger("parkgate.hub")

IDLE_WAIT_S = 0.5  # how soon a new enrolment shows when nothing else happens
RETRY_S_MIN, RETRY_S_MAX = 0.5, 30.0
STOP_TIMEOUT_S = 20.0
LOCK_FILE = "hub.lock"


class HubBusy(ParkgateError):
    """Another hub runs on this data directory."""


def now_unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Hub:
    """All of the hub except its page. `start`, then `stop`."""

    def __init__(self, data_dir, broker_url: str | None = None, ca_file=None, cert_file=None, key_file=None):
        """Take the folder: its lock first, before anything of another hub's is touched, then key and database. Without
        `broker_url`, `use_broker` comes before `start`. Raises HubBusy, HubKeyMissing, StoreError, FileTrouble,
        FormatError; the folder is then free again."""
        self.data_dir = Path(data_dir)
        files.make_folder(self.data_dir)
        self._lock = _lock(self.data_dir)
        try:
            self.key = hub_key(self.data_dir, make=not (self.data_dir / DATABASE_FILE).exists())
            self.store = Store(self.data_dir)
            try:
                self.store.belong_to(self.key.id)
                self.intake = Intake(self.store, self.key)
                self.board = Board(now_unix_ms())
                self._receiver: Receiver | None = None
                if broker_url is not None:
                    self.use_broker(broker_url, ca_file, cert_file, key_file)
            except BaseException:
                self.store.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise
        self.started_unix_ms = now_unix_ms()
        self.storage_fault: str | None = None
        self.groups = self.messages = self.faults = 0
        self._stopping = threading.Event()
        self._stop_once, self._stopped = threading.Lock(), False
        self._thread = threading.Thread(target=self._run, name="hub-writer", daemon=True)

    @property
    def receiver(self) -> Receiver:
        """Its end of the broker."""
        assert self._receiver is not None, "use_broker comes first"
        return self._receiver

    @receiver.setter
    def receiver(self, receiver) -> None:
        self._receiver = receiver

    def use_broker(self, url: str, ca_file=None, cert_file=None, key_file=None) -> None:
        """Name the broker. Raises AddressError."""
        self.receiver = Receiver(url, f"parkgate-hub-{self.key.id.hex()[:16]}", ca_file, cert_file, key_file)

    def start(self) -> None:
        self.intake.derived.start(now_unix_ms())
        self.board.put(list(self.store.by_topic.values()), self.store.nobody)
        self.receiver.start()
        self._thread.start()

    def stop(self) -> None:
        """Finish the group in hand, end the connection, close the database. Once is enough; again does nothing."""
        with self._stop_once:
            if self._stopped:
                return
            self._stopped = True
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)
        if self._receiver is not None:
            self._receiver.stop()
        if not self._thread.is_alive():
            self.store.close()
        os.close(self._lock)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                group = self.receiver.group(IDLE_WAIT_S)
                if group:
                    self._take(group)
                else:
                    self._look_for_enrolments()
            except Exception:
                # A fault of our own must not end the hub. The group is not acknowledged: all of it comes again.
                self.faults += 1
                log.exception("the hub failed on a group of messages; it goes on with the next")
                self._stopping.wait(RETRY_S_MIN)

    def _take(self, group) -> None:
        messages = [Message(_topic(message), bytes(message.payload)) for _, message in group]
        delay_s = RETRY_S_MIN
        while True:
            try:
                outcomes = self.intake.take(messages, now_unix_ms())
                break
            except (sqlite3.Error, MemoryError) as error:
                self.storage_fault = str(error) or type(error).__name__
                log.error("cannot store: %s; trying again in %.1f s", self.storage_fault, delay_s)
                if self._stopping.wait(delay_s):
                    return
                delay_s = min(delay_s * 2, RETRY_S_MAX)
        self.storage_fault = None
        for outcome in outcomes:
            if outcome.receipt is not None and outcome.receipt_topic is not None:
                self.receiver.publish(outcome.receipt_topic, outcome.receipt)
            if outcome.answer is not None and outcome.answer_topic is not None:
                self.receiver.publish(outcome.answer_topic, outcome.answer)
        self.receiver.done(group)
        self.groups += 1
        self.messages += len(group)
        heard = {outcome.gateway.gw: outcome.gateway for outcome in outcomes if outcome.gateway is not None}
        self.board.put(list(heard.values()), self.store.nobody)

    def _look_for_enrolments(self) -> None:
        try:
            if self.store.refresh():
                self.board.put(list(self.store.by_topic.values()), self.store.nobody)
        except sqlite3.Error as error:
            log.error("cannot read the database: %s", error)


def _topic(message) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:
        return "not UTF-8"


def _lock(data_dir: Path) -> int:
    """Hold the data directory for this process, until the descriptor is closed. Raises HubBusy."""
    try:
        return folder_lock.hold(data_dir / LOCK_FILE)
    except BlockingIOError:
        raise HubBusy(f"another hub runs on {data_dir}: end that one first, or name another folder") from None

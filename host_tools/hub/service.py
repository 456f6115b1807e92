"""The running hub: the receiver's queue to the intake, receipts back, the board kept up to date.

One thread does all of it, so there is one writer and no lock. When the database fails (disk full, locked by a backup)
the thread keeps its group and tries again with growing delay: nothing is acknowledged meanwhile, the broker
holds the rest, and the state says so.
"""

import importlib.metadata
import logging
import os
import threading
import time
from pathlib import Path

from host_tools.base import files, folder_lock
from host_tools.base.keys import hub_key
from host_tools.broker import certificates
from host_tools.hub.alarms.watch import Sources, Watch
from host_tools.hub.park import exchange, zone
from host_tools.hub.park.book import Book
from host_tools.hub.reading.summary import Board
from host_tools.hub.receiving.intake import Intake, Message
from host_tools.hub.receiving.receive import Receiver
from host_tools.hub.receiving.roots import Roots
from host_tools.hub.receiving.witnesses import Witnesses, log_topic
from host_tools.hub.stores.store import Store, connect
from host_tools.log import root
from host_tools.log.database import opening
from host_tools.log.database.seam import DatabaseError
from host_tools.log.record import add_unlogged, open_recorder, recording
from host_tools.log.signer import Signer
from parkgate.errors import ParkgateError, SettingsError
from parkgate.log import statement

log = logging.getLogger("parkgate.hub")

IDLE_WAIT_S = 0.5  # how soon a new enrolment shows when nothing else happens
RETRY_S_MIN, RETRY_S_MAX = 0.5, 30.0
STOP_TIMEOUT_S = 20.0
LOCK_FILE = "hub.lock"
SIGN_EVERY_S = 1.0
STUCK_S = 60.0  # a writer that has not gone round for so long is stuck
EXCHANGES_EVERY_S = 10.0
SUMS_EVERY_S, SUMS_BUSY_S, SUMS_IDLE_S = 2.0, 0.02, 0.25
RUNNING = "running"  # in the table about: 1 while a hub runs, 0 after it ended in order


class HubBusy(ParkgateError):
    """Another hub runs on this data directory."""


def now_unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Hub:
    """All of the hub except its page. `start`, then `stop`."""

    def __init__(
        self, data_dir, broker_url: str | None = None, ca_file=None, cert_file=None, key_file=None,
        store: tuple[str, str | None] | None = None,
    ):  # fmt: skip
        """Take the folder: its lock first, before anything of another hub's is touched, then key and database. Without
        `broker_url`, `use_broker` comes before `start`. `store` is the address of a database server, and the file with
        the password for it. Raises HubBusy, SettingsError, HubKeyMissing, StoreError, LogError,
        FileTrouble, FormatError; the folder is then free again."""
        self.data_dir = Path(data_dir)
        files.make_folder(self.data_dir)
        self._lock = _lock(self.data_dir)
        try:
            is_new = not opening.is_there(self.data_dir)
            if store is not None:
                opening.choose(self.data_dir, *store)
            self.key = hub_key(self.data_dir, make=is_new)
            root.check_keys(self.data_dir, self.key.xy, None)
            self.store = Store(self.data_dir)
            try:
                if not self.store.db.hold():
                    raise HubBusy("another hub runs on this database: end that one first, or name another database")
                self.store.belong_to(self.key.id)
                leaves = open_recorder(self.store.db)
                self.intake = Intake(self.store, self.key, leaves)
                chain = root.check_keys(self.data_dir, self.key.xy, leaves.key.xy)
                self.root = chain.newest
                self.roots = self.intake.roots = Roots(self.store, self.key, chain)
                self.signer = Signer(leaves)
                self.witnesses = Witnesses(self.store, self.signer, self.key, self.data_dir, self.roots)
                self.log_fault: str | None = None
                self._sign_due_s = 0.0
                self._log_started = False
                self.board = Board(now_unix_ms())
                self._book = Book(self.store.db)
                self._sums_due_s = self._exchanges_due_s = 0.0
                self._receiver: Receiver | None = None
                if broker_url is not None:
                    self.use_broker(broker_url, ca_file, cert_file, key_file)
            except BaseException:
                if hasattr(self, "signer"):
                    self.signer.close()
                self.store.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise
        self.started_unix_ms = now_unix_ms()
        self.storage_fault: str | None = None
        self.groups = self.messages = self.faults = 0
        self.taking_s = 0.0  # spent on verifying, decoding and committing
        self.zone = zone.zone(self.store.setting("zone") or zone.local_zone_name())
        self.page_certificate: Path | None = None  # what the page is served with
        sources = Sources(
            lambda: self.board.since(0)[1],
            lambda: self.receiver.connected_unix_ms is not None,
            lambda: self.storage_fault,
            lambda: self.log_fault,
            self._certificates,
            self._publish,
            lambda: self.zone,
        )
        self.alarms = Watch(self.data_dir, sources, lambda: connect(self.data_dir))
        self.has_accounts = False  # whether each gateway has an account at the broker
        self._turned_s = time.monotonic()
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

    def use_broker(self, url: str, ca_file=None, cert_file=None, key_file=None, password: str | None = None) -> None:
        """Name the broker; `password` takes the place of the URL's. Raises AddressError."""
        self.receiver = Receiver(url, self.key.client_id(), ca_file, cert_file, key_file, password)

    def set_zone(self, name: str) -> None:
        """Take another time zone for the park, and keep it. Raises SettingsError."""
        self.zone = zone.zone(name)
        self.store.set_setting("zone", name)

    def show_all(self) -> None:
        """Put every gateway on the board, before the start too."""
        self.board.put(list(self.store.by_topic.values()), self.store.nobody)

    def broker_ca(self) -> str | None:
        """What the broker's certificate comes from, as a gateway's setting; None where that is not one certificate."""
        if self.receiver.ca_file is None:
            return None
        try:
            return certificates.read(Path(self.receiver.ca_file))
        except (SettingsError, files.FileTrouble):
            return None

    def _certificates(self) -> list[tuple[str, Path]]:
        """The certificates that the hub's connections rest on: what each is, and its file."""
        files_of = (
            ("the authority of the broker's certificate", self.receiver.ca_file),
            ("the hub's certificate at the broker", self.receiver.cert_file),
            ("the certificate of the hub's page", self.page_certificate),
        )
        return [(what, Path(path)) for what, path in files_of if path]

    def _publish(self, topic: str, data: bytes) -> None:
        self.receiver.publish(topic, data)

    def start(self) -> None:
        self._log_start()
        self.intake.derived.start(now_unix_ms())
        self.board.put(list(self.store.by_topic.values()), self.store.nobody)
        self.receiver.start()
        self._thread.start()
        self.alarms.start()

    def stop(self) -> None:
        """Finish the group in hand, end the connection, close the database. Once is enough; again does nothing."""
        with self._stop_once:
            if self._stopped:
                return
            self._stopped = True
        self._stopping.set()
        self.alarms.stop()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)
        if self._receiver is not None:
            self._receiver.stop()
        if not self._thread.is_alive():
            self._log_stop()
            self.signer.close()
            self.store.close()
        os.close(self._lock)

    def _log_start(self) -> None:
        """Leaves for what an older hub stored without one; the hub's word that it started, and how it ended before."""
        db, leaves = self.store.db, self.intake.leaves
        with recording(db, leaves):
            unlogged = add_unlogged(leaves)
            ended = db.about(RUNNING)
            after = "first start" if ended is None else "crash" if ended else "stop"
            facts = {"version": version(), "after": after, "leaves": leaves.next, "broker": self.receiver.url}
            leaves.statement(statement.HUB_STARTED, facts, None, now_unix_ms())
            db.set_about(RUNNING, 1)
        self._log_started = True
        if unlogged:
            log.info("the log has %d leaves more, for batches of an older hub", unlogged)
        self._sign()

    def _log_stop(self) -> None:
        try:
            if self._log_started:
                with recording(self.store.db, self.intake.leaves) as leaves:
                    leaves.statement(statement.HUB_STOPPED, {}, None, now_unix_ms())
                    self.store.db.set_about(RUNNING, 0)
            self.signer.sign(now_unix_ms())
        except (ParkgateError, DatabaseError) as error:
            log.error("the log does not say that the hub stopped: %s", error)

    def _sign(self) -> None:
        """A checkpoint when one is due. What cannot be written now is signed later; what contradicts the log stops the
        hub's taking (`log_fault`): gateways keep what they have."""
        now_s = time.monotonic()
        if now_s < self._sign_due_s:
            return
        self._sign_due_s = now_s + SIGN_EVERY_S
        try:
            self.signer.sign(now_unix_ms())
            self.log_fault = None
        except (ParkgateError, DatabaseError) as error:
            if self.log_fault != str(error):
                log.error("the log is not signed: %s", error)
            self.log_fault = str(error)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._turned_s = time.monotonic()
            try:
                if self.signer.broken:
                    self._stopping.wait(IDLE_WAIT_S)  # nothing is stored that the log cannot say
                    continue
                group = self.receiver.group(IDLE_WAIT_S)
                if group:
                    self._take(group)
                else:
                    self._look_for_enrolments()
                self._sum_up(not group)
                self._complete_exchanges()
                self._sign()
            except Exception:
                # A fault of our own must not end the hub. The group is not acknowledged: all of it comes again.
                self.faults += 1
                log.exception("the hub failed on a group of messages; it goes on with the next")
                self._stopping.wait(RETRY_S_MIN)

    def _take(self, group) -> None:
        messages = [Message(_topic(message), bytes(message.payload)) for _, message in group]
        delay_s = RETRY_S_MIN
        while True:
            began_s = time.monotonic()
            try:
                outcomes = self.intake.take(messages, now_unix_ms())
                break
            except (DatabaseError, MemoryError) as error:
                self.storage_fault = str(error) or type(error).__name__
                log.error("cannot store: %s; trying again in %.1f s", self.storage_fault, delay_s)
                if self._stopping.wait(delay_s):
                    return
                delay_s = min(delay_s * 2, RETRY_S_MAX)
        self.storage_fault = None
        self.taking_s += time.monotonic() - began_s
        for outcome in outcomes:
            if outcome.receipt is not None and outcome.receipt_topic is not None:
                self.receiver.publish(outcome.receipt_topic, outcome.receipt)
            if outcome.answer is not None and outcome.answer_topic is not None:
                self.receiver.publish(outcome.answer_topic, outcome.answer)
            topic = outcome.receipt_topic or outcome.answer_topic
            if topic:
                for older in outcome.older:
                    self.receiver.publish(topic, older)
        self.receiver.done(group)
        self.groups += 1
        self.messages += len(group)
        heard = {outcome.gateway.gw: outcome.gateway for outcome in outcomes if outcome.gateway is not None}
        self.board.put(list(heard.values()), self.store.nobody)
        self._show_log(heard.values())

    def _show_log(self, gateways) -> None:
        """Show the log's newest checkpoint to those whose turn it is. What fails is tried again later: no reading
        waits for it."""
        for gateway in gateways:
            document = self.roots.message(gateway, now_unix_ms())
            if document is not None:
                self.receiver.publish(log_topic(gateway), document)  # alone: a gateway looks into one at a time
                continue
            try:
                message = self.witnesses.message(gateway, now_unix_ms())
            except (ParkgateError, DatabaseError) as error:
                log.warning("%s: the log is not shown to it: %s", gateway.name, error)
                continue
            if message is not None:
                self.receiver.publish(log_topic(gateway), message)

    def is_alive(self) -> bool:
        """Whether the writer goes round: it does so at least each IDLE_WAIT_S, or says why it cannot store."""
        return self._thread.is_alive() and (
            self.storage_fault is not None or time.monotonic() - self._turned_s < STUCK_S
        )

    def _sum_up(self, is_idle: bool) -> None:
        """Make some of the sums that are due: a little now and then, more when nothing else is to be done."""
        now_s = time.monotonic()
        if now_s < self._sums_due_s and not is_idle:
            return
        self._sums_due_s = now_s + SUMS_EVERY_S
        try:
            until_s = now_s + (SUMS_IDLE_S if is_idle else SUMS_BUSY_S)
            while time.monotonic() < until_s:
                with self.store.transaction(now_unix_ms()):
                    if not self._book.catch_up():
                        break
        except DatabaseError as error:
            log.error("cannot store sums: %s", error)

    def _complete_exchanges(self) -> None:
        """Have the log say what new gateways read first, where one took the place of another."""
        now_s = time.monotonic()
        if now_s < self._exchanges_due_s:
            return
        self._exchanges_due_s = now_s + EXCHANGES_EVERY_S
        try:
            exchange.complete(self.store.db, self.intake.leaves, now_unix_ms())
        except (ParkgateError, DatabaseError) as error:
            log.error("the registers of an exchange are not written: %s", error)

    def _look_for_enrolments(self) -> None:
        try:
            if self.store.refresh():
                self.board.put(list(self.store.by_topic.values()), self.store.nobody)
        except DatabaseError as error:
            log.error("cannot read the database: %s", error)


def version() -> str:
    try:
        return importlib.metadata.version("parkgate")
    except importlib.metadata.PackageNotFoundError:
        return "from source"


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

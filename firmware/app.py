"""The gateway put together: the only wiring. Objects are built here, tasks are started and kept alive here."""

import asyncio
import json

from enrolled import known_hub
from gateway.loaded import drop
from gateway.supervisor import Supervisor
from parkgate import VERSION_NUMBER, events, reading
from parkgate.clock import Clock
from parkgate.console.access import Access
from parkgate.errors import FormatError, JournalError
from parkgate.journal.journal import Journal
from parkgate.settings import kept_twice
from parkgate.wire import batch, beat, cbor, cose, receipt
from parkgate.wire.p256 import use_table
from tasks.account import Account
from tasks.console import ConsoleTask
from tasks.sample import Sampler, flush_is_due, quiet_ms, until_quiet
from tasks.seal import Sealer, in_steps
from tasks.timekeeper import Timekeeper

TLS_PAUSE_MS = 700  # the longest step of a TLS handshake on an RP2040, and some
FIRST_SAMPLE_MS = 3000  # then the network is brought up whether there is a sample or not
FLOOR_UNIX_MS = 1793491200000  # 2026-11-01: no clock that names an earlier time is believed
MAINTAIN_MS = 100
STATUS_MS = 1000
SAY_MS = 200
CLOCK_MS = 60000
TASK_MS = 180000  # without progress a task has stalled: longer than the longest wait of any


class App:
    """A gateway on one board. `run` never returns."""

    def __init__(self, board, start):
        self.board = board
        self.mono_ms = board.clock.mono_ms
        self.log = start.log
        self.supervisor = Supervisor(self.note, self.restart, self.mono_ms, self.log)
        self.lost = 0  # readings that the journal could not even count yet
        self.sealer = None
        self.sampling = False
        self.receipt_ms = None
        self.first_seq = None  # of the batches sealed under the settings of this start
        self.settings, self.settings_id, self.generation = start.settings, start.settings_id, start.generation
        self.problem, self.on_trial, self.trial_ms = start.problem, start.on_trial, start.trial_ms
        self.buses, self.schema, self.totals = start.buses, start.schema, start.totals
        self.clock = Clock(FLOOR_UNIX_MS)
        self.timekeeper = Timekeeper(self.clock, board.wall_time, self.note, self.mono_ms, self.log)
        start.notes.use(self.note, self.clock.date)
        self.account = Account(self.note, self.clock, self.mono_ms, self.log)
        for name, period_ms, error in start.left_out:
            self.account.leave_out(name, period_ms, error)
        told = self.record, self.account.tell, self.mono_ms, self.log
        self.samplers = [Sampler(group, *told, shared=shared, idle=idle) for group, shared, idle in start.groups]
        self.account.samplers = self.samplers
        board.use_network(self.settings["network"], self.settings["broker"]["tls"] == "on")
        comb_point = board.comb_point()
        if comb_point:
            use_table(comb_point)
        self.cause = board.reset_cause()
        self.flash = board.journal_flash()
        self.journal = Journal(self.flash, lambda: board.entropy(16))
        self._start_journal()
        from gateway.identity import load_signer  # not kept

        self.signer = load_signer(board, self.log, self.journal.next_seq > 0)
        self.can_sign = getattr(self.signer, "is_there", True)
        self.gateway_id = cose.thumbprint(self.signer.public_key)
        self.topic_id = self.gateway_id[:16].hex()
        hub_key = self.settings["hub"]["public_key"] if self.can_sign else ""
        self.hub = known_hub(hub_key, self.signer, self.gateway_id, self.log)
        start.finish(self.journal, self.clock, self.account)
        self.sender = None
        self.witness = None  # the task that looks into a message of the hub's log

    def read_profile(self, name: str):
        """The bytes of a profile file, None when there is none."""
        return self.board.files.read("meters/%s.json" % name)

    def _slots(self):
        """The slots without the schema: enough to confirm or to revert."""
        from parkgate.settings.slots import Slots

        slots = Slots(self.board.files, lambda settings: settings)
        slots.load(None, False)
        drop(("parkgate.settings.slots",))
        return slots

    def confirm_settings(self):
        """The settings are good: the hub accepted a batch under them, or somebody at the console says so."""
        self._slots().confirm()
        self.on_trial = False
        self.trial_ms = None
        self.log.info("settings", "confirmed, generation %d" % self.generation)

    def _end_trial(self):
        self.trial_ms = None
        self._slots().revert("the hub accepted nothing")
        self.log.error("settings", "the hub accepted nothing under them: going back to those before")
        self.restart()

    def restart(self):
        """Start again; does not return."""
        self.account.tell_all()
        self.journal.save()
        self.board.restart()

    def _start_journal(self):
        report = self.journal.recover(self.cause)
        self.log.info("journal", report.text())
        self.note([events.RESET, self.journal.boot, self.cause])
        self.note([events.SETTINGS, self.settings_id, self.problem])
        self.timekeeper.ask_board()

    def record(self, instrument, values, qualities, taken_ms):
        """Make one sample durable that was acquired at `taken_ms`."""
        time_ms, trust = self.clock.date(taken_ms)
        try:
            payload = reading.encode_sample(instrument.index, time_ms, trust, values, qualities)
        except Exception:
            self.lost += len(values)
            raise
        self._append(self.journal.SAMPLE, payload, len(values))
        self.totals.note(instrument.name, time_ms, trust, values, qualities)

    def note(self, event: list):
        """Make one event durable."""
        self._append(self.journal.EVENT, cbor.encode(event), 0)

    def _append(self, kind, payload, readings):
        """Append to the journal. After a failure of flash, or without memory, the journal is recovered and the record
        written behind the bad place. Raises JournalError, MemoryError when that fails too; the readings are told as
        lost as soon as the journal can be written again."""
        journal = self.journal
        sampled = journal.ledger.sampled
        lost, self.lost = self.lost, self.lost + readings
        if not journal.failed:
            try:
                journal.append(kind, payload, readings)
                self.lost = lost
            except (JournalError, MemoryError) as e:
                self.log.error("journal", "%s; recovering" % (e or "out of memory"))
                journal.failed = True
        if journal.failed:
            journal.recover(self.cause)
            if not readings or journal.ledger.sampled <= sampled:  # else it is on flash already
                journal.append(kind, payload, readings)
            self.lost = lost
        if lost:
            journal.note_lost(lost)
            self.lost = 0

    def health(self) -> dict:
        """Small numbers that travel in every beat."""
        health = {
            "firmware": VERSION_NUMBER,
            "heap_peak": self.board.heap.peak_bytes,
            "heap_limit": self.board.heap.limit_bytes(),
            "crashes": self.supervisor.crashes,
            "stalls": self.supervisor.stalls,
            "errors": self.log.errors,
            "receipts_refused": self.sender.refused if self.sender else 0,
            "repeats": self.sender.outbox.repeats if self.sender else 0,
        }
        if self.sender and self.sender.answered_unix_ms is not None:
            health["answered_ms"] = self.sender.answered_unix_ms
        mono_ms = health["uptime_ms"] = self.mono_ms()
        error_ms = self.clock.uncertainty_ms(mono_ms)
        if error_ms is not None:
            health["clock_error_ms"] = error_ms
        self.account.add_health(health)
        seconds = self.journal.seconds_to_loss(mono_ms)
        if seconds is not None:
            health["loss_in_s"] = seconds
        return health

    async def seal(self, payload: bytes, content_type: str) -> bytes:
        """`payload` signed at the journal's next place in the chain."""
        buses = self.samplers if self.sampling and content_type == batch.CONTENT_TYPE else ()
        await until_quiet(buses)
        if content_type == batch.CONTENT_TYPE:
            self.totals.write(self.mono_ms())  # its samples may leave the journal
        steps = batch.seal_steps(
            self.signer, self.gateway_id, self.journal.epoch, self.journal.next_seq, payload, content_type
        )
        sealed = await in_steps(steps)
        await until_quiet(buses)  # what is given will be written to flash at once
        self.board.heap.look()  # here most is in use
        return sealed

    async def make_beat(self) -> bytes:
        """A signed heartbeat for the state as it is now."""
        journal = self.journal
        counters = journal.counters
        held = journal.held()
        time_ms, trust = self.clock.date(self.mono_ms())
        payload = beat.beat_payload(
            journal.head_hash if journal.next_seq else None, journal.boot, self.cause,
            (counters.sampled, counters.dropped, counters.buffered), journal.receipt_seq, held[0] if held else None,
            time_ms, trust, self.health(),
        )  # fmt: skip
        return await self.seal(payload, beat.CONTENT_TYPE)

    def take_receipt(self, message: bytes) -> bool:
        """Whether this receipt settled a batch. Raises FormatError, IntegrityError, JournalError. The first one for a
        batch under the settings on trial confirms them."""
        epoch, seq, batch_hash, _ = self.hub.open_receipt(message)
        if not receipt.accept_receipt(self.journal, epoch, seq, batch_hash):
            return False
        self.receipt_ms = self.mono_ms()
        if self.on_trial and self.first_seq is not None and seq >= self.first_seq:
            self.confirm_settings()
        return True

    def take_log(self, message):
        """A word of the hub about its log: one at a time is looked into, beside everything else."""
        if self.witness is None:
            self.witness = asyncio.create_task(self._witness(bytes(message)))

    async def _witness(self, message):
        try:
            from tasks import witness  # only at a hub with a log, and only as long as it takes

            buses = self.samplers if self.sampling else ()
            await witness.take(
                message, self.board.files, self.hub, self.gateway_id, self.note, buses, self.log
            )
            witness.forget()
        except Exception as e:  # of a hostile broker's message, of flash, of memory: nothing else may suffer
            self.log.error("witness", str(e) or "failed: %s" % type(e).__name__)
        finally:
            self.witness = None

    def make_session(self, on_message, suffix=""):
        """A broker session, not yet open."""
        from mqtt import Session  # not on a board without a network

        name, broker = "parkgate-" + self.topic_id + suffix, self.settings["broker"]

        def connect(*where):
            return self.board.connect(*where, self._pause)

        return Session(connect, name, broker, on_message, lambda: self.clock.not_before(self.mono_ms()))

    def _random(self, limit: int) -> int:
        """A whole number below `limit`, for waiting times."""
        return int.from_bytes(self.board.entropy(4), "big") % limit

    async def _pause(self):
        """Until the buses leave time for a step of TLS."""
        await until_quiet(self.samplers if self.sampling else (), TLS_PAUSE_MS, 10)

    def instruments(self) -> list:
        """All that are sampled."""
        return [instrument for sampler in self.samplers for instrument in sampler.instruments]

    def status(self) -> dict:
        """The state in numbers, for people and programs on the console."""
        counters = self.journal.counters
        status = {
            "gateway": self.topic_id,
            "name": self.settings["gateway"]["name"],
            "sampled": counters.sampled,
            "acknowledged": counters.acked,
            "buffered": counters.buffered,
            "dropped": counters.dropped,
            "journalled": self.journal.ledger.sampled,
            "sealed": self.journal.ledger.sealed,
            "batches": self.journal.next_seq,
            "held": len(self.journal.held()),
            "connected": self.sender.connected if self.sender else False,
            "boot": self.journal.boot,
            "storage": self.board.journal_kind,
            "heap_used": self.board.heap.used_bytes,
        }
        status.update(self.health())
        return status

    async def _maintain(self):
        """Erase flash while every bus is quiet, keep the clock, say how things are."""
        self.board.heap.look()
        clock_due = status_due = flush_due = account_due = 0
        flush_ms = self.settings["journal"]["flush_interval_s"] * 1000
        while True:
            if self.supervisor.look() and self.board.watchdog:
                self.board.watchdog.feed()
            buses = self.samplers if self.sampling else ()
            pause_ms = quiet_ms(buses)
            self.journal.maintain(pause_ms)
            now = self.mono_ms()
            if flush_is_due(now, flush_due, flush_ms, pause_ms, MAINTAIN_MS):
                self.flash.sync()  # on a file system this is what makes readings durable
                flush_due = now + flush_ms
            # To look and to say takes 50 ms of an RP2040: not just before a sample.
            if now >= status_due and (quiet_ms(buses) >= SAY_MS or now >= status_due + STATUS_MS):
                self.board.heap.look()
                self.log.raw("status " + json.dumps(self.status()))
                status_due = now + STATUS_MS
            if self.sampling and now >= account_due:
                self.account.look()
                account_due = now + STATUS_MS
            if self.trial_ms is not None and now >= self.trial_ms:
                self._end_trial()
            if now >= clock_due:
                self.timekeeper.ask_board()
                clock_due = now + CLOCK_MS
                if not self.can_sign:
                    self._look_for_key()
            await asyncio.sleep_ms(MAINTAIN_MS)

    def _look_for_key(self):
        """Start again as soon as the key can be read."""
        from gateway.identity import read_key

        key = read_key(self.board.files)
        drop(("gateway.identity",))
        if key:
            self.restart()

    async def _send(self):
        """Keep the connection to the hub, after the first samples: the network and the key take their time."""
        until = self.mono_ms() + FIRST_SAMPLE_MS
        while self.mono_ms() < until and not all(sampler.begun for sampler in self.samplers):
            await asyncio.sleep_ms(10)
        await in_steps(self.hub.key_steps())
        await self.sender.run()

    def _sealer(self, settings_id, schema):
        facts = {"cause": self.cause, "settings_id": settings_id, "schema": schema}
        return Sealer(self.journal, self.seal, self.clock, self.settings["sealing"], facts, self.mono_ms, self.log)

    async def _seal_what_older_settings_took(self) -> bool:
        """Samples left from before a change of settings mean what the old schema says: seal them under it first. False
        when that cannot be done; then nothing may be sampled, for nobody could tell these from those."""
        from gateway.meaning import keep, taken_under

        drop(("gateway.meaning",))
        files = self.board.files
        now = [self.settings_id, self.schema]
        try:
            before = taken_under(files)
        except FormatError as e:
            before = None
            self.log.error("settings", str(e))
            self.note([events.SETTINGS, self.settings_id, str(e)])
        if before == now:
            return True
        if before:
            if not self.can_sign and self.journal.unsealed_readings:
                self.log.error("settings", "nothing is sampled: older samples cannot be sealed without the key")
                return False
            await self._sealer(*before).seal_older_boots()
        keep(files, now)
        return True

    async def main(self):
        """Start every task and stay."""
        start = self.supervisor.start
        maintain = start("maintain", self._maintain)
        self.sampling = await self._seal_what_older_settings_took()
        self.account.begin()
        self.sealer = self._sealer(self.settings_id, self.schema)
        self.first_seq = self.journal.next_seq
        if self.can_sign:
            start("seal", self.sealer.run, self.sealer, TASK_MS)
        console = getattr(self.board, "console", None)
        line = console() if console else None
        if line:
            files = self.board.files
            code = kept_twice.read(files, "access.code")
            access = Access(code, lambda data: kept_twice.write(files, "access.code", data))
            task = ConsoleTask(line, self, access)
            start("console", task.run, task, TASK_MS)
        for sampler in self.samplers if self.sampling else ():
            start("sample", sampler.run, sampler, TASK_MS)
        if self.hub and self.board.has_network:
            from tasks.send import Sender

            self.sender = Sender(
                self.journal, self.make_session, self.topic_id, self.take_receipt, self.hub, self.make_beat,
                self.settings["sending"], self.timekeeper.take_hub_time, self.take_log, self._random,
                self.mono_ms, self.log
            )
            bound_ms = TASK_MS + 12000 * self.settings["broker"]["connect_timeout_s"]  # a handshake has many waits
            start("send", self._send, self.sender, bound_ms)
        await maintain

    def run(self):
        asyncio.run(self.main())

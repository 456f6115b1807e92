"""The gateway put together: the only wiring. Objects are built here, tasks are started and kept alive here.

The way of one reading: `Sampler` reads an instrument and hands the sample to `Records.record`, which dates it and
makes it durable in the journal. `Sealer` makes a batch of what is unsealed and has it signed by `Signing.seal`.
`Sender` takes batches to the broker; a receipt, in `take_receipt`, frees them.
"""

from enrolled import known_hub
from gateway.loaded import drop
from gateway.records import Records
from gateway.signing import Signing
from gateway.supervisor import Supervisor
from gateway.trial import Trial
from gateway.upkeep import Upkeep, health
from parkgate import events
from parkgate.clock import Clock
from parkgate.console.access import Access
from parkgate.errors import SettingsError
from parkgate.journal.journal import Journal
from parkgate.settings import kept_twice
from parkgate.wire import cose, receipt
from tasks.account import Account
from tasks.console import ConsoleTask
from tasks.sample import Sampler
from tasks.seal import Sealer
from tasks.timekeeper import Timekeeper

FLOOR_UNIX_MS = 1793491200000  # 2026-11-01: no clock that names an earlier time is believed
TASK_MS = 180000  # without progress a task has stalled: longer than the longest wait of any


class App:
    """A gateway on one board; `start` is the start.Start of it. `main` never returns."""

    def __init__(self, board, start):
        self.board, self.log, self.totals = board, start.log, start.totals
        self.settings, self.settings_id, self.schema = start.settings, start.settings_id, start.schema
        self.buses, self.mono_ms = start.buses, board.clock.mono_ms
        mono_ms = self.mono_ms
        self.sender = self.sealer = self.uplink = self.receipt_ms = self.floor = self.console = None
        self.sampling = []  # the samplers, from the moment on at which they run
        board.use_network(self.settings)
        cause = self.cause = board.reset_cause()
        clock = self.clock = Clock(FLOOR_UNIX_MS)
        self.flash = board.journal_flash()
        journal = self.journal = Journal(self.flash, lambda: board.entropy(16))
        self.log.info("journal", journal.recover(cause).text())
        records = self.records = Records(journal, cause, clock, self.totals, self.log)
        note = self.note = records.note  # who has an event to tell is given this: it makes it durable
        note([events.RESET, journal.boot, cause])
        note([events.SETTINGS, self.settings_id, start.problem])
        self.supervisor = Supervisor(note, self.restart, mono_ms, self.log)
        chip = None
        if self.settings["gateway"]["clock_chip"]:
            chip = self._clock_chip()
        wall_time = chip.wall_time if chip else board.wall_time
        self.timekeeper = Timekeeper(clock, wall_time, note, mono_ms, self.log)
        self.timekeeper.chip = chip
        self.timekeeper.ask_board()

        start.notes.use(note, clock.date)  # of meters: a counter that jumped, a ratio that changed
        account = self.account = Account(note, clock, mono_ms, self.log)
        for name, period_ms, error in start.left_out:
            account.leave_out(name, period_ms, error)
        # A sample goes to records.record, what became of periods to account.tell.
        told = records.record, account.tell, mono_ms, self.log
        self.samplers = [Sampler(group, *told, shared=shared, idle=idle) for group, shared, idle in start.groups]
        account.samplers = self.samplers
        self.trial = Trial(start, board.files, self.restart, self.log)
        from gateway.identity import load_signer  # not kept

        signer, self.gateway_id = load_signer(board, self.log, journal.next_seq)
        self.signer = signer
        self.can_sign = getattr(signer, "is_there", True)
        self.topic_id = self.gateway_id[:16].hex()
        hub_key = self.settings["hub"]["public_key"] if self.can_sign else ""
        self.hub = known_hub(hub_key, signer, self.gateway_id, self.log)
        self.signing = Signing(
            signer, cose.thumbprint(signer.public_key), journal, cause, clock, self.totals, self.sampling,
            board.heap.look, lambda: health(self), mono_ms,
        )  # fmt: skip
        start.finish(journal, clock, account)
        if board.has_network:
            from gateway.uplink import Uplink

            self.uplink = Uplink(self)

    def _clock_chip(self):
        """The clock chip of the settings; None, and said so, where the board has no such bus."""
        from sensors.ds3231 import ClockChip

        board = self.board
        try:
            return ClockChip(board.i2c(self.settings["gateway"]["clock_chip"]), board.files, board.wall_time, self.log)
        except (SettingsError, OSError, ValueError) as e:
            self.log.error("clock", str(e))
            return None

    def read_profile(self, name: str):
        """The bytes of a profile file, None when there is none."""
        return self.board.files.read("meters/%s.json" % name)

    def restart(self):
        """Start again; does not return."""
        self.account.tell_all()
        self.journal.save()
        self.board.restart()

    def take_receipt(self, message: bytes) -> bool:
        """Whether this receipt settled a batch. Raises FormatError, IntegrityError, JournalError."""
        epoch, seq, batch_hash, _ = self.hub.open_receipt(message)
        if not receipt.accept_receipt(self.journal, epoch, seq, batch_hash):
            return False
        self.receipt_ms = self.mono_ms()
        self.trial.accepted(seq)
        return True

    def say_schema(self):
        """Have the next batch say the schema."""
        self.sealer.say_schema = True

    async def look_into_log(self, message):
        """A word of the hub about its log or key, in `message`. Raises FormatError, IntegrityError, JournalError."""
        from tasks import witness  # only as long as it takes

        await witness.take(message, self)
        witness.forget()

    def make_sealer(self, settings_id, schema) -> Sealer:
        """A sealer of samples that were taken under these settings."""
        facts = {"cause": self.cause, "settings_id": settings_id, "schema": schema}
        seal = self.signing.seal  # what the sealer has put together is signed by this
        return Sealer(self.journal, seal, self.clock, self.settings["sealing"], facts, self.mono_ms, self.log)

    async def main(self):
        """Start every task and stay."""
        start = self.supervisor.start
        upkeep = start("maintain", Upkeep(self).run)
        from gateway.meaning import settle

        drop(("gateway.meaning",))
        if self.settings["stations"]:
            from sensors.floor import Floor  # before older samples are sealed: it looks through the unsealed events

            self.floor = Floor(self)
        may_sample = await settle(self)
        self.account.begin()
        if may_sample:
            self.sampling.extend(self.samplers)
        self.sealer = self.make_sealer(self.settings_id, self.schema)
        self.trial.begin(self.journal.next_seq)
        for sampler in self.sampling:  # before the other tasks: they have time
            start("sample", sampler.run, sampler, TASK_MS)
        if self.can_sign:
            start("seal", self.sealer.run, self.sealer, TASK_MS)
        line = self.board.console()
        if line:
            code = kept_twice.read(self.board.files, "access.code")
            access = Access(code, lambda data: kept_twice.write(self.board.files, "access.code", data))
            task = self.console = ConsoleTask(line, self, access)
            start("console", task.run, task, TASK_MS)
        if self.floor:
            self.floor.start()
        if self.hub and self.uplink:
            await self.uplink.first_samples()
            from tasks.send import Sender

            self.sender = self.uplink.make_sender(Sender)
            bound_ms = TASK_MS + 12000 * self.settings["broker"]["connect_timeout_s"]  # a handshake has many waits
            start("send", self.uplink.run, self.sender, bound_ms)
        await upkeep

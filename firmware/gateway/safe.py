"""Safe mode: the start of the gateway failed, most likely because a module of the firmware cannot be loaded.

Then this small program runs instead. It takes one part of the gateway after the other, as far as they can be loaded:

    the journal      a record of what failed; it is signed and sent like any other
    the settings     only if the newest samples were taken under the same
    the instruments  samples are taken and kept
    the key and the way to the hub   batches are sealed and sent, receipts free them

If a part fails, the gateway says so on the console and leaves out the parts that need it. The watchdog is fed. After a
time the board starts again as usual. This module is loaded only when a start has failed.
"""

import asyncio
import gc
import io
import sys

LOOK_MS = 100
SAY_MS = 10000
TEXT_MAX = 600  # characters of what failed, its end
AGAIN_MS = 5000  # until a part that failed is begun anew
# A fault of the program comes again at the next start, a lack of memory or a failure of flash need not.
STAY_MS, STAY_SHORT_MS = 3600000, 60000
FLOOR_UNIX_MS = 1793491200000  # as app.py has it, which may be what cannot be loaded


class SafeMode:
    """Of the gateway on `board`. Has the names of app.App that the parts ask for."""

    def __init__(self, board, error):
        self.board = board
        self.mono_ms = board.clock.mono_ms
        self._error = error
        self._until_ms = self.mono_ms() + (STAY_SHORT_MS if isinstance(error, (MemoryError, OSError)) else STAY_MS)
        self.log = self.supervisor = self
        self.errors = 0
        self.journal = self.flash = self.last = self.hub = self.clock = self.console = None
        self.sampling = self.samplers = ()
        self.parts = ["console"]
        self._tasks = []

    def info(self, room, text):
        """A line on the console."""
        self.board.write_console("%s: %s" % (room, text))

    def error(self, room, text):
        """The same for what failed."""
        self.errors += 1
        self.info(room, text)

    def give_up(self, name, silent_ms):
        """The board is to start again; as Supervisor.give_up."""
        self.error(name, "no progress for %d ms" % silent_ms)
        self._until_ms = 0

    async def run(self):
        """Bring up what can be, and stay until the board is to start again or somebody types."""
        begin = self._begin
        if begin("journal", self._begin_journal) and begin("settings", self._begin_settings):
            begin("instruments", self._begin_instruments)
            begin("hub", self._begin_hub)
        say_due = flush_due = 0
        while self.mono_ms() < self._until_ms and not self._typed():
            self._feed()
            now = self.mono_ms()
            if self.journal:
                try:
                    self.journal.maintain(LOOK_MS)
                    if now >= flush_due:
                        flush_due = now + SAY_MS
                        self.flash.sync()
                except Exception as e:
                    self.error("journal", words(e))
            if now >= say_due:
                say_due = now + SAY_MS
                self.info("safe mode", "running: %s; because %s" % (", ".join(self.parts), words(self._error)))
            await asyncio.sleep_ms(LOOK_MS)

    def _begin(self, part, begin):
        """Whether a part of the gateway could be brought up."""
        self._feed()
        gc.collect()
        try:
            begin()
        except Exception as e:
            self.error("safe mode", "%s: %s" % (part, words(e)))
            return False
        self.parts.append(part)
        return True

    def _feed(self):
        if self.board.watchdog:
            self.board.watchdog.feed()

    def _typed(self):
        """Whether somebody types at a real board's console: then the caller asks for the code of the prompt."""
        if not self.board.watchdog:
            return False
        import select

        poll = select.poll()
        poll.register(sys.stdin, select.POLLIN)
        return bool(poll.poll(0))

    def _go_on(self, name, run):
        self._tasks.append(asyncio.create_task(self._keep(name, run)))

    async def _keep(self, name, run):
        while True:
            try:
                await run()
            except Exception as e:
                self.error(name, words(e))
            await asyncio.sleep_ms(AGAIN_MS)

    def _begin_journal(self):
        import parkgate.journal.space  # noqa: F401  the deepest imports first, as main.py does
        from parkgate import events
        from parkgate.journal.journal import Journal
        from parkgate.wire import cbor

        board = self.board
        self.cause = board.reset_cause()
        self.flash = board.journal_flash()
        journal = Journal(self.flash, lambda: board.entropy(16))
        journal.recover(self.cause)
        text = io.StringIO()
        sys.print_exception(self._error, text)
        crash = [events.CRASH, "start", text.getvalue()[-TEXT_MAX:], self.mono_ms()]
        for event in [events.RESET, journal.boot, self.cause], crash:
            journal.append(journal.EVENT, cbor.encode(event), 0)
        self.flash.sync()
        self.journal = journal

    def _begin_settings(self):
        from gateway.meaning import keep, taken_under
        from gateway.records import Records
        from parkgate.clock import Clock
        from start import Start

        journal, files = self.journal, self.board.files
        start = self._start = Start(self.board)
        self.settings, self.settings_id, self.schema = start.settings, start.settings_id, start.schema
        now, before = [self.settings_id, self.schema], taken_under(files)
        if before is None and not journal.unsealed_readings:
            keep(files, now)
        elif before != now:  # to seal the older samples first is the work of a gateway that is whole
            raise ValueError("there are samples that were taken under other settings")
        self.clock = Clock(FLOOR_UNIX_MS)
        self.totals = start.totals
        self.records = Records(journal, self.cause, self.clock, start.totals, self)
        start.notes.use(self.records.note, self.clock.date)
        start.finish(journal, self.clock, self)
        wall = self.board.wall_time()
        if wall:
            self.take_hub_time(wall[0], wall[1])

    def _begin_instruments(self):
        from tasks.sample import Sampler

        told = self.records.record, lambda _name, periods: periods.tell(self.mono_ms()), self.mono_ms, self
        groups = self._start.groups
        self.sampling = self.samplers = [Sampler(each[0], *told, shared=each[1], idle=each[2]) for each in groups]
        for sampler in self.samplers:
            self._go_on("sample", sampler.run)

    def take_hub_time(self, unix_ms, uncertainty_ms):
        """Set the clock; a source that cannot be right is refused."""
        from parkgate.errors import SettingsError

        try:
            self.clock.synchronise(self.mono_ms(), unix_ms, uncertainty_ms, True)
        except SettingsError as e:
            self.error("clock", str(e))

    def _begin_hub(self):
        from enrolled import known_hub
        from gateway.identity import load_signer
        from gateway.signing import Signing
        from gateway.uplink import Uplink
        from parkgate.wire.cose import thumbprint
        from tasks.seal import Sealer
        from tasks.send import Sender

        board, journal = self.board, self.journal
        signer, self.gateway_id = load_signer(board, self, journal.next_seq)
        if hasattr(signer, "is_there"):  # only what stands in place of a signer has it
            raise ValueError("the key cannot be read")
        self.topic_id = self.gateway_id[:16].hex()
        self.signing = Signing(
            signer, thumbprint(signer.public_key), journal, self.cause, self.clock, self.totals, self.sampling,
            board.heap.look, self._health, self.mono_ms,
        )  # fmt: skip
        facts = {"cause": self.cause, "settings_id": self.settings_id, "schema": self.schema}
        self.sealer = Sealer(
            journal, self.signing.seal, self.clock, self.settings["sealing"], facts, self.mono_ms, self
        )
        self._go_on("seal", self.sealer.run)
        self.hub = known_hub(self.settings["hub"]["public_key"], signer, self.gateway_id, self)
        if not board.has_network or not self.hub:
            return
        board.use_network(self.settings)
        self.timekeeper = self
        self.uplink = Uplink(self)
        self.sender = self.uplink.make_sender(Sender)
        self._go_on("send", self.uplink.run)

    def _health(self):
        return {"safe_mode": 1, "errors": self.errors, "uptime_ms": self.mono_ms()}

    def take_receipt(self, message):
        """Whether this receipt settled a batch."""
        from parkgate.wire.receipt import accept_receipt

        epoch, seq, batch_hash, _ = self.hub.open_receipt(message)
        return accept_receipt(self.journal, epoch, seq, batch_hash)

    def say_schema(self):
        """Have the next batch say the schema."""
        self.sealer.say_schema = True

    async def look_into_log(self, _message):
        """Words of the hub about its log wait for a gateway that is whole."""


def words(error):
    """What an error says."""
    return "%s: %s" % (type(error).__name__, error)


def stay(error):
    """Say what failed, and be a gateway as far as that goes; returns when the board is to start again."""
    sys.print_exception(error)
    gc.collect()
    asyncio.new_event_loop()  # no task of the gateway goes on
    from board import this_board

    asyncio.run(SafeMode(this_board(), error).run())

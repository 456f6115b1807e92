"""What may free a batch and what may set the clock: SPEC 6, over a network that says what it likes."""

import asyncio

from app import App
from check import equal, raises, true
from flash_sim import FlashSim
from gateway.trial import Trial
from parkgate import events, reading
from parkgate.clock import Clock
from parkgate.errors import FormatError, IntegrityError, JournalError
from parkgate.journal.journal import Journal
from parkgate.wire import batch, cbor, receipt
from tasks.send import CLOCK_ROUND_TRIP_MS, Sender
from tasks.timekeeper import Timekeeper

KEY, HUB_ID, GATEWAY_ID = b"k" * 32, b"h" * 32, b"g" * 32
NOW_MS = 1800000000000
SENDING = {"window": 4, "receipt_timeout_s": 10, "backlog_interval_ms": 100, "beat_period_s": 60}


class Log:
    def __init__(self):
        self.said = []

    def error(self, who, text):
        self.said.append(text)

    info = error


class Nothing:
    """A start without settings on trial."""

    generation, problem, on_trial, trial_ms = 1, None, False, None


class Hub:
    """The enrolled hub without its key exchange."""

    def open_receipt(self, message):
        return receipt.decode_receipt(KEY, HUB_ID, GATEWAY_ID, message)

    def open_answer(self, message):
        return receipt.decode_answer(KEY, HUB_ID, GATEWAY_ID, message)


class Gateway(App):
    """Of the gateway only journal, clock and what takes receipts; three batches are held, two readings in each."""

    def __init__(self):
        self.log = Log()
        self.hub = Hub()
        self.clock = Clock(1793491200000)
        self.now_ms = 1000
        self.schema_wanted = 0
        self.receipt_ms = None
        self.trial = Trial(Nothing, None, None, self.log)
        self.journal = journal = Journal(FlashSim(4096, 24, 32), lambda: bytes(16))
        journal.recover(1)
        self.sealed = [b"batch %d" % seq for seq in range(3)]
        for seq, sealed in enumerate(self.sealed):
            position = journal.append(journal.SAMPLE, reading.encode_sample(0, 1000, 0, [1, 2]), 2)
            taken = [record.position for record in journal.unsealed()]
            equal(taken[-1], position)
            journal.commit_batch(seq, sealed, batch.chain_hash(sealed), position, 2)
        keeper = self.timekeeper = Timekeeper(self.clock, None, self.note, self.mono_ms, self.log)
        take = self.take_receipt, self.hub, None, SENDING, keeper.take_hub_time, None, self.say_schema, lambda limit: 0
        self.sender = Sender(journal, None, "ab", *take, self.mono_ms, self.log)

    def say_schema(self):
        self.schema_wanted += 1

    def mono_ms(self):
        return self.now_ms

    def note(self, event):
        self.journal.append(self.journal.EVENT, cbor.encode(event), 0)

    def receipt(self, seq, **other):
        says = {"epoch": self.journal.epoch, "hash": batch.chain_hash(self.sealed[seq]), "ms": NOW_MS, "key": KEY}
        says.update(other)
        return receipt.encode_receipt(says["key"], HUB_ID, GATEWAY_ID, says["epoch"], seq, says["hash"], says["ms"])

    def beat(self, content=b"beat"):
        """A beat leaves; the hash by which it is answered."""
        self.sender._asked = batch.chain_hash(content), self.now_ms
        return self.sender._asked[0]

    def answered(self, beat_hash, unix_ms, after_ms=0, wanted=()):
        self.now_ms += after_ms
        message = receipt.encode_answer(KEY, HUB_ID, GATEWAY_ID, beat_hash, unix_ms, wanted)
        self.sender._on_message(b"cmd/ab/answer", message)

    def told(self):
        """The events in the journal."""
        return [cbor.decode(r.payload) for r in self.journal.unsealed() if r.kind == self.journal.EVENT]


def test_a_receipt_settles_the_batch_that_it_names():
    gateway = Gateway()
    equal(gateway.take_receipt(gateway.receipt(1)), True)
    equal(list(gateway.journal.held()), [0, 2])
    equal(gateway.take_receipt(gateway.receipt(1)), False, "a second one is nothing new")
    equal(gateway.take_receipt(gateway.receipt(0, epoch=b"e" * 16)), False, "of another chain")
    equal(list(gateway.journal.held()), [0, 2])


def test_nothing_else_frees_anything():
    gateway = Gateway()
    raises(IntegrityError, gateway.take_receipt, gateway.receipt(0, key=b"x" * 32))
    raises(IntegrityError, gateway.take_receipt, gateway.receipt(0, hash=bytes(32)))
    raises(FormatError, gateway.take_receipt, gateway.receipt(0, ms=(1 << 62) - 1))
    raises(FormatError, gateway.take_receipt, gateway.receipt(0) + b"\x00")
    gateway.journal.batch_hash = lambda seq: None  # its COMMIT cannot be read just now
    raises(IntegrityError, gateway.take_receipt, gateway.receipt(0))
    del gateway.journal.batch_hash
    gateway.journal.acknowledge = lambda seq: False
    raises(JournalError, gateway.take_receipt, gateway.receipt(0))
    del gateway.journal.acknowledge
    equal(list(gateway.journal.held()), [0, 1, 2])
    equal(gateway.receipt_ms, None)


def test_only_an_accepted_receipt_confirms_settings_on_trial():
    gateway = Gateway()
    confirmed = []
    gateway.trial.confirm = lambda: confirmed.append(1)
    gateway.trial.on_trial = True
    gateway.trial.begin(1)
    gateway.take_receipt(gateway.receipt(0))
    equal(confirmed, [], "sealed before the start")
    raises(IntegrityError, gateway.take_receipt, gateway.receipt(2, hash=bytes(32)))
    equal(confirmed, [])
    gateway.take_receipt(gateway.receipt(1))
    equal(confirmed, [1])


def test_a_receipt_tells_no_time_however_quickly_it_comes():
    gateway = Gateway()
    gateway.sender.outbox.sent(0, gateway.now_ms)
    gateway.sender._on_message(b"cmd/ab/receipt", gateway.receipt(0))
    equal(list(gateway.journal.held()), [1, 2])
    equal(gateway.clock.offset_ms, None)


def test_an_answer_to_the_newest_beat_sets_the_clock_once():
    gateway = Gateway()
    gateway.answered(batch.chain_hash(b"never sent"), NOW_MS)
    equal(gateway.clock.offset_ms, None)
    old = gateway.beat(b"old")
    gateway.now_ms += 60000
    new = gateway.beat(b"new")
    gateway.answered(old, NOW_MS, 100)
    equal(gateway.clock.offset_ms, None, "of an older beat")
    gateway.answered(new, NOW_MS, 100)
    equal(gateway.clock.date(gateway.now_ms), (NOW_MS + 100, reading.SYNCHRONISED))
    equal(gateway.clock.uncertainty_ms(gateway.now_ms), 300)
    gateway.answered(new, NOW_MS - 4000, 100)
    equal(gateway.clock.date(gateway.now_ms)[0], NOW_MS + 200, "a second answer to the same beat")
    equal(gateway.sender.answered_unix_ms, NOW_MS)
    equal([event[0] for event in gateway.told()], [events.CLOCK_SET])


def test_an_answer_that_is_late_proves_the_hub_but_tells_no_time():
    gateway = Gateway()
    gateway.answered(gateway.beat(), NOW_MS, CLOCK_ROUND_TRIP_MS + 1)
    equal(gateway.clock.offset_ms, None)
    equal(gateway.sender.answered_unix_ms, NOW_MS)


def test_an_answer_of_before_the_restart_is_worth_nothing():
    before, gateway = Gateway(), Gateway()
    kept_back = before.beat(b"beat of boot 1")
    gateway.beat(b"beat of boot 2")
    gateway.answered(kept_back, NOW_MS - 5 * 86400000, 100)
    equal(gateway.clock.offset_ms, None)


def test_a_broker_moves_the_time_by_no_more_than_the_stated_uncertainty():
    for held_back_ms in (0, 10, 500, 1500, CLOCK_ROUND_TRIP_MS):
        for way in (0, 1):  # kept back on the way there, or back
            gateway = Gateway()
            true_unix_ms = NOW_MS
            beat_hash = gateway.beat()
            hub_reads = true_unix_ms + (held_back_ms if way == 0 else 0)
            gateway.answered(beat_hash, hub_reads, held_back_ms)
            error = gateway.clock.date(gateway.now_ms)[0] - (true_unix_ms + held_back_ms)
            true(abs(error) <= gateway.clock.uncertainty_ms(gateway.now_ms), (held_back_ms, way, error))


def test_a_hub_that_is_wrong_is_an_event_and_no_step_back():
    gateway = Gateway()
    gateway.answered(gateway.beat(), NOW_MS, 100)
    for minute in range(1, 4):
        gateway.now_ms += 60000
        gateway.answered(gateway.beat(b"%d" % minute), NOW_MS - 86400000, 20)
    time_ms, trust = gateway.clock.date(gateway.now_ms)
    equal(trust, reading.HELD_OVER)
    true(abs(time_ms - NOW_MS - 180000) < 1000)
    equal([event[0] for event in gateway.told()], [events.CLOCK_SET, events.CLOCK_DISPUTED], "said once an hour")
    gateway.answered(gateway.beat(b"right again"), NOW_MS + 180110, 20)
    equal(gateway.clock.date(gateway.now_ms)[1], reading.SYNCHRONISED)


def test_an_answer_with_an_impossible_time_is_refused():
    gateway = Gateway()
    for wrong in ((1 << 62) - 1, receipt.TIME_LIMIT_MS):
        gateway.answered(gateway.beat(), wrong)
    equal(gateway.sender.refused, 2)
    gateway.answered(gateway.beat(), receipt.TIME_LIMIT_MS - 1)
    equal(gateway.clock.offset_ms, None)
    equal([event[0] for event in gateway.told()], [events.CLOCK_DISPUTED])


def test_the_ranges_of_an_answer_rise():
    def answer(wanted):
        data = receipt.encode_answer(KEY, HUB_ID, GATEWAY_ID, bytes(32), NOW_MS, wanted)
        return receipt.decode_answer(KEY, HUB_ID, GATEWAY_ID, data)[2]

    equal(answer([[0, 0], [2, 5]]), [[0, 0], [2, 5]])
    for wrong in ([[1, 0]], [[0, 1], [1, 2]], [[0]], [[0, 1, 2]], [[-1, 0]], ["ab"], [[0, 0]] * 9, {}, [[0, 1 << 62]]):
        raises(FormatError, answer, wrong)


class Session:
    def __init__(self):
        self.sent = []

    async def publish(self, topic, message):
        self.sent.append((topic, bytes(message)))


def test_what_the_hub_has_lost_is_sent_again_from_what_is_still_there():
    gateway = Gateway()
    for seq in (0, 1):
        gateway.take_receipt(gateway.receipt(seq))
    session = Session()
    gateway.answered(gateway.beat(), NOW_MS, 100, [[0, 0], [1, 7], [900, 1000]])
    for _ in range(12):
        asyncio.run(gateway.sender._send_again(session, gateway.journal.held()))
    equal(session.sent, [("tele/ab/batch", gateway.sealed[seq]) for seq in (0, 1)], "2 goes by itself")
    equal(gateway.schema_wanted, 1, "and the batch that said the schema may be lost")
    equal(gateway.sender._wanted, [])
    equal(list(gateway.journal.held()), [2])
    equal(gateway.take_receipt(gateway.receipt(0)), False)


def test_a_range_that_is_long_gone_costs_no_search():
    gateway = Gateway()
    gateway.take_receipt(gateway.receipt(0))
    gateway.journal.read_batch = None  # would raise
    gateway.sender._wanted = [[3, 1 << 61]]
    asyncio.run(gateway.sender._send_again(Session(), gateway.journal.held()))
    equal(gateway.sender._wanted, [])

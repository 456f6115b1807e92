"""Sealing when memory or flash fail: later, in smaller batches, and nothing twice."""

import asyncio

import gateway.waiting
import tasks.seal
from check import equal, raises, true
from flash_sim import FlashSim
from gateway.records import Records
from parkgate import reading
from parkgate.clock import Clock
from parkgate.errors import FlashError, JournalError
from parkgate.journal.journal import Journal
from parkgate.wire import batch, cose


class QuickLoop:
    """asyncio without its waits."""

    @staticmethod
    async def sleep_ms(_ms):
        pass


tasks.seal.asyncio = gateway.waiting.asyncio = QuickLoop
SEALING = {"rows_max": 240, "readings_max": 60, "period_s": 60}
FACTS = {"cause": 1, "settings_id": bytes(16), "schema": batch.encode_schema([["m", "p", [["power", "W", 0]]]])}


def sealed(seq, payload):
    """A batch with everything but a signature that holds."""
    return cose.sign1_join(cose.sign1_protected(bytes(32), batch.CONTENT_TYPE, bytes(16), seq), payload, bytes(64))


class Log:
    def __init__(self):
        self.said = []

    def error(self, who, text):
        self.said.append(text)


class World:
    """A journal with samples of one channel, and a sealer whose batches can be made to fail."""

    def __init__(self, flash=None):
        self.flash = flash or FlashSim(4096, 24, 32)
        self.journal = Journal(self.flash, lambda: bytes(16))
        self.journal.recover(1)
        self.log = Log()
        self.readings_that_fit = 1000
        self.fail = None
        self.sealer = tasks.seal.Sealer(self.journal, self.seal, Clock(0), SEALING, FACTS, lambda: 5000, self.log)
        self.records = Records(self.journal, 1, Clock(0), None, self.log)
        self.sampled = 0

    def sample(self, count):
        for _ in range(count):
            payload = reading.encode_sample(0, 1000 + self.sampled, 0, [self.sampled])
            self.records.append(self.journal.SAMPLE, payload, 1)
            self.sampled += 1

    async def seal(self, payload, _content_type):
        if self.fail:
            raise self.fail
        tables = batch.cbor.decode(payload)[10]
        if sum(table[1] for table in tables) > self.readings_that_fit:
            raise MemoryError("memory allocation failed")
        return self.spoil(sealed(self.journal.next_seq, payload))

    @staticmethod
    def spoil(message):
        return message

    def work(self, times):
        """Seal so many times, and erase what is needed."""
        for _ in range(times):
            asyncio.run(self.sealer.seal_one())
            try:
                while self.journal.needs_erase and self.journal.maintain():
                    pass
            except JournalError as e:
                self.log.error("maintain", str(e))

    def values(self):
        """Every reading that is in a batch held, in order."""
        found = []
        for seq in self.journal.held():
            for table in batch.Batch(bytes(self.journal.read_batch(seq))).tables:
                found += table.column(0)
        return found


def test_without_memory_it_seals_less_at_a_time():
    world = World()
    world.readings_that_fit = 17
    world.sample(150)
    world.work(30)
    equal(world.values(), list(range(150)))
    true(2 <= len(world.log.said) <= 12, world.log.said)
    equal(world.journal.unsealed_readings, 0)


def test_the_batches_grow_again():
    world = World()
    world.readings_that_fit = 10
    world.sample(60)
    world.work(4)
    world.readings_that_fit = 1000
    world.sample(400)
    world.work(25)
    equal(world.values(), list(range(460)))
    newest = batch.Batch(bytes(world.journal.read_batch(list(world.journal.held())[-2])))
    equal([table.rows for table in newest.tables], [60])


class Breaking(FlashSim):
    """Refuses to program for a while, or has no memory for it."""

    error = None
    refusals = 0

    def program(self, address, data):
        if self.error and self.refusals:
            self.refusals -= 1
            raise self.error
        FlashSim.program(self, address, data)


def test_a_batch_that_flash_refuses_is_sealed_later():
    flash = Breaking(4096, 24, 32)
    world = World(flash)
    world.sample(40)
    flash.error, flash.refusals = FlashError("refused"), 1000
    world.work(1)
    equal(world.values(), [])
    flash.error = None
    world.sample(20)  # recovers first
    world.work(3)
    equal(world.values(), list(range(60)))
    counters = world.journal.counters
    equal((counters.sampled, counters.dropped, counters.buffered), (60, 0, 60))


def test_out_of_memory_while_committing_or_appending():
    flash = Breaking(4096, 24, 32)
    world = World(flash)
    world.sample(40)
    flash.error, flash.refusals = MemoryError("memory allocation failed"), 1
    raises(MemoryError, world.work, 1)
    true(world.journal.failed)
    flash.refusals = 0
    world.sample(10)
    flash.refusals = 1
    world.sample(10)
    world.work(4)
    equal(world.values(), list(range(60)))
    equal(world.journal.counters.sampled, 60)


def test_when_nothing_can_be_written_the_loss_is_counted_later():
    flash = Breaking(4096, 24, 32)
    world = World(flash)
    world.sample(5)
    flash.error, flash.refusals = FlashError("refused"), 100000
    raises(JournalError, world.sample, 3)
    equal(world.records.lost, 1)
    flash.error = None
    world.sample(3)
    world.work(2)
    equal(world.values(), [0, 1, 2, 3, 4, 5, 6, 7])
    counters = world.journal.counters
    equal((counters.sampled, counters.dropped, counters.buffered), (9, 1, 8))


def test_what_a_verifier_would_refuse_gets_no_place_in_the_chain():
    world = World()
    world.sample(5)
    world.spoil = lambda message: message[:-1]  # a signer that fails
    world.work(2)
    equal((world.journal.next_seq, len(world.journal.held())), (0, 0))
    true(world.log.said)
    world.spoil = lambda message: message
    world.work(9)
    equal(world.values(), list(range(5)))


def test_a_sample_that_no_batch_can_hold_is_counted_as_lost_and_stops_nothing():
    for wrong_ms in (1 << 62, (1 << 63) + 5):
        world = World()
        world.sample(3)
        world.records.append(world.journal.SAMPLE, reading.encode_sample(0, wrong_ms, 0, [7]), 1)
        world.sampled += 1
        world.sample(3)
        world.work(30)
        equal(world.values(), [0, 1, 2, 4, 5, 6])
        counters = world.journal.counters
        equal((counters.sampled, counters.dropped, counters.buffered), (7, 1, 6))
        true([text for text in world.log.said if "no batch can hold" in text], world.log.said)

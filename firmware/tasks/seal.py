"""Sealing: what the journal holds unsealed becomes a batch, signed and fixed, before anything is sent."""

import asyncio

from gateway.waiting import in_steps
from parkgate import reading
from parkgate.errors import FormatError, JournalError
from parkgate.events import PERIODS, PRODUCTION
from parkgate.wire import batch, cbor

POLL_MS = 200
QUIET_TRIES = 50  # then the journal erases whether the bus is quiet or not
SCHEMA_EVERY = 64  # batches; also after each start and each loss: a hub that misses one batch still gets the schema


class Sealer:
    """Watches the journal and seals what is due.

    `seal(payload, content_type)` is a coroutine that gives the sealed bytes for the journal's next seq; `facts` are
    the header fields that stay the same for a whole run: cause, settings_id, schema."""

    def __init__(self, journal, seal, clock, sealing: dict, facts: dict, mono_ms, log):
        self._journal = journal
        self._seal = seal
        self._clock = clock
        self._rows_max = sealing["rows_max"]
        self._readings_max = sealing["readings_max"]
        self._readings_limit = self._readings_max  # less after a batch that was too large
        self._period_ms = sealing["period_s"] * 1000
        self._facts = facts
        self._mono_ms = mono_ms
        self._log = log
        self.say_schema = True  # with the next batch; set also when the hub has lost batches
        self._dropped_said = 0
        self._unfit = -1  # position up to which there was one sample, and that in no batch
        self.turned_ms = 0
        self.hurry = False  # set by the console: True, seal what there is; None, rest

    async def run(self):
        """Seal whenever a batch is due: full, old enough, or left over from before the start."""
        since = self._mono_ms()
        while True:
            await asyncio.sleep_ms(POLL_MS)
            journal = self._journal
            now = self.turned_ms = self._mono_ms()
            if not journal.unsealed_records or self.hurry is None:
                since = now
            elif (
                self.hurry
                or now - since >= self._period_ms
                or journal.unsealed_records >= self._rows_max
                or journal.unsealed_readings >= self._readings_max
                or journal.unsealed_boot != journal.boot
            ):
                await self.seal_one()
                since = now

    async def seal_older_boots(self):
        """Seal all that was left from before this start."""
        journal = self._journal
        while journal.unsealed_records and journal.unsealed_boot != journal.boot:
            before = journal.next_seq
            await self.seal_one()
            if journal.next_seq == before:
                break  # said and counted by seal_one; the samples are kept and tried again later

    async def seal_one(self, event=None):
        """Seal the oldest unsealed records of one boot into one batch, with one more event where one is given."""
        journal = self._journal
        dropped = journal.counters.dropped
        sampled_before = journal.counters.sampled - journal.unsealed_readings
        seq = journal.next_seq
        taken = None
        try:
            taken = await self._collect()
            if taken.position is None:
                return
            if event:
                taken.events.append(event)
            if taken.position == self._unfit:
                self._log.error("seal", "a sample that no batch can hold: counted as lost")
                taken.tables, taken.readings = [], 0
            sealed, meta = await self._make(seq, taken, sampled_before, dropped)
            batch.Batch(sealed)  # what a verifier would refuse must never get a place in the chain
        except (FormatError, MemoryError) as e:
            if self._readings_limit == 1 and isinstance(e, FormatError):
                self._unfit = taken.position
            self._readings_limit = max(1, (taken.readings if taken else self._readings_limit) // 2)
            self._log.error("seal", "%s; sealing at most %d readings" % (e or "out of memory", self._readings_limit))
            return
        for _ in range(QUIET_TRIES):
            if journal.ready_for(len(sealed)):
                break
            await asyncio.sleep_ms(POLL_MS)  # sectors are being erased in the pauses of the bus
        try:
            journal.commit_batch(seq, sealed, batch.chain_hash(sealed), taken.position, taken.readings, meta)
        except JournalError as e:
            self._log.error("seal", "batch %d not kept: %s" % (seq, e))
            if any(journal.sectors.bad):
                journal.failed = True  # the next record recovers it, and sectors that were given up are tried again
            return
        except MemoryError:
            journal.failed = True  # whatever was half done: the next record recovers it first
            raise
        self.say_schema = False
        self._dropped_said = dropped
        self._readings_limit = min(self._readings_max, self._readings_limit + self._readings_limit // 4 + 1)

    async def _make(self, seq, taken, sampled_before, dropped):
        """(the sealed batch of what was taken, its meta for the journal). Raises BatchTooLarge, MemoryError."""
        journal, facts = self._journal, self._facts
        header = batch.Header(
            prev=journal.head_hash if seq else None,
            boot=taken.boot,
            cause=facts["cause"] if taken.boot == journal.boot else 0,
            sampled=sampled_before + taken.readings,
            dropped=dropped,
            receipt_seq=journal.receipt_seq,
            settings_id=facts["settings_id"],
            schema=facts["schema"],
            with_schema=self.say_schema or seq % SCHEMA_EVERY == 0 or dropped != self._dropped_said,
        )
        meta = cbor.encode([taken.first_ms, taken.last_ms, [[t.instrument, len(t.times)] for t in taken.tables]])
        payload = await in_steps(batch.payload_steps(header, taken.tables, taken.events))
        return await self._seal(payload, batch.CONTENT_TYPE), meta

    async def _collect(self):
        """The oldest records of one boot as tables and events, up to the limits of a batch."""
        taken = _Taken()
        journal = self._journal
        for record in journal.unsealed():
            if taken.boot is None:
                taken.boot = record.boot
            if record.boot != taken.boot or taken.readings >= self._readings_limit or len(taken.events) >= 64:
                break
            if record.kind == journal.EVENT:
                taken.events.append(self._dated(cbor.decode(record.payload), record.boot))
            else:
                try:
                    if not self._add(taken, record):
                        break
                except FormatError as e:  # checked by CRC, so a record of another firmware: say so, lose nothing unseen
                    self._log.error("seal", "a record does not decode: %s" % e)
            taken.position = record.position
            await asyncio.sleep_ms(0)
        taken.tables = [taken.by_index[index] for index in sorted(taken.by_index)]
        return taken

    def _dated(self, event, boot):
        """A statement of periods or an entry of the floor, dated now if it could not be when it was made."""
        if boot == self._journal.boot:
            if event[0] == PERIODS:
                event[2] = list(self._clock.date_later(*event[2]))
            elif event[0] == PRODUCTION:
                event[4:6] = self._clock.date_later(event[4], event[5])
        return event

    def _add(self, taken, record):
        index, time_ms, trust, values, qualities = reading.decode_sample(record.payload)
        if record.boot == self._journal.boot:
            time_ms, trust = self._clock.date_later(time_ms, trust)
        table = taken.by_index.get(index)
        if table is None:
            table = taken.by_index[index] = batch.Table(index, len(values))
        if len(table.times) >= self._rows_max or len(values) != len(table.values):
            return False
        table.add(time_ms, trust, values, qualities)
        taken.readings += len(values)
        taken.first_ms = time_ms if taken.first_ms is None else min(time_ms, taken.first_ms)
        taken.last_ms = max(time_ms, taken.last_ms)
        return True


class _Taken:
    """What goes into one batch."""

    def __init__(self):
        self.by_index = {}
        self.tables = None
        self.events = []
        self.readings = 0
        self.lost = 0
        self.boot = None
        self.position = None
        self.first_ms = None
        self.last_ms = 0

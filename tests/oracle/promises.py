"""What the journal promises, as sentences, and what each start is held against.

 1. A sample whose `append` returned is, at every later start, unsealed with the same bytes, or in a batch, or counted
    as dropped. Nothing else is ever unsealed: no sample is invented, altered or given twice.
 2. A sample whose `append` did not return is stored whole or not at all. The first start after it decides, and what was
    decided stays decided. Where writes wait for `sync` (segment files), the same holds for those behind the last sync,
    and those that are stored are the oldest of them.
 3. A batch whose `commit_batch` returned keeps its number and its bytes. A number that was committed is never free
    again, and a batch is settled only when it was acknowledged or dropped.
 4. An acknowledgement may be forgotten at a start, until one start has shown it; then it stays.
 5. sampled = acked + buffered + dropped at every moment, where buffered is what can be read. `sampled` is what was
    appended and noted as lost, to the reading.
 6. What gap records tell adds up to what was dropped, at every start and after every call of `note_lost`.
 7. A boot number that a start has shown is not given again in its epoch. A position that was shown keeps its content.
 8. There is always a way on: no call raises JournalFull or FlashError while enough sectors are good.
 9. `wipe` ends the epoch whole or leaves it whole; an epoch that has ended never comes back.
10. A read that errs once costs nothing.
11. A bit that flips for good, or a file system without space, alters nothing, frees no number, and what it destroys is
    counted as sampled.

12. A sector that fails costs at most what is in it, and that stays counted. The newest record of a sector that takes no
    second program cannot be made sure of: it may be lost at a later start, and is then told in its place. Where two
    sectors fail at once in a full journal and the power goes in that moment, the statement of an earlier loss may go
    with the oldest sector; the loss itself stays in `dropped`.

13. A batch that is gone without an acknowledgement is named by a gap statement that the hub has or will have: one that
    is unsealed, or in a batch that is held, or in one that was acknowledged. So the batch that carries a statement may
    be dropped too, as often as an overflow wants it.

The oracle uses what the firmware uses and nothing else: `recover`, `unsealed`, `held`, `read_batch`, `counters`,
`boot`, `epoch`, `next_seq`.
"""

from __future__ import annotations

from parkgate import events
from parkgate.wire import cbor


class Broken(Exception):
    """A promise was broken; the text says which and how."""


class Sample:
    """One sample that was given to `append`."""

    __slots__ = ("payload", "position", "readings")

    def __init__(self, payload: bytes, readings: int):
        self.payload = payload
        self.readings = readings
        self.position: int | None = None


class Batch:
    """One batch that was given to `commit_batch`."""

    __slots__ = ("acked", "data", "members", "names", "readings", "settled", "told")

    def __init__(self, data: bytes, readings: int, members: list[bytes], told: int, names: list[tuple[int, int]]):
        self.data = data
        self.readings = readings
        self.members = members
        self.told = told  # readings that the gap events in it tell
        self.names = names  # (first, last) seqs that they name
        self.acked = False  # `acknowledge` was called
        self.settled = False  # a start has shown it settled


class Oracle:
    """All that one journal owes since its epoch began."""

    def __init__(self) -> None:
        self.refusing = False  # whether the file system refuses now and then, in this start
        self.refused = False  # whether a sector refuses programs
        self.failing = 0  # sectors that fail
        self.lost_at_bad_sectors = 0  # how often sentence 12 was needed
        self.begin(None)
        self.ended: set[bytes] = set()

    def begin(self, epoch: bytes | None) -> None:
        """Nothing is owed but this epoch."""
        self.epoch = epoch
        self.stored: dict[bytes, Sample] = {}
        self.flying: Sample | None = None  # its append has not returned
        self.unsure: list[Sample] = []  # appended, and no sync has returned since: the newest may be gone
        self.gone: set[bytes] = set()  # decided: never stored
        self.batches: list[Batch] = []
        self.sealing: Batch | None = None
        self.recovering = False
        self.noted = 0
        self.noting = 0
        self.boot = -1
        self.content: dict[int, bytes] = {}  # position → sample that was seen there
        self.unsettled: set[int] = set()  # positions of records that were newest when a sector refused programs
        self.nameless: set[int] = set()  # batches whose statement went with a failing sector
        self.untold = 0  # readings whose statement went with a failing sector
        self.wiping = False
        self.flips = int(self.refusing)  # damage since the epoch began: from then on 11 is left of 1, 2, 3 and 6

    # Before and after each call of the life.

    def appended(self, position: int) -> None:
        """`append` returned."""
        sample, self.flying = self.flying, None
        assert sample is not None
        sample.position = position
        if position in self.content:
            raise Broken("7: position %d is given twice" % position)
        self.stored[sample.payload] = sample
        self.unsure.append(sample)

    def synced(self) -> None:
        """`sync` of the storage returned. That of a recovery says nothing of what the cut before it had left."""
        if not self.recovering:
            self.unsure = []

    def committed(self) -> None:
        """`commit_batch` returned."""
        batch, self.sealing = self.sealing, None
        assert batch is not None
        self.batches.append(batch)

    # At each start.

    def check_start(self, journal, report, power_went: bool = True) -> None:
        """Hold what a start shows against all sentences, or, without a power cut, what a recovery shows after a call
        that raised FlashError: then what waited for a sync may be lost, but it is counted. Raises Broken."""
        self.recovering = False
        if not power_went:
            self.unsure = []
        if journal.epoch != self.epoch:
            self._other_epoch(journal, report)
            return
        if self.wiping and not self._is_empty(journal):
            self.wiping = False  # it did not happen
        _want(journal.boot > self.boot, "7: boot %d after boot %d" % (journal.boot, self.boot))
        self.boot = journal.boot
        self._decide_batch(journal)
        self.check(journal, True)

    def check(self, journal, at_start: bool = False) -> None:
        """Hold what can be read now against the sentences."""
        counters = journal.counters
        sampled, acked, buffered, dropped = counters
        _want(sampled == acked + buffered + dropped, "5: identity: %s" % (counters,))
        _want(min(counters) >= 0, "5: below zero: %s" % (counters,))
        unsealed, gone_in_place, told, seen = self._read_unsealed(journal, at_start)
        held_readings, dropped_batches, acked_away = self._read_batches(journal, at_start)
        counters = journal.counters  # reading a damaged batch drops it
        sampled, acked, buffered, dropped = counters
        _want(
            unsealed + gone_in_place + held_readings == buffered,
            "5: %d unsealed, %d told in place, %d in batches, buffered %d"
            % (unsealed, gone_in_place, held_readings, buffered),
        )
        self._decide_unsure(seen, sampled, at_start)
        self._decide_sample(seen, sampled, at_start)
        owed = sum(sample.readings for sample in self.stored.values()) + self.noted
        if self.flips and at_start:
            # What a flipped bit destroyed is counted by what stands around it, as appended or as lost.
            _want(sampled >= owed, "11: sampled %d, was %d" % (sampled, owed))
            self.noted += sampled - owed
            owed = sampled
        _want(sampled == owed, "5: sampled %d, appended and noted %d" % (sampled, owed))
        in_batches = {payload for batch in self.batches for payload in batch.members}
        vanished = sum(s.readings for p, s in self.stored.items() if p not in seen and p not in in_batches)
        low = vanished + self.noted + dropped_batches - gone_in_place
        if not self.flips:
            _want(
                low <= dropped <= low + acked_away,
                "1: %d dropped; %d vanished, %d noted, %d in batches without a receipt, %d told in place"
                % (dropped, vanished, self.noted, dropped_batches, gone_in_place),
            )
        told += sum(batch.told for batch in self.batches)
        if not self.flips:
            lost = dropped + gone_in_place - self.untold
            if at_start and told < lost and self.failing > 1:
                self.lost_at_bad_sectors += 1
                self.untold += lost - told
                lost = told
            _want(told == lost, "6: %d told; %d dropped, %d told in place" % (told, dropped, gone_in_place))
            self._check_names(journal, at_start)

    # What follows is private.

    def _check_names(self, journal, at_start: bool) -> None:
        held = set(journal.held())
        known = [batch.names for seq, batch in enumerate(self.batches) if batch.acked or seq in held]
        known.append([names for r in journal.unsealed() if r.kind != journal.SAMPLE and (names := named_by(r.payload))])
        named = {seq for names in known for first, last in names for seq in range(first, last + 1)}
        _want(max(named, default=-1) < len(self.batches), "13: a statement names a batch that nobody committed")
        lost = {seq for seq, batch in enumerate(self.batches) if seq not in held and not batch.acked}
        nameless = lost - named - self.nameless
        if nameless and at_start and self.failing > 1:
            self.lost_at_bad_sectors += 1
            self.nameless |= nameless
            return
        _want(not nameless, "13: batches %s are gone and nothing names them" % sorted(nameless)[:9])

    def _is_empty(self, journal) -> bool:
        return journal.next_seq == 0 and not journal.counters.sampled

    def _other_epoch(self, journal, report) -> None:
        _want(journal.epoch not in self.ended, "9: an epoch that had ended is back")
        allowed = self.epoch is None or self.wiping or self.flips
        _want(allowed, "9: another epoch, and nobody wiped (%s)" % report.text())
        if self.epoch is not None:
            self.ended.add(self.epoch)
        _want(self._is_empty(journal), "9: a new epoch that is not empty")
        self.begin(journal.epoch)
        self.boot = journal.boot

    def _decide_batch(self, journal) -> None:
        batch, self.sealing = self.sealing, None
        count = len(self.batches)
        if batch is not None and journal.next_seq == count + 1:
            self.batches.append(batch)
        else:
            _want(journal.next_seq == count, "3: next seq %d, %d are committed" % (journal.next_seq, count))

    def _decide_unsure(self, seen: dict[bytes, int], sampled: int, at_start: bool) -> None:
        """Which of the samples that no sync had covered are stored: the oldest of them. Those before one that is there
        were stored; so were the next ones as far as `sampled` counts them. Those of them that are not there have been
        dropped since, and `check` wants them counted so."""
        if not at_start:
            return
        unsure, self.unsure = self.unsure, []
        kept = {payload for batch in self.batches for payload in batch.members} | seen.keys()
        there = max([i for i, sample in enumerate(unsure) if sample.payload in kept], default=-1)
        behind = unsure[there + 1 :]
        owed = sum(sample.readings for sample in self.stored.values()) + self.noted
        owed -= sum(sample.readings for sample in behind)
        stored = not self.flips
        for sample in behind:
            owed += sample.readings
            stored = stored and owed <= sampled
            if stored:
                continue
            del self.stored[sample.payload]
            self.gone.add(sample.payload)
            if sample.position is not None:
                self.content.pop(sample.position, None)

    def _decide_sample(self, seen: dict[bytes, int], sampled: int, at_start: bool) -> None:
        """A start tells whether the call in flight had been done: the sample by what is there or counted (a sample that
        one cell kept from being whole may be counted and told as damaged), the noted loss by what is counted."""
        if not at_start:
            return
        owed = sum(sample.readings for sample in self.stored.values()) + self.noted
        sample, self.flying = self.flying, None
        if sample is not None:
            if sample.payload in seen or sample.readings and sampled == owed + sample.readings:
                sample.position = seen.get(sample.payload)
                self.stored[sample.payload] = sample
            else:
                self.gone.add(sample.payload)
        elif self.noting and sampled == owed + self.noting:
            self.noted += self.noting
        self.noting = 0

    def _read_unsealed(self, journal, at_start: bool):
        """(readings unsealed, readings told as gone in their place, readings told in all, payload → position)."""
        readings = in_place = told = 0
        seen: dict[bytes, int] = {}
        before = -1
        for record in journal.unsealed():
            _want(record.position > before, "7: position %d after %d" % (record.position, before))
            before = record.position
            payload = bytes(record.payload)
            if record.kind == journal.SAMPLE:
                sample = self.stored.get(payload)
                if sample is None and self.flying is not None and self.flying.payload == payload:
                    _want(at_start, "2: a sample whose append has not returned is there")
                    sample = self.flying
                _want(payload not in self.gone, "2: a sample is back that a start had called gone")
                _want(sample is not None, "1: a sample that nobody appended at position %d" % record.position)
                assert sample is not None
                _want(payload not in seen, "1: a sample twice")
                _want(record.readings == sample.readings, "1: a sample has other readings")
                seen[payload] = record.position
                readings += record.readings
            else:
                event = cbor.decode(payload)
                if event[0] == events.GAP:
                    told += event[3]
                    if len(event[5]) == 5:
                        in_place += event[3]
            known = self.content.get(record.position)
            if record.kind == journal.SAMPLE:
                _want(known in (None, payload), "7: position %d has other content" % record.position)
                self.content[record.position] = payload
            elif known is not None and record.position in self.unsettled:
                self.lost_at_bad_sectors += at_start
            elif not self.flips:
                _want(known is None, "7: position %d was a sample" % record.position)
        if at_start and self.refused and seen:
            self.unsettled.add(max(seen.values()))
        return readings, in_place, told, seen

    def _read_batches(self, journal, at_start: bool):
        """(readings held, readings of batches that are gone without a receipt, readings acknowledged and gone)."""
        held = set(journal.held())
        _want(all(seq < len(self.batches) for seq in held), "3: a batch is held that nobody committed")
        readings = lost = away = 0
        for seq, batch in enumerate(self.batches):
            if seq in held:
                _want(not batch.settled, "4: batch %d was settled and is held again" % seq)
                data = journal.read_batch(seq)
                if data is None:  # what cannot be read once is asked for once more before it is given up
                    data = journal.read_batch(seq)
                if data is None:
                    _want(self.flips, "3: batch %d cannot be read" % seq)
                    continue
                _want(bytes(data) == batch.data, "3: batch %d has other bytes" % seq)
                readings += batch.readings
            else:
                if at_start:
                    batch.settled = True
                if batch.acked:
                    away += batch.readings
                else:
                    lost += batch.readings
        held_now = set(journal.held())
        if held_now != held:  # a damaged batch was dropped, perhaps with neighbours
            readings = sum(self.batches[seq].readings for seq in held_now)
            lost = sum(b.readings for seq, b in enumerate(self.batches) if seq not in held_now and not b.acked)
        return readings, lost, away


def told_by(payload: bytes) -> int:
    """Readings that an event record tells as lost."""
    event = cbor.decode(payload)
    return int(event[3]) if event[0] == events.GAP else 0


def named_by(payload: bytes) -> tuple[int, int] | None:
    """(first, last) seq that an event record names as lost."""
    event = cbor.decode(payload)
    return (int(event[1]), int(event[2])) if event[0] == events.GAP and event[1] is not None else None


def _want(good, message: str) -> None:
    if not good:
        raise Broken(message)

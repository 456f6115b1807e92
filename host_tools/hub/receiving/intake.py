"""A group of messages in, one commit, receipts out. Knows neither broker nor clock nor web.

`Intake.take` is the whole life of a message: verify (no transaction is open yet), then for the group one
transaction in which each is accepted or refused, then receipts for what is now committed. A message that the
hub itself fails on is refused as `internal`, and the messages of its gateway are then taken apart from those of the
others: what one enrolled key can send costs the others one more transaction, not their receipts. An error of the
database is raised; what of the group is not yet committed is not answered, and the caller tries again with the same
messages.
"""

import collections
import hashlib
import logging
from typing import NamedTuple

from host_tools.base.keys import HubKey
from host_tools.hub.park import book
from host_tools.hub.production import index
from host_tools.hub.reading.decode import blocks, decode_group
from host_tools.hub.receiving import accept, periods, present, verify
from host_tools.hub.receiving.answer import answer_topic, make_answer, make_receipt, receipt_topic
from host_tools.hub.receiving.derived import Derived
from host_tools.hub.receiving.roots import Roots
from host_tools.hub.receiving.state import Gateway
from host_tools.hub.receiving.verify import Refusal
from host_tools.hub.receiving.witnesses import held_by
from host_tools.hub.stores import gateway_keys, kept
from host_tools.hub.stores.schema import DECODED, UNDECODABLE, WAITS_FOR_SCHEMA
from host_tools.hub.stores.store import EPOCHS_MAX, Store
from host_tools.log import tables
from host_tools.log.database.seam import NOT_STORABLE, DatabaseError, Late
from host_tools.log.record import Recorder
from parkgate import events
from parkgate.errors import FormatError, IntegrityError
from parkgate.log import rotation, statement
from parkgate.wire.batch import Batch
from parkgate.wire.cbor import UINT_LIMIT

log = logging.getLogger("parkgate.hub")


class Message(NamedTuple):
    """As it came from the broker."""

    topic: str
    data: bytes


class Outcome(NamedTuple):
    """What became of one message. `receipt` is what to publish on `receipt_topic`, `answer` on `answer_topic`; both are
    None where there is nothing to publish."""

    kind: str
    what: str
    gateway: Gateway | None = None
    place: tuple[bytes, int, bytes] | None = None  # (epoch, seq, batch hash) that is committed with this group
    receipt_topic: str | None = None
    receipt: bytes | None = None
    beat: tuple[bytes, list[tuple[int, int]]] | None = None  # (hash, ranges of seq wanted) of a beat to be answered
    answer_topic: str | None = None
    answer: bytes | None = None
    older: tuple[bytes, ...] = ()  # the same receipt or answer with keys of the hub before this one


class _Work:
    """A message on its way: what verification found (a Refusal, or gateway and content) and what became of it."""

    __slots__ = ("columns", "found", "given_up", "message", "outcome", "set_aside")

    def __init__(self, message: Message, found, columns):
        self.message, self.found, self.columns = message, found, columns
        self.set_aside = self.given_up = False
        self.outcome: Outcome

    def gateway(self) -> Gateway | None:
        return self.found.gateway if isinstance(self.found, Refusal) else self.found[0]

    def owner(self) -> int:
        """The gateway that it is charged to; 0 where none is known."""
        gateway = self.gateway()
        return gateway.gw if gateway else 0

    def refuse(self, what: str) -> None:
        self.found = Refusal(verify.INTERNAL, what, self.gateway())
        self.set_aside = True


FAULTS_MAX = 3  # messages of one gateway in a group that the hub may fail on before it leaves that gateway's others
HOLES_MAX = 4096  # ranges of seqs held of one chain: what a summary walks through

BEAT, STALE_BEAT, REFUSED = "beat", "stale beat", "refused"
BEAT_LEAF_MS = 600_000  # so often a beat becomes a leaf, without more reason
BEAT_MISSING_LEAF_MS = 60_000  # … that names a batch that has not come


class Intake:
    """What turns messages into rows, and each that is kept into a leaf of the log. `key` is the HubKey; used by one
    thread."""

    def __init__(self, store: Store, key, leaves: Recorder):
        self.store = store
        self.key = key
        self.leaves = leaves
        self.derived = Derived(store)
        self.roots: Roots | None = None  # of a hub that has root documents, or had other keys

    def take(self, messages: list[Message], now_unix_ms: int) -> list[Outcome]:
        """The outcome of each message, after the commit. Raises DatabaseError: nothing was committed."""
        self.store.refresh()
        verified = [self._verify(message) for message in messages]
        columns = self._decode_new(verified)
        group = [_Work(message, found, columns.get(at)) for at, (message, found) in enumerate(zip(messages, verified))]
        self._commit(group, now_unix_ms)
        return [self._answer(work.outcome, now_unix_ms) for work in group]

    def _commit(self, group: list[_Work], now_unix_ms: int) -> None:
        """Give each its outcome, in one transaction unless the hub itself fails on one of them. Then the messages of
        that gateway are taken apart from those of the others, and nothing is verified or decoded again."""
        parts = [group]
        faults: collections.Counter[int] = collections.Counter()
        while parts:
            part = parts.pop()
            broken = self._try(part, now_unix_ms)
            if broken is None:
                continue
            work, error = broken
            if work is not None:
                own = [each for each in part if each.owner() == work.owner()]
                self._set_aside(work, own, error, faults)
                rest = [each for each in part if each.owner() != work.owner()]
                parts += [each for each in (own, rest) if each]
                continue
            # Only the whole of it fails: halve it until the gateway, and then the message, is known.
            owners = list(dict.fromkeys(each.owner() for each in part))
            if len(part) == 1:
                self._set_aside(part[0], part, error, faults)
                parts.append(part)
            elif len(owners) == 1:
                parts += [part[len(part) // 2 :], part[: len(part) // 2]]
            else:
                first = set(owners[: len(owners) // 2])
                parts += [[each for each in part if each.owner() not in first],
                          [each for each in part if each.owner() in first]]  # fmt: skip

    def _try(self, part: list[_Work], now_unix_ms: int) -> tuple[_Work | None, Exception] | None:
        """Take these in one transaction. None when it is committed, else the message that it failed on (None when that
        is not known) and how. Raises DatabaseError and MemoryError that no message is to blame for."""
        work = None
        try:
            with self.store.transaction(now_unix_ms):
                self.leaves.begin()
                for work in part:
                    if work.given_up:
                        continue
                    work.outcome = self._one(work.message, work.found, work.columns)
                work = None
        except Late as error:
            return None, error  # rows of some message before it
        except NOT_STORABLE as error:
            return work, error  # what was to be stored is at fault, not the database
        except (DatabaseError, MemoryError):
            raise
        except Exception as error:
            return work, error
        return None

    def _set_aside(self, work: _Work, own: list[_Work], error: Exception, faults) -> None:
        """Refuse a message that the hub fails on; after FAULTS_MAX of one gateway, all others of it in this group too:
        they get no receipt and come again."""
        if work.set_aside:  # even its refusal fails
            work.given_up = True
            work.outcome = Outcome(REFUSED, f"{verify.INTERNAL}: {work.found.what}", work.gateway())
            return
        faults[work.owner()] += 1
        log.error("the hub failed on a message on %s; it is set aside", work.message.topic, exc_info=error)
        work.refuse(f"{type(error).__name__}: {error}")
        if faults[work.owner()] >= FAULTS_MAX:
            for each in own:
                if not each.set_aside:
                    each.refuse(f"not looked at: the hub failed on {FAULTS_MAX} messages of this gateway before it")

    def _verify(self, message):
        try:
            return verify.verify(self.store.by_topic, message.topic, message.data)
        except Refusal as refusal:
            return refusal
        except Exception as error:
            log.exception("the hub failed to verify a message on %s", message.topic)
            return Refusal(verify.INTERNAL, f"{type(error).__name__}: {error}")

    def _decode_new(self, verified):
        """Place in the group → columns, of the batches that will probably be kept. No transaction is open
        yet."""
        wanted = {}
        for at, found in enumerate(verified):
            if not isinstance(found, Refusal) and isinstance(found[1], Batch):
                sign1 = found[1].sign1
                epoch = found[0].epochs.get(sign1.epoch)
                if epoch is None or sign1.seq not in epoch.held:
                    wanted[at] = found[1]
        return dict(zip(wanted, _decode_safely(list(wanted.values()))))

    def _one(self, message, found, columns):
        if isinstance(found, Refusal):
            return self._refuse(message, found)
        gateway, content = found
        self.store.touch(gateway)
        try:
            epoch = self._epoch(gateway, content.sign1.epoch)
            if isinstance(content, Batch):
                return self._batch(message, gateway, epoch, content, columns)
            return self._beat(message, gateway, epoch, content)
        except Refusal as refusal:
            return self._refuse(message, refusal)

    def _epoch(self, gateway, epoch_id):
        """The chain of a message. Another chain than the first is an alarm: what the one before still owed stays owed,
        and a person should know why the gateway began anew."""
        known = epoch_id in gateway.epochs
        before = gateway.current()
        epoch = self.store.epoch(gateway, epoch_id)
        if epoch is None:
            raise Refusal(verify.MALFORMED, f"more than {EPOCHS_MAX} epochs of one gateway", gateway)
        if not known:
            self._log_epoch(gateway, epoch, before)
        if not known and before is not None:
            owed = f"batch {before.held.head()} is the newest held" if before.batches else "no batch of it is held"
            what = f"a new chain {epoch_id.hex()[:8]} began; of the one before, {before.epoch.hex()[:8]}, {owed}"
            self.store.alarm(gateway, "epoch", what)
            log.warning("%s: %s", gateway.name, what)
        return epoch

    def _answer(self, outcome, now_unix_ms):
        gateway = outcome.gateway
        if gateway is None:
            return outcome
        if outcome.beat is not None:
            answer, *older = [
                make_answer(key, gateway, outcome.beat[0], now_unix_ms, outcome.beat[1]) for key in self._keys(gateway)
            ]
            return outcome._replace(answer_topic=answer_topic(gateway), answer=answer, older=tuple(older))
        if outcome.place is None:
            return outcome
        epoch, seq, batch_hash = outcome.place
        data, *older = [make_receipt(key, gateway, epoch, seq, batch_hash, now_unix_ms) for key in self._keys(gateway)]
        return outcome._replace(receipt_topic=receipt_topic(gateway), receipt=data, older=tuple(older))

    def _keys(self, gateway) -> tuple[HubKey, ...]:
        """The hub's keys by which this gateway may go, the one in use first."""
        return (self.key, *(self.roots.keys(gateway) if self.roots else ()))

    def _refuse(self, message, refusal):
        data_hash = hashlib.sha256(message.data).digest()
        count = self.store.refuse(refusal.gateway, refusal.reason, refusal.what, message.topic, message.data, data_hash)
        # A flood of one kind is logged at 1, 2, 4, 8 …: the log stays readable, the counter is exact.
        if count & (count - 1) == 0:
            name = refusal.gateway.name if refusal.gateway else message.topic[:80]
            log.warning("refused (%s), %s: %s (%d so far)", refusal.reason, name, refusal.what, count)
        return Outcome(REFUSED, f"{refusal.reason}: {refusal.what}", refusal.gateway)

    def _log_epoch(self, gateway, epoch, before):
        """The hub's statement that a chain began, and where the one before stood then."""
        head = before.held.head() if before is not None else None
        facts = {
            "gateway": gateway.kid,
            "epoch": epoch.epoch,
            "before": None if before is None or head is None else [before.epoch, head, before.head_link[0]],
        }
        self.leaves.statement(statement.EPOCH_SEEN, facts, None, self.store.now_unix_ms)

    def _tells_more(self, gateway, epoch, beat):
        """Whether this beat becomes a leaf: the first of a chain or start, and then one in BEAT_LEAF_MS, or sooner
        while it names a batch that is not here. So the log proves where a chain ended at any time, within that."""
        logged = gateway.beat_logged
        if logged is None or logged[:2] != (beat.sign1.epoch, beat.boot):
            return True
        missing = beat.sign1.seq > 0 and beat.sign1.seq - 1 not in epoch.held
        waited_ms = self.store.now_unix_ms - logged[2]
        return not 0 <= waited_ms < (BEAT_MISSING_LEAF_MS if missing else BEAT_LEAF_MS)

    # Batches.

    def _batch(self, message, gateway, epoch, batch, columns):
        seq = batch.sign1.seq
        batch_hash = hashlib.sha256(message.data).digest()
        before, same, after = self._neighbours(epoch, seq)
        decision, why = accept.decide(
            seq,
            batch_hash,
            batch.prev,
            epoch.held.head(),
            same and same[0],
            before and before[0],
            after and after[1],
            epoch.forks.__contains__,
        )
        if decision == accept.FORK:
            if self.store.add_fork(epoch, seq, batch_hash):
                self.leaves.signed_bytes(tables.FORK, message.data)
            self.store.alarm(gateway, "fork", f"seq {seq} of epoch {epoch.epoch.hex()[:8]}: {why}")
            raise Refusal(verify.FORK, f"seq {seq}: {why}", gateway)
        if decision != accept.DUPLICATE and len(epoch.held) >= HOLES_MAX and _opens_hole(epoch.held, seq):
            raise Refusal(verify.SCATTERED, f"seq {seq} would leave more than {HOLES_MAX} holes in its chain", gateway)
        if decision == accept.DUPLICATE:
            gateway.duplicates += 1
        else:
            if columns is None:
                columns = _decode_safely([batch])[0]
            self._keep(message, gateway, epoch, batch, columns, batch_hash, before, after)
            self._rotate(gateway, epoch, batch, batch_hash)
            self.store.heard(gateway)
        return Outcome(decision, why, gateway, (epoch.epoch, seq, batch_hash))

    def _neighbours(self, epoch, seq):
        """(hash, prev, sampled, readings, dropped) of the held batches at seq-1, seq and seq+1, None where
        not held."""
        head = epoch.held.head()
        if head is None or seq > head + 1:
            return None, None, None
        if seq == head + 1:
            return epoch.head_link, None, None
        links = self.store.links(epoch, seq - 1, seq + 1)
        return links.get(seq - 1), links.get(seq), links.get(seq + 1)

    def _keep(self, message, gateway, epoch, batch, columns, batch_hash, before, after):
        store, seq = self.store, batch.sign1.seq
        learnt = batch.schema is not None and self._learn(gateway, batch)
        places = gateway.schemas.get(batch.schema_id)
        state, found = WAITS_FOR_SCHEMA, []
        if places is not None:
            state, found = self._decode(gateway, batch, columns, places)
        self._gaps(gateway, epoch, batch)
        periods.take(store, gateway, epoch, seq, batch.events)
        store.add_batch(gateway, epoch, batch, batch_hash, message.data, state)
        self.leaves.batch(batch_hash, epoch.ep, seq)
        held = held_by(batch.events)
        if held and seq >= (epoch.held.head() or 0):
            gateway.checkpoint_held = held
        if self.roots:
            self.roots.take(gateway, batch.events)
        store.add_events(epoch, seq, batch.events)
        index.take(store.db, epoch.ep, seq, batch.events)
        store.add_blocks(gateway, epoch, seq, found)
        book.forget_counters(store.db, gateway.gw, batch.events)
        if state == WAITS_FOR_SCHEMA:
            gateway.undecoded += 1
        this = (batch.sampled, batch.readings, batch.dropped)
        if before or seq == 0:
            self._count_check(gateway, seq, before and before[2:], this)
        if after:
            self._count_check(gateway, seq + 1, this, after[2:])
        self._receipt_check(gateway, epoch, batch.receipt_seq)
        if learnt:
            self._decode_waiting(gateway, batch.schema_id)

    def _rotate(self, gateway, epoch, batch, batch_hash):
        """A batch may say that it is the last one of its key. What does not hold changes nothing, and is an alarm:
        somebody may have the key who should not."""
        for event in batch.events:
            if event[0] != events.KEY_ROTATED:
                continue
            current, seq = gateway.keys[-1], batch.sign1.seq
            try:
                if batch.sign1.kid != current.kid:
                    raise IntegrityError("another key has followed the one that signed it")
                new = rotation.check(event, gateway.kid, current.kid, current.next, verify.holds)
            except (FormatError, IntegrityError) as error:
                self.store.alarm(gateway, "key", f"seq {seq}: a new key is refused: {error}")
                log.error("%s: batch %d names a new key, which is refused: %s", gateway.name, seq, error)
                continue
            place = epoch.ep, epoch.epoch, seq, batch_hash
            gateway.keys = gateway_keys.rotate(
                self.store.db, self.leaves, (gateway.gw, gateway.kid), gateway.keys, new, place, self.store.now_unix_ms
            )
            gateway.receipt_keys.clear()
            log.warning("%s: a new key signs from batch %d on", gateway.name, seq + 1)

    def _learn(self, gateway, batch):
        try:
            return self.store.add_schema(gateway, batch.schema_id, batch.schema)
        except FormatError as error:
            self.store.alarm(gateway, "schema", f"seq {batch.sign1.seq}: {error}")
            return False

    def _decode(self, gateway, batch, columns, places):
        """Signed and whole, so it is kept and answered even if it does not decode: a later hub may know its
        coder."""
        try:
            return DECODED, blocks(columns, places)
        except FormatError as error:
            gateway.undecodable += 1
            self.store.alarm(gateway, "undecodable", f"seq {batch.sign1.seq}: {error}")
            log.error("%s: batch %d is signed but does not decode: %s", gateway.name, batch.sign1.seq, error)
            return UNDECODABLE, []

    def _decode_waiting(self, gateway, schema_id):
        by_ep = {epoch.ep: epoch for epoch in gateway.epochs.values()}
        waiting, batches = [], []
        for batch_id, ep, seq, data, batch_hash in self.store.waiting(gateway, schema_id):
            batch = self.derived.sound(gateway, by_ep[ep], seq, data, batch_hash)
            if batch is not None:
                waiting.append((batch_id, ep, seq))
                batches.append(batch)
        for (batch_id, ep, seq), batch, columns in zip(waiting, batches, _decode_safely(batches)):
            state, found = self._decode(gateway, batch, columns, gateway.schemas[schema_id])
            self.store.add_blocks(gateway, by_ep[ep], seq, found)
            self.store.set_state(batch_id, state)
            gateway.undecoded -= 1

    def _gaps(self, gateway, epoch, batch):
        """Take the signed gaps of a batch to account."""
        for event in batch.events:
            if event[0] != events.GAP:
                continue
            told = kept.gap_told(event)
            if told is None:
                self.store.alarm(gateway, "event", f"seq {batch.sign1.seq}: a gap event that cannot be interpreted")
                continue
            sealed, readings = told
            epoch.gap_events += 1
            epoch.gap_readings = min(epoch.gap_readings + readings, UINT_LIMIT)
            if sealed:
                self.store.add_missing(epoch, *sealed, "gap")
            where = f"batches {sealed[0]} to {sealed[1]}" if sealed else "before they were sealed"
            log.warning("%s: signed gap of %d readings, %s", gateway.name, readings, where)

    def _count_check(self, gateway, seq, before, this):
        fault = accept.counter_fault(before, this)
        if fault:
            self.store.alarm(gateway, "counters", f"seq {seq}: {fault}")
            log.error("%s: counters disagree at seq %d: %s", gateway.name, seq, fault)

    def _receipt_check(self, gateway, epoch, receipt_seq):
        """The gateway has a receipt for this seq: then the batch must be here, or this hub was set back."""
        if receipt_seq is None or receipt_seq in epoch.held:
            return
        first, last = epoch.held.hole_up_to(receipt_seq)
        if receipt_seq not in epoch.missing["lost"]:
            self.store.add_missing(epoch, first, last, "lost")
            what = f"batches {first} to {last} were acknowledged by this hub and are not here: was it restored?"
            self.store.alarm(gateway, "restored", what)
            log.error("%s: %s", gateway.name, what)

    # Beats.

    def _beat(self, message, gateway, epoch, beat):
        asked = hashlib.sha256(message.data).digest()
        seq = beat.sign1.seq - 1
        if seq in epoch.held:
            held = epoch.head_link if seq == epoch.held.head() else self.store.links(epoch, seq, seq)[seq]
            if held[0] != beat.head:
                self.store.alarm(gateway, "fork", f"the beat names another batch {seq} than the one held")
                raise Refusal(verify.FORK, f"the beat names another batch {seq} than the one held", gateway)
        elif beat.head is not None and beat.head in epoch.forks:
            raise Refusal(verify.FORK, f"the beat ends in a fork at seq {seq}", gateway)
        self.store.keep_beat(epoch, beat, message.data)
        last = gateway.beat
        if last is not None:
            before = gateway.epochs[last.sign1.epoch].ep, present.rank(last)
            if (epoch.ep, present.rank(beat)) < before or message.data == gateway.beat_bytes:
                gateway.stale_beats += 1
                return Outcome(STALE_BEAT, "not newer than the one before", gateway, beat=(asked, []))
        if present.is_fresh(beat, self.store.now_unix_ms):
            self.store.heard(gateway)
        fault = present.clock_fault(beat, self.store.now_unix_ms)
        if fault:
            self.store.alarm(gateway, "clock", fault)
        elif present.clock_apart_ms(beat, self.store.now_unix_ms) is not None:
            self.store.end_alarm(gateway, "clock")
        if self._tells_more(gateway, epoch, beat):
            self.leaves.signed_bytes(tables.BEAT, message.data)
            gateway.beat_logged = beat.sign1.epoch, beat.boot, self.store.now_unix_ms
        gateway.beat, gateway.beat_bytes, gateway.beat_unix_ms = beat, message.data, self.store.now_unix_ms
        self._receipt_check(gateway, epoch, beat.receipt_seq)
        deficit = beat.sampled - beat.dropped - beat.buffered - epoch.readings
        if deficit > 0 and deficit != epoch.deficit:
            what = f"the gateway got receipts for {deficit} readings more than this hub holds"
            self.store.alarm(gateway, "restored", what)
            log.error("%s: %s", gateway.name, what)
        epoch.deficit = max(0, deficit)
        lacks, epoch.asked_from = present.wanted(epoch.held, epoch.missing["gap"], beat.receipt_seq, epoch.asked_from)
        return Outcome(BEAT, "", gateway, beat=(asked, lacks))


def _opens_hole(held: accept.Held, seq: int) -> bool:
    return seq - 1 not in held and seq + 1 not in held


def _decode_safely(batches):
    """As `decode_group`; a batch that the decoder itself fails on is one that does not decode, and harms no
    other."""
    try:
        return decode_group(batches)
    except Exception as error:
        log.exception("the hub failed to decode %d batches", len(batches))
        if len(batches) > 1:
            return [_decode_safely([batch])[0] for batch in batches]
        return [FormatError(f"the hub failed on it: {type(error).__name__}: {error}")]

"""The chain of each simulated gateway of the demo's past: samples, events and signed batches, from the halls alone.

A chain goes on from its state, a plain dictionary that JSON can hold. So two months are made once, and a later run of
the demo makes what came since. Nothing here reads a clock; a key comes from the seed and the gateway's name, and its
signatures are deterministic (RFC 6979): the same state gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from host_tools.base.keys import public_xy
from host_tools.base.messages import Message
from host_tools.sim.past import halls
from host_tools.sim.past.halls import DAY_MS, HOUR_MS, Hall, Instrument
from parkgate import events
from parkgate.meters.consistency.check import REVERSED
from parkgate.meters.counters import EXCHANGE
from parkgate.reading import SYNCHRONISED, TIMEOUT
from parkgate.sensing import cadence, jobs
from parkgate.wire import batch as batch_format
from parkgate.wire import beat as beat_format
from parkgate.wire import cose
from parkgate.wire.steps import finish

SEED = "parkgate demo 1"
ROW_MS = 300_000  # of the past; every quarter of an hour begins with a row
LIVE_ROW_MS = 20_000
BATCH_MS = 12 * HOUR_MS
FIRMWARE = 1000  # 0.1.0 in a beat
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_POWER_ON = 1


class Key:
    """A gateway's key and names, from the seed. It signs as a gateway does: r || s with s in the lower half."""

    def __init__(self, name: str):
        number = int.from_bytes(hashlib.sha256(f"{SEED} {name}".encode()).digest(), "big") % (_ORDER - 1) + 1
        self._private = ec.derive_private_key(number, ec.SECP256R1())
        self.xy = public_xy(self._private)
        self.id = cose.thumbprint(self.xy)
        self.epoch = hashlib.sha256(f"{SEED} epoch {name}".encode()).digest()[:16]

    def seal(self, payload: bytes, seq: int, content_type: int) -> bytes:
        protected = cose.sign1_protected(self.id, content_type, self.epoch, seq)
        how = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
        r, s = utils.decode_dss_signature(self._private.sign(cose.sign1_digest(protected, payload), how))
        signature = r.to_bytes(32, "big") + min(s, _ORDER - s).to_bytes(32, "big")
        return cose.sign1_join(protected, payload, signature)

    def topic(self, kind: str) -> str:
        return f"tele/{self.id.hex()[:32]}/{kind}"


def new_state(hall: Hall, name: str, begin_ms: int, at_ms: int) -> dict:
    """A chain that begins at at_ms; `begin_ms` is when the park's history begins."""
    meters = {}
    for n, one in enumerate(hall.instruments):
        if one.is_meter:
            meters[one.name] = [1_204_000 + 3_777_001 * (n + 1) + len(name) * 91_733, 0]  # Wh, and watt-seconds of rest
    return {
        "name": name, "begin_ms": begin_ms, "next_ms": at_ms, "seq": 0, "head": None, "sampled": 0, "boot": 1,
        "last_ms": at_ms, "entry": 1, "job": None, "told": [], "receipt": None,
        "held": 0, "meters": meters,
    }  # fmt: skip


def batches(hall: Hall, state: dict, until_ms: int, row_ms: int, batch_ms: int) -> Iterator[Message]:
    """The batches from where the chain stands up to until_ms, a row each row_ms; `state` moves with them. What was made
    before has arrived."""
    key = Key(state["name"])
    state.update(receipt=state["seq"] - 1 if state["seq"] else None, held=0)
    while state["next_ms"] + row_ms <= until_ms:
        end_ms = min(until_ms, (state["next_ms"] // batch_ms + 1) * batch_ms)
        made = _Batch(hall, state, row_ms)
        while state["next_ms"] < end_ms and not made.must_end(state["next_ms"]):
            made.row(state["next_ms"])
            state["next_ms"] = (state["next_ms"] // row_ms + 1) * row_ms
        sealed = made.seal(key)
        if sealed is not None:
            yield Message(key.topic("batch"), sealed)


def beat(state: dict, now_ms: int) -> Message:
    """What the gateway says of itself between two batches."""
    key = Key(state["name"])
    head, seq = state["head"] and bytes.fromhex(state["head"]), state["seq"]
    receipt = state["receipt"]
    first = 0 if receipt is None else receipt + 1
    counters = state["sampled"], 0, state["held"]
    health = {"loss_in_s": 2_592_000, "firmware": FIRMWARE}
    payload = beat_format.beat_payload(
        head, state["boot"], _POWER_ON, counters, receipt, first if first < seq else None, now_ms, SYNCHRONISED, health
    )
    return Message(key.topic("beat"), key.seal(payload, seq, beat_format.CONTENT_TYPE))


def schema_of(hall: Hall) -> list:
    """As a gateway with these instruments declares them."""
    return [
        [one.name, cadence.words(one.profile, ROW_MS, None), [list(channel) for channel in one.channels]]
        for one in hall.instruments
    ]


class _Batch:
    """One batch of a chain in the making."""

    def __init__(self, hall: Hall, state: dict, row_ms: int):
        self._hall, self._state, self._row_ms = hall, state, row_ms
        self._begin_ms = state["begin_ms"]
        self._tables = [batch_format.Table(n, len(one.channels)) for n, one in enumerate(hall.instruments)]
        self._events: list[list] = []
        self._off_ms: int | None = None
        if not state["seq"]:
            self._events += [
                [events.RESET, 1, _POWER_ON],
                [events.EPOCH_BORN, 0],
                *self._commissioned(state["next_ms"]),
            ]
        if hall.name == "Hall 2 dye house" and not state["seq"]:
            registers = ["dyeing.import_active_energy"]
            self._enter(jobs.STATION, state["next_ms"], 0, ["dyeing machine", registers], [None])

    def must_end(self, at_ms: int) -> bool:
        """A power cut ends a batch: the gateway seals what it has when it is there again."""
        return self._off_ms is None and bool(self._tables[0].times) and self._is_cut(at_ms)

    def _is_cut(self, at_ms: int) -> bool:
        return halls.within(at_ms, self._begin_ms, *halls.POWER_CUT)

    def row(self, at_ms: int) -> None:
        """One sample of each instrument, and what happened since the one before."""
        if self._is_cut(at_ms):
            self._off_ms = at_ms - self._row_ms if self._off_ms is None else self._off_ms
            return
        if self._off_ms is not None:
            self._state["boot"] += 1
            self._events += [[events.RESET, self._state["boot"], _POWER_ON], [events.OFF, self._off_ms, at_ms]]
            self._off_ms = None
        at = halls.moment(at_ms, self._begin_ms)
        for table, one in zip(self._tables, self._hall.instruments):
            if one.is_meter:
                self._read_meter(table, one, at)
            else:
                table.add(at_ms, SYNCHRONISED, [round(one.of(at))])
        self._state["last_ms"] = at_ms
        if self._hall.name == "Hall 2 dye house":
            self._floor(at)

    def _read_meter(self, table, one: Instrument, at) -> None:
        register = self._state["meters"][one.name]
        power = max(0, round(one.of(at)))
        if self._is("exchanged", one, at.ms):
            return  # nobody measures while the meter is changed
        shown = self._as_wired(one, power, at.ms)
        register[1] += shown * min(at.ms - self._state["last_ms"], self._row_ms) // 1000
        register[0], register[1] = register[0] + register[1] // 3600, register[1] % 3600
        if self._is("away", one, at.ms):
            table.add(at.ms, SYNCHRONISED, [None, None], [TIMEOUT, TIMEOUT])
        else:
            table.add(at.ms, SYNCHRONISED, [shown, register[0]])

    def _is(self, what: str, one: Instrument, at_ms: int) -> bool:
        """Whether this meter is being exchanged, or does not answer; afterwards the new meter counts from its start."""
        hall, name, day, first, last, *new = halls.EXCHANGED if what == "exchanged" else halls.AWAY
        if (hall, name) != (self._hall.name, one.name):
            return False
        if halls.within(at_ms, self._begin_ms, day, first, last):
            return True
        is_over = halls.hours_since(at_ms, self._begin_ms) >= day * 24 + last
        if new and is_over and "exchanged" not in self._state["told"]:
            self._state["told"].append("exchanged")
            register = self._state["meters"][one.name]
            before, register[0], register[1] = register[0], 17, 0
            when = [at_ms, SYNCHRONISED]
            self._events.append([events.COUNTER, name, "import_active_energy", EXCHANGE, before, 17, when])
            self._events.append(_record(one._replace(serial=new[0]), at_ms, "new meter, sealed"))
        return False

    def _as_wired(self, one: Instrument, power: int, at_ms: int) -> int:
        """What the meter shows with a current transformer the wrong way round: two thirds cancel each other out."""
        if (self._hall.name, one.name) != halls.REVERSED[:2]:
            return power
        is_wrong, told = halls.is_reversed(at_ms, self._begin_ms), self._state["told"]
        if is_wrong != ("reversed" in told):
            what, code = (1, REVERSED + 2) if is_wrong else (2, 0)
            when = [at_ms, SYNCHRONISED]
            self._events.append([events.CONSISTENCY, one.name, "wiring", what, code, 0, 0, 3, when])
            if is_wrong:
                told.append("reversed")
            else:
                told.remove("reversed")
                self._events.append(_record(one, at_ms, "transformer of L2 turned round, display compared"))
        return power * 34 // 100 if is_wrong else power

    def _commissioned(self, at_ms: int) -> list[list]:
        return [_record(one, at_ms, "display compared") for one in self._hall.instruments if one.is_meter]

    def _floor(self, at) -> None:
        """The lots of the dyeing machine: light ones and dark ones."""
        state, now = self._state, halls.dye_job(at)
        number = None if now is None else at.day * 10 + now[0]
        if state["job"] is not None and state["job"][0] != number:
            _, entry, is_dark = state["job"]
            self._enter(jobs.COUNT, at.ms, entry, 180 + round(40 * halls.chance(71, entry)))
            if halls.chance(72, entry) < 0.2:
                self._enter(jobs.SCRAP, at.ms, entry, [1 if is_dark else 2, 1 + round(6 * halls.chance(73, entry))])
            self._enter(jobs.STOP, at.ms, entry, jobs.BY_HAND)
            state["job"] = None
        if now is not None and state["job"] is None:
            colour = "DARK" if now[1] else "LIGHT"
            entry = state["entry"]
            self._enter(jobs.START, at.ms, f"{colour}-{at.day:05}-{now[0] + 1}", jobs.HAND)
            state["job"] = [number, entry, now[1]]

    def _enter(self, what: int, at_ms: int, job, detail, registers=None) -> None:
        when, register = [at_ms, SYNCHRONISED], self._state["meters"]["dyeing"][0]
        number = self._state["entry"]
        self._state["entry"] += 1
        values = [register] if registers is None else registers
        age = None if registers else 0
        self._events.append(jobs.event(events.PRODUCTION, what, 0, number, when, job, detail, age, values))

    def seal(self, key: Key) -> bytes | None:
        """The signed batch, and the state behind it; None where there is nothing to say."""
        tables, state = [table for table in self._tables if table.times], self._state
        if not tables and not self._events:
            return None
        schema = batch_format.encode_schema(schema_of(self._hall))
        readings = sum(table.readings() for table in tables)
        sampled = state["sampled"] + readings
        header = batch_format.Header(
            prev=state["head"] and bytes.fromhex(state["head"]), boot=state["boot"], cause=_POWER_ON, sampled=sampled,
            dropped=0, receipt_seq=state["seq"] - 1 if state["seq"] else None, settings_id=bytes(16), schema=schema,
            with_schema=not state["seq"],
        )  # fmt: skip
        payload = finish(batch_format.payload_steps(header, tables, self._events))
        sealed = key.seal(payload, state["seq"], batch_format.CONTENT_TYPE)
        head = batch_format.chain_hash(sealed).hex()
        state.update(sampled=sampled, head=head, seq=state["seq"] + 1, held=state["held"] + readings)
        return sealed


def _record(one: Instrument, at_ms: int, words: str) -> list:
    """A commissioning record as `parkgate commission` makes it."""
    facts: dict = {"serial": one.serial, "compared": [[words, "", "", "", 1]]}
    if one.ratio:
        facts["ratio"] = one.ratio
    return [events.COMMISSIONED, [at_ms, SYNCHRONISED], one.name, "Sok Dara", facts]


def park(begin_ms: int) -> list[tuple[Hall, str, int, int | None]]:
    """(hall, gateway's name, when its chain begins, when another takes its place)."""
    found: list[tuple[Hall, str, int, int | None]] = []
    for hall in halls.PARK:
        if hall.successor is None:
            found.append((hall, hall.name, begin_ms, None))
        else:
            name, day = hall.successor
            at_ms = begin_ms + day * DAY_MS + 9 * HOUR_MS + 1_200_000
            found += [(hall, hall.name, begin_ms, at_ms), (hall, name, at_ms + 1_500_000, None)]
    return found


def successor_state(hall: Hall, name: str, old: dict, at_ms: int) -> dict:
    """The chain of a board that takes another's place: the meters are the same and have counted on."""
    state = new_state(hall, name, old["begin_ms"], at_ms)
    state["meters"] = {meter: list(register) for meter, register in old["meters"].items()}
    return state

"""What must hold of a world, by SPEC.md alone. It sees what stood at the meters, what gateways published, when they
had power, what the sources of time showed, and the hub's database; never the gateway's or the hub's own state. Messages
are read by tests/host/independent_verifier.py, which was written from SPEC.md and shares no code with the product.

    4, 9.1   each reading that a meter gave is at the hub once, as the meter gave it. Of a meter one sample may be
             missing for each time that power went: the one in flight. Others that are missing are counted and told
    3.3, 5.5 a batch that was published stays the same bytes; chains link, their counters agree, holes are explained
    4.1, 6.4 a time that is called synchronised is off by 2 s at most, and a beat's time by its clock_error_ms, from
             what a source of time showed
    5.7      while there is power, every period has its sample; nothing waits for the network
    7, 10.3  what a gateway has freed is at the hub; when all is well again, everything arrives and is freed, and a hub
             that was put back has got again what still lies on a gateway's flash
"""

import sqlite3
from bisect import bisect_left

import independent_verifier as stranger
from independent_columns import Refused

GAP, TORN, EPOCH_BORN, TASK_STALLED, CRASH = 5, 6, 2, 16, 17
SYNCHRONISED, HELD_OVER, DATED_LATER, RELATIVE_ONLY = 0, 1, 2, 3
TRUSTED_MS, SLACK_MS = 2000, 150
HELD_AT_THE_END = 4  # batches that wait for their receipts, when the hub has long been there
PIECE_BYTES = 24
IN_FLIGHT_MS = 3000  # from a meter's answer to the record on flash, at most


class Broken(Exception):
    """A promise of SPEC.md does not hold."""


class Evidence:
    """Of one gateway: `xy` its public key; `meters` name → [(value, true ms), …] in order; `voltage(value)`;
    `power` [[from, to or None], …] true ms; `asked` name → [true ms of each request, …];
    `silent` name → [[from, to], …] when the meter did not answer, `troubled`
    name → whether it ever answered damaged; `period_ms` the longest that was set; `published` [(true ms, topic,
    bytes), …]; `offsets_ms` what sources of time were off by; `flash_is_sound`, `flash_is_small`; `flash` its bytes;
    `faults_ms` when a call of its code was made to fail; `end_ms` from when on all was well again."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


class Found:
    """What one chain says."""

    def __init__(self):
        self.batches = []
        self.rows: dict = {}  # instrument name → [(value, voltage, time, trust, boot, seq), …]
        self.without: dict = {}  # instrument name → [(time, trust) of a row without a good value, …]
        self.events = []
        self.readings = 0
        self.unread = 0  # of these, in batches whose schema a hub that was put back has lost


def check(evidence, database, restored: bool) -> dict:
    """Figures of one gateway. Raises Broken."""
    with_db = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return _check(evidence, with_db, restored)
    finally:
        with_db.close()


def need(holds, why, *values):
    if not holds:
        raise Broken(why % values)


def _check(evidence, db, restored):
    figures = {}
    _same_bytes(evidence)
    gw = db.execute("SELECT gw FROM gateway WHERE public_key = ?", (evidence.xy,)).fetchone()
    need(gw, "the hub does not know the gateway")
    for reason in ("fork", "internal"):
        found = db.execute(
            "SELECT count(*), max(what) FROM evidence WHERE gw = ? AND reason = ?", (gw[0], reason)
        ).fetchone()
        need(not found[0], "the hub refused %d messages as %s: %s", found[0], reason, found[1])
    chains = [_chain(evidence, db, ep, restored) for (ep,) in db.execute(
        "SELECT ep FROM epoch WHERE gw = ? ORDER BY ep", gw)]  # fmt: skip
    need(len(chains) == 1 or not evidence.flash_is_sound, "%d chains over a sound flash", len(chains))
    _events(chains, len(evidence.faults_ms))
    for name, given in evidence.meters.items():
        rows = [row for chain in chains for row in chain.rows.get(name, ())]
        _rows(evidence, name, given, rows)
        figures["readings"] = figures.get("readings", 0) + 2 * len(rows)
    figures["missing"] = _complete(evidence, chains, restored)
    _clock(evidence, chains)
    _sampling(evidence)
    _freed(evidence, chains, restored)
    if restored and evidence.flash_is_sound:
        _asked_back(evidence, chains)
    figures["batches"] = sum(len(chain.batches) for chain in chains)
    return figures


def _same_bytes(evidence):
    """3.3, 9: one place in the chain, one content."""
    seen: dict = {}
    for at_ms, topic, data in evidence.published:
        if topic.endswith("/batch"):
            try:
                batch = stranger.batch_alone(data, evidence.xy)
            except Refused as e:
                raise Broken(f"a batch published at {at_ms} is refused: {e}") from None
            place = batch["epoch"], batch["seq"]
            need(seen.setdefault(place, data) == data, "batch %d was published with two contents", place[1])


def _chain(evidence, db, ep, restored):
    chain = Found()
    schema, last = {}, None
    gaps = []
    for data, seq in db.execute("SELECT bytes, seq FROM batch WHERE ep = ? ORDER BY seq", (ep,)):
        try:
            batch = stranger.read_batch(bytes(data), evidence.xy)
            if last is None and seq == 0 or last is not None and last["seq"] == seq - 1:
                stranger.check_link(last, batch)
        except Refused as e:
            raise Broken(f"batch {seq} at the hub: {e}") from None
        if batch["schema"] is not None:
            schema[batch["schema_id"]] = stranger.read_schema(batch["schema"])
        names = schema.get(batch["schema_id"])
        need(names is not None or restored, "batch %d has an unknown schema", seq)
        chain.batches.append(batch)
        chain.readings += batch["readings"]
        chain.unread += batch["readings"] if names is None else 0
        for event in batch["events"]:
            chain.events.append(event)
            if event[0] == GAP and event[1] is not None:
                gaps.append((event[1], event[2]))
        for index, times, trust, channels in batch["tables"] if names else ():
            rows = chain.rows.setdefault(names[index][0], [])
            quantities = [channel[0] for channel in names[index][2]]
            energy = quantities.index("import_active_energy") if "import_active_energy" in quantities else 0
            voltage = quantities.index("voltage") if "voltage" in quantities else 0
            for i, time_ms in enumerate(times):
                if channels[energy][0][i] == 0:
                    said = channels[energy][1][i], channels[voltage][1][i]
                    rows.append((*said, time_ms, trust[i], batch["boot"], batch["seq"]))
                else:
                    chain.without.setdefault(names[index][0], []).append((time_ms, trust[i]))
        last = batch
    _holes(db, ep, chain, gaps, restored)
    return chain


def _holes(db, ep, chain, gaps, restored):
    held = {batch["seq"] for batch in chain.batches}
    if restored:
        gaps = (
            gaps + db.execute("SELECT first_seq, last_seq FROM missing WHERE ep = ? AND why = 'lost'", (ep,)).fetchall()
        )
    for seq in range(max(held, default=-1) + 1):
        need(seq in held or any(a <= seq <= b for a, b in gaps), "batch %d is missing and nothing explains it", seq)
    if chain.batches:
        last = chain.batches[-1]
        missing = last["sampled"] - chain.readings - last["dropped"]
        # Dropped for want of room, and at the hub all the same: only the receipt was lost.
        both = sum(b["readings"] for b in chain.batches if any(a <= b["seq"] <= z for a, z in gaps))
        need(-both <= missing <= 0 or restored and missing > 0, "%d readings sampled, %d held, %d dropped",
             last["sampled"], chain.readings, last["dropped"])  # fmt: skip


def _events(chains, faults):
    for chain in chains:
        for event in chain.events:
            faults -= event[0] == CRASH
            need(faults >= 0, "the program failed: %s", event)
            need(event[0] != TASK_STALLED, "a task made no progress: %s", event)


def _rows(evidence, name, given, rows):
    """Each row is what the meter gave, once, in order."""
    values = [row[0] for row in rows]
    known = {value for value, _ in given}
    for value, voltage, *_ in rows:
        need(value in known, "%s: %d was never given by it", name, value)
        need(voltage == evidence.voltage(value), "%s: %d with a voltage of %d", name, value, voltage)
    need(len(values) == len(set(values)), "%s: a sample is there twice", name)
    need(values == sorted(values), "%s: samples out of order", name)


def _complete(evidence, chains, restored):
    """What a meter gave before all was well again is there, or was in flight when the power went, or is told as
    lost."""
    lost, first = 0, None
    ends = sorted(to for _, to in evidence.power if to is not None)
    for name, given in evidence.meters.items():
        there = {row[0] for chain in chains for row in chain.rows.get(name, ())}
        in_flight = set()
        for value, at_ms in given:
            if value in there or at_ms > evidence.end_ms:
                continue
            k = bisect_left(ends, at_ms)
            if k < len(ends) and ends[k] - at_ms <= IN_FLIGHT_MS and k not in in_flight:
                in_flight.add(k)
                continue
            if any(abs(fault_ms - at_ms) <= IN_FLIGHT_MS for fault_ms in evidence.faults_ms):
                continue  # the sample that the fault hit
            if evidence.troubled[name] and _is_told(evidence, chains, name, at_ms):
                continue  # asked, answered, and given up because of another answer's damage: its row says so
            lost += 2
            first = first or f"{name} {value} at {at_ms}"
    told = sum(chain.batches[-1]["dropped"] for chain in chains if chain.batches)
    if restored:
        told += sum(b[-1]["sampled"] - b[-1]["dropped"] - c.readings + c.unread for c in chains if (b := c.batches))
    need(lost <= told, "%d readings are missing, %d are told as lost; the first: %s", lost, told, first)
    if evidence.flash_is_sound and not evidence.flash_is_small and not restored:
        need(not told, "%d readings were dropped by a sound flash with room", told)
    return lost


def _is_told(evidence, chains, name, at_ms):
    """Whether there is a row without a good value from that moment."""
    for chain in chains:
        for time_ms, trust in chain.without.get(name, ()):
            if trust == RELATIVE_ONLY:
                true_ms = [begin + time_ms for begin, _ in evidence.power]
            else:
                true_ms = [time_ms - offset for offset in evidence.offsets_ms]
            if any(abs(at_ms - each) < IN_FLIGHT_MS for each in true_ms):
                return True
    return False


def _clock(evidence, chains):
    honest = evidence.offsets_ms == {0}

    def off_ms(said_ms, true_ms):
        return min(abs(said_ms - true_ms - offset) for offset in evidence.offsets_ms)

    for name, given in evidence.meters.items():
        true_ms = dict(given)
        for chain in chains:
            for value, _, time_ms, trust, _, seq in chain.rows.get(name, ()):
                if trust == SYNCHRONISED:
                    bound = TRUSTED_MS + SLACK_MS
                elif trust in (HELD_OVER, DATED_LATER) and honest:
                    bound = 20_000
                else:
                    continue
                off = off_ms(time_ms, true_ms[value])
                need(off <= bound, "%s: sample %d of batch %d, trust %d, is off by %d ms", name, value, seq, trust, off)
    for at_ms, topic, data in evidence.published:
        if topic.endswith("/beat"):
            try:
                beat = stranger.read_beat(data, evidence.xy)
            except Refused as e:
                raise Broken(f"a beat published at {at_ms} is refused: {e}") from None
            error_ms = beat["health"].get("clock_error_ms")
            if error_ms is not None:
                off = off_ms(beat["time_ms"], at_ms)
                need(off <= error_ms + SLACK_MS, "a beat at %d is off by %d ms and says %d", at_ms, off, error_ms)


def _sampling(evidence):
    """5.7: no period passes without its sample while there is power and the meter answers."""
    most_ms = 2 * evidence.period_ms + 10_000
    for name, times in evidence.asked.items():
        away = evidence.silent[name]
        for begin, end in evidence.power:
            end = evidence.end_ms if end is None else min(end, evidence.end_ms)
            marks = [begin + 20_000, *(t for t in times if begin < t < end), end]
            for a, b in zip(marks, marks[1:]):
                if b - a > most_ms and not any(
                    x < b and (y is None or y + 130_000 + evidence.period_ms > a) for x, y in away
                ):
                    raise Broken(f"{name}: no sample from {a} to {b}, {b - a} ms")


def _freed(evidence, chains, restored):
    """7: what a gateway says is acknowledged is at the hub; and at the end all of it is."""
    newest = None
    for at_ms, topic, data in evidence.published:
        if topic.endswith("/beat"):
            beat = stranger.read_beat(data, evidence.xy)
            acknowledged = beat["sampled"] - beat["dropped"] - beat["buffered"]
            need(acknowledged >= 0, "a beat at %d counts wrongly", at_ms)
            newest = beat
    need(newest, "no beat was ever published")
    chain = [chain for chain in chains if chain.batches and chain.batches[0]["epoch"] == newest["epoch"]]
    held = chain[0].readings if chain else 0
    acknowledged = newest["sampled"] - newest["dropped"] - newest["buffered"]
    need(restored or acknowledged <= held, "%d readings are acknowledged, the hub has %d", acknowledged, held)
    last = chain[0].batches[-1]["seq"] if chain else -1
    oldest = newest["oldest_held"]
    need(oldest is None or newest["seq"] - oldest <= HELD_AT_THE_END,
         "the newest beat still holds batches %s to %d", oldest, newest["seq"] - 1)  # fmt: skip
    need(newest["seq"] - 1 <= last, "the newest beat names batch %d, the hub has %d", newest["seq"] - 1, last)


def _asked_back(evidence, chains):
    """10.3: a batch that the hub had and lost is sent again as long as it lies on the gateway's flash."""
    sent = {}
    for _, topic, data in evidence.published:
        if topic.endswith("/batch"):
            batch = stranger.batch_alone(data, evidence.xy)
            sent[batch["epoch"], batch["seq"]] = data
    for chain in chains:
        held = {batch["seq"] for batch in chain.batches}
        epoch = chain.batches[0]["epoch"] if chain.batches else b""
        for (ep, seq), data in sent.items():
            if ep == epoch and seq not in held and seq < max(held):
                pieces = [data[i : i + PIECE_BYTES] for i in range(0, len(data), PIECE_BYTES)]
                there = sum(piece in evidence.flash for piece in pieces)
                need(there < 0.9 * len(pieces), "batch %d lies on the gateway's flash, and the hub lacks it", seq)

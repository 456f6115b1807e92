"""Readings out of the stored batches, a channel of a batch at a time: only the batches that can hold what is wanted are
read and decoded, however long the chains are.

The index is the table `block`, which says for each channel of each batch from when to when it reaches. Memory holds one
group of batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from host_tools.hub.reading.decode import Columns, decode_stored
from host_tools.hub.receiving.state import unlike
from host_tools.hub.stores import places
from host_tools.hub.stores.damaged import NOT_THE_STORED_BYTES, Damaged
from host_tools.hub.stores.gateways import find
from host_tools.hub.stores.kept import whole
from host_tools.hub.stores.schema import DECODED
from host_tools.log.database.seam import Cursor, Database
from parkgate.reading import RELATIVE_ONLY
from parkgate.wire.batch import decode_schema

GROUP = 64  # batches decoded together
_FOR_EVER = 1 << 62
GROUP_READINGS = 100_000  # … and no more readings than that, where a batch holds many


class Gateway(NamedTuple):
    """One that is exported: its number in the database, its id, its name."""

    gw: int
    id: bytes
    name: str


class Choice(NamedTuple):
    """What is wanted. A reading without a date is in no span of time: with `undated` only those are wanted, without a
    span all are. Empty sets of instruments, quantities and places are all of them."""

    gateways: tuple[Gateway, ...]
    from_ms: int | None = None
    to_ms: int | None = None
    undated: bool = False
    instruments: frozenset[str] = frozenset()
    quantities: frozenset[str] = frozenset()
    places: frozenset[bytes] = frozenset()  # their ids

    def has_span(self) -> bool:
        """Whether it is of some time only."""
        return self.from_ms is not None or self.to_ms is not None

    def span(self) -> tuple[int, int]:
        """(from, to), the open ends far away."""
        return self.from_ms or 0, _FOR_EVER if self.to_ms is None else self.to_ms


class Tally:
    """What became of an export: what was `written`, and what was `left_out` because the form has no place for it."""

    def __init__(self):
        self.written = self.left_out = 0
        self.damaged = Damaged()


class Channel(NamedTuple):
    """What a column of a batch is, by its schema."""

    instrument: str
    quantity: str
    unit: str
    scale: int


class Rows(NamedTuple):
    """Readings of one channel in one batch, all of one place ("" where it is not known). `values` has an entry a row,
    None where there is no value. A batch that is damaged comes with `channel` None and no rows; `fault` says what is
    wrong."""

    gateway: Gateway
    place: str
    epoch: bytes
    seq: int
    channel: Channel | None
    times: Sequence[int]
    trust: bytes
    values: Sequence[int | None]
    quality: bytes
    fault: str = ""


class _Stored(NamedTuple):
    seq: int
    data: bytes
    hash: bytes
    schema_id: bytes
    readings: int


def gateways(
    db: Database, names: Sequence[str] = (), at_places: Sequence[str] = ()
) -> tuple[tuple[Gateway, ...], frozenset[bytes]]:
    """(those that are named, each once, else all, by name; ids of the places). With `at_places` only those that ever
    stood at one of these, in the order of time. Raises SettingsError."""
    everyone = db.execute("SELECT gw, kid, name FROM gateway ORDER BY name").fetchall() if not names else []
    found = tuple(dict.fromkeys(Gateway(*row) for row in [*(find(db, name) for name in names), *everyone]))
    if not at_places:
        return found, frozenset()
    wanted = [places.find(db, name) for name in at_places]
    stood = dict.fromkeys(stay.gw for place in wanted for stay in places.stays(db, place.pl))
    by_gw = {one.gw: one for one in found}
    return tuple(by_gw[gw] for gw in stood if gw in by_gw), frozenset(place.id for place in wanted)


def count_undated(db: Database, choice: Choice) -> int:
    """How many readings of the wanted channels have no date."""
    found = 0
    for gateway in choice.gateways:
        for instrument, quantity, undated in db.execute(
            "SELECT instrument, quantity, undated FROM series WHERE gw = ?", (gateway.gw,)
        ):
            found += undated if _is_wanted(choice, instrument, quantity) else 0
    return found


def read(db: Database, choice: Choice, tally: Tally) -> Iterator[Rows]:
    """The wanted readings of each gateway, in the order of its chains. A batch whose bytes are not those that were
    stored has no readings: it is noted in `tally.damaged`."""
    for gateway in choice.gateways:
        schemas: dict[bytes, list[list[Channel]]] = {}
        stays = Stays(db, gateway, choice)
        part = stays.clipped(choice)
        for ep, epoch in db.execute("SELECT ep, epoch FROM epoch WHERE gw = ? ORDER BY ep", (gateway.gw,)).fetchall():
            for group in _groups(_batches(db, part, gateway, ep)):
                yield from _of_group(db, part, tally, gateway, epoch, group, schemas, stays)


def _of_group(db, choice, tally, gateway, epoch, group, schemas, stays) -> Iterator[Rows]:
    sound = [one for one in group if whole(one.data, one.hash)]
    decoded = dict(zip((one.seq for one in sound), decode_stored([one.data for one in sound])))
    for one in group:
        tables = decoded.pop(one.seq, NOT_THE_STORED_BYTES)
        if isinstance(tables, list):
            if one.schema_id not in schemas:
                schemas[one.schema_id] = _channels(db, gateway.gw, one.schema_id)
            for table in tables:
                yield from _of_table(choice, gateway, epoch, one.seq, table, schemas[one.schema_id], stays)
        else:
            fault = str(tables)
            tally.damaged.leave_out((gateway.gw, gateway.name, epoch, one.seq), fault)
            yield Rows(gateway, "", epoch, one.seq, None, (), b"", (), b"", fault)


def _of_table(choice, gateway, epoch, seq, table: Columns, schema, stays: Stays) -> Iterator[Rows]:
    wanted = [
        (i, channel)
        for i, channel in enumerate(schema[table.instrument])
        if _is_wanted(choice, channel.instrument, channel.quantity)
    ]
    if not wanted:
        return
    times, trust = [int(time_ms) for time_ms in table.times], bytes(table.trust)
    parts = stays.parts(_chosen(choice, times, trust), times, trust)
    for i, channel in wanted if parts else ():
        quality, values = table.rows_of(i)
        for place, at in parts:
            if at is None:
                yield Rows(gateway, place, epoch, seq, channel, times, trust, values, quality)
            else:
                yield Rows(
                    gateway, place, epoch, seq, channel, [times[i] for i in at], bytes(trust[i] for i in at),
                    [values[i] for i in at], bytes(quality[i] for i in at),
                )  # fmt: skip


class Stays:
    """Where a gateway stood when: readings belong to the place of their time (`stores.places`)."""

    def __init__(self, db: Database, gateway: Gateway, choice: Choice):
        self._stays = db.execute(
            f"SELECT from_ms, coalesce(to_ms, {_FOR_EVER}), place.id, place.name FROM place_stay JOIN place USING (pl)"
            " WHERE gw = ? ORDER BY from_ms",
            (gateway.gw,),
        ).fetchall()
        self._wanted = choice.places

    def clipped(self, choice: Choice) -> Choice:
        """`choice` without the time in which the gateway stood at none of the wanted places."""
        own = [stay for stay in self._stays if stay[2] in choice.places]
        begin = max(choice.from_ms or 0, min((stay[0] for stay in own), default=0))
        ends = [choice.to_ms, max((stay[1] for stay in own), default=_FOR_EVER)]
        end = min(end for end in ends if end is not None)
        return choice if not own else choice._replace(from_ms=begin or None, to_ms=None if end == _FOR_EVER else end)

    def parts(self, at: list[int] | None, times: list[int], trust: bytes) -> list[tuple[str, list[int] | None]]:
        """(name of the place, rows of it; None: all) of the rows `at` of a table."""
        if len(self._stays) == 1 and self._stays[0][:2] == (0, _FOR_EVER):  # it never moved
            _, _, place_id, name = self._stays[0]
            return [(name, at)] if (at is None or at) and (not self._wanted or place_id in self._wanted) else []
        found: dict[tuple[bytes, str], list[int]] = {}
        for i in range(len(times)) if at is None else at:
            found.setdefault(self._place(times[i], trust[i]), []).append(i)
        return [
            (name, rows) for (place_id, name), rows in found.items() if not self._wanted or place_id in self._wanted
        ]

    def _place(self, time_ms: int, trust: int) -> tuple[bytes, str]:
        if trust != RELATIVE_ONLY:
            for from_ms, to_ms, place_id, name in self._stays:
                if from_ms <= time_ms < to_ms:
                    return place_id, name
        return b"", ""


def _chosen(choice: Choice, times: list[int], trust: bytes) -> list[int] | None:
    """The rows that are wanted, None for all of them."""
    if choice.undated:
        return [i for i, code in enumerate(trust) if code == RELATIVE_ONLY]
    if not choice.has_span():
        return None
    low, high = choice.span()
    if RELATIVE_ONLY not in trust and low <= min(times) and max(times) < high:
        return None
    return [i for i, (t, code) in enumerate(zip(times, trust)) if code != RELATIVE_ONLY and low <= t < high]


def _is_wanted(choice: Choice, instrument: str, quantity: str) -> bool:
    return (not choice.instruments or instrument in choice.instruments) and (
        not choice.quantities or quantity in choice.quantities
    )


def _channels(db, gw, schema_id) -> list[list[Channel]]:
    """instrument → channel, by the names under which the hub shows them: no two are the same."""
    data = db.execute("SELECT bytes FROM schema WHERE gw = ? AND schema_id = ?", (gw, schema_id)).fetchone()[0]
    found: list[list[Channel]] = []
    names: set[str] = set()
    for name, _, channels in decode_schema(data):
        instrument = unlike(names, name)
        quantities: set[str] = set()
        found.append([
            Channel(instrument, unlike(quantities, quantity), unit, scale) for quantity, unit, scale in channels
        ])  # fmt: skip
    return found


def _groups(batches: Iterator[_Stored]) -> Iterator[list[_Stored]]:
    group: list[_Stored] = []
    readings = 0
    for one in batches:
        group.append(one)
        readings += one.readings
        if len(group) == GROUP or readings >= GROUP_READINGS:
            yield group
            group, readings = [], 0
    if group:
        yield group


_COLUMNS = f"SELECT seq, bytes, hash, schema_id, readings FROM batch WHERE ep = ? AND state = {DECODED}"


def _batches(db, choice: Choice, gateway: Gateway, ep: int) -> Iterator[_Stored]:
    """The batches of a chain that can hold what is wanted, in its order."""
    index = seqs(db, choice, gateway, ep)
    if index is None:
        for row in db.iterate(f"{_COLUMNS} ORDER BY seq", (ep,)):
            yield _Stored(*row)
        return
    while found := index.fetchmany(GROUP):
        marks = ",".join("?" * len(found))
        for row in db.execute(f"{_COLUMNS} AND seq IN ({marks}) ORDER BY seq", (ep, *(seq for (seq,) in found))):
            yield _Stored(*row)


def seqs(db: Database, choice: Choice, gateway: Gateway, ep: int) -> Cursor | None:
    """The seqs of a chain's batches that can hold what is wanted, in order, from the index; None: all of them can. The
    database sorts them: memory does not grow with their number."""
    series = db.execute(
        "SELECT series, instrument, quantity, undated, span_ms FROM series WHERE gw = ?", (gateway.gw,)
    ).fetchall()
    wanted = [row for row in series if _is_wanted(choice, row[1], row[2])]
    part = f"series IN ({','.join(str(row[0]) for row in wanted) or 'NULL'})"  # our own integers
    if choice.undated:
        whole_blocks = "SELECT {} FROM block WHERE " + part + " AND last_ms = -1"
        counted = db.execute(whole_blocks.format("coalesce(sum(readings), 0)")).fetchone()[0]
        if counted != sum(row[3] for row in wanted):
            return None  # some stand in a batch among dated ones
        return db.iterate(whole_blocks.format("DISTINCT seq") + " AND ep = ? ORDER BY seq", (ep,))
    if not choice.has_span():
        return db.iterate(f"SELECT DISTINCT seq FROM block WHERE {part} AND ep = ? ORDER BY seq", (ep,)) if (
            len(wanted) < len(series)
        ) else None  # fmt: skip
    low, high = choice.span()
    reach_ms = max((row[4] for row in wanted), default=0)  # a block begins at most so long before its own end
    return db.iterate(
        f"SELECT DISTINCT seq FROM block WHERE {part} AND last_ms BETWEEN ? AND ? AND first_ms < ? AND ep = ?"
        " ORDER BY seq",
        (low, min(high + reach_ms, (1 << 63) - 1), high, ep),
    )

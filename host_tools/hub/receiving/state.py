"""What the hub keeps in memory of each gateway: a copy of its rows, changed inside a transaction, dropped on
rollback.

Nothing here is a second truth. `stores.loading` builds all of it from the database, `Store.transaction` writes what
changed, and after a failed transaction it is built anew.
"""

from collections import deque
from types import EllipsisType

from host_tools.hub.receiving.accept import Held
from host_tools.hub.stores.gateway_keys import GatewayKey
from parkgate.wire.beat import Beat

SPARK_POINTS = 48
HEADLINE_WORDS = ("active_power", "power", "current", "temperature", "energy")


class Series:
    """One channel of one instrument: what it is, and how it stands. Times are ms, values integers at
    `scale`."""

    __slots__ = (
        "id", "instrument", "quantity", "unit", "scale", "profile", "readings", "undated", "span_ms", "qualities",
        "last_place", "last_ms", "last_trust", "last_quality", "last_value", "good_ms", "row_ms", "until_ms",
        "is_headline",
    )  # fmt: skip

    def __init__(self, series_id, instrument, quantity, unit, scale, profile):
        self.id = series_id
        self.instrument, self.quantity, self.unit, self.scale, self.profile = (
            instrument,
            quantity,
            unit,
            scale,
            profile,
        )
        self.readings = self.undated = self.span_ms = 0
        self.qualities: dict[int, int] = {}
        self.last_place: tuple[int, int] | None = None  # (ep, seq)
        self.last_ms: int | None = None
        self.last_trust: int | None = None
        self.last_quality: int | None = None
        self.last_value: int | None = None
        self.good_ms: int | None = None  # time of the newest good reading
        self.row_ms: int | None = None  # cadence by the newest schema
        self.until_ms: int | None = None  # newest time of all its dated rows, -1 without one; None: not looked up yet
        self.is_headline = False


class Channels(list):
    """The series of one instrument of a schema, in its order; `row_ms` is the cadence that its profile declares."""

    instrument = profile = ""
    row_ms: int | None = None


class Account:
    """What the statements of one instrument say (SPEC 5.7): `counts` by outcome, of all; `last` of the newest, which
    ends at `end_ms`."""

    __slots__ = ("counts", "end_ms", "last", "place")

    def __init__(self, counts):
        self.counts = list(counts)
        self.place: tuple | None = None
        self.end_ms: int | None = None
        self.last: list[int] = []

    def add(self, counts) -> None:
        self.counts = [a + b for a, b in zip(self.counts, counts)]

    def newest(self, place: tuple, end_ms: int | None, counts) -> None:
        if self.place is None or place > self.place:
            self.place, self.end_ms, self.last = place, end_ms, list(counts)


class Epoch:
    """One chain of one gateway. `head_link` is (hash, prev, sampled, readings, dropped) of the highest batch
    held."""

    def __init__(self, ep: int, epoch: bytes):
        self.ep = ep
        self.epoch = epoch
        self.held = Held()
        self.batches = self.readings = self.sampled = self.dropped = 0
        self.gap_events = self.gap_readings = 0
        self.head_link: tuple | None = None
        self.links: dict[int, tuple] = {}  # the same of the batches that came last, by seq: `Store.links` keeps a few
        self.forks: set[bytes] = set()
        self.missing = {"gap": Held(), "lost": Held()}  # why → seqs that will not come
        self.beat: Beat | None = None  # the newest of this chain
        self.asked_from = 0  # the seq from which the next answer asks for what is missing
        self.deficit = 0  # readings the gateway got receipts for and this hub does not hold


class Gateway:
    """One enrolled gateway and everything the hub counts of it."""

    def __init__(self, gw: int, kid: bytes, public_key: bytes, name: str, enrolled_unix_ms: int):
        self.gw, self.kid, self.public_key, self.name = gw, kid, public_key, name
        self.enrolled_unix_ms = enrolled_unix_ms
        self.revoked_unix_ms: int | None = None
        self.place: tuple[bytes, str] | None = None  # id and name of where it stands now
        self.keys = [GatewayKey(kid, public_key)]  # the first one first, the last one in use
        self.receipt_keys: dict[bytes, bytes] = {}  # id of a key of the hub → the key shared with it
        self.forget()

    def forget(self) -> None:
        """All that the hub counts of it becomes as for a new gateway: `Store` fills it from the database."""
        self.last_seen_unix_ms: int | None = None
        self.duplicates = self.stale_beats = 0
        self.beat: Beat | None = None
        self.beat_bytes: bytes | None = None
        self.beat_unix_ms: int | None = None
        self.root_serial: int | None = None  # the root document it goes by, by its own word; None not looked up yet
        self.checkpoint_held: tuple[int, bytes] | EllipsisType | None = ...  # by its own word; ... not looked up yet
        self.beat_logged: tuple[bytes, int, int] | None = None  # epoch, boot, time of the last beat that became a leaf
        self.epochs: dict[bytes, Epoch] = {}
        self.schemas: dict[bytes, list[Channels]] = {}  # schema id → instrument → channel → series
        self.schema_id: bytes | None = None  # of the newest batch, which is at schema_place
        self.schema_place: tuple[int, int] | None = None
        self.accounts: dict[str, Account] = {}  # instrument → what its statements say
        self.series: dict[tuple, Series] = {}  # (instrument, quantity, unit, scale) → series
        self.refused: dict[str, int] = {}
        self.alarms: dict[str, dict] = {}
        self.undecoded = self.undecodable = 0
        self.last_reading_ms: int | None = None
        self.last_trust: int | None = None
        self.headline: Series | None = None
        self.spark: deque = deque(maxlen=SPARK_POINTS)

    def key_of(self, kid: bytes, epoch: bytes, seq: int, is_beat: bool) -> GatewayKey | str:
        """The key with this id, where it may sign at this place of the chain; else why not (SPEC 3.6)."""
        for number, key in enumerate(self.keys):
            if key.kid != kid:
                continue
            before = self.keys[number - 1].last if number else None
            if before is not None and epoch == before[0] and seq <= before[1]:
                return "names a key that was not in use yet"
            if key.last is not None:
                if epoch == key.last[0]:
                    late = seq > key.last[1] + is_beat
                else:
                    late = epoch not in self.epochs
                if late:
                    return "names a key that another one has followed"
            return key
        if kid == self.keys[-1].next:
            return "names its next key, and the batch that brings it into use has not come"
        return f"names key {kid.hex()[:32]}, not that of its topic"

    def topic_name(self) -> str:
        """How topics call it: the first 32 hex digits of its id."""
        return self.kid.hex()[:32]

    def current(self) -> Epoch | None:
        """The epoch seen first last."""
        return max(self.epochs.values(), key=lambda epoch: epoch.ep, default=None)

    def choose_headline(self) -> None:
        """The one series that a list with room for a single value shows: power where there is some."""

        def rank(series):
            words = [i for i, word in enumerate(HEADLINE_WORDS) if word in series.quantity]
            return (words[0] if words else len(HEADLINE_WORDS), series.id)

        best = min(self.series.values(), key=rank, default=None)
        if best is not self.headline:
            if self.headline:
                self.headline.is_headline = False
            if best:
                best.is_headline = True
            self.headline = best
            self.spark.clear()

    def took(self, series: Series) -> None:
        """`series` has a new newest reading."""
        if series.last_ms is not None:
            self.last_reading_ms, self.last_trust = series.last_ms, series.last_trust


def unlike(taken: set[str], name: str) -> str:
    """`name`, with a number behind it where it is taken: nothing forbids a gateway to use a name twice. What comes out
    is taken from then on."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name} #{number}"
    taken.add(found)
    return found

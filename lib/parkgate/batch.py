"""The batch: some samples of some instruments as columns, fixed when it is sealed, chained to the one before (SPEC 5).

    samples ─▶ Table (one an instrument) ─▶ payload_steps ─▶ seal_steps ─▶ sealed bytes ─▶ open_batch ─▶ Batch

A table holds the times of its rows (relative to the batch's base time), the clock trust and, for each channel, the
values as a coded column (`columns`) and the qualities as runs; a run list that would say "all zero" is empty.
Readings whose quality carries no value are absent from the column: they cost nothing there and are still counted.
"""

import hashlib

from . import cbor, columns, cose
from .errors import FormatError
from .reading import has_value

CONTENT_TYPE = "application/vnd.parkgate.batch"
VERSION = 1

MAX_BATCH_BYTES = 16384
MAX_ROWS = columns.MAX_ROWS
MAX_READINGS = 16384  # rows × channels, over all tables of one batch: bounds what a decoder must do
MAX_INSTRUMENTS = 64
MAX_EVENTS = 256

# Keys of the payload map. SPEC 5.2.
_VERSION, _PREV, _BASE, _BOOT, _COUNTERS, _RECEIPT, _SCHEMA_ID, _SETTINGS_ID, _TABLES, _EVENTS, _SCHEMA = range(1, 12)

# All that a batch says besides its tables, events and place in the chain:
#   prev          32-byte SHA-256 of the whole batch before, None at seq 0
#   boot, cause   start counter of the gateway and the reset cause of that start
#   sampled       readings taken in this epoch up to the end of this batch
#   dropped       readings known lost in this epoch when this was sealed
#   receipt_seq   highest seq of this epoch a receipt was seen for, None before the first
#   settings_id   first 16 bytes of the SHA-256 of the active settings
#   schema        encoded schema; travels inside only when `with_schema`, its id always does
HEADER_FIELDS = ("prev", "boot", "cause", "sampled", "dropped", "receipt_seq", "settings_id", "schema", "with_schema")


class Header:
    """Plain record of HEADER_FIELDS, given by keyword."""

    def __init__(self, **fields):
        for name in HEADER_FIELDS:
            setattr(self, name, fields[name])


def short_id(data: bytes) -> bytes:
    """First 16 bytes of SHA-256: the name of a schema or of settings. 128 bits, so nobody finds two for one name."""
    return hashlib.sha256(data).digest()[:16]


def encode_schema(instruments: list) -> bytes:
    """Instruments as [[name, profile, [[quantity, unit, scale], …]], …], in words: it must be clear in ten years.
    A value in a column, times ten to the power of -scale, is in `unit`."""
    return cbor.encode(instruments)


def decode_schema(data: bytes) -> list:
    """The list given to `encode_schema`. Raises FormatError."""
    schema = cbor.decode(data)
    try:
        for name, profile, channels in schema:
            for quantity, unit, scale in channels:
                if type(quantity) is not str or type(unit) is not str or type(scale) is not int or abs(scale) > 18:
                    raise FormatError("schema: a channel is [quantity, unit, scale]")
            if type(name) is not str or type(profile) is not str or not channels:
                raise FormatError("schema: an instrument is [name, profile, channels]")
    except (TypeError, ValueError):
        raise FormatError("schema: not a list of [name, profile, channels]") from None
    return schema


class Runs:
    """Run-length list of small codes, built one at a time: [code, length, …]; [] means all zero."""

    def __init__(self):
        self.flat = []

    def add(self, code: int):
        flat = self.flat
        if flat and flat[-2] == code:
            flat[-1] += 1
        else:
            flat.append(code)
            flat.append(1)

    def canonical(self) -> list:
        return [] if len(self.flat) == 2 and self.flat[0] == 0 else self.flat


def expand_runs(flat: list, count: int, limit: int) -> bytes:
    """One code a row from a run list. Raises FormatError unless it is canonical, each code < limit, and sums to count."""
    if type(flat) is not list or len(flat) % 2:
        raise FormatError("runs: not pairs of code and length")
    if not flat:
        return bytes(count)
    out = bytearray()
    before = -1
    for i in range(0, len(flat), 2):
        code, length = flat[i], flat[i + 1]
        if type(code) is not int or type(length) is not int or not 0 <= code < limit or code == before:
            raise FormatError("runs: bad or repeated code")
        if not 0 < length <= count - len(out):
            raise FormatError("runs: lengths do not sum to the rows")
        out.extend(bytes([code]) * length)
        before = code
    if len(out) != count or (len(flat) == 2 and flat[0] == 0):
        raise FormatError("runs: lengths do not sum to the rows, or all zero is not left empty")
    return bytes(out)


class Table:
    """The samples of one instrument on their way into a batch."""

    def __init__(self, instrument: int, channels: int):
        self.instrument = instrument
        self.times = []
        self.trust = Runs()
        self.values = [[] for _ in range(channels)]
        self.quality = [Runs() for _ in range(channels)]

    def readings(self) -> int:
        return len(self.times) * len(self.values)

    def add(self, time_ms: int, trust: int, values: list, qualities=None):
        """One sample: a value (None where its quality carries none) and a quality for each channel."""
        self.times.append(time_ms)
        self.trust.add(trust)
        for i, value in enumerate(values):
            quality = qualities[i] if qualities else 0
            self.quality[i].add(quality)
            if has_value(quality):
                self.values[i].append(value)


def payload_steps(header: Header, tables: list, events: list):
    """Generator: encodes the payload in steps short enough for an event loop; its return value is the bytes.

    `tables` (in ascending order of instrument) are consumed: each column's values are freed as soon as they are coded.
    Raises FormatError when a limit is broken."""
    if sum(table.readings() for table in tables) > MAX_READINGS or len(events) > MAX_EVENTS:
        raise FormatError("too much for one batch")
    base_ms = min(min(table.times) for table in tables) if tables else 0
    coded_tables = []
    for table in tables:
        rows = len(table.times)
        times = yield from columns.encode_steps([time - base_ms for time in table.times])
        table.times = None
        channels = []
        for i in range(len(table.values)):
            coder, data = yield from columns.encode_steps(table.values[i])
            table.values[i] = None
            runs = table.quality[i].canonical()
            channels.append([coder, data, runs] if runs else [coder, data])
        coded_tables.append([table.instrument, rows, times[0], times[1], table.trust.canonical(), channels])
    payload = {
        _VERSION: VERSION,
        _PREV: header.prev,
        _BASE: base_ms,
        _BOOT: [header.boot, header.cause],
        _COUNTERS: [header.sampled, header.dropped],
        _RECEIPT: header.receipt_seq,
        _SCHEMA_ID: short_id(header.schema),
        _SETTINGS_ID: header.settings_id,
        _TABLES: coded_tables,
        _EVENTS: events,
    }
    if header.with_schema:
        payload[_SCHEMA] = header.schema
    yield
    return cbor.encode(payload)


def seal_steps(signer, gateway_id: bytes, epoch: bytes, seq: int, payload: bytes, content_type: str = CONTENT_TYPE):
    """Generator: signs `payload` into its place in the chain; its return value is the sealed bytes."""
    protected = cose.sign1_protected(gateway_id, content_type, epoch, seq)
    signature = yield from signer.sign_steps(cose.sign1_digest(protected, payload))
    return cose.sign1_join(protected, payload, signature)


def run(steps):
    """The return value of a generator driven to its end at once, for callers that may take the time."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def chain_hash(sealed: bytes) -> bytes:
    """What the next batch's `prev` must be."""
    return hashlib.sha256(sealed).digest()


class CodedTable:
    """A table as it stands in a batch: sizes checked, columns still coded."""

    def __init__(self, item):
        if type(item) is not list or len(item) != 6:
            raise FormatError("a table has six parts")
        self.instrument, self.rows, self.times_coder, self.times_data, trust, self.channels = item
        if type(self.instrument) is not int or not 0 <= self.instrument < MAX_INSTRUMENTS:
            raise FormatError("instrument index out of range")
        if type(self.rows) is not int or not 0 < self.rows <= MAX_ROWS:
            raise FormatError("rows out of range")
        if type(self.times_coder) is not int or type(self.times_data) is not bytes:
            raise FormatError("the time column is [coder, bytes]")
        if type(self.channels) is not list or not self.channels:
            raise FormatError("a table needs a channel")
        if self.rows * len(self.channels) > MAX_READINGS:
            raise FormatError("too many readings")
        self.trust = expand_runs(trust, self.rows, 4)
        self.quality = []
        for channel in self.channels:
            if type(channel) is not list or len(channel) not in (2, 3):
                raise FormatError("a channel is [coder, bytes] or [coder, bytes, quality runs]")
            if type(channel[0]) is not int or type(channel[1]) is not bytes or channel[2:] == [[]]:
                raise FormatError("a channel is [coder, bytes] or [coder, bytes, quality runs]")
            self.quality.append(expand_runs(channel[2], self.rows, 16) if len(channel) == 3 else None)

    def readings(self) -> int:
        return self.rows * len(self.channels)

    def times(self, base_ms: int) -> list:
        """Times of the rows in ms. Raises FormatError."""
        return [base_ms + t for t in columns.decode(self.times_coder, self.times_data, self.rows)]

    def column(self, index: int) -> list:
        """Values of one channel, a row each, None where the quality carries no value. Raises FormatError."""
        coder, data = self.channels[index][:2]
        quality = self.quality[index]
        if quality is None:
            return columns.decode(coder, data, self.rows)
        present = sum(1 for code in quality if has_value(code))
        values = iter(columns.decode(coder, data, present))
        return [next(values) if has_value(code) else None for code in quality]


class Batch:
    """A sealed batch taken apart. Well formed and within every limit, *not yet verified*; columns still coded.

    `sign1` has kid (the gateway id), epoch, seq and digest(); `tables` are CodedTable; `events` are lists that begin
    with their kind; `schema` is the encoded schema or None; the other fields are those of Header."""

    def __init__(self, data: bytes):
        if len(data) > MAX_BATCH_BYTES:
            raise FormatError("a batch of %d bytes; %d is the limit" % (len(data), MAX_BATCH_BYTES))
        self.sign1 = sign1 = cose.Sign1(data, CONTENT_TYPE)
        fields = cbor.decode(sign1.payload)
        if type(fields) is not dict or fields.get(_VERSION) != VERSION:
            raise FormatError("not a batch of version %d" % VERSION)
        if not (len(fields) == 10 and _EVENTS in fields or len(fields) == 11 and _SCHEMA in fields):
            raise FormatError("batch: fields missing or unknown")
        for key in range(_PREV, _EVENTS + 1):
            if key not in fields:
                raise FormatError("batch: field %d is missing" % key)
        self.prev = fields[_PREV]
        if (self.prev is None) != (sign1.seq == 0):
            raise FormatError("batch: the hash of the one before is there exactly when seq is not 0")
        if self.prev is not None:
            _expect_bytes(self.prev, 32, "hash of the batch before")
        self.base_ms = _expect_uint(fields[_BASE], "base time")
        self.boot, self.cause = _expect_pair(fields[_BOOT], "boot")
        self.sampled, self.dropped = _expect_pair(fields[_COUNTERS], "counters")
        self.receipt_seq = fields[_RECEIPT]
        if self.receipt_seq is not None:
            _expect_uint(self.receipt_seq, "receipt seq")
        self.schema_id = _expect_bytes(fields[_SCHEMA_ID], 16, "schema id")
        self.settings_id = _expect_bytes(fields[_SETTINGS_ID], 16, "settings id")
        self.schema = fields.get(_SCHEMA)
        if _SCHEMA in fields and (type(self.schema) is not bytes or short_id(self.schema) != self.schema_id):
            raise FormatError("batch: the schema inside does not have the schema's id")
        tables, self.events = fields[_TABLES], fields[_EVENTS]
        if type(tables) is not list or len(tables) > MAX_INSTRUMENTS:
            raise FormatError("batch: tables are not a list of at most %d" % MAX_INSTRUMENTS)
        self.tables = [CodedTable(item) for item in tables]
        for before, after in zip(self.tables, self.tables[1:]):
            if before.instrument >= after.instrument:
                raise FormatError("batch: tables are not in order of instrument")
        self.readings = sum(table.readings() for table in self.tables)
        if self.readings > MAX_READINGS:
            raise FormatError("batch: %d readings; %d is the limit" % (self.readings, MAX_READINGS))
        if type(self.events) is not list or len(self.events) > MAX_EVENTS:
            raise FormatError("batch: events are not a list of at most %d" % MAX_EVENTS)
        for event in self.events:
            if type(event) is not list or not event or type(event[0]) is not int:
                raise FormatError("batch: an event is a list that begins with its kind")


def _expect_bytes(item, length, what):
    if type(item) is not bytes or len(item) != length:
        raise FormatError("batch: %s must be %d bytes" % (what, length))
    return item


def _expect_uint(item, what):
    if type(item) is not int or item < 0:
        raise FormatError("batch: %s must be an unsigned integer" % what)
    return item


def _expect_pair(item, what):
    if type(item) is not list or len(item) != 2:
        raise FormatError("batch: %s must be a pair" % what)
    return _expect_uint(item[0], what), _expect_uint(item[1], what)

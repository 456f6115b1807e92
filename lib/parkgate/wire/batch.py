"""The batch: some samples of some instruments as columns, fixed when it is sealed, chained to the one before
(SPEC 5).

    samples ─▶ Table (one an instrument) ─▶ payload_steps ─▶ seal_steps ─▶ sealed bytes ─▶ Batch

All that a table holds stands in columns (`columns`): the times of its rows, relative to the batch's base
time, their clock trust, the values of each channel, and qualities. A column that is all zero (every time
synchronised, every reading good) is empty and costs one byte. The channels of one instrument mostly fail
together, so the qualities of the first channel hold for every channel that does not bring its own. Readings
whose quality carries no value are absent from the column of values: they cost nothing there and are still
counted.
"""

import hashlib

from parkgate.errors import FormatError, IntegrityError
from parkgate.reading import QUALITY_LIMIT, TRUST_LIMIT, has_value

from . import cbor, columns, cose
from .cbor import expect_bytes, expect_uint

CONTENT_TYPE = cose.BATCH_TYPE
VERSION = 1

MAX_BATCH_BYTES = 16384
MAX_PAYLOAD_BYTES = MAX_BATCH_BYTES - 148  # the largest that always fits with envelope and signature
MAX_ROWS = columns.MAX_ROWS
MAX_NUMBERS = 4096  # times and values, rows × (1 + channels) over all tables: bounds a decoder's work
MAX_READINGS = MAX_NUMBERS // 2  # so many fit however few channels an instrument has
MAX_INSTRUMENTS = 64
MAX_CHANNELS = 64  # of one instrument
MAX_EVENTS = 256
_QUALITY_REPEATED = "table: a channel brings qualities only if they differ from the first channel's"
MAX_SCALE = 18  # 10^18 is the largest power of ten in 63 bits


class BatchTooLarge(FormatError):
    """What was to be one batch does not fit into one; half as many samples will."""


# All that a batch says besides its tables, events and place in the chain:
#   prev          32-byte SHA-256 of the whole batch before, None at seq 0
#   boot, cause   start counter of the gateway and the reset cause of that start
#   sampled       readings taken in this epoch up to the end of this batch
#   dropped       readings known lost in this epoch when this was sealed
#   receipt_seq   highest seq of this epoch a receipt was seen for, None before the first
#   settings_id   first 16 bytes of the SHA-256 of the active settings
#   schema        encoded schema; travels inside only when `with_schema`, its id always does
HEADER_FIELDS = (
    "prev",
    "boot",
    "cause",
    "sampled",
    "dropped",
    "receipt_seq",
    "settings_id",
    "schema",
    "with_schema",
)


class Header:
    """Plain record of HEADER_FIELDS, given by keyword."""

    prev: bytes
    boot: int
    cause: int
    sampled: int
    dropped: int
    receipt_seq: "int | None"
    schema: bytes
    settings_id: bytes
    with_schema: bool

    def __init__(self, **fields):
        for name in HEADER_FIELDS:
            setattr(self, name, fields[name])


def short_id(data: bytes) -> bytes:
    """The name of a schema or of settings: 16 bytes of SHA-256, so nobody finds two for one name."""
    return hashlib.sha256(data).digest()[:16]


def encode_schema(instruments: list) -> bytes:
    """Instruments as [[name, profile, [[quantity, unit, scale], …]], …], in words: it must be clear in ten
    years. A value in a column, times ten to the power of -scale, is in `unit`."""
    return cbor.encode(instruments)


def decode_schema(data: bytes) -> list:
    """The list given to `encode_schema`. Raises FormatError."""
    schema = cbor.decode(data)
    if type(schema) is not list or len(schema) > MAX_INSTRUMENTS:
        raise FormatError("schema: not a list of at most %d instruments" % MAX_INSTRUMENTS)
    for instrument in schema:
        if not _has_types(instrument, (str, str, list)) or not 0 < len(instrument[2]) <= MAX_CHANNELS:
            raise FormatError("schema: an instrument is [name, profile, channels]")
        for channel in instrument[2]:
            if not _has_types(channel, (str, str, int)) or abs(channel[2]) > MAX_SCALE:
                raise FormatError("schema: a channel is [quantity, unit, scale]")
    return schema


def _has_types(item, types):
    return type(item) is list and [type(each) for each in item] == list(types)


class Table:
    """The samples of one instrument on their way into a batch."""

    def __init__(self, instrument: int, channels: int):
        self.instrument = instrument
        self.times = []
        self.trust = bytearray()
        self.values = [[] for _ in range(channels)]
        self.quality = [bytearray() for _ in range(channels)]

    def readings(self) -> int:
        return len(self.times) * len(self.values)

    def add(self, time_ms: int, trust: int, values: list, qualities=None):
        """One sample: a value (None where its quality carries none) and a quality for each channel."""
        self.times.append(time_ms)
        self.trust.append(trust)
        for i, value in enumerate(values):
            quality = qualities[i] if qualities else 0
            self.quality[i].append(quality)
            if has_value(quality):
                self.values[i].append(value)


def column_steps(values):
    """Generator: one column as it stands in a batch, coder id and data; empty when there are no values."""
    if not values:
        return b""
    coder, data = yield from columns.encode_steps(values)
    return bytes([coder]) + data


def _codes_steps(codes):
    """Generator: one column of trust or quality codes, empty when all are zero."""
    if not any(codes):
        return b""
    column = yield from column_steps(list(codes))
    return column


def _table_steps(table, base_ms):
    """Generator: one table as it stands in the payload (SPEC 5.3)."""
    rows = len(table.times)
    trust = yield from _codes_steps(table.trust)
    if base_ms < 0 or max(table.times) >= cbor.UINT_LIMIT:
        raise FormatError("table: a time out of range")
    times = yield from column_steps([time - base_ms for time in table.times])
    table.times = None
    first_codes = table.quality[0]
    first_quality = yield from _codes_steps(first_codes)
    channels = []
    for i, codes in enumerate(table.quality):
        column = yield from column_steps(table.values[i])
        table.values[i] = None
        if codes == first_codes:
            channels.append(column)
        else:
            quality = yield from _codes_steps(codes)
            channels.append([quality, column])
    return [table.instrument, rows, trust, times, first_quality, channels]


def payload_steps(header: Header, tables: list, events: list):
    """Generator: encodes the payload in steps short enough for an event loop; its return value is the bytes.

    `tables` (in ascending order of instrument) are consumed: each column's values are freed as soon as they
    are coded. Raises BatchTooLarge when a limit of one batch is broken, FormatError for what no batch may say."""
    numbers = sum(len(table.times) + table.readings() for table in tables)
    if numbers > MAX_NUMBERS or len(events) > MAX_EVENTS:
        raise BatchTooLarge("%d times and values, %d events: too much for one batch" % (numbers, len(events)))
    base_ms = min(min(table.times) for table in tables) if tables else 0
    coded_tables = []
    for table in tables:
        coded = yield from _table_steps(table, base_ms)
        coded_tables.append(coded)
    payload = [
        VERSION,
        header.prev,
        header.boot,
        header.cause,
        header.sampled,
        header.dropped,
        header.receipt_seq,
        short_id(header.schema),
        header.settings_id,
        base_ms,
        coded_tables,
        events,
    ]
    if header.with_schema:
        payload.append(header.schema)
    yield
    data = cbor.encode(payload)
    if len(data) > MAX_PAYLOAD_BYTES:
        raise BatchTooLarge("a payload of %d bytes; %d is the limit" % (len(data), MAX_PAYLOAD_BYTES))
    return data


def seal_steps(signer, gateway_id: bytes, epoch: bytes, seq: int, payload: bytes, content_type: int = CONTENT_TYPE):
    """Generator: signs `payload` into its place in the chain; its return value is the sealed bytes."""
    protected = cose.sign1_protected(gateway_id, content_type, epoch, seq)
    signature = yield from signer.sign_steps(cose.sign1_digest(protected, payload))
    return cose.sign1_join(protected, payload, signature)


def chain_hash(sealed: bytes) -> bytes:
    """What the next batch's `prev` must be."""
    return hashlib.sha256(sealed).digest()


class CodedTable:
    """A table as it stands in a batch: sizes checked, all columns still coded.

    `times_data`, `trust_data` and those in `channels` are coded columns: a byte that names the coder, then
    its data; `quality_data` has one a channel. Trust and quality are empty when all rows are 0."""

    def __init__(self, item):
        if type(item) is not list or len(item) != 6:
            raise FormatError("a table has six parts")
        self.instrument, rows, self.trust_data, self.times_data, quality, channels = item
        if type(self.instrument) is not int or not 0 <= self.instrument < MAX_INSTRUMENTS:
            raise FormatError("table: instrument out of range")
        if type(rows) is not int or not 0 < rows <= MAX_ROWS:
            raise FormatError("table: rows out of range")
        if type(self.trust_data) is not bytes or type(self.times_data) is not bytes or type(quality) is not bytes:
            raise FormatError("table: trust, times and quality are byte strings")
        if type(channels) is not list or not 0 < len(channels) <= MAX_CHANNELS:
            raise FormatError("table: channels are a list of 1 to %d" % MAX_CHANNELS)
        self.rows = rows
        self.quality_data = [quality] * len(channels)
        for i, channel in enumerate(channels):
            if type(channel) is list:
                if len(channel) != 2 or type(channel[0]) is not bytes or channel[0] == quality or i == 0:
                    raise FormatError(_QUALITY_REPEATED)
                self.quality_data[i], channels[i] = channel
            if type(channels[i]) is not bytes:
                raise FormatError("table: a channel is a column, or its quality and a column")
        self.channels = channels
        self._codes = {}

    def readings(self) -> int:
        return self.rows * len(self.channels)

    def times(self, base_ms: int) -> list:
        """Times of the rows in ms. Raises FormatError."""
        offsets = decode_column(self.times_data, self.rows)
        check_times(min(offsets), max(offsets), base_ms)
        return [base_ms + offset for offset in offsets]

    @property
    def trust(self) -> bytes:
        """Clock trust of each row. Raises FormatError."""
        return self._decode_codes(self.trust_data, TRUST_LIMIT) or bytes(self.rows)

    @property
    def quality(self) -> list:
        """For each channel None when all its readings are good, else one code a row. Raises FormatError."""
        codes = [self._decode_codes(data, QUALITY_LIMIT) for data in self.quality_data]
        check_qualities(self.quality_data, codes)
        return codes

    def _decode_codes(self, data, limit):
        if not data:
            return None
        if (data, limit) not in self._codes:
            self._codes[data, limit] = decode_codes(data, self.rows, limit)
        return self._codes[data, limit]

    def column(self, index: int) -> list:
        """Values of one channel, a row each, None where the quality carries no value. Raises FormatError."""
        quality = self._decode_codes(self.quality_data[index], QUALITY_LIMIT)
        if quality is None:
            return decode_column(self.channels[index], self.rows)
        present = sum(1 for code in quality if has_value(code))
        values = iter(decode_column(self.channels[index], present))
        return [next(values) if has_value(code) else None for code in quality]


def check_times(least_ms: int, most_ms: int, base_ms: int):
    """Raises FormatError unless times from `least_ms` to `most_ms` behind `base_ms` are not negative and uints."""
    if least_ms < 0 or base_ms + most_ms >= cbor.UINT_LIMIT:
        raise FormatError("table: a time before the batch's base time, or out of range")


def check_qualities(coded: list, decoded: list):
    """Raises FormatError when a channel brings the codes that the first channel has, coded in another way."""
    for i, codes in enumerate(decoded):
        if coded[i] != coded[0] and codes == decoded[0]:
            raise FormatError(_QUALITY_REPEATED)


def check_base(least: list):
    """`least`: the smallest time of each table, behind the base time. Raises FormatError unless one of them is 0."""
    if least and min(least) != 0:
        raise FormatError("batch: the base time is not the smallest time")


def check_fits(schema: list, instrument: int, channels: int):
    """Raises FormatError unless `schema` (decode_schema) has this instrument with so many channels."""
    if instrument >= len(schema) or len(schema[instrument][2]) != channels:
        raise FormatError("the schema does not describe instrument %d as its table is" % instrument)


def decode_tables(message) -> list:
    """All that the columns of a Batch say: for each table (instrument, times, trust, qualities, values). The last two
    have an entry for each channel: codes (None: all good), and values (None where the code has none). Raises
    FormatError. This is step 8 of SPEC 5.6, but for the fit of a schema that is not inside."""
    found = []
    least = []
    for table in message.tables:
        times = table.times(message.base_ms)
        least.append(min(times) - message.base_ms)
        values = [table.column(i) for i in range(len(table.channels))]
        found.append((table.instrument, times, table.trust, table.quality, values))
    check_base(least)
    return found


def decode_column(column: bytes, count: int) -> list:
    """The `count` integers of a column as it stands in a batch. Raises FormatError."""
    if (count == 0) != (len(column) == 0):
        raise FormatError("a column is empty exactly when it has no values")
    return columns.decode(column[0], column[1:], count) if count else []


def decode_codes(column: bytes, rows: int, limit: int) -> bytes:
    """One code below `limit` for each row. Raises FormatError; an empty column stands for zeros."""
    codes = decode_column(column, rows)
    if min(codes) < 0 or max(codes) >= limit:
        raise FormatError("table: a code of trust or quality out of range")
    if not any(codes):
        raise FormatError("table: codes that are all zero must be left out")
    return bytes(codes)


class Batch:
    """A sealed batch taken apart. Well formed and within every limit, *not verified*; columns still coded.

    `sign1` has kid (the gateway id), epoch, seq and digest(); `tables` are CodedTable; `events` are lists
    that begin with their kind; `schema` is encoded, or None; the other fields are those of Header."""

    def __init__(self, data: bytes):
        if len(data) > MAX_BATCH_BYTES:
            raise FormatError("a batch of %d bytes; %d is the limit" % (len(data), MAX_BATCH_BYTES))
        self.sign1 = cose.Sign1(data, CONTENT_TYPE)
        fields = cbor.expect_array(self.sign1.payload, VERSION, (12, 13), "batch")
        self.prev, boot, cause, sampled, dropped, self.receipt_seq = fields[1:7]
        schema_id, settings_id, base_ms, tables, self.events = fields[7:12]
        if (self.prev is None) != (self.sign1.seq == 0):
            raise FormatError("batch: the hash of the one before is there exactly when seq is not 0")
        if self.prev is not None:
            expect_bytes(self.prev, 32, "batch: hash of the one before")
        self.boot = expect_uint(boot, "batch: boot")
        self.cause = expect_uint(cause, "batch: cause")
        self.sampled = expect_uint(sampled, "batch: sampled")
        self.dropped = expect_uint(dropped, "batch: dropped")
        if self.receipt_seq is not None:
            expect_uint(self.receipt_seq, "batch: receipt seq")
        self.schema_id = expect_bytes(schema_id, 16, "batch: schema id")
        self.settings_id = expect_bytes(settings_id, 16, "batch: settings id")
        self.base_ms = expect_uint(base_ms, "batch: base time")
        if type(tables) is not list or len(tables) > MAX_INSTRUMENTS:
            raise FormatError("batch: tables are a list of at most %d" % MAX_INSTRUMENTS)
        if not tables and base_ms != 0:
            raise FormatError("batch: a base time without a table")
        self.tables = []
        self.readings = 0
        numbers = 0
        above = -1
        for item in tables:
            table = CodedTable(item)
            if table.instrument <= above:
                raise FormatError("batch: tables are not in order of instrument")
            above = table.instrument
            self.readings += table.readings()
            numbers += table.rows
            self.tables.append(table)
        numbers += self.readings
        if numbers > MAX_NUMBERS:
            raise FormatError("batch: %d times and values; %d is the limit" % (numbers, MAX_NUMBERS))
        if type(self.events) is not list or len(self.events) > MAX_EVENTS:
            raise FormatError("batch: events are a list of at most %d" % MAX_EVENTS)
        for event in self.events:
            if type(event) is not list or not event:
                raise FormatError("batch: an event is a list that begins with its kind")
            expect_uint(event[0], "batch: an event's kind")
        self.schema = None
        if len(fields) == 13:
            self._take_schema(fields[12])

    def _take_schema(self, data):
        if type(data) is not bytes or short_id(data) != self.schema_id:
            raise FormatError("batch: the schema inside does not have the schema's id")
        schema = decode_schema(data)
        for table in self.tables:
            check_fits(schema, table.instrument, len(table.channels))
        self.schema = data


def check_link(before, before_hash, after: Batch):
    """Return if `after` continues the chain that ends in `before`, whose bytes hash to `before_hash` (SPEC 5.5.1).

    All are verified already; `before` is None when `after` must be the first of its chain. Raises IntegrityError
    that says which rule is broken."""
    seq = after.sign1.seq
    if before is None:
        if seq != 0:
            raise IntegrityError("chain: begins with seq %d" % seq)
        boot = sampled = dropped = 0
    else:
        if after.sign1.kid != before.sign1.kid or after.sign1.epoch != before.sign1.epoch:
            raise IntegrityError("chain: another gateway or epoch")
        if seq != before.sign1.seq + 1:
            raise IntegrityError("chain: seq %d after seq %d" % (seq, before.sign1.seq))
        if after.prev != before_hash:
            raise IntegrityError("chain: seq %d does not continue the batch before" % seq)
        boot, sampled, dropped = before.boot, before.sampled, before.dropped
        if after.boot == boot and after.cause not in (before.cause, 0):
            raise IntegrityError("chain: seq %d states another cause of start %d" % (seq, boot))
    if after.boot < boot or after.dropped < dropped:
        raise IntegrityError("chain: seq %d counts starts or losses backwards" % seq)
    unsealed = after.sampled - sampled - after.readings
    if not 0 <= unsealed <= after.dropped - dropped:
        raise IntegrityError("chain: seq %d: %d readings neither sealed nor counted as lost" % (seq, unsealed))
    if after.readings + after.dropped > after.sampled:
        raise IntegrityError("chain: seq %d counts more readings as lost than it counts in all" % seq)
    if after.receipt_seq is not None and after.receipt_seq >= seq:
        raise IntegrityError("chain: seq %d states a receipt for batch %d" % (seq, after.receipt_seq))

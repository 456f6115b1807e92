"""The payload of a batch: its fields, tables and events (SPEC 5). All are in a sound envelope and signed."""

import hashlib

from .forms import (
    EPOCH,
    MAX_BATCH_BYTES,
    SCHEMA,
    START_MS,
    batch,
    batch_at,
    column,
    dumps,
    fields,
    sign1,
    table,
)
from .registry import GOOD, vector

GOOD_TIMES = [START_MS + offset for offset in (0, 1000, 2000, 3001)]
GOOD_CHANNELS = [[2301, 2299, 2304, 2302], [90017, 90021, 90021, 90026]]


def says(*tables, seq=1, events=(), **more) -> dict:
    """What a good batch says: for each table [instrument, times, trust, [[qualities, values] of each channel]]."""
    return {"epoch": EPOCH, "seq": seq, "tables": list(tables), "events": list(events), **more}


def plain(instrument=0) -> list:
    return [instrument, GOOD_TIMES, [0] * 4, [[[0] * 4, values] for values in GOOD_CHANNELS]]


@vector("batch", GOOD, "5", "one table of two channels, all good")
def one_table():
    return batch(), says(plain())


@vector("batch", GOOD, "5.2", "the first batch of a chain: no hash before, no receipt, the schema inside")
def first_of_a_chain():
    return batch_at(0, sampled=8, schema=SCHEMA), says(plain(), seq=0, schema=SCHEMA)


@vector("batch", GOOD, "5.2", "no table, only events")
def only_events():
    events = [[1, 3, 1], [2, 0], [3, 12345, None], [4, bytes(16), "broker.port: 0 is not allowed"]]
    return batch(tables=[], base_ms=0, events=events), says(events=events)


@vector("batch", GOOD, "5.4", "an event of a kind that nobody knows yet is kept as it is")
def event_of_unknown_kind():
    events = [[70, {"a": [None, True]}, b"\x00"]]
    return batch(tables=[], base_ms=0, events=events), says(events=events)


@vector("batch", GOOD, "5.3", "two instruments with their own times and rows")
def two_instruments():
    hall = table(1, times=[500, 60500], channels=[[2150, 2149]])
    return batch(tables=[table(), hall]), says(
        plain(), [1, [START_MS + 500, START_MS + 60500], [0, 0], [[[0, 0], [2150, 2149]]]]
    )


@vector("batch", GOOD, "5.3", "rows not in the order of time: the clock was set back")
def clock_set_back():
    times = [3600000, 3601000, 0, 1000]
    return batch(tables=[table(times=times)]), says(
        [0, [START_MS + t for t in times], [0] * 4, [[[0] * 4, values] for values in GOOD_CHANNELS]]
    )


@vector("batch", GOOD, "5.3", "clock trust that changes: relative only, then synchronised")
def trust_changes():
    made = batch(base_ms=4000, tables=[table(trust=column([3, 3, 0, 0]), times=[0, 1000, START_MS, START_MS + 1000])])
    times = [4000, 5000, START_MS + 4000, START_MS + 5000]
    return made, says([0, times, [3, 3, 0, 0], [[[0] * 4, values] for values in GOOD_CHANNELS]])


@vector("batch", GOOD, "5.3", "a timeout takes the values of one row from all channels, by one column of qualities")
def timeout_of_all_channels():
    made = batch(tables=[table(quality=column([0, 8, 0, 0]), channels=[[2301, 2304, 2302], [90017, 90021, 90026]])])
    channels = [[[0, 8, 0, 0], [2301, None, 2304, 2302]], [[0, 8, 0, 0], [90017, None, 90021, 90026]]]
    return made, says([0, GOOD_TIMES, [0] * 4, channels])


@vector("batch", GOOD, "5.3", "the second channel alone has other qualities; a suspect value is still there")
def own_qualities():
    own = [column([0, 0, 2, 11]), column([90017, 90021, 90021])]
    made = batch(tables=[table(channels=[GOOD_CHANNELS[0], own])])
    channels = [[[0] * 4, GOOD_CHANNELS[0]], [[0, 0, 2, 11], [90017, 90021, 90021, None]]]
    return made, says([0, GOOD_TIMES, [0] * 4, channels])


@vector("batch", GOOD, "5.3", "the first channel is bad, the second brings the empty column: all good")
def own_qualities_all_good():
    made = batch(tables=[table(quality=column([10] * 4), channels=[b"", [b"", column(GOOD_CHANNELS[1])]])])
    channels = [[[10] * 4, [None] * 4], [[0] * 4, GOOD_CHANNELS[1]]]
    return made, says([0, GOOD_TIMES, [0] * 4, channels])


@vector("batch", GOOD, "4.1", "a quality code without a name yet, 15, has no value")
def quality_without_a_name():
    made = batch(tables=[table(quality=column([15] * 4), channels=[b""])])
    return made, says([0, GOOD_TIMES, [0] * 4, [[[15] * 4, [None] * 4]]])


@vector("batch", GOOD, "5.1", "as many times and values as there may be: 64 rows of 63 channels")
def most_numbers():
    made = batch(tables=[table(times=range(64), channels=[[n] * 64 for n in range(63)])])
    return made, {"readings": 64 * 63}


# The payload as CBOR.


@vector("batch", "cbor", "2", "a counter of the payload in nine bytes")
def payload_counter_not_minimal():
    return sign1(dumps(fields(sampled=77)).replace(b"\x18\x4d", b"\x1b" + bytes(7) + b"\x4d", 1))


@vector("batch", "cbor", "2", "the payload an array of indefinite length")
def payload_indefinite():
    return sign1(b"\x9f" + dumps(fields())[1:] + b"\xff")


@vector("batch", "cbor", "2", "a byte behind the payload's array")
def payload_byte_behind():
    return sign1(dumps(fields()) + b"\x00")


@vector("batch", "cbor", "2", "a float in an event")
def payload_float():
    return batch(events=[[70, 1.5]])


@vector("batch", "cbor", "2", "one key of a map in an event twice")
def payload_key_twice():
    return sign1(
        dumps(fields(events=[[70, {1: 0, 2: 0}]])).replace(b"\xa2\x01\x00\x02\x00", b"\xa2\x01\x00\x01\x00", 1)
    )


@vector("batch", "cbor", "2", "an empty payload")
def payload_empty():
    return sign1(b"")


# Its fields.


@vector("batch", "batch", "5.2", "version 2")
def version_2():
    return batch(version=2)


@vector("batch", "batch", "5.2", "version true, which some languages take for 1")
def version_true():
    return batch(version=True)


@vector("batch", "batch", "5.2", "the payload a map")
def payload_a_map():
    return sign1(dumps(dict(enumerate(fields()))))


@vector("batch", "batch", "5.2", "a field too few")
def field_too_few():
    return sign1(dumps(fields()[:11]))


@vector("batch", "batch", "5.2", "a field too many")
def field_too_many():
    return sign1(dumps([*fields(schema=SCHEMA), 0]))


@vector("batch", "batch", "5.2", "a hash before at seq 0")
def hash_before_the_first():
    return batch_at(0, prev=bytes(32))


@vector("batch", "batch", "5.2", "no hash before at seq 1")
def no_hash_before():
    return batch(prev=None)


@vector("batch", "batch", "5.2", "a hash before of 31 bytes")
def hash_before_of_31_bytes():
    return batch(prev=bytes(31))


@vector("batch", "batch", "5.2", "a negative counter")
def counter_negative():
    return batch(dropped=-1)


@vector("batch", "batch", "5.2", "a counter of 2^62")
def counter_too_large():
    return batch(sampled=2**62)


@vector("batch", "batch", "5.2", "false for a counter")
def counter_false():
    return batch(dropped=False)


@vector("batch", "batch", "5.2", "null for a counter")
def counter_null():
    return batch(sampled=None)


@vector("batch", "batch", "5.2", "a settings id of 32 bytes")
def settings_id_of_32_bytes():
    return batch(settings_id=bytes(32))


@vector("batch", "batch", "5.2", "a schema that has not the schema's id")
def schema_with_other_id():
    return batch(schema=SCHEMA, schema_id=hashlib.sha256(b"another schema").digest()[:16])


@vector("batch", "batch", "4.2", "a schema that has its id and is text")
def schema_a_text():
    return _with_schema("mill")


@vector("batch", "batch", "4.2", "a schema of 65 instruments")
def schema_too_long():
    return _with_schema([["mill", "SDM630", [["voltage_l1", "V", 1], ["current_l1", "A", 3]]]] * 65)


@vector("batch", "batch", "4.2", "a schema with an instrument without channels")
def schema_without_channels():
    return _with_schema([["mill", "SDM630", [["voltage_l1", "V", 1], ["current_l1", "A", 3]]], ["hall", "SHT3x", []]])


@vector("batch", "batch", "4.2", "a schema with 19 decimals")
def schema_of_19_decimals():
    return _with_schema([["mill", "SDM630", [["voltage_l1", "V", 1], ["current_l1", "A", 19]]]])


@vector("batch", "batch", "5.3", "a table of two channels; the schema inside has three for its instrument")
def schema_of_more_channels():
    return _with_schema([["mill", "SDM630", [["voltage_l%d" % n, "V", 1] for n in (1, 2, 3)]]])


@vector("batch", "batch", "5.3", "a table of instrument 1; the schema inside has instrument 0 only")
def schema_without_the_instrument():
    schema = [["mill", "SDM630", [["voltage_l1", "V", 1], ["current_l1", "A", 3]]]]
    return _with_schema(schema, tables=[table(1)])


def _with_schema(schema, **more):
    data = dumps(schema)
    return batch(schema=data, schema_id=hashlib.sha256(data).digest()[:16], **more)


@vector("batch", "batch", "5.2", "null where the schema would stand")
def schema_null():
    return batch(schema=None)


@vector("batch", "batch", "5.2", "a base time, though there is no table")
def base_time_without_table():
    return batch(tables=[], base_ms=1)


@vector("batch", "batch", "5.4", "an empty event")
def event_empty():
    return batch(events=[[]])


@vector("batch", "batch", "5.4", "an event whose kind is text")
def event_kind_text():
    return batch(events=[["reset", 1]])


@vector("batch", "batch", "5.4", "an event of kind 2^62")
def event_kind_too_large():
    return batch(events=[[2**62]])


@vector("batch", "batch", "5.4", "an event of kind -1")
def event_kind_negative():
    return batch(events=[[-1]])


@vector("batch", "batch", "5.4", "257 events")
def events_too_many():
    return batch(events=[[6, 1]] * 257)


# Its tables.


@vector("batch", "batch", "5.3", "tables not in the order of their instruments")
def tables_not_in_order():
    return batch(tables=[table(1), table(0)])


@vector("batch", "batch", "5.3", "two tables of one instrument")
def instrument_twice():
    return batch(tables=[table(0), table(0)])


@vector("batch", "batch", "5.3", "instrument 64")
def instrument_64():
    return batch(tables=[table(64)])


@vector("batch", "batch", "5.3", "a table of five parts")
def table_of_five_parts():
    return batch(tables=[table()[:5]])


@vector("batch", "batch", "5.3", "a table without rows")
def no_rows():
    return batch(tables=[[0, 0, b"", b"", b"", [b""]]])


@vector("batch", "batch", "5.1", "a table of 4,097 rows")
def rows_too_many():
    return batch(tables=[table(rows=4097)])


@vector("batch", "batch", "5.3", "a table without channels")
def no_channels():
    return batch(tables=[table()[:5] + [[]]])


@vector("batch", "batch", "5.1", "a table of 65 channels")
def channels_too_many():
    return batch(tables=[table(channels=[[1, 2, 3, 4]] * 65)])


@vector("batch", "batch", "5.1", "one row more than there may be times and values")
def numbers_too_many():
    return batch(tables=[table(times=range(65), channels=[[n] * 65 for n in range(63)])])


@vector("batch", "batch", "5.3", "the first channel brings qualities of its own")
def first_channel_with_qualities():
    return batch(tables=[table(channels=[[column([0, 0, 0, 2]), column(GOOD_CHANNELS[0])]])])


@vector("batch", "batch", "5.3", "a channel brings the same qualities as the first one's")
def qualities_repeated():
    codes = column([0, 0, 2, 0])
    return batch(tables=[table(quality=codes, channels=[GOOD_CHANNELS[0], [codes, column(GOOD_CHANNELS[1])]])])


@vector("batch", "batch", "5.3", "a channel of three parts")
def channel_of_three_parts():
    channel = [column([0, 0, 2, 0]), column(GOOD_CHANNELS[1]), b""]
    return batch(tables=[table(channels=[GOOD_CHANNELS[0], channel])])


@vector("batch", "batch", "5.3", "a column as text")
def column_as_text():
    return batch(tables=[table()[:5] + [["column"]]])


@vector("batch", "size", "5.1", "a batch of 16,385 bytes")
def batch_too_long():
    room = MAX_BATCH_BYTES + 1 - len(batch(events=[[70, bytes(16000)]]))
    return batch(events=[[70, bytes(16000 + room)]])

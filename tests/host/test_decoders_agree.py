"""The hub decodes many columns at once; the library decodes them one by one, as SPEC 8 says. Both take and refuse the
same batches and give the same readings, whatever was done to a batch."""

import cbor2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_strategies import tables
from batches import FakeGateway
from host_tools.hub.reading import decode
from parkgate.errors import FormatError
from parkgate.wire import batch, cose
from parkgate.wire.steps import finish
from tests.vectors.generate import forms
from tests.vectors.generate.plain_columns import FLOOR, LEVEL, encode

GATEWAY = FakeGateway(7)
MANY = [batch.Batch(GATEWAY.batch(rows=12)) for _ in range(40)]  # so many columns are decoded together
BASE_MS = 9


def parsed(fields):
    """The Batch of a payload, None when its form is refused already: that is one code for both."""
    protected = cose.sign1_protected(GATEWAY.id, batch.CONTENT_TYPE, GATEWAY.epoch, 1)
    try:
        return batch.Batch(cose.sign1_join(protected, cbor2.dumps(fields, canonical=True), bytes(64)))
    except FormatError:
        return None


def one_by_one(message):
    try:
        return [list(table) for table in batch.decode_tables(message)]
    except FormatError:
        return None


def together(message, others):
    found = decode.decode_group([*others, message])[-1]
    if isinstance(found, FormatError):
        return None
    said = []
    for table in found:
        values = [table.rows_of(channel)[1] for channel in range(len(table.values))]
        said.append([table.instrument, list(map(int, table.times)), table.trust, table.quality, values])
    return said


def agree(fields):
    message = parsed(fields)
    if message is not None:
        wanted = one_by_one(message)
        assert together(message, []) == wanted
        assert together(message, MANY) == wanted
        return wanted is not None
    return None


@st.composite
def payloads(draw):
    """The fields of a batch, its columns changed in up to three places."""
    made = []
    for instrument, channels, samples in draw(tables()):
        table = batch.Table(instrument, channels)
        for sample in samples:
            table.add(*sample)
        made.append(table)
    header = batch.Header(
        prev=bytes(32), boot=1, cause=1, sampled=1 << 20, dropped=0, receipt_seq=None, settings_id=bytes(16),
        schema=forms.SCHEMA, with_schema=False,
    )  # fmt: skip
    fields = cbor2.loads(finish(batch.payload_steps(header, made, [])))
    for _ in range(draw(st.integers(0, 3))):
        _change(draw, fields)
    return fields


def _change(draw, fields):
    """Change one column, the number of rows, or the base time."""
    if not fields[10]:
        return
    table = draw(st.sampled_from(fields[10]))
    where = draw(st.sampled_from(("trust", "times", "quality", "channel", "own", "rows", "base")))
    if where == "rows":
        table[1] = draw(st.integers(1, 14))
    elif where == "base":
        fields[BASE_MS] = draw(st.sampled_from((0, fields[BASE_MS] + 1, 2**62 - 1, 2**62 - 1000)))
    elif where in ("channel", "own"):
        at = draw(st.integers(0, len(table[5]) - 1))
        channel = table[5][at]
        pair = channel if isinstance(channel, list) else [table[4], channel]
        changed = [_changed(draw, pair[0], table[1]), pair[1]] if where == "own" else [
            pair[0], _changed(draw, pair[1], table[1])
        ]  # fmt: skip
        table[5][at] = changed if where == "own" or isinstance(channel, list) else changed[1]
    else:
        at = {"trust": 2, "times": 3, "quality": 4}[where]
        table[at] = _changed(draw, table[at], table[1])


def _changed(draw, column, rows):
    """Another column in its place: none, the same with a changed byte, or one that is well formed."""
    how = draw(st.sampled_from(("empty", "byte", "cut", "codes", "values", "recoded")))
    if how == "empty":
        return b""
    if how == "byte" and column:
        at = draw(st.integers(0, len(column) - 1))
        return column[:at] + bytes([column[at] ^ draw(st.integers(1, 255))]) + column[at + 1 :]
    if how == "cut" and column:
        return column[: draw(st.integers(0, len(column) - 1))]
    if how == "recoded" and column:
        try:
            values = batch.decode_column(column, rows)
        except FormatError:
            return column
        return encode(draw(st.sampled_from((LEVEL, FLOOR))), values)
    high = 17 if how == "codes" else 2**40
    return encode(LEVEL, draw(st.lists(st.integers(-1, high), min_size=rows, max_size=rows)))


CHANNELS = [[2301, 2299, 2304, 2302], [90017, 90021, 90021, 90026]]
TWICE = [encode(each, [0, 0, 2, 0]) for each in (LEVEL, FLOOR)]


@settings(max_examples=150)
@example(forms.fields())
@example(forms.fields(tables=[forms.table(channels=[b"", CHANNELS[1]])]))
@example(forms.fields(tables=[[0, 4, b"", b"", b"", [forms.column(CHANNELS[0])]]]))
@example(forms.fields(tables=[forms.table(quality=TWICE[0], channels=[CHANNELS[0], [TWICE[1], b""]])]))
@given(payloads())
def test_both_decoders_take_and_refuse_the_same(fields):
    agree(fields)


def test_what_the_examples_are():
    assert agree(forms.fields()) is True
    assert agree(forms.fields(tables=[forms.table(channels=[b"", CHANNELS[1]])])) is False
    assert agree(forms.fields(tables=[[0, 4, b"", b"", b"", [forms.column(CHANNELS[0])]]])) is False
    again = [TWICE[1], forms.column(CHANNELS[1])]
    assert agree(forms.fields(tables=[forms.table(quality=TWICE[0], channels=[CHANNELS[0], again])])) is False

"""Whatever the readings: what goes in comes out, and nothing else opens. On CPython; test_batch_across.py has both."""

from hypothesis import assume, given
from hypothesis import strategies as st

import batch_echo_device as echo
import independent_verifier as second
from batch_strategies import events, items, tables
from host_tools.base.keys import Verifier
from parkgate.errors import FormatError, IntegrityError
from parkgate.wire import batch, beat, cbor, cose, p256, receipt
from parkgate.wire.steps import finish

PUBLIC = p256.public_key(echo.KEY)
VERIFIER = Verifier(PUBLIC)
SIGNER, GATEWAY = echo.signer_and_id()


def seal(described, events=(), seq=0):
    return echo.seal(SIGNER, GATEWAY, seq, described, list(events))


def opens(data, form=batch.Batch):
    """Whether `data` is a batch (or beat) whose signature holds; only FormatError and IntegrityError may say no."""
    try:
        message = form(data)
        VERIFIER.check(message.sign1.digest(), message.sign1.signature)
    except (FormatError, IntegrityError):
        return False
    return message.sign1.kid == GATEWAY


def read(message):
    """[instrument, channels, samples] of each table, qualities written out."""
    found = []
    for table in message.tables:
        channels = len(table.channels)
        codes = [quality or bytes(table.rows) for quality in table.quality]
        values = [table.column(i) for i in range(channels)]
        rows = zip(table.times(message.base_ms), table.trust)
        found.append([table.instrument, channels, [
            [time_ms, trust, [values[i][n] for i in range(channels)], [codes[i][n] for i in range(channels)]]
            for n, (time_ms, trust) in enumerate(rows)
        ]])  # fmt: skip
    return found


def written_out(described):
    return [
        [instrument, channels, [[t, trust, values, codes or [0] * channels] for t, trust, values, codes in samples]]
        for instrument, channels, samples in described
    ]


@given(tables(), events, st.integers(0, 2**62 - 1))
def test_any_readings_come_out_as_they_went_in(described, happened, seq):
    sealed = seal(described, happened, seq)
    message = batch.Batch(sealed)
    assert opens(sealed)
    assert read(message) == written_out(described)
    assert message.events == happened
    assert message.sign1.seq == seq


@given(tables(), st.data())
def test_any_bit_flipped_is_refused(described, data):
    sealed = bytearray(seal(described))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(sealed) - 1), min_size=1, max_size=20, unique=True)):
        sealed[bit >> 3] ^= 1 << (bit & 7)
        assert not opens(bytes(sealed))
        sealed[bit >> 3] ^= 1 << (bit & 7)
    assert opens(bytes(sealed))


@given(tables(), events)
def test_any_prefix_is_refused(described, happened):
    sealed = seal(described, happened)
    for end in range(len(sealed)):
        try:
            batch.Batch(sealed[:end])
        except FormatError:
            continue
        raise AssertionError(f"a prefix of {end} bytes is taken")


DESCRIBED = [[0, 2, [[1_767_225_600_000 + 1000 * n, 0, [2300 + n % 3, 90_000 + 4 * n], None] for n in range(8)]]]


def test_every_bit_of_a_batch_counts():
    sealed = seal(DESCRIBED, [[1, 1, 1]])
    assert opens(sealed)
    _every_bit(sealed, opens)


def test_every_bit_of_a_beat_counts():
    payload = beat.beat_payload(bytes(32), 1, 1, (10, 0, 5), 1, 2, 1_767_225_600_000, 0, {"errors": 0})
    sealed = finish(batch.seal_steps(SIGNER, GATEWAY, echo.EPOCH, 3, payload, beat.CONTENT_TYPE))
    assert opens(sealed, beat.Beat)
    _every_bit(sealed, lambda data: opens(data, beat.Beat))


def test_every_bit_of_a_receipt_counts():
    key, hub = b"k" * 32, b"h" * 32
    data = receipt.encode_receipt(key, hub, GATEWAY, echo.EPOCH, 7, bytes(32), 1_767_225_600_000)

    def frees(changed):
        try:
            receipt.decode_receipt(key, hub, GATEWAY, changed)
        except (FormatError, IntegrityError):
            return False
        return True

    assert frees(data)
    _every_bit(data, frees)


def _every_bit(sealed, accepted):
    data = bytearray(sealed)
    for bit in range(8 * len(data)):
        data[bit >> 3] ^= 1 << (bit & 7)
        assert not accepted(bytes(data)), bit
        data[bit >> 3] ^= 1 << (bit & 7)
    for end in range(len(data)):
        assert not accepted(bytes(data[:end])), end
    assert not accepted(bytes(data) + b"\x00")


@given(items)
def test_cbor_has_one_form(item):
    data = cbor.encode(item)
    assert cbor.decode(data) == item
    for end in range(len(data)):
        try:
            cbor.decode(data[:end])
        except FormatError:
            continue
        raise AssertionError(f"a prefix of {end} bytes is taken")


@given(st.binary(max_size=64))
def test_what_decodes_encodes_to_the_same_bytes(data):
    try:
        item = cbor.decode(data)
    except FormatError:
        return
    assert cbor.encode(item) == data


@given(st.one_of(st.binary(max_size=40), st.tuples(items, st.floats(0, 1), st.binary(max_size=3)).map(
    lambda parts: _edited(cbor.encode(parts[0]), parts[1], parts[2]))))  # fmt: skip
def test_a_stranger_refuses_what_we_refuse(data):
    """The second verifier's idea of canonical CBOR, on top of cbor2, is ours, on any bytes."""
    try:
        theirs = second.canonical(data)
    except second.Refused:
        theirs = second.Refused
    try:
        ours = cbor.decode(data)
    except FormatError:
        ours = second.Refused
    assert ours == theirs


def _edited(data, place, piece):
    at = int(place * len(data))
    return data[:at] + piece + data[at + len(piece) :]


@given(tables(), st.data())
def test_a_changed_payload_that_opens_says_something_else(described, data):
    """No two payloads say the same: change one, and either it is refused or it reads differently."""
    payload = bytearray(cose.Sign1(seal(described), cose.BATCH_TYPE).payload)
    at = data.draw(st.integers(0, len(payload) - 1))
    byte = data.draw(st.integers(0, 255))
    assume(payload[at] != byte)
    before = _says(bytes(payload))
    payload[at] = byte
    try:
        after = _says(bytes(payload))
    except FormatError:
        return
    assert after != before


def _says(payload):
    protected = cose.sign1_protected(GATEWAY, cose.BATCH_TYPE, echo.EPOCH, 0)
    message = batch.Batch(cose.sign1_join(protected, payload, bytes(64)))
    # How a column is coded is the encoder's choice, and so is the anchor it starts from.
    fields = cbor.decode(payload)
    return fields[:9] + fields[11:], read(message), message.base_ms, [table.channels for table in message.tables]

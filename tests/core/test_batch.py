"""Batches, from samples to sealed bytes and back, by the device's own code alone."""

from check import equal, raises, true
from parkgate.errors import FormatError, IntegrityError, ParkgateError
from parkgate.wire import batch, beat, cbor, cose, p256
from parkgate.wire.steps import finish

KEY = bytes(range(1, 33))
PUBLIC = p256.public_key(KEY)
GATEWAY = cose.thumbprint(PUBLIC)
EPOCH = b"0123456789abcdef"
START_MS = 1_767_225_600_000
SCHEMA = batch.encode_schema([["mill", "SDM630", [["voltage_l1", "V", 1], ["import_active_energy", "Wh", 0]]]])
SAMPLES = (
    (START_MS, 0, [2301, -(2**63) + 1], None),
    (START_MS + 1000, 0, [2299, 2**63 - 1], None),
    (START_MS + 2000, 1, [None, None], [8, 8]),
    (START_MS - 3600000, 1, [2302, None], [0, 9]),
    (12345, 3, [2, 3], [4, 0]),
)


def header(**changes):
    fields = {
        "prev": None, "boot": 3, "cause": 1, "sampled": 10, "dropped": 0, "receipt_seq": None,
        "settings_id": b"s" * 16, "schema": SCHEMA, "with_schema": False,
    }  # fmt: skip
    fields.update(changes)
    return batch.Header(**fields)


def table(samples=SAMPLES, instrument=0, channels=2):
    made = batch.Table(instrument, channels)
    for sample in samples:
        made.add(*sample)
    return made


def payload(tables=None, events=(), **changes):
    return finish(batch.payload_steps(header(**changes), [table()] if tables is None else tables, list(events)))


def seal(data, seq=0, content_type=batch.CONTENT_TYPE):
    return finish(batch.seal_steps(p256.SoftwareSigner(KEY), GATEWAY, EPOCH, seq, data, content_type))


def holds(message):
    return p256.verify(PUBLIC, message.sign1.digest(), message.sign1.signature)


def test_what_goes_in_comes_out():
    message = batch.Batch(seal(payload(events=[[1, 3, 1], [3, 5, None]], with_schema=True)))
    true(holds(message), "signature")
    sign1 = message.sign1
    equal((sign1.kid, sign1.epoch, sign1.seq), (GATEWAY, EPOCH, 0))
    equal((message.prev, message.boot, message.cause, message.receipt_seq), (None, 3, 1, None))
    equal((message.sampled, message.dropped, message.readings), (10, 0, 10))
    equal((message.schema, message.schema_id, message.settings_id), (SCHEMA, batch.short_id(SCHEMA), b"s" * 16))
    equal(message.events, [[1, 3, 1], [3, 5, None]])
    (found,) = message.tables
    equal((found.instrument, found.rows, found.readings()), (0, 5, 10))
    equal(found.times(message.base_ms), [time_ms for time_ms, _, _, _ in SAMPLES])
    equal(list(found.trust), [trust for _, trust, _, _ in SAMPLES])
    equal([list(codes) for codes in found.quality], [[0, 0, 8, 0, 4], [0, 0, 8, 9, 0]])
    for index in range(2):
        equal(found.column(index), [values[index] for _, _, values, _ in SAMPLES])


def test_base_time_is_the_least_of_all_tables():
    other = table([(START_MS - 5000, 0, [1], None)], instrument=1, channels=1)
    message = batch.Batch(seal(payload([table(SAMPLES[:2]), other])))
    equal(message.base_ms, START_MS - 5000)
    equal(message.tables[0].times(message.base_ms), [START_MS, START_MS + 1000])


def test_good_readings_cost_no_quality_and_equal_ones_are_said_once():
    good = table([(START_MS + n, 0, [n] * 8, None) for n in range(50)], channels=8)
    failed = table([(START_MS + n, 0, [n] * 8, [8 if n % 7 == 3 else 0] * 8) for n in range(50)], channels=8)
    for made, qualities in ((good, 0), (failed, 1)):
        found = batch.Batch(seal(payload([made]))).tables[0]
        equal(found.trust_data, b"")
        equal(len([data for data in set(found.quality_data) if data]), qualities)


def test_a_batch_without_tables():
    message = batch.Batch(seal(payload([], [[6, 1]])))
    equal((message.base_ms, message.tables, message.readings, message.events), (0, [], 0, [[6, 1]]))


def test_limits_are_kept_by_the_encoder():
    exact = [(START_MS + n, 0, [n], None) for n in range(batch.MAX_READINGS)]
    message = batch.Batch(seal(payload([table(exact, channels=1)])))
    equal(message.readings, batch.MAX_READINGS)
    more = exact + [(START_MS, 0, [0], None)]
    raises(batch.BatchTooLarge, payload, [table(more, channels=1)])
    raises(batch.BatchTooLarge, payload, [], [[6, 1]] * (batch.MAX_EVENTS + 1))
    fitting = batch.MAX_PAYLOAD_BYTES - len(payload([], [[70, bytes(16000)]])) + 16000
    sealed = seal(payload([], [[70, bytes(fitting)]]))
    true(len(sealed) <= batch.MAX_BATCH_BYTES, len(sealed))
    raises(batch.BatchTooLarge, payload, [], [[70, bytes(fitting + 1)]])


def test_the_largest_envelope_fits_beside_the_largest_payload():
    sealed = cose.sign1_join(
        cose.sign1_protected(GATEWAY, batch.CONTENT_TYPE, EPOCH, cbor.UINT_LIMIT - 1),
        bytes(batch.MAX_PAYLOAD_BYTES),
        bytes(64),
    )
    equal(len(sealed), batch.MAX_BATCH_BYTES)


def test_every_prefix_and_every_tail_is_refused():
    sealed = seal(payload())
    for end in range(len(sealed)):
        raises(FormatError, batch.Batch, sealed[:end])
    raises(FormatError, batch.Batch, sealed + b"\x00")


def test_no_byte_can_be_changed():
    sealed = seal(payload())
    for at in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[at] ^= 1 << at % 8
        try:
            message = batch.Batch(bytes(damaged))
        except FormatError:
            continue
        if message.sign1.kid == GATEWAY and holds(message):
            raise AssertionError("byte %d was changed unseen" % at)


def test_steps_are_many_and_the_result_is_the_same():
    steps = batch.payload_steps(header(), [table([(START_MS + n, 0, [n * n, -n], None) for n in range(240)])], [])
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration:
            break
        count += 1
    true(count > 40, count)


def test_a_beat_is_no_batch():
    data = beat.beat_payload(None, 3, 1, (0, 0, 0), None, None, START_MS, 0, {"errors": 0})
    sealed = seal(data, content_type=beat.CONTENT_TYPE)
    message = beat.Beat(sealed)
    true(holds(message), "signature")
    equal((message.head, message.boot, message.health, message.time_ms), (None, 3, {"errors": 0}, START_MS))
    raises(FormatError, batch.Batch, sealed)
    raises(FormatError, beat.Beat, seal(payload()))


def test_the_trust_of_a_row_is_not_taken_for_a_quality():
    # One column of codes that are allowed as qualities and not as trust stands in both places.
    fields = cbor.decode(payload([table([(START_MS, 0, [None], [8])] * 3, channels=1)]))
    fields[10][0][2] = fields[10][0][4]
    found = batch.Batch(seal(cbor.encode(fields))).tables[0]
    equal([list(codes) for codes in found.quality], [[8, 8, 8]])
    raises(FormatError, lambda: found.trust)


def test_a_chain_is_checked_link_by_link():
    first = seal(payload())
    second = seal(payload(prev=batch.chain_hash(first), sampled=20), 1)
    one, two = batch.Batch(first), batch.Batch(second)
    batch.check_link(None, None, one)
    batch.check_link(one, batch.chain_hash(first), two)
    raises(IntegrityError, batch.check_link, one, bytes(32), two)
    raises(IntegrityError, batch.check_link, two, batch.chain_hash(second), one)
    raises(IntegrityError, batch.check_link, None, None, two)


def test_schema_says_what_a_column_means():
    equal(batch.decode_schema(SCHEMA)[0][2][1], ["import_active_energy", "Wh", 0])
    for wrong in (
        [["mill", "SDM630", []]],
        [["mill", "SDM630", [["voltage_l1", "V"]]]],
        [["mill", "SDM630", [["voltage_l1", "V", 19]]]],
        [["mill", "SDM630", [["voltage_l1", "V", True]]]],
        [["mill", 630, [["voltage_l1", "V", 1]]]],
        [["mill", "SDM630"]],
        {"mill": 1},
        7,
    ):
        raises(ParkgateError, batch.decode_schema, cbor.encode(wrong))


def test_an_events_kind_has_62_bits():
    kept = batch.Batch(seal(payload(events=[[2**62 - 1, 2**64 - 1]])))
    equal(kept.events, [[2**62 - 1, 2**64 - 1]])
    for kind in (2**62, 2**63, 2**64 - 1):
        raises(FormatError, batch.Batch, seal(payload(events=[[kind]])))


def test_a_time_has_62_bits():
    near = [(2**62 - 2, 0, [1, 1], None), (2**62 - 1, 0, [1, 1], None)]
    message = batch.Batch(seal(payload([table(near)])))
    equal(message.tables[0].times(message.base_ms), [2**62 - 2, 2**62 - 1])
    raises(FormatError, message.tables[0].times, message.base_ms + 1)
    raises(FormatError, payload, [table([near[0], (2**62, 0, [1, 1], None)])])

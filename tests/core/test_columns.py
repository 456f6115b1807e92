"""Columns: all values come back, known strings stay as they are, and nothing that is not canonical is read."""

from check import equal, raises, true
from column_shapes import LIMIT, Dice, shapes
from parkgate.errors import FormatError
from parkgate.wire import columns, range_coder
from parkgate.wire.tail_bits import TailReader, TailWriter

# SPEC "Columns", example.
EXAMPLE = [2300, 2310, 2290, 2300, 2300, 2320, 2380, 2300, 2400]
EXAMPLE_DATA = bytes.fromhex("4992df0a3470c02838f20d")

# Strings that must never change: batches are kept for ten years.
KNOWN = (
    ([], 0, ""),
    ([0], 2, "00"),
    ([-LIMIT], 2, "3ffffffffffffffec0"),
    ([5, 5, 5, 5], 2, "00000104"),
    ([0, 1] * 8, 2, "95010200"),
    ([230, 231, 231, 229, 230, 236, 230], 1, "69b21d84006509"),
    ([1700000000000 + 60000 * i for i in range(20)], 2, "000135301f8bcfe568002a"),
    ([10**i for i in range(0, 19, 6)], 2, "4a346a5288003d09010000100000a013a11fa702"),
)


def test_example_of_the_specification():
    equal(columns.encode(EXAMPLE), (columns.FLOOR, EXAMPLE_DATA))
    equal(columns.decode(columns.FLOOR, EXAMPLE_DATA, len(EXAMPLE)), EXAMPLE)


def test_known_strings():
    for values, coder, data in KNOWN:
        equal(columns.encode(values), (coder, bytes.fromhex(data)), str(values))
        equal(columns.decode(coder, bytes.fromhex(data), len(values)), values)


def test_shapes_come_back():
    for n in (1, 2, 3, 5, 20, 60):
        for name, values in shapes(n, seed=n).items():
            coder, data = columns.encode(values)
            equal(columns.decode(coder, data, n), values, "%s of %d" % (name, n))


def test_long_columns_halve_their_counts_and_come_back():
    dice = Dice(3)
    for values in (
        [dice.below(2) for _ in range(columns.MAX_ROWS)],
        [dice.bell(100) if dice.below(9) else 0 for _ in range(1000)],
    ):
        coder, data = columns.encode(values)
        equal(columns.decode(coder, data, len(values)), values)


def test_extremes_come_back():
    for values in (
        [LIMIT, -LIMIT],
        [-LIMIT, LIMIT, -LIMIT, 0, LIMIT],
        [LIMIT] * 7,
        [0, LIMIT, 1, LIMIT - 1, -LIMIT],
        [1 << 59, -(1 << 59), 1 << 59, -(1 << 59), 0, 3],
        [-LIMIT, -LIMIT + 2, -LIMIT + 6, LIMIT],
    ):
        coder, data = columns.encode(values)
        equal(columns.decode(coder, data, len(values)), values)


def test_values_and_rows_beyond_the_limits_are_refused():
    for values in ([LIMIT + 1], [-LIMIT - 1, 0], [1 << 80], [0] * (columns.MAX_ROWS + 1)):
        raises(FormatError, columns.encode, values)


def test_decoder_refuses_coder_and_count():
    coder, data = columns.encode(EXAMPLE)
    for other in (-1, 5, 255, None, "1"):
        raises(FormatError, columns.decode, other, data, 9)
    for count in (-1, columns.MAX_ROWS + 1, 1 << 40):
        raises(FormatError, columns.decode, coder, data, count)
    raises(FormatError, columns.decode, 0, b"\x00", 0)
    raises(FormatError, columns.decode, 1, b"", 0)
    raises(FormatError, columns.decode, 0, b"", 1)


def test_decoder_refuses_what_is_cut_or_lengthened():
    # A column has no checksum (the batch's signature covers it): what is cut or lengthened is refused because it
    # does not end where it should, and one in a thousand happens to.
    tried = accepted = 0
    for values in shapes(30, seed=8).values():
        coder, data = columns.encode(values)
        others = [data[:end] for end in range(len(data))]
        for extra in (b"\x00", b"\x81", b"\xff"):
            others += [data + extra, extra + data]
        for other in others:
            tried += 1
            try:
                columns.decode(coder, other, 30)
                accepted += 1
            except FormatError:
                pass
    true(accepted * 500 < tried, "%d of %d accepted" % (accepted, tried))
    coder, data = columns.encode(EXAMPLE)
    for end in range(len(data)):
        raises(FormatError, columns.decode, coder, data[:end], len(EXAMPLE))
    for count in (1, 4, 7, 12, 99, columns.MAX_ROWS):
        raises(FormatError, columns.decode, coder, data, count)


def header(anchor=0, step=0, fine=0, first=0, span=0, listed="", *rest):
    """The verbatim bits of a column; `rest` are pairs (value, bits)."""
    tail = TailWriter()
    tail.put(columns.bit_length(anchor), 7)
    if anchor > 1:
        tail.put_number(anchor, columns.bit_length(anchor) - 1)
    if step:
        tail.put(1, 1)
        tail.put(columns.bit_length(step) - 1, 6)
        tail.put_number(step, columns.bit_length(step) - 1)
    else:
        tail.put(0, 1)
    tail.put(fine, 1)
    tail.put(first, 7)
    tail.put(span, 7)
    for bit in listed:
        tail.put(int(bit), 1)
    for value, bits in rest:
        tail.put(value, bits)
    return tail.finish()


def code(symbols, m):
    steps = range_coder.encode_steps(bytes(symbols), m)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_decoder_refuses_what_the_rules_do_not_make():
    zeros = header()
    equal(columns.decode(0, zeros, 3), [0, 0, 0])
    for what, coder, data, count in (
        ("step of one written out", 0, header(0, 1), 3),
        ("step where all residuals are zero", 0, header(0, 7), 3),
        ("step not the greatest", 0, code([0, 1], 2) + header(0, 3, 0, 0, 3), 2),
        ("one number not marked", 0, code([0, 1, 1], 2) + header(0, 0, 0, 2, 2, "0", (0, 1), (1, 2), (1, 2)), 3),
        ("listed class does not occur", 0, code([0, 2], 3) + header(0, 0, 0, 0, 2, "1"), 2),
        ("last class does not occur", 0, code([0, 0], 2) + header(0, 0, 0, 0, 1), 2),
        ("coarse class unknown", 0, header(0, 0, 0, 66, 0, "", (1, 1), (0, 64)), 2),
        ("fine class unknown", 0, header(0, 0, 1, 127, 1), 2),
        ("floor below all values", 1, header(0, 0, 0, 1, 0), 2),
        ("anchor of 65 bits", 0, header(1 << 64), 2),
        ("anchor -2^63", 0, header((1 << 64) - 1), 2),
        ("value -2^63", 2, header((1 << 64) - 3, 0, 0, 1, 0), 2),
        ("floor value 2^63", 1, code([1, 0], 2) + header((1 << 64) - 2, 0, 0, 0, 1), 2),
        ("residual of 2^63", 0, header(0, 1 << 63, 0, 2, 0), 1),
    ):
        raises_with(what, coder, data, count)
    # One bit beside each of these, all is well.
    equal(columns.decode(0, code([0, 1], 2) + header(0, 3, 0, 0, 1), 2), [0, -3])
    equal(columns.decode(0, code([0, 1, 1], 2) + header(0, 0, 0, 2, 2, "0", (1, 1), (1, 2)), 3), [1, -3, -3])
    equal(columns.decode(0, header(0, 0, 0, 4, 0, "", (0, 1), (1, 2), (3, 2)), 2), [-3, -4])
    equal(columns.decode(0, code([0, 2, 1], 3) + header(0, 0, 0, 0, 2, "1"), 3), [0, 1, -1])
    equal(columns.decode(0, header(0, 1 << 62, 0, 2, 0), 1), [1 << 62])
    equal(columns.decode(2, header((1 << 64) - 3, 0, 0, 0, 0), 2), [-LIMIT, -LIMIT])


def raises_with(what, coder, data, count):
    try:
        values = columns.decode(coder, data, count)
    except FormatError:
        return
    raise AssertionError("%s: read as %s" % (what, values))


def test_padding_is_zero():
    data = header()
    for bit in range(1, 8):
        if data[0] >> bit == 0:
            raises(FormatError, columns.decode, 0, bytes([data[0] | 1 << bit]) + data[1:], 3)
    coder, data = columns.encode(EXAMPLE)
    for bit in (6, 7):
        raises(FormatError, columns.decode, coder, data[:4] + bytes([data[4] ^ 1 << bit]) + data[5:], 9)


def test_range_code_is_the_shortest_and_lowest():
    dice = Dice(11)
    for m in (2, 3, 9, 17, 66, 128):
        for rows in (m, m + 1, m + 40):
            symbols = list(range(m)) + [dice.below(m) for _ in range(rows - m)]
            data = code(symbols, m)
            for follow in (b"", b"\x00\x00\x00", b"\xff\xff\xff", b"\x80\x01"):
                found, end = range_coder.decode(data + follow, m, rows)
                equal(list(found), symbols)
                range_coder.check_end(data + follow, len(data), end)
            last = data[-1]
            for change in range(256):
                if change != last:
                    other = data[:-1] + bytes([change])
                    refuses_code(other, m, rows, symbols)
            refuses_code(data[:-1], m, rows, symbols)
            refuses_code(data + b"\x00", m, rows, symbols)


def refuses_code(data, m, rows, symbols):
    """No other string than the one that was made says these symbols."""
    try:
        found, end = range_coder.decode(data, m, rows)
        range_coder.check_end(data, len(data), end)
    except FormatError:
        return
    true(list(found) != symbols, "two codes for the same symbols")


def test_tail_bits():
    tail = TailWriter()
    fields = [(5, 3), (0, 0), (1, 1), ((1 << 63) - 9, 63), (77, 16), (1, 17), (0, 5), (3, 40)]
    for value, bits in fields:
        tail.put(value, bits)
    data = tail.finish()
    equal(len(data), (sum(bits for _, bits in fields) + 7) // 8)
    reader = TailReader(data)
    for value, bits in fields:
        equal(reader.take(bits), value)
    raises(FormatError, reader.take, 8)


def test_bit_length():
    for length in range(1, 65):
        for u in (1 << length - 1, (1 << length) - 1):
            equal(columns.bit_length(u), length)
    equal(columns.bit_length(0), 0)


def test_random_bytes_raise_format_error_only():
    dice = Dice(5)
    for _ in range(1500):
        data = bytes([dice.bits(8) for _ in range(1 + dice.below(24))])
        # Sane headers get further.
        if dice.bits(1):
            data += header(dice.bits(9), 0, dice.bits(1), 0, 1 + dice.below(12))
        coder, count = dice.below(6), dice.below(40)
        try:
            values = columns.decode(coder, data, count)
        except FormatError:
            continue
        equal(len(values), count)
        true(max(values) <= LIMIT and min(values) >= -LIMIT if values else True)


def test_steps_are_many_and_the_result_the_same():
    values = shapes(240, seed=2)["walk"]
    steps = columns.encode_steps(values)
    count = 0
    while True:
        try:
            equal(next(steps), None)
            count += 1
        except StopIteration as end:
            equal(end.value, columns.encode(values))
            break
    # At most 24 values are classified or coded, or 72 subtracted, in one step (<= 10 ms on RP2040, measured there).
    true(count > 240 // 24 * 4, "only %d steps" % count)

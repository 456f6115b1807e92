"""A range coder for a column of small symbols, with adaptive frequencies in the context of the symbol before.

The interval [low, low + width) of [0, 2^24) is narrowed by each symbol to the part that its frequency gives it;
whole bytes move out at the top, so that 2^16 <= width <= 2^24. A frequency is the sum of two counts: one over the
column's first 64 symbols (from 4, plus 1 an occurrence: it tells a context that was not met yet what is likely),
and one in the context (from 0, plus 24). All of it fits in 31-bit small integers.

The code ends with the fewest bytes, one or two, and of these the lowest, such that *whatever bytes follow* decode the
same. So a decoder runs into what follows without harm and needs no length; and exactly one string stands for given
symbols, which `check_end` makes sure of.
"""

from array import array

from parkgate.errors import FormatError

CONTEXTS_MAX = 8
COLUMN_START = 4  # first count of a symbol over the whole column
COLUMN_STEP = 1
COLUMN_ROWS = 64  # after so many symbols the counts over the whole column stay as they are
CONTEXT_STEP = 24
CONTEXT_LIMIT = 8192  # a context's counts are halved when their sum reaches this
TOP = 1 << 24
BOTTOM = 1 << 16

_STEP_SYMBOLS = 20  # coded between two yields: <= 10 ms on RP2040


def context_shift(m):
    """The context of a symbol is the one before it, shifted right by this to stay below CONTEXTS_MAX."""
    shift = 0
    while (m - 1) >> shift >= CONTEXTS_MAX:
        shift += 1
    return shift


def encode_steps(symbols, m):
    """Generator: codes `symbols`, a sequence of numbers below m >= 2; its return value is the bytes.

    No step takes more than 10 ms on an RP2040."""
    shift = context_shift(m)
    column = array("H", [COLUMN_START] * m)
    context = array("H", bytes(2 * m * min(m, CONTEXTS_MAX)))
    sums = [0] * CONTEXTS_MAX
    total = COLUMN_START * m
    out = bytearray()
    low, width = 0, TOP
    before = 0
    for n in range(len(symbols)):
        i = symbols[n]
        row = before * m
        start = 0
        for j in range(i):
            start += column[j] + context[row + j]
        unit = width // (total + sums[before])
        low += unit * start
        width = unit * (column[i] + context[row + i])
        if low >= TOP:
            low -= TOP
            _carry(out)
        while width < BOTTOM:
            out.append(low >> 16)
            low = (low & 0xFFFF) << 8
            width <<= 8
        if n < COLUMN_ROWS:
            column[i] += COLUMN_STEP
            total += COLUMN_STEP
        context[row + i] += CONTEXT_STEP
        sums[before] += CONTEXT_STEP
        if sums[before] >= CONTEXT_LIMIT:
            sums[before] = _halve(context, row, m)
        before = i >> shift
        if n % _STEP_SYMBOLS == 0:
            yield
    _flush(out, low, width)
    return bytes(out)


def _halve(context, row, m):
    total = 0
    for j in range(row, row + m):
        context[j] >>= 1
        total += context[j]
    return total


def _carry(out):
    j = len(out) - 1
    while out[j] == 255:
        out[j] = 0
        j -= 1
    out[j] += 1


def _flush(out, low, width):
    """Append the fewest bytes, and of these the lowest, after which any bytes may follow."""
    count = 1
    number = (low + 0xFFFF) >> 16
    if (number << 16) + 0x10000 > low + width:
        count = 2
        number = (low + 0xFF) >> 8
    if number >> 8 * count:
        _carry(out)
    if count == 2:
        out.append(number >> 8 & 0xFF)
    out.append(number & 0xFF)


def decode(data, m, rows):
    """`rows` symbols below m >= 2 from the front of `data`, and what `check_end` needs.

    Raises FormatError when the bytes end too soon, leave the interval, or a symbol below m never comes.
    """
    size = len(data)
    shift = context_shift(m)
    column = [COLUMN_START] * m
    contexts = [[0] * m for _ in range(min(m, CONTEXTS_MAX))]
    sums = [0] * CONTEXTS_MAX
    total = COLUMN_START * m
    symbols = bytearray(rows)
    code, width, pos = 0, TOP, 3
    for j in range(3):
        code = code << 8 | (data[j] if j < size else 0)
    before = 0
    for n in range(rows):
        counts = contexts[before]
        unit = width // (total + sums[before])
        target = code // unit
        i = start = 0
        share = column[0] + counts[0]
        while target >= start + share:
            start += share
            i += 1
            if i == m:
                raise FormatError("column range code outside its interval")
            share = column[i] + counts[i]
        code -= unit * start
        width = unit * share
        while width < BOTTOM:
            code = code << 8 | (data[pos] if pos < size else 0)
            width <<= 8
            pos += 1
        if pos > size + 2:
            raise FormatError("column ends inside its range code")
        if n < COLUMN_ROWS:
            column[i] += COLUMN_STEP
            total += COLUMN_STEP
        counts[i] += CONTEXT_STEP
        sums[before] += CONTEXT_STEP
        if sums[before] >= CONTEXT_LIMIT:
            sums[before] = _halve(counts, 0, m)
        symbols[n] = i
        before = i >> shift
    if len(set(symbols)) < m:
        raise FormatError("column class listed and not used")
    return symbols, (pos - 3, code, width)


def check_end(data, head, end):
    """Raises FormatError unless the range code is data[:head] and ends with what _flush() would have written.

    `end` is what `decode` gave with the symbols: bytes moved out, code and width at the end."""
    base, code, width = end
    rest = head - base
    if rest != 1 and rest != 2:
        raise FormatError("column has bytes too many or too few")
    window = 0
    for j in range(base, base + 3):
        window = window << 8 | (data[j] if j < len(data) else 0)
    unit = 0x10000 if rest == 1 else 0x100
    code -= window % unit  # distance from the interval's foot to the bytes as if zeros followed
    bad = code < 0 or code >= unit or code + unit > width
    if rest == 2 and not bad:
        up = (-(window >> 8) & 0xFF) << 8  # to the next number that one byte could have said
        bad = code + up + 0x10000 <= width
    if bad:
        raise FormatError("column range code not the shortest")

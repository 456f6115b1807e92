"""Columns: one channel of a batch, a list of signed 64-bit integers, in about as few bytes as its noise allows.

Theory of operation (lib/SPEC.md, section "Columns", says the same to the bit)
------------------------------------------------------------------------------
A column is predicted, split and coded in four stages. Each is small, and undone in reverse order by the decoder.

1. *Transform* (the coder id). Each value leaves a residual from a prediction; differences are taken modulo 2^64.

       0 level    residual = value - anchor           anchor: a typical value; noise around a mean
       1 floor    residual = value - anchor >= 0      anchor: the least value; what is never negative
       2 delta    residual = value - value before     anchor: the first value, which leaves no residual
       3 delta2   residual = delta - delta before     anchor: the first value; the delta before the first is 0

2. *Step*. All residuals are divided by their greatest common divisor: a meter that counts in tens costs no digit
   for the zeros. Then they become unsigned: u = 2 r for r >= 0, else -2 r - 1 (floor: u = r).

3. *Class and mantissa*. u < 4 is its own class and has no mantissa. Else the class is the bit length of u plus one,
   the mantissa the bits below the leading one. The header lists which classes occur; a class whose members are all
   the same number says that number once, in the header, and has no mantissas.

4. *Entropy*. Classes are coded by a range coder with adaptive frequencies, in the context of the class before: the
   frequency is the sum of one count over the column's first 64 residuals (from 4, plus 1 an occurrence) and one in
   this context (from 0, plus 24). Mantissas and header are written as they are. The range coder's bytes stand at the front, the
   verbatim bits are read from the end backwards, so neither needs a length.

Why so: over real meter and sensor files this comes to 0.93-0.96 of the code length of the adaptive binary coder
in the reference material (bits in unary), with one coded symbol a value instead of ten. Golomb-Rice and zero-run varints
were tried and never won: a constant column costs its anchor and 3 bytes here, a sparse one about its entropy.
All arithmetic of the coder fits in 31-bit small integers: range < 2^24, frequencies < 2^14.

One string of bytes for one column: given transform and anchor, only one string decodes. The decoder refuses a step or
flag that does not follow the rules, classes that do not occur, padding that is not zero, an end of the range code
that is not the shortest and lowest, and values outside -(2^63-1) .. 2^63-1. Work is linear in `count` (<= MAX_ROWS)
whatever the bytes say.
"""
from array import array

from parkgate.errors import FormatError

MAX_ROWS = 4096
LEVEL, FLOOR, DELTA, DELTA2 = 0, 1, 2, 3
VALUE_MAX = (1 << 63) - 1

CLASS_COUNT = 66  # u < 4: four classes; bit lengths 3..64: classes 4..65
CONTEXTS_MAX = 8
COLUMN_START = 4  # first count of a class over the whole column
COLUMN_STEP = 1
COLUMN_ROWS = 64  # after so many residuals the counts over the whole column stay as they are
CONTEXT_STEP = 24
CONTEXT_LIMIT = 8192  # a context's counts are halved when their sum reaches this

_TOP = 1 << 24  # the coder's interval is a part of [0, 2^24)
_BOTTOM = 1 << 16  # kept at least this wide by moving out whole bytes
_WORD = 1 << 64
_HALF = 1 << 63
_NARROW = 1 << 29  # differences of values this small are small integers on a 32-bit board

_STEP_VALUES = 40  # values worked on between two yields: <= 10 ms on RP2040


def _length_table():
    table = bytearray(256)
    for i in range(1, 256):
        table[i] = table[i >> 1] + 1
    return bytes(table)


_LENGTH = _length_table()  # bit length of a byte


def _bit_length(u):
    length = 0
    while u > 255:
        u >>= 8
        length += 8
    return length + _LENGTH[u]


def _log2_sixteenths(n):
    """16 log2(n) for n >= 1, straight lines between the powers of two."""
    k = _bit_length(n) - 1
    return (k << 4) + ((n << 4) >> k) - 16


def _zigzag(r):
    return r + r if r >= 0 else -r - r - 1


def _wrap(r):
    """The signed 64-bit number equal to r modulo 2^64."""
    return (r + _HALF) % _WORD - _HALF


class _TailWriter:
    """Verbatim bits, least significant first; the finished bytes are read from the last to the first."""

    def __init__(self):
        self.data = bytearray()
        self.acc = 0
        self.free = 0  # bits held in acc, always < 8 between calls

    def put(self, value, bits):
        while bits > 16:
            self.put(value & 0xFFFF, 16)
            value >>= 16
            bits -= 16
        acc = self.acc | value << self.free
        held = self.free + bits
        while held > 7:
            self.data.append(acc & 0xFF)
            acc >>= 8
            held -= 8
        self.acc = acc
        self.free = held

    def finish(self):
        if self.free:
            self.data.append(self.acc)
        return bytes(reversed(self.data))


class _TailReader:
    def __init__(self, data):
        self.data = data
        self.end = len(data)  # bytes from here on are used
        self.acc = 0
        self.held = 0

    def take(self, bits):
        while self.held < bits:
            if not self.end:
                raise FormatError("column ends inside its verbatim bits")
            self.end -= 1
            self.acc |= self.data[self.end] << self.held
            self.held += 8
        value = self.acc & ((1 << bits) - 1)
        self.acc >>= bits
        self.held -= bits
        return value


class _Plan:
    """One transform of a column, ready to be coded, and what it would cost."""

    def __init__(self, transform, anchor):
        self.transform = transform
        self.anchor = anchor
        self.step = 1
        self.residuals = []
        self.classes = b""
        self.counts = [0] * CLASS_COUNT
        self.first = [0] * CLASS_COUNT
        self.mixed = bytearray(CLASS_COUNT)  # 1: the members of this class are not all the same
        self.cost = 0  # sixteenths of a bit, estimated


def _subtract(plan, values, wide):
    """Stage 1, generator: fills plan.residuals."""
    out = plan.residuals
    transform, anchor = plan.transform, plan.anchor
    for start in range(0, len(values), 4 * _STEP_VALUES):
        part = values[start : start + 4 * _STEP_VALUES]
        if transform <= FLOOR:
            part = [v - anchor for v in part]
        else:
            before = values[start - 1] if start else anchor
            slope = 0
            if transform == DELTA2 and start > 1:
                slope = before - values[start - 2]
            for i in range(len(part)):
                v = part[i]
                d = v - before
                before = v
                if transform == DELTA2:
                    part[i] = d - slope
                    slope = d
                else:
                    part[i] = d
            if not start:
                part = part[1:]
        if wide and transform != FLOOR:
            part = [_wrap(r) for r in part]
        out.extend(part)
        yield


def _divide(plan):
    """Stage 2, generator: the step, and residuals made unsigned in place."""
    rs = plan.residuals
    step = 0
    for i in range(len(rs)):
        r = rs[i]
        if step:
            r %= step
        elif r < 0:
            r = -r
        while r:
            step, r = r, step % r
        if step == 1:
            break
        if i % (4 * _STEP_VALUES) == 0:
            yield
    plan.step = step = step or 1
    signed = plan.transform != FLOOR
    for i in range(len(rs)):
        r = rs[i]
        if step > 1:
            r //= step
        if signed:
            r = r + r if r >= 0 else -r - r - 1
        rs[i] = r
        if i % (4 * _STEP_VALUES) == 0:
            yield


def _classify(plan):
    """Stage 3, generator: classes, which are mixed, and the cost of the plan."""
    us = plan.residuals
    counts, first, mixed = plan.counts, plan.first, plan.mixed
    plan.classes = classes = bytearray(len(us))
    length_of = _LENGTH
    for i in range(len(us)):
        u = us[i]
        if u < 4:
            k = u
        elif u < 256:
            k = length_of[u] + 1
        else:
            k = 9
            x = u >> 8
            while x > 255:
                x >>= 8
                k += 8
            k += length_of[x]
        classes[i] = k
        if not counts[k]:
            first[k] = u
        elif first[k] != u:
            mixed[k] = 1
        counts[k] += 1
        if i % _STEP_VALUES == 0:
            yield
    bits = 7 + _bit_length(_zigzag(plan.anchor))
    used = [k for k in range(CLASS_COUNT) if counts[k]]
    if used:
        bits += 14 + used[-1] - used[0]
        if plan.step > 1:
            bits += 6 + _bit_length(plan.step)
        n = len(us)
        cost = n * _log2_sixteenths(n)
        if len(used) > 1:
            bits += 3 * len(used)  # what the adaptive counts pay to learn
        for k in used:
            c = counts[k]
            cost -= c * _log2_sixteenths(c)
            if k > 3:
                bits += 1 + (k - 2) * (c if mixed[k] else 1)
        plan.cost = cost
    plan.cost += bits << 4
    yield


def _write_header(plan, tail):
    anchor = _zigzag(plan.anchor)
    length = _bit_length(anchor)
    tail.put(length, 7)
    if length > 1:
        tail.put(anchor - (1 << length - 1), length - 1)
    if not plan.residuals:
        return []
    if plan.step == 1:
        tail.put(0, 1)
    else:
        length = _bit_length(plan.step)
        tail.put(1, 1)
        tail.put(length - 1, 6)
        tail.put(plan.step - (1 << length - 1), length - 1)
    used = [k for k in range(CLASS_COUNT) if plan.counts[k]]
    tail.put(used[0], 7)
    tail.put(used[-1] - used[0], 7)
    for k in range(used[0] + 1, used[-1]):
        tail.put(1 if plan.counts[k] else 0, 1)
    for k in used:
        if k > 3:
            tail.put(1 - plan.mixed[k], 1)
            if not plan.mixed[k]:
                tail.put(plan.first[k] - (1 << k - 2), k - 2)
    return used


def _code(plan):
    """Stage 4, generator: its return value is the column's bytes."""
    tail = _TailWriter()
    used = _write_header(plan, tail)
    m = len(used)
    index = bytearray(CLASS_COUNT)
    for i in range(m):
        index[used[i]] = i
    shift = 0
    while m - 1 >> shift >= CONTEXTS_MAX:
        shift += 1
    column = array("H", [COLUMN_START] * m)
    context = array("H", bytes(2 * m * CONTEXTS_MAX if m > CONTEXTS_MAX else 2 * m * m))
    sums = [0] * CONTEXTS_MAX
    total = COLUMN_START * m
    out = bytearray()
    low, width = 0, _TOP
    before = 0
    classes, us, mixed = plan.classes, plan.residuals, plan.mixed
    for n in range(len(classes)):
        k = classes[n]
        if mixed[k]:
            tail.put(us[n] - (1 << k - 2), k - 2)
        if m > 1:
            i = index[k]
            row = before * m
            start = 0
            for j in range(i):
                start += column[j] + context[row + j]
            unit = width // (total + sums[before])
            low += unit * start
            width = unit * (column[i] + context[row + i])
            if low >= _TOP:
                low -= _TOP
                j = len(out) - 1
                while out[j] == 255:
                    out[j] = 0
                    j -= 1
                out[j] += 1
            while width < _BOTTOM:
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
        if n % _STEP_VALUES == 0:
            yield
    if m > 1:
        _flush(out, low, width)
    return bytes(out) + tail.finish()


def _halve(context, row, m):
    total = 0
    for j in range(row, row + m):
        context[j] >>= 1
        total += context[j]
    return total


def _flush(out, low, width):
    """Append the fewest bytes, and of these the lowest, after which any bytes may follow."""
    byte = low + 0xFFFF >> 16
    last = -1
    if (byte << 16) + 0x10000 > low + width:
        last = low + 0xFF >> 8
        byte, last = last >> 8, last & 0xFF
    if byte > 255:
        byte -= 256
        j = len(out) - 1
        while out[j] == 255:
            out[j] = 0
            j -= 1
        out[j] += 1
    out.append(byte)
    if last >= 0:
        out.append(last)


def encode_steps(values):
    """Generator: encodes in steps of at most 10 ms on an RP2040; its return value is (coder_id, bytes).

    `values`: a list of 0..MAX_ROWS integers with |v| < 2^63 that the caller leaves alone meanwhile.
    Raises FormatError for more rows or larger values.
    """
    n = len(values)
    if n > MAX_ROWS:
        raise FormatError("a column has at most %d rows" % MAX_ROWS)
    if not n:
        return LEVEL, b""
    least, most = min(values), max(values)
    if least < -VALUE_MAX or most > VALUE_MAX:
        raise FormatError("a value needs more than 64 bits")
    yield
    # Second differences of values within 2^61 stay within 63 bits: most columns need no wrapping.
    wide = (most > _NARROW or least < -_NARROW) and most - least >= 1 << 61
    sample = sorted(values[:: (n + 62) // 63])
    yield
    best = None
    for transform in (DELTA, LEVEL, FLOOR, DELTA2):
        if transform == LEVEL:
            plan = _Plan(transform, sample[len(sample) // 2])
        elif transform == FLOOR:
            plan = _Plan(transform, least)
        else:
            plan = _Plan(transform, values[0])
        yield from _subtract(plan, values, wide)
        yield from _divide(plan)
        yield from _classify(plan)
        if best is None or plan.cost < best.cost:
            best = plan
        if least == most:
            break
    data = yield from _code(best)
    return best.transform, data


def encode(values):
    """(coder_id, bytes) of a column: `values` is a list of 0..MAX_ROWS integers with |v| < 2^63, else FormatError."""
    steps = encode_steps(values)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _read_header(tail, transform, rows):
    """(anchor, step, used classes, the class's only number or None for each)"""
    length = tail.take(7)
    if length > 64:
        raise FormatError("column anchor too long")
    anchor = 1 << length - 1 | tail.take(length - 1) if length > 1 else length
    anchor = -(anchor >> 1) - 1 if anchor & 1 else anchor >> 1
    if not rows:
        return anchor, 1, [], []
    step = 1
    if tail.take(1):
        length = tail.take(6)
        if not length:
            raise FormatError("column step of one written out")
        step = 1 << length | tail.take(length)
    first = tail.take(7)
    last = first + tail.take(7)
    if last >= CLASS_COUNT:
        raise FormatError("column class unknown")
    if transform == FLOOR and first:
        raise FormatError("column floor below all values")
    used = [first]
    for k in range(first + 1, last):
        if tail.take(1):
            used.append(k)
    if last > first:
        used.append(last)
    only = []
    for k in used:
        if k < 4:
            only.append(k)
        else:
            only.append(1 << k - 2 | tail.take(k - 2) if tail.take(1) else None)
    return anchor, step, used, only


def _decode_classes(data, m, rows):
    """Indices of the classes of all rows, and what is needed to check the end: (indices, byte position, code, width)."""
    size = len(data)
    shift = 0
    while m - 1 >> shift >= CONTEXTS_MAX:
        shift += 1
    column = [COLUMN_START] * m
    contexts = [[0] * m for _ in range(min(m, CONTEXTS_MAX))]
    sums = [0] * CONTEXTS_MAX
    total = COLUMN_START * m
    indices = bytearray(rows)
    code, width, pos = 0, _TOP, 3
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
        while width < _BOTTOM:
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
        indices[n] = i
        before = i >> shift
    if len(set(indices)) < m:
        raise FormatError("column class declared and not used")
    return indices, pos - 3, code, width


def _check_end(data, head, base, code, width):
    """The range code must fill data[base:head] with the one or two bytes that _flush() would have written."""
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
        up = -(window >> 8) % 256 << 8  # to the next number that one byte could have said
        bad = code + up + 0x10000 <= width
    if bad:
        raise FormatError("column range code not the shortest")


def decode(coder_id, data, count):
    """The list of `count` integers that `data` says under `coder_id`.

    Raises FormatError if the coder is unknown, count is not in 0..MAX_ROWS, or data is not exactly one canonical
    column of that many rows.
    """
    if coder_id not in (LEVEL, FLOOR, DELTA, DELTA2):
        raise FormatError("column coder unknown")
    if not 0 <= count <= MAX_ROWS:
        raise FormatError("column of more than %d rows" % MAX_ROWS)
    if not count:
        if coder_id or data:
            raise FormatError("empty column with content")
        return []
    rows = count - 1 if coder_id >= DELTA else count
    tail = _TailReader(data)
    anchor, step, used, only = _read_header(tail, coder_id, rows)
    if len(used) > 1:
        indices, base, code, width = _decode_classes(data, len(used), rows)
        us = _read_mantissas(tail, used, only, indices)
    else:
        us = [only[0]] * rows if rows else []
        if us and us[0] is None:
            us = _read_mantissas(tail, used, only, bytes(rows))
    if tail.acc:
        raise FormatError("column padding not zero")
    if len(used) > 1:
        _check_end(data, tail.end, base, code, width)
    elif tail.end:
        raise FormatError("column has bytes too many")
    return _add_up(coder_id, anchor, step, us)


def _read_mantissas(tail, used, only, indices):
    us = []
    seen = [None] * len(used)
    mixed = [number is not None for number in only]
    for i in indices:
        u = only[i]
        if u is None:
            bits = used[i] - 2
            u = 1 << bits | tail.take(bits)
            if seen[i] is None:
                seen[i] = u
            elif seen[i] != u:
                mixed[i] = True
        us.append(u)
    if not all(mixed):
        raise FormatError("column class of one number not marked")
    return us


def _add_up(transform, anchor, step, us):
    """Stages 2 and 1 undone, with what they promise checked."""
    if not -VALUE_MAX <= anchor <= VALUE_MAX:
        raise FormatError("column anchor needs more than 64 bits")
    rs = us if transform == FLOOR else [-(u >> 1) - 1 if u & 1 else u >> 1 for u in us]
    divisor = 0
    for r in rs:
        if r < 0:
            r = -r
        while r:
            divisor, r = r, divisor % r
        if divisor == 1:
            break
    if divisor > 1 or (step > 1 and not divisor):
        raise FormatError("column step not the greatest")
    if step > 1:
        rs = [r * step for r in rs]
        least, most = min(rs), max(rs)
        if most >= (_WORD if transform == FLOOR else _HALF) or least < -_HALF:
            raise FormatError("column residual needs more than 64 bits")
    if transform <= FLOOR:
        values = [anchor + r for r in rs]
    else:
        values = [anchor]
        value, slope = anchor, 0
        for r in rs:
            if transform == DELTA2:
                slope += r
                value += slope
            else:
                value += r
            values.append(value)
    least, most = min(values), max(values)
    if least < -VALUE_MAX or most > VALUE_MAX:
        if transform == FLOOR:
            raise FormatError("column value needs more than 64 bits")
        values = [_wrap(v) for v in values]
        if min(values) < -VALUE_MAX:
            raise FormatError("column value needs more than 64 bits")
    return values

"""Columns: one channel of a batch, a list of signed 64-bit integers, in about as few bytes as its noise allows.

Theory of operation (lib/SPEC.md, section "Columns", says the same to the bit)
------------------------------------------------------------------------------
A column is predicted, split and coded in four stages. Each is small, and undone in reverse order by the decoder.

1. *Transform* (the coder id). Each value leaves a residual from a prediction; differences are taken modulo 2^64.

       0 level    residual = value - anchor           anchor: a typical value; noise around a mean
       1 floor    residual = value - anchor >= 0      anchor: the least value; what is never negative
       2 delta    residual = value - value before     anchor: the first value, which leaves no residual
       3 delta2   residual = delta - delta before     anchor: the first value; the delta before the first is 0
       4 delta3   residual = delta2 - delta2 before   likewise; smooth waves

2. *Step*. All residuals are divided by their greatest common divisor: a meter that counts in tens costs no digit
   for the zeros. Then they become unsigned: u = 2 r for r >= 0, else -2 r - 1 (floor: u = r).

3. *Class and mantissa*. u < 4 is its own class and has no mantissa. Else the class is the bit length of u (coarse
   columns) or the bit length and the bit below the leading one (fine columns), and the mantissa is the bits below.
   The header lists which classes occur; a class whose members are all the same number says that number once, in the
   header, and has no mantissas.

4. *Entropy*. Classes are coded by `range_coder`. Mantissas and header are written as they are. The range coder's bytes
   stand at the front, the verbatim bits are read from the end backwards, so neither needs a length.

Why so: over real meter and sensor files this comes to 0.85-0.96 of the code length of an adaptive binary coder (bit
lengths in unary, contexts as here) with one coded symbol a value instead of ten. The best of
raw, delta and delta of delta under zero-run varints or Golomb-Rice takes 11 % more bytes on the same files and is
smaller for 3 of 168 columns (`make bench`), so these have no coder id here.
An RP2040 takes about 0.6 ms a value.

One string of bytes for one column: given coder id, fineness and the anchor of "level", only one string decodes to given
values. The decoder refuses a step or mark that does not follow the rules, classes that do not occur, padding that
is not zero, an end of the range code that is not the shortest and lowest, and values outside -(2^63-1) .. 2^63-1.
Work is linear in `count` (<= MAX_ROWS) whatever the bytes say.
"""

from array import array

from parkgate.errors import FormatError

from . import range_coder
from .steps import finish
from .tail_bits import TailReader, TailWriter

MAX_ROWS = 4096
LEVEL, FLOOR, DELTA, DELTA2, DELTA3 = 0, 1, 2, 3, 4
VALUE_MAX = (1 << 63) - 1

CLASS_LIMIT = 128  # fine classes: u < 4, then two for each of the bit lengths 3..64
COARSE_LIMIT = 66  # coarse classes: u < 4, then one for each
_WORD = 1 << 64
_HALF = 1 << 63

_STEP_VALUES = 16  # values worked on between two yields: <= 10 ms on RP2040


def _class_table():
    table = bytearray((0, 1, 2, 3, 4, 4, 5, 5)) + bytearray(248)
    for u in range(8, 256):
        table[u] = table[u >> 1] + 2
    return bytes(table)


_CLASS = _class_table()  # fine class of a byte


def _fine_class(u):
    k = 0
    while u > 255:
        u >>= 6
        k += 12
    return k + _CLASS[u]


def bit_length(u: int) -> int:
    """Bit length of 0 <= u < 2^64 (MicroPython's integers cannot tell it)."""
    k = _fine_class(u)
    return (k + 2) >> 1 if k > 3 else min(k, 2)


def class_shape(k: int, fine: int) -> tuple:
    """(bits of the mantissa, least number) of class k."""
    if k < 4:
        return 0, k
    if fine:
        return (k >> 1) - 1, (2 | k & 1) << (k >> 1) - 1
    return k - 2, 1 << k - 2


def _log2_sixteenths(n):
    """16 log2(n) for n >= 1, straight lines between the powers of two."""
    k = bit_length(n) - 1
    return (k << 4) + ((n << 4) >> k) - 16


def _zigzag(r):
    return r + r if r >= 0 else -r - r - 1


def _wrap(r):
    """The signed 64-bit number equal to r modulo 2^64."""
    return (r + _HALF) % _WORD - _HALF


class _Plan:
    """One transform of a column: its residuals, in the end as classes and mantissas, and what it would cost.

    The lists hold an entry a row, unused before `start`. They are made once and handed from plan to plan: between
    big integers a small heap may have no room for new ones.
    """

    def __init__(self, rows):
        self.residuals = [0] * rows
        self.classes = bytearray(rows)  # fine
        self.counts = array("H", bytes(2 * CLASS_LIMIT))
        self.first = [0] * CLASS_LIMIT  # the number of each class met first
        self.mixed = bytearray(CLASS_LIMIT)  # 1: not all its members are that number

    def begin(self, transform, anchor):
        self.transform, self.anchor = transform, anchor
        self.start = 1 if transform >= DELTA else 0
        self.step, self.fine = 1, 0
        self.cost = 0  # sixteenths of a bit, estimated
        for k in range(CLASS_LIMIT):
            self.counts[k] = 0
            self.mixed[k] = 0


def _subtract(plan, values, wide):
    """Stage 1, generator: plan.residuals. `wide`: differences may leave 64 bits and are brought back."""
    n = len(values)
    out = plan.residuals
    transform, first = plan.transform, plan.start
    before, slope, bend = plan.anchor, 0, 0
    for start in range(first, n, 3 * _STEP_VALUES):
        for i in range(start, min(n, start + 3 * _STEP_VALUES)):
            v = values[i]
            r = v - before
            if first:
                before = v
                if transform > DELTA:
                    d = r
                    r -= slope
                    slope = d
                    if transform == DELTA3:
                        d = r
                        r -= bend
                        bend = d
            if wide and transform != FLOOR:
                r = _wrap(r)
            out[i] = r
        yield


def _divide(plan):
    """Stage 2, generator: plan.step, and the residuals made unsigned in place."""
    rs = plan.residuals
    n = len(rs)
    step = 0
    for start in range(plan.start, n, 3 * _STEP_VALUES):
        for i in range(start, min(n, start + 3 * _STEP_VALUES)):
            r = rs[i]
            if step:
                r %= step
            elif r < 0:
                r = -r
            while r:
                step, r = r, step % r
            if step == 1:
                break
        if step == 1:
            break
        yield
    plan.step = step = step or 1
    signed = plan.transform != FLOOR
    for start in range(plan.start, n, 3 * _STEP_VALUES):
        for i in range(start, min(n, start + 3 * _STEP_VALUES)):
            r = rs[i]
            if step > 1:
                r //= step
            if signed:
                rs[i] = r + r if r >= 0 else -r - r - 1
            else:
                rs[i] = r
        yield


def _classify(plan):
    """Stage 3, generator: plan.classes, which occur, plan.fine and plan.cost."""
    us, classes = plan.residuals, plan.classes
    counts, first, mixed = plan.counts, plan.first, plan.mixed
    class_of = _CLASS
    n = len(us)
    for start in range(plan.start, n, _STEP_VALUES):
        for i in range(start, min(n, start + _STEP_VALUES)):
            u = us[i]
            if u < 256:
                k = class_of[u]
            else:
                x = u
                k = 0
                while x > 0x3FFFFFFF:
                    x >>= 24
                    k += 48
                while x > 255:
                    x >>= 6
                    k += 12
                k += class_of[x]
            classes[i] = k
            if not counts[k]:
                first[k] = u
            elif first[k] != u:
                mixed[k] = 1
            counts[k] += 1
        yield
    bits = 7 + bit_length(_zigzag(plan.anchor))
    if plan.step > 1:
        bits += 6 + bit_length(plan.step)
    if n > plan.start:
        fine = _cost(plan, 1)
        yield
        coarse = _cost(plan, 0)
        plan.fine = 1 if fine < coarse else 0
        plan.cost = min(fine, coarse)
    plan.cost += bits << 4
    yield


def _members(plan, k, fine):
    """(how many, mixed, first) of class k. A coarse class is one fine class or the two of one bit length."""
    if fine or k < 4:
        return plan.counts[k], plan.mixed[k], plan.first[k]
    low, high = 2 * k - 4, 2 * k - 3
    if plan.counts[low] and plan.counts[high]:
        return plan.counts[low] + plan.counts[high], 1, 0
    if plan.counts[high]:
        low = high
    return plan.counts[low], plan.mixed[low], plan.first[low]


def _cost(plan, fine):
    """About how many sixteenths of a bit the residuals take: entropy, mantissas, header, what learning costs."""
    rows = len(plan.residuals) - plan.start
    cost = rows * _log2_sixteenths(rows)
    bits = used = last = 0
    least = -1
    for k in range(CLASS_LIMIT if fine else COARSE_LIMIT):
        if plan.counts[k] if fine or k < 4 else plan.counts[2 * k - 4] or plan.counts[2 * k - 3]:
            count, mixed, _ = _members(plan, k, fine)
            cost -= count * _log2_sixteenths(count)
            if k > 3:
                bits += 1 + class_shape(k, fine)[0] * (count if mixed else 1)
            if least < 0:
                least = k
            last = k
            used += 1
    bits += 15 + last - least
    if used > 1:
        bits += 3 * used
    return cost + (bits << 4)


def _write_header(plan, tail, used):
    anchor = _zigzag(plan.anchor)
    length = bit_length(anchor)
    tail.put(length, 7)
    if length > 1:
        tail.put_number(anchor, length - 1)
    if not used:
        return
    if plan.step == 1:
        tail.put(0, 1)
    else:
        length = bit_length(plan.step) - 1
        tail.put(1, 1)
        tail.put(length, 6)
        tail.put_number(plan.step, length)
    tail.put(plan.fine, 1)
    tail.put(used[0], 7)
    tail.put(used[-1] - used[0], 7)
    for k in range(used[0] + 1, used[-1]):
        tail.put(1 if k in used else 0, 1)
    for k in used:
        if k > 3:
            _, mixed, first = _members(plan, k, plan.fine)
            tail.put(1 - mixed, 1)
            if not mixed:
                bits, least = class_shape(k, plan.fine)
                tail.put(first - least, bits)


def _code(plan):
    """Stage 4, generator: its return value is the column's bytes."""
    limit = CLASS_LIMIT if plan.fine else COARSE_LIMIT
    used = [k for k in range(limit) if _members(plan, k, plan.fine)[0]] if plan.start < len(plan.classes) else []
    yield
    tail = TailWriter()
    _write_header(plan, tail, used)
    yield
    # From the fine class of a residual to its symbol, its mantissa's bits and the least number of its class.
    symbol_of = bytearray(CLASS_LIMIT)
    bits_of = bytearray(CLASS_LIMIT)
    least_of = plan.first
    for i, k in enumerate(used):
        bits, least = class_shape(k, plan.fine)
        if not _members(plan, k, plan.fine)[1]:
            bits = 0
        for fine in (k,) if k < 4 or plan.fine else (2 * k - 4, 2 * k - 3):
            symbol_of[fine] = i
            bits_of[fine] = bits
            least_of[fine] = least
    yield
    classes, us = plan.classes, plan.residuals
    n = len(classes)
    for start in range(plan.start, n, 2 * _STEP_VALUES):
        for i in range(start, min(n, start + 2 * _STEP_VALUES)):
            k = classes[i]
            if bits_of[k]:
                tail.put(us[i] - least_of[k], bits_of[k])
            classes[i] = symbol_of[k]
        yield
    data = b""
    if len(used) > 1:
        data = yield from range_coder.encode_steps(classes[plan.start :], len(used))
    return data + tail.finish()


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
    # Third differences of values within 2^60 of each other stay within 63 bits: most columns need no wrapping.
    wide = most - least >= 1 << 60
    sample = sorted(values[:: (n + 62) // 63])
    anchors = {LEVEL: sample[len(sample) // 2], FLOOR: least}
    yield
    best, plan, lower = None, _Plan(n), None
    for transform in (FLOOR, LEVEL, DELTA, DELTA2, DELTA3) if least < most else (DELTA,):
        plan.begin(transform, anchors.get(transform, values[0]))
        yield from _subtract(plan, values, wide)
        yield from _divide(plan)
        yield from _classify(plan)
        if transform >= DELTA and lower is not None and plan.cost >= lower:
            break  # where one more difference does not help, the next will not either
        lower = plan.cost
        if best is None or plan.cost < best.cost:
            best, plan = plan, best or _Plan(n)
    assert best is not None
    data = yield from _code(best)
    return best.transform, data


def encode(values: list) -> tuple:
    """(coder_id, bytes) of a column: `values` is a list of 0..MAX_ROWS integers with |v| < 2^63, else FormatError."""
    return finish(encode_steps(values))


def _read_header(tail, transform, rows):
    """(anchor, step, [[bits of the mantissa, least number], ...] of the classes that occur; bits None: one number)"""
    length = tail.take(7)
    if length > 64:
        raise FormatError("column anchor too long")
    anchor = 1 << length - 1 | tail.take(length - 1) if length > 1 else length
    anchor = -(anchor >> 1) - 1 if anchor & 1 else anchor >> 1
    if not rows:
        return anchor, 1, []
    step = 1
    if tail.take(1):
        length = tail.take(6)
        if not length:
            raise FormatError("column step of one written out")
        step = 1 << length | tail.take(length)
    fine = tail.take(1)
    first = tail.take(7)
    last = first + tail.take(7)
    if last >= (CLASS_LIMIT if fine else COARSE_LIMIT):
        raise FormatError("column class unknown")
    if transform == FLOOR and first:
        raise FormatError("column floor below all values")
    used = [first]
    for k in range(first + 1, last):
        if tail.take(1):
            used.append(k)
    if last > first:
        used.append(last)
    shapes = []
    for k in used:
        bits, least = class_shape(k, fine)
        if not bits or tail.take(1):
            least |= tail.take(bits)
            bits = None
        shapes.append((bits, least))
    return anchor, step, shapes


def _read_mantissas(tail, shapes, symbols):
    us = []
    seen = [None] * len(shapes)
    mixed = [bits is None for bits, _ in shapes]
    for i in symbols:
        bits, u = shapes[i]
        if bits is not None:
            u |= tail.take(bits)
            if seen[i] is None:
                seen[i] = u
            elif seen[i] != u:
                mixed[i] = True
        us.append(u)
    if not all(mixed):
        raise FormatError("column class of one number not marked")
    return us


def _multiply(transform, step, us):
    """Stage 2 undone: residuals, after checking that `step` was the greatest common divisor."""
    rs = us if transform == FLOOR else [-(u >> 1) - 1 if u & 1 else u >> 1 for u in us]
    divisor = 0
    for r in rs:
        r = abs(r)
        while r:
            divisor, r = r, divisor % r
        if divisor == 1:
            break
    if divisor > 1 or (step > 1 and not divisor):
        raise FormatError("column step not the greatest")
    if step > 1:
        rs = [r * step for r in rs]
        if max(rs) >= (_WORD if transform == FLOOR else _HALF) or min(rs) < -_HALF:
            raise FormatError("column residual needs more than 64 bits")
    return rs


def _add_up(transform, anchor, rs):
    """Stage 1 undone."""
    if transform <= FLOOR:
        values = [anchor + r for r in rs]
    else:
        values = [anchor]
        value, slope, bend = anchor, 0, 0
        for r in rs:
            if transform == DELTA:
                value += r
            else:
                bend = bend + r if transform == DELTA3 else r
                slope += bend
                value += slope
            values.append(value)
    if min(values) < -VALUE_MAX or max(values) > VALUE_MAX:
        if transform != FLOOR:
            values = [_wrap(v) for v in values]
        if min(values) < -VALUE_MAX or max(values) > VALUE_MAX:
            raise FormatError("column value needs more than 64 bits")
    return values


def decode(coder_id: int, data: bytes, count: int) -> list:
    """The list of `count` integers that `data` says under `coder_id`.

    Raises FormatError if the coder is unknown, count is not in 0..MAX_ROWS, or data is not exactly one canonical
    column of that many rows.
    """
    if coder_id not in (LEVEL, FLOOR, DELTA, DELTA2, DELTA3):
        raise FormatError("column coder unknown")
    if not 0 <= count <= MAX_ROWS:
        raise FormatError("column of more than %d rows" % MAX_ROWS)
    if not count:
        if coder_id or data:
            raise FormatError("empty column with content")
        return []
    rows = count - 1 if coder_id >= DELTA else count
    tail = TailReader(data)
    anchor, step, shapes = _read_header(tail, coder_id, rows)
    if not -VALUE_MAX <= anchor <= VALUE_MAX:
        raise FormatError("column anchor needs more than 64 bits")
    if len(shapes) > 1:
        symbols, end = range_coder.decode(data, len(shapes), rows)
        us = _read_mantissas(tail, shapes, symbols)
        range_coder.check_end(data, tail.end, end)
    else:
        us = _read_mantissas(tail, shapes, bytes(rows))
        if tail.end:
            raise FormatError("column has bytes too many")
    if tail.acc:
        raise FormatError("column padding not zero")
    return _add_up(coder_id, anchor, _multiply(coder_id, step, us) if us else us)

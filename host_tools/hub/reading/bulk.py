"""Columns of many batches decoded together: each column is a lane of numpy arrays, all lanes take a row at a time.

The same format as `parkgate.wire.columns` (its docstring is the theory; SPEC "Columns" the bits), the same refusals.
What is rare or looks wrong in a lane is not judged here: that column goes to `parkgate.wire.columns.decode`, which
gives the values or names the fault. So this file decides speed only, never what is accepted.

Lanes stand sorted by their number of rows, longest first: those still running are a prefix, and a prefix of an array
is a view. Counts are kept as running sums over the classes (entry j: all classes below j), so the symbol is the
number of entries that do not exceed the target; entries past the last class repeat the total.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parkgate.errors import FormatError
from parkgate.wire import columns, range_coder

Column = tuple[int, bytes, int]
"""Coder id, data, count: the arguments of `parkgate.wire.columns.decode`."""

Array = NDArray[Any]

_LANES = 4096  # at a time: the cost of a call is spread, and the counts (1 MB) stay in the cache
_LANES_BLOCK = 128  # at a time where whole matrices of numbers are worked on, for the same reason
_LANES_FEW = 48  # below this the plain decoder is faster
_WIDTHS = (16, 32)  # entries of a row of running sums: one more than the most classes
_HALVING_ROWS = range_coder.CONTEXT_LIMIT // range_coder.CONTEXT_STEP  # a column shorter than this halves no counts
_BITS_MAX = 40  # longest mantissa, step and (but for 23 bits) anchor taken here


class _Lanes(NamedTuple):
    """Headers of the lanes of one run; `at` is the bit where the mantissas begin."""

    rows: Array
    first: Array
    size: Array
    tail: Array
    coder: Array
    anchor: Array
    step: Array
    classes: Array
    number: Array  # of each class: the least, or the only one
    bits: Array  # of its mantissas, 0 where there are none
    mixed: Array  # has mantissas
    at: Array
    bad: Array


def decode_columns(items: Sequence[Column]) -> list[Array | FormatError]:
    """The values of every column as int64, or the FormatError that its decoding raises."""
    found: list[Array | FormatError | None] = [None] * len(items)
    fit = [
        i
        for i, (coder, data, count) in enumerate(items)
        if 1 < count <= _HALVING_ROWS and columns.LEVEL <= coder <= columns.DELTA3 and len(data) < 1 << 20
    ]
    fit.sort(key=lambda i: -items[i][2])
    runs = -(-len(fit) // _LANES) or 1
    for run in range(runs):
        part = fit[len(fit) * run // runs : len(fit) * (run + 1) // runs]
        if len(part) >= _LANES_FEW:
            for i, values in zip(part, _decode_lanes([items[i] for i in part])):
                found[i] = values
    return [_decode_one(*items[i]) if values is None else values for i, values in enumerate(found)]


def _decode_one(coder: int, data: bytes, count: int) -> Array | FormatError:
    try:
        return np.array(columns.decode(coder, data, count), dtype=np.int64)
    except FormatError as error:
        return error


class _Bits:
    """Verbatim bits of all columns, each read from its end backwards."""

    def __init__(self, front: Array):
        backwards = np.zeros(len(front) + 16, np.uint8)
        backwards[: len(front)] = front[::-1]
        # The 64 bits that begin at each byte.
        self.words = np.ndarray((len(front) + 8,), "<u8", backwards, strides=(1,)).astype(np.uint64)

    def take(self, tail: Array, at: Array, bits: Array | int) -> Array:
        """The `bits` (at most 57) at bit `at` of the columns whose ends are at `tail`."""
        word = self.words.take(tail + (at >> 3), mode="clip")
        word >>= (at & 7).astype(np.uint64)
        if isinstance(bits, int):
            return (word & np.uint64((1 << bits) - 1)).astype(np.int64)
        return (word & ((np.uint64(1) << bits.astype(np.uint64)) - np.uint64(1))).astype(np.int64)


def _decode_lanes(items: list[Column]) -> list[Array | None]:
    """Values of each column in `items`, sorted by falling count; None where the plain decoder must look."""
    front = np.frombuffer(b"".join(data for _, data, _ in items), np.uint8)
    bits = _Bits(front)
    lanes = _headers(items, len(front), bits)
    found: list[Array | None] = [None] * len(items)
    count = lanes.classes.shape[1] - (lanes.classes < 0).sum(axis=1)
    least = 0
    for most in (1, *(width - 1 for width in _WIDTHS)):
        chosen = np.flatnonzero((count > least) & (count <= most) & ~lanes.bad)
        chosen = chosen[np.argsort(-lanes.rows[chosen], kind="stable")]
        least = most
        if len(chosen) >= (1 if most == 1 else _LANES_FEW):
            part = _Lanes(*(field[chosen] for field in lanes))
            values, bad = _decode_group(part, count[chosen], front, bits)
            for lane, i in enumerate(chosen):
                if not bad[lane]:
                    found[i] = values[lane][: items[i][2]]
    return found


def _headers(items: list[Column], total: int, bits: _Bits) -> _Lanes:
    coder = np.array([item[0] for item in items], np.int64)
    rows = np.array([item[2] for item in items], np.int64) - (coder >= columns.DELTA)
    size = np.array([len(item[1]) for item in items], np.int64)
    end = np.cumsum(size)
    tail = total - end
    at = np.zeros(len(items), np.int64)

    def take(count: Array | int) -> Array:
        nonlocal at
        value = bits.take(tail, at, count)
        at = at + count
        return value

    length = take(7)
    bad = (length > _BITS_MAX + 16) | (size == 0)
    below = np.clip(length - 1, 0, _BITS_MAX + 16)
    anchor = take(below) | np.where(length > 0, 1 << below, 0)
    anchor = (anchor >> 1) ^ -(anchor & 1)
    stepped = take(1)
    length = take(6 * stepped)
    bad |= (length > _BITS_MAX) | ((stepped == 1) & (length == 0))
    below = np.minimum(length, _BITS_MAX)
    step = take(below) | 1 << below
    fine = take(1)
    first = take(7)
    span = take(7)
    bad |= first + span >= np.where(fine == 1, columns.CLASS_LIMIT, columns.COARSE_LIMIT)
    bad |= (coder == columns.FLOOR) & (first != 0)
    # One bit for each class between the first and the last.
    listed = np.zeros((len(items), columns.CLASS_LIMIT + 1), np.bool_)
    for start in range(0, int(span.max()), 32):
        mask = take(np.clip(span - 1 - start, 0, 32))
        listed[:, start + 1 : start + 33] = mask[:, None] >> np.arange(32) & 1
    listed[:, 0] = True
    lane = np.flatnonzero(span)
    listed[lane, span[lane]] = True
    lane, offset = np.nonzero(listed)
    count = listed.sum(axis=1)
    most = max(_WIDTHS) - 1
    bad |= count > most
    place = np.arange(len(lane)) - np.repeat(np.cumsum(count) - count, count)
    keep = place < most
    classes = np.full((len(items), most), -1, np.int64)
    classes[lane[keep], place[keep]] = first[lane[keep]] + offset[keep]
    # The mantissa's bits and the least number of each class, then what the header says of the class.
    width = np.where(fine[:, None] == 1, (classes >> 1) - 1, classes - 2)
    width[classes < 4] = 0
    bad |= (width > _BITS_MAX).any(axis=1)
    width = np.minimum(width, _BITS_MAX)
    number = np.where(fine[:, None] == 1, 2 | classes & 1, 1) << width
    number[classes < 4] = classes[classes < 4]
    mixed = np.zeros(classes.shape, np.bool_)
    for j in range(min(most, int(count.max()))):
        below = width[:, j]
        alone = take((below > 0).astype(np.int64))
        number[:, j] |= take(below * alone)
        mixed[:, j] = (below > 0) & (alone == 0)
    width[~mixed] = 0
    return _Lanes(rows, end - size, size, tail, coder, anchor, step, classes, number, width, mixed, at, bad)


def _decode_group(lanes: _Lanes, count: Array, front: Array, bits: _Bits) -> tuple[Array, Array]:
    """Values (lane × row) of lanes whose number of classes fits one width, and which lanes are not to be trusted."""
    rows, lane_count = int(lanes.rows.max()), len(count)
    symbols = np.zeros((rows, lane_count), np.uint8)
    bad = np.zeros(lane_count, np.bool_)
    ends = None
    if count.max() > 1:
        ends = _decode_symbols(lanes, count, front, symbols, bad)
    values = np.empty((lane_count, rows + 1), np.int64)
    for start in range(0, lane_count, _LANES_BLOCK):
        block = slice(start, start + _LANES_BLOCK)
        part = _Lanes(*(field[block] for field in lanes))
        u, head, fault = _read_mantissas(part, symbols[:, block], bits)
        if ends is None:
            fault |= head != 0
        else:
            fault |= _ends_badly(head, *(end[block] for end in ends))
        values[block], out_of_range = _add_up(part, u)
        bad[block] |= fault | out_of_range
    return values, bad


def _read_mantissas(lanes: _Lanes, symbols: Array, bits: _Bits) -> tuple[Array, Array, Array]:
    """Numbers (row × lane, 0 after a lane's end), bytes left for the range code, and the lanes that break a rule."""
    live = np.arange(len(symbols))[:, None] < lanes.rows
    most = lanes.classes.shape[1]
    key = symbols + np.arange(symbols.shape[1]) * most
    mantissa = lanes.bits.take(key)
    mantissa *= live
    at = np.cumsum(mantissa, axis=0)
    end = lanes.at + at[-1]
    at += lanes.at - mantissa
    u = bits.take(lanes.tail, at, mantissa)
    u |= lanes.number.take(key)
    bad = bits.take(lanes.tail, end, 8) & (1 << (-end & 7)) - 1 != 0

    # A class listed and not used, or one number not said once.
    number = np.zeros(lanes.classes.size, np.int64)
    used = np.zeros(lanes.classes.size, np.bool_)
    varied = np.zeros(lanes.classes.size, np.bool_)
    if live.all():
        number[key] = u
        used[key] = True
        varied[key[number.take(key) != u]] = True
    else:
        lived, said = key[live], u[live]
        number[lived] = said
        used[lived] = True
        varied[lived[number.take(lived) != said]] = True
        u *= live
    broken = (lanes.classes.ravel() >= 0) & (~used | lanes.mixed.ravel() & ~varied)
    bad |= broken.reshape(lanes.classes.shape).any(axis=1)
    return u, lanes.size - (end + 7 >> 3), bad


def _decode_symbols(
    lanes: _Lanes, count: Array, front: Array, symbols: Array, bad: Array
) -> tuple[Array, Array, Array, Array]:
    """Undo the range coder into `symbols` (row × lane), mark lanes that leave their interval as `bad`.

    Gives what the check of the end needs: bytes moved out, the last three read, the code and the interval."""
    lane_count, rows = len(count), len(symbols)
    width = next(width for width in _WIDTHS if width > count.max())
    ahead = np.concatenate((front.astype(np.int32), np.zeros(2 * rows + 8, np.int32)))
    pairs = (ahead[:-1] << 8) | ahead[1:]
    pos = lanes.first + 3
    code = pairs[pos - 3] << 8 | ahead[pos - 1]
    span = np.full(lane_count, range_coder.TOP, np.int32)
    steps = np.arange(width) > np.arange(width)[:, None]
    column = (range_coder.COLUMN_START * np.minimum(np.arange(width), count[:, None])).astype(np.int16)
    column_step = (range_coder.COLUMN_STEP * steps).astype(np.int16)
    context = np.zeros((lane_count * range_coder.CONTEXTS_MAX, width), np.int16)
    context_step = (range_coder.CONTEXT_STEP * steps).astype(np.int16)
    shift = np.zeros(lane_count, np.int64)
    while ((count - 1 >> shift) >= range_coder.CONTEXTS_MAX).any():
        shift += (count - 1 >> shift) >= range_coder.CONTEXTS_MAX
    # A row of the table moved as one item: numpy scatters items faster than rows.
    items = context.view(f"V{2 * width}").reshape(-1)
    context_base = np.arange(lane_count) * range_coder.CONTEXTS_MAX
    sums_base = np.arange(lane_count) * width
    sums = np.empty((lane_count, width), np.int16)
    where = context_base.copy()
    running = np.searchsorted(-lanes.rows, -np.arange(rows))  # lanes with more rows than this one
    n_live = lane_count
    for row in range(rows):
        if running[row] < n_live:
            n_live = running[row]
            sums = sums[:n_live]
        now = slice(n_live)
        at = where[now]
        counts = context.take(at, axis=0)
        np.add(counts, column[now], out=sums)
        total = sums[:, -1].astype(np.int32)
        unit = span[now] // total
        target = code[now] // unit
        bad[now] |= target >= total
        target = np.minimum(target, total - 1).astype(np.int16)
        below = (sums <= target[:, None]).view(np.uint64)
        ones = np.bitwise_count(below)
        symbol = ones[:, 0].astype(np.int64)
        for part in range(1, width // 8):
            symbol += ones[:, part]
        symbol -= 1
        place = sums_base[now] + symbol
        flat = sums.reshape(-1)
        start = flat.take(place)
        share = flat.take(place + 1) - start
        left = unit * share
        # Where the code is outside its interval (bad), keep the arithmetic inside its bounds.
        inside = np.minimum(code[now] - unit * start, left - 1)
        moved = (left < range_coder.BOTTOM).astype(np.int32)
        moved += left < range_coder.BOTTOM >> 8
        shifts = moved << 3
        code[now] = (inside << shifts) | (pairs.take(pos[now], mode="clip") >> (16 - shifts))
        span[now] = left << shifts
        pos[now] += moved
        counts += context_step.take(symbol, axis=0)
        items[at] = counts.view(items.dtype).reshape(-1)
        if row < range_coder.COLUMN_ROWS:
            column[now] += column_step.take(symbol, axis=0)
        symbols[row, now] = symbol
        where[now] = context_base[now] + (symbol >> shift[now])
    window = pairs[np.minimum(pos - 3, len(pairs) - 1)] << 8 | ahead[np.minimum(pos - 1, len(ahead) - 1)]
    return pos - 3 - lanes.first, window, code, span


def _ends_badly(rest: Array, base: Array, window: Array, code: Array, span: Array) -> Array:
    """The check at the end of the range code (SPEC "Columns"): the fewest bytes, and the lowest of these."""
    rest = rest - base
    one = rest == 1
    unit = np.where(one, range_coder.BOTTOM, 0x100)
    code = code - window % unit
    up = ((-(window >> 8)) & 0xFF) << 8
    bad = (rest < 1) | (rest > 2) | (code < 0) | (code >= unit) | (code + unit > span)
    return bad | ~one & (code + up + range_coder.BOTTOM <= span)


def _add_up(lanes: _Lanes, u: Array) -> tuple[Array, Array]:
    """From numbers (row × lane) to values (lane × row), and the lanes that break a rule of the step or may overflow."""
    residual = np.where(lanes.coder == columns.FLOOR, u, (u >> 1) ^ -(u & 1))
    divisor = np.gcd.reduce(residual[:6], axis=0)
    lane = np.flatnonzero(divisor != 1)
    divisor[lane] = np.gcd.reduce(residual[:, lane], axis=0)
    bad = (divisor > 1) | (divisor == 0) & (lanes.step > 1)
    # No overflow here if the largest value that these residuals could add up to is far from 2^63.
    rows = lanes.rows.astype(np.float64)
    reach = np.abs(residual).max(axis=0).astype(np.float64) * lanes.step
    reach *= rows ** np.maximum(lanes.coder - columns.FLOOR, 0)
    bad |= reach + np.abs(lanes.anchor) > float(1 << 62)
    residual *= lanes.step
    values = np.empty((len(rows), len(u) + 1), np.int64)
    for coder in range(columns.LEVEL, columns.DELTA3 + 1):
        lane = np.flatnonzero(lanes.coder == coder)
        part = residual[:, lane]
        anchor = lanes.anchor[lane]
        if coder <= columns.FLOOR:
            values[lane, :-1] = (part + anchor).T
            continue
        for _ in range(coder - columns.FLOOR):
            np.cumsum(part, axis=0, out=part)
        values[lane, 0] = anchor
        values[lane, 1:] = (part + anchor).T
    return values, bad

"""The second verifier's reader of tables and columns, written from lib/SPEC.md 5.3 and 8 alone, with whole numbers of
any size: the range code is one number, its end is found by computing what the encoder must have written."""

from itertools import accumulate
from math import gcd


class Refused(Exception):
    """Arguments: layer, why."""


def need(holds, layer, why):
    if not holds:
        raise Refused(layer, why)


def read_table(table, base_ms):  # 5.3
    def codes(column, limit):
        found = read_column(column, rows) if column else [0] * rows
        need(0 <= min(found) <= max(found) < limit and any(found) == bool(column), "columns", "bad codes")
        return found

    instrument, rows, trust, times, quality, channels = table
    offsets, said = read_column(times, rows), []
    need(min(offsets) >= 0 and base_ms + max(offsets) < 2**62, "columns", "a time before the base time")
    for channel in channels:
        own, column = channel if type(channel) is list else (quality, channel)
        marks = codes(own, 16)
        need(type(channel) is not list or marks != said[0][0], "columns", "the qualities of the first channel again")
        values = iter(read_column(column, sum(mark < 8 for mark in marks)))
        said.append([marks, [next(values) if mark < 8 else None for mark in marks]])
    return [instrument, [base_ms + offset for offset in offsets], codes(trust, 4), said]


def read_column(column, count):  # 8
    need(count <= 4096 and bool(column) == bool(count), "columns", "a coder id stands there exactly with values")
    if not count:
        return []
    coder, data = column[0], column[1:]
    number, at = int.from_bytes(data, "big"), 0

    def take(bits):
        nonlocal at
        at += bits
        need(at <= 8 * len(data), "columns", "verbatim bits run out")
        return number >> at - bits & (1 << bits) - 1

    def long(length):
        return 1 << length - 1 | take(length - 1) if length else 0

    need(coder < 5, "columns", "no such coder")
    anchor, rows, step = unzigzag(long(take(7))), count - (coder > 1), 1
    shapes, symbols, code = [], [], b""
    if rows:
        if take(1):
            step = long(take(6) + 1)
            need(step > 1, "columns", "a step of one written out")
        fine, first = take(1), take(7)
        last = first + take(7)
        need(last <= (127 if fine else 65), "columns", "no such class")
        used = [k for k in range(first, last + 1) if k in (first, last) or take(1)]
        for k in used:  # bits of the mantissa, 0 if the class is one number; the least number of the class
            bits = 0 if k < 4 else k // 2 - 1 if fine else k - 2
            least = k if k < 4 else 2 + k % 2 << bits if fine else 1 << bits
            shapes.append((0, least + take(bits)) if bits == 0 or take(1) else (bits, least))
        symbols, code = range_decode(number, 8 * len(data), len(used), rows) if len(used) > 1 else ([0] * rows, b"")
    us = [shapes[s][1] + take(shapes[s][0]) for s in symbols]
    for s, (bits, _) in enumerate(shapes):
        members = len({u for u, symbol in zip(us, symbols) if symbol == s})
        need(members > 1 or members == 1 and bits == 0, "columns", "a class without members, or of one number")
    tail = (at + 7) // 8
    need(data[: len(data) - tail] == code, "columns", "not the range code that the encoder ends with")
    need(number % (1 << 8 * tail) >> at == 0, "columns", "padding not zero")
    return add_up(coder, anchor, step, us)


def range_decode(number, size, m, rows):
    """The symbols, and the bytes that an encoder writes for them. `number` has `size` bits; zeros follow them."""
    low, width, bits, before, symbols = 0, 1 << 24, 24, 0, []
    totals, contexts = [4] * m, [[0] * m for _ in range(8)]
    shift = next(h for h in range(8) if m - 1 >> h < 8)
    for n in range(rows):
        counts = contexts[before]
        shares = [a + b for a, b in zip(totals, counts)]
        unit = width // sum(shares)
        target = ((number << bits >> size) - low) // unit
        need(0 <= target < sum(shares), "columns", "outside the interval")
        symbol = next(s for s in range(m) if target < sum(shares[: s + 1]))
        low, width = low + unit * sum(shares[:symbol]), unit * shares[symbol]
        while width < 1 << 16:
            low, width, bits = low << 8, width << 8, bits + 8
        totals[symbol] += n < 64
        counts[symbol] += 24
        if sum(counts) >= 8192:
            counts[:] = [count // 2 for count in counts]
        before = symbol >> shift
        symbols.append(symbol)
    for length in range(1, bits // 8 + 1):  # the fewest bytes, of these the lowest, that stay in the interval
        unit = 1 << bits - 8 * length
        if (-(-low // unit) + 1) * unit <= low + width:
            return symbols, (-(-low // unit)).to_bytes(length, "big")
    raise Refused("columns", "the range code has no end")


def add_up(coder, anchor, step, us):
    ts = us if coder == 1 else [unzigzag(u) for u in us]
    need(gcd(*ts) == 1 or (step == 1 and not any(ts)), "columns", "not the greatest step")
    need(coder != 1 or 0 in ts, "columns", "the floor is not the least value")
    rs = [t * step for t in ts]
    need(all(-(2**63) <= r < (2**64 if coder == 1 else 2**63) for r in rs), "columns", "a residual too large")
    need(abs(anchor) < 2**63, "columns", "an anchor too large")
    if coder == 1:
        values = [anchor + r for r in rs]
    elif coder == 0:
        values = [signed64(anchor + r) for r in rs]
    else:
        for _ in range(coder - 2):
            rs = [*accumulate(rs)]
        values = [signed64(value) for value in accumulate([anchor, *rs])]
    need(all(abs(value) < 2**63 for value in values), "columns", "a value too large")
    return values


def unzigzag(u):
    return -(u + 1) // 2 if u % 2 else u // 2


def signed64(n):
    return (n + 2**63) % 2**64 - 2**63

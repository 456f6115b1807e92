"""Energy from a meter's registers, written from lib/SPEC.md 14.5 alone, for `independent_archive`."""

from itertools import pairwise


def energy(register, read, days, counter_events):
    """The rows of one register, (instrument, quantity, unit, scale), of which `read` are the readings (time, value)."""
    marks = [min(read, key=lambda r: r[0])]
    for before, day in zip([-1, *days], days):
        near = [r for r in read if before < r[0] <= day]
        if near:
            last = max(r[0] for r in near)
            if day - last <= 900_000:
                marks.append([r for r in near if r[0] == last][-1])
    last = max(r[0] for r in read)
    marks.append([r for r in read if r[0] == last][-1])
    for a, b in pairwise(marks):
        if b[0] > a[0]:
            yield between(register, a, b, counter_events)


def between(register, first, last, counter_events):
    """The row of the energy between two readings."""
    (name, quantity, unit, scale), (start, low), (end, high) = register, first, last
    broken = any(e[:2] == (name, quantity) and start < e[2] <= end for e in counter_events)
    shown = None
    if high >= low and not broken:
        whole = f"{(high - low) * 10 ** max(-scale, 0):0{max(scale, 0) + 1}}"
        shown = f"{whole[:-scale]}.{whole[-scale:]}" if scale > 0 else whole
    row = {"instrument": name, "quantity": quantity, "unit": unit, "from_ms": start, "to_ms": end}
    return {**row, "energy": shown}

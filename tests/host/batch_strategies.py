"""What hypothesis makes batches from: any readings that a gateway could have."""

from hypothesis import strategies as st

from parkgate.reading import has_value

VALUE_MAX = 2**63 - 1
TIME_MAX = 2**61

# Small numbers, large ones, and those around powers of two, where widths change.
values = st.one_of(
    st.integers(-3, 3),
    st.integers(-VALUE_MAX, VALUE_MAX),
    st.builds(lambda bits, off, sign: sign * min(2**bits + off, VALUE_MAX),
              st.integers(1, 63), st.integers(-2, 2), st.sampled_from((-1, 1))),
)  # fmt: skip
times = st.one_of(st.integers(0, 10_000), st.integers(1_767_225_600_000, 1_767_225_700_000), st.integers(0, TIME_MAX))
qualities = st.one_of(st.just(0), st.integers(0, 15))


@st.composite
def samples(draw, channels: int):
    """[time_ms, trust, values, qualities or None]: a value where its quality says there is one."""
    codes = draw(st.one_of(st.none(), st.lists(qualities, min_size=channels, max_size=channels)))
    found = draw(st.lists(values, min_size=channels, max_size=channels))
    if codes is not None:
        found = [value if has_value(code) else None for value, code in zip(found, codes)]
    return [draw(times), draw(st.integers(0, 3)), found, codes]


@st.composite
def walks(draw, channels: int):
    """Samples as meters give them: regular times, values that walk, now and then a row that failed."""
    rows = draw(st.integers(1, 120))
    steps = draw(st.lists(st.integers(-50, 50), min_size=channels * 7, max_size=channels * 7))
    period, start = draw(st.sampled_from((1000, 900_000, 997))), draw(times)
    bad = draw(st.sets(st.integers(0, rows), max_size=4))
    made = []
    for row in range(rows):
        code = 8 if row in bad else 0
        found = [None if code else (row * row % 7) * steps[(row + 3 * c) % len(steps)] for c in range(channels)]
        made.append([start + row * period, 0, found, [code] * channels if code else None])
    return made


@st.composite
def tables(draw):
    """[instrument, channels, samples] of some instruments, in order."""
    made = []
    for instrument in sorted(draw(st.sets(st.integers(0, 63), max_size=3))):
        channels = draw(st.integers(1, 4))
        made.append([instrument, channels, draw(st.one_of(
            st.lists(samples(channels), min_size=1, max_size=12), walks(channels)))])  # fmt: skip
    return made


items = st.recursive(
    st.one_of(st.integers(-(2**64), 2**64 - 1), st.binary(max_size=8), st.text(max_size=8), st.none(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.integers(-(2**64), 2**64 - 1), st.text(max_size=4)), inner, max_size=3),
    ),
    max_leaves=6,
)
event = st.builds(lambda kind, rest: [kind, *rest], st.integers(0, 200), st.lists(items, max_size=3))
events = st.lists(event, max_size=3)

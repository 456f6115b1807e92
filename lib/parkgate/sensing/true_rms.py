"""True RMS of an alternating current from a burst of ADC samples, over whole mains cycles.

    rms = sqrt(1/n × sum (x - mean)^2)      over the n samples of a whole number of cycles

The mean is the bias that a current transformer's input is lifted by. Whole cycles are found in the current itself:
from one rising zero crossing to another, with a hysteresis of a quarter of the peak so that noise makes none. Where
that gives no mains frequency (next to no current, or a load that is switched within the burst) the nominal frequency
decides. A burst that ends within a cycle would be wrong by up to half a cycle in the number of its cycles.

Integers throughout: samples are 16 bit (as MicroPython's read_u16 gives them, whatever the converter has), and squares
are summed in blocks so that a board with 31-bit small integers allocates once a block, not once a sample.
"""

from .roots import square_root

_STEP = 64  # samples between two yields: under 5 ms on RP2040
_BLOCK = 8  # squares of 14 bits each that fit into 30 bits
FREQUENCY_TOLERANCE = 16  # 1/16: 50 Hz may be 46.9 to 53.1
NOISE = 192  # hysteresis is never less: three steps of a 10-bit converter


class Burst:
    """What a burst showed. `rms_256` is the RMS in 1/256 of a step, `mean` the bias, `used` how many samples the
    cycles took, `cycles` how many were found (0: the nominal frequency was used), `clipped` samples at the rails."""

    def __init__(self):
        self.rms_256 = 0
        self.mean = 0
        self.used = 0
        self.cycles = 0
        self.clipped = 0


def burst_steps(samples, rate_hz: int, mains_hz: int, low: int = 64, high: int = 65471):
    """Generator: yields between short steps and returns the Burst of `samples` (a sequence of 0..65535) taken at
    `rate_hz`. A sample at most `low` or at least `high` is at a rail of the converter."""
    burst = Burst()
    count = len(samples)
    total = 0
    peak_low, peak_high = 65535, 0
    for i in range(count):
        x = samples[i]
        total += x
        if x < peak_low:
            peak_low = x
        if x > peak_high:
            peak_high = x
        if x <= low or x >= high:
            burst.clipped += 1
        if i % _STEP == _STEP - 1:
            yield
    mean = (2 * total + count) // (2 * count)
    start, end, burst.cycles = yield from _whole_cycles_steps(samples, mean, peak_low, peak_high, rate_hz, mains_hz)
    # The mean over whole cycles is the bias; over the whole burst it leans to the side of the cut cycle.
    total = 0
    for i in range(start, end):
        total += samples[i]
        if i % _STEP == _STEP - 1:
            yield
    burst.used = end - start
    burst.mean = mean = (2 * total + burst.used) // (2 * burst.used)
    squares = block = 0
    for i in range(start, end):
        d = (samples[i] - mean) >> 2
        block += d * d
        if i % _BLOCK == _BLOCK - 1:
            squares += block
            block = 0
        if i % _STEP == _STEP - 1:
            yield
    squares += block
    # Steps of 14 bits are four of 16: rms × 256 = sqrt(squares / n) × 4 × 256.
    burst.rms_256 = square_root((squares << 20) // burst.used)
    return burst


def _whole_cycles_steps(samples, mean, peak_low, peak_high, rate_hz, mains_hz):
    """Generator: (first, end, cycles) of the whole cycles within the burst; cycles is 0 when none were found."""
    hysteresis = max((peak_high - peak_low) >> 3, NOISE)
    armed = False
    first = last = 0
    cycles = -1
    for i, x in enumerate(samples):
        d = x - mean
        if d < -hysteresis:
            armed = True
        elif armed and d >= 0:
            armed = False
            cycles += 1
            last = i
            if not cycles:
                first = i
        if i % _STEP == _STEP - 1:
            yield
    if cycles > 0:
        found, wanted = rate_hz * cycles, mains_hz * (last - first)
        if abs(found - wanted) * FREQUENCY_TOLERANCE <= wanted:
            return first, last, cycles
    whole = len(samples) * mains_hz // rate_hz
    return 0, max(1, whole * rate_hz // mains_hz) if whole else len(samples), 0


def clamp_ma(rms_256: int, ma_numerator: int, ma_denominator: int, offset_256: int = 0) -> int:
    """Current in mA, rounded to nearest. The clamp's calibration says how many mA one step is, as a fraction, and how
    much RMS noise there is without current (in 1/256 step), which is taken off as powers."""
    squares = rms_256 * rms_256 - offset_256 * offset_256
    if squares <= 0:
        return 0
    # One more bit before the root, so that rounding is to the nearest.
    doubled = square_root(4 * squares * ma_numerator * ma_numerator // (ma_denominator * ma_denominator * 65536))
    return (doubled + 1) >> 1

"""Vibration severity from acceleration: RMS velocity in a band, as ISO 20816-1 judges machines (10 to 1,000 Hz).

A window of N samples an axis goes, in place and in integers, through

    mean taken off (gravity, offset)  →  peak and RMS of the acceleration
    Hann window  →  FFT  →  power of each line k: |A(k)|², at f = k × rate / N
    velocity line = acceleration line / (2 π f)

and with Parseval's theorem, the window's mean square being 3/8 (F. J. Harris, Proc. IEEE 66, 1978, table 1):

    a_rms² = 2 × 8/3 × Σ |A(k)/N|²        v_rms² = 2 × 8/3 × Σ |A(k)/N|² / (2 π f)²      over the lines in the band

Two axes share one FFT, one as real and one as imaginary part. The FFT is block floating point: all values stay below
2^14 and are halved, at most once a stage, when they would not; products with 14-bit twiddles then fit into the 31-bit
small integers of a board. What rounding adds is about 80 dB below the strongest line of the two axes.

Fixed RAM: three arrays of N 16-bit numbers, a fourth one as scratch, and a quarter of a sine of N/4 + 1.
"""

from array import array

from .roots import square_root

Q = 14
_ONE = 1 << Q
_LIMIT = 1 << Q  # of a value before a stage; a butterfly may grow it by 1 + sqrt(2), so it is halved first
_STEP = 16  # butterflies between two yields: under 5 ms on RP2040
TWO_PI_SQUARED_E6 = 39478418  # (2 π)² × 10^6
SPECTRUM_POWER = (16, 3)  # 2 × 8/3


class Severity:
    """What one axis does: `velocity_um_s` RMS in the band, `rms_mm_s2` and `peak_mm_s2` of the acceleration over all
    frequencies that the sensor passes, `crest_100` their ratio × 100 (0 without motion)."""

    def __init__(self, velocity_um_s, rms_mm_s2, peak_mm_s2):
        self.velocity_um_s = velocity_um_s
        self.rms_mm_s2 = rms_mm_s2
        self.peak_mm_s2 = peak_mm_s2
        self.crest_100 = (200 * peak_mm_s2 + rms_mm_s2) // (2 * rms_mm_s2) if rms_mm_s2 else 0


class Analyser:
    """Room for one window of `count` samples (a power of two, 64 to 2048) of three axes: fill `axes`, then `steps`."""

    def __init__(self, count: int):
        self.count = count
        self.axes = [array("h", bytes(2 * count)) for _ in range(3)]
        self.means = [0, 0, 0]  # of the axes of the last window, in steps: gravity
        self._scratch = array("h", bytes(2 * count))
        self._sine = quarter_sine(count)

    def steps(self, rate_hz: int, um_s2: int, low_hz: int = 10, high_hz: int = 1000):
        """Generator: yields between short steps and returns a Severity for x, y and z. `um_s2` is one step of the
        samples in µm/s², |samples| < 2^13. The axes are used up."""
        x, y, z = self.axes
        scratch = self._scratch
        motion = []
        for i, axis in enumerate(self.axes):
            self.means[i], peak, squares = yield from _centre_steps(axis)
            motion.append((peak, squares))
        severities = []
        for pair, first in (((x, y), 0), ((z, scratch), 2)):
            if first:
                for i in range(self.count):
                    scratch[i] = 0
                    if i % (8 * _STEP) == 0:
                        yield
            gain = yield from self._scale_and_window_steps(pair)
            shift = yield from self._fft_steps(pair[0], pair[1])
            powers = yield from self._band_steps(pair[0], pair[1], rate_hz, low_hz, high_hz)
            for i in range(2 - first // 2):
                peak, squares = motion[first + i]
                severities.append(self._severity(powers[i], shift, gain, peak, squares, um_s2))
        return severities

    def _severity(self, power, shift, gain, peak, squares, um_s2):
        """From sums in steps to physical units."""
        # power = Σ |F|² × 2^32 / (2πf)² with F = A × gain / 2^shift, and A/N is wanted: undo both, then 16/3.
        scale = um_s2 * um_s2 * SPECTRUM_POWER[0] << (2 * shift)
        unscale = SPECTRUM_POWER[1] * self.count * self.count * gain * gain << 32
        velocity_um_s = square_root(power * scale // unscale)
        rms = square_root(squares * um_s2 * um_s2 // self.count)
        return Severity(velocity_um_s, (rms + 500) // 1000, (peak * um_s2 + 500) // 1000)

    def _scale_and_window_steps(self, pair):
        """Generator: fill the 14 bits, for precision, and apply the Hann window; the factor it was scaled by."""
        peak = max(1, _largest(pair[0]))
        yield
        peak = max(peak, _largest(pair[1]))
        yield
        gain = 1
        while peak * gain * 2 < _LIMIT >> 1:
            gain *= 2
        count, sine = self.count, self._sine
        quarter = count // 4
        for n in range(count):
            # Hann: sin²(πn/N) = (1 - cos(2πn/N)) / 2
            k = n % count
            if k > count // 2:
                k = count - k
            cosine = sine[quarter - k] if k <= quarter else -sine[k - quarter]
            weight = (_ONE - cosine) * gain
            for axis in pair:
                axis[n] = (axis[n] * weight + _ONE) >> (Q + 1)
            if n % _STEP == _STEP - 1:
                yield
        return gain

    def _fft_steps(self, re, im):
        """Generator: in-place radix-2 FFT, decimation in time; how often everything was halved."""
        count, sine = self.count, self._sine
        quarter = count // 4
        j = 0
        for i in range(1, count):
            bit = count >> 1
            while j & bit:
                j ^= bit
                bit >>= 1
            j |= bit
            if i < j:
                re[i], re[j] = re[j], re[i]
                im[i], im[j] = im[j], im[i]
            if i % _STEP == 0:
                yield
        shift = 0
        half = 1
        while half < count:
            # |re|, |im| ≤ 2^13 grow to at most 2^13 × (1 + √2) < 2^15; halved first when they are larger.
            yield
            largest = _largest(re)
            yield
            largest = max(largest, _largest(im))
            yield
            down = 0
            while (largest >> down) > _LIMIT >> 1:
                down += 1
            shift += down
            rounding = 1 << (down - 1) if down else 0
            stride = quarter * 2 // half  # of the twiddle's angle, in 1/count of a turn
            done = 0
            for k in range(half):
                angle = k * stride
                if angle <= quarter:
                    cosine, minus_sine = sine[quarter - angle], -sine[angle]
                else:
                    cosine, minus_sine = -sine[angle - quarter], -sine[2 * quarter - angle]
                for i in range(k, count, 2 * half):
                    j = i + half
                    a, b = (re[j] + rounding) >> down, (im[j] + rounding) >> down
                    c, d = (re[i] + rounding) >> down, (im[i] + rounding) >> down
                    t = (a * cosine - b * minus_sine + (_ONE >> 1)) >> Q
                    u = (a * minus_sine + b * cosine + (_ONE >> 1)) >> Q
                    re[i], re[j] = c + t, c - t
                    im[i], im[j] = d + u, d - u
                    done += 1
                    if done % _STEP == 0:
                        yield
            half *= 2
        return shift

    def _band_steps(self, re, im, rate_hz, low_hz, high_hz):
        """Generator: Σ |F(k)|² × 2^32 / (2 π f)² over the band, for the real and for the imaginary signal."""
        count = self.count
        first = max(1, (2 * low_hz * count + rate_hz) // (2 * rate_hz))  # the line next to the corner
        last = min(count // 2 - 1, (2 * high_hz * count + rate_hz) // (2 * rate_hz))
        power_re = power_im = 0
        for k in range(first, last + 1):
            m = count - k
            # The spectra of the two real signals: even and odd part (× 2) of the complex one.
            even_re, even_im = re[k] + re[m], im[k] - im[m]
            odd_re, odd_im = im[k] + im[m], re[m] - re[k]
            # (2 π f)² = (2 π)² × (k × rate / count)²
            weight = (1000000 << 32) * count * count // (TWO_PI_SQUARED_E6 * k * k * rate_hz * rate_hz)
            power_re += (even_re * even_re + even_im * even_im) * weight >> 2
            power_im += (odd_re * odd_re + odd_im * odd_im) * weight >> 2
            if k % _STEP == 0:
                yield
        return power_re, power_im


def _largest(axis):
    """The largest magnitude."""
    high, low = max(axis), -min(axis)
    return high if high > low else low


def _centre_steps(axis):
    """Generator: take the mean off; (mean, peak, sum of squares)."""
    count = len(axis)
    total = sum(axis)
    yield
    mean = (2 * total + count) // (2 * count)
    peak = squares = 0
    for i in range(count):
        d = axis[i] - mean
        axis[i] = d
        squares += d * d
        if d < 0:
            d = -d
        if d > peak:
            peak = d
        if i % _STEP == 0:
            yield
    return mean, peak, squares


def quarter_sine(count: int):
    """sin(2πk/count) × 2^14 for k = 0 … count/4, by Taylor's series in 30-bit fixed point: a float's last digit is
    another on another board."""
    one = 1 << 30
    two_pi = 6746518852  # 2π × 2^30
    table = array("h", bytes(2 * (count // 4 + 1)))
    for k in range(count // 4 + 1):
        x = two_pi * k // count
        term = total = x
        n = 1
        while term:
            term = -(term * x // one * x // one) // ((n + 1) * (n + 2))
            if term == -1:
                break
            total += term
            n += 2
        table[k] = (total + (1 << 15)) >> 16
    return table

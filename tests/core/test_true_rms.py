"""True RMS against the definition, by floats: whole cycles, other waveforms, other frequencies, noise, no current."""

import math

from check import equal, true
from parkgate.sensing.roots import square_root
from parkgate.sensing.true_rms import burst_steps, clamp_ma
from parkgate.wire.steps import finish
from sensor_fakes import Dice


def sine(amplitude, hz, phase=0.0, rate_hz=5000, count=500, bias=32000, noise=0, shape=None):
    dice = Dice(3)
    shape = shape or math.sin
    samples = []
    for i in range(count):
        x = bias + amplitude * shape(2 * math.pi * hz * i / rate_hz + phase)
        samples.append(min(65535, max(0, round(x) + (dice.below(2 * noise + 1) - noise if noise else 0))))
    return samples


def test_square_roots_are_exact():
    for n in list(range(200)) + [2**30 - 1, 2**30, 2**62, 10**30, 10**30 - 1, 2**100 + 1]:
        root = square_root(n)
        true(root * root <= n < (root + 1) * (root + 1), str(n))


def test_a_sine_whatever_its_phase_and_frequency():
    for hz in (49.5, 50.0, 50.5):
        for k in range(8):
            burst = finish(burst_steps(sine(20000, hz, k * math.pi / 4), 5000, 50))
            error = burst.rms_256 / 256 / (20000 / math.sqrt(2)) - 1
            true(abs(error) < 0.002, "%s Hz, phase %d: %f" % (hz, k, error))
            true(burst.cycles in (3, 4, 5), str(burst.cycles))


def test_a_distorted_current_is_its_true_rms():
    """Pulses of a rectifier: an instrument that measures the mean and assumes a sine reads 40 % off."""

    def rectifier(angle):
        s = math.sin(angle)
        return s if abs(s) > 0.9 else 0.0

    samples = sine(20000, 50, 0.4, shape=rectifier)
    wanted = math.sqrt(sum([(x - 32000) ** 2 for x in samples]) / len(samples))
    burst = finish(burst_steps(samples, 5000, 50))
    true(abs(burst.rms_256 / 256 / wanted - 1) < 0.01, "%d, wanted %f" % (burst.rms_256, 256 * wanted))


def test_noise_without_current_uses_the_nominal_frequency():
    burst = finish(burst_steps(sine(0, 50, noise=40), 5000, 50))
    equal(burst.cycles, 0)
    true(burst.rms_256 / 256 < 40)
    equal(clamp_ma(burst.rms_256, 1, 1, burst.rms_256), 0, "as calibrated")


def test_rails_are_counted():
    burst = finish(burst_steps(sine(40000, 50), 5000, 50))
    true(burst.clipped > 100)
    equal(finish(burst_steps(sine(30000, 50), 5000, 50)).clipped, 0)


def test_calibration_is_exact():
    equal(clamp_ma(256 * 1000, 3, 2), 1500)
    equal(clamp_ma(256 * 500, 1, 1, 256 * 300), 400, "powers are subtracted")
    equal(clamp_ma(384, 1, 1), 2, "1.5 is rounded up")

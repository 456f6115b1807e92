"""Columns of many shapes, the same on CPython and MicroPython: integers only, every choice from one seed.

Each shape stands for something that meters and sensors do, or for a way to hurt a coder: constants, counters with and
without noise, states, noise of all widths, rare events, jumps, waves, times, missing values, extremes.
"""

LIMIT = (1 << 63) - 1


class Dice:
    """A seeded source of integers (a 48-bit linear congruential generator, its top bits)."""

    def __init__(self, seed):
        self.state = (seed * 2862933555777941757 + 3037000493) & ((1 << 48) - 1)

    def bits(self, n):
        value = 0
        while n > 0:
            self.state = (self.state * 25214903917 + 11) & ((1 << 48) - 1)
            part = min(n, 24)
            value = value << part | self.state >> 48 - part
            n -= part
        return value

    def below(self, n):
        return self.bits(40) * n >> 40 if n < 1 << 30 else self.bits(70) * n >> 70

    def bell(self, spread):
        """Near to a normal distribution with this standard deviation."""
        total = 0
        for _ in range(12):
            total += self.bits(12)
        return (total - 6 * 4096) * spread // 4096

    def long_tail(self, mean):
        value = 0
        while self.below(8):
            value += mean // 4 + self.below(1 + mean // 4)
        return value // 2


def wave(n, height, turn):
    """A sine of `height`, by turning a vector through about turn/1000 radians a row."""
    x, y = height << 12, 0
    values = []
    for _ in range(n):
        values.append(y >> 12)
        y += x * turn // 1000
        x -= y * turn // 1000
    return values


def walk(n, start, step):
    values = []
    for i in range(n):
        start += step(i)
        values.append(start)
    return values


def held(n, dice, chance, draw):
    """A value that stays until, with a chance of 1 in `chance`, it is drawn anew."""
    value = draw()
    values = []
    for _ in range(n):
        if not dice.below(chance):
            value = draw()
        values.append(value)
    return values


def shapes(n, seed=1):
    """Name → column of n rows."""
    d = Dice(seed)
    noisy = wave(n, 10000, 65)
    day = [max(0, v * 3 // 100 + d.bell(8)) for v in wave(n, 10000, 65)]
    return {
        "zero": [0] * n,
        "constant": [23017] * n,
        "constant_large": [LIMIT - 6] * n,
        "counter_regular": walk(n, 10**7, lambda i: 25),
        "counter_noisy": walk(n, 123456789, lambda i: max(0, 250 + d.bell(40))),
        "counter_day": walk(n, 10**9, lambda i: day[i]),
        "counter_64_bit": walk(n, 1 << 61, lambda i: 10**6 + d.below(10**6)),
        "counter_tens": walk(n, 10**6, lambda i: 10 * d.below(30)),
        "counter_rollover": [(4294960000 + i * 331) % (1 << 32) for i in range(n)],
        "alternating": [i & 1 for i in range(n)],
        "alternating_large": [(i & 1) * 10**9 for i in range(n)],
        "three_states": [(100, 250, 90)[i % 3] for i in range(n)],
        "noise_1_bit": [d.bits(1) for _ in range(n)],
        "noise_8_bit": [d.bits(8) for _ in range(n)],
        "noise_16_bit": [d.bits(16) - 32768 for _ in range(n)],
        "noise_63_bit": [d.bits(63) * (2 * d.bits(1) - 1) for _ in range(n)],
        "bell": [d.bell(10) for _ in range(n)],
        "bell_about_mean": [2300 + d.bell(12) for _ in range(n)],
        "bell_large": [10**12 + d.bell(10**6) for _ in range(n)],
        "long_tail": [d.long_tail(300) for _ in range(n)],
        "all_lengths": [d.bits(1 + d.below(62)) * (2 * d.bits(1) - 1) for _ in range(n)],
        "rare_events": [0 if d.below(30) else 1 + d.below(1000) for _ in range(n)],
        "rare_ones": [0 if d.below(20) else 1 for _ in range(n)],
        "few_values": [(0, 230, 4000, -17)[d.below(4)] for _ in range(n)],
        "few_large": [(10**9, 2 * 10**9 + 7, -(10**10))[d.below(3)] for _ in range(n)],
        "multiples": [997 * d.below(16) for _ in range(n)],
        "held": held(n, d, 20, lambda: d.below(2000)),
        "jumps_with_noise": [v + d.bell(3) for v in held(n, d, 50, lambda: d.below(100000))],
        "sawtooth": [i * 7 % 100 for i in range(n)],
        "sawtooth_falling": [100000 - i * 997 % 30000 for i in range(n)],
        "wave": wave(n, 10000, 157),
        "wave_noisy": [v + d.bell(20) for v in noisy],
        "wave_fast": wave(n, 325, 1100),
        "wave_slow": wave(n, 2 * 10**6, 12),
        "half_wave": [max(0, v * 4 // 10 + d.bell(100)) for v in noisy],
        "walk": walk(n, 5000, lambda i: d.bell(20)),
        "walk_small": walk(n, 0, lambda i: d.below(3) - 1),
        "ramp": list(range(0, 10 * n, 10)),
        "ramp_falling": [-123 * i for i in range(n)],
        "square": [3 * i * i for i in range(n)],
        "cube": [i**3 for i in range(n)],
        "times": [1700000000000 + 60000 * i for i in range(n)],
        "times_jitter": [1700000000000 + 60000 * i + d.below(15) for i in range(n)],
        "times_irregular": walk(n, 1700000000000, lambda i: (1000, 1000, 5000, 1 + d.below(90000))[d.below(4)]),
        "missing_as_extreme": [2300 + d.bell(9) if d.below(10) else -(1 << 62) for _ in range(n)],
        "calm_and_storm": [d.bell(500 if i // 30 & 1 else 3) for i in range(n)],
        "extremes": [LIMIT if d.bits(1) else -LIMIT for _ in range(n)],
        "powers_of_two": [1 << i % 63 for i in range(n)],
    }

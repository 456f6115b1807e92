"""The halls of the demo's park, and what their meters and sensors measure at any moment. Pure, and the same each time.

Loads follow the shifts of a working week, Sundays and holidays, the sun, and a little chance that comes from a hash of
the moment: in another order, or later, the numbers are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

OFFSET_MS = 7 * 3_600_000  # Phnom Penh, which has no summer time
ZONE = "Asia/Phnom_Penh"
DAY_MS, HOUR_MS, MINUTE_MS = 86_400_000, 3_600_000, 60_000
ENERGY, POWER = ("import_active_energy", "Wh", 0), ("active_power", "W", 0)
METER_CHANNELS = (POWER, ENERGY)
TEMPERATURE, VIBRATION, STATE = (("temperature", "Cel", 2),), (("vibration_velocity_rms", "mm/s", 2),), (
    ("machine_state", "1", 0),
)  # fmt: skip
OFF, IDLE, RUN, ALARM = range(4)


class Moment(NamedTuple):
    """A moment as the park lives it: local day since 1970, weekday from Monday 0, hour of the day, days since the
    history began."""

    ms: int
    day: int
    weekday: int
    hour: float
    since: int


class Instrument(NamedTuple):
    """One meter or sensor. `of` gives its values in steps of its channels; of a meter, its power in W. `fits` names the
    meter that it stands behind."""

    name: str
    profile: str
    channels: tuple[tuple[str, str, int], ...]
    of: Callable[[Moment], float]
    behind: str | None = None
    serial: str = ""
    ratio: str = ""

    @property
    def is_meter(self) -> bool:
        return ENERGY in self.channels


class Hall(NamedTuple):
    """One gateway of the park. `successor` is the gateway that took its place on a day since the beginning."""

    name: str
    tenant: str
    instruments: tuple[Instrument, ...]
    successor: tuple[str, int] | None = None


def moment(ms: int, begin_ms: int) -> Moment:
    local = ms + OFFSET_MS
    day = local // DAY_MS
    return Moment(ms, day, (day + 3) % 7, local % DAY_MS / HOUR_MS, (ms - begin_ms) // DAY_MS)


def chance(key: int, n: int) -> float:
    """A number from 0 to 1 that depends on both and on nothing else."""
    mixed = (key * 0x9E3779B97F4A7C15 + n * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = ((mixed ^ mixed >> shift) * factor) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ mixed >> 31) / 2**64


def waver(key: int, ms: int, every_ms: int) -> float:
    """Chance from -1 to 1 that changes smoothly, anew each `every_ms`."""
    n, part = divmod(ms, every_ms)
    part = part / every_ms
    part = part * part * (3 - 2 * part)
    return 2 * ((1 - part) * chance(key, n) + part * chance(key, n + 1)) - 1


HOLIDAYS = (17, 18, 38)  # days since the beginning


def shifts(at: Moment, key: int, first: float = 7, last: float = 16, saturday: float = 12, pause: float = 12) -> float:
    """How much of a hall works, from 0 to 1: it fills and empties in half an hour, and rests at noon."""
    if at.weekday == 6 or at.since in HOLIDAYS:
        return 0.0
    last = min(last, saturday) if at.weekday == 5 else last
    late = 0.4 * (chance(key, at.day) - 0.5)
    fills = min(1.0, max(0.0, (at.hour - first - late) * 2.2))
    empties = min(1.0, max(0.0, (last + 0.4 * chance(key + 1, at.day) - at.hour) * 2.5))
    rests = 0.42 if pause <= at.hour < pause + 1 and at.weekday < 5 else 1.0
    return fills * empties * rests * (0.86 + 0.14 * chance(key + 2, at.day))


def warmth(at: Moment) -> float:
    """The air outside, in °C."""
    dew = 26.2 + 1.6 * waver(11, at.ms, 5 * DAY_MS)
    return dew + 4.6 * math.sin((at.hour - 9.2) / 24 * 2 * math.pi) + 0.5 * waver(12, at.ms, HOUR_MS)


def _working(key: int, base: float, full: float, noise: float = 0.06, **hours) -> Callable[[Moment], float]:
    """Base load and what the shifts add."""

    def power(at: Moment) -> float:
        works = shifts(at, key, **hours)
        rough = waver(key + 3, at.ms, 9 * MINUTE_MS) * noise + waver(key + 4, at.ms, HOUR_MS) * noise
        return base * (1 + 0.03 * waver(key + 5, at.ms, 3 * HOUR_MS)) + full * works * (1 + rough)

    return power


def _two_shifts(key: int, base: float, full: float) -> Callable[[Moment], float]:
    early = _working(key, base, full, first=6, last=14, saturday=14, pause=10)
    late = _working(key + 50, 0, 0.8 * full, first=14, last=22, saturday=14, pause=18)
    return lambda at: early(at) + late(at)


def _cooling(key: int, full: float) -> Callable[[Moment], float]:
    """Compressors that work against the warmth outside, and harder after each thawing."""

    def power(at: Moment) -> float:
        runs = 0.34 + 0.024 * (warmth(at) - 24) + 0.05 * waver(key, at.ms, 25 * MINUTE_MS)
        thaws = 0.45 if at.hour % 8 < 0.5 else 1.25 if at.hour % 8 < 1.1 else 1.0
        return full * max(0.12, runs) * thaws + 900

    return power


def _lights(full: float) -> Callable[[Moment], float]:
    """From dusk to dawn, and half of them after midnight."""

    def power(at: Moment) -> float:
        dark = at.hour < 5.75 or at.hour >= 18.1
        return 140 + full * (0.5 if at.hour < 5.75 else 1.0) * dark

    return power


def _office(key: int) -> Callable[[Moment], float]:
    """People, computers, and air conditioners that follow the sun."""

    def power(at: Moment) -> float:
        works = shifts(at, key, first=7.5, last=17.2)
        return 650 + works * (2400 + 420 * max(0.0, warmth(at) - 25)) * (1 + 0.05 * waver(key, at.ms, 15 * MINUTE_MS))

    return power


def dye_job(at: Moment) -> tuple[int, bool, float] | None:
    """(number in its day, whether it is a dark lot, hours since its start) of the lot in the dyeing machine."""
    if at.weekday == 6 or at.since in HOLIDAYS:
        return None
    for number, (begin, long, is_dark) in enumerate(DYE_JOBS):
        if (at.weekday < 5 or number == 0) and begin <= at.hour < begin + long:
            return number, is_dark, at.hour - begin
    return None


# (start, hours, dark): a dark lot takes longer, a hotter bath and more rinsing.
DYE_JOBS = ((6.5, 2.75, False), (9.5, 4.5, True), (14.25, 2.5, False), (17.0, 4.25, True))


def _dyeing(at: Moment) -> float:
    job = dye_job(at)
    if job is None:
        return 480
    _, is_dark, gone = job
    heats = 1.0 if gone < (1.3 if is_dark else 0.7) else 0.38
    return (47_000 if is_dark else 33_000) * heats * (1 + 0.04 * waver(31, at.ms, 7 * MINUTE_MS))


def _dryer(at: Moment) -> float:
    job = dye_job(Moment(at.ms, at.day, at.weekday, at.hour - 1.5, at.since)) if at.hour > 8 else None
    return 260 if job is None else 18_500 * (1 + 0.05 * waver(32, at.ms, 11 * MINUTE_MS))


def _sum(*parts: Callable[[Moment], float]) -> Callable[[Moment], float]:
    return lambda at: sum(part(at) for part in parts)


def _state(key: int, first: float, last: float) -> Callable[[Moment], float]:
    """A machine that runs in stretches, waits between them, and is now and then in alarm."""

    def state(at: Moment) -> float:
        works = shifts(at, key, first=first, last=last)
        if works <= 0.05:
            return OFF
        turn = at.ms // (25 * MINUTE_MS)
        if chance(key, turn) < 0.02:
            return ALARM
        return RUN if chance(key + 1, turn) < 0.55 + 0.35 * works else IDLE

    return state


def _shake(at: Moment) -> float:
    """A bearing that wears out until somebody changes it, 16 days before the 61st."""
    if shifts(at, 41, first=6, last=22) <= 0.05:
        return 12
    worn = max(0.0, (at.since - 20) / 25) if at.since < 45 else 0.0
    return 180 + 520 * worn * worn + 35 * waver(42, at.ms, 20 * MINUTE_MS)


def _cold_room(at: Moment) -> float:
    """The cold store in 1/100 °C, warmer while it thaws; one night its door stood open."""
    opened = 780 * math.sin((at.hour - 1) / 4 * math.pi) if at.since == 52 and 1 <= at.hour < 5 else 0
    return -1840 + 6 * (warmth(at) - 26) + (190 if at.hour % 8 < 0.7 else 0) + 30 * waver(51, at.ms, HOUR_MS) + opened


def _meter(name, profile, of, behind=None, serial="", ratio="") -> Instrument:
    return Instrument(name, profile, METER_CHANNELS, of, behind, serial, ratio)


_SEWING, _STEAM = _working(1, 1_150, 21_000, pause=11.5), _working(2, 300, 15_500, first=6.5, noise=0.14)
_AIR = _working(3, 500, 8_600, noise=0.1)
_COLD = _cooling(5, 46_000)
_SAWS, _DUST = _working(6, 350, 14_500, noise=0.25), _working(7, 200, 7_200, noise=0.04)
_PACKING, _SEALER = _two_shifts(8, 900, 9_500), _two_shifts(9, 300, 12_500)

PARK = (
    Hall("Hall 1 sewing", "Mekong Garment", (
        _meter("hall 1", "eastron-sdm630", _sum(_SEWING, _STEAM, _AIR), serial="22041187", ratio="CT 150/5"),
        _meter("steam", "eastron-sdm630", _STEAM, "hall 1", "22041190", "CT 75/5"),
        _meter("air", "eastron-sdm72d-v2", _AIR, "hall 1", "21330714"),
        Instrument("compressor", "machine_state", STATE, _state(21, 7, 16)),
    )),
    Hall("Hall 2 dye house", "Lotus Dyeing", (
        _meter("hall 2", "eastron-sdm630", _sum(_dyeing, _dryer, _working(4, 1_400, 5_200)), serial="22041203",
               ratio="CT 300/5"),
        _meter("dyeing", "eastron-sdm630", _dyeing, "hall 2", "22041204", "CT 150/5"),
        _meter("dryer", "eastron-sdm120", _dryer, "hall 2", "20117742"),
        Instrument("pump", "lis3dh", VIBRATION, _shake),
    )),
    Hall("Hall 3 cold store", "Tonle Fish", (
        _meter("hall 3", "abb-b2x", _sum(_COLD, _working(10, 700, 3_300)), serial="1620938", ratio="CT 200/5"),
        _meter("cooling", "eastron-sdm630", _COLD, "hall 3", "22041188", "CT 150/5"),
        Instrument("cold room", "sht3x", TEMPERATURE, _cold_room),
    )),
    Hall("Hall 4 carpentry", "Angkor Furniture", (
        _meter("hall 4", "eastron-sdm630", _sum(_SAWS, _DUST), serial="19080022", ratio="CT 100/5"),
        _meter("dust", "chint-ddsu666", _DUST, "hall 4", "20118850"),
        Instrument("saw", "machine_state", STATE, _state(24, 7, 16)),
    )),
    Hall("Hall 5 packaging", "Mekong Garment", (
        _meter("hall 5", "eastron-sdm630", _sum(_PACKING, _SEALER), serial="22041215", ratio="CT 100/5"),
        _meter("sealer", "eastron-sdm72d-v2", _SEALER, "hall 5", "21330720"),
        Instrument("line", "machine_state", STATE, _state(25, 6, 22)),
    ), ("Hall 5 packaging (new board)", 33)),
    Hall("Offices and streets", "Park", (
        _meter("offices", "eastron-sdm630", _office(13), serial="22041219"),
        _meter("street lights", "eastron-sdm120", _lights(6_300), serial="20117760"),
        Instrument("air outside", "sht3x", TEMPERATURE, lambda at: 100 * warmth(at)),
    )),
)  # fmt: skip

# What went wrong, in days since the beginning and local hours.
POWER_CUT = (36, 13.65, 16.1)  # of the whole park: nothing ran, and no register grew
EXCHANGED = ("Hall 4 carpentry", "hall 4", 40, 10.0, 10.75, "23010177")  # the meter, and the new one's serial number
REVERSED = ("Hall 1 sewing", "steam", 47, 9.5, 49, 14.25)  # the current transformer of L2, after work at the board
AWAY = ("Hall 2 dye house", "dryer", 55, 3.0, 9.6)  # a loose wire of the bus


def hours_since(at_ms: int, begin_ms: int) -> float:
    return (at_ms - begin_ms) / HOUR_MS


def within(at_ms: int, begin_ms: int, day: int, first: float, last: float) -> bool:
    """Whether a moment lies between two hours of a day since the beginning; hours may go beyond 24."""
    return day * 24 + first <= hours_since(at_ms, begin_ms) < day * 24 + last


def is_reversed(at_ms: int, begin_ms: int) -> bool:
    _, _, day, first, last_day, last = REVERSED
    return within(at_ms, begin_ms, day, first, (last_day - day) * 24 + last)

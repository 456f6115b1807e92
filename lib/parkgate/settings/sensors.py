"""What may be set for each family of sensors, and how an instrument's samples are reduced and reported.

Settings calls this for entries of `sensors`, and for instruments with a `report`; the module is loaded only then. All
that can be wrong is refused here, by the path of the setting: an unknown quantity, a quantity that the sensor does not
measure, a scale that loses or invents digits, an address that the chip cannot have.
"""

from parkgate import quantities
from parkgate.errors import SettingsError
from parkgate.sensing.reduction import REDUCTIONS

from . import DEFAULT, NAME

# Rows of settings.TABLE for `report`.
REPORT = (
    ("reductions", "names", ("last",), 0, len(REDUCTIONS), "", "which of %s" % ", ".join(REDUCTIONS)),
    ("every", "int", 1, 1, 3600, "samples", "make one row of so many samples"),
    ("heartbeat_s", "int", 0, 0, 86400, "s", "keep a row when something moved, or after so long; 0: keep all"),
    ("deadbands", "map", {}, 0, 64, "steps", "quantity to how far it may move unseen, in steps of its scale"),
)

SCALE_MIN, SCALE_MAX = -9, 9
_VALUE_MAX = 1 << 53
_S0_PULSE_US = 30000  # EN 62053-31: pulses and pauses are at least 30 ms
_S0_RATE_HZ = 16


# Each family has a function that gives the rows of settings.TABLE for its options. Its docstring is the family's title
# in the documentation; the build leaves docstrings out.


def _scale():
    return ("scale", "int", None, SCALE_MIN, SCALE_MAX, "", "decimals of the channel; the quantity's own if absent")


def _pulses(_required):
    """Meter pulses (S0) and other contacts that count"""
    return (
        ("rate_max_hz", "int", _S0_RATE_HZ, 1, 50000, "Hz", "more pulses a second than this are flagged (S0: 16)"),
        ("pulse_min_us", "int", None, 0, 1000000, "us", "shortest pulse and pause of the meter; S0: 30000"),
        ("debounce_us", "int", None, 0, 1000000, "us", "shorter is a bounce; 2/3 of pulse_min_us if absent"),
        ("quantity", "text", "", 0, 32, "", "counter that the pulses stand for; empty for none"),
        _scale(),
        ("numerator", "int", 1, 1, _VALUE_MAX, "steps", "what a pulse stands for: numerator / denominator"),
        ("denominator", "int", 1, 1, _VALUE_MAX, "pulses", "800 pulses a kWh are 1000 / 800 Wh"),
        ("offset", "int", 0, 0, _VALUE_MAX, "steps", "the meter's register when the total was 0"),
    )


def _machine_state(_required):
    """A machine's lamp or relay: on, off, alarm"""
    return (
        ("alarm", "text", "", 0, 32, "", "input that says alarm; empty for none"),
        ("power", "text", "", 0, 32, "", "input that says the machine is on; empty: always"),
        ("debounce_ms", "int", 20, 0, 10000, "ms", "a contact must rest so long to count"),
    )


def _current_loop(required):
    """4 to 20 mA, over a shunt and an ADS1115"""
    return (
        ("address", "choice", 0x48, 0, (0x48, 0x49, 0x4A, 0x4B), "", "I2C address of the ADS1115"),
        ("input", "int", 0, 0, 3, "", "its input, against ground"),
        ("shunt_mohm", "int", 100000, 10000, 170000, "mohm", "the shunt: at most 4.096 V at 24 mA"),
        ("quantity", "text", required, 1, 32, "", "what the current stands for"),
        _scale(),
        ("at_4ma", "int", required, -_VALUE_MAX, _VALUE_MAX, "steps", "reading at 4 mA"),
        ("at_20ma", "int", required, -_VALUE_MAX, _VALUE_MAX, "steps", "reading at 20 mA"),
    )


def _ct_clamp(required):
    """A current clamp with voltage output (SCT-013)"""
    return (
        ("mains_hz", "choice", 50, 0, (50, 60), "Hz", "nominal frequency"),
        ("calibration_id", "text", required, 1, 32, "characters", "name of the calibration, kept in the data"),
        ("ma_numerator", "int", required, 1, _VALUE_MAX, "mA", "what a step of 65,536 is: numerator / denominator"),
        ("ma_denominator", "int", 1, 1, _VALUE_MAX, "", "the divisor of ma_numerator"),
        ("noise_256", "int", 0, 0, 1 << 20, "1/256 step", "RMS without current"),
        ("quantity", "text", "current", 1, 32, "", "current or current_l1, current_l2, current_l3, current_n"),
    )


def _ds18b20(_required):
    """A temperature on a 1-Wire line"""
    return (
        ("rom", "hex", "", 8, 8, "bytes", "code of the sensor; empty when it is alone on its line"),
        ("quantity", "text", "temperature", 1, 32, "", "a temperature"),
    )


def _sht3x(_required):
    """Temperature and humidity, I2C"""
    return (("address", "choice", 0x44, 0, (0x44, 0x45), "", "I2C address"),)


def _bme280(_required):
    """Temperature, humidity and air pressure, I2C"""
    return (("address", "choice", 0x76, 0, (0x76, 0x77), "", "I2C address"),)


def _lis3dh(_required):
    """Vibration, I2C or SPI"""
    return _vibration(0x18, (0x18, 0x19), (1344, 5376), 4)


def _adxl345(_required):
    """Vibration, I2C or SPI"""
    return _vibration(0x53, (0x1D, 0x53), (800, 3200), 16)


def _vibration(address, addresses, rates_hz, range_g):
    return (
        ("address", "choice", address, 0, addresses, "", "I2C address"),
        ("bus", "choice", "i2c", 0, ("i2c", "spi"), "", "how it is connected"),
        ("rate_hz", "choice", rates_hz[0], 0, rates_hz, "Hz", "sampling rate; the higher one covers 10 to 1,000 Hz"),
        ("range_g", "choice", range_g, 0, (2, 4, 8, 16), "g", "full scale"),
    )


# One row for each family: its name, its options, and the (kind, unit) that a quantity must have which the user chooses
# (unit None: any; None: the user chooses none).
_FAMILIES = (
    ("pulses", _pulses, ("sum", None)),
    ("machine_state", _machine_state, None),
    ("current_loop", _current_loop, ("now", None)),
    ("ct_clamp", _ct_clamp, ("now", "A")),
    ("ds18b20", _ds18b20, ("now", "Cel")),
    ("sht3x", _sht3x, None),
    ("bme280", _bme280, None),
    ("lis3dh", _lis3dh, None),
    ("adxl345", _adxl345, None),
)
FAMILIES = tuple([row[0] for row in _FAMILIES])


def _row(family):
    return _FAMILIES[FAMILIES.index(family)]


def option_fields(family, required):
    """Rows of settings.TABLE for the options of one of FAMILIES; `required` stands where there is no default."""
    return _row(family)[1](required)


def title(family: str) -> str:
    """What the family measures, for people. Only on CPython: MicroPython keeps no docstrings."""
    return _row(family)[1].__doc__ or ""


def options(path: str, family: str, given: dict, section, required) -> dict:
    """The options of a sensor, defaults filled in. `section(path, fields, given)` checks a map by its table, as
    settings does. Raises SettingsError naming what is wrong."""
    fields = option_fields(family, required)
    given = dict(given)
    quantity = None
    wanted = _row(family)[2]
    if wanted:
        default = next(field[DEFAULT] for field in fields if field[NAME] == "quantity")
        name = given.get("quantity", default)
        if name and type(name) is str:
            quantity = _quantity(path + ".quantity", name)
            kind, unit = wanted
            if quantity.kind != kind or unit not in (None, quantity.unit):
                raise SettingsError("%s.quantity: %s is nothing that %s can measure" % (path, name, family))
    if any([field[NAME] == "scale" for field in fields]) and "scale" not in given:
        given["scale"] = quantity.scale if quantity else 0
    if family == "pulses":
        _pulse_length(path, given)
    complete = section(path, fields, given)
    if family == "adxl345" and complete["bus"] == "i2c" and complete["rate_hz"] > 800:
        raise SettingsError("%s.rate_hz: over I2C an ADXL345 manages 800 Hz at most" % path)
    if family == "current_loop" and complete["at_4ma"] == complete["at_20ma"]:
        raise SettingsError("%s.at_20ma: is the same as at_4ma" % path)
    if family == "ds18b20" and complete["rom"] and not _is_thermometer(bytes.fromhex(complete["rom"])):
        raise SettingsError(
            "%s.rom: %s does not begin with 28 (DS18B20) or 22 (DS1822), nor is it the code of a DS18S20 (10, and the "
            "check byte at its end)" % (path, complete["rom"])
        )
    return complete


def _is_thermometer(rom):
    """Whether a 1-Wire code is of a family that the driver reads. One that begins with 10 is believed with its CRC."""
    crc = 0
    for byte in rom:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8C if crc & 1 else crc >> 1
    return rom[0] in (0x28, 0x22) or (rom[0] == 0x10 and not crc)


def _pulse_length(path, given):
    """Fill in how long a pulse lasts and how long a bounce: from the rate where that leaves less than S0's 30 ms."""
    rate_hz = given.get("rate_max_hz", _S0_RATE_HZ)
    if "pulse_min_us" not in given:
        fast = type(rate_hz) is int and rate_hz > _S0_RATE_HZ
        given["pulse_min_us"] = min(_S0_PULSE_US, 500000 // rate_hz) if fast else _S0_PULSE_US
    pulse_us = given["pulse_min_us"]
    if type(pulse_us) is not int:
        given.setdefault("debounce_us", 0)  # the check of all options reports the other one
        return
    given.setdefault("debounce_us", pulse_us * 2 // 3)
    if type(rate_hz) is int and 2 * pulse_us * rate_hz > 1000000:
        raise SettingsError(
            "%s.pulse_min_us: pulses and pauses of %d us each cannot come %d times a second (rate_max_hz)"
            % (path, pulse_us, rate_hz)
        )


def report(path: str, given: dict, section) -> dict:
    """How samples are reduced and reported, defaults filled in; see reduction. Raises SettingsError."""
    complete = section(path, REPORT, given)
    for name in complete["reductions"]:
        if name not in REDUCTIONS:
            raise SettingsError("%s.reductions: %r is not one of %s" % (path, name, ", ".join(REDUCTIONS)))
    if not complete["reductions"] or len(set(complete["reductions"])) != len(complete["reductions"]):
        raise SettingsError("%s.reductions: name at least one, each once" % path)
    for name, steps in complete["deadbands"].items():
        _quantity("%s.deadbands" % path, name)
        if type(steps) is not int or not 0 <= steps < _VALUE_MAX:
            raise SettingsError("%s.deadbands.%s: %r is not a whole number of steps" % (path, name, steps))
    return complete


def _quantity(path, name):
    quantity = quantities.find(name) if type(name) is str else None
    if quantity is None:
        raise SettingsError("%s: unknown quantity %r; the names are in parkgate/quantities.py" % (path, name))
    return quantity

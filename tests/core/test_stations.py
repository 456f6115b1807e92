"""Settings of stations: what is refused, and that a gateway without any stays as it was."""

from check import equal, raises, true
from parkgate.errors import SettingsError
from parkgate.settings import schema

BUS = {"name": "rs485", "device": "rs485"}
METER = {"name": "m", "profile": "pzem-004t", "bus": "rs485"}
SENSOR = {"name": "s", "family": "pulses", "port": "s0_1"}


def with_stations(*stations):
    return {"buses": [BUS], "instruments": [METER], "sensors": [SENSOR], "stations": list(stations)}


def test_a_station_as_it_should_be():
    given = {"name": "press 1".replace(" ", "-"), "scanner": "rs485_b", "registers": ["m.import_active_energy"]}
    full = schema.validate(with_stations(given))["stations"][0]
    equal([full[name] for name in ("baud", "counts", "idle_min", "shift_ends")], [9600, "hand", 0, ""])
    equal(schema.validate({})["stations"], [])
    shared = {"name": "b", "scanner": "rs485_b", "registers": ["s.pulse_count"], "counts": "machine"}
    equal(len(schema.validate(with_stations(given, shared))["stations"]), 2)


WRONG = (
    ([{"name": "a b"}], "stations.0.name: 'a b' cannot stand on the machine's tag"),
    ([{"name": "a"}, {"name": "A"}], "stations.0.name: 'a' cannot stand"),
    ([{"name": "a", "scanner": "rs485"}], "stations.0.scanner: rs485 is the port of a bus"),
    ([{"name": "a", "scanner": "x"}, {"name": "b", "scanner": "x", "baud": 115200}], "stations.1.baud: another"),
    ([{"name": "a", "registers": ["x.import_active_energy"]}], "stations.0.registers: 'x.import_active_energy' must"),
    ([{"name": "a", "registers": ["m"]}], "stations.0.registers: 'm' must be INSTRUMENT.QUANTITY; the instruments"),
    ([{"name": "a", "registers": ["m.a", "m.a"]}], "stations.0.registers: one stands there twice"),
    ([{"name": "a", "registers": ["m.a", "m.b", "m.c", "m.d"]}], "stations.0.registers: must be a list of at most 3"),
    ([{"name": "a", "counts": "machine"}], "stations.0.counts: machine needs a register that counts"),
    ([{"name": "a", "shift_ends": "6:00"}], "stations.0.shift_ends: must be rising times"),
    ([{"name": "a", "shift_ends": "14:00 06:00"}], "stations.0.shift_ends: must be rising times"),
    ([{"name": "a", "idle_min": 1441}], "stations.0.idle_min: 1441 is not"),
    ([{"name": str(i)} for i in range(5)], "stations: must be a list of at most 4"),
)


def test_what_is_refused():
    for stations, words in WRONG:
        error = raises(SettingsError, schema.validate, with_stations(*stations))
        true(str(error).startswith(words), (str(error), words))

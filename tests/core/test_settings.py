"""Settings: defaults, every wrong one named, secrets kept out."""

from check import equal, raises, true
from parkgate import cbor, settings
from parkgate.errors import SettingsError

BUS = {"name": "rs485", "device": "/dev/ttyUSB0"}
METER = {"name": "incomer", "profile": "eastron_sdm630", "bus": "rs485"}


def test_defaults_are_filled_in():
    full = settings.validate({"buses": [BUS], "instruments": [METER]})
    equal(full["broker"]["port"], 1883)
    equal(full["instruments"][0]["unit_id"], 1)
    equal(settings.validate(full), full, "what is complete stays as it is")


WRONG = (
    ([], "map of sections"),
    ({"brocker": {}}, "brocker: no such section"),
    ({"broker": []}, "broker: must be a map"),
    ({"broker": {"prot": 1}}, "broker.prot: no such setting; there are host, port"),
    ({"broker": {"port": 0}}, "broker.port: 0 is not a whole number from 1 to 65535"),
    ({"broker": {"port": "1883"}}, "broker.port: '1883' is not a whole number"),
    ({"broker": {"port": True}}, "broker.port: True is not"),
    ({"hub": {"public_key": "zz"}}, "hub.public_key: must be 64 bytes"),
    ({"gateway": {"name": ""}}, "gateway.name"),
    ({"gateway": {"name": 7}}, "gateway.name: must be text"),
    ({"buses": {}}, "buses: must be a list"),
    ({"buses": [{"name": "a"}]}, "buses.0.device: is missing"),
    ({"buses": [BUS, BUS]}, "buses: two have the same name"),
    ({"buses": [dict(BUS, baud=9601)]}, "buses.0.baud: 9601 is not one of 1200, 2400"),
    ({"buses": [BUS], "instruments": [dict(METER, bus="x")]}, "instruments.0.bus: there is no bus 'x'; there are rs485"),
    ({"buses": [BUS], "instruments": [dict(METER, unit_id=248)]}, "instruments.0.unit_id: 248"),
    ({"buses": [BUS], "instruments": [dict(METER, channels=[1])]}, "instruments.0.channels: must be a list"),
)


def test_names_what_is_wrong_and_what_is_allowed():
    for given, says in WRONG:
        error = str(raises(SettingsError, settings.validate, given))
        true(says in error, "%s: %s" % (given, error))


def test_secrets_are_neither_shown_nor_named():
    full = settings.validate({"broker": {"password": "canary"}})
    true("password" not in settings.public(full)["broker"])
    true(b"canary" not in cbor.encode(settings.public(full)))
    equal(settings.settings_id(full), settings.settings_id(settings.validate({})))
    error = str(raises(SettingsError, settings.validate, {"broker": {"password": "canary" * 20}}))
    true("canary" not in error, error)

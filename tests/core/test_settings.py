"""Settings: defaults, every wrong one named, secrets kept out."""

from check import equal, raises, true
from parkgate.errors import SettingsError
from parkgate.settings import edit, schema
from parkgate.wire import cbor

BUS = {"name": "rs485", "device": "/dev/ttyUSB0"}
METER = {"name": "incomer", "profile": "eastron_sdm630", "bus": "rs485"}


def dlt645(*addresses):
    meters = [dict(METER, name="m%d" % i, address=address) for i, address in enumerate(addresses)]
    return {"buses": [dict(BUS, protocol="dlt645")], "instruments": meters}


def test_a_bus_of_dlt645_meters():
    full = schema.validate(dlt645("000006605518", "201000000012"))
    equal([item["address"] for item in full["instruments"]], ["000006605518", "201000000012"])
    equal(schema.validate(dlt645("AAAAAAAAAAAA"))["instruments"][0]["address"], schema.ANY_ADDRESS)
    equal(schema.validate({"buses": [BUS], "instruments": [METER]})["buses"][0]["protocol"], "modbus")


def test_defaults_are_filled_in():
    full = schema.validate({"buses": [BUS], "instruments": [METER]})
    equal(full["broker"]["port"], 1883)
    equal(full["instruments"][0]["unit_id"], 1)
    equal(schema.validate(full), full, "what is complete stays as it is")


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
    ({"broker": {"tls": "yes"}}, "broker.tls: 'yes' is not one of off, on"),
    ({"broker": {"tls": "on"}}, "broker.ca: is missing"),
    ({"broker": {"ca": "MII"}}, "broker.ca: must be base64"),
    ({"broker": {"ca": "MIIB\nMIIB"}}, "broker.ca: must be base64"),
    ({"broker": {"ca": "A" * 2052}}, "broker.ca: must have at most 2048"),
    ({"network": {"ssid": "x" * 33}}, "network.ssid"),
    ({"buses": {}}, "buses: must be a list"),
    ({"buses": [{"name": "a"}]}, "buses.0.device: is missing"),
    ({"buses": [BUS, BUS]}, "buses: two have the same name"),
    ({"buses": [dict(BUS, device="tcp:10.0.0.5:x")]}, "buses.0.device: must be as tcp:192.168.1.50:502"),
    ({"buses": [dict(BUS, device="tcp:10.0.0.5", protocol="dlt645")]}, "buses.0.device: must be as tcp:"),
    ({"buses": [dict(BUS, baud=9601)]}, "buses.0.baud: 9601 is not one of 1200, 2400"),
    ({"buses": [BUS], "instruments": [dict(METER, bus="x")]}, "instruments.0.bus: there is no bus 'x'"),
    ({"buses": [BUS], "instruments": [dict(METER, address="000006605518")]}, "instruments.0.address: bus"),
    ({"buses": [dict(BUS, protocol="dlt698")]}, "buses.0.protocol: 'dlt698' is not one of modbus, dlt645"),
    (dlt645("1234"), "instruments.0.address: bus rs485 speaks DL/T 645; give the 12 digits"),
    (dlt645(""), "instruments.0.address: bus rs485 speaks DL/T 645; give the 12 digits"),
    (dlt645("00000660551A"), "instruments.0.address: bus rs485 speaks DL/T 645; give the 12 digits"),
    (dlt645("999999999999"), "instruments.0.address: bus rs485 speaks DL/T 645; give the 12 digits"),
    (dlt645("0000066055181"), "instruments.0.address: '0000066055181' must have 0 to 12 characters"),
    (dlt645("AAAAAAAAAAAA", "000006605518"), "instruments.0.address: bus rs485 has more than one meter"),
    ({"buses": [BUS], "instruments": [dict(METER, unit_id=256)]}, "instruments.0.unit_id: 256"),
    ({"buses": [BUS], "instruments": [dict(METER, channels=[1])]}, "instruments.0.channels: must be a list"),
)


def test_names_what_is_wrong_and_what_is_allowed():
    for given, says in WRONG:
        error = str(raises(SettingsError, schema.validate, given))
        true(says in error, "%s: %s" % (given, error))


def test_secrets_are_neither_shown_nor_named():
    full = schema.validate({"broker": {"password": "canary"}, "network": {"password": "canary"}})
    true("password" not in schema.public(full)["broker"])
    true("password" not in schema.public(full)["network"])
    true(b"canary" not in cbor.encode(schema.public(full)))
    equal(schema.settings_id(full), schema.settings_id(schema.validate({})))
    error = str(raises(SettingsError, schema.validate, {"broker": {"password": "canary" * 20}}))
    true("canary" not in error, error)


def test_a_text_can_be_continued():
    full = schema.validate({})
    edit.put(full, "broker.ca", "MIIB")
    edit.append(full, "broker.ca", 4, "AAAA")
    edit.append(full, "broker.ca", 4, "BBBB")
    equal(full["broker"]["ca"], "MIIBBBBB", "a piece that comes twice, or is corrected")
    raises(SettingsError, edit.append, full, "broker.ca", 9, "AAAA")
    raises(SettingsError, edit.append, full, "broker.password", 0, "AAAA")
    raises(SettingsError, edit.append, full, "broker", 0, "AAAA")
    equal(schema.validate(full)["broker"]["ca"], "MIIBBBBB")


def test_what_is_set_is_checked_at_once_and_not_repeated():
    full = schema.validate({"buses": [BUS]})
    for path, text in (
        ("broker.port", "99999"), ("broker.port", "1e3"), ("broker.tls", "geheim"), ("gateway.name", '""'),
        ("broker.password", "geheim" * 20), ("hub.public_key", "geheim"), ("buses.rs485.baud", "9601"),
    ):  # fmt: skip
        error = str(raises(SettingsError, edit.put, full, path, text))
        true(error.startswith(path + ": ") and text not in error, error)
    error = str(raises(SettingsError, edit.add, full, "buses", "name=b device=d baud=12"))
    true("one of 1200, 2400" in error, error)
    equal(full, schema.validate({"buses": [BUS]}), "nothing was changed")


LOOP = {"name": "tank", "family": "current_loop", "port": "i2c0"}
LOOP_OPTIONS = {"quantity": "pressure", "at_4ma": 0, "at_20ma": 1000000}


def test_sensors_are_completed_too():
    full = schema.validate({"sensors": [dict(LOOP, options=LOOP_OPTIONS, report={"every": 10})]})
    equal(full["sensors"][0]["options"]["address"], 0x48)
    equal(full["sensors"][0]["options"]["scale"], 0, "the quantity's own")
    equal(full["sensors"][0]["report"]["reductions"], ["last"])
    equal(schema.validate(full), full, "what is complete stays as it is")
    true(schema.settings_id(full) != schema.settings_id(schema.validate({})))
    for family in ("pulses", "machine_state", "ds18b20", "sht3x", "bme280", "lis3dh", "adxl345"):
        schema.validate({"sensors": [{"name": "a", "family": family, "port": "p"}]})


def wrong_option(**options):
    return {"sensors": [dict(LOOP, options=dict(LOOP_OPTIONS, **options))]}


def wrong_report(**report):
    return {"buses": [BUS], "instruments": [dict(METER, report=report)]}


def sensor(family, **options):
    return {"sensors": [{"name": "a", "family": family, "port": "p", "options": options}]}


WRONG_SENSORS = (
    ({"sensors": [dict(LOOP, family="geiger")]}, "sensors.0.family: there is no 'geiger'; there are pulses"),
    ({"sensors": [LOOP]}, "sensors.0.options.quantity: is missing"),
    (wrong_option(quantity="presure"), "sensors.0.options.quantity: unknown quantity 'presure'"),
    (wrong_option(quantity="import_active_energy"), "is nothing that current_loop can measure"),
    (wrong_option(address=0x47), "sensors.0.options.address: 71 is not one of 72, 73, 74, 75"),
    (wrong_option(scale=12), "sensors.0.options.scale: 12 is not a whole number from -9 to 9"),
    (wrong_option(at_20ma=0), "sensors.0.options.at_20ma: is the same as at_4ma"),
    (wrong_option(shunt_mohm=250000), "sensors.0.options.shunt_mohm: 250000"),
    (wrong_option(colour=1), "sensors.0.options.colour: no such setting; there are address, input"),
    ({"sensors": [dict(LOOP, options=[])]}, "sensors.0.options: must be a map"),
    (sensor("pulses", quantity="voltage"), "voltage is nothing that pulses can measure"),
    (sensor("ct_clamp", ma_numerator=1), "sensors.0.options.calibration_id: is missing"),
    (sensor("ds18b20", rom="10aabbccddeeff00"), "does not begin with 28"),
    (sensor("adxl345", rate_hz=3200), "over I2C an ADXL345 manages 800 Hz"),
    (sensor("lis3dh", range_g=3), "sensors.0.options.range_g: 3 is not one of 2, 4, 8, 16"),
    (wrong_report(reductions=["median"]), "instruments.0.report.reductions: 'median' is not one of last, mean"),
    (wrong_report(reductions=["mean", "mean"]), "each once"),
    (wrong_report(deadbands={"powr": 1}), "instruments.0.report.deadbands: unknown quantity 'powr'"),
    (wrong_report(deadbands={"voltage": -1}), "instruments.0.report.deadbands.voltage: -1"),
    (wrong_report(every=0), "instruments.0.report.every: 0 is not"),
    (
        {"buses": [BUS], "instruments": [METER], "sensors": [dict(LOOP, name="incomer", options=LOOP_OPTIONS)]},
        "sensors: one has the name of an instrument",
    ),
)


def test_wrong_sensors_are_refused_by_name():
    for given, says in WRONG_SENSORS:
        error = str(raises(SettingsError, schema.validate, given))
        true(says in error, "%s: %s" % (given, error))

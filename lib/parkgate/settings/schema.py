"""What an operator may change: one table of every setting with its default, range, unit and meaning.

Settings are a map of sections; `buses` and `instruments` are lists of such sections. `validate` takes what a person or
a tool wrote and returns it whole, defaults filled in; it raises SettingsError that names the setting, what was given
and what is allowed, and it never changes its argument. `public` is the same without secrets; its hash goes into every
batch, so that an auditor can tell under which settings a reading was taken.
"""

from binascii import a2b_base64, b2a_base64

from parkgate.errors import SettingsError
from parkgate.wire import cbor
from parkgate.wire.batch import MAX_INSTRUMENTS, short_id

from . import KIND, NAME

PROTOCOLS = ("modbus", "dlt645")
ANY_ADDRESS = "AAAAAAAAAAAA"  # DL/T 645: whichever meter answers, where there is only one
REQUIRED = ("required",)  # a default that cannot be meant by anybody

# section → ((name, kind, default, low, high or choices, unit, help), …)
# kind: int, text, secret, hex, base64, choice, names, map (sensors looks into maps)
GATEWAY = "gateway"
BUSES = "buses"
INSTRUMENTS = "instruments"
SENSORS = "sensors"
STATIONS = "stations"
NETWORKS = "networks"
_BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
TABLE = {
    GATEWAY: (
        ("name", "text", "gateway", 1, 32, "characters", "name on labels and at the hub"),
        ("clock_chip", "text", "", 0, 32, "", "I2C bus of a DS3231, which keeps the time without power; empty: none"),
    ),
    "hub": (
        ("public_key", "hex", "", 64, 64, "bytes", "P-256 public key of the hub, x and y; empty until enrolled"),
        ("root", "hex", "", 32, 32, "bytes", "id of the root keys, which may change public_key; empty: nobody may"),
        ("root_serial", "int", 0, 0, 1073741823, "", "number of the root document that public_key is from"),
    ),
    "network": (
        ("ssid", "text", "", 0, 32, "characters", "name of the Wi-Fi network; empty for none, or with a cable"),
        ("password", "secret", "", 0, 64, "characters", "password of the Wi-Fi network"),
        ("country", "text", "", 0, 2, "letters", "country whose radio rules hold, such as DE; empty: the board's own"),
        ("hostname", "text", "", 0, 32, "characters", "name of the gateway in the network; empty: the board's own"),
        ("ntp", "text", "", 0, 253, "characters", "up to 5 time servers, by spaces; empty: the hub sets the clock"),
    ),
    NETWORKS: (
        ("name", "text", REQUIRED, 1, 32, "characters", "name of one more Wi-Fi network, for when those before fail"),
        ("password", "secret", "", 0, 64, "characters", "its password"),
    ),
    "broker": (
        ("host", "text", "127.0.0.1", 1, 253, "characters", "address of the MQTT broker"),
        ("port", "int", 1883, 1, 65535, "", "TCP port of the MQTT broker; 8883 is usual with TLS"),
        ("tls", "choice", "off", 0, ("off", "on"), "", "on: talk to the broker by TLS only"),
        ("ca", "base64", "", 0, 2048, "characters", "certificate (DER) that issued the broker's; required with TLS"),
        ("user", "text", "", 0, 64, "characters", "MQTT user name; empty for none"),
        ("password", "secret", "", 0, 64, "characters", "MQTT password"),
        ("keepalive_s", "int", 30, 5, 600, "s", "MQTT keep-alive"),
        ("connect_timeout_s", "int", 10, 1, 120, "s", "longest wait for a connection"),
    ),
    "sealing": (
        ("rows_max", "int", 240, 1, 1024, "rows", "seal a batch after so many samples of one instrument"),
        ("readings_max", "int", 1920, 64, 1984, "readings", "seal a batch after so many readings"),
        ("period_s", "int", 60, 1, 86400, "s", "seal a batch when its oldest sample has this age"),
    ),
    "journal": (("flush_interval_s", "int", 10, 1, 60, "s", "on a file system: a power cut loses at most so much"),),
    "sending": (
        ("window", "int", 4, 1, 16, "batches", "batches on their way without a receipt"),
        ("receipt_timeout_s", "int", 15, 1, 600, "s", "wait for a receipt before the batch is sent again"),
        ("backlog_interval_ms", "int", 200, 0, 60000, "ms", "pause before each batch except a new one"),
        ("beat_period_s", "int", 60, 1, 3600, "s", "period of the signed heartbeat"),
    ),
    BUSES: (
        ("name", "text", REQUIRED, 1, 16, "characters", "name of the bus"),
        ("device", "text", REQUIRED, 1, 128, "characters", "serial port as the board names it, or tcp:ADDRESS[:PORT]"),
        ("baud", "choice", 9600, 0, _BAUDS, "baud", "speed"),
        ("parity", "choice", "N", 0, ("N", "E", "O"), "", "parity"),
        ("stop_bits", "choice", 1, 0, (1, 2), "", "stop bits"),
        ("reply_timeout_ms", "int", 300, 20, 5000, "ms", "longest wait for the first byte of a reply"),
        ("protocol", "choice", "modbus", 0, PROTOCOLS, "", "what meters speak; dlt645: usually 2400 baud, parity E"),
        ("rest_ms", "int", 0, 0, 5000, "ms", "rest of the whole bus between an answer and any next request"),
    ),
    INSTRUMENTS: (
        ("name", "text", REQUIRED, 1, 16, "characters", "name of the instrument, kept in every batch"),
        ("profile", "text", REQUIRED, 1, 48, "characters", "meter profile, a file of the meters folder"),
        ("bus", "text", REQUIRED, 1, 16, "characters", "name of the bus it is on"),
        ("address", "text", "", 0, 12, "characters", "DL/T 645: 12 digits of its label; AAAAAAAAAAAA: the only meter"),
        ("unit_id", "int", 1, 1, 255, "", "Modbus unit id; the specification ends at 247, some meters do not"),
        ("rest_ms", "int", 0, 0, 5000, "ms", "rest between its answer and the next request; 0: what the profile says"),
        ("period_ms", "int", 1000, 100, 86400000, "ms", "sampling period"),
        ("channels", "names", (), 0, 64, "quantities", "quantities to read; empty for the profile's usual ones"),
        ("ct_ratio", "text", "", 0, 17, "", "current transformers, 100:5 or 20; empty: as the meter says"),
        ("vt_ratio", "text", "", 0, 17, "", "voltage transformers, 20000:100 or 200; empty: as the meter says"),
        ("report", "map", {}, 0, 4, "", "how samples are reduced; empty: each is kept"),
    ),
    SENSORS: (
        ("name", "text", REQUIRED, 1, 16, "characters", "name of the sensor, kept in every batch"),
        ("family", "text", REQUIRED, 1, 16, "", "what it is: pulses, machine_state, current_loop, ct_clamp, sht3x …"),
        ("port", "text", REQUIRED, 1, 32, "characters", "pin, input or bus as the board names it"),
        ("period_ms", "int", 1000, 100, 86400000, "ms", "sampling period"),
        ("options", "map", {}, 0, 16, "", "what this family needs: settings help sensors.FAMILY"),
        ("report", "map", {}, 0, 4, "", "how samples are reduced; empty: each is kept"),
    ),
    STATIONS: (
        ("name", "text", REQUIRED, 1, 16, "characters", "name of the machine or workplace where lots are produced"),
        ("scanner", "text", "", 0, 128, "characters", "serial port of the barcode scanner; empty for none"),
        ("baud", "choice", 9600, 0, _BAUDS, "baud", "speed of the scanner"),
        ("registers", "names", (), 0, 3, "registers", "what each entry holds, as press.import_active_energy"),
        (
            "counts",
            "choice",
            "hand",
            0,
            ("hand", "machine"),
            "",
            "who counts pieces: people, or a register named above",
        ),
        ("idle_min", "int", 0, 0, 1440, "min", "a job without entry or count is closed after this; 0: never"),
        ("shift_ends", "text", "", 0, 48, "", "times that close all jobs, rising: 06:00 14:00 22:00; empty: none"),
        ("utc_offset_min", "int", 0, -720, 840, "min", "local time of shift_ends less UTC; Phnom Penh: 420"),
    ),
}
LISTS = {BUSES: 4, INSTRUMENTS: MAX_INSTRUMENTS, SENSORS: MAX_INSTRUMENTS, STATIONS: 4, NETWORKS: 4}


def check_field(path: str, kind: str, low: int, high, value):
    """`value` if it is allowed for this kind and range. Raises SettingsError; `path` is what it names."""
    if kind == "int":
        if type(value) is not int or not low <= value <= high:
            raise SettingsError("%s: %r is not a whole number from %d to %d" % (path, value, low, high))
    elif kind == "choice":
        if value not in high or type(value) not in (int, str):
            raise SettingsError("%s: %r is not one of %s" % (path, value, ", ".join(str(c) for c in high)))
    elif kind == "names":
        if not isinstance(value, (list, tuple)) or len(value) > high or any(type(v) is not str for v in value):
            raise SettingsError("%s: must be a list of at most %d names" % (path, high))
        value = list(value)
    elif kind == "map":
        if type(value) is not dict or len(value) > high or any(type(v) is not str for v in value):
            raise SettingsError("%s: must be a map of at most %d settings" % (path, high))
        value = dict(value)
    elif type(value) is not str:
        raise SettingsError("%s: must be text" % path)
    elif kind == "base64":
        if len(value) > high:
            raise SettingsError("%s: must have at most %d characters" % (path, high))
        try:
            bad = b2a_base64(a2b_base64(value)).strip() != value.encode()
        except ValueError:
            bad = True
        if bad:
            raise SettingsError("%s: must be base64 in one line, or empty" % path)
    elif kind == "hex":
        if value and (len(value) != 2 * low or any(c not in "0123456789abcdef" for c in value)):
            raise SettingsError("%s: must be %d bytes in lower-case hexadecimal, or empty" % (path, low))
    elif not low <= len(value) <= high:
        shown = "its text" if kind == "secret" else repr(value)
        raise SettingsError("%s: %s must have %d to %d characters" % (path, shown, low, high))
    return value


def _section(path, fields, given):
    if type(given) is not dict:
        raise SettingsError("%s: must be a map of settings" % path)
    names = [field[NAME] for field in fields]
    for name in given:
        if name not in names:
            raise SettingsError("%s.%s: no such setting; there are %s" % (path, name, ", ".join(names)))
    section = {}
    for name, kind, default, low, high, _unit, _help in fields:
        value = given.get(name, default)
        if value is REQUIRED:
            raise SettingsError("%s.%s: is missing" % (path, name))
        section[name] = check_field(path + "." + name, kind, low, high, value)
    return section


def validate(given: dict) -> dict:
    """The settings complete with defaults. Raises SettingsError naming the first setting that is wrong."""
    if type(given) is not dict:
        raise SettingsError("settings must be a map of sections")
    for name in given:
        if name not in TABLE:
            raise SettingsError("%s: no such section; there are %s" % (name, ", ".join(sorted(TABLE))))
    settings = {}
    for name, fields in TABLE.items():
        if name in LISTS:
            items = given.get(name, [])
            if type(items) is not list or len(items) > LISTS[name]:
                raise SettingsError("%s: must be a list of at most %d" % (name, LISTS[name]))
            settings[name] = [_section("%s.%d" % (name, i), fields, item) for i, item in enumerate(items)]
            seen = [item["name"] for item in settings[name]]
            if len(set(seen)) != len(seen):
                raise SettingsError("%s: two have the same name" % name)
        else:
            settings[name] = _section(name, fields, given.get(name, {}))
    if settings["broker"]["tls"] == "on" and not settings["broker"]["ca"]:
        raise SettingsError("broker.ca: is missing: without it anybody could be the broker; or set broker.tls to off")
    _check_buses(settings)
    _look_into_maps(settings)
    if settings[STATIONS]:
        from . import stations  # only where there are any

        stations.check(settings)
    return settings


def _check_buses(settings):
    """What instruments and their buses must agree on."""
    for i, bus in enumerate(settings[BUSES]):
        if bus["device"][:4] == "tcp:":
            from parkgate.meters.modbus.tcp import parse

            if parse(bus["device"]) is None or bus["protocol"] != "modbus":
                raise SettingsError("%s.%d.device: must be as tcp:192.168.1.50:502, for Modbus" % (BUSES, i))
    protocols = {bus["name"]: bus["protocol"] for bus in settings[BUSES]}
    for i, instrument in enumerate(settings[INSTRUMENTS]):
        bus = instrument["bus"]
        if bus not in protocols:
            raise SettingsError(
                "%s.%d.bus: there is no bus %r; there are %s"
                % (INSTRUMENTS, i, bus, ", ".join([each["name"] for each in settings[BUSES]]) or "none")
            )
        path, address = "%s.%d.address" % (INSTRUMENTS, i), instrument["address"]
        if protocols[bus] != "dlt645":
            if address:
                raise SettingsError("%s: bus %s speaks Modbus, where meters have a unit_id; remove it" % (path, bus))
        elif address == ANY_ADDRESS:
            if len([each for each in settings[INSTRUMENTS] if each["bus"] == bus]) > 1:
                raise SettingsError("%s: bus %s has more than one meter; give the 12 digits of each" % (path, bus))
        elif len(address) != 12 or not address.isdigit() or address == "9" * 12:
            raise SettingsError(
                "%s: bus %s speaks DL/T 645; give the 12 digits on the meter's label, or %s where it is the only meter"
                % (path, bus, ANY_ADDRESS)
            )


def _look_into_maps(settings):
    """Check and complete options and reports of instruments and sensors, and what both lists must agree on."""
    names = [item["name"] for section in (INSTRUMENTS, SENSORS) for item in settings[section]]
    if len(set(names)) != len(names):
        raise SettingsError("%s: one has the name of an instrument" % SENSORS)
    if len(names) > MAX_INSTRUMENTS:
        raise SettingsError("%s: with the instruments there must be at most %d" % (SENSORS, MAX_INSTRUMENTS))
    for section in (INSTRUMENTS, SENSORS):
        for i, item in enumerate(settings[section]):
            if section == INSTRUMENTS and not item["report"]:
                continue
            from . import sensors  # only where it is needed: it is large

            path = "%s.%d" % (section, i)
            if section == SENSORS:
                family = item["family"]
                if family not in sensors.FAMILIES:
                    raise SettingsError(
                        "%s.family: there is no %r; there are %s" % (path, family, ", ".join(sensors.FAMILIES))
                    )
                item["options"] = sensors.options(path + ".options", family, item["options"], _section, REQUIRED)
            if item["report"]:
                item["report"] = sensors.report(path + ".report", item["report"], _section)


def public(settings: dict) -> dict:
    """The settings without secrets."""
    shown = {}
    for name, fields in TABLE.items():
        secret = [field[NAME] for field in fields if field[KIND] == "secret"]
        if name in LISTS:
            shown[name] = [{k: v for k, v in item.items() if k not in secret} for item in settings[name]]
        else:
            shown[name] = {k: v for k, v in settings[name].items() if k not in secret}
    return shown


def settings_id(settings: dict) -> bytes:
    """16 bytes that name these settings: the hash of their canonical encoding without secrets."""
    return short_id(cbor.encode(public(settings)))

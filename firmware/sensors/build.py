"""From an entry of settings `sensors` to its driver. Only the families in use are loaded, and this module is needed at
the start only."""


def build(item: dict, board, sleep_ms):
    """The sensor of one entry. Raises SettingsError when the board has no such port."""
    family, o = item["family"], item["options"]
    name, period_ms, port = item["name"], item["period_ms"], item["port"]
    clock = board.clock
    if family == "pulses":
        from .pulse_input import PulseInput

        return PulseInput(
            name, period_ms, board.counter(port, o["debounce_us"]), clock.mono_ms, o["rate_max_hz"],
            o["quantity"] or None, o["scale"], o["numerator"], o["denominator"], o["offset"],
        )  # fmt: skip
    if family == "machine_state":
        from .machine_inputs import MachineInputs

        alarm, power = [board.input(o[role]) if o[role] else None for role in ("alarm", "power")]
        return MachineInputs(
            name, period_ms, board.input(port), alarm, power, o["debounce_ms"], clock.mono_ms, clock.ticks_ms
        )
    if family == "current_loop":
        from .current_loop import CurrentLoop

        return CurrentLoop(
            name, period_ms, board.i2c(port), o["address"], o["input"], o["shunt_mohm"], o["quantity"], o["scale"],
            o["at_4ma"], o["at_20ma"], sleep_ms,
        )  # fmt: skip
    if family == "ct_clamp":
        from .ct_clamp import CtClamp

        return CtClamp(
            name, period_ms, board.adc(port), o["mains_hz"], o["calibration_id"], o["ma_numerator"],
            o["ma_denominator"], o["noise_256"], sleep_ms, o["quantity"],
        )  # fmt: skip
    if family == "ds18b20":
        from .ds18b20 import Ds18b20

        rom = bytes.fromhex(o["rom"])
        return Ds18b20(name, period_ms, board.onewire(port), rom, sleep_ms, clock.mono_ms, o["quantity"])
    if family == "sht3x":
        from .sht3x import Sht3x

        return Sht3x(name, period_ms, board.i2c(port), o["address"], sleep_ms)
    if family == "bme280":
        from .bme280 import Bme280

        return Bme280(name, period_ms, board.i2c(port), o["address"], sleep_ms)
    from .accelerometer import Accelerometer

    if family == "lis3dh":
        from .lis3dh import Lis3dh as Chip

        burst = 0x80
    else:
        from .adxl345 import Adxl345 as Chip

        burst = 0
    if o["bus"] == "i2c":
        from .registers_bus import I2cRegisters

        registers = I2cRegisters(board.i2c(port), o["address"], burst)
    else:
        from .registers_bus import SpiRegisters

        registers = SpiRegisters(*board.spi(port))
    return Accelerometer(name, period_ms, Chip(registers, o["rate_hz"], o["range_g"]), sleep_ms, clock.mono_ms)


def client(item: dict):
    """The client of one entry of settings `buses`. Only the protocols in use are loaded."""
    reply_timeout_us, rest_us = item["reply_timeout_ms"] * 1000, item["rest_ms"] * 1000
    if item["protocol"] == "dlt645":
        from parkgate.meters.dlt645.client import REPLY_TIMEOUT_US_MIN, Client

        return Client(item["baud"], max(reply_timeout_us, REPLY_TIMEOUT_US_MIN), rest_us=rest_us)
    from parkgate.meters.modbus.client import Client as ModbusClient

    return ModbusClient(item["baud"], reply_timeout_us, rest_us=rest_us)


def bus(item: dict, board):
    """The bus of an entry of settings `buses`: a serial line, or Modbus TCP."""
    clock = board.clock
    if item["device"][:4] != "tcp:":
        from bus import ModbusBus

        return ModbusBus(board.serial(item), client(item), clock.ticks_us)
    from parkgate.meters.modbus.tcp import TcpClient, parse
    from tcp_bus import TcpBus

    address = parse(item["device"])
    assert address is not None  # the check of settings refuses others
    host, port = address
    made = TcpClient(item["reply_timeout_ms"] * 1000, item["rest_ms"] * 1000)
    return TcpBus(board.connect, host, port, made, clock.ticks_us, clock.mono_ms)


def meter(item: dict, bus, read_profile, mono_ms, notes):
    """(meter, its channels in the schema, its profile in the schema) of an entry of settings `instruments`; `notes` as
    records.MeterNotes. Raises ProfileError, SettingsError."""
    import json

    from parkgate.errors import SettingsError
    from parkgate.meters import counters, profiles

    name = item["profile"]
    data = read_profile(profiles.split_name(name)[0])
    if data is None:
        raise SettingsError("there is no profile %r on this gateway" % name)
    document = json.loads(data)
    data = None  # each byte counts while a profile is compiled
    profile = profiles.load(document, name, item["channels"], item["ct_ratio"], item["vt_ratio"])
    slow_us = profile.reply_timeout_ms * 1000
    slow_us = slow_us if slow_us > bus.client.reply_timeout_us else None
    rest_us = (item["rest_ms"] or profile.rest_ms) * 1000
    if bool(item["address"]) != (profile.protocol == "dlt645"):
        raise SettingsError("profile %s speaks %s, its bus does not" % (name, profile.protocol))
    words = profile.words()
    given = item["name"], item["address"] or item["unit_id"], item["period_ms"]
    if item["address"]:
        from .dlt645_meter import Dlt645Meter

        made = Dlt645Meter(*given, profile.plan, bus, slow_us, rest_us)
    else:
        unit = bus.client.unit(item["unit_id"], slow_us, rest_us)
        if document.get("sunspec"):
            from .sunspec_meter import SunSpecMeter, load_plans

            plans, words = load_plans(document, profile, item)
            made = SunSpecMeter(*given, plans, bus, unit)
        else:
            from .modbus_meter import ModbusMeter

            made = ModbusMeter(*given, profile.plan, bus, unit)
    single = not any([row[0][-3:] == "_l2" for row in document["registers"]])
    document = None
    power_max_w = profile.ratings.get("power_max_w", counters.POWER_MAX_W)
    checks = [(c.quantity, counters.for_channel(c, power_max_w)) for c in profile.channels]
    made.check_counters(checks, mono_ms, notes.counter, profile.content_id[:12])
    made.consistency = _consistency(item["name"], profile, single, notes.consistency)
    if profile.plan.rules:
        made.watch_ratios(notes.ratio)
    return made, profile.schema(), words


def _consistency(name, profile, single, note):
    """The checks that the meter's numbers agree with each other, of one phase where `single`; None, and nothing loaded,
    where there are none."""
    quantities = [channel.quantity for channel in profile.channels]
    if not any([quantity[:12] == "active_power" or quantity == "frequency" for quantity in quantities]):
        return None
    from parkgate.meters.consistency.compiling import build, rows

    return build(name, rows(profile.channels), note, single)


def reporter(schema: list, report: dict):
    """(reduction.Reporter, the schema of what it lets through) for a complete `report` of the settings. Raises
    SettingsError when a deadband is for a quantity that the instrument does not give."""
    from parkgate.errors import SettingsError
    from parkgate.sensing.reduction import Reporter, reduced_schema

    names = [row[0] for row in schema]
    for name in report["deadbands"]:
        if name not in names:
            raise SettingsError("report.deadbands: it has no %s; there are %s" % (name, ", ".join(names)))
    made = Reporter(schema, report["reductions"], report["every"], report["heartbeat_s"] * 1000, report["deadbands"])
    return made, reduced_schema(schema, report["reductions"])

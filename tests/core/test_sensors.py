"""Sensor drivers against strict fakes: one conversion a sample, every fault a quality, never a wrong value."""

import math
import struct

from check import equal, raises, true
from parkgate.errors import ParkgateError
from parkgate.reading import BAD_REPLY, GOOD, OUT_OF_RANGE, SENSOR_FAULT, STALE, TIMEOUT
from sensor_fakes import (
    FakeAdc,
    FakeAds1115,
    FakeAdxl345,
    FakeBme280,
    FakeI2c,
    FakeLis3dh,
    FakeSht3x,
    FakeSpi,
    FakeWire,
    Faults,
    World,
    run,
)
from sensors import bme280, ds18b20, sht3x
from sensors.accelerometer import Accelerometer
from sensors.adxl345 import Adxl345
from sensors.bme280 import Bme280
from sensors.ct_clamp import CtClamp
from sensors.current_loop import CurrentLoop
from sensors.ds18b20 import Ds18b20
from sensors.lis3dh import Lis3dh
from sensors.registers_bus import I2cRegisters, SpiRegisters
from sensors.sht3x import Sht3x

ROM = bytes((0x28, 0xFF, 0x4C, 0x60, 0x11, 0x15, 0x01, 0x5D))


def bus(world, address, chip):
    return FakeI2c({address: chip}, world.now_us, world.spend_us)


def test_sht3x_one_conversion_for_both_channels():
    world = World()
    chip = FakeSht3x(lambda t: 21.57, lambda t: 48.3)
    sensor = Sht3x("air", 1000, bus(world, 0x44, chip), 0x44, world.sleep_ms)
    equal(sensor.schema(), [["temperature", "Cel", 2], ["relative_humidity", "%RH", 1]])
    equal(run(sensor.read()), ([2157, 483], None))
    equal(chip.conversions, 1)
    true(world.slept_ms <= 20)
    equal(sht3x.crc8(b"\xbe\xef\x92"), 0, "the data sheet's example")


def test_sht3x_faults():
    world = World()
    chip = FakeSht3x(lambda t: 21.57, lambda t: 48.3, Faults(5, damaged=0.5))
    sensor = Sht3x("air", 1000, bus(world, 0x44, chip), 0x44, world.sleep_ms)
    seen = [run(sensor.read()) for _ in range(200)]
    for values, qualities in seen:
        true((values, qualities) in (([2157, 483], None), ([None, None], bytes([BAD_REPLY] * 2))))
    equal(sensor.bad_crc, len([1 for _, qualities in seen if qualities]))
    true(60 < sensor.bad_crc < 140)
    chip.faults = Faults(unplugged=1.0)
    raises(OSError, run, sensor.read())
    chip.faults = Faults()
    equal(run(sensor.read())[0], [2157, 483], "and it comes back")
    broken = Sht3x("air", 1000, bus(world, 0x44, FakeSht3x(lambda t: -45, lambda t: 0)), 0x44, world.sleep_ms)
    equal(run(broken.read())[1], bytes([SENSOR_FAULT] * 2))


# The worked example of the BMP280's data sheet (BST-BMP280-DS001, section 3.12), whose formulas these are.
EXAMPLE_T = (27504, 26435, -1000)
EXAMPLE_P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
EXAMPLE_H = (75, 367, 0, 313, 50, 30)  # of a chip in use; the data sheet has no example for humidity


def coefficients():
    data = struct.pack("<Hhh", *EXAMPLE_T) + struct.pack("<Hhhhhhhhh", *EXAMPLE_P) + bytes([0, EXAMPLE_H[0]])
    h4, h5 = EXAMPLE_H[3], EXAMPLE_H[4]
    data += struct.pack("<hB", EXAMPLE_H[1], EXAMPLE_H[2])
    return data + bytes([h4 >> 4, (h4 & 15) | (h5 & 15) << 4, h5 >> 4, EXAMPLE_H[5]])


def humidity_by_float(t_fine, adc):
    """BST-BME280-DS001, appendix A."""
    h1, h2, h3, h4, h5, h6 = EXAMPLE_H
    x = t_fine - 76800.0
    x = (adc - (h4 * 64.0 + h5 / 16384.0 * x)) * (
        h2 / 65536.0 * (1.0 + h6 / 67108864.0 * x * (1.0 + h3 / 67108864.0 * x))
    )
    return max(0.0, min(100.0, x * (1.0 - h1 * x / 524288.0)))


def test_bme280_computes_the_data_sheets_example():
    fine = bme280.fine_temperature(EXAMPLE_T, 519888)
    equal(fine, 128422)
    equal((fine * 5 + 128) >> 8, 2508)
    equal((bme280.pressure_256(EXAMPLE_P, fine, 415148) + 128) >> 8, 100653)
    for adc in range(20000, 46000, 500):
        got = bme280.humidity_1024(EXAMPLE_H, fine, adc) / 1024
        true(abs(got - humidity_by_float(fine, adc)) < 0.02, "%d: %f" % (adc, got))


def test_bme280_one_conversion_for_all_channels():
    world = World()
    chip = FakeBme280(coefficients(), lambda t: (519888, 415148, 30000))
    sensor = Bme280("air", 1000, bus(world, 0x76, chip), 0x76, world.sleep_ms)
    humidity = round(10 * humidity_by_float(128422, 30000))
    equal(run(sensor.read()), ([2508, humidity, 100653], None))
    equal(run(sensor.read())[1], None)
    equal(chip.conversions, 2)
    chip._raw = lambda t: (0x80000, 415148, 30000)
    equal(run(sensor.read())[1], bytes([SENSOR_FAULT] * 3), "temperature was not measured")
    chip._memory[0xD0] = 0x58
    other = Bme280("air", 1000, bus(world, 0x76, chip), 0x76, world.sleep_ms)
    true("0x58" in str(raises(ParkgateError, run, other.read())))
    chip.faults = Faults(unplugged=1.0)
    raises(OSError, run, sensor.read())


def loop(world, microvolts, faults=None):
    chip = FakeAds1115([microvolts, None, None, None], faults)
    return CurrentLoop(
        "tank", 1000, bus(world, 0x48, chip), 0x48, 0, 100000, "pressure", 0, 0, 1000000, world.sleep_ms
    ), chip


def test_current_loop_gives_the_current_and_what_it_stands_for():
    world = World()
    sensor, chip = loop(world, lambda t: 1200000)  # 12 mA over 100 ohm
    equal(sensor.schema(), [["loop_current", "mA", 3], ["pressure", "Pa", 0]])
    equal(run(sensor.read()), ([12000, 500000], None))
    equal(chip.conversions, 1)
    true(world.slept_ms <= 15)


def test_current_loop_faults_by_ne_43():
    world = World()
    for ma, wanted, wires, signals in (
        (0.0, [0, None, OUT_OF_RANGE, SENSOR_FAULT], 1, 0),
        (3.5, [3500, None, OUT_OF_RANGE, SENSOR_FAULT], 0, 1),
        (3.7, [3700, -18750, OUT_OF_RANGE, OUT_OF_RANGE], 0, 0),
        (20.7, [20700, 1043750, OUT_OF_RANGE, OUT_OF_RANGE], 0, 0),
        (22.0, [22000, None, OUT_OF_RANGE, SENSOR_FAULT], 0, 1),
        (60.0, [40959, None, OUT_OF_RANGE, SENSOR_FAULT], 0, 1),  # the converter saturates
    ):
        sensor, _ = loop(world, lambda t, ma=ma: ma * 100000)
        values, qualities = run(sensor.read())
        equal(values + list(qualities), wanted, "%s mA" % ma)
        equal((sensor.broken_wire, sensor.failure_signals), (wires, signals))


def test_current_loop_notices_a_converter_that_was_reset():
    world = World()
    sensor, chip = loop(world, lambda t: 1200000)
    write = chip.write

    def forgetful(data):
        write(data)
        if len(data) == 3:
            chip._configuration = 0x8583

    chip.write = forgetful
    equal(run(sensor.read())[1], bytes([SENSOR_FAULT] * 2))
    chip.write = write
    chip._ready_us = None
    chip.now_us = lambda: 0
    sensor._i2c.now_us = chip.now_us
    equal(run(sensor.read())[1], bytes([SENSOR_FAULT] * 2), "and one whose conversion never ends")
    equal(sensor.late, 1)


def wire_sensor(world, wire, rom=ROM):
    return Ds18b20("oven", 2000, wire, rom, world.sleep_ms, world.mono_ms)


def test_ds18b20_reads_all_of_its_range():
    world = World()
    degrees = [0.0]
    wire = FakeWire({ROM: lambda t: degrees[0]}, world.now_us)
    sensor = wire_sensor(world, wire)
    for celsius, wanted in ((25.0625, 2506), (0.5, 50), (-0.5, -50), (-10.125, -1012), (-55.0, -5500), (125.0, 12500)):
        degrees[0] = celsius
        equal(run(sensor.read()), ([wanted], None))
    equal(world.mono_ms() - sensor.taken_ms, 752, "the time is that of the conversion's beginning")
    alone = wire_sensor(world, wire, b"")
    equal(run(alone.read())[0], [12500])


def test_ds18b20_refuses_zeros_damage_and_the_power_on_value():
    world = World()
    wire = FakeWire({ROM: lambda t: 84.5}, world.now_us)
    sensor = wire_sensor(world, wire)
    wire.held_low = True
    equal(run(sensor.read()), ([None], bytes([BAD_REPLY])))
    equal(sensor.all_zero, 2, "both readings of the frame")
    wire.held_low = False
    wire.sensors = {ROM: lambda t: 85.0}
    equal(run(sensor.read()), ([None], bytes([SENSOR_FAULT])), "85 out of nothing")
    equal(sensor.power_on, 1)
    wire.sensors = {ROM: lambda t: 84.5}
    equal(run(sensor.read())[0], [8450])
    wire.sensors = {ROM: lambda t: 85.0}
    equal(run(sensor.read()), ([8500], None), "85 after 84.5")
    wire.sensors = {ROM: lambda t: 20.0}
    equal(run(sensor.read())[0], [2000])

    async def brown_out(ms):
        await world.sleep_ms(ms)
        wire.lose_supply()

    sensor._sleep_ms = brown_out
    equal(run(sensor.read()), ([None], bytes([SENSOR_FAULT])), "the supply failed within the conversion")
    sensor._sleep_ms = world.sleep_ms
    wire.sensors = {ROM: None}
    equal(run(sensor.read()), ([None], bytes([TIMEOUT])), "unplugged")
    equal(sensor.silent, 1)


def test_ds18b20_damage_is_counted_and_never_a_value():
    world = World()
    sensor = wire_sensor(world, FakeWire({ROM: lambda t: 30.0}, world.now_us, Faults(11, damaged=0.5)))
    good = 0
    for _ in range(300):
        values, qualities = run(sensor.read())
        true((values, qualities) in (([3000], None), ([None], bytes([BAD_REPLY]))))
        good += qualities is None
    true(190 < good < 260, "of two readings of a frame one is enough: %d" % good)
    true(sensor.bad_crc > 100)
    equal(ds18b20.crc8(b"\x02\x1c\xb8\x01\x00\x00\x00\xa2"), 0, "the example of application note 27")


def test_ds18s20_is_told_from_its_frame():
    """nodemcu-firmware 610, EMS-ESP 467, Tasmota 3034: 25 °C of a DS18S20 read as 3.13 °C."""
    world = World()
    degrees = [25.0]
    for rom, part in ((b"", "ds18s20"), (bytes.fromhex("10a65f8402080091"), "ds18b20")):
        wire = FakeWire({rom: lambda t: degrees[0]}, world.now_us)
        wire.part = part
        sensor = wire_sensor(world, wire, rom)
        for celsius, wanted in ((25.0, 2500), (25.1875, 2519), (0.0, 0), (-0.25, -25), (-25.5, -2550), (99.5, 9950)):
            degrees[0] = celsius
            equal(run(sensor.read()), ([wanted], None))
        equal(sensor.profile, "ds18b20" if not rom else "ds18s20 " + rom.hex())
        degrees[0] = 85.0
        equal(run(sensor.read()), ([None], bytes([SENSOR_FAULT])), "85 after 99.5: its power-on value")
    # The frame of the report itself.
    frame = bytes.fromhex("32004B46FFFF0C10")
    equal(ds18b20.sixteenths(frame), 25 * 16 - 4 + 4)


def test_ds18b20_refuses_the_frame_of_another_part():
    world = World()
    wire = FakeWire({ROM: lambda t: 25.0}, world.now_us)
    sensor = wire_sensor(world, wire)
    for tail in ("ffff0c10", "ffff0c00", "00000000", "9fff0c10", "7eff0c10"):
        wire.tail = bytes.fromhex(tail)
        equal(run(sensor.read()), ([None], bytes([SENSOR_FAULT])), "a DS18B20 by its code, bytes 4 to 7 %s" % tail)
    equal(sensor.other_part, 5)
    alone = wire_sensor(world, wire, b"")
    for tail in (b"\xff\xff\x00\x10", b"\xff\xff\x11\x10", b"\xff\xff\x0c\x0f", b"\xff\x00\x0c\x10"):
        wire.tail = tail
        equal(run(alone.read()), ([None], bytes([SENSOR_FAULT])), "no part of ours, bytes 4 to 7 %s" % tail.hex())
    wire.tail = b"\x1f\xff\x0c\x10"
    wire.sensors[ROM] = lambda t: 25.4375
    equal(run(sensor.read())[0], [2500], "of 9 bits the lower three are undefined")
    s20 = bytes.fromhex("10a65f8402080091")
    wire.sensors = {s20: lambda t: 25.0}
    wire.tail = b"\x7f\xff\x0c\x10"
    equal(run(wire_sensor(world, wire, s20).read())[1], bytes([SENSOR_FAULT]), "a DS18S20 by its code only")


def test_a_converter_that_hangs_is_stale():
    world = World()
    air = Sht3x("air", 1000, bus(world, 0x44, FakeSht3x(lambda t: 21.5, lambda t: 48.3)), 0x44, world.sleep_ms)
    chip = FakeBme280(coefficients(), lambda t: (519888, 415148, 30000))
    weather = Bme280("air", 1000, bus(world, 0x76, chip), 0x76, world.sleep_ms)
    for sensor in (air, weather):
        qualities = [run(sensor.read())[1] for _ in range(1002)]
        equal(qualities[:999], [None] * 999)
        equal(qualities[999:], [bytes([STALE] * sensor.channels)] * 3)
        equal(sensor.stale_frames, 3)
    chip._raw = lambda t: (519889, 415148, 30000)
    equal(run(weather.read())[1], None)
    flat = clamp(world, lambda t: 0.5)
    equal(run(flat.read()), ([None], bytes([SENSOR_FAULT])), "no noise at all")
    still, _ = lis3dh(world, lambda t: (0.0, 0.0, 1.0), faults=Faults())
    equal(run(still.read())[1], bytes([SENSOR_FAULT] * 6), "gravity without noise")
    quiet, _ = lis3dh(world, lambda t: (0.0, 0.0, 1.0), 5376, Faults())
    equal(run(quiet.read())[1], None, "in 8 bits the noise is less than a step")


def test_bme280_refuses_what_cannot_be():
    world = World()
    chip = FakeBme280(coefficients(), lambda t: (0xFFFFF, 415148, 30000))
    sensor = Bme280("air", 1000, bus(world, 0x76, chip), 0x76, world.sleep_ms)
    equal(run(sensor.read())[1], bytes([SENSOR_FAULT] * 3), "a line held high within the frame")
    chip._raw = lambda t: (519888, 0x10000, 30000)
    equal(run(sensor.read())[1], bytes([SENSOR_FAULT] * 3), "a pressure beyond the chip's range")
    chip._raw = lambda t: (519888, 415148, 30000)
    equal(run(sensor.read())[1], None)
    for empty in (b"\x00", b"\xff"):
        blank = FakeBme280(empty * 33, lambda t: (519888, 415148, 30000))
        other = Bme280("air", 1000, bus(world, 0x76, blank), 0x76, world.sleep_ms)
        true("no coefficients" in str(raises(ParkgateError, run, other.read())))


def clamp(world, level, faults=None):
    adc = FakeAdc(level, world.now_us, world.sleep_ms, 5000, faults)
    return CtClamp("oven", 1000, adc, 50, "CT-7 2026-03", 1, 1, 0, world.sleep_ms, "current")


def test_ct_clamp_true_rms_and_its_calibration_in_the_data():
    world = World()
    sensor = clamp(world, lambda t: 0.5 + 0.3 * math.sin(2 * math.pi * 50 * t))
    equal(sensor.schema(), [["current", "A", 3]])
    true(sensor.profile.startswith("ct clamp, calibration CT-7 2026-03 "))
    (ma,), qualities = run(sensor.read())
    equal(qualities, None)
    true(abs(ma - 0.3 * 65535 / math.sqrt(2)) < 30, str(ma))
    other = CtClamp("oven", 1000, None, 50, "CT-7 2026-03", 2, 1, 0, world.sleep_ms, "current")
    true(other.profile != sensor.profile, "other numbers under the same name")


def test_ct_clamp_faults():
    world = World()
    (ma,), qualities = run(clamp(world, lambda t: 0.5 + 0.7 * math.sin(314.16 * t)).read())
    equal(qualities, bytes([OUT_OF_RANGE]), "saturated, and the value is there")
    true(ma > 20000)
    equal(run(clamp(world, lambda t: 0.0).read()), ([None], bytes([SENSOR_FAULT])), "no bias: not connected")
    raises(OSError, run, clamp(world, lambda t: 0.5, Faults(unplugged=1.0)).read())


def shaking(mm_s, hz):
    amplitude = mm_s * math.sqrt(2) * 2 * math.pi * hz / 9806.65
    return lambda t: (amplitude * math.sin(2 * math.pi * hz * t), 0.0, 1.0)


def lis3dh(world, g, rate_hz=1344, faults=None):
    i2c = bus(world, 0x18, FakeLis3dh(g, faults or Faults(noise=1)))
    chip = Lis3dh(I2cRegisters(i2c, 0x18, 0x80), rate_hz, 2)
    return Accelerometer("spindle", 10000, chip, world.sleep_ms, world.mono_ms), i2c


def adxl345(world, g, rate_hz=3200):
    spi = FakeSpi(FakeAdxl345(g, Faults(noise=1)), world.now_us, world.spend_us)
    chip = Adxl345(SpiRegisters(spi, spi.select), rate_hz, 16)
    return Accelerometer("spindle", 10000, chip, world.sleep_ms, world.mono_ms)


def test_accelerometers_agree_on_a_machine():
    world = World()
    for sensor in (lis3dh(world, shaking(2.8, 49.3))[0], adxl345(world, shaking(2.8, 49.3))):
        values, qualities = run(sensor.read())
        equal(qualities, None, sensor.profile)
        true(270 <= values[0] <= 290, "%s: %s" % (sensor.profile, values))
        true(values[1] < 15 and values[2] < 15, "%s: %s" % (sensor.profile, values))
        equal(sensor.taken_ms, world.mono_ms())
        equal(sensor.overruns, 0)


def test_a_window_with_a_gap_is_thrown_away():
    """Other tasks hold the loop: the FIFO overflows twice, the last attempt keeps the loop to itself."""
    world = World()
    world.lag_us = 40000
    sensor, _ = lis3dh(world, shaking(4.5, 100.0))
    values, qualities = run(sensor.read())
    equal((qualities, sensor.overruns), (None, 2))
    true(440 <= values[0] <= 460)


def test_accelerometer_faults():
    world = World()
    sensor, i2c = lis3dh(world, lambda t: (2.5 * math.sin(300 * t), 0.0, 1.0))
    equal(run(sensor.read())[1], bytes([OUT_OF_RANGE] * 6), "beyond its range")
    sensor, i2c = lis3dh(world, lambda t: (0.0, 0.0, 0.0), faults=Faults())
    equal(run(sensor.read())[1], bytes([SENSOR_FAULT] * 6), "no gravity: a stuck sensor or a dead bus")
    sensor, i2c = lis3dh(world, shaking(1.0, 50.0))
    i2c.chips.clear()
    raises(OSError, run, sensor.read())
    i2c.chips[0x18] = FakeSht3x(None, None)
    raises((OSError, ParkgateError, AttributeError), run, sensor.read())
    equal(GOOD, 0)

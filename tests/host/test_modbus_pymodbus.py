"""The client against a foreign server: pymodbus on a pseudo terminal, with the faults of a real line."""

import json
import os
import time
from pathlib import Path

import pytest

from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.meter_simulator import Faults, MeterBus, SimulatedMeter
from host_tools.meters.register_map import read_document
from modbus_line import TtyLine
from parkgate.errors import LinkError, ModbusExceptionReply, ModbusTimeout, SettingsError
from parkgate.meters import profiles
from parkgate.meters.modbus.client import Reply
from parkgate.meters.modbus.frame import encode_request
from parkgate.reading import GOOD

CURVE = read_curve()


class Site:
    """Meters on a line, and the gateway's end of it."""

    def __init__(self, folder: Path, *meters, **options):
        client_options = options.pop("client", {})
        self.log = folder / "answers.jsonl"
        self.bus = MeterBus(meters, CURVE, log=self.log, **options)
        self.bus.start()
        self.line = TtyLine(self.bus.device, **client_options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.line.close()
        self.bus.stop()

    def answers(self):
        return [json.loads(text) for text in self.log.read_text().splitlines()]


def profile(name, channels=()):
    return profiles.load(read_document(name), profiles.split_name(name)[0], channels)


@pytest.mark.parametrize("name", ["eastron-sdm630", "pzem-004t", "abb-b2x", "carlo-gavazzi-em340", "selec-em2m"])
def test_values_equal_the_registers_that_the_meter_held(tmp_path, name):
    from tests.vectors.generate.meter_vectors import round_away, what_it_says

    with Site(tmp_path, SimulatedMeter(name, 17)) as site:
        document = read_document(name)
        everything = profile(name, tuple(row[0] for row in document["registers"]))
        values, qualities = everything.plan.empty()
        assert site.line.read_all(17, everything.plan, values, qualities) == []
    assert set(qualities) == {GOOD}
    held = {}
    for answer in site.answers():
        assert answer["fate"] == "sent"
        held.update({answer["address"] + i: word for i, word in enumerate(answer["words"])})
    rows = {row[0]: row for row in document["registers"]}
    for channel, value in zip(everything.channels, values):
        _, address, type_name, decimals, unit, _ = rows[channel.quantity]
        words = [held[address + i] for i in range(channel.wide)]
        prefix = {"k": 3}.get(unit[0], 0) if unit != channel.unit else 0
        exact = what_it_says(type_name, document["order"], words).scaleb(channel.scale - decimals + prefix)
        assert value == round_away(exact), channel.quantity


def test_meters_on_one_line_agree_with_themselves(tmp_path):
    """Power times time is energy, and the phases make the whole."""
    with Site(tmp_path, SimulatedMeter("eastron-sdm630", 1, offset_s=70.0)) as site:
        names = ("active_power", "active_power_l1", "active_power_l2", "active_power_l3", "import_active_energy")
        meter = profile("eastron-sdm630", names)
        load = site.bus._loads[1]
        values, qualities = meter.plan.empty()
        site.line.read_all(1, meter.plan, values, qualities)
        whole, *phases, energy = values
        assert sum(phases) == pytest.approx(whole, rel=0.02)  # two reads, some milliseconds apart
        assert energy >= 1_050_000
        for t_s in (0.0, 10.0, 1000.0, 5000.0):
            gained = load.quantity("import_active_energy", t_s + 3600) - load.quantity("import_active_energy", t_s)
            steps = 20_000
            mean = sum(load.quantity("active_power", t_s + 3600 * (i + 0.5) / steps) for i in range(steps)) / steps
            assert gained == pytest.approx(mean, rel=1e-4)


def test_a_noisy_meter_gives_right_values_or_none(tmp_path):
    faults = Faults(crc=0.12, cut=0.08, dropped=0.03, late=0.05, late_ms=180, noise=0.1)
    with Site(
        tmp_path,
        SimulatedMeter("eastron-sdm630", 1, faults=faults),
        SimulatedMeter("pzem-004t", 2),
        client={"reply_timeout_us": 100_000, "frame_gap_us": 10_000, "hold_off_us": 600_000, "late_guard_us": 300_000},
        seed=7,
    ) as site:
        credited = 0
        for _ in range(100):
            for unit_id, count in ((1, 24), (2, 10)):
                if not site.line.client.may_ask(unit_id, 4, count, us()):
                    site.line.ask(unit_id, 4, 0, 1, True)
                    continue
                event = site.line.ask(unit_id, 4, 0, count)
                if isinstance(event, Reply):
                    credited += 1
                    answer = site.answers()[-1]
                    assert answer["fate"] in ("sent", "noise", "late")  # late ones are waited for in the end
                    assert (answer["unit"], answer["words"]) == (unit_id, event.words())
        time.sleep(0.25)
        noisy, quiet = (site.line.client.unit(i).statistics for i in (1, 2))
        fates = [answer["fate"] for answer in site.answers() if answer["unit"] == 1]
    assert credited > 100
    assert noisy.requests == len(fates)
    for statistics in (noisy, quiet):
        total = statistics.ok + statistics.timeout + statistics.crc + statistics.short + statistics.foreign
        assert statistics.requests == total + statistics.refused
    assert noisy.crc + noisy.short > 0
    assert noisy.timeout > 0
    # A late answer may be credited to a later probe, whose data nobody uses.
    assert noisy.ok <= fates.count("sent") + fates.count("noise") + fates.count("late")
    assert quiet.ok + quiet.timeout + quiet.crc >= quiet.requests - 2
    assert quiet.ok > 0.9 * quiet.requests


def us():
    from modbus_line import clock_us

    return clock_us()


def test_dead_and_absent_meters_are_silent(tmp_path):
    with Site(
        tmp_path,
        SimulatedMeter("pzem-004t", 5),
        SimulatedMeter("pzem-004t", 6, dead=True),
        client={"reply_timeout_us": 60_000},
    ) as site:
        assert isinstance(site.line.ask(6, 4, 0, 10), ModbusTimeout)
        assert isinstance(site.line.ask(7, 4, 0, 10), ModbusTimeout)
        assert isinstance(site.line.ask(5, 4, 0, 10), Reply)
        assert site.bus.counts == {"dead": 1, "foreign": 1, "sent": 1}


def test_refused_blocks_are_split_and_wrong_functions_refused(tmp_path):
    # The registers of an ABB meter lie apart; a plan that bridges the gaps is refused until it does not.
    with Site(tmp_path, SimulatedMeter("abb-b2x", 3)) as site:
        document = {**read_document("abb-b2x"), "gap_max": 30}
        meter = profiles.load(document, "abb-b2x")
        assert len(meter.plan.blocks) < 6
        values, qualities = meter.plan.empty()
        assert site.line.read_all(3, meter.plan, values, qualities) == []
        assert set(qualities) == {GOOD}
        assert meter.plan.refusals > 0
        refused = site.line.ask(3, 4, 0x5B00, 2)
        assert isinstance(refused, ModbusExceptionReply)
        assert refused.code == 1
        assert site.line.client.unit(3).statistics.exceptions[2] == meter.plan.refusals


def test_an_echoing_adapter(tmp_path):
    with Site(tmp_path, SimulatedMeter("pzem-004t", 1), echo=True) as site:
        for _ in range(5):
            assert isinstance(site.line.ask(1, 4, 0, 10), Reply)
        assert site.line.client.unit(1).statistics.echo_frames == 5
        assert site.line.client.adapter_echoes


def test_a_second_client_on_the_line(tmp_path):
    """Another master asks one of our meters just before and while we do: no answer of its is taken for ours."""
    with Site(tmp_path, SimulatedMeter("eastron-sdm630", 1), client={"reply_timeout_us": 60_000}) as site:
        client = site.line.client
        client.unit(1)
        theirs = encode_request(1, 4, 0x34, 2)
        # Before: its request and the answer to it are seen on the line.
        client.receive(theirs, us())
        time.sleep(0.03)
        client.poll(us())
        assert not client.may_ask(1, 4, 2, us())
        os.write(site.line._file, theirs)
        time.sleep(0.05)
        site.line._step(1000)
        client.poll((us() + 30_000) % (1 << 30))
        assert client.may_ask(1, 4, 2, us())
        assert client.unit(1).statistics.late_frames == 1
        assert isinstance(site.line.ask(1, 4, 0, 2), Reply)


def test_a_line_at_its_own_speed_and_a_link_and_a_second_start(tmp_path):
    link = tmp_path / "bus"
    energies = []
    for started_s in (None, time.monotonic() - 1000):
        with MeterBus([SimulatedMeter("pzem-004t", 1)], CURVE, link=link, paced=True, baud=19200, started_s=started_s):
            line = TtyLine(str(link), baud=19200)
            event = line.ask(1, 4, 0, 10)
            assert isinstance(event, Reply)
            assert event.latency_us > 5_000
            energies.append(event.words()[5] | event.words()[6] << 16)
            line.close()
        assert not link.exists()
    assert energies[1] > energies[0] + 50, "a bus that is started again goes on where it was"


def test_faults_of_the_description_are_said(tmp_path):
    with pytest.raises(SettingsError, match="same unit id"):
        MeterBus([SimulatedMeter("pzem-004t", 1), SimulatedMeter("pzem-004t", 1)], CURVE)
    bus = MeterBus([SimulatedMeter("pzem-004t", 1)], CURVE, device=str(tmp_path / "no-such-port"))
    with pytest.raises(LinkError, match="did not start"):
        bus.start()

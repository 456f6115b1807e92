"""A recording whose wall clock is set back by an hour goes through the whole gateway and the hub: every reading arrives
once, in order, with the time that the clock showed, and the step itself is a signed event.

The device's side is replay_device.py: driver, sampler, journal, sealer of the firmware on MicroPython, in virtual time.
"""

import contextlib
import csv
import json
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import pytest

from host_tools.hub.reading import readings, window
from host_tools.hub.stores.store import connect
from host_tools.image.device_libraries import FOLDER as DEVICE_LIBRARIES
from hub_rig import Rig
from parkgate import events
from parkgate.reading import SYNCHRONISED
from parkgate.wire import cose
from parkgate.wire.batch import Batch

ROOT = Path(__file__).resolve().parent.parent.parent
PIECE = ROOT / "tests" / "vectors" / "recordings" / "machine_temperature_step.csv"
STEP_S = 300
BACK_MS = -3_600_000  # an hour; the published clock shows 3,300 s less, five minutes later
SAMPLE_MS = 50  # a conversion and what is around it
RAW_MAX = 120  # raw units at 20 mA
ROWS_OF_A_BATCH = 240
LATER_MS = 5_000 * 86_400_000  # the firmware believes no clock that shows a time before it was made


def recording(path):
    """(Unix ms on the clock on the wall, raw value) of each row, 5,000 days later. Local time is taken as it stands."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(("#", "ts_"))]
    rows = []
    for time, value in csv.reader(lines):
        wall = datetime.fromisoformat(time).replace(tzinfo=timezone.utc)
        rows.append((int(wall.timestamp() * 1000) + LATER_MS, float(value)))
    return rows


class Gateway:
    """A simulated gateway's folder with the transmitter that plays `rows`, and its key once it has run."""

    name = "machine"

    def __init__(self, folder, rows, hub_xy):
        self.folder = folder
        self.xy = b""
        self._rows = rows
        folder.mkdir()
        (folder / "clock.csv").write_text("".join(f"{wall}\n" for wall, _ in rows))
        with open(folder / "raw.csv", "w", newline="", encoding="utf-8") as file:
            # 4 to 20 mA over 100 ohm
            microvolts = (round(400_000 + value * 1_600_000 / RAW_MAX) for _, value in rows)
            csv.writer(file).writerows([["t", "uV"], *enumerate(microvolts)])
        chip = {"part": "ads1115", "address": 72, "microvolts": [{"file": "raw.csv", "step_s": STEP_S}]}
        (folder / "workshop.json").write_text(json.dumps({"ports": {"i2c0": {"chips": [chip]}}}))
        options = {"quantity": "machine_temperature", "scale": 4, "at_4ma": 0, "at_20ma": RAW_MAX * 10_000}
        sensor = {"name": "machine", "family": "current_loop", "port": "i2c0", "period_ms": STEP_S * 1000}
        settings = {
            "hub": {"public_key": hub_xy.hex()},
            "sensors": [{**sensor, "options": options}],
            "sealing": {"rows_max": ROWS_OF_A_BATCH},
        }
        (folder / "settings.json").write_text(json.dumps(settings))

    def play(self, unix_port, first, last):
        """One start of the gateway, from row `first` to before `last`; what it says at its end."""
        path = [ROOT / "lib", ROOT / "firmware", ROOT / "boards" / "unix", DEVICE_LIBRARIES]
        script = Path(__file__).with_name("replay_device.py")
        arguments = [str(self.folder), str(first), str(last), str(STEP_S)]
        finished = unix_port.run(script, arguments, path=path, heapsize="4M", timeout_s=280)
        assert finished.exit_code == 0, finished.output
        said = json.loads(finished.output.splitlines()[-1])
        assert (said["errors"], said["crashes"], said["faults"], said["dropped"]) == (0, 0, 0, 0)
        self.xy = bytes.fromhex(said["public_key"])
        return said

    def messages(self):
        """All sealed batches, in the order of the chain."""
        topic = f"tele/{cose.thumbprint(self.xy)[:16].hex()}/batch"
        paths = sorted(self.folder.glob("batch.*"), key=lambda path: int(path.suffix[1:]))
        return [(topic, path.read_bytes()) for path in paths]


def check(rig, gateway, rows, said):
    """Everything arrived: as signed, in order, with the times of the wall clock; and what the hub shows of it. The
    steps that the gateway noted."""
    assert said["sampled"] == said["buffered"] == 2 * len(rows)
    messages = gateway.messages()
    assert len(messages) == said["sealed"]
    rig.enrol(gateway)
    outcomes = rig.take(*messages)
    assert {outcome.kind for outcome in outcomes} == {"new"}, [outcome.what for outcome in outcomes]
    assert all(outcome.receipt for outcome in outcomes)
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        gw = readings.gateway_row(db, cose.thumbprint(gateway.xy).hex())
        middle = rows[len(rows) // 2][0]  # a question is answered with 20,000 points at most: asked twice
        shown = [
            window.window(db, gw, [2], *span, None, 20_000)["series"][0] for span in ((0, middle), (middle + 1, 2**50))
        ]
        told = readings.recent_events(db, gw, 500)
    signed = []
    taken_events = []
    for _, data in messages:
        batch = Batch(data)
        taken_events += batch.events
        for table in batch.tables:
            times, values = table.times(batch.base_ms), table.column(1)
            assert table.quality == [None, None], "all good"
            signed += zip(times, table.trust, values)
    assert len(signed) == len(rows), "nothing is lost, nothing is twice"
    for (time_ms, trust, value), (wall_ms, raw) in zip(signed, rows):
        assert 0 <= time_ms - wall_ms <= SAMPLE_MS
        assert trust == SYNCHRONISED
        assert abs(value - raw * 10_000) <= 100, "half a step of the converter, in 0.0001"
    steps = [event[2] for event in taken_events if event[0] == events.CLOCK_SET]
    assert {part["quantity"] for part in shown} == {"machine_temperature"}
    at_hub = [pair for part in shown for pair in zip(part["times"], part["values"])]
    assert sorted(at_hub) == sorted((time_ms, value) for time_ms, _, value in signed)
    assert any("clock corrected by -3600.000 s" in event["what"] for event in told)
    return steps


@pytest.fixture
def rig(tmp_path):
    (tmp_path / "hub").mkdir()
    rig = Rig(tmp_path / "hub")
    yield rig
    rig.store.close()


def test_an_hour_twice_and_a_power_cut_within_it(unix_port, tmp_path, rig):
    rows = recording(PIECE)
    steps = [b[0] - a[0] for a, b in pairwise(rows)]
    assert steps.count(STEP_S * 1000) == len(steps) - 1 and min(steps) == -3_300_000
    at = steps.index(-3_300_000) + 1
    gateway = Gateway(tmp_path / "gateway", rows, rig.key.xy)
    gateway.play(unix_port, 0, at + 5)
    said = gateway.play(unix_port, at + 5, len(rows))
    steps = check(rig, gateway, rows, said)
    assert steps == [None, BACK_MS, None]  # set at each start, and set back in between


def test_the_whole_recording(unix_port, tmp_path, reference, rig):
    rows = recording(reference / "machine_temperature.csv")
    assert len(rows) == 22_695
    gateway = Gateway(tmp_path / "gateway", rows, rig.key.xy)
    said = gateway.play(unix_port, 0, len(rows))
    assert check(rig, gateway, rows, said) == [None, BACK_MS]

"""A profile with a fault is refused when settings are staged or taken in, by name and line, on the gateway itself."""

import json
import shutil
import time

import pytest

from host_tools.base.paths import METER_PROFILES
from host_tools.gateway.link import GatewayRefused, Link
from host_tools.sim.simulate import SimulatedGateway

SETTINGS = {
    "buses": [{"name": "rs485", "device": "/dev/null"}],
    "instruments": [{"name": "press", "profile": "eastron-sdm120", "bus": "rs485", "unit_id": 1}],
}
STATUSES = 4  # lines of status, one a second: the heap is at its highest within them
FAULTS = {
    "bad-quantity": ('["current", 6,', '["volts", 6,', "unknown quantity 'volts'"),
    "bad-scale": ('["current", 6, "float32", 0,', '["current", 6, "float32", 77,', "wrong scale: decimals 77"),
    "bad-address": ('["current", 6,', '["current", 65535,', "impossible address 65535"),
}


@pytest.fixture
def gateway(tmp_path):
    made = SimulatedGateway(tmp_path / "gateway")
    made.folder.mkdir()
    made.configure(SETTINGS)
    text = (METER_PROFILES / "eastron-sdm120.json").read_text(encoding="utf-8")
    for name, (old, new, _) in FAULTS.items():
        assert old in text
        (made.folder / "meters" / f"{name}.json").write_text(text.replace(old, new, 1), encoding="utf-8")
    yield made
    made.kill()


def line_of_current(folder, name):
    text = (folder / "meters" / f"{name}.json").read_text(encoding="utf-8")
    return 1 + next(i for i, line in enumerate(text.splitlines()) if '"Current' in line)


def test_staging_refuses_by_name_and_line(gateway):
    gateway.start()
    gateway.public_key()
    with Link(str(gateway.folder)) as link:
        for name, (_, _, words) in FAULTS.items():
            line = line_of_current(gateway.folder, name)
            for command in (
                f"settings set instruments.press.profile {name}",
                f"settings add instruments name=oven profile={name} bus=rs485 unit_id=2",
            ):
                with pytest.raises(GatewayRefused) as refusal:
                    link.ask(command)
                assert f"{name}.json line {line}: " in str(refusal.value), str(refusal.value)
                assert words in str(refusal.value)
        with pytest.raises(GatewayRefused, match="there is no profile 'nowhere' here"):
            link.ask("settings set instruments.press.profile nowhere")
        with pytest.raises(GatewayRefused, match=r"instruments.0.channels: .* it has no 'voltage_l3'"):
            link.ask("settings set instruments.press.channels voltage_l3")
        assert link.ask("settings diff") == ["nothing is staged"]
        link.ask("settings set instruments.press.channels voltage")


@pytest.mark.parametrize(("notes_bytes", "fits"), [(0, True), (25_000, False)])
def test_a_large_profile_is_staged_in_steps_or_refused_for_want_of_memory(gateway, notes_bytes, fits):
    """On a Pico W, with half the bytes an object and its code in flash, 45 kB do for what takes 110 kB here."""
    gateway.configure(SETTINGS)
    gateway.bring_meters()
    large = json.loads((METER_PROFILES / "eastron-sdm630.json").read_text(encoding="utf-8"))
    large["notes"] = ["x" * 100] * (notes_bytes // 100)
    (gateway.folder / "meters" / "large.json").write_text(json.dumps(large), encoding="utf-8")
    gateway.start()
    used_bytes, seen = 0, set()
    while len(seen) < STATUSES:
        used_bytes = max(used_bytes, gateway.status.get("heap_used", 0))
        seen.add(gateway.status.get("uptime_ms"))
        time.sleep(0.05)
    gateway.kill()
    gateway.heap_bytes = used_bytes + 120_000
    gateway.start()
    gateway.public_key()
    with Link(str(gateway.folder)) as link:
        link.ask("settings set broker.port 1999")
        staged = (gateway.folder / "settings.staged").read_bytes()
        wanted = "settings add instruments name=oven profile=large bus=rs485 unit_id=2"
        if fits:
            link.ask(wanted)
            assert "+ instruments.oven.profile = large" in link.ask("settings diff")
        else:
            with pytest.raises(GatewayRefused, match="out of memory just now"):
                link.ask(wanted)
            assert (gateway.folder / "settings.staged").read_bytes() == staged
        assert link.facts("status")["crashes"] == "0"


def test_settings_from_a_file_with_a_bad_profile_are_not_taken_in(gateway):
    gateway.start()
    gateway.public_key()
    gateway.kill()
    bad = json.loads(json.dumps(SETTINGS))
    bad["instruments"].append({"name": "oven", "profile": "bad-address", "bus": "rs485", "unit_id": 2})
    (gateway.folder / "settings.json").write_text(json.dumps(bad))
    gateway.start()
    gateway.public_key()
    with Link(str(gateway.folder)) as link:
        problem = link.facts("status")["problem"]
        assert [line for line in link.ask("meters list") if line.startswith("press")]
        assert not [line for line in link.ask("meters list") if line.startswith("oven")]
    line = line_of_current(gateway.folder, "bad-address")
    assert f"instruments.1.profile: bad-address.json line {line}: " in problem
    shutil.rmtree(gateway.folder)

"""The Modbus room on the Unix port: what it keeps on the heap, what a poll costs, how fast damage is refused.

Objects are twice as large there as on a 32-bit board. A poll is all usual channels of an Eastron SDM630: two
requests, 36 registers, 12 floats taken apart.
"""

import json
from pathlib import Path

from host_tools.base.unix_port import ForkServer

ROOT = Path(__file__).resolve().parent.parent.parent
DEVICE_SCRIPT = Path(__file__).with_name("modbus_device.py")


def figures(size: int = 1) -> list[dict]:
    """The figures; `size` multiplies the campaign of damaged replies."""
    with ForkServer() as server:
        finished = server.run(DEVICE_SCRIPT, [str(ROOT / "lib" / "meters")], path=[ROOT / "lib"], timeout_s=120)
    if finished.exit_code != 0:
        raise RuntimeError(f"the bench of the Modbus room failed on the Unix port:\n{finished.output}")
    device = json.loads(finished.output.splitlines()[-1])
    channels = device["channels"]
    from tests.host import modbus_campaign

    damaged = modbus_campaign.run(20_000 * size, 1)
    return [
        _figure("modbus client, heap kept", device["client_bytes"], "B"),
        _figure("modbus unit with statistics, heap kept", device["unit_bytes"], "B"),
        _figure(f"meter profile of {channels} channels, heap kept", device["profile_bytes"], "B"),
        _figure("meter profile, heap taken while loading", device["profile_load_bytes"], "B"),
        _figure(f"poll of {channels} channels, time", round(device["poll_us"]), "us"),
        _figure(f"poll of {channels} channels, garbage", device["garbage_bytes"], "B"),
        _figure("growth of the heap over 1,000 polls", device["growth_bytes"], "B"),
        _figure("damaged replies, wrong values credited", damaged.wrong, f"of {damaged.frames}"),
        _figure("damaged replies, losses without a name", damaged.uncounted, f"of {damaged.frames}"),
    ]


def _figure(name: str, value, unit: str) -> dict:
    return {"name": name, "value": value, "unit": unit, "peer": None, "peer_value": None, "ratio": None}

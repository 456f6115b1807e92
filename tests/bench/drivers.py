"""The sensors on the Unix port: what each driver keeps on the heap, what a poll leaves behind, whether it grows.

Objects are twice as large there as on a 32-bit board, and the firmware is compiled there from its source, with all its
names: a board's image takes less. A driver's figure is its code with all that only it loads, and then its objects after
a first poll.
"""

import json
from pathlib import Path

from host_tools.base.unix_port import ForkServer
from parkgate.settings import sensors

ROOT = Path(__file__).resolve().parent.parent.parent
PATH = [ROOT / "boards" / "unix", ROOT / "firmware", ROOT / "lib", ROOT / "tests" / "sim"]
DEVICE_SCRIPT = Path(__file__).with_name("drivers_device.py")
MEASURED = (*sensors.FAMILIES, "reduction", "simulated parts")


def figures(size: int = 1) -> list[dict]:
    """The figures; `size` multiplies the polls that growth is looked for in."""
    found = []
    with ForkServer() as server:
        for family in MEASURED:
            finished = server.run(DEVICE_SCRIPT, [family, str(size)], path=PATH, timeout_s=240, cwd=ROOT)
            if finished.exit_code != 0:
                raise RuntimeError(f"the bench of {family} failed on the Unix port:\n{finished.output}")
            device = json.loads(finished.output.splitlines()[-1])
            found += [_figure(f"{family}: {name}", value, unit) for name, value, unit in device]
    return found


def _figure(name: str, value, unit: str) -> dict:
    return {"name": name, "value": value, "unit": unit, "peer": None, "peer_value": None, "ratio": None}

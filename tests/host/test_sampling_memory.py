"""Steady-state sampling allocates nothing a poll that stays: hundreds of polls, with every fault of the line among
them, leave the heap as it was. The device's side is sampling_memory_device.py; it can plant a leak, so that this can
fail.
"""

import json
from pathlib import Path

from parkgate.settings.sensors import FAMILIES

ROOT = Path(__file__).resolve().parent.parent.parent
POLLS = 400
OBJECT_BYTES = 32  # the smallest thing on the heap of the Unix port
SLACK_BYTES = 8 * OBJECT_BYTES  # what caches of the interpreter may still take at first: far less than one a poll


def grown(unix_port, *arguments):
    """Name → bytes kept after one, two and three times POLLS."""
    path = [ROOT / "lib", ROOT / "firmware", ROOT / "tests" / "sim", ROOT / "tests" / "bench"]
    finished = unix_port.run(
        Path(__file__).with_name("sampling_memory_device.py"), [str(POLLS), *arguments], path=path, heapsize="6M",
        timeout_s=200, cwd=ROOT,
    )  # fmt: skip
    assert finished.exit_code == 0, finished.output
    return json.loads(finished.output.splitlines()[-1])


def test_no_poll_leaves_anything_behind(unix_port):
    found = grown(unix_port)
    assert len(found) == len(FAMILIES) + 2
    for name, after in found.items():
        assert max(after) <= SLACK_BYTES, (name, after)
        assert after[2] - after[0] <= OBJECT_BYTES, (name, after)


def test_a_planted_leak_is_seen(unix_port):
    """One small object a poll: the same bounds find it with every family."""
    found = grown(unix_port, "leak")
    for name, after in found.items():
        assert after[2] - after[0] > 8 * OBJECT_BYTES, (name, after)

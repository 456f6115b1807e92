"""A factory reset leaves nothing readable in the chip: MicroPython's own littlefs, every byte of it looked at."""

from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@pytest.mark.parametrize("program_size", [32, 128, 256])
def test_nothing_of_a_removed_file_stays_in_the_chip(unix_port, program_size):
    path = [ROOT / "firmware", ROOT / "lib"]
    done = unix_port.run(HERE / "scrub_device.py", [str(program_size), "remove"], path=path, heapsize="8M")
    before, after = map(int, done.output.split()[:2])
    assert before > 30 and after > 10, done.output  # removing alone leaves much: this test can see it
    done = unix_port.run(HERE / "scrub_device.py", [str(program_size), "scrub"], path=path, heapsize="8M")
    before, after, kept, fed = done.output.split()[:4]
    assert int(before) > 30 and int(after) == 0 and int(kept) == 12 and fed == "True", done.output

"""On an emulated plain Pico: the power fails while `parkgate flash --app-only` writes. The board then runs its old
firmware, or none until the same command has run again; never old and new in parts. PICO_IMAGE: see flash_image.py.

`make fuzz` cuts at more places [SIZE=n].
"""

import os
import pickle
import signal
import subprocess
import sys

import pytest

from host_tools.image import boards, flash_image, flash_write, littlefs_image
from tests.board.emulated_pico import EmulatedPico
from tests.board.flash_image import FLASH_BYTES, REPOSITORY, firmware_bytes, missing_for
from tests.board.test_prompt import _image

MISSING = missing_for("pico")
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(7200)]

SIZE = int(os.environ.get("PARKGATE_FUZZ_SIZE", "0"))
BOARD = boards.load("pico")
OLDER = ("lib/log.mpy", "lib/gateway/totals.mpy", "lib/parkgate/clock.mpy", "lib/tasks/seal.mpy")  # all that differs
START_S = 600
CUTS = range(1, 40, 2) if SIZE else (2, 9, 16)  # flash operations that are still whole
TOOL = """
import pickle, sys
from host_tools import boards, flash_write
files, table, port = pickle.load(open(sys.argv[1], 'rb'))
said = flash_write.write_app(boards.load('pico'), files, table, port, flash_write.Console(quiet=True))
print('done', said)
"""


def _start_tool(pico, folder, new, table):
    """The tool as a program of its own, with the board at the prompt."""
    pico.enter_raw_repl(START_S)
    pico.console.write(b"\x02")  # out of the raw prompt
    port = f"socket://127.0.0.1:{pico.ports['console']}"
    (folder / "update").write_bytes(pickle.dumps((new, table, port)))
    return subprocess.Popen(
        [sys.executable, "-c", TOOL, str(folder / "update")], cwd=REPOSITORY, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def _first_words(pico):
    """What a start comes to: "gateway" or "prompt"."""
    pico.power_off()
    pico.power_on()
    said = b""
    while True:
        said += pico.console.read_until(b"\n", START_S)
        assert b"Traceback" not in said, said[-2000:].decode()
        if b"status {" in said:
            return "gateway"
        if b"the firmware is not whole" in said:
            return "prompt"


def _chip(plan, folder):
    """The flash chip as the boot loader leaves it, with an older firmware in its file system."""
    old = {**plan.files, **{path: plan.files[path] + bytes(1) for path in OLDER}}  # MicroPython reads no such byte
    uf2 = folder / "parkgate.uf2"
    uf2.write_bytes(plan.outputs["parkgate-pico.uf2"])
    chip = bytearray(firmware_bytes(uf2).ljust(FLASH_BYTES, b"\xff"))
    place, image, _ = plan.writes[-1]
    chip[place : place + len(image)] = littlefs_image.build(old, len(image), "rp2")
    return bytes(chip)


@pytest.mark.fuzz
def test_no_cut_leaves_a_mixture(tmp_path):
    plan = flash_image.plan(BOARD, _image("stock"), None)
    new = {path: data for path, data in plan.files.items() if path.startswith("lib/") or path == "main.py"}
    table = plan.writes[1][1][flash_image.TABLE_HEAD_BYTES :]
    chip = _chip(plan, tmp_path)
    flash = tmp_path / "flash.bin"
    found = []
    for cut in CUTS:
        flash.write_bytes(chip)
        with EmulatedPico(flash=flash, pace=0) as pico:
            pico.console.read_until(b"status {", START_S)
            tool = _start_tool(pico, tmp_path, new, table)
            pico.cut_after(cut)
            pico.wait_for_event("power_cut", START_S)
            os.killpg(tool.pid, signal.SIGKILL)
            tool.communicate()
            starts = [_first_words(pico), _first_words(pico)]
            assert starts[0] == starts[1], "one more start changes nothing"
            tool = _start_tool(pico, tmp_path, new, table)
            said = tool.communicate(timeout=START_S)[0]
            assert tool.returncode == 0, said
            assert _first_words(pico) == "gateway"
        found.append((cut, starts[0], said.strip()))
        print(*found[-1], flush=True)
    assert any(where == "prompt" for _, where, _ in found)


def test_the_mark_keeps_the_prompt():
    """The words of main.py and of the tool are the same mark."""
    files = flash_image.app_files(BOARD, table_in_flash=True)
    assert b"'/data/repl'" in files["main.py"] and "'/data/repl'" in flash_write.HOLD

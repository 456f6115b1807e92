"""On an emulated plain Pico: no Ctrl-C of a start leads to MicroPython's prompt, a fallen program does not either, and
`repl` at the console does. PICO_IMAGE names MicroPython's image, PARKGATE_PICO_IMAGE one built with our board folder.

`make fuzz` takes more moments [SIZE=n].
"""

import os
import re
import shutil
from pathlib import Path

import pytest

from host_tools.gateway.link import Link
from host_tools.image import boards, flash_image
from parkgate.console.access import Access
from tests.board.emulated_pico import EmulatedPico
from tests.board.flash_image import FLASH_BYTES, firmware_bytes, missing_for

MISSING = missing_for("pico")
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(1800)]

CODE = "richtig-1"
SIZE = int(os.environ.get("PARKGATE_FUZZ_SIZE", "0"))
MOMENTS = 200 * SIZE or 20
FLOODS = 4 * SIZE or 1
FIRST_MS = 70.0  # main.py has begun by then
SETTLE_MS = 150.0
START_S = 240


def _image(name: str) -> bytes:
    if name == "own":
        if not os.environ.get("PARKGATE_PICO_IMAGE"):
            pytest.skip("no build of ours: set PARKGATE_PICO_IMAGE=FILE.uf2")
        return Path(os.environ["PARKGATE_PICO_IMAGE"]).read_bytes()
    files = [Path(name) for name in os.environ["PICO_IMAGE"].split(os.pathsep)]
    return next(file for file in files if b"Raspberry Pi Pico with RP2040" in firmware_bytes(file)).read_bytes()


def _flash(folder: Path, name: str) -> Path:
    """The flash of a Pico with the gateway on it and a code set."""
    records = []
    Access(None, records.append).set_code(CODE, bytes(16))
    data = folder / "data"
    data.mkdir(exist_ok=True)
    (data / "access.code").write_bytes(records[-1])
    plan = flash_image.plan(boards.load("pico"), _image(name), data)
    uf2 = folder / "parkgate.uf2"
    uf2.write_bytes(plan.outputs["parkgate-pico.uf2"])
    flash = folder / "locked.bin"
    flash.write_bytes(firmware_bytes(uf2).ljust(FLASH_BYTES, b"\xff"))
    return flash


@pytest.fixture(scope="module", params=["stock", "own"])
def pico(request, tmp_path_factory):
    """A board, off, with a code set; after its first start, which makes key and journal."""
    folder = tmp_path_factory.mktemp(request.param)
    _flash(folder, request.param)
    flash = folder / "flash.bin"
    shutil.copy(folder / "locked.bin", flash)
    with EmulatedPico(flash=flash, pace=0) as board:
        board.console.read_until(b"status {", START_S)
        board.power_off()
        yield board


def _start(pico, moments, until_ms):
    """Start, type Ctrl-C at each of the moments; what the board said until then."""
    pico.power_off()
    before = pico.board_ms()
    pico.power_on()
    for at_ms in moments:
        pico.type_at(at_ms, b"\x03")
    said = b""
    while pico.board_ms() - before < until_ms:
        said += pico.console.everything()
    return said + pico.console.everything()


def _wait_prompt(pico):
    """The first one is said before the computer has found the board again."""
    for _ in range(START_S // 2):
        pico.console.write(b"\r")
        try:
            pico.console.read_until(b">>> ", 2)
            return
        except TimeoutError:
            pass
    raise AssertionError("no prompt")


@pytest.mark.fuzz
def test_ctrl_c_at_each_moment_of_the_start_opens_no_prompt(pico):
    opened = []
    for turn in range(MOMENTS):
        at_ms = FIRST_MS * (turn + 0.5) / MOMENTS
        said = _start(pico, [at_ms], at_ms + SETTLE_MS)
        if b">>>" in said or b"KeyboardInterrupt" in said:
            opened.append((at_ms, said))
    for turn in range(FLOODS):  # and through all of the start, 20 ms apart, as far as the board's buffer takes them
        moments = [turn * 20 / FLOODS + 20 * n for n in range(450)]
        pico.power_off()
        pico.power_on()
        for at_ms in moments:
            pico.type_at(at_ms, b"\x03")
        said = pico.console.read_until(b"status {", START_S)
        pico.console.write(b"\ridentity\r")
        said += pico.console.read_until(b"unlocked = no", START_S)
        if b">>>" in said or b"KeyboardInterrupt" in said:
            opened.append((moments, said))
    print(f"{MOMENTS} single and {450 * FLOODS} repeated Ctrl-C, {len(opened)} prompts")
    assert not opened


def test_the_command_repl_leads_to_the_prompt_for_one_start(pico):
    pico.power_off()
    pico.power_on()
    pico.console.read_until(b"status {", START_S)
    pico.console.write(b"repl\r")
    pico.console.read_until(b"locked", START_S)
    pico.console.write(b"unlock %s\r" % CODE.encode())
    pico.console.read_until(b"unlocked for", START_S)
    pico.console.write(b"repl\r")
    assert pico.wait_for_event("reset", START_S)
    _wait_prompt(pico)
    assert pico.run("import os\nprint('repl' in os.listdir('/data'), 6 * 7)") == "False 42\n"
    pico.power_off()
    pico.power_on()
    assert b">>>" not in pico.console.read_until(b"status {", START_S)


def test_a_fallen_program_waits_for_the_code_and_starts_again(pico, tmp_path):
    """The settings name what raises in the start; with the code somebody may go in and mend it."""
    pico.power_off()
    pico.power_on()
    pico.console.read_until(b"status {", START_S)
    with Link(f"socket://127.0.0.1:{pico.ports['console']}", 60) as link:
        link.unlock(CODE)
        link.ask("repl", 60, repeat=False)
    pico.wait_for_event("reset", START_S)
    pico.run(
        "import os\nos.rename('/data/identity.key', '/data/k')\nf = open('/data/identity.key', 'wb')\n"
        "f.write(b'x')\nf.close()"
    )
    pico.power_off()
    pico.power_on()
    said = pico.console.read_until(b"repl [CODE]", START_S)
    assert b"Traceback" in said
    for _ in range(3):
        pico.console.write(b"\x03\x01\x04repl wrong-code\r")
        said += pico.console.read_until(b"wrong code", START_S)
    pico.console.write(b"repl\r")
    said += pico.console.read_until(b"too many wrong codes", START_S)
    pico.wait_for_event("reset", START_S)  # after a minute
    said += pico.console.read_until(b"repl [CODE]", START_S)
    pico.console.write(b"repl %s\r" % CODE.encode())
    said += pico.console.read_until(b"too many wrong codes", START_S)  # remembered
    wait_s = int(re.search(rb"wait (\d+) s", said + pico.console.read_until(b" s", 20)).group(1))
    assert 1 <= wait_s <= 60
    assert b">>>" not in said
    before = pico.board_ms()
    while pico.board_ms() - before < wait_s * 1000 + 500:
        pass
    pico.console.write(b"repl %s\r" % CODE.encode())
    pico.wait_for_event("reset", START_S)
    _wait_prompt(pico)
    pico.run("import os\nos.rename('/data/k', '/data/identity.key')")


def test_no_log_comes_between_what_somebody_types(pico):
    pico.power_off()
    pico.power_on()
    pico.console.read_until(b"status {", START_S)
    pico.console.read_until(b"\n", START_S)
    pico.console.write(b"sta")
    pico.console.read_until(b"sta", START_S)
    said = _hear(pico, 3000)
    pico.console.write(b"tus\r")
    said += pico.console.read_until(b"> ", START_S) + _hear(pico, 3000)
    assert b"sampled = 0" in said and b"status {" not in said and b"\nerror " not in said, said


def _hear(pico, board_ms):
    """What is said in the next so many ms of the board."""
    end = pico.board_ms() + board_ms
    said = b""
    while pico.board_ms() < end:
        said += pico.console.everything()
    return said

"""What `parkgate flash --dry-run` makes for a plain Pico starts on an emulated one, on MicroPython's own image and on a
build with our board folder.

PICO_IMAGE names MicroPython's image (see flash_image.py); PARKGATE_PICO_IMAGE one that was made by
    make -C micropython/ports/rp2 BOARD_DIR=…/boards/pico
"""

import json
import os
from pathlib import Path

import pytest

from host_tools.image import boards, flash_image, flash_write
from host_tools.image.app import app_image
from tests.board.emulated_pico import EmulatedPico
from tests.board.flash_image import FLASH_BYTES, firmware_bytes, missing_for

MISSING = missing_for("pico")
OWN = os.environ.get("PARKGATE_PICO_IMAGE", "")
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(600)]
own_build = pytest.mark.skipif(not OWN, reason="no build of ours: set PARKGATE_PICO_IMAGE=FILE.uf2")

STORAGE = 0xA0000
BOARD = boards.load("pico")
START_S = 120


def _image() -> Path:
    files = [Path(name) for name in os.environ["PICO_IMAGE"].split(os.pathsep)]
    return next(file for file in files if b"Raspberry Pi Pico with RP2040" in firmware_bytes(file))


def _flashed(folder: Path, image: Path):
    """(flash file, plan): the flash chip after the boot loader has taken our UF2, read by the harness' own code."""
    plan = flash_image.plan(BOARD, image.read_bytes(), None)
    uf2 = folder / "parkgate.uf2"
    uf2.write_bytes(plan.outputs["parkgate-pico.uf2"])
    flash = folder / "flash.bin"
    flash.write_bytes(firmware_bytes(uf2).ljust(FLASH_BYTES, b"\xff"))
    return flash, plan


def _started(pico) -> str:
    """The console from power on to the first status line."""
    return pico.console.read_until(b"status {", START_S).decode() + pico.console.read_until(b"\n", START_S).decode()


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    flash, plan = _flashed(tmp_path_factory.mktemp("stock"), _image())
    with EmulatedPico(flash=flash) as pico:
        yield pico, plan, _started(pico)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    flash, _ = _flashed(tmp_path_factory.mktemp("own"), Path(OWN))
    with EmulatedPico(flash=flash) as pico:
        yield pico, flash, _started(pico)


def _status(text: str) -> dict:
    return json.loads(text[text.rindex("status {") + 7 :])


def test_the_firmware_starts_on_micropythons_own_image(stock):
    pico, _, text = stock
    assert "Traceback" not in text
    assert "new epoch (first start)" in text and "made a new key" in text
    assert _status(text)["crashes"] == 0
    assert pico.stats()["flash"]["not_erased"] == 0


def test_every_file_reads_back_on_the_board(stock):
    pico, plan, _ = stock
    machine, mpy, files = json.loads(pico.run(flash_write.HASH_FILES % (["/lib", "/data"],), 300))
    flash_write.compare({"machine": machine, "mpy": mpy, "files": files}, BOARD, plan.files)


def test_the_signing_table_is_read_in_place(stock):
    pico, plan, _ = stock
    table = plan.writes[1][1][flash_image.TABLE_HEAD_BYTES :]
    names = json.loads((app_image.build(BOARD.name) / app_image.NAMES).read_text())
    point = {of_source: name for name, of_source in names.items()}["mapped_point"]
    script = (
        f"import sys\nsys.path.insert(0, '/lib')\nfrom mapped_table import {point}\np = {point}()\n"
        "print([bytes(p(n, at)).hex() for n, at in ((0, 0), (1, 64), (3, 8128))])"
    )
    there = json.loads(pico.run(script).replace("'", '"'))
    assert there == [table[at : at + 64].hex() for at in (0, 8192 + 64, 3 * 8192 + 8128)]


def test_the_journal_lies_in_files_there(stock):
    pico, _, _ = stock
    assert "'journal'" in pico.run("import os\nprint(os.listdir('/'))")


def test_the_app_alone_is_replaced_over_the_serial_port(stock):
    pico, plan, _ = stock
    pico.run("import os\nos.remove('/lib/app.mpy')\nf = open('/lib/stale.mpy', 'wb')\nf.write(b'x')\nf.close()")
    pico.console.close()
    files = {path: data for path, data in plan.files.items() if path.startswith("lib/") or path == "main.py"}
    table = plan.writes[1][1][flash_image.TABLE_HEAD_BYTES :]
    port = f"socket://127.0.0.1:{pico.ports['console']}"
    said = flash_write.write_app(BOARD, files, table, port, flash_write.Console(quiet=True))
    # app.mpy, and main.py, which is always written; the code in flash is that of the files, as the board reads it too
    assert said == {"written": 2, "removed": 1, "in_heap": 0, "waits": False}


@own_build
def test_the_firmware_starts_frozen_with_a_raw_journal(own):
    pico, _, text = own
    assert "Traceback" not in text and "new epoch (first start)" in text
    assert _status(text)["crashes"] == 0
    blocks, left = pico.run("import os, rp2\nprint(os.statvfs('/')[2], rp2.Flash().ioctl(4, 0))").split()
    assert (int(blocks), int(left)) == (96, 352)
    assert pico.run("from hal.rp2 import boot\nprint(boot.region.ioctl(4, 0), boot.problem)") == "256 None\n"


@own_build
def test_a_file_system_that_does_not_mount_is_kept(tmp_path):
    flash, _ = _flashed(tmp_path, Path(OWN))
    data = bytearray(flash.read_bytes())
    for block in (0, 1):
        data[STORAGE + block * 4096 + 8] ^= 0xFF  # the word "littlefs" of both copies of the root
    flash.write_bytes(data)
    with EmulatedPico(flash=flash) as pico:
        text = pico.console.read_until(b"nothing was erased", START_S)
        text += pico.console.read_until(b"Traceback", START_S)  # it starts again, with no prompt between: who may?
        assert b">>>" not in text
        assert pico.stats()["flash"]["erases"] == pico.stats()["flash"]["programs"] == 0
    assert flash.read_bytes() == data

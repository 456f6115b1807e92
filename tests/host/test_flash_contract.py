"""SPEC 9.12: every flash that the journal may be given keeps one contract."""

import importlib.util
from pathlib import Path

import pytest

from flash_sim import FlashSim
from hal.device.raw_flash import BlockFlash
from hal.segment_files import SegmentFiles
from parkgate.errors import FlashError

ROOT = Path(__file__).resolve().parents[2]
SECTOR, COUNT, UNIT = 4096, 6, 32


def _nor_flash(path):
    spec = importlib.util.spec_from_file_location("nor_flash", ROOT / "boards/unix/nor_flash.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NorFlash(str(path), SECTOR, COUNT, UNIT)


class Blocks:
    """A block device of MicroPython: it ANDs what is written, as a chip does."""

    def __init__(self):
        self.memory = bytearray(b"\xff" * (SECTOR * COUNT))

    def ioctl(self, operation, argument):
        if operation == 6:
            self.memory[argument * SECTOR : (argument + 1) * SECTOR] = b"\xff" * SECTOR
            return 0
        return {4: COUNT, 5: SECTOR}[operation]

    def readblocks(self, block, buffer, offset=0):
        at = block * SECTOR + offset
        buffer[:] = self.memory[at : at + len(buffer)]

    def writeblocks(self, block, data, offset=0):
        at = block * SECTOR + offset
        for n, byte in enumerate(data):
            self.memory[at + n] &= byte


@pytest.fixture(params=["simulation", "board's file", "block device", "segment files"])
def flash(request, tmp_path):
    return {
        "simulation": lambda: FlashSim(SECTOR, COUNT, UNIT),
        "board's file": lambda: _nor_flash(tmp_path / "flash.bin"),
        "block device": lambda: BlockFlash(Blocks(), UNIT),
        "segment files": lambda: SegmentFiles(str(tmp_path / "journal"), COUNT, SECTOR, UNIT),
    }[request.param]()


def read(flash, address, length):
    buffer = bytearray(length)
    flash.read(address, buffer)
    return bytes(buffer)


def test_geometry(flash):
    assert (flash.sector_size, flash.sector_count, flash.program_size) == (SECTOR, COUNT, UNIT)


def test_a_sector_is_blank_after_an_erase_and_holds_what_is_programmed(flash):
    for sector in range(COUNT):
        flash.erase(sector)
    first, second = bytes(range(UNIT)), bytes(range(100, 100 + 2 * UNIT))
    flash.program(SECTOR, first)
    flash.program(SECTOR + 4 * UNIT, second)
    blank = b"\xff" * (3 * UNIT)
    assert read(flash, SECTOR, 7 * UNIT) == first + blank + second + b"\xff" * UNIT
    flash.sync()
    assert read(flash, SECTOR + 3, 10) == first[3:13]
    assert read(flash, 0, SECTOR) == read(flash, 2 * SECTOR, SECTOR) == b"\xff" * SECTOR
    flash.erase(1)
    flash.sync()
    assert read(flash, SECTOR, SECTOR) == b"\xff" * SECTOR
    flash.program(SECTOR, second)
    assert read(flash, SECTOR, 2 * UNIT) == second


@pytest.mark.parametrize(
    "address, length",
    [(1, UNIT), (0, UNIT - 1), (0, 0), (SECTOR - UNIT, 2 * UNIT), (SECTOR * COUNT, UNIT), (-UNIT, UNIT)],
)
def test_a_wrong_program_is_refused_and_changes_nothing(flash, address, length):
    flash.erase(0)
    flash.erase(1)
    with pytest.raises(FlashError):
        flash.program(address, bytes(length))
    assert read(flash, 0, SECTOR) == read(flash, SECTOR, SECTOR) == b"\xff" * SECTOR


@pytest.mark.parametrize("sector", [-1, COUNT])
def test_a_wrong_erase_is_refused(flash, sector):
    with pytest.raises(FlashError):
        flash.erase(sector)


@pytest.mark.parametrize("address, length", [(SECTOR * COUNT, 1), (-1, 1)])
def test_a_wrong_read_is_refused(flash, address, length):
    with pytest.raises(FlashError):
        flash.read(address, bytearray(length))

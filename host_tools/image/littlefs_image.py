"""A littlefs as a board finds it in its flash, made and read on this computer."""

from __future__ import annotations

from littlefs import LittleFS, UserContext
from littlefs.errors import LittleFSError

from parkgate.errors import ParkgateError

BLOCK_BYTES = 4096
PAGE_BYTES = {"rp2": 256, "esp32": 32}  # what MicroPython's port gives as progsize
DISK_VERSION = 0x00020000  # MicroPython from 1.12 on mounts it; newer ones read it as well
READ_BYTES = 32
SMALLEST_BLOCKS = 8


class ImageError(ParkgateError):
    """The files do not fit, or the bytes are no file system."""


def build(files: dict[str, bytes], size: int, port: str) -> bytes:
    """A file system of `size` bytes with `files` (path → content); the same files give the same bytes. Raises
    ImageError when they do not fit."""
    if size % BLOCK_BYTES or size < SMALLEST_BLOCKS * BLOCK_BYTES:
        raise ImageError(f"{size} bytes are no {SMALLEST_BLOCKS} or more blocks of {BLOCK_BYTES}")
    context = UserContext(buffsize=size)
    disk = _open(context, size, port)
    disk.format()
    disk.mount()
    try:
        for path in sorted(files):
            folder = path.rpartition("/")[0]
            if folder:
                disk.makedirs(folder, exist_ok=True)
            with disk.open(path, "wb") as file:
                file.write(files[path])
    except LittleFSError as error:
        total = sum(map(len, files.values()))
        raise ImageError(f"{len(files)} files of {total:,} bytes do not fit into {size:,} bytes ({error})") from error
    disk.unmount()
    return bytes(context.buffer)


def read(image: bytes, port: str) -> dict[str, bytes]:
    """Every file of an image. Raises ImageError."""
    context = UserContext(buffsize=len(image))
    context.buffer[:] = image
    disk = _open(context, len(image), port)
    try:
        disk.mount()
        files = {}
        for folder, _, names in disk.walk("/"):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}".lstrip("/")
                with disk.open(path, "rb") as file:
                    files[path] = bytes(file.read())
    except LittleFSError as error:
        raise ImageError(f"this is not a littlefs of {len(image):,} bytes: {error}") from error
    return files


def used_blocks(image: bytes, port: str) -> int:
    """How many blocks of an image belong to files and folders."""
    context = UserContext(buffsize=len(image))
    context.buffer[:] = image
    disk = _open(context, len(image), port)
    disk.mount()
    return disk.used_block_count


def _open(context: UserContext, size: int, port: str) -> LittleFS:
    page = PAGE_BYTES[port]
    return LittleFS(
        context=context,
        mount=False,
        block_size=BLOCK_BYTES,
        block_count=size // BLOCK_BYTES,
        prog_size=page,
        read_size=READ_BYTES,
        cache_size=4 * max(page, READ_BYTES),
        lookahead_size=32,
        disk_version=DISK_VERSION,
    )

"""The start of a firmware built with one of our RP2 board folders: file system in front, journal behind it.

MicroPython's own _boot.py gives the whole storage area to one file system and formats it at any error. This one
formats only what was never written; otherwise it mounts nothing, keeps every byte and says what is wrong.
"""

import rp2
import vfs

PAGE_BYTES = 256
BLOCK_BYTES = 4096
region = None  # the journal's part of the storage area, an rp2.Flash
problem = None  # why there is no file system


def mount(file_system_bytes: int):
    """Mount the file system at / and set `region`."""
    global region, problem
    region = rp2.Flash(start=file_system_bytes)
    device = rp2.Flash(start=0, len=file_system_bytes)
    try:
        files = vfs.VfsLfs2(device, progsize=PAGE_BYTES)
    except OSError as e:
        if not blank(device):
            problem = "the file system does not mount (%s); nothing was erased" % e
            return
        vfs.VfsLfs2.mkfs(device, progsize=PAGE_BYTES)
        files = vfs.VfsLfs2(device, progsize=PAGE_BYTES)
    vfs.mount(files, "/")


def blank(device) -> bool:
    """Whether the first two blocks, where littlefs has its root, were never written."""
    page = bytearray(PAGE_BYTES)
    erased = b"\xff" * PAGE_BYTES
    for block in range(2):
        for offset in range(0, BLOCK_BYTES, PAGE_BYTES):
            device.readblocks(block, page, offset)
            if page != erased:
                return False
    return True

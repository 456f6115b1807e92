"""Runs on the Unix port: MicroPython's own littlefs on a block device in memory; what stays of secrets after a factory
reset, counted with and without the scrub. Prints the counts."""

import os
import sys

import vfs

BLOCK, BLOCKS = 4096, 120
KINDS = ("key", "settings", "staged", "code", "long", "network", "journal")


class Flash:
    """A block device as rp2.Flash is one: nothing is programmed that was not erased."""

    def __init__(self):
        self.data = bytearray(b"\xff" * (BLOCK * BLOCKS))

    def readblocks(self, block, buffer, offset=0):
        start = block * BLOCK + offset
        buffer[:] = self.data[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        start = block * BLOCK + offset
        if any(byte != 255 for byte in self.data[start : start + len(buffer)]):
            raise ValueError("not erased")
        self.data[start : start + len(buffer)] = buffer

    def ioctl(self, operation, argument):
        if operation == 4:
            return BLOCKS
        if operation == 5:
            return BLOCK
        if operation == 6:
            self.data[argument * BLOCK : (argument + 1) * BLOCK] = b"\xff" * BLOCK
            return 0
        return 0


def canary(kind, n):
    return b"Zq9-%s-%03d-canary" % (kind.encode(), n)


def live(files, disk):
    """A gateway's life, with a canary in everything it writes."""
    disk.mkdir("/data/meters")
    disk.mkdir("/journal")
    disk.mkdir("/journal/0")
    for n in range(12):
        _put(disk, "/data/meters/m%d.json" % n, b"{}" * 900)
    for n in range(9):
        files.write("identity.key", canary("key", n))
        files.write("settings.%s" % "ab"[n % 2], canary("settings", n) * 25)
        files.write("settings.staged", canary("staged", n) * 45)
        files.write("access.code", canary("code", n))
        files.write("totals", canary("long", n) * 300)
        files.write("network.json", canary("network", n))
        _put(disk, "/journal/0/%d" % n, canary("journal", n) * (8 + 40 * n))


def _put(disk, path, data):
    with disk.open(path, "wb") as f:
        f.write(data)


def left(flash):
    """kind → how many of its canaries are still somewhere in the chip."""
    data = bytes(flash.data)
    return {kind: sum([data.find(canary(kind, n)) >= 0 for n in range(9)]) for kind in KINDS}


def main(program_size, scrubbed):
    from hal.device.scrub import scrub
    from hal.files import Files

    flash = Flash()
    vfs.VfsLfs2.mkfs(flash, progsize=program_size)
    disk = vfs.VfsLfs2(flash, progsize=program_size)
    vfs.mount(disk, "/flash")
    os.mkdir("/flash/data")
    os.chdir("/flash")
    live(Files("/flash/data"), disk)
    before = left(flash)
    files = Files("/flash/data")
    for name in files.names():
        files.remove(name)
    for n in range(9):
        os.remove("/flash/journal/0/%d" % n)
    fed = [0]

    def feed():
        fed[0] += 1

    if scrubbed:
        scrub(("/flash/data", "/flash/journal/0"), feed)
    after = left(flash)
    os.chdir("/")
    kept = len(os.listdir("/flash/data/meters"))
    print(sum(before.values()), sum(after.values()), kept, fed[0] > 100, after if scrubbed else "")


main(int(sys.argv[1]), sys.argv[2] == "scrub")

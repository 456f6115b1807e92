"""The cuts of journal_cuts, with the journal in segment files on a real littlefs: the power goes at the operations that
littlefs does on the NOR flash under it. Runs on the Unix port only, which has VfsLfs2.

    micropython littlefs_cuts.py BLOCKS UNIT SEGMENTS SEED SAMPLES EVERY PART PARTS SECOND_EVERY [BUG or STATE]

With the name of a state, only this one is done again. Prints one line, a dict of what was tried. PART of PARTS takes
its share of every EVERYth operation; with EVERY 0 the operations right behind what was made durable are cut, no others.
Promised is what a `sync` had covered, or a commit; the journal syncs by itself around batches and before erases.
The life is lived on a file system mounted as stock boards do; for recovering it is mounted with a larger read cache,
which takes a quarter of the time and gives the same files.
"""

import sys

import vfs  # pyright: ignore[reportMissingImports]

from file_store import live
from flash_sim import BlockDevice, Chance, FlashSim, ways
from hal.segment_files import SegmentFiles
from journal_cuts import Cuts
from journal_world import World, Wrong
from parkgate.errors import JournalError
from parkgate.journal.journal import Journal

MOUNT = "/journal_test"
STOCK_READ_BYTES, RECOVERY_READ_BYTES = 32, 1024


class Storage:
    """Mounts littlefs on one flash after the other."""

    def __init__(self, unit: int, segments: int, files_class=SegmentFiles):
        self.unit = unit
        self.segments = segments
        self.files_class = files_class
        self.device = self.files = None

    def mount(self, flash, fresh: bool = False):
        """Segment files on `flash`; whatever was open on the flash before is gone, unflushed."""
        if self.device:
            self.device.flash = None
            for f in self.files._open.values():
                try:
                    f.close()
                except OSError:
                    pass
            vfs.umount(MOUNT)
        self.device = BlockDevice(flash)
        if fresh:
            vfs.VfsLfs2.mkfs(self.device, progsize=self.unit)
        read_bytes = STOCK_READ_BYTES if fresh else RECOVERY_READ_BYTES
        vfs.mount(vfs.VfsLfs2(self.device, readsize=read_bytes, progsize=self.unit), MOUNT)
        self.files = self.files_class(MOUNT + "/journal", self.segments)
        return self.files


class LazySync(Journal):
    """A journal that does not sync where it must."""

    def sync(self):
        """Nothing."""


class Overtaking(SegmentFiles):
    """Segment files that begin a file while others wait, and flush the newest first."""

    def sync(self):
        """Newest first."""
        self._waiting.reverse()
        super().sync()

    def _begin(self, sector):
        kept = self._open, self._waiting
        self._open, self._waiting = {}, []
        f = super()._begin(sector)
        self._open, self._waiting = kept
        self._open[sector] = f
        return f


def main(blocks, unit, segments, seed, samples, every, part, parts, second_every, bug=""):
    """Live, cut, print."""
    storage = Storage(unit, segments, Overtaking if bug == "overtaking" else SegmentFiles)
    journal_class = LazySync if bug == "lazy" else Journal
    epochs = Chance(seed + 1)
    flash = FlashSim(4096, blocks, unit)
    files = storage.mount(flash, True)
    base = flash.copy()
    flash.trace = []
    try:
        world = World(files, lambda f: journal_class(f, lambda: epochs.data(16)), seed, False, flash.trace)
        live(world, samples, segments)
    except (Wrong, JournalError) as error:
        print({"failures": ["while living: %s" % error]})
        return
    # What the file system needs of its own was there before the first traced operation.
    cuts = Cuts(world, base.copy, lambda image: journal_class(storage.mount(image), lambda: epochs.data(16)), 3)
    thorough_every = 64 if every == 1 else 16
    if every:
        operations = range(part * every, len(flash.trace), parts * every)
    else:
        operations = sorted({m.operations for m in world.moments if m.durable and m.operations < len(flash.trace)})
    if bug.startswith("("):
        cuts.replay(eval(bug))
        print({"failures": []})
        return
    tally = cuts.run(operations, second_every, 0, thorough_every)
    result = dict(tally.__dict__)
    result["trace"] = len(flash.trace)
    result["all"] = sum(ways(operation) for operation in flash.trace)
    result["samples"] = world.appended
    result["readings"] = world.readings
    result["dropped"] = world.journal.counters.dropped
    print(result)


if __name__ == "__main__":
    main(*[int(a) for a in sys.argv[1:10]], *sys.argv[10:])

"""Accidents of an honest operator, and kills at any moment: the log never signs two histories, and lacks nothing that
was receipted.

Whatever is signed is kept in memory here and compared: each checkpoint must be the beginning of every later one of its
log. `python -m tests.host.test_log_accidents --accidents 10000 --kills 1000` runs at length.
"""

import argparse
import collections
import contextlib
import errno
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from batches import FakeGateway
from host_tools.base import files
from host_tools.hub.stores.store import connect
from host_tools.log import record, signed, tree
from host_tools.log.check import Check
from host_tools.log.log import Log
from host_tools.log.signer import Signer
from hub_rig import Rig
from parkgate.errors import ParkgateError
from parkgate.log import receipt
from parkgate.log.tree import check_inclusion, leaf_hash

NOW_MS = 1_800_000_000_000
LEAVES_MAX = 400  # then the life begins anew, so that each accident stays quick


class Life:
    """One hub's folder and everything that was ever signed by its logs."""

    def __init__(self, top: Path, chance: random.Random):
        self.top, self.chance = top, chance
        self.folder = top / "hub"
        self.folder.mkdir()
        self.gateway = FakeGateway(chance.randrange(1 << 30))
        self.now = NOW_MS
        self.signed: dict[bytes, dict[int, bytes]] = collections.defaultdict(dict)
        self.refused = self.inconsistent = self.size = 0
        rig = Rig(self.folder)
        rig.enrol(self.gateway)
        rig.store.close()
        self.work(self.folder)

    def work(self, folder: Path) -> bool:
        """Start on the folder, store something, sign, stop. False when the log refused to go on."""
        with contextlib.ExitStack() as stack:
            try:
                rig = Rig(folder)
                stack.callback(rig.store.close)
                signer = Signer(rig.intake.leaves)
                stack.callback(signer.close)
                rig.now_unix_ms = self.now
                self.gateway.new_epoch(self.chance.randbytes(16))
                rig.batches(self.gateway, *[self.gateway.batch(rows=1) for _ in range(self.chance.randrange(1, 4))])
                made = signer.sign(self.now)
            except (ParkgateError, OSError, sqlite3.Error):
                self.refused += 1
                return False
            if made is not None:
                self._note(rig, made)
            return True

    def _note(self, rig, made):
        """Compare what was signed with all that was signed before under the same log."""
        log_id = rig.intake.leaves.log_id
        before = self.signed[log_id]
        grown = tree.GrowingTree()
        for (entry,) in rig.store.db.execute("SELECT entry FROM leaf ORDER BY leaf"):
            grown.add(entry)
            if before.get(grown.size, grown.root()) != grown.root():
                self.inconsistent += 1
        if grown.root() != made.root or max(before, default=0) > made.size:
            self.inconsistent += 1
        before[made.size] = made.root
        self.size = made.size

    def copy(self) -> Path:
        """A backup of the folder as it is."""
        place = self.top / f"backup-{self.chance.randrange(1 << 40)}"
        shutil.copytree(self.folder, place)
        return place

    def put_back(self, backup: Path, only_database: bool) -> None:
        if only_database:
            for name in ("hub.sqlite-wal", "hub.sqlite-shm"):
                (self.folder / name).unlink(missing_ok=True)
            shutil.copy(backup / "hub.sqlite", self.folder / "hub.sqlite")
        else:
            shutil.rmtree(self.folder)
            shutil.copytree(backup, self.folder)

    def renew(self) -> None:
        """What the message advises."""
        with contextlib.closing(connect(self.folder)) as db:
            record.renew(db, "an accident")


def backup_put_back(life: Life):
    old = life.copy()
    life.work(life.folder)
    life.put_back(old, life.chance.random() < 0.5)
    assert not life.work(life.folder), "an older copy must not go on"
    if life.chance.random() < 0.5:
        life.renew()
        assert life.work(life.folder)
    else:
        life.signed.clear()
        return "anew"
    return None


def folder_cloned(life: Life):
    clone = life.copy()
    first, second = (clone, life.folder) if life.chance.random() < 0.5 else (life.folder, clone)
    life.work(first)
    assert not life.work(second), "the other copy was left behind"
    if first == clone:
        shutil.rmtree(life.folder)
        shutil.copytree(clone, life.folder)


def moved_to_another_computer(life: Life):
    with mock.patch.dict(os.environ, {"XDG_STATE_HOME": str(life.top / "elsewhere")}):
        assert not life.work(life.folder)


def disk_full(life: Life):
    real, at = files.write, [life.chance.randrange(1, 4)]

    def write(path, *args, **named):
        at[0] -= 1
        if at[0] <= 0:
            raise files.trouble("cannot write", path, OSError(errno.ENOSPC, "full"))
        return real(path, *args, **named)

    with mock.patch.object(files, "write", write):
        life.work(life.folder)
    life.work(life.folder)


def tile_disk_full(life: Life):
    with mock.patch.object(tree.Tiles, "write", side_effect=files.FileTrouble("no space is left on the disk")):
        life.work(life.folder)
    assert life.work(life.folder)


def tile_deleted_or_damaged(life: Life):
    tiles = [path for path in (life.folder / "log").rglob("*") if path.is_file() and path.name != "signed.json"]
    for path in tiles:
        if life.chance.random() < 0.5:
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            data[life.chance.randrange(len(data))] ^= 1 << life.chance.randrange(8)
            path.write_bytes(data)
    assert life.work(life.folder), "tiles follow from the leaves"


def leaf_flipped(life: Life):
    with contextlib.closing(sqlite3.connect(life.folder / "hub.sqlite")) as db, db:
        row, entry = life.chance.choice(db.execute("SELECT leaf, entry FROM leaf").fetchall())
        wrong = bytearray(entry)
        wrong[life.chance.randrange(32)] ^= 1 << life.chance.randrange(8)
        db.execute("UPDATE leaf SET entry = ? WHERE leaf = ?", (bytes(wrong), row))
    assert not life.work(life.folder), "what was signed is not what is here"
    assert Check(life.folder).run().findings
    with contextlib.closing(sqlite3.connect(life.folder / "hub.sqlite")) as db, db:
        db.execute("UPDATE leaf SET entry = ? WHERE leaf = ?", (entry, row))


def memory_damaged(life: Life):
    with Log.open(life.folder) as log:
        memory = signed.Memory(life.folder, log.log_id)
    path = life.chance.choice((memory.inside, memory.outside))
    whole = path.read_bytes()
    wrong = bytearray(whole)
    wrong[life.chance.randrange(len(wrong))] ^= 1 << life.chance.randrange(8)
    path.write_bytes(wrong)
    went_on = life.work(life.folder)
    assert went_on == (path == memory.inside), "the outer one decides"
    if not went_on:
        path.write_bytes(whole)


def two_writers(life: Life):
    rig = Rig(life.folder)
    signer = Signer(rig.intake.leaves)
    assert not life.work(life.folder)
    signer.close()
    rig.store.close()


def clock_back(life: Life):
    life.now -= life.chance.randrange(1, 90) * 86_400_000
    assert life.work(life.folder)


ACCIDENTS = (backup_put_back, folder_cloned, moved_to_another_computer, disk_full, tile_disk_full,
             tile_deleted_or_damaged, leaf_flipped, memory_damaged, two_writers, clock_back)  # fmt: skip


def accidents(count: int, seed: int) -> tuple[int, int]:
    """(refusals, inconsistent signatures) of so many accidents."""
    chance = random.Random(seed)
    done = refused = inconsistent = 0
    while done < count:
        with tempfile.TemporaryDirectory() as top:
            state = {"XDG_STATE_HOME": str(Path(top) / "state")}
            with mock.patch.dict(os.environ, state):
                life = Life(Path(top), chance)
                while done < count and life.size < LEAVES_MAX:
                    done += 1
                    if chance.choice(ACCIDENTS)(life):
                        break
                    life.now += 1000
            refused += life.refused
            inconsistent += life.inconsistent
    return refused, inconsistent


# Kills.


def child(folder: Path, seed: int, out: int) -> None:
    """A hub until it is killed: each receipt and each checkpoint is told when it would have been sent."""
    rig = Rig(folder)
    gateway = FakeGateway(1)
    rig.enrol(gateway)
    signer = Signer(rig.intake.leaves)
    os.write(out, b"ready\n")
    while True:
        gateway.new_epoch(os.urandom(16))
        sealed = [gateway.batch(rows=1) for _ in range(3)]
        for outcome in rig.take(*[(gateway.batch_topic(), data) for data in sealed]):
            assert outcome.receipt is not None and outcome.place is not None
            os.write(out, b"receipt %s\n" % outcome.place[2].hex().encode())
        made = signer.sign(rig.now_unix_ms)
        if made is not None:
            os.write(out, b"signed %d %s\n" % (made.size, made.root.hex().encode()))


def kills(folder: Path, count: int, seed: int) -> int:
    """Kill a hub so often; how many receipts were looked up in the log. Raises AssertionError."""
    chance = random.Random(seed)
    receipts: set[str] = set()
    roots: dict[int, str] = {}
    for _ in range(count):
        source, out = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(source)
                child(folder, seed, out)
            finally:
                os._exit(1)
        os.close(out)
        with os.fdopen(source, "rb") as lines:
            assert lines.readline() == b"ready\n"
            told = [lines.readline().decode().strip() for _ in range(chance.randrange(12))]
            time.sleep(chance.random() * 0.003)
            os.kill(pid, signal.SIGKILL)
            told += lines.read().decode().splitlines()
        os.waitpid(pid, 0)
        for line in told:
            word, *rest = line.split()
            if word == "receipt" and len(rest[0]) == 64:
                receipts.add(rest[0])
            elif word == "signed" and len(rest) == 2 and len(rest[1]) == 64:
                roots[int(rest[0])] = rest[1]
    rig = Rig(folder)
    signer = Signer(rig.intake.leaves)
    signer.sign(rig.now_unix_ms)
    signer.close()
    with Log.open(folder) as log:
        made = log.checkpoint()
        entries = {leaf.entry.hex(): leaf for leaf in log.leaves(0, made.size)}
        grown = tree.GrowingTree()
        for leaf in log.leaves(0, made.size):
            grown.add(leaf.entry)
            assert roots.get(grown.size, grown.root().hex()) == grown.root().hex()
        assert grown.root() == made.root
        for entry in receipts:
            leaf = entries[entry]
            path = log.inclusion(leaf.leaf_index, made.size)
            check_inclusion(leaf.leaf_index, made.size, made.root, leaf_hash(leaf.entry), path)
            assert receipt.Receipt(log.receipt(leaf.leaf_index)).size == made.size
    rig.store.close()
    assert Check(folder).run().findings == []
    return len(receipts)


def test_no_accident_makes_it_sign_two_histories():
    refused, inconsistent = accidents(60, 1)
    assert inconsistent == 0 and refused > 10


def test_what_was_receipted_is_in_the_log_after_kills(tmp_path):
    assert kills(tmp_path, 12, 1) >= 20


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--accidents", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_STATE_HOME": f"{folder}/state"}):
        (Path(folder) / "hub").mkdir()
        looked_up = kills(Path(folder) / "hub", args.kills, args.seed)
    print(f"{args.kills} kills: {looked_up} receipts, all in the log, no root contradicts another")
    refused, inconsistent = accidents(args.accidents, args.seed)
    print(f"{args.accidents} accidents: {refused} refusals to go on, {inconsistent} inconsistent signatures")
    return 1 if inconsistent else 0


if __name__ == "__main__":
    sys.exit(main())

"""`parkgate log check` finds every flipped bit: one bit somewhere in what the log rests on, look, put it back.

`python -m tests.host.test_log_check --flips 10000` runs at length.
"""

import argparse
import contextlib
import json
import random
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import pytest

from batches import FakeGateway
from host_tools import cli
from host_tools.hub.stores.store import DATABASE_FILE
from host_tools.log import keys, signed
from host_tools.log.check import Check
from host_tools.log.signer import Signer, tiles_folder
from hub_rig import Rig

CELLS = {
    "leaf": ("leaf", "kind", "entry", "ep", "seq"),
    "statement": ("leaf", "bytes"),
    "batch": ("hash", "bytes"),
    "checkpoint": ("log_id", "size", "root", "signature", "note", "signed_unix_ms", "keep", "sum"),
}
TILED = 262


def make(folder: Path) -> Rig:
    """A hub with real batches, a beat, a fork, a full tile, and two checkpoints that are kept."""
    rig = Rig(folder)
    gateway = FakeGateway(1)
    rig.enrol(gateway)
    signer = Signer(rig.intake.leaves)
    rig.batches(gateway, gateway.batch(rows=1), gateway.batch(rows=1))
    rig.beat(gateway)
    signer.sign(rig.now_unix_ms)
    rig.batches(gateway, gateway.seal(gateway.payload(rows=2, prev=b"\x01" * 32), seq=1))
    while len(rig.rows("SELECT leaf FROM leaf")) < TILED:
        rig.batches(gateway, *[gateway.batch(rows=1) for _ in range(20)])
    rig.now_unix_ms += 3_600_000
    signer.sign(rig.now_unix_ms)
    signer.close()
    return rig


class Flipper:
    """Flips one bit and puts it back."""

    def __init__(self, rig: Rig, seed: int):
        self.db, self.chance = rig.store.db, random.Random(seed)
        log_id = rig.intake.leaves.log_id
        memory = signed.Memory(rig.data_dir, log_id)
        names = [memory.inside, memory.outside, rig.data_dir / keys.KEY_FILE, rig.data_dir / keys.PUBLIC_FILE]
        self.files = [*names, *[path for path in tiles_folder(rig.data_dir, log_id).rglob("*") if path.is_file()]]
        self.cells = [(table, column) for table, columns in CELLS.items() for column in columns]

    def flip(self):
        """(what was flipped, how to put it back)."""
        if self.chance.random() < 0.3:
            return self._file(self.chance.choice(self.files))
        return self._cell(*self.chance.choice(self.cells))

    def _file(self, path):
        whole, mode = path.read_bytes(), path.stat().st_mode
        at = self.chance.randrange(8 * len(whole))
        wrong = bytearray(whole)
        wrong[at >> 3] ^= 1 << (at & 7)

        def back():
            path.write_bytes(whole)
            path.chmod(mode)

        path.write_bytes(bytes(wrong))
        return f"bit {at} of {path}", back

    def _cell(self, table, column):
        place = {"checkpoint": "size", "batch": "id"}.get(table, "leaf")
        rows = self.db.execute(f"SELECT {place}, {column} FROM {table} WHERE {column} NOT NULL").fetchall()
        row, value = self.chance.choice(rows)
        if type(value) is int:
            bit = self.chance.randrange(40)
            wrong, mark = value ^ 1 << bit, "?"
        else:
            data = bytearray(value.encode() if isinstance(value, str) else value)
            bit = self.chance.randrange(8 * len(data))
            data[bit >> 3] ^= 1 << (bit & 7)
            wrong, mark = bytes(data), "CAST(? AS TEXT)" if isinstance(value, str) else "?"
        now = wrong if column == place else row
        if column == place and any(other == now for other, _ in rows):
            return self._cell(table, column)

        def back():
            self.db.execute(f"UPDATE {table} SET {column} = ? WHERE {place} = ?", (value, now))

        try:
            self.db.execute(f"UPDATE {table} SET {column} = {mark} WHERE {place} = ?", (wrong, row))
        except sqlite3.IntegrityError:
            return self._cell(table, column)  # the database itself refuses two rows of one place
        return f"bit {bit} of {table}.{column} of {row}", back


def campaign(folder: Path, flips: int, seed: int) -> list[str]:
    """What was flipped and not found."""
    rig = make(folder)
    try:
        assert Check(folder).run().findings == []
        flipper, missed = Flipper(rig, seed), []
        for _ in range(flips):
            what, back = flipper.flip()
            try:
                findings = Check(folder).run().findings
            except keys.LogError as error:
                findings = [str(error)]
            if not findings:
                missed.append(what)
            back()
        assert Check(folder).run().findings == []
        return missed
    finally:
        rig.store.close()


def test_flipped_bits_are_found(tmp_path):
    assert campaign(tmp_path, 120, 1) == []


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    make(folder).store.close()
    return folder


@pytest.fixture
def folder(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "hub"))


def test_what_is_missing_is_found(folder):
    tile = next(path for path in (folder / "log").rglob("000"))
    tile.unlink()
    assert any(str(tile) in finding for finding in Check(folder).run().findings)
    (folder / keys.KEY_FILE).unlink()
    assert any("is missing" in finding for finding in Check(folder).run().findings)
    (folder / signed.INSIDE).unlink()
    assert any("remembers the last signature" in finding for finding in Check(folder).run().findings)


def run(*words):
    return cli.main(list(words))


def test_the_verb(folder, capsys, tmp_path):
    assert run("log", "check", "--data", str(folder)) == 0
    assert "all agree" in capsys.readouterr().out
    assert run("log", "show", "--data", str(folder), "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] and shown["note"].startswith(shown["origin"] + "\n" + str(shown["size"]))
    assert run("log", "proof", "--data", str(folder), "--leaf", "3", "--cose", str(tmp_path / "r"), "--json") == 0
    proof = json.loads(capsys.readouterr().out)
    assert (tmp_path / "r").read_bytes().hex() == proof["receipt"] and proof["leaf"] == 3
    assert run("log", "proof", "--data", str(folder), "--leaf", "3") == 0
    assert capsys.readouterr().out.startswith("c2sp.org/tlog-proof@v1\nindex 3\n")
    gateway = FakeGateway(1)
    words = ("--batch", gateway.id.hex()[:8], gateway.epoch.hex()[:8], "1")
    assert run("log", "proof", "--data", str(folder), *words, "--json") == 0
    with contextlib.closing(sqlite3.connect(folder / DATABASE_FILE)) as db:
        leaves = [leaf for (leaf,) in db.execute("SELECT leaf FROM leaf WHERE kind = 1 ORDER BY leaf")]
    assert json.loads(capsys.readouterr().out)["leaf"] == leaves[1]
    for words, text in (
        (("proof",), "name what to prove"),
        (("proof", "--leaf", "100000"), "no leaf 100000"),
        (("proof", "--batch", "nobody", "00000000", "1"), "no batch 1 of 'nobody'"),
        (("renew",), "say what happened"),
    ):
        assert run("log", words[0], "--data", str(folder), *words[1:]) == 2
        assert text in capsys.readouterr().err
    tile = next(path for path in (folder / "log").rglob("000"))
    tile.write_bytes(bytes(8192))
    assert run("log", "check", "--data", str(folder)) == 1
    assert "is damaged" in capsys.readouterr().out


def test_a_new_log_by_the_verb(folder, capsys):
    assert run("log", "renew", "--data", str(folder), "--why", "the disk was lost", "--json") == 0
    begun = json.loads(capsys.readouterr().out)
    assert begun["before"][1] >= TILED
    rig = Rig(folder)
    signer = Signer(rig.intake.leaves)
    signer.sign(rig.now_unix_ms)
    signer.close()
    rig.store.close()
    assert Check(folder).run().findings == []


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        missed = campaign(Path(folder), args.flips, args.seed)
    print("\n".join(missed))
    print(f"{args.flips - len(missed)} of {args.flips} flipped bits found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What was signed last, where a restored backup of the database does not reach.

Two files say it: one in the data folder, one in this user's state folder (XDG_STATE_HOME), named after the log. Both
are on the disk before a signature exists. A hub whose database has fewer leaves than they say, or other ones, was set
back: it must not sign, as what it would sign contradicts what it has signed.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from host_tools.base import files, folder_lock, paths
from host_tools.log.keys import LogError

INSIDE = "log/signed.json"
FOLDER = "log"
RENEW = "`parkgate log renew` begins a new log that names this one"


class Signed(NamedTuple):
    """The newest checkpoint that may have been signed. Size 0: none."""

    size: int
    root: bytes


class Damaged(Exception):
    """The file is there, and not what was written."""


class Memory:
    """Remembers for one log. `hold` first: one process a log on this computer."""

    def __init__(self, data_dir: Path, log_id: bytes):
        self.data_dir = Path(data_dir).resolve()
        self.log_id = log_id
        self.inside = self.data_dir / INSIDE
        self.outside = paths.state_folder() / FOLDER / f"{log_id.hex()}.json"

    def hold(self) -> int:
        """Lock this log for this process; the descriptor holds it. Raises LogError when another process has it."""
        files.make_folder(self.outside.parent)
        try:
            return folder_lock.hold(self.outside.with_suffix(".lock"))
        except BlockingIOError:
            raise LogError(
                "another hub on this computer signs the same log: this folder or the other one is a copy."
                " Stop one of them for good"
            ) from None

    def read(self) -> Signed:
        """What was signed last. Raises LogError when that is not known for sure, FileTrouble when it cannot be read."""
        try:
            outside = _read(self.outside, self.log_id)
        except Damaged:
            raise LogError(f"{self.outside} is damaged, so nobody knows what this log signed last: {RENEW}") from None
        try:
            inside = _read(self.inside, self.log_id)
        except Damaged:
            inside = None  # the other one is sure
        if outside is None:
            raise LogError(
                f"this computer does not know what this log signed last ({self.outside} is missing): the folder was"
                f" moved or copied here, or XDG_STATE_HOME names another folder than before. {RENEW}"
            )
        if inside is None or inside.size < outside.size:
            return outside
        if inside.size == outside.size and inside.root != outside.root:
            raise LogError(f"{self.inside} and {self.outside} name two roots for {inside.size} leaves: {RENEW}")
        return inside

    def write(self, signed: Signed) -> None:
        """Both files on the disk, the outer one first. Raises FileTrouble; then nothing may be signed."""
        for path in (self.outside, self.inside):
            files.make_folder(path.parent)
            files.write(path, _text(self.log_id, signed, self.data_dir), 0o600)

    def look(self, path: Path) -> Signed | None:
        """What one of the two files says, None where it is missing. Raises Damaged, FileTrouble."""
        return _read(path, self.log_id)

    def newest(self) -> Signed | None:
        """The highest that either file says, for the new log that names this one. Damaged files say nothing."""
        found = []
        for path in (self.outside, self.inside):
            try:
                found.append(_read(path, self.log_id))
            except (Damaged, files.FileTrouble):
                continue
        return max((each for each in found if each), default=None)


def _text(log_id: bytes, signed: Signed, data_dir: Path) -> str:
    said = {"log": log_id.hex(), "size": signed.size, "root": signed.root.hex(), "data": str(data_dir)}
    return json.dumps({**said, "sha256": _sum(said)}) + "\n"


def _sum(said: dict) -> str:
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _read(path: Path, log_id: bytes) -> Signed | None:
    """None where there is no file. Raises Damaged, FileTrouble."""
    if not path.exists():
        return None
    data = files.read_bytes(path)
    try:
        said = json.loads(data)
        signed = Signed(said["size"], bytes.fromhex(said["root"]))
        whole = _text(bytes.fromhex(said["log"]), signed, said["data"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged from None
    if data != whole.encode() or type(signed.size) is not int or len(signed.root) != 32:
        raise Damaged
    return signed if said["log"] == log_id.hex() else None

"""The archive as a file: a .zip of stored members, each written through, the signed statement last (SPEC 14)."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from parkgate.errors import ParkgateError
from parkgate.wire import cbor, cose

FORM = "parkgate archive 1"
STATEMENT = "statement.cbor"
CONTENT_TYPE = 65105
STATEMENT_BYTES_MAX = 2 << 20
SIZE_MAX = (1 << 32) - (64 << 20)  # so that the list of members still fits

_HEAD = bytes.fromhex("a301260319fe51045820")


class ArchiveError(ParkgateError):
    """An archive cannot be made. The text says why, and what to do."""


class Chain(NamedTuple):
    """What the archive holds of one chain: runs of seqs, and the seqs that are set aside because they are damaged."""

    epoch: bytes
    runs: list[tuple[int, int]]
    set_aside: list[int]


class Gateway(NamedTuple):
    """One gateway in the statement. `history` has (Unix time in ms, what, name)."""

    id: bytes
    key: bytes
    name: str
    history: list[tuple[int, str, str]]
    chains: list[Chain]


class Coverage(NamedTuple):
    """What the statement says besides gateways and members. Times are Unix times in ms; None where there is no end."""

    archive_class: str
    made_ms: int
    by: str
    from_ms: int | None
    to_ms: int | None
    zone: str
    days: list[int]
    others: list[bytes]
    left_out: list[str]
    cannot_show: list[str]


class Archive:
    """Members in the order in which they are added, then `finish`. Holds none of them in memory."""

    def __init__(self, out: BinaryIO):
        self._zip = zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=False)
        self._out = out
        self.members: list[list] = []

    def add(self, name: str, parts: Iterable[bytes]) -> int:
        """Write one member piece by piece; a member without any byte is left out. Returns its size in bytes."""
        parts = iter(parts)
        first = next(parts, b"")
        if not first:
            return 0
        digest, size = hashlib.sha256(), 0
        with self._zip.open(_info(name), "w") as member:
            for part in _and(first, parts):
                if self._out.tell() + len(part) > SIZE_MAX:
                    raise ArchiveError("the archive would be larger than 4 GB: take a shorter time, or fewer gateways")
                member.write(part)
                digest.update(part)
                size += len(part)
        self.members.append([name, size, digest.digest()])
        return size

    def finish(self, coverage: Coverage, gateways: list[Gateway], key, log_xy: bytes = b"") -> None:
        """Write the statement and the list of members. `key` has `xy`, `id` and `sign(digest)`, or is None: then
        `log_xy` is the log's public key, where it is known."""
        payload = statement(coverage, gateways, self.members, key.xy if key else log_xy)
        data = payload if key is None else sign(payload, key)
        if len(data) > STATEMENT_BYTES_MAX:
            raise ArchiveError("there is too much to state for one archive: take fewer gateways, or a shorter time")
        with self._zip.open(_info(STATEMENT), "w") as member:
            member.write(data)
        self.close()

    def close(self) -> None:
        """Write the list of members; of an archive that has no statement nothing can be used."""
        self._zip.close()


def statement(coverage: Coverage, gateways: list[Gateway], members: list[list], key_xy: bytes) -> bytes:
    """The statement as CBOR, not signed."""
    return cbor.encode({
        "form": FORM, "class": coverage.archive_class, "made_ms": coverage.made_ms, "by": coverage.by,
        "from_ms": coverage.from_ms, "to_ms": coverage.to_ms, "zone": coverage.zone, "days": coverage.days,
        "key": key_xy, "members": members, "others": coverage.others, "left_out": coverage.left_out,
        "cannot_show": coverage.cannot_show,
        "gateways": [
            {
                "id": one.id, "key": one.key, "name": one.name, "history": [list(line) for line in one.history],
                "chains": [
                    {"epoch": c.epoch, "runs": [list(run) for run in c.runs], "set_aside": c.set_aside}
                    for c in one.chains
                ],
            }
            for one in sorted(gateways, key=lambda one: one.id)
        ],
    })  # fmt: skip


def sign(payload: bytes, key) -> bytes:
    """The statement as COSE_Sign1 by the hub's log key."""
    protected = _HEAD + key.id
    return cose.sign1_join(protected, payload, key.sign(cose.sign1_digest(protected, payload)))


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    return info


def _and(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest

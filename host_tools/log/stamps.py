"""Time stamps of checkpoints from outside (RFC 3161), each a leaf of the log: with them an auditor knows when a batch
was signed, without believing the hub or a gateway (SPEC 13.10).

    stamp(db, recorder, url)        one stamp of the newest checkpoint, in a transaction of its own
    Stamps(folder, url)             a thread of the running hub: one stamp a day; nothing waits for it

The authority sees a hash and nothing else. What it answers is looked at only as far as storing it needs: that it is a
stamp of this checkpoint. `audit.py` checks its signature.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import urlsplit

from host_tools.log import record, tables
from host_tools.log.database.seam import Database, DatabaseError
from host_tools.log.keys import LogError
from host_tools.log.log import Checkpoint
from host_tools.log.signer import put
from parkgate.errors import ParkgateError
from parkgate.log import statement

log = logging.getLogger("parkgate.hub")

TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 12_000  # so that the statement stays below 16 kB
EVERY_MS = 86_400_000
LOOK_EVERY_S = 60.0
RETRY_S_MIN, RETRY_S_MAX = 300.0, 4 * 3600.0
_SHA256 = bytes.fromhex("300d06096086480165030402010500")


class StampError(ParkgateError):
    """The time stamp authority gave no stamp that can be used."""


def request(digest: bytes, nonce: bytes) -> bytes:
    """A TimeStampReq for a SHA-256, that wants the certificate with the stamp. The nonce's first bit must be 0."""
    imprint = _der(0x30, _SHA256 + _der(4, digest))
    return _der(0x30, b"\2\1\1" + imprint + _der(2, nonce) + b"\1\1\xff")


def token(answer: bytes, digest: bytes, nonce: bytes) -> bytes:
    """The time stamp token in a TimeStampResp. Raises StampError."""
    try:
        status, *rest = _inside(answer, 0x30)
        code = _inside(status[2], 0x30)[0][1]
    except (ValueError, IndexError):
        raise StampError("the authority's answer is not a time stamp") from None
    if code not in (b"\0", b"\1"):
        raise StampError(f"the authority refused: status {int.from_bytes(code, 'big')}")
    if not rest or _der(4, digest) not in rest[0][2] or _der(2, nonce) not in rest[0][2]:
        raise StampError("the authority's stamp is not of what it was asked for")
    return rest[0][2]


def ask(url: str, digest: bytes) -> bytes:
    """A token over this SHA-256 from the authority at `url`. Raises StampError."""
    nonce = bytes([os.urandom(1)[0] & 0x7F | 1]) + os.urandom(15)
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    try:
        question = urllib.request.Request(url, request(digest, nonce), headers)
        with urllib.request.urlopen(question, timeout=TIMEOUT_S) as answer:
            data = answer.read(ANSWER_BYTES_MAX + 1)
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise StampError(f"{url}: {getattr(error, 'reason', None) or error}") from None
    if len(data) > ANSWER_BYTES_MAX:
        raise StampError(f"{url}: its stamps are longer than {ANSWER_BYTES_MAX} bytes")
    return token(data, digest, nonce)


def check_url(url: str) -> str:
    """`url` itself. Raises StampError where no authority can be asked so."""
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise StampError(f"{url!r} is not the address of a time stamp authority: it begins with http:// or https://")
    return url


def stamp(
    db: Database, recorder: record.Recorder, url: str, by: str | None,
    ask: Callable[[str, bytes], bytes] = ask,
) -> dict:  # fmt: skip
    """Have the newest checkpoint stamped, append that, return the facts. Raises StampError, LogError."""
    row = db.execute(
        "SELECT size, root, signature, note, signed_unix_ms FROM checkpoint WHERE log_id = ?"
        " ORDER BY size DESC LIMIT 1",
        (recorder.log_id,),
    ).fetchone()
    if row is None:
        raise StampError("the log has no checkpoint yet: a running hub signs one soon")
    made = Checkpoint(*row)
    text = made.note.split("\n\n")[0] + "\n"
    found = ask(url, sha256(text.encode()).digest())
    facts = {
        "log": recorder.log_id, "size": made.size, "root": made.root, "authority": urlsplit(url).hostname or url,
        "token": found,
    }  # fmt: skip
    with record.recording(db, recorder) as leaves:
        leaves.statement(statement.STAMPED, facts, by, record.now_unix_ms())
        put(db, recorder.log_id, made, 1)  # it stays: the stamp rests on it
        db.set_about("stamped unix ms", record.now_unix_ms())
    return facts


class Stamps:
    """One stamp a day while the hub runs. `open_db` gives a connection of its own; a fault is logged once, and the next
    try comes later."""

    def __init__(self, open_db: Callable[[], Database], url: str, every_ms: int = EVERY_MS):
        self._open_db, self._url, self._every_ms = open_db, check_url(url), every_ms
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub-stamps", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Nothing waits for an answer that is on its way."""
        self._stopping.set()

    def _run(self) -> None:
        wait_s, retry_s = 5.0, RETRY_S_MIN
        while not self._stopping.wait(wait_s):
            wait_s = LOOK_EVERY_S
            try:
                with contextlib.closing(self._open_db()) as db:
                    if not is_due(db, self._every_ms):
                        continue
                    stamp(db, record.open_recorder(db), self._url, None)
                log.info("a checkpoint was stamped by %s", self._url)
                retry_s = RETRY_S_MIN
            except (ParkgateError, LogError, DatabaseError) as error:
                log.warning("no time stamp: %s; trying again in %.0f s", error, retry_s)
                wait_s, retry_s = retry_s, min(2 * retry_s, RETRY_S_MAX)


def is_due(db: Database, every_ms: int = EVERY_MS) -> bool:
    """Whether the newest stamp is older than that, or there is none."""
    stamped_unix_ms = db.about("stamped unix ms")
    age_ms = None if stamped_unix_ms is None else time.time_ns() // 1_000_000 - int(stamped_unix_ms)
    return age_ms is None or not 0 <= age_ms < every_ms


def last_before(db: Database, leaf: int) -> int | None:
    """The leaf of the newest stamp before this leaf."""
    return next((at for at, _ in _stamps(db, "leaf < ?", "DESC", leaf)), None)


def first_over(db: Database, log_id: bytes, leaf: int) -> int | None:
    """The leaf of the first stamp whose checkpoint covers this leaf."""
    for at, data in _stamps(db, "leaf > ?", "ASC", leaf):
        facts = statement.Statement(data).facts
        if facts["log"] == log_id and facts["size"] > leaf:
            return at
    return None


def _stamps(db, where: str, order: str, leaf: int):
    """(leaf, statement) of stamps; their kind stands in the first bytes of what is signed."""
    marked = b"\1\x67" + statement.STAMPED.encode()
    rows = db.iterate(
        f"SELECT leaf, bytes FROM leaf JOIN statement USING (leaf) WHERE kind = ? AND {where} ORDER BY leaf {order}",
        (tables.STATEMENT, leaf),
    )
    for at, data in rows:
        if marked not in data:
            continue
        with contextlib.suppress(ParkgateError):
            if statement.Statement(data).kind == statement.STAMPED:
                yield at, data


def _der(tag: int, contents: bytes) -> bytes:
    n = len(contents)
    length = bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else bytes([0x82]) + n.to_bytes(2, "big")
    return bytes([tag]) + length + contents


def _inside(data: bytes, tag: int) -> list[tuple[int, bytes, bytes]]:
    """(tag, contents, whole) of each element in the one that `data` begins with. Raises ValueError, IndexError."""
    contents = _element(data, 0)
    if contents[0] != tag:
        raise ValueError
    found, at, data = [], 0, contents[1]
    while at < len(data):
        element = _element(data, at)
        found.append(element)
        at += len(element[2])
    return found


def _element(data: bytes, at: int) -> tuple[int, bytes, bytes]:
    begin, n = at + 2, data[at + 1]
    if n > 127:
        size = n & 127
        n = int.from_bytes(data[begin : begin + size], "big")
        begin += size
    if begin + n > len(data):
        raise ValueError("cut off")
    return data[at], data[begin : begin + n], data[at : begin + n]

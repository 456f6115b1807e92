#!/usr/bin/env python3
"""Check a Parkgate archive on any computer: Python 3.10 or newer and this one file, no network, nothing else.

    python3 audit.py ARCHIVE.zip --trust ID

ID is the id of the hub's log key (`parkgate log show` prints it at the hub), or of each gateway (on its label). Take it
from a source that you trust, such as a contract. Give --trust once for each id; the first 16 characters are
enough. Without it the archive can only be compared with itself.

The answer has four lines. Each says yes, no, or not shown:

    authentic    every batch is signed by the key of its gateway, and an id that you trust vouches for that key
    unaltered    no byte differs from what was signed, and each batch follows the one before
    complete     nothing is missing between the two times, and nothing at the end; every gap is named
    witnessed    somebody else than the hub has confirmed the log that these batches stand in

"not shown" means that the evidence is not in the archive. It is never counted as yes and never as no.

With several archives, of other months or from other people, each is checked, and then each two are compared. A hub that
showed different histories to different people is found by that: two checkpoints under its own signature contradict
each other. So is a gateway whose key signed two different batches for one place.

The proof of a lot (SPEC 15.3) holds the batches between the start and the end of each of its jobs, and those of what
went into it. Times, pieces and energy are worked out again from the entries and registers that the gateways signed, and
compared with what the hub says.

Readings belong to places, which outlive gateways: the hub signed which gateway stood where, and when one took the place
of another. The energy between the last register of the one and the first of the other is the place's too.

Exit code: 0 all four are yes, 1 something is wrong, 3 something is not shown, 2 the file cannot be read.
Parkgate's lib/SPEC.md, section 14, describes the format and every check. All of it is one file, so that an auditor
needs only this file and Python, and can read all of what he relies on.
"""

# What strangers' bytes decode to may be of any type. `need` looks, which a type checker does not see.
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false

import argparse
import hashlib
import html
import json
import re
import sys
from base64 import b64encode
from bisect import bisect_left, bisect_right
from datetime import datetime, timezone
from itertools import pairwise
from math import gcd
from typing import Any

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils
except ImportError:
    ec = utils = hashes = None  # type: ignore[assignment]
    InvalidSignature = ValueError  # type: ignore[assignment]

FORM = "parkgate archive 1"
VERDICT_FORM = "parkgate verdict 1"
EXIT = {"success": 0, "failure": 1, "incomplete": 3}

# Bounds (SPEC 14.2).
MEMBERS_MAX = 20_000
STATEMENT_BYTES_MAX = 2 << 20
SCHEMA_BYTES_MAX = 16_384
FAULTS_MAX = 100  # in one member; then the rest of it is not read
WHERE_MAX = 10  # places named with each reason
GAPS_MAX = 1000  # listed of each chain
HUB_STATEMENTS_MAX = 5000  # listed
ENERGY_ROWS_MAX = 20_000
DAY_MS = 86_400_000
OPEN_MS = 3_600_000  # how long before the end of an archive its newest batch or beat may be, and be called the newest
NEAR_MS = 900_000  # how far before midnight a register may have been read to stand for midnight
DATED_MS = 10**12  # times below are relative to a start
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}){0,3}\Z")
MINE = re.compile(r"gateways/([0-9a-f]{64})/(?:(beats|forks|schemas)|batches-([0-9a-f]{32}))\.cbor\Z")

AUTHENTIC, UNALTERED, COMPLETE, WITNESSED = LINES = ("authentic", "unaltered", "complete", "witnessed")
WRONG, NOT_SHOWN = "wrong", "not shown"
# The closed list: reason → (line, what it does to it, sentence). SPEC 14.6 has the same.
REASONS = {
    "not_an_archive": (UNALTERED, WRONG, "The file is not an archive of this form."),
    "statement_malformed": (UNALTERED, WRONG, "The hub's statement of what the archive holds cannot be read."),
    "statement_unsigned": (AUTHENTIC, NOT_SHOWN, "Nobody signed the statement of what the archive holds."),
    "statement_signature": (AUTHENTIC, WRONG, "The signature under the statement does not hold."),
    "no_trusted_id": (AUTHENTIC, NOT_SHOWN, "No id that you named vouches for a gateway's key: only the archive does."),
    "foreign_key": (AUTHENTIC, WRONG, "No id that you trust vouches for this gateway's key."),
    "root_malformed": (UNALTERED, WRONG, "A document of the park's root keys is not in the one form that is allowed."),
    "root_order": (UNALTERED, WRONG, "A document of the park's root keys does not follow the one before it."),
    "root_signature": (AUTHENTIC, WRONG, "A document of the park's root keys is not signed by two of its three keys."),
    "root_key": (AUTHENTIC, WRONG, "The archive is not signed by the key that the park's root keys name for the hub."),
    "rotation": (
        AUTHENTIC,
        WRONG,
        "A gateway's new key is not the one that was committed, or not signed by both.",
    ),
    "rotation_uncommitted": (AUTHENTIC, NOT_SHOWN, "Nothing shows that a gateway's next key was committed beforehand."),
    "wrong_key": (AUTHENTIC, WRONG, "A message is signed by a key whose time it was not."),
    "member_missing": (UNALTERED, WRONG, "A file that the statement lists is not in the archive."),
    "member_altered": (UNALTERED, WRONG, "A file differs from what the statement says of it."),
    "member_not_listed": (UNALTERED, WRONG, "A file is in the archive that the statement does not list."),
    "malformed": (UNALTERED, WRONG, "A message is not in the one form that is allowed."),
    "misplaced": (UNALTERED, WRONG, "A message of another gateway or chain stands in this place."),
    "signature": (AUTHENTIC, WRONG, "A signature does not hold: the gateway did not sign these bytes."),
    "after_revocation": (AUTHENTIC, WRONG, "A batch is dated after its gateway's key was revoked."),
    "order": (UNALTERED, WRONG, "A batch stands twice or in the wrong order."),
    "link": (UNALTERED, WRONG, "A batch does not continue the one before it."),
    "fork": (UNALTERED, WRONG, "The gateway's key signed two different histories."),
    "counters": (UNALTERED, WRONG, "A gateway's own counts do not agree with the readings that it signed."),
    "columns": (UNALTERED, WRONG, "Readings of a signed batch cannot be decoded."),
    "too_many_faults": (UNALTERED, WRONG, "So much is wrong in one file that the rest of it was not read."),
    "batch_missing": (COMPLETE, WRONG, "A batch that the statement lists is not here, or not as it was signed."),
    "set_aside": (COMPLETE, NOT_SHOWN, "The hub says that it left out a batch that is damaged in its database."),
    "hole": (COMPLETE, NOT_SHOWN, "Batches are missing, and the gateway signed no reason for it."),
    "start_unproven": (COMPLETE, NOT_SHOWN, "The archive does not show that nothing is missing at the beginning."),
    "tail_missing": (COMPLETE, NOT_SHOWN, "The gateway signed that its chain goes on; those batches are not here."),
    "tail_unproven": (COMPLETE, NOT_SHOWN, "Nothing in the archive shows where the gateway's chain ended."),
    "gateway_absent": (COMPLETE, NOT_SHOWN, "A gateway that you named is not in the archive."),
    "lot_malformed": (UNALTERED, WRONG, "The hub's list of the lot's jobs cannot be read."),
    "lot_differs": (UNALTERED, WRONG, "What was signed belongs to another lot than the hub says."),
    "lot_counts": (UNALTERED, WRONG, "The hub counts other pieces or scrap than were signed."),
    "lot_figures": (UNALTERED, WRONG, "The hub names other amounts than the signed registers give."),
    "lot_entry_missing": (COMPLETE, WRONG, "The start of a job that the hub lists is not here."),
    "lot_genealogy": (COMPLETE, WRONG, "Something went into the lot, and its own jobs are not here."),
    "lot_gap": (COMPLETE, NOT_SHOWN, "Batches or entries are missing between the start and the end of a job."),
    "lot_open": (COMPLETE, NOT_SHOWN, "A job was not over when the archive was made, or its end is not here."),
    "no_log": (WITNESSED, NOT_SHOWN, "The archive carries no log: nobody but the hub vouches for it."),
    "log_malformed": (WITNESSED, WRONG, "The log in the archive cannot be read."),
    "log_signature": (WITNESSED, WRONG, "The checkpoint of the log is not signed by the hub's log key."),
    "log_root": (WITNESSED, WRONG, "The entries of the log do not add up to its checkpoint."),
    "not_in_log": (WITNESSED, WRONG, "A batch, or a statement of the hub, is not in the log."),
    "hub_statement_malformed": (WITNESSED, WRONG, "A statement of the hub is not in the one form that is allowed."),
    "hub_statement_signature": (WITNESSED, WRONG, "A statement of the hub is not signed by the hub's log key."),
    "place_conflict": (WITNESSED, WRONG, "What the hub signed about places contradicts itself."),
    "place_unlinked": (WITNESSED, NOT_SHOWN, "A statement of the hub about a place is missing between two others."),
    "exchange_differs": (WITNESSED, WRONG, "The hub's record of an exchange differs from what the gateways signed."),
    "stamp_malformed": (WITNESSED, WRONG, "A time stamp cannot be read."),
    "stamp_imprint": (WITNESSED, WRONG, "A time stamp is of something else than the checkpoint that the hub names."),
    "stamp_signers": (WITNESSED, WRONG, "A time stamp has not exactly one signature."),
    "stamp_algorithm": (WITNESSED, WRONG, "A time stamp uses a method that is too weak, or not known here."),
    "stamp_attributes": (WITNESSED, WRONG, "What an authority signs with each time stamp is missing."),
    "stamp_digest": (WITNESSED, WRONG, "A time stamp was changed after it was signed."),
    "stamp_certificate": (WITNESSED, WRONG, "A time stamp does not come with the certificate that it names."),
    "stamp_usage": (WITNESSED, WRONG, "The certificate under a time stamp is not for time stamps alone."),
    "stamp_validity": (WITNESSED, WRONG, "The certificate was not valid at the time that the stamp tells."),
    "stamp_signature": (WITNESSED, WRONG, "The signature under a time stamp does not hold."),
    "stamp_root": (WITNESSED, WRONG, "A time stamp is of a checkpoint that this log does not have."),
    "stamp_order": (WITNESSED, WRONG, "A time stamp tells an earlier time than the one before it in the log."),
    "post_dated": (WITNESSED, WRONG, "Readings are dated later than a time by which they were signed."),
    "claim_differs": (WITNESSED, WRONG, "A gateway confirmed another log than this one."),
    "no_witness": (WITNESSED, NOT_SHOWN, "No gateway has confirmed this log yet."),
}
# What comparing two archives can find. SPEC 14.7 has the same.
COMPARED = {
    "two_histories": (WITNESSED, WRONG, "The hub's log key signed two histories: these two archives convict the hub."),
    "two_batches": (UNALTERED, WRONG, "A gateway's key signed two different batches for one place."),
    "not_comparable": (WITNESSED, NOT_SHOWN, "The two archives show no part of one log in common."),
}
CHECKS = (
    "form", "statement", "members", "keys", "signatures", "chain", "counters", "gaps", "beats", "forks", "columns",
    "energy", "log", "hub statements", "places", "time stamps",
)  # fmt: skip


KEY_ROTATED, ROTATION = 34, b"parkgate rotation v1"


class Malformed(Exception):
    """Bytes that are not in the one form that is allowed."""


def need(holds, what):
    if not holds:
        raise Malformed(what)


# CBOR in its one form (SPEC 2).

_LEAST = (24, 1 << 8, 1 << 16, 1 << 32)


def decode(data) -> Any:
    """The item that `data` is, all of it."""
    try:
        item, at = _item(data, 0, 8)
    except IndexError:
        raise Malformed("cut off") from None
    need(at == len(data), "bytes behind the item")
    return item


def _item(data, at, depth) -> tuple[Any, int]:
    """(item, offset behind it)."""
    initial = data[at]
    at += 1
    major, n = initial >> 5, initial & 31
    if n > 23:
        if major == 7 or n > 27:
            raise Malformed("a form that is not allowed")
        size = 1 << n - 24
        least = _LEAST[n - 24]
        n = int.from_bytes(data[at : at + size], "big")
        at += size
        if n < least or at > len(data):
            raise Malformed("not the shortest form")
    if major == 0:
        return n, at
    if major == 2:
        end = at + n
        if end > len(data):
            raise Malformed("cut off")
        return data[at:end], end
    if major == 4:
        if depth < 2 and n or n > len(data) - at:
            raise Malformed("too deep, or cut off")
        items = []
        for _ in range(n):
            item, at = _item(data, at, depth - 1)
            items.append(item)
        return items, at
    if major == 1:
        return -1 - n, at
    if major == 3:
        end = at + n
        if end > len(data):
            raise Malformed("cut off")
        try:
            return str(data[at:end], "utf-8"), end
        except ValueError:
            raise Malformed("text is not UTF-8") from None
    if major == 5:
        return _map(data, at, n, depth)
    if initial == 0xF6:
        return None, at
    if initial in (0xF4, 0xF5):
        return initial == 0xF5, at
    raise Malformed("a form that is not allowed")


def _map(data, at, n, depth):
    need(not (depth < 2 and n) and n <= len(data) - at, "too deep, or cut off")
    found, before = {}, b""
    for _ in range(n):
        start = at
        key, at = _item(data, at, depth - 1)
        raw = data[start:at]
        need(type(key) in (int, str) and raw > before, "keys of a map are not in order, or one stands twice")
        before = raw
        found[key], at = _item(data, at, depth - 1)
    return found, at


def head(major, n):
    """The first bytes of an item (SPEC 2)."""
    for size, least in ((8, 1 << 32), (4, 1 << 16), (2, 1 << 8), (1, 24)):
        if n >= least:
            return bytes([major << 5 | 24 + (1, 2, 4, 8).index(size)]) + n.to_bytes(size, "big")
    return bytes([major << 5 | n])


def is_uint(item):
    return type(item) is int and 0 <= item < 1 << 62


def is_bytes(item, length):
    return type(item) is bytes and len(item) == length


# P-256 (FIPS 186-5), for computers without `cryptography`: points are (x, y) or, in between, Jacobian (X, Y, Z).

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
TABLE_AFTER = 200  # signatures of one key before a table for it is worth its time


def on_curve(x, y):
    return x < P and y < P and (y * y - (x * x - 3) * x - B) % P == 0


def _double(point):
    x, y, z = point
    if not y:
        return 0, 1, 0
    a = z * z % P
    b = y * y % P
    c = x * b % P
    m = 3 * (x - a) * (x + a) % P
    x3 = (m * m - 8 * c) % P
    return x3, (m * (4 * c - x3) - 8 * b * b) % P, ((y + z) ** 2 - b - a) % P


def _add(point, other):
    """A Jacobian point and an affine one."""
    x1, y1, z1 = point
    x2, y2 = other
    if not z1:
        return x2, y2, 1
    zz = z1 * z1 % P
    h = (x2 * zz - x1) % P
    r = (y2 * zz * z1 - y1) % P
    if not h:
        return _double(point) if not r else (0, 1, 0)
    hh = h * h % P
    hhh = h * hh % P
    v = x1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - y1 * hhh) % P, z1 * h % P


def _affine(points):
    """Many Jacobian points as affine ones, with one inversion."""
    products, product = [], 1
    for _, _, z in points:
        products.append(product)
        product = product * z % P
    inverse = pow(product, -1, P)
    found = []
    for (x, y, z), before in zip(reversed(points), reversed(products)):
        one = inverse * before % P
        inverse = inverse * z % P
        square = one * one % P
        found.append((x * square % P, y * square * one % P))
    return found[::-1]


def _table(point):
    """For each of the 32 bytes of a number, the 255 multiples of `point` that it can stand for."""
    rows = []
    for _ in range(32):
        row = [(*point, 1)]
        for _ in range(254):
            row.append(_add(row[-1], point))
        row = _affine(row)
        rows.append(row)
        point = _affine([_add((*row[-1], 1), row[0])])[0]
    return rows


def _times(table, n, start):
    for row in table:
        if n & 255:
            start = _add(start, row[(n & 255) - 1])
        n >>= 8
    return start


def _times_slowly(point, n):
    small = _affine(_multiples(point))
    found = (0, 1, 0)
    for shift in range(252, -1, -4):
        for _ in range(4):
            found = _double(found)
        if n >> shift & 15:
            found = _add(found, small[(n >> shift & 15) - 1])
    return found


def _multiples(point):
    row = [(*point, 1)]
    for _ in range(14):
        row.append(_add(row[-1], point))
    return row


class Key:
    """A public key, x then y in 64 bytes. Raises Malformed where that is no point of the curve."""

    _of_g: list = []

    def __init__(self, xy):
        need(len(xy) == 64, "a key has 64 bytes")
        self.point = int.from_bytes(xy[:32], "big"), int.from_bytes(xy[32:], "big")
        need(on_curve(*self.point), "not a point of P-256")
        self.id = hashlib.sha256(b"\xa4\x01\x02\x20\x01\x21\x58\x20" + xy[:32] + b"\x22\x58\x20" + xy[32:]).digest()
        self.uses, self.table = 0, None
        self.fast: Any = ec and ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + xy)

    def holds(self, message, signature):
        """Whether r || s is a signature of this key over SHA-256 of `message`, with s in the lower half."""
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if not (0 < r < N and 0 < s <= N // 2):
            return False
        if self.fast:
            try:
                self.fast.verify(utils.encode_dss_signature(r, s), message, _SHA256)
                return True
            except InvalidSignature:
                return False
        return self._holds(r, s, int.from_bytes(hashlib.sha256(message).digest(), "big"))

    def _holds(self, r, s, e):
        self.uses += 1
        if self.uses == TABLE_AFTER:
            self.table = _table(self.point)
            Key._of_g = Key._of_g or _table(G)
        inverse = pow(s, -1, N)
        a, b = e * inverse % N, r * inverse % N
        if self.table:
            x, _, z = _times(Key._of_g, a, _times(self.table, b, (0, 1, 0)))
        else:
            x1, y1, z1 = _times_slowly(self.point, b)
            x2, y2, z2 = _times_slowly(G, a)
            if not z2:
                x, z = x1, z1
            else:
                x, _, z = _add((x1, y1, z1), _affine([(x2, y2, z2)])[0])
        if not z:
            return False
        zz = z * z % P
        return any((candidate * zz - x) % P == 0 for candidate in (r, r + N) if candidate < P)


_SHA256: Any = ec and ec.ECDSA(hashes.SHA256())


# Columns (SPEC 8).


def unzigzag(u):
    return -(u + 1) // 2 if u & 1 else u // 2


def signed64(n):
    return (n + (1 << 63)) % (1 << 64) - (1 << 63)


class Bits:
    """Verbatim bits, from the last byte to the first."""

    def __init__(self, data):
        self.number, self.size, self.at = int.from_bytes(data, "big"), 8 * len(data), 0

    def take(self, n):
        at = self.at
        self.at = at + n
        need(self.at <= self.size, "a column that is too short")
        return self.number >> at & (1 << n) - 1


def decode_column(column, count):
    """The `count` integers of a column as it stands in a batch."""
    need(count <= 4096 and bool(column) == bool(count), "a column where there are no values, or none where there are")
    if not count:
        return []
    coder, data = column[0], column[1:]
    need(coder < 5, "a coder that is not known")
    bits = Bits(data)
    length = bits.take(7)
    need(length <= 64, "an anchor that is too long")
    anchor = unzigzag(1 << length - 1 | bits.take(length - 1) if length else 0)
    need(abs(anchor) < 1 << 63, "an anchor that is too large")
    rows = count - (coder > 1)
    step, shapes, symbols, end = 1, [], [], None
    if rows:
        step, shapes = _classes(bits)
        need(coder != 1 or shapes[0] == [0, 0], "a floor that is not the least value")
        symbols, end = _symbols(data, len(shapes), rows) if len(shapes) > 1 else ([0] * rows, None)
    us = _numbers(bits, shapes, symbols)
    tail = (bits.at + 7) // 8
    need(bits.number % (1 << 8 * tail) >> bits.at == 0, "padding that is not zero")
    _check_end(end, len(data) - tail)
    return _values(coder, anchor, step, us)


def _classes(bits):
    """(step, [[bits of the mantissa, least or only number]]) of the classes that occur."""
    step = 1
    if bits.take(1):
        length = bits.take(6)
        need(length, "a step of one written out")
        step = 1 << length | bits.take(length)
    fine, first = bits.take(1), bits.take(7)
    last = first + bits.take(7)
    need(last <= (127 if fine else 65), "a class that is not known")
    used = [first, *(k for k in range(first + 1, last) if bits.take(1))]
    if last > first:
        used.append(last)
    shapes = []
    for k in used:
        width = 0 if k < 4 else k // 2 - 1 if fine else k - 2
        least = k if k < 4 else 2 + k % 2 << width if fine else 1 << width
        if width and bits.take(1):
            shapes.append([0, least + bits.take(width)])
        else:
            shapes.append([width, least])
    return step, shapes


def _symbols(data, m, rows):
    """The symbols, and what the check of the end needs."""
    shift = 0
    while m - 1 >> shift >= 8:
        shift += 1
    column, contexts = [4] * m, [[0] * m for _ in range(8)]
    padded = data + bytes(2 * rows + 4)
    code, span, moved, before, found = int.from_bytes(padded[:3], "big"), 1 << 24, 0, 0, []
    for n in range(rows):
        counts = contexts[before]
        shares = [a + b for a, b in zip(column, counts)]
        total = sum(shares)
        unit = span // total
        target = code // unit
        need(target < total, "a range code that leaves its interval")
        below = symbol = 0
        while below + shares[symbol] <= target:
            below += shares[symbol]
            symbol += 1
        code -= unit * below
        span = unit * shares[symbol]
        while span < 1 << 16:
            code = code << 8 | padded[moved + 3]
            span <<= 8
            moved += 1
        if n < 64:
            column[symbol] += 1
        counts[symbol] += 24
        if sum(counts) >= 8192:
            counts[:] = [count // 2 for count in counts]
        before = symbol >> shift
        found.append(symbol)
    return found, (moved, code, span, int.from_bytes(padded[moved : moved + 3], "big"))


def _check_end(end, size):
    if end is None:
        need(size == 0, "bytes left over")
        return
    moved, code, span, window = end
    extra = size - moved
    need(extra in (1, 2), "a range code that does not end where it must")
    unit = 1 << 16 if extra == 1 else 1 << 8
    rest = code - window % unit
    need(0 <= rest < unit and rest + unit <= span, "a range code that does not end as it must")
    need(extra == 1 or rest + (-(window >> 8) % 256 << 8) + (1 << 16) > span, "a range code that is too long")


def _numbers(bits, shapes, symbols):
    found, first, varied = [], {}, set()
    for symbol in symbols:
        width, least = shapes[symbol]
        u = least + bits.take(width) if width else least
        if first.setdefault(symbol, u) != u:
            varied.add(symbol)
        found.append(u)
    for symbol, (width, _) in enumerate(shapes):
        need(symbol in first and (not width or symbol in varied), "a class without members, or of one number")
    return found


def _values(coder, anchor, step, us):
    ts = us if coder == 1 else [unzigzag(u) for u in us]
    divisor = gcd(*ts)
    need(divisor == 1 or not divisor and step == 1, "a step that is not the greatest")
    rs = [t * step for t in ts]
    limit = 1 << 64 if coder == 1 else 1 << 63
    need(all(-(1 << 63) <= r < limit for r in rs), "a residual that is too large")
    if coder < 2:
        values = [anchor + r if coder else signed64(anchor + r) for r in rs]
    else:
        values, value, slope, bend = [anchor], anchor, 0, 0
        for r in rs:
            if coder == 4:
                bend += r
                r = bend
            if coder > 2:
                slope += r
                r = slope
            value = signed64(value + r)
            values.append(value)
    need(all(abs(value) < 1 << 63 for value in values), "a value that is too large")
    return values


# Messages (SPEC 3, 5, 7).

BATCH, BEAT, STATEMENT, HUB_STATEMENT = 65101, 65102, 65105, 65106
_BATCH_HEAD, _BEAT_HEAD, _HUB_HEAD = (
    bytes.fromhex(f"a401260319{content:04x}045820") for content in (BATCH, BEAT, HUB_STATEMENT)
)
_POSITION = bytes.fromhex("3a000100008250")


class Batch:
    """What a batch says, in its own order, and what follows from it."""

    __slots__ = (
        "kid", "epoch", "seq", "raw", "hash", "prev", "boot", "cause", "sampled", "dropped", "receipt_seq", "base_ms",
        "tables", "events", "schema_id", "schema", "readings",
    )  # fmt: skip

    def time_ms(self):
        """When its readings begin; None where it has none, or none with a date."""
        return self.base_ms if self.base_ms >= DATED_MS else None


def _string(data, at, most=25):
    """(bytes, offset behind them) of a byte string of less than 65,536 bytes, with `most` = 26 of up to 2^32 - 1."""
    n = data[at] - 0x40
    at += 1
    if n >= 24:
        if n > most:
            raise Malformed("not a byte string")
        size, least = 1 << n - 24, _LEAST[n - 24]
        n = int.from_bytes(data[at : at + size], "big")
        at += size
        if n < least:
            raise Malformed("not the shortest form")
    elif n < 0:
        raise Malformed("not a byte string")
    if at + n > len(data):
        raise Malformed("cut off")
    return data[at : at + n], at + n


def split(data, at, most=25):
    """(protected, payload, signature, offset behind it) of the COSE_Sign1 at `at`; `most` as in `_string`."""
    try:
        if data[at] != 0xD2 or data[at + 1] != 0x84:
            raise Malformed("not a signed message")
        protected, at = _string(data, at + 2)
        if data[at] != 0xA0:
            raise Malformed("an unprotected header that is not empty")
        payload, at = _string(data, at + 1, most)
        signature, at = _string(data, at)
    except IndexError:
        raise Malformed("cut off") from None
    if len(signature) != 64:
        raise Malformed("a signature that has not 64 bytes")
    return protected, payload, signature, at


def signed_bytes(protected, payload):
    """What the signature is made over (SPEC 3.4)."""
    return b"".join(
        (b"\x84\x6aSignature1", head(2, len(protected)), protected, b"\x40", head(2, len(payload)), payload)
    )


def position(protected, start):
    """(kid, epoch, seq) of a protected header that begins with `start`."""
    at = len(start) + 39
    if not protected.startswith(start) or protected[len(start) + 32 : at] != _POSITION:
        raise Malformed("not the protected header of this kind of message")
    try:
        seq, end = _item(protected, at + 16, 2)
    except IndexError:
        raise Malformed("cut off") from None
    need(is_uint(seq) and end == len(protected), "not the protected header of this kind of message")
    return protected[len(start) : len(start) + 32], protected[at : at + 16], seq


def read_batch(raw, protected, payload):
    """The Batch, or Malformed."""
    need(len(raw) <= 16384, "a batch that is too long")
    batch = Batch()
    batch.kid, batch.epoch, batch.seq = position(protected, _BATCH_HEAD)
    fields = decode(payload)
    need(type(fields) is list and len(fields) in (12, 13) and type(fields[0]) is int and fields[0] == 1, "no batch")
    _, prev, boot, cause, sampled, dropped, receipt_seq, schema_id, settings_id, base_ms, tables, events = fields[:12]
    need(prev is None if batch.seq == 0 else is_bytes(prev, 32), "a hash stands there exactly when seq is not 0")
    need(all(map(is_uint, (boot, cause, sampled, dropped, base_ms))), "a counter that is none")
    need(receipt_seq is None or is_uint(receipt_seq), "a counter that is none")
    need(is_bytes(schema_id, 16) and is_bytes(settings_id, 16), "an id that is none")
    need(type(tables) is list and type(events) is list and len(events) <= 256, "tables or events")
    need(all(type(event) is list and event and is_uint(event[0]) for event in events), "an event without a kind")
    need(tables or not base_ms, "a base time without a table")
    before, numbers, readings = -1, 0, 0
    for table in tables:
        need(type(table) is list and len(table) == 6, "no table")
        instrument, rows, trust, times, quality, channels = table
        need(type(instrument) is int and before < instrument < 64, "tables that are not in order")
        need(type(rows) is int and 1 <= rows <= 4096, "rows")
        need(type(trust) is bytes and type(times) is bytes and type(quality) is bytes, "a column that is none")
        need(type(channels) is list and 1 <= len(channels) <= 64 and type(channels[0]) is bytes, "channels")
        for channel in channels:
            if type(channel) is not bytes:
                need(type(channel) is list and len(channel) == 2, "a channel that is none")
                need(type(channel[0]) is bytes and type(channel[1]) is bytes and channel[0] != quality, "a channel")
        before = instrument
        numbers += rows * (1 + len(channels))
        readings += rows * len(channels)
    need(numbers <= 4096, "too many times and values")
    batch.schema = None
    if len(fields) == 13:
        batch.schema = fields[12]
        need(type(batch.schema) is bytes and hashlib.sha256(batch.schema).digest()[:16] == schema_id, "the schema")
        need(fits(tables, read_schema(batch.schema)), "a table that does not fit its schema")
    batch.raw, batch.hash, batch.prev = raw, hashlib.sha256(raw).digest(), prev
    batch.boot, batch.sampled, batch.dropped, batch.base_ms = boot, sampled, dropped, base_ms
    batch.tables, batch.events, batch.schema_id, batch.readings = tables, events, schema_id, readings
    batch.cause, batch.receipt_seq = cause, receipt_seq
    return batch


def fits(tables, schema):
    """Whether each table has its place in the schema, and as many channels as stand there."""
    return all(table[0] < len(schema) and len(table[5]) == len(schema[table[0]][1]) for table in tables)


def read_beat(raw, protected, payload):
    """(kid, epoch, seq, head, boot, sampled, time or None) of a beat, or Malformed."""
    need(len(raw) <= 1024, "a beat that is too long")
    kid, epoch, seq = position(protected, _BEAT_HEAD)
    fields = decode(payload)
    need(type(fields) is list and len(fields) == 12 and type(fields[0]) is int and fields[0] == 1, "no beat")
    _, newest, boot, cause, sampled, dropped, buffered, receipt_seq, oldest, time_ms, trust, health = fields
    need(newest is None if seq == 0 else is_bytes(newest, 32), "a hash stands there exactly when seq is not 0")
    need(all(map(is_uint, (boot, cause, sampled, dropped, buffered, time_ms))), "a counter that is none")
    need(all(item is None or is_uint(item) for item in (receipt_seq, oldest)), "a counter that is none")
    need(buffered + dropped <= sampled, "more buffered and dropped than sampled")
    need(all(item is None or item < seq for item in (receipt_seq, oldest)), "a seq that is not sealed yet")
    need(type(trust) is int and 0 <= trust < 4 and type(health) is dict and len(health) <= 32, "no beat")
    for name, value in health.items():
        need(type(name) is str and type(value) is int and abs(value) < 1 << 62, "health")
    return kid, epoch, seq, newest, boot, sampled, time_ms if trust < 3 and time_ms >= DATED_MS else None


def read_hub_statement(raw, protected, payload):
    """(kid, log id, index, kind, time, who did it or None, facts) of a hub statement, or Malformed (SPEC 13.5)."""
    need(len(raw) <= 16384, "a statement that is too long")
    kid, log_id, index = position(protected, _HUB_HEAD)
    fields = decode(payload)
    need(type(fields) is list and len(fields) == 5 and type(fields[0]) is int and fields[0] == 1, "no statement")
    _, kind, time_ms, by, facts = fields
    need(type(kind) is str and 1 <= len(kind) <= 64 and is_uint(time_ms), "no statement")
    need((by is None or type(by) is str) and type(facts) is dict, "no statement")
    need(all(type(name) is str for name in facts), "no statement")
    return kid, log_id, index, kind, time_ms, by, facts


def plain(item):
    """An item for JSON: bytes in hexadecimal, a map as its pairs."""
    if type(item) is bytes:
        return item.hex()
    if type(item) is dict:
        return [[key, plain(value)] for key, value in item.items()]
    return [plain(each) for each in item] if type(item) is list else item


def read_schema(data):
    """[(instrument, [(quantity, unit, scale)])] of a schema document, or Malformed."""
    schema = decode(data)
    need(type(schema) is list and len(schema) <= 64, "no schema")
    found = []
    for part in schema:
        need(type(part) is list and len(part) == 3, "no schema")
        name, profile, channels = part
        need(type(name) is str and type(profile) is str and type(channels) is list, "no schema")
        need(1 <= len(channels) <= 64, "no schema")
        for channel in channels:
            need(type(channel) is list and len(channel) == 3, "no schema")
            need(type(channel[0]) is str and type(channel[1]) is str, "no schema")
            need(type(channel[2]) is int and -18 <= channel[2] <= 18, "no schema")
        found.append((name, [tuple(channel) for channel in channels]))
    return found


def read_tables(batch, schema):
    """[(instrument, [time], [trust], [([quality], [value or None]) of each channel])] of a batch, or Malformed. The
    schema is None where it is not known."""
    need(schema is None or fits(batch.tables, schema), "a table that does not fit its schema")
    found, least = [], []
    for instrument, rows, trust, times, quality, channels in batch.tables:
        offsets = decode_column(times, rows)
        least.append(min(offsets))
        need(least[-1] >= 0 and batch.base_ms + max(offsets) < 1 << 62, "a time before the base time")
        said = []
        for channel in channels:
            own, column = channel if type(channel) is list else (quality, channel)
            codes = _codes(own, rows, 16)
            need(type(channel) is not list or codes != said[0][0], "the qualities of the first channel again")
            values = iter(decode_column(column, sum(code < 8 for code in codes)))
            said.append((codes, [next(values) if code < 8 else None for code in codes]))
        found.append((instrument, [batch.base_ms + offset for offset in offsets], _codes(trust, rows, 4), said))
    need(not found or min(least) == 0, "a base time that is not the least")
    return found


def _codes(column, rows, limit):
    if not column:
        return [0] * rows
    codes = decode_column(column, rows)
    need(all(0 <= code < limit for code in codes) and any(codes), "codes out of range, or all zero and written out")
    return codes


# The file: a .zip of which only a small part is allowed (SPEC 14.2).


class Zip:
    """`names` in their order; `read(name)`, `chunks(name)`. Raises Malformed where the file has not this form."""

    def __init__(self, file):
        self.file = file
        size = file.seek(0, 2)
        need(22 <= size < 1 << 32, "too short or too long")
        end = self._at(size - 22, 22)
        need(end[:4] == b"PK\5\6" and end[4:8] == bytes(4) and end[20:] == bytes(2), "not the end of an archive")
        count, total = int.from_bytes(end[8:10], "little"), int.from_bytes(end[10:12], "little")
        length, start = int.from_bytes(end[12:16], "little"), int.from_bytes(end[16:20], "little")
        need(count == total and 0 < count <= MEMBERS_MAX and start + length + 22 == size, "its list of files")
        self.places = {}
        directory, at, offset = self._at(start, length), 0, 0
        for _ in range(count):
            entry = directory[at : at + 46]
            need(len(entry) == 46 and entry[:4] == b"PK\1\2", "its list of files")
            name_length = int.from_bytes(entry[28:30], "little")
            name = directory[at + 46 : at + 46 + name_length]
            at += 46 + name_length
            offset = self._member(entry, name, offset, start)
        need(at == length and offset == start, "bytes that belong to no file")

    def _member(self, entry, raw, offset, start):
        name = raw.decode("latin-1")
        size = int.from_bytes(entry[20:24], "little")
        need(entry[8:12] == bytes(4) and entry[30:36] == bytes(6), "a compressed file, a comment, or extra fields")
        need(int.from_bytes(entry[24:28], "little") == size, "two sizes of one file")
        need(int.from_bytes(entry[42:46], "little") == offset, "a file that does not follow the one before")
        need(NAME.match(name) and name not in self.places, "a name that is not allowed, or stands twice")
        local = self._at(offset, 30 + len(raw))
        same = local[:4] == b"PK\3\4" and local[6:28] == entry[8:30] and local[28:30] == bytes(2) and local[30:] == raw
        need(same, "a file whose two heads differ")
        data = offset + 30 + len(raw)
        need(data + size <= start, "a file that reaches into the list")
        self.places[name] = data, size
        return data + size

    def _at(self, at, length):
        self.file.seek(at)
        data = self.file.read(length)
        need(len(data) == length, "cut off")
        return data

    def read(self, name, most):
        data, size = self.places[name]
        need(size <= most, "a file that is too long")
        return self._at(data, size)

    def chunks(self, name):
        at, size = self.places[name]
        while size:
            part = self._at(at, min(size, 1 << 20))
            yield part
            at += len(part)
            size -= len(part)

    def messages(self, name):
        """(raw, protected, payload, signature) of each message of a file; None, and the end, where none can be read."""
        chunks, data, at, more = self.chunks(name), b"", 0, True
        while True:
            if more and len(data) - at < 200_000:
                part = next(chunks, b"")
                more = bool(part)
                data, at = data[at:] + part, 0
                if more:
                    continue
            if at == len(data):
                return
            try:
                protected, payload, signature, end = split(data, at)
            except Malformed:
                yield None
                return
            yield data[at:end], protected, payload, signature
            at = end


# The statement of the hub (SPEC 14.3).

STATEMENT_HEAD = bytes.fromhex("a301260319fe51045820")
_STATEMENT = {
    "by": str, "cannot_show": list, "class": str, "days": list, "form": str, "from_ms": int, "gateways": list,
    "key": bytes, "left_out": list, "made_ms": int, "members": list, "others": list, "to_ms": int, "zone": str,
}  # fmt: skip
_GATEWAY = {"chains": list, "history": list, "id": bytes, "key": bytes, "name": str}
_CHAIN = {"epoch": bytes, "runs": list, "set_aside": list}
HISTORY = ("enrolled", "renamed", "revoked", "restored")


def has_fields(item, fields):
    """Whether a map has exactly these keys with items of these types; a key with a time may be null."""
    if type(item) is not dict or set(item) != set(fields):
        return False
    return all(type(item[key]) is kind or kind is int and item[key] is None for key, kind in fields.items())


def read_statement(data):
    """(statement, key id or None, signed bytes, signature) or Malformed."""
    kid = message = signature = None
    if data[:1] == b"\xd2":
        protected, payload, signature, end = split(data, 0, 26)
        need(end == len(data) and len(protected) == 42 and protected.startswith(STATEMENT_HEAD), "the statement")
        kid, message = protected[10:], signed_bytes(protected, payload)
    else:
        payload = data
    told = decode(payload)
    need(has_fields(told, _STATEMENT) and told["form"] == FORM and is_uint(told["made_ms"]), "the statement")
    need(all(told[name] is None or is_uint(told[name]) for name in ("from_ms", "to_ms")), "times of the statement")
    need(all(type(line) is str for line in told["left_out"] + told["cannot_show"]), "words of the statement")
    days = told["days"]
    need(len(days) <= 4000 and all(map(is_uint, days)) and days == sorted(set(days)), "days of the statement")
    need(len(told["key"]) in (0, 64) and (kid is None or told["key"]), "the key of the statement")
    need(all(is_bytes(other, 32) for other in told["others"]), "other gateways of the statement")
    for member in told["members"]:
        need(type(member) is list and len(member) == 3, "a file of the statement")
        need(type(member[0]) is str and is_uint(member[1]) and is_bytes(member[2], 32), "a file of the statement")
    need(len({member[0] for member in told["members"]}) == len(told["members"]), "a file that is listed twice")
    ids = []
    for gateway in told["gateways"]:
        need(has_fields(gateway, _GATEWAY) and is_bytes(gateway["id"], 32), "a gateway of the statement")
        ids.append(gateway["id"])
        need(Key(gateway["key"]).id == gateway["id"], "a gateway's key")
        for line in gateway["history"]:
            need(type(line) is list and len(line) == 3 and is_uint(line[0]), "a gateway's history")
            need(line[1] in HISTORY and type(line[2]) is str, "a gateway's history")
        epochs = [chain["epoch"] for chain in gateway["chains"] if has_fields(chain, _CHAIN)]
        need(len(epochs) == len(gateway["chains"]) and len(set(epochs)) == len(epochs), "a chain of the statement")
        for chain in gateway["chains"]:
            need(is_bytes(chain["epoch"], 16) and all(map(is_uint, chain["set_aside"])), "a chain of the statement")
            last = -2
            for run in chain["runs"]:
                need(type(run) is list and len(run) == 2 and all(map(is_uint, run)), "a chain of the statement")
                need(last + 1 < run[0] <= run[1], "a chain of the statement")
                last = run[1]
    need(ids == sorted(set(ids)), "gateways of the statement")
    return told, kid, message, signature


# Root documents (SPEC 3.7).

ROOT_BYTES_MAX = 1 << 20
ROOT_HEAD, ROOT_SIGNER = bytes.fromhex("a10319fe54"), bytes.fromhex("a2012604" + "5820")


def read_root_document(data) -> dict:
    """A root document taken apart, or Malformed."""
    need(len(data) <= 1024 and data[:2] == b"\xd8\x62", "no root document")
    parts = decode(data[2:])
    need(type(parts) is list and len(parts) == 4 and parts[0] == ROOT_HEAD and parts[1] == {}, "no root document")
    payload, signed = parts[2:]
    need(type(payload) is bytes and type(signed) is list and 2 <= len(signed) <= 3, "no root document")
    for each in signed:
        need(type(each) is list and len(each) == 3 and each[1] == {} and is_bytes(each[2], 64), "no signature")
        need(is_bytes(each[0], 38) and each[0].startswith(ROOT_SIGNER), "no signature")
    fields = decode(payload)
    need(type(fields) is list and len(fields) == 8 and type(fields[0]) is int and fields[0] == 1, "no root document")
    _, number, keys, following, hub, log, made_ms, prior = fields
    need(is_uint(number) and 0 < number < 1 << 30 and is_uint(made_ms), "no root document")
    need(type(keys) is list and len(keys) == 3 and all(is_bytes(xy, 64) for xy in [*keys, hub, log]), "its keys")
    need(is_bytes(following, 32) and (prior is None if number == 1 else is_bytes(prior, 32)), "no root document")
    root = hashlib.sha256(b"parkgate root v1" + b"".join(keys)).digest()
    return {
        "number": number, "keys": keys, "root": root, "next": following, "hub": hub, "xy": log, "log": Key(log),
        "made_ms": made_ms, "prior": prior, "payload": payload, "signed": signed,
    }  # fmt: skip


def root_holds(found):
    """Whether a root document is signed by two or three of its keys, and by nobody else."""
    signers = [each[0][6:] for each in found["signed"]]
    keys = {}
    try:
        keys = {key.id: key for key in map(Key, found["keys"])}
    except Malformed:
        return False
    if len(keys) != 3 or len(set(signers)) != len(signers):
        return False
    for header, _, signature in found["signed"]:
        message = b"".join((
            b"\x85\x69Signature", head(2, len(ROOT_HEAD)), ROOT_HEAD, head(2, len(header)), header, b"\x40",
            head(2, len(found["payload"])), found["payload"],
        ))  # fmt: skip
        if header[6:] not in keys or not keys[header[6:]].holds(message, signature):
            return False
    return True


# The audit.


class Audit:
    """One archive, checked. `verdict()` is the JSON document of SPEC 14.6. `keep`: what `compare` needs is kept."""

    def __init__(self, file, trusted=(), keep=False):
        self.trusted = [text.lower() for text in trusted]
        self.kept: Any = {} if keep else None  # (gateway, epoch, seq) → hash of the batch
        self.found = {}
        self.roots: Any = None  # of each root document that passed: its row, and the log key that it names
        self.told: Any = None
        self.gateways, self.energy, self.witnesses = [], [], []
        self.skipped: dict[str, str] = {}
        self.log: Any = None
        self.commits: dict[bytes, bytes] = {}  # gateway → id of the key that follows its first one
        self.places, self.times = Places(self), Times(self)
        self.lots: Any = None
        try:
            self.zip = Zip(file)
            need("statement.cbor" in self.zip.places, "no statement")
        except Malformed as error:
            self.why = str(error)
            self.fault("not_an_archive", "")
            self.skipped = dict.fromkeys(CHECKS[1:], "the file is not an archive")
            return
        try:
            self.told, kid, message, signature = read_statement(self.zip.read("statement.cbor", STATEMENT_BYTES_MAX))
        except Malformed as error:
            self.why = str(error)
            self.fault("statement_malformed", "")
            self.skipped = dict.fromkeys(CHECKS[2:], "the statement cannot be read")
            return
        self._statement(kid, message, signature)
        self._members()
        self._root()
        self._log()
        self.lots = Lots(self) if self.told["class"] == LOT_CLASS else None
        for gateway in self.told["gateways"]:
            self._gateway(gateway)
        self.places.finish()
        if self.lots:
            self.lots.finish()
        self._absent()
        self._witnessed()
        self.skipped["columns"] = "of batches that begin or end no day, gap or chain: the energy does not need them"

    def fault(self, reason, where):
        """Note a reason, and where."""
        places = self.found.setdefault(reason, [0, []])
        places[0] += 1
        if len(places[1]) < WHERE_MAX:
            places[1].append(where)

    def _statement(self, kid, message, signature):
        self.vouched, self.signed_well, self.unsigned = False, False, kid is None
        if kid is None:
            self.fault("statement_unsigned", "")
            return
        try:
            key = Key(self.told["key"])
            holds = key.id == kid and key.holds(message, signature)
        except Malformed:
            holds = False
        if not holds:
            self.fault("statement_signature", "")
        self.signed_well = holds
        self.vouched = holds and self._trusts(kid)

    def _trusts(self, kid):
        return self.names(kid.hex())

    def names(self, identity):
        """Whether the auditor named this id."""
        return any(len(text) >= 16 and identity.startswith(text) for text in self.trusted)

    def _members(self):
        listed = [member[0] for member in self.told["members"]]
        for name, size, digest in self.told["members"]:
            if name not in self.zip.places:
                self.fault("member_missing", name)
                continue
            found = hashlib.sha256()
            for part in self.zip.chunks(name):
                found.update(part)
            if self.zip.places[name][1] != size or found.digest() != digest:
                self.fault("member_altered", name)
        for name in self.zip.places:
            if name != "statement.cbor" and name not in listed:
                self.fault("member_not_listed", name)

    # The park's root (SPEC 14.4).

    def _root(self):
        """The root documents, each by the root that the one before names: which log keys the hub has had."""
        if "root.cbor" not in self.zip.places:
            return
        self.roots, digest, root = [], None, None
        documents: Any = []
        try:
            documents = decode(self.zip.read("root.cbor", ROOT_BYTES_MAX))
            need(type(documents) is list and 0 < len(documents) <= 1000, "no documents")
            need(all(type(data) is bytes for data in documents), "no documents")
        except Malformed:
            self.fault("root_malformed", "")
            return
        for place, data in enumerate(documents):
            reason: Any = None
            found: Any = None
            try:
                found = read_root_document(data)
            except Malformed:
                reason = "root_malformed"
            if reason is None:
                if found["number"] != place + 1 or found["prior"] != digest or root not in (None, found["root"]):
                    reason = "root_order"
                elif not root_holds(found):
                    reason = "root_signature"
            if reason is not None:
                self.fault(reason, f"#{place}")
                return
            digest, root = hashlib.sha256(data).digest(), found["next"]
            row = {
                "number": found["number"], "root": found["root"].hex(), "log": found["log"].id.hex(),
                "hub": _thumbprint(found["hub"]), "made_ms": found["made_ms"],
            }  # fmt: skip
            self.roots.append((row, found["log"], found["xy"]))
        if self.roots[-1][2] != self.told["key"]:
            self.fault("root_key", "")
        elif self.signed_well and any(self.names(row["root"]) for row, _, _ in self.roots):
            self.vouched = True

    # One gateway.

    def _gateway(self, told):
        gateway = GatewayAudit(self, told)
        self.gateways.append(gateway)
        trusted = self._trusts(told["id"])
        if not self.trusted or not trusted and self.unsigned:
            self.fault("no_trusted_id", gateway.label)
        elif not trusted and not self.vouched:
            self.fault("foreign_key", gateway.label)
        gateway.check()

    def _absent(self):
        there = [gateway["id"].hex() for gateway in self.told["gateways"]]
        hub = hashlib.sha256(b"").hexdigest() if not self.told["key"] else _thumbprint(self.told["key"])
        for text in self.trusted:
            roots = [row["root"] for row, _, _ in self.roots or ()]
            if not any(kid.startswith(text) for kid in [*there, hub, *roots, *self.times.ids()]):
                self.fault("gateway_absent", text[:64])

    # The log (SPEC 14.5).

    def _log(self):
        if not any(name.startswith("log/") for name in self.zip.places):
            self.fault("no_log", "")
            self.skipped.update(dict.fromkeys(CHECKS[-4:], "the archive carries no log"))
            return
        if LogPart.STATEMENTS not in self.zip.places:
            self.skipped["hub statements"] = "the archive carries none"
        self.log = LogPart(self)
        if not self.places.known:
            self.skipped["places"] = "the archive carries none"
        if not self.times.met:
            self.skipped["time stamps"] = "the archive carries none"

    def _witnessed(self):
        if self.log:
            self.log.finish()
            self.witnesses = self.log.witnesses

    # What comes out.

    def verdict(self):
        lines: dict[str, Any] = {name: {"state": "yes"} for name in LINES}
        reasons = []
        for reason, (line, effect, _) in REASONS.items():
            if reason in self.found:
                count, where = self.found[reason]
                reasons.append({"reason": reason, "line": line, "effect": effect, "count": count, "where": where})
                state = lines[line]["state"]
                lines[line]["state"] = "no" if effect == WRONG or state == "no" else "not shown"
        if self.told is None:
            for name in LINES:
                if name != UNALTERED:
                    lines[name]["state"] = "not shown"
        states = [line["state"] for line in lines.values()]
        overall = "failure" if "no" in states else "incomplete" if "not shown" in states else "success"
        told = self.told or {}
        lines["complete"].update(from_ms=told.get("from_ms"), to_ms=told.get("to_ms"))
        lines["witnessed"]["by"] = self.witnesses
        return {
            "form": VERDICT_FORM,
            "class": told.get("class"),
            "overall": overall,
            "lines": lines,
            "reasons": reasons,
            "checks": {
                "executed": [c for c in CHECKS if c not in self.skipped or c == "columns" and self.told],
                "skipped": [{"check": c, "why": self.skipped[c]} for c in CHECKS if c in self.skipped],
            },
            "hub": _thumbprint(told["key"]) if told.get("key") else None,
            "made_ms": told.get("made_ms"),
            "zone": told.get("zone"),
            "days": told.get("days", []),
            "left_out": told.get("left_out", []),
            "cannot_show": told.get("cannot_show", []),
            "others": [other.hex() for other in told.get("others", [])],
            "gateways": [gateway.summary() for gateway in self.gateways],
            "energy": self.energy[:ENERGY_ROWS_MAX],
            "hub_statements": self.log.says if self.log else [],
            "places": self.places.summary(),
            "time": self.times.summary(),
            **({} if self.roots is None else {"root": [row for row, _, _ in self.roots]}),
            "lots": self.lots and self.lots.summary(),
        }


def _thumbprint(xy):
    return hashlib.sha256(b"\xa4\x01\x02\x20\x01\x21\x58\x20" + xy[:32] + b"\x22\x58\x20" + xy[32:]).hexdigest()


class GatewayAudit:
    """The chains, beats and forks of one gateway."""

    def __init__(self, audit, told):
        self.audit, self.told = audit, told
        self.id, self.name = told["id"], told["name"]
        self.label = self.id.hex()[:16]
        # kid → [key, (epoch, seq) before its first message, (epoch, seq) of its last batch] (SPEC 3.6)
        self.keys: dict[bytes, list] = {self.id: [Key(told["key"]), None, None]}
        self.rotations: set[bytes] = set()  # hashes of the batches that brought new keys
        self.folder = f"gateways/{self.id.hex()}/"
        self.chains, self.schemas, self.beats, self.series, self.counter_events = [], {}, {}, {}, {}
        self.batches = self.readings = self.forks = self.beat_count = 0
        self.stays = [stay for stay in audit.places.stays if stay[1] == self.id]
        moments = {moment for stay in self.stays for moment in stay[2:] if moment is not None}
        self.edges = sorted({*audit.told["days"], *moments})
        last = told["history"][-1] if told["history"] else None
        self.revoked_ms = last[0] if last and last[1] == "revoked" else None

    def check(self):
        """All of it, in the order of SPEC 14.4."""
        zip_file = self.audit.zip
        if self.folder + "rotations.cbor" in zip_file.places:
            self._rotations()
        if self.folder + "schemas.cbor" in zip_file.places:
            self._schemas(self.folder + "schemas.cbor")
        if self.folder + "beats.cbor" in zip_file.places:
            for _, epoch, seq, newest, boot, sampled, time_ms in self._messages("beats", read_beat):
                self.beat_count += 1
                self.beats.setdefault(epoch, []).append((boot, seq, sampled, newest, time_ms))
            self._beats_alone()
        for told in self.told["chains"]:
            chain = ChainAudit(self, told)
            self.chains.append(chain)
            chain.check()
        if self.folder + "forks.cbor" in zip_file.places:
            for batch in self._messages("forks", read_batch):
                self.forks += 1
                self.audit.fault("fork", f"{self.label} {batch.epoch.hex()[:8]} {batch.seq}")
                if self.forks == FAULTS_MAX:
                    self.audit.fault("too_many_faults", f"{self.label} forks")
                    break
        for series in self.series.values():
            self.audit.energy += series.rows(self)

    def _rotations(self):
        """The batches that say which key follows, each the last one of its key."""
        kid, committed = self.id, self.audit.commits.get(self.id)
        for place, parts in enumerate(self.audit.zip.messages(self.folder + "rotations.cbor")):
            where = f"{self.label} rotations #{place}"
            try:
                need(parts is not None, "not a message")
                raw, protected, payload, signature = parts
                batch = read_batch(raw, protected, payload)
                events = [event for event in batch.events if event[0] == KEY_ROTATED]
                need(batch.kid == kid and len(events) == 1 and len(events[0]) == 4, "no rotation")
                _, xy, after, own = events[0]
                need(is_bytes(xy, 64) and is_bytes(after, 32) and is_bytes(own, 64), "no rotation")
                old, new = self.keys[kid][0], Key(xy)
                need(committed in (None, new.id) and after not in (kid, new.id), "another key")
                need(new.id not in self.keys and old.holds(signed_bytes(protected, payload), signature), "no signature")
                need(new.holds(ROTATION + self.id + kid + after, own), "no signature of the new key")
            except Malformed:
                self.audit.fault("rotation", where)
                return
            if committed is None:
                self.audit.fault("rotation_uncommitted", where)
            self.keys[kid][2] = batch.epoch, batch.seq
            self.keys[new.id] = [new, (batch.epoch, batch.seq), None]
            self.rotations.add(batch.hash)
            kid, committed = new.id, after

    def key_of(self, kid, epoch, seq, is_beat=False) -> Any:
        """(key, None) where the key with this id may sign this place of a chain, else (None, reason)."""
        if kid not in self.keys:
            return None, "misplaced"
        key, since, last = self.keys[kid]
        early = since is not None and since[0] == epoch and seq <= since[1]
        late = last is not None and last[0] == epoch and seq > last[1] + is_beat
        return (None, "wrong_key") if early or late else (key, None)

    def register(self, key, time):
        """The series of one register at the place where the gateway stood at that time."""
        stay = self.stay(time)
        found = self.series.get((key, stay and id(stay)))
        if found is None:
            found = self.series[key, stay and id(stay)] = Series(key, self.audit.told["days"], stay)
        return found

    def stay(self, time):
        """Where it stood at a time: its stay (place, gateway, from, to), or None."""
        return next((s for s in self.stays if s[2] <= time and (s[3] is None or time < s[3])), None)

    def _beats_alone(self):
        """What beats say without any batch: two histories, or a chain of which nothing is here."""
        chains = [told["epoch"] for told in self.told["chains"]]
        for epoch, beats in self.beats.items():
            label, heads = f"{self.label} {epoch.hex()[:8]}", {}
            for _, seq, _, newest, _ in beats:
                if heads.setdefault(seq, newest) != newest:
                    self.audit.fault("fork", f"{label} {seq - 1}: two beats name two batches")
            if epoch not in chains and max(heads):
                self.audit.fault("tail_missing", f"{label} 0-{max(heads) - 1}")

    def _schemas(self, name):
        try:
            data, at = self.audit.zip.read(name, STATEMENT_BYTES_MAX), 0
            while at < len(data):
                document, at = _string(data, at)
                self.learn(document)
        except (Malformed, IndexError):
            self.audit.fault("malformed", name)

    def learn(self, document):
        """Keep a schema. One that cannot be read explains nothing."""
        try:
            self.schemas[hashlib.sha256(document).digest()[:16]] = read_schema(document)
        except Malformed:
            pass

    def _messages(self, what, read):
        """The verified messages of one file beside the chains."""
        faults, seen = 0, set()
        for place, parts in enumerate(self.audit.zip.messages(f"{self.folder}{what}.cbor")):
            where = f"{self.label} {what} #{place}"
            reason: Any = None
            found: Any = None
            digest = b""
            try:
                need(parts is not None, "not a message")
                raw, protected, payload, signature = parts
                found, digest = read(raw, protected, payload), hashlib.sha256(raw).digest()
                place_of = (found.kid, found.epoch, found.seq) if read is read_batch else (*found[:3], True)
                key, reason = self.key_of(*place_of)
                if key is not None and digest in seen:
                    reason = "order"
                elif key is not None and not key.holds(signed_bytes(protected, payload), signature):
                    reason = "signature"
            except Malformed:
                reason = "malformed"
            if reason is None:
                seen.add(digest)
                yield found
                continue
            self.audit.fault(reason, where)
            faults += 1
            if faults == FAULTS_MAX:
                self.audit.fault("too_many_faults", f"{self.label} {what}")
                return

    def summary(self):
        return {
            "id": self.id.hex(),
            "name": self.name,
            "keys": [kid.hex() for kid in self.keys],
            "history": [{"unix_ms": when, "what": what, "name": name} for when, what, name in self.told["history"]],
            "batches": self.batches,
            "readings": self.readings,
            "beats": self.beat_count,
            "forks": self.forks,
            "chains": [chain.summary() for chain in self.chains],
        }


def merge(ranges):
    """Ranges in any order as disjoint ones that rise."""
    merged = []
    for begin, end in sorted((first, last) for first, last in ranges):
        if merged and begin <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return merged


def cut(ranges, merged):
    """What of the disjoint `ranges` is in one of `merged`, and what is in none; both rise."""
    inside, outside = [], []
    for first, last in ranges:
        place = max(bisect_right(merged, [first, 1 << 62]) - 1, 0)
        while place < len(merged) and merged[place][0] <= last:
            begin, end = merged[place]
            place += 1
            if end < first:
                continue
            if begin > first:
                outside.append((first, begin - 1))
            inside.append((max(first, begin), min(last, end)))
            first = end + 1
        if first <= last:
            outside.append((first, last))
    return inside, outside


class ChainAudit:
    """One chain of one gateway, batch by batch."""

    def __init__(self, gateway, told):
        self.gateway, self.audit = gateway, gateway.audit
        self.epoch, self.runs = told["epoch"], told["runs"]
        self.set_aside = [[seq, seq] for seq in told["set_aside"]]
        self.label = f"{gateway.label} {self.epoch.hex()[:8]}"
        self.first: Any = None  # the batches at the ends that are present
        self.last: Any = None
        self.batches, self.holes, self.signed, self.gaps = 0, [], [], []
        self.start_ms: Any = None
        self.end_ms: Any = None
        self.reached_ms: Any = None
        self.proven_ms: Any = None
        self.end = "unproven"
        self.faults = 0
        self.boundary: Any = None  # the batch before, while it is not decoded
        self.times: list[tuple] = []  # of each batch: seq, time or None, [(size, root) of the logs that it confirms]
        self.leaves: dict[int, int] = {}  # seq → index in the log
        self.floor: list[tuple] = []  # of each batch: seq, schema, entries of the floor and events of counters

    def fault(self, reason, where):
        self.audit.fault(reason, f"{self.label} {where}")
        self.faults += 1

    def check(self):
        gateway, audit = self.gateway, self.audit
        name = f"{gateway.folder}batches-{self.epoch.hex()}.cbor"
        beats = {seq: newest for _, seq, _, newest, _ in gateway.beats.get(self.epoch, ())}
        before: Any = None
        time_ms: Any = None
        day: Any = None
        for place, parts in enumerate(audit.zip.messages(name) if name in audit.zip.places else ()):
            if self.faults >= FAULTS_MAX:
                audit.fault("too_many_faults", self.label)
                break
            batch = self._one(place, parts, before)
            if batch is None:
                if parts is not None and not self.kept:
                    before = None
                continue
            if batch.seq + 1 in beats and beats[batch.seq + 1] != batch.hash:
                self.fault("fork", f"{batch.seq}: a beat names another batch")
            if audit.log:
                audit.log.look(self, batch)
            if audit.kept is not None:
                audit.kept[gateway.id, self.epoch, batch.seq] = batch.hash
            time_ms = self._take(batch, before, time_ms)
            now = None if time_ms is None else bisect_right(gateway.edges, time_ms)
            edge = self.last is None or batch.seq != self.last.seq + 1 or now != day
            if edge:
                self._decode_boundary()
            self.boundary = batch
            if edge:
                self._decode_boundary()
            day, before = now, batch
            self.last = batch
        self._decode_boundary()
        self._completeness(beats)

    def _one(self, place, parts, before):
        """The batch at this place, or None with its fault noted. `kept` tells whether the one before still counts."""
        self.kept = False
        if parts is None:
            self.fault("malformed", f"#{place}")
            return None
        raw, protected, payload, signature = parts
        try:
            batch = read_batch(raw, protected, payload)
        except Malformed:
            self.fault("malformed", f"#{place}")
            return None
        key, reason = self.gateway.key_of(batch.kid, batch.epoch, batch.seq)
        if batch.epoch != self.epoch:
            reason = "misplaced"
        if reason is not None:
            self.fault(reason, f"#{place}" if reason == "misplaced" else batch.seq)
            return None
        if not key.holds(signed_bytes(protected, payload), signature):
            self.fault("signature", batch.seq)
            return None
        if self.last is not None and batch.seq <= self.last.seq:
            fork = batch.seq == self.last.seq and batch.hash != self.last.hash
            self.fault("fork" if fork else "order", batch.seq)
            self.kept = True
            return None
        return batch

    def _take(self, batch, before, time_ms):
        gateway = self.gateway
        if self.first is None:
            self.first = batch
        expected = self.last.seq + 1 if self.last is not None else batch.seq
        if batch.seq > expected:
            self.holes.append((expected, batch.seq - 1))
        follows = before is not None and batch.seq == before.seq + 1
        if follows and batch.prev != before.hash:
            self.fault("link", batch.seq)
        if not self._counts(batch, before if follows else None):
            self.fault("counters", batch.seq)
        self.batches += 1
        gateway.batches += 1
        gateway.readings += batch.readings
        self.times.append((batch.seq, batch.time_ms(), []))
        if self.audit.lots:
            self.floor.append((batch.seq, batch.schema_id, [e for e in batch.events if e[0] in (9, 33)]))
        for event in batch.events:
            self._event(event)
        if batch.hash not in gateway.rotations and any(event[0] == KEY_ROTATED for event in batch.events):
            self.fault("rotation", batch.seq)
        if batch.schema is not None:
            gateway.learn(batch.schema)
        now = batch.time_ms()
        if now is None:
            return time_ms
        if gateway.revoked_ms is not None and now > gateway.revoked_ms:
            self.fault("after_revocation", batch.seq)
        if self.start_ms is None:
            self.start_ms = now
        self.reached_ms = now if self.reached_ms is None else max(self.reached_ms, now)
        return now

    def _counts(self, batch, before):
        """Whether the counts of a batch agree, its own and those of the batch before it or before the hole."""
        if batch.readings + batch.dropped > batch.sampled:
            return False
        if batch.receipt_seq is not None and batch.receipt_seq >= batch.seq:
            return False
        last = before or self.last
        if batch.seq and last is None:
            return True
        sampled, dropped, boot = (last.sampled, last.dropped, last.boot) if batch.seq else (0, 0, 0)
        grown, lost = batch.sampled - sampled - batch.readings, batch.dropped - dropped
        if batch.boot < boot or lost < 0 or grown < 0:
            return False
        if before is None and batch.seq:
            return True
        return grown <= lost and (before is None or batch.boot > boot or batch.cause in (before.cause, 0))

    def _event(self, event):
        if event[0] == 5 and len(event) == 6 and is_uint(event[1]) and is_uint(event[2]) and event[1] <= event[2]:
            self.signed.append((event[1], event[2]))
        elif event[0] == 9 and len(event) == 7 and type(event[1]) is str and type(event[2]) is str:
            when = event[6]
            if type(when) is list and len(when) == 2 and is_uint(when[0]):
                self.gateway.counter_events.setdefault((event[1], event[2]), []).append(when[0])
        elif self.audit.log and event[0] == 32 and len(event) == 3 and is_uint(event[1]) and is_bytes(event[2], 32):
            self.audit.log.claims.append((self.gateway, event[1], event[2]))
            self.times[-1][2].append((event[1], event[2]))

    def _decode_boundary(self):
        batch, self.boundary = self.boundary, None
        if batch is None:
            return
        try:
            schema = self.gateway.schemas.get(batch.schema_id)
            tables = read_tables(batch, schema)
        except Malformed:
            self.fault("columns", batch.seq)
            return
        for instrument, times, trust, said in tables:
            dated = [time for time, how in zip(times, trust) if how < 3]
            if dated:
                self.end_ms = max(dated) if self.end_ms is None else max(self.end_ms, *dated)
            if schema is None:
                continue
            name, channels = schema[instrument]
            for (quantity, unit, scale), (codes, values) in zip(channels, said):
                if quantity in ENERGY and unit in WATT_HOURS:
                    for time, how, code, value in zip(times, trust, codes, values):
                        if how < 3 and code == 0:
                            self.gateway.register((name, quantity, unit, scale), time).add(time, value)

    # What is missing.

    def _completeness(self, beats):
        told, signed = self.audit.told, merge(self.signed)
        kinds = (("not in the archive", merge(self.runs)), ("signed", signed), ("set aside", merge(self.set_aside)))
        for first, last in self.holes:
            self._hole(first, last, kinds)
        first_seq = self.first.seq if self.first is not None else None
        last_seq = self.last.seq if self.last is not None else -1
        for first, last in self.runs:
            # What the statement lists before the first batch and behind the last one.
            if first_seq is None:
                self._missing(first, last)
            else:
                if first < first_seq:
                    self._missing(first, min(last, first_seq - 1))
                if last > last_seq:
                    self._missing(max(first, last_seq + 1), last)
        if first_seq is None:
            return
        if self.audit.lots:  # what is before, between and behind the jobs is of other lots
            self.end = "lot"
            return
        begun = told["from_ms"] is not None and self.start_ms is not None and self.start_ms <= told["from_ms"]
        if first_seq and not begun:
            self.fault("start_unproven", first_seq)
        newest: Any = max(self.gateway.beats.get(self.epoch, ()), default=None, key=lambda beat: beat[:3])
        if newest is not None and newest[1] == last_seq + 1:
            self.end, self.proven_ms = "beat", newest[4]
        elif newest is not None and newest[1] > last_seq + 1:
            self.end = "missing"
        if self.end != "beat" and told["to_ms"] is not None and (self.reached_ms or 0) >= told["to_ms"]:
            self.end, self.proven_ms = "goes on", told["to_ms"]
        if self.end == "missing":
            first, last = last_seq + 1, newest[1] - 1
            if cut([(first, last)], signed)[1]:
                self.fault("tail_missing", f"{first}-{last}")
            else:
                self.end = "beat"
            self._gap(first, last, "tail")
        elif self.end == "unproven":
            told_ms = told["to_ms"] if told["to_ms"] is not None else told["made_ms"]
            self.proven_ms = max(self.end_ms or 0, newest[4] or 0 if newest is not None else 0) or None
            if self.proven_ms is not None and told_ms - self.proven_ms <= OPEN_MS:
                self.end = "open"
            else:
                self.fault("tail_unproven", f"after {last_seq}")

    def _missing(self, first, last):
        self.fault("batch_missing", f"{first}-{last}" if last > first else first)
        self._gap(first, last, "not in the archive")

    def _gap(self, first, last, why):
        if len(self.gaps) < GAPS_MAX:
            self.gaps.append([first, last, why])

    def _hole(self, first, last, kinds):
        """Take one hole apart: listed and gone, told by a signed gap, set aside, or unexplained."""
        rest, parts = [(first, last)], []
        for why, ranges in kinds:
            inside, rest = cut(rest, ranges)
            parts += [[begin, end, why] for begin, end in inside]
        parts += [[begin, end, "other lots" if self.audit.lots else "unexplained"] for begin, end in rest]
        reasons = {"not in the archive": "batch_missing", "set aside": "set_aside", "unexplained": "hole"}
        for begin, end, why in sorted(parts):
            if why in reasons:
                self.fault(reasons[why], f"{begin}-{end}" if end > begin else begin)
            self._gap(begin, end, why)

    def summary(self):
        return {
            "epoch": self.epoch.hex(),
            "first_seq": self.first.seq if self.first is not None else None,
            "last_seq": self.last.seq if self.last is not None else None,
            "batches": self.batches,
            "from_ms": self.start_ms,
            "to_ms": self.end_ms,
            "end": self.end if self.first is not None else "empty",
            "proven_ms": self.proven_ms,
            "gaps": self.gaps,
        }


# The log (SPEC 14.5): entries first … size - 1 of the tree, and the roots of the subtrees before them.

_CHECKPOINT = bytes.fromhex("a40126045820"), bytes.fromhex("19018b013a000100008250")


class LogPart:
    """The part of the log that is in the archive. `look` at each batch, then `finish`."""

    STATEMENTS = "log/statements.cbor"

    def __init__(self, audit):
        self.audit, self.claims, self.witnesses, self.wanted = audit, [], [], None
        self.proven, self.signature_holds, self.entries = False, True, b""
        self.says, self.said = [], {}  # hash of each statement of the hub → (its index if it must be an entry, its row)
        try:
            self._read()
        except (Malformed, KeyError):
            audit.fault("log_malformed", "")
            return
        key: Any = None
        try:
            key = Key(audit.told["key"])
        except Malformed:
            pass
        if key is None or key.id != self.kid or not key.holds(self.signed, self.signature):
            audit.fault("log_signature", "")
            self.signature_holds = False
        if self.STATEMENTS in audit.zip.places:
            self._statements([key] if key else [])

    def _statements(self, keys):
        """What the hub itself says, in the order in which it stands there; by its log keys of before as well, where
        root documents name them."""
        known = {key.id: key for key in [*(key for _, key, _ in self.audit.roots or ()), *keys]}
        faults = 0
        for place, parts in enumerate(self.audit.zip.messages(self.STATEMENTS)):
            reason: Any = None
            found: Any = None
            digest = b""
            try:
                need(parts is not None, "not a message")
                raw, protected, payload, signature = parts
                found = read_hub_statement(raw, protected, payload)
                digest = hashlib.sha256(raw).digest()
                need(digest not in self.said, "a statement that stands twice")
                key = known.get(found[0])
                if key is None or not key.holds(signed_bytes(protected, payload), signature):
                    reason = "hub_statement_signature"
            except Malformed:
                reason = "hub_statement_malformed"
            if reason is None:
                _, log_id, index, kind, time_ms, by, facts = found
                row = {
                    "log": log_id.hex(), "index": index, "unix_ms": time_ms, "kind": kind, "by": by,
                    "facts": {name: plain(fact) for name, fact in facts.items()}, "in_log": False,
                }  # fmt: skip
                must = log_id == self.log_id and index >= self.first
                self.said[digest] = index if must else None, row
                if len(self.says) < HUB_STATEMENTS_MAX:
                    self.says.append(row)
                if kind == "next key" and is_bytes(facts.get("gateway"), 32) and is_bytes(facts.get("next"), 32):
                    self.audit.commits.setdefault(facts["gateway"], facts["next"])
                self.audit.places.take(place, digest, kind, time_ms, facts)
                if kind == "stamped" and log_id == self.log_id:
                    self.audit.times.take(place, log_id, index, facts)
                continue
            self.audit.fault(reason, f"#{place}")
            faults += 1
            if faults == FAULTS_MAX:
                self.audit.fault("too_many_faults", "hub statements")
                return

    def _read(self):
        zip_file = self.audit.zip
        data = zip_file.read("log/checkpoint.cose", 1024)
        protected, self.root, self.signature, end = split(data, 0)
        need(end == len(data) and len(self.root) == 32, "the checkpoint")
        start, middle = _CHECKPOINT
        self.kid, self.log_id = protected[6:38], protected[49:65]
        need(protected[:6] == start and protected[38:49] == middle and len(self.log_id) == 16, "the checkpoint")
        try:
            self.size, end = _item(protected, 65, 2)
        except IndexError:
            raise Malformed("the checkpoint") from None
        need(is_uint(self.size) and end == len(protected), "the checkpoint")
        self.signed = signed_bytes(protected, self.root)
        length = zip_file.places["log/entries.bin"][1]
        need(length % 32 == 0 and length // 32 <= self.size, "the entries")
        self.first = self.size - length // 32
        frontier = zip_file.read("log/frontier.bin", 62 * 32) if self.first else b""
        need(len(frontier) == 32 * bin(self.first).count("1"), "the frontier")
        self.frontier = [frontier[at : at + 32] for at in range(0, len(frontier), 32)]
        self.wanted = {}  # hash of each batch → where it stands, until its entry is met

    def _each(self):
        for part in self.audit.zip.chunks("log/entries.bin"):
            for at in range(0, len(part), 32):
                yield part[at : at + 32]

    def look(self, chain, batch):
        if self.wanted is not None:
            self.wanted[batch.hash] = chain, batch.seq

    def finish(self):
        """Find the batches, and compute the roots: that of the checkpoint, and those that gateways have confirmed."""
        if self.wanted is None:
            return
        wanted = {size for _, size, _ in self.claims if self.first <= size <= self.size}
        wanted |= {stamp["size"] for stamp in self.audit.times.stamps}
        sizes = [1 << bit for bit in range(61, -1, -1) if self.first >> bit & 1]
        stack, count, roots = list(zip(sizes, self.frontier)), self.first, {}
        if count in wanted and count:
            roots[count] = _fold(stack)
        met = []
        for entry in self._each():
            if entry in self.wanted:
                chain, seq = self.wanted.pop(entry)
                chain.leaves[seq] = count
            if entry in self.said and self.said[entry][0] in (None, count):
                met.append(self.said.pop(entry)[1])
            node, width = hashlib.sha256(b"\0" + entry).digest(), 1
            while stack and stack[-1][0] == width:
                node, width = hashlib.sha256(b"\1" + stack.pop()[1] + node).digest(), 2 * width
            stack.append((width, node))
            count += 1
            if count in wanted:
                roots[count] = _fold(stack)
        for chain, seq in self.wanted.values():
            chain.fault("not_in_log", seq)
        for index, _ in self.said.values():
            if index is not None:
                self.audit.fault("not_in_log", f"statement {index}")
        if _fold(stack) != self.root:
            self.audit.fault("log_root", "")
            return
        for row in met:
            row["in_log"] = True
        self.audit.times.finish(roots, {row["index"] for row in met if row["log"] == self.log_id.hex()})
        if self.audit.kept is not None and self.signature_holds:
            self.proven, self.entries = True, b"".join(self._each())
        newest = {}
        for gateway, size, root in self.claims:
            if size not in roots:
                continue
            if roots[size] != root:
                self.audit.fault("claim_differs", f"{gateway.label} {size}")
            else:
                newest[gateway.id] = max(size, newest.get(gateway.id, 0))
        self.witnesses = [{"gateway": kid.hex(), "size": size} for kid, size in sorted(newest.items())]
        if not self.witnesses:
            self.audit.fault("no_witness", "")

    # What of the tree is known here: the subtrees of the frontier, and everything behind them.

    def node(self, begin, width):
        """The hash over entries begin … begin + width - 1, which are a complete subtree; None where it is not known."""
        if begin >= self.first:
            if begin + width > self.size:
                return None
            if width == 1:
                at = 32 * (begin - self.first)
                return hashlib.sha256(b"\0" + self.entries[at : at + 32]).digest()
        elif width == 1 or begin + width <= self.first:
            return self._from_frontier(begin, width)
        left = self.node(begin, width // 2)
        right = None if left is None else self.node(begin + width // 2, width // 2)
        return None if right is None else hashlib.sha256(b"\1" + left + right).digest()

    def parts(self):
        """(begin, width, hash) of each subtree of the frontier."""
        begin = 0
        for bit in range(61, -1, -1):
            if self.first >> bit & 1:
                yield begin, 1 << bit, self.frontier[bin(begin).count("1")]
                begin += 1 << bit

    def _from_frontier(self, begin, width):
        """Only a subtree of the frontier itself: two of them that are side by side are never of one size."""
        return next((node for at, size, node in self.parts() if (at, size) == (begin, width)), None)

    def root_of(self, size):
        """The root of the first `size` entries; None where it does not follow from what is known."""
        stack, begin = [], 0
        for bit in range(61, -1, -1):
            if size >> bit & 1:
                stack.append((1 << bit, self.node(begin, 1 << bit)))
                begin += 1 << bit
        return None if size > self.size or any(node is None for _, node in stack) else _fold(stack)


def contradiction(one, other):
    """(why these two parts of one log prove two histories or None, whether anything could be compared): SPEC 13.7."""
    small, large = sorted((one, other), key=lambda log: log.size)
    root, compared = large.root_of(small.size), False
    if small.size == large.size:
        root = large.root
    if root is not None:
        if root != small.root:
            return f"another root for {small.size} entries", True
        compared = True
    for log, against in ((one, other), (other, one)):
        for begin, width, node in log.parts():
            found = against.node(begin, width)
            if found is not None:
                if found != node:
                    return f"other entries {begin} to {begin + width - 1}", True
                compared = True
    first, count = max(one.first, other.first), small.size - max(one.first, other.first)
    if count > 0:
        mine, theirs = (log.entries[32 * (first - log.first) :][: 32 * count] for log in (one, other))
        if mine != theirs:
            at = next(at for at in range(count) if mine[32 * at :][:32] != theirs[32 * at :][:32])
            return f"another entry {first + at}", True
        compared = True
    return None, compared


def compare(audits):
    """What each two of several audited archives (made with `keep`) say of each other: the reasons of SPEC 14.7."""
    found: dict[str, Any] = {}

    def fault(reason, where):
        places = found.setdefault(reason, [0, []])
        places[0] += 1
        if len(places[1]) < WHERE_MAX:
            places[1].append(where)

    for b, other in enumerate(audits):
        for a, one in enumerate(audits[:b]):
            pair = f"{a + 1} and {b + 1}"
            both = [audit.log for audit in (one, other) if audit.log and audit.log.proven]
            why, compared = None, False
            if len(both) == 2 and (both[0].kid, both[0].log_id) == (both[1].kid, both[1].log_id):
                why, compared = contradiction(*both)
            if why:
                fault("two_histories", f"{pair}: {why}")
            elif not compared:
                fault("not_comparable", pair)
            for place in sorted(one.kept.keys() & other.kept.keys()):
                if one.kept[place] != other.kept[place]:
                    gateway, epoch, seq = place
                    fault("two_batches", f"{pair}: {gateway.hex()[:16]} {epoch.hex()[:8]} {seq}")
    reasons = []
    for reason, (line, effect, _) in COMPARED.items():
        if reason in found:
            count, where = found[reason]
            reasons.append({"reason": reason, "line": line, "effect": effect, "count": count, "where": where})
    return reasons


def comparison(audits, names):
    """The JSON document about several archives (SPEC 14.7)."""
    verdicts, reasons = [audit.verdict() for audit in audits], compare(audits)
    said = {verdict["overall"] for verdict in verdicts}
    said |= {"failure" if reason["effect"] == WRONG else "incomplete" for reason in reasons}
    overall = next((each for each in ("failure", "incomplete") if each in said), "success")
    archives = [{"file": name, "verdict": verdict} for name, verdict in zip(names, verdicts)]
    return {"form": "parkgate comparison 1", "overall": overall, "reasons": reasons, "archives": archives}


def _fold(stack):
    """The root of the complete subtrees on the stack; that of no leaf is the hash of nothing."""
    if not stack:
        return hashlib.sha256(b"").digest()
    node = stack[-1][1]
    for _, left in reversed(stack[:-1]):
        node = hashlib.sha256(b"\1" + left + node).digest()
    return node


# Time stamps (RFC 3161, in CMS, RFC 5652; SPEC 13.10). All in plain Python: the same with `cryptography` and without.

TST_INFO = bytes.fromhex("2a864886f70d0109100104")
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_ATTRIBUTES = {bytes.fromhex(oid): name for oid, name in (
    ("2a864886f70d010903", "type"), ("2a864886f70d010904", "digest"), ("2a864886f70d010910020c", "certificate"),
    ("2a864886f70d010910022f", "certificate 2"))}  # fmt: skip
_HASHES = {bytes.fromhex("6086480165030402" + end): name for end, name in (
    ("01", "sha256"), ("02", "sha384"), ("03", "sha512"))}  # fmt: skip
# Signature algorithm → (kind of key, its hash or None where that stands elsewhere).
_SIGNING: dict[bytes, tuple[str, Any]] = {bytes.fromhex("2a864886f70d0101" + end): ("RSA", name) for end, name in (
    ("01", None), ("0b", "sha256"), ("0c", "sha384"), ("0d", "sha512"))}  # fmt: skip
_SIGNING.update({bytes.fromhex("2a8648ce3d0403" + end): ("EC", name) for end, name in (
    ("02", "sha256"), ("03", "sha384"), ("04", "sha512"))})  # fmt: skip
_RSA_KEY, _EC_KEY = bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a8648ce3d0201")
_EXTENDED_USE, _TIME_STAMPING = bytes.fromhex("551d25"), bytes.fromhex("300a06082b06010505070308")
# Curve → (p, n, b, G); a is -3.
CURVES = {
    bytes.fromhex("2a8648ce3d030107"): (P, N, B, G),
    bytes.fromhex("2b81040022"): (
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        (
            0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
            0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
        ),
    ),
}
DATES_APART_MS = 180_000_000  # a batch is called late that is dated so long before its first proof: 50 hours
CLOCK_MS = 60_000  # a gateway's clock may be so far ahead
CHAIN_LENGTH_MAX = 5


def der(data, at=0):
    """(tag, contents, the whole element, offset behind it) of the DER element at `at`."""
    need(at + 2 <= len(data) and data[at] & 31 != 31, "stamp_malformed")
    begin, n = at + 2, data[at + 1]
    if n > 127:
        size = n & 127
        n = int.from_bytes(data[begin : begin + size], "big")
        begin += size
        need(1 <= size <= 4 and n > 127 and n >> 8 * (size - 1), "stamp_malformed")
    need(begin + n <= len(data), "stamp_malformed")
    return data[at], data[begin : begin + n], data[at : begin + n], begin + n


def elements(data):
    """[(tag, contents, whole)] of the elements that stand one behind the other."""
    found, at = [], 0
    while at < len(data):
        tag, contents, whole, at = der(data, at)
        found.append((tag, contents, whole))
    return found


def inside(element, tag, least=0):
    """The elements inside one with this tag, at least so many."""
    need(element[0] == tag, "stamp_malformed")
    found = elements(element[1])
    need(len(found) >= least, "stamp_malformed")
    return found


def valued(element, tag):
    """The contents of an element with this tag."""
    need(element[0] == tag, "stamp_malformed")
    return element[1]


def stamp_time(element):
    """A UTCTime or GeneralizedTime in Unix ms."""
    text = element[1].decode("latin-1")
    if element[0] == 0x17 and re.fullmatch(r"\d{12}Z", text):
        text = ("19" if text[:2] >= "50" else "20") + text
    found = re.fullmatch(r"(\d{14})(?:\.(\d{1,9}))?Z", text)
    need(element[0] in (0x17, 0x18) and found, "stamp_malformed")
    try:
        moment = datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        raise Malformed("stamp_malformed") from None
    return int(moment.timestamp()) * 1000 + int((found[2] or "0").ljust(3, "0")[:3])


class Certificate:
    """An X.509 certificate, as far as a time stamp needs it."""

    def __init__(self, data):
        self.data, self.id = data, hashlib.sha256(data).hexdigest()
        body, algorithm, signature = inside(der(data), 0x30, 3)[:3]
        self.body, self.algorithm, self.signature = body[2], algorithm, valued(signature, 3)[1:]
        fields = inside(body, 0x30, 7)
        serial, _, issuer, validity, subject, key = fields[fields[0][0] == 0xA0 :][:6]
        self.serial, self.issuer, self.subject = valued(serial, 2), issuer[2], subject[2]
        self.from_ms, self.to_ms = (stamp_time(each) for each in inside(validity, 0x30, 2)[:2])
        (kind, *parameters), bits = inside(inside(key, 0x30, 2)[0], 0x30, 1), inside(key, 0x30, 2)[1]
        self.key_kind, self.key = valued(kind, 6), valued(bits, 3)[1:]
        self.curve = parameters[0][1] if parameters else b""
        self.usage = None
        for extension in (e for field in fields if field[0] == 0xA3 for e in inside(inside(field, 0xA3, 1)[0], 0x30)):
            name, *rest = inside(extension, 0x30, 2)
            if name[1] == _EXTENDED_USE:
                self.usage = rest[0][1] == b"\xff" and len(rest) == 2 and rest[1][1]

    def holds(self, algorithm, digest, message, signature):
        """Whether `signature` is by this certificate's key. `digest` is the hash where the algorithm names none."""
        named = _SIGNING.get(inside(algorithm, 0x30, 1)[0][1])
        need(named, "stamp_algorithm")
        digest = named[1] or digest
        if named[0] == "RSA":
            need(self.key_kind == _RSA_KEY, "stamp_algorithm")
            modulus, exponent = (int.from_bytes(valued(e, 2), "big") for e in inside(der(self.key), 0x30, 2)[:2])
            size = (modulus.bit_length() + 7) // 8
            need(2048 <= modulus.bit_length() <= 8192 and exponent > 2 and exponent < 1 << 32, "stamp_algorithm")
            oid = next(oid for oid, name in _HASHES.items() if name == digest)
            told = hashlib.new(digest, message).digest()
            told = bytes([0x30, 17 + len(told), 0x30, 13, 6, 9]) + oid + bytes([5, 0, 4, len(told)]) + told
            padded = b"\0\1" + b"\xff" * (size - len(told) - 3) + b"\0" + told
            return len(signature) == size and pow(
                int.from_bytes(signature, "big"), exponent, modulus
            ) == int.from_bytes(padded, "big")
        need(self.key_kind == _EC_KEY and self.curve in CURVES, "stamp_algorithm")
        try:
            r, s = (int.from_bytes(valued(each, 2), "big") for each in inside(der(signature), 0x30, 2))
        except (Malformed, ValueError):
            return False
        return ec_holds(CURVES[self.curve], self.key, r, s, hashlib.new(digest, message).digest())


def ec_holds(curve, key, r, s, digest):
    """ECDSA (FIPS 186-5) on a curve with a = -3, slowly."""
    p, n, b, g = curve
    size = (p.bit_length() + 7) // 8
    x, y = int.from_bytes(key[1 : 1 + size], "big"), int.from_bytes(key[1 + size :], "big")
    if key[:1] != b"\4" or len(key) != 1 + 2 * size or x >= p or y >= p or (y * y - x**3 + 3 * x - b) % p:
        return False
    if not (0 < r < n and 0 < s < n):
        return False
    e = int.from_bytes(digest, "big") >> max(0, 8 * len(digest) - n.bit_length())
    inverse = pow(s, -1, n)

    def add(one, other):
        if one is None or other is None:
            return one or other
        if one[0] == other[0]:
            if (one[1] + other[1]) % p == 0:
                return None
            slope = (3 * one[0] * one[0] - 3) * pow(2 * one[1], -1, p)
        else:
            slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, p)
        x3 = (slope * slope - one[0] - other[0]) % p
        return x3, (slope * (one[0] - x3) - one[1]) % p

    u, v, both, found = e * inverse % n, r * inverse % n, add(g, (x, y)), None
    for bit in range(n.bit_length() - 1, -1, -1):
        found = add(found, found)
        pick = (u >> bit & 1) + 2 * (v >> bit & 1)
        if pick:
            found = add(found, (None, g, (x, y), both)[pick])
    return found is not None and found[0] % n == r


def read_stamp(token, imprint):
    """{gen_ms, accuracy_ms, chain: certificates from the signer's up} of a token over SHA-256 = imprint; Malformed with
    the reason of SPEC 14.6."""
    kind, content = inside(der(token), 0x30, 2)[:2]
    need(kind[1] == _SIGNED_DATA and der(token)[3] == len(token), "stamp_malformed")
    fields = inside(inside(content, 0xA0, 1)[0], 0x30, 4)
    inner = inside(fields[2], 0x30, 2)
    need(inner[0][1] == TST_INFO, "stamp_malformed")
    told = valued(inside(inner[1], 0xA0, 1)[0], 4)
    info = inside(der(told), 0x30, 5)
    need(info[0][1] == b"\1", "stamp_malformed")
    (hashed, *_), value = inside(inside(info[2], 0x30, 2)[0], 0x30, 1), inside(info[2], 0x30, 2)[1]
    need(_HASHES.get(hashed[1]) == "sha256" and valued(value, 4) == imprint, "stamp_imprint")
    gen_ms, accuracy_ms = stamp_time(info[4]), 0
    if len(info) > 5 and info[5][0] == 0x30:
        for tag, number, _ in inside(info[5], 0x30):
            number = int.from_bytes(number, "big")
            accuracy_ms += {2: 1000 * number, 0x80: number, 0x81: (number + 999) // 1000}.get(tag, 0)
    signers = inside(fields[-1], 0x31)
    need(len(signers) == 1, "stamp_signers")
    signer = inside(signers[0], 0x30, 6)
    digest = _HASHES.get(inside(signer[2], 0x30, 1)[0][1])
    need(digest, "stamp_algorithm")
    certificates = [
        Certificate(whole) for field in fields[3:-1] if field[0] == 0xA0 for _, _, whole in elements(field[1])
    ]
    own = _attributes(signer, told, digest, certificates)
    need(own.usage == _TIME_STAMPING, "stamp_usage")
    need(own.from_ms <= gen_ms <= own.to_ms, "stamp_validity")
    signed = b"\x31" + signer[3][2][1:]
    need(own.holds(signer[4], digest, signed, valued(signer[5], 4)), "stamp_signature")
    chain = [own]
    while len(chain) < CHAIN_LENGTH_MAX:
        last = chain[-1]
        above = [c for c in certificates if c.subject == last.issuer and c not in chain]
        above = [c for c in above if _issued(c, last)]
        if not above:
            break
        chain.append(above[0])
    return {"gen_ms": gen_ms, "accuracy_ms": accuracy_ms, "chain": chain}


def _issued(above, below):
    try:
        return above.holds(below.algorithm, None, below.body, below.signature)
    except Malformed:
        return False


def _attributes(signer, told, digest, certificates):
    """The signer's certificate, by the attributes that are signed with the stamp."""
    need(signer[3][0] == 0xA0, "stamp_attributes")
    found = {}
    for attribute in inside(signer[3], 0xA0):
        name, values = inside(attribute, 0x30, 2)[:2]
        need(name[1] not in found and len(inside(values, 0x31)) == 1, "stamp_attributes")
        found[name[1]] = inside(values, 0x31)[0]
    found = {_ATTRIBUTES[oid]: value for oid, value in found.items() if oid in _ATTRIBUTES}
    need("type" in found and found["type"][1] == TST_INFO and "digest" in found, "stamp_attributes")
    need(found["digest"][1] == hashlib.new(digest, told).digest(), "stamp_digest")
    need("certificate" in found or "certificate 2" in found, "stamp_certificate")
    new = "certificate 2" in found
    first = inside(inside(inside(found["certificate 2" if new else "certificate"], 0x30, 1)[0], 0x30, 1)[0], 0x30, 1)
    how = "sha256" if new else "sha1"
    if new and first[0][0] == 0x30:
        how = _HASHES.get(inside(first[0], 0x30, 1)[0][1])
        need(how and len(first) > 1, "stamp_algorithm")
        first = first[1:]
    own = [c for c in certificates if hashlib.new(how, c.data).digest() == valued(first[0], 4)]
    need(own, "stamp_certificate")
    if signer[1][0] == 0x30:
        issuer, serial = inside(signer[1], 0x30, 2)
        need(own[0].issuer == issuer[2] and own[0].serial == valued(serial, 2), "stamp_certificate")
    return own[0]


class Best:
    """Numbers at rising places: the best of those below a place, None where there is none."""

    def __init__(self, better):
        self.better, self.places, self.best = better, [], []

    def add(self, place, number):
        self.places.append(place)
        self.best.append(self.better(self.best[-1], number) if self.best else number)

    def below(self, place):
        at = bisect_left(self.places, place)
        return self.best[at - 1] if at else None


class Times:
    """What stamps say of when batches were signed."""

    def __init__(self, audit):
        self.audit = audit
        self.stamps: list[dict] = []
        self.met = 0  # statements about stamps
        self.chains: list[dict] = []

    def take(self, number, log_id, index, facts):
        """A statement of the kind `stamped`, in its order."""
        where = f"statement #{number}"
        self.met += 1
        try:
            forms = {"log": 16, "root": 32, "size": int, "authority": str, "token": bytes}
            for name, form in forms.items():
                fact = facts.get(name)
                need(is_bytes(fact, form) if type(form) is int else type(fact) is form, "stamp_malformed")
            need(is_uint(facts["size"]), "stamp_malformed")
            text = f"parkgate-log/{facts['log'].hex()}\n{facts['size']}\n{b64encode(facts['root']).decode()}\n"
            stamp = read_stamp(facts["token"], hashlib.sha256(text.encode()).digest())
            need(facts["log"] == log_id and facts["size"] <= index, "stamp_root")
            need(not self.stamps or self.stamps[-1]["gen_ms"] <= stamp["gen_ms"], "stamp_order")
        except (Malformed, ValueError, IndexError) as error:
            reason = str(error) if str(error) in REASONS else "stamp_malformed"
            self.audit.fault(reason, where)
            return
        named = any(self.audit.names(certificate.id) for certificate in stamp["chain"])
        self.stamps.append({
            **{name: stamp[name] for name in ("gen_ms", "accuracy_ms")}, "index": index, "size": facts["size"],
            "root": facts["root"], "authority": facts["authority"], "ids": [c.id for c in stamp["chain"]],
            "named": named, "where": where,
        })  # fmt: skip

    def ids(self):
        """The ids of the authorities' certificates."""
        return [each for stamp in self.stamps for each in stamp["ids"]]

    def finish(self, roots, met):
        """`roots`: size → root of this log; `met`: indexes of statements that stand in it."""
        wrong = [s for s in self.stamps if roots.get(s["size"], s["root"]) != s["root"]]
        for stamp in wrong:
            self.audit.fault("stamp_root", stamp["where"])
        if wrong:
            self.stamps = [s for s in self.stamps if roots.get(s["size"], s["root"]) == s["root"]]
        named = any(stamp["named"] for stamp in self.stamps)
        used = [s for s in self.stamps if (s["named"] or not named) and s["index"] in met]
        if not used:
            return
        # Leaf → the latest bound of the stamps up to it; size of a stamped log → the earliest of it and larger ones.
        after, before = Best(max), Best(min)
        for stamp in sorted(used, key=lambda s: s["index"]):
            after.add(stamp["index"], stamp["gen_ms"] - stamp["accuracy_ms"])
        for stamp in sorted(used, key=lambda s: -s["size"]):
            if roots.get(stamp["size"]) == stamp["root"]:
                before.add(-stamp["size"], stamp["gen_ms"] + stamp["accuracy_ms"])
        for gateway in self.audit.gateways:
            for chain in gateway.chains:
                self._chain(gateway, chain, (after, before), roots)

    def _chain(self, gateway, chain, bounds, roots):
        lower, upper, before = [], [], None
        for seq, _, claims in chain.times:
            sizes = [size for size, root in claims if roots.get(size) == root]
            newest = bounds[0].below(max(sizes)) if sizes else None
            if before is not None and seq == before + 1 and lower[-1] is not None:
                newest = lower[-1] if newest is None else max(newest, lower[-1])
            lower.append(newest)
            before = seq
        for seq, time_ms, _ in reversed(chain.times):
            leaf = chain.leaves.get(seq)
            first = None if leaf is None else bounds[1].below(-leaf)
            if upper and before == seq + 1 and upper[-1] is not None:
                first = upper[-1] if first is None else min(first, upper[-1])
            upper.append(first)
            before = seq
            if first is not None and time_ms is not None and time_ms > first + CLOCK_MS:
                chain.fault("post_dated", seq)
        runs, late = [], []
        for (seq, time_ms, _), low, high in zip(chain.times, lower, reversed(upper)):
            if runs and runs[-1][1] == seq - 1 and runs[-1][2:] == [low, high]:
                runs[-1][1] = seq
            else:
                runs.append([seq, seq, low, high])
            if high is not None and time_ms is not None and high - time_ms > DATES_APART_MS:
                if late and late[-1][1] == seq - 1 and late[-1][3] == high:
                    late[-1][1:3] = seq, min(late[-1][2], time_ms)
                else:
                    late.append([seq, seq, time_ms, high])
        self.chains.append({
            "gateway": gateway.id.hex(), "epoch": chain.epoch.hex(), "runs": runs[:GAPS_MAX], "late": late[:GAPS_MAX],
        })  # fmt: skip

    def summary(self):
        names = ("index", "size", "authority", "ids", "gen_ms", "accuracy_ms", "named")
        return {"stamps": [{name: s[name] for name in names} for s in self.stamps], "signed": self.chains}


# Places (SPEC 13.9, 14.5).

_PLACE_FACTS = {
    "place added": {"name": str}, "place renamed": {"before": str, "name": str}, "place closed": {},
    "gateway placed": {"gateway": 32, "from_ms": int}, "gateway taken away": {"gateway": 32, "to_ms": int},
    "replaced": {"before": 32, "gateway": 32, "at_ms": int, "registers": list},
    "exchange read": {"before": 32, "gateway": 32, "at_ms": int, "registers": list},
}  # fmt: skip
_REGISTER = (str, str, str, int, int, int)


class Places:
    """What the hub's statements say of places: `take` each in its order, then `stays`; `finish` behind the gateways."""

    def __init__(self, audit):
        self.audit = audit
        self.known: dict[bytes, Any] = {}  # place → its names, and the hash of its last statement
        self.stays: list[list] = []  # [place, gateway, from, to or None]
        self.exchanges: list[tuple] = []  # (place, old gateway, new gateway, at, lines, where)

    def take(self, number, digest, kind, time_ms, facts):
        if kind not in _PLACE_FACTS:
            return
        self.where = f"statement #{number}"
        if not self._has_form(kind, facts):
            self._conflict()
            return
        place, prior = facts["place"], facts["prior"]
        known = self.known.setdefault(place, {"last": None, "names": [], "new": True})
        if kind == "place added" and not known["new"]:
            self._conflict()
        elif prior != known["last"] or kind != "place added" and known["new"]:
            self.audit.fault("place_unlinked", self.where)
        known.update(last=digest, new=False)
        if "name" in facts:
            known["names"].append({"unix_ms": time_ms, "name": facts["name"]})
        if kind in ("gateway taken away", "replaced"):
            self._end(place, facts.get("before", facts["gateway"]), facts["to_ms" if "to_ms" in facts else "at_ms"])
        if kind == "replaced" or kind != "exchange read" and "from_ms" in facts:
            self._stand(place, facts["gateway"], facts["from_ms" if "from_ms" in facts else "at_ms"])
        if "registers" in facts:
            self.exchanges.append((place, facts["before"], facts["gateway"], facts["at_ms"], facts["registers"],
                                   self.where, kind == "replaced"))  # fmt: skip

    def _conflict(self):
        self.audit.fault("place_conflict", self.where)

    def _has_form(self, kind, facts):
        wanted = {"place": 16, **_PLACE_FACTS[kind]}
        if kind == "place added" and "gateway" in facts:
            wanted.update(gateway=32, from_ms=int)
        for name, form in wanted.items():
            fact = facts.get(name)
            if not (
                is_bytes(fact, form) if type(form) is int else is_uint(fact) if form is int else type(fact) is form
            ):
                return False
        for line in facts.get("registers", ()):
            if type(line) is not list or len(line) != 8 or any(type(a) is not b for a, b in zip(line, _REGISTER)):
                return False
            if not is_uint(line[4]) or not (line[6:] == [None, None] or is_uint(line[6]) and type(line[7]) is int):
                return False
        prior = facts.get("prior", 0)
        return prior is None or is_bytes(prior, 32)

    def _stand(self, place, gateway, from_ms):
        for stay in self.stays:
            if place == stay[0] and (stay[3] is None or from_ms < stay[3]) or gateway == stay[1] and stay[3] is None:
                self._conflict()
                return
        self.stays.append([place, gateway, from_ms, None])

    def _end(self, place, gateway, to_ms):
        for stay in self.stays:
            if stay[:2] == [place, gateway] and stay[3] is None and to_ms >= stay[2]:
                stay[3] = to_ms
                return
        self._conflict()

    def finish(self):
        """The registers of exchanges against those that the gateways signed, and the energy between the two."""
        gateways = {gateway.id: gateway for gateway in self.audit.gateways}
        for place, before, after, at_ms, lines, where, first in self.exchanges:
            old, new = gateways.get(before), gateways.get(after)
            ended = {s.key: s for s in old.series.values() if s.is_at(place, 3, at_ms)} if old else {}
            begun = {s.key: s for s in new.series.values() if s.is_at(place, 2, at_ms)} if new else {}
            for *key, last_ms, last, first_ms, value in lines:
                one, other = ended.get(tuple(key)), begun.get(tuple(key))
                if (
                    one
                    and one.last[0] == last_ms
                    and one.last[1] != last
                    or (other and other.first[0] == first_ms and other.first[1] != value)
                ):
                    self.audit.fault("exchange_differs", f"{where} {key[0]} {key[1]}")
            for key, one in ended.items() if first else ():
                if key in begun and begun[key].first[0] > one.last[0]:
                    self.audit.energy.append(begun[key].row(one.last, begun[key].first, new, old))

    def summary(self):
        return [
            {
                "id": place.hex(), "names": known["names"],
                "stays": [{"gateway": g.hex(), "from_ms": a, "to_ms": b} for p, g, a, b in self.stays if p == place],
                "exchanges": [{"before": one.hex(), "gateway": other.hex(), "at_ms": at}
                              for p, one, other, at, _, _, first in self.exchanges if p == place and first],
            }
            for place, known in self.known.items()
        ]  # fmt: skip


# Lots (SPEC 15.3).

LOT_CLASS, LOTS, LOTS_FORM, LOTS_BYTES_MAX, LOT_JOBS_MAX = "lot", "lots.cbor", "parkgate lots 1", 2 << 20, 1000
STATION, START, STOP, COUNT, SCRAP, MATERIAL_IN, MATERIAL_OUT, OPERATOR, SHIFT, CORRECTION = range(10)
VOID, QUANTITY, LOT, TIME = range(4)
STOPPED = ("by hand", "shift ended", "idle", "journal lost")
COUNTING = ("piece_count", "cycle_count", "pulse_count")


def read_lots(data):
    """What the hub says of the lots: (lot, lots from outside, jobs), or Malformed."""
    said = decode(data)
    need(has_fields(said, {"form": str, "jobs": list, "lot": str, "outside": list}), "lots")
    need(said["form"] == LOTS_FORM and len(said["jobs"]) <= LOT_JOBS_MAX, "lots")
    need(all(type(lot) is str for lot in said["outside"]), "lots")
    for job in said["jobs"]:
        need(type(job) is list and len(job) == 9 and type(job[0]) is str, "a job")
        need(is_bytes(job[1], 32) and is_bytes(job[2], 16) and all(map(is_uint, job[3:6])), "a job")
        need(job[4] <= job[5] and (job[6] is None or type(job[6]) is int), "a job")
        need(type(job[7]) is list and type(job[8]) is list, "a job")
        for pair in job[7]:
            need(type(pair) is list and len(pair) == 2 and all(type(n) is int for n in pair), "a job")
        for figure in job[8]:
            need(type(figure) is list and len(figure) == 4 and all(type(text) is str for text in figure[:3]), "a job")
            need(figure[3] is None or type(figure[3]) is str, "a job")
    need(len({tuple(job[1:4]) for job in said["jobs"]}) == len(said["jobs"]), "a job that stands twice")
    return said["lot"], said["outside"], said["jobs"]


def is_entry(event):
    """Whether an event is an entry of the floor (SPEC 15.2)."""
    if event[0] != 33 or len(event) < 9 or any(type(n) is not int for n in event[1:6]):
        return False
    _, what, _, number, _, _, job, detail, age, *registers = event
    if any(n is not None and type(n) is not int for n in (age, *registers)) or not 0 <= what < 10 or number < 1:
        return False
    if type(job) is not (str if what == START else int):
        return False
    if what == STATION:
        good = type(detail) is list and [type(part) for part in detail] == [str, list]
        return good and all(type(name) is str for name in detail[1])
    if what == SCRAP:
        return type(detail) is list and [type(part) for part in detail] == [int, int]
    if what == CORRECTION:
        forms = {VOID: [], QUANTITY: [int], LOT: [str], TIME: [int]}
        if type(detail) is not list or not detail or type(detail[0]) is not int or detail[0] not in forms:
            return False
        return [type(part) for part in detail[1:]] == forms[detail[0]]
    return type(detail) is (str if what in (MATERIAL_IN, MATERIAL_OUT, OPERATOR) else int)


class LotJob:
    """One job as its gateway signed it. `begun` and `ended` are places in the list of entries of its window."""

    def __init__(self, number, station, lot):
        self.number, self.station, self.lot = number, station, lot
        self.start_ms: Any = None
        self.end_ms: Any = None
        self.stop: Any = None
        self.begun: Any = None
        self.ended: Any = None
        self.is_counted = self.forgotten = self.corrected = self.estimated = False
        self.pieces, self.scrap = 0, {}
        self.taken, self.given = [], []

    def flags(self):
        marks = (("forgotten", self.forgotten), ("corrected", self.corrected), ("estimated", self.estimated))
        return [name for name, holds in marks if holds]


class Window:
    """The entries of some batches of one chain, read in their order with nothing before them."""

    def __init__(self, batches, corrections):
        self.entries: list[tuple] = []  # (entry, registers of its station, numbers of the open jobs behind it, schema)
        self.counters: list[tuple] = []  # (entries before it, instrument, quantity)
        self.jobs: dict[int, LotJob] = {}
        self.open: dict[int, LotJob] = {}
        self.names: dict[int, str] = {}
        self.registers: dict[int, list] = {}
        self.corrections, self.is_whole, before = corrections, True, None
        for _, schema, events in batches:
            for event in events:
                if event[0] == 9 and len(event) == 7 and type(event[1]) is str and type(event[2]) is str:
                    self.counters.append((len(self.entries), event[1], event[2]))
                elif is_entry(event) and (before is None or event[3] > before):
                    self.is_whole = self.is_whole and before in (None, event[3] - 1)
                    before = event[3]
                    self._take(event)
                    opened = tuple(self.open[number] for number in sorted(self.open))
                    self.entries.append((event, self.registers.get(event[2], []), opened, schema))

    def _take(self, event):
        _, what, station, number, time_ms, _, job, detail, *_ = event
        said = self.corrections.get(number, {})
        if what == STATION:
            self.names[station] = detail[0]
            self.registers[station] = [tuple(name.rpartition(".")[::2]) for name in detail[1]]
        elif what == CORRECTION or VOID in said or what in (OPERATOR, SHIFT):
            return
        elif what == START:
            made = self.jobs[number] = self.open[number] = LotJob(number, station, said.get(LOT, job))
            made.start_ms, made.begun = said.get(TIME, time_ms), len(self.entries)
            made.is_counted, made.corrected, made.estimated = detail == 1, bool(said), TIME in said
        elif VOID not in self.corrections.get(job, {}):
            if job not in self.jobs:
                self.jobs[job] = self.open[job] = LotJob(job, station, None)
            if job in self.open:
                self._of_job(self.open[job], what, detail, said, said.get(TIME, time_ms))

    def _of_job(self, job, what, detail, said, time_ms):
        job.corrected = job.corrected or bool(said)
        if what == STOP:
            reason = detail if 0 <= detail < len(STOPPED) else 0
            job.stop, job.end_ms, job.ended = STOPPED[reason], time_ms, len(self.entries)
            job.forgotten, job.estimated = reason != 0, job.estimated or TIME in said
            del self.open[job.number]
        elif what == COUNT and not job.is_counted:
            job.pieces += said.get(QUANTITY, detail)
        elif what == SCRAP:
            job.scrap[detail[0]] = job.scrap.get(detail[0], 0) + said.get(QUANTITY, detail[1])
        elif what in (MATERIAL_IN, MATERIAL_OUT):
            (job.taken if what == MATERIAL_IN else job.given).append(said.get(LOT, detail))

    def grown(self, job, pair):
        """(what the register grew for a job, whether it was shared), None for an amount that cannot be told."""
        bound = {entry[2] for entry, names, *_ in self.entries if pair in names}
        total, shared, last = 0, False, None
        for place in range(job.begun, job.ended + 1):
            entry, names, opened, _ = self.entries[place]
            here = tuple(each for each in opened if each.station in bound)
            at = names.index(pair) + 9 if pair in names and entry[1] not in (STATION, CORRECTION) else len(entry)
            value = entry[at] if at < len(entry) else None
            if value is None:
                if last is None or here != last[1]:
                    return None, shared
                continue
            if last is not None:
                step, jobs = value - last[0], last[1]
                told = any(last[2] < n <= place and (name, what) == pair for n, name, what in self.counters)
                if step < 0 or told or any(each.lot is None for each in jobs):
                    return None, shared
                total += step // len(jobs) + (jobs.index(job) < step % len(jobs))
                shared = shared or len(jobs) > 1
            last = value, here, place
        return (total if last is not None and last[2] == job.ended else None), shared


class Lots:
    """The lot that an archive is the proof of, and what went into it, from the entries that gateways signed."""

    def __init__(self, audit):
        self.audit = audit
        self.rows: list[dict] = []
        self.links: set[tuple] = set()  # (lot, what went into it)
        self.told: dict[str, list] = {}
        try:
            need(LOTS in audit.zip.places, "no list of lots")
            self.lot, self.outside, self.jobs = read_lots(audit.zip.read(LOTS, LOTS_BYTES_MAX))
        except Malformed:
            audit.fault("lot_malformed", "")
            self.lot, self.outside, self.jobs = "", [], []

    def finish(self):
        """Each job from its own batches, then how the lots hang together."""
        chains = {(gateway.id, chain.epoch): chain for gateway in self.audit.gateways for chain in gateway.chains}
        corrections = {place: _corrections(chain) for place, chain in chains.items()}
        for job in self.jobs:
            place = tuple(job[1:3])
            where = f"{job[1].hex()[:16]} {job[2].hex()[:8]} entry {job[3]}"
            self._job(job, chains.get(place), corrections.get(place, {}), where)
        if self.lot or self.jobs:
            self._hang_together()

    def _job(self, said, chain, corrections, where):
        lot, gateway, epoch, number, first, last, pieces, scrap, figures = said
        fault = self.audit.fault
        batches = [batch for batch in chain.floor if first <= batch[0] <= last] if chain else []
        window = Window(batches, corrections)
        job = window.jobs.get(number)
        if job is None or job.begun is None or job.station not in window.names:
            fault("lot_entry_missing", where)
            return
        whole = len(batches) == last - first + 1 and window.is_whole
        if not whole:
            fault("lot_gap", where)
        if job.stop is None:
            fault("lot_open", where)
        rows = [self._figure(window, job, pair, chain, whole) for pair in window.entries[job.begun][1]]
        if job.is_counted:
            counted = [row for name in COUNTING for row in rows if row["quantity"] == name][:1]
            job.pieces = counted[0]["steps"] if counted else None
        waste = [list(pair) for pair in sorted(job.scrap.items())]
        if job.lot != lot:
            fault("lot_differs", where)
        can_be_told = whole and job.stop is not None
        if can_be_told and (job.pieces != pieces or waste != scrap):
            fault("lot_counts", where)
        if (
            can_be_told
            and [[row["instrument"], row["quantity"], row["unit"], row["amount"]] for row in rows] != figures
        ):
            fault("lot_figures", where)
        self.told.setdefault(job.lot, []).append((job, rows))
        self.links |= {(job.lot, source) for source in job.taken} | {(target, job.lot) for target in job.given}
        self.rows.append({
            "lot": job.lot, "gateway": gateway.hex(), "epoch": epoch.hex(), "number": number,
            "station": window.names[job.station], "start_ms": job.start_ms, "end_ms": job.end_ms, "stop": job.stop,
            "flags": job.flags(), "counted_by": "machine" if job.is_counted else "hand", "pieces": job.pieces,
            "scrap": waste, "whole": whole, "first_seq": first, "last_seq": last,
            "figures": [{name: row[name] for name in row if name not in ("steps", "scale")} for row in rows],
        })  # fmt: skip

    def _figure(self, window, job, pair, chain, whole):
        last = job.begun if job.ended is None else job.ended
        schemas = [window.entries[place][3] for place in range(job.begun, last + 1)]
        units = [_unit(chain.gateway.schemas.get(schema, ()), pair) for schema in dict.fromkeys(schemas)]
        amount, shared = window.grown(job, pair) if whole and job.ended is not None else (None, False)
        if units[0] is None or any(unit != units[0] for unit in units):
            amount = None
        unit, scale = units[0] or ("", 0)
        return {
            "instrument": pair[0], "quantity": pair[1], "unit": unit, "scale": scale, "steps": amount,
            "amount": None if amount is None else decimal(amount, scale),
            "basis": "estimated" if job.estimated else "measured", "shared": shared,
        }  # fmt: skip

    def _hang_together(self):
        reached, todo = {self.lot}, [self.lot]
        while todo:
            lot = todo.pop()
            for source in sorted(source for target, source in self.links if target == lot and source not in reached):
                reached.add(source)
                todo.append(source)
        made = {*self.told, *(target for target, source in self.links if source in self.told)}
        for lot in sorted({*self.told} - reached | {self.lot} - made):
            self.audit.fault("lot_differs", lot)
        for lot in sorted(reached - made - {self.lot, *self.outside}):
            self.audit.fault("lot_genealogy", lot)
        self.links = {link for link in self.links if link[0] in reached}

    def summary(self):
        sums: dict[tuple, Any] = {}
        for _, rows in self.told.get(self.lot, ()):
            for row in rows:
                key = row["quantity"], row["unit"], row["scale"]
                before = sums.get(key, 0)
                sums[key] = None if before is None or row["steps"] is None else before + row["steps"]
        return {
            "lot": self.lot, "rule": "equal", "jobs": self.rows, "outside": self.outside,
            "made_of": [list(link) for link in sorted(self.links)],
            "totals": [{"quantity": quantity, "unit": unit, "amount": None if n is None else decimal(n, scale)}
                       for (quantity, unit, scale), n in sums.items()],
        }  # fmt: skip


def _corrections(chain):
    """Number of an entry → what is corrected of it → the last word on it, from all batches of a chain."""
    found: dict[int, dict] = {}
    before = 0
    for _, _, events in chain.floor:
        for event in events:
            if is_entry(event) and event[3] > before:
                before = event[3]
                if event[1] == CORRECTION:
                    found.setdefault(event[6], {})[event[7][0]] = event[7][1] if len(event[7]) > 1 else None
    return found


def _unit(schema, pair):
    """(unit, scale) of a register, or None."""
    for name, channels in schema:
        for quantity, unit, scale in channels:
            if (name, quantity) == pair:
                return unit, scale
    return None


# Energy from meter registers (SPEC 14.5).

ENERGY = ("import_active_energy", "export_active_energy")
WATT_HOURS = ("Wh", "kWh", "MWh")


class Series:
    """One register of one meter: what it read nearest before each midnight, first and last."""

    def __init__(self, key, days, stay):
        self.key, self.days, self.stay = key, days, stay
        self.first: Any = None
        self.last: Any = None
        self.before = {}  # place in days → (time, value)

    def is_at(self, place, end, moment):
        """Whether it is of a stay at this place that begins (end = 2) or ends (3) at this moment."""
        return self.stay is not None and self.stay[0] == place and self.stay[end] == moment

    def add(self, time, value):
        if self.first is None or time < self.first[0]:
            self.first = time, value
        if self.last is None or time >= self.last[0]:
            self.last = time, value
        day = bisect_left(self.days, time)
        if day < len(self.days) and (day not in self.before or time >= self.before[day][0]):
            self.before[day] = time, value

    def rows(self, gateway):
        """A row for each stretch between two registers that stand for a midnight, or for the beginning or the end."""
        if self.first is None:
            return []
        marks = [self.first]
        marks += [mark for day, mark in sorted(self.before.items()) if self.days[day] - mark[0] <= NEAR_MS]
        marks.append(self.last)
        return [self.row(one, other, gateway) for one, other in pairwise(marks) if other[0] > one[0]]

    def row(self, first, last, gateway, old=None):
        """The energy between two readings (time, value); `old` signed the first one, if that was another gateway."""
        (start, before), (end, value), (instrument, quantity, unit, scale) = first, last, self.key
        events = [t for g in (gateway, old) if g for t in g.counter_events.get((instrument, quantity), ())]
        whole = value >= before and not any(start < time <= end for time in events)
        return {
            "gateway": gateway.id.hex(), "before": old and old.id.hex(), "place": self.stay and self.stay[0].hex(),
            "instrument": instrument, "quantity": quantity, "unit": unit,
            "from_ms": start, "to_ms": end, "energy": decimal(value - before, scale) if whole else None,
        }  # fmt: skip


def decimal(value, scale):
    """value × 10^-scale in digits, never through a float."""
    if scale <= 0:
        return str(value * 10**-scale)
    digits = str(value).rjust(scale + 1, "0")
    return f"{digits[:-scale]}.{digits[-scale:]}"


# For people.

STATE_WORDS = {"yes": "YES", "no": "NO", "not shown": "NOT SHOWN"}
OVERALL_WORDS = {
    "success": "Everything that can be checked was checked, and it is right.",
    "incomplete": "Nothing wrong was found, but not everything is shown. What is missing stands below.",
    "failure": "SOMETHING IS WRONG with this archive. Do not rely on it. What is wrong stands below.",
}
END_WORDS = {
    "beat": "the gateway signed that this is the last one",
    "goes on": "the chain goes on behind the end of the archive",
    "missing": "THE GATEWAY SIGNED MORE BATCHES: THEY ARE NOT HERE",
    "open": "the newest that there was when the archive was made",
    "unproven": "nothing shows that it is the last one",
    "empty": "no batch is here",
    "lot": "what comes before and behind is of other lots",
}
GAP_WORDS = {
    "signed": "lost; the gateway itself signed that",
    "set aside": "damaged at the hub and left out",
    "unexplained": "missing, and nobody signed why",
    "not in the archive": "listed by the hub, but NOT in the archive, or not as it was signed",
    "tail": "announced by the gateway, but not here",
    "other lots": "not asked for: they hold nothing between the start and the end of these jobs",
}


def clock(unix_ms, days=()):
    """A time for people, as the clocks of the park showed it: where its days begin tells how far it is from UTC."""
    if unix_ms is None:
        return "?"
    near = days[max(bisect_right(days, unix_ms) - 1, 0)] if days else 0
    offset = -near % DAY_MS
    if offset > 14 * 3_600_000:
        offset -= DAY_MS
    try:
        shown = datetime.fromtimestamp((unix_ms + offset) // 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{unix_ms} ms"
    minutes = abs(offset) // 60_000
    return f"{shown} {'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


QUESTIONS = {
    AUTHENTIC: "who signed it?",
    UNALTERED: "is it as it was signed?",
    COMPLETE: "is anything missing?",
    WITNESSED: "who else confirms it?",
}


def place_words(where, verdict):
    """A place for people: the gateway's name for its id, and what the numbers are."""
    where = re.sub(r" ([0-9a-f]{8}) ((?:#|after )?\d)", r", chain \1, batch \2", where)
    for gateway in verdict["gateways"]:
        where = where.replace(gateway["id"], clean(gateway["name"])).replace(gateway["id"][:16], clean(gateway["name"]))
    return clean(where)


def times_words(count):
    """How often."""
    return "once" if count == 1 else f"{count} times"


def line_words(verdict):
    """(name, state, sentence) of each of the four lines."""
    days = verdict["days"]
    batches = sum(gateway["batches"] for gateway in verdict["gateways"])
    count = len(verdict["gateways"])
    many = f"{batches} batches of {count} gateway{'' if count == 1 else 's'}"
    lines, told = verdict["lines"], {}
    told["authentic"] = f"{many} are signed by keys that you trust"
    told["unaltered"] = f"{many}: no byte differs from what was signed, and each follows the one before"
    begins = [c["from_ms"] for g in verdict["gateways"] for c in g["chains"] if c["from_ms"] is not None]
    start = lines["complete"]["from_ms"] if lines["complete"]["from_ms"] is not None else min(begins, default=None)
    ends = [c["to_ms"] for g in verdict["gateways"] for c in g["chains"] if c["to_ms"] is not None]
    still = [c["proven_ms"] for g in verdict["gateways"] for c in g["chains"] if c["end"] == "open"]
    end = lines["complete"]["to_ms"] if lines["complete"]["to_ms"] is not None else max(ends, default=None)
    gaps = sum(last - first + 1 for g in verdict["gateways"] for c in g["chains"] for first, last, _ in c["gaps"])
    lost = f"; {gaps} batches are missing or lost, named below" if gaps else "; there is no gap"
    end = min(still) if still else end
    told["complete"] = f"from {clock(start, days)} to {clock(end, days)}{lost}"
    if verdict["lots"]:
        jobs = len(verdict["lots"]["jobs"])
        told["complete"] = (
            f"{jobs} job{'' if jobs == 1 else 's'}, each from its start to its end, and nothing between is missing"
        )
    names = {gateway["id"]: gateway["name"] for gateway in verdict["gateways"]}
    witnesses = [names.get(one["gateway"], one["gateway"][:16]) for one in lines["witnessed"]["by"]]
    told["witnessed"] = f"by {', '.join(witnesses)}" if witnesses else "by nobody"
    found = []
    for name in LINES:
        state = lines[name]["state"]
        reasons = [REASONS[r["reason"]][2] for r in verdict["reasons"] if r["line"] == name]
        words = told[name] if state == "yes" else " ".join(reasons) or "This could not be checked."
        found.append((name, state, words))
    return found


def as_text(verdict):
    """The verdict as lines of text."""
    days = verdict["days"]
    out = [OVERALL_WORDS[verdict["overall"]], ""]
    for name, state, words in line_words(verdict):
        out.append(f"{name:10} {STATE_WORDS[state]:9}  {words}")
    when, *more = time_lines(verdict)
    out.append(f"{'when':10} {'':9}  {when}")
    if verdict["reasons"]:
        out += ["", "Why:"]
    for reason in verdict["reasons"]:
        out.append(f"  {reason['reason']} ({times_words(reason['count'])}): {REASONS[reason['reason']][2]}")
        out += [f"      {place_words(where, verdict)}" for where in reason["where"] if where]
    if verdict["lots"]:
        out += ["", f"Lot {clean(verdict['lots']['lot'])}, from the entries that gateways signed:"]
        out += [f"  {line}" for line in lot_lines(verdict)]
    for gateway in verdict["gateways"]:
        out += ["", f"Gateway {clean(gateway['name'])}   id {gateway['id']}"]
        out += [f"  {clock(h['unix_ms'], days)}  {h['what']} as {clean(h['name'])}" for h in gateway["history"]]
        for chain in gateway["chains"]:
            out.append(
                f"  chain {chain['epoch'][:8]}: batches {chain['first_seq']} to {chain['last_seq']},"
                f" {clock(chain['from_ms'], days)} to {clock(chain['to_ms'], days)}; {END_WORDS[chain['end']]}"
            )
            out += [f"    batches {a} to {b}: {GAP_WORDS[why]}" for a, b, why in chain["gaps"][:20]]
    if verdict["energy"]:
        out += ["", "Energy, as differences of the meters' own registers:"]
    names = {gateway["id"]: gateway["name"] for gateway in verdict["gateways"]}
    for row in verdict["energy"]:
        energy = "not shown: the register began again" if row["energy"] is None else f"{row['energy']} {row['unit']}"
        who = names[row["gateway"]]
        who = f"between {names[row['before']]} and {who}" if row["before"] else who
        who = f"{place_name(verdict, row['place'])} ({who})" if verdict["places"] else who
        what = f"{clean(who)}, {clean(row['instrument'])}, {row['quantity']}"
        out.append(f"  {clock(row['from_ms'], days)} to {clock(row['to_ms'], days)}  {what}: {energy}")
    for title, lines in (
        ("When it was signed, by time stamps:", more),
        ("Places, as the hub signed them:", list(place_lines(verdict))),
        ("What the hub itself signed:", statement_lines(verdict)),
        ("Left out:", verdict["left_out"]), ("This archive cannot show:", verdict["cannot_show"]),
    ):  # fmt: skip
        if lines:
            out += ["", title, *(f"  {clean(line)}" for line in lines)]
    if verdict["others"]:
        out.append(f"  {len(verdict['others'])} more gateways of this hub are not in this archive.")
    if verdict["hub"]:
        out += ["", f"The hub that made it, by the id of its log key: {verdict['hub']}"]
    return out


def place_lines(verdict):
    """Where which gateway stood, a line each."""
    days, names = verdict["days"], {gateway["id"]: gateway["name"] for gateway in verdict["gateways"]}
    for place in verdict["places"]:
        called = ", before that ".join(repr(name["name"]) for name in reversed(place["names"]))
        yield f"{called or 'a place whose name is not shown'} (id {place['id']})"
        for stay in place["stays"]:
            begin = clock(stay["from_ms"], days) if stay["from_ms"] else "its first reading"
            end = "now" if stay["to_ms"] is None else clock(stay["to_ms"], days)
            who = names.get(stay["gateway"], f"a gateway that is not in this archive ({stay['gateway'][:16]})")
            yield f"    from {begin} to {end}: {who}"


def lot_lines(verdict):
    """The lot and what went into it, a line each."""
    days, lots = verdict["days"], verdict["lots"]
    names = {gateway["id"]: gateway["name"] for gateway in verdict["gateways"]}
    for total in lots["totals"]:
        yield f"in all: {_amount(total)}"
    for job in lots["jobs"]:
        pieces = "pieces not known" if job["pieces"] is None else f"{job['pieces']} pieces"
        marks = f" [{', '.join(job['flags'])}]" if job["flags"] else ""
        end = "NOT OVER" if job["stop"] is None else f"{clock(job['end_ms'], days)} ({job['stop']})"
        where = f"{names[job['gateway']]} / {job['station']}"
        yield clean(f"{job['lot']} at {where}: {clock(job['start_ms'], days)} to {end}{marks}")
        scrap = "".join(f", scrap {count} for reason {reason}" for reason, count in job["scrap"])
        yield f"    {pieces}, counted by {job['counted_by']}{scrap}; batches {job['first_seq']} to {job['last_seq']}"
        for figure in job["figures"]:
            how = "; shared in equal parts with lots at the same time" if figure["shared"] else ""
            yield clean(f"    {figure['instrument']}: {_amount(figure)}, {figure['basis']}{how}")
    for target, source in lots["made_of"]:
        yield clean(f"{target} was made of {source}") + (
            ", which came from outside" if source in lots["outside"] else ""
        )


def _amount(figure):
    amount = "not shown" if figure["amount"] is None else f"{figure['amount']} {figure['unit']}"
    return clean(f"{figure['quantity'].replace('_', ' ')} {amount}")


def place_name(verdict, place):
    """The newest name of a place, for people."""
    names = next((each["names"] for each in verdict["places"] if each["id"] == place), [])
    return names[-1]["name"] if names else "no place" if place is None else place[:8]


def time_lines(verdict):
    """When the batches were signed, from outside: a line for people, then one for each chain that needs one."""
    days, time = verdict["days"], verdict["time"]
    if not time["signed"]:
        yield "no outer time: nobody but the gateways and the hub says when this was signed"
        return
    named = any(stamp["named"] for stamp in time["stamps"])
    runs = [run for each in time["signed"] for run in each["runs"]]
    count = sum(run[1] - run[0] + 1 for run in runs if run[2] is not None and run[3] is not None)
    whose = " and ".join(sorted({clean(s["authority"]) for s in time["stamps"] if s["named"] or not named}))
    yield (
        f"{count} of {sum(run[1] - run[0] + 1 for run in runs)} batches were signed between two time stamps, by {whose}"
        + ("" if named else ", an authority that you have not named")
    )
    names = {gateway["id"]: clean(gateway["name"]) for gateway in verdict["gateways"]}
    for each in time["signed"]:
        label = f"{names[each['gateway']]}, chain {each['epoch'][:8]}"
        for first, last, low, high in each["runs"][:20]:
            low = "after " + clock(low, days) if low is not None else "no lower bound"
            high = "before " + clock(high, days) if high is not None else "no upper bound"
            yield f"{label}, batches {first} to {last}: signed {low}, {high}"
        for first, last, dated, proved in each["late"][:20]:
            yield (
                f"{label}, batches {first} to {last}: dated {clock(dated, days)}, first proved on {clock(proved, days)}"
            )


def statement_lines(verdict):
    """What the hub itself signed, a line each."""
    days, lines = verdict["days"], []
    names = {gateway["id"]: gateway["name"] for gateway in verdict["gateways"]}
    for said in verdict["hub_statements"]:
        facts = []
        for name, fact in said["facts"].items():
            if name.endswith("_ms") and is_uint(fact):
                fact = clock(fact, days)
            elif type(fact) is str:
                fact = names.get(fact, fact)
            facts.append(f"{name} {fact if type(fact) is str else json.dumps(fact)}"[:200])
        by = f", by {said['by']}" if said["by"] else ""
        line = f"{clock(said['unix_ms'], days)}  {said['kind']}{by}{': ' if facts else ''}{', '.join(facts)}"
        lines.append(line if said["in_log"] else f"{line} (signed, but its place in the log is not shown)")
    return lines


def clean(text):
    """Text of a stranger for a terminal: no control characters."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.state{font-weight:700;white-space:nowrap}
.yes .state{color:#0a6b2d}.no .state{color:#b00020}.shown .state{color:#8a5a00}
.answer{padding:1rem;border-radius:.4rem;font-size:1.2rem;font-weight:700}
.success{background:#e3f4e8}.incomplete{background:#fff3d6}.failure{background:#fde3e6;color:#8c0019}
code{font-size:.85em;overflow-wrap:anywhere}svg{width:100%;height:1.2rem;background:#f1d9dc}
ul{margin:.2rem 0;padding-left:1.2rem}
"""


PAIR_WORDS = {
    "success": "The archives tell one history: what they have in common is the same.",
    "incomplete": "The archives could not be compared with each other, at least not all of them.",
    "failure": "THE ARCHIVES CONTRADICT EACH OTHER. Keep both: together they are the evidence.",
}


def pair_lines(document):
    """What the comparison of several archives found: the answer, then a line for each reason."""
    effects = {reason["effect"] for reason in document["reasons"]}
    yield PAIR_WORDS["failure" if WRONG in effects else "incomplete" if effects else "success"]
    for reason in document["reasons"]:
        where = clean("; ".join(reason["where"]))
        yield f"{reason['reason']} ({times_words(reason['count'])}): {COMPARED[reason['reason']][2]} Archives {where}"


def comparison_text(document):
    """Several verdicts and their comparison as lines of text."""
    out = []
    for number, each in enumerate(document["archives"], 1):
        out += [f"=== Archive {number}: {clean(each['file'])}", "", *as_text(each["verdict"]), ""]
    return [*out, "=== Compared with each other", "", *pair_lines(document)]


def comparison_html(document):
    """Several verdicts and their comparison as one page."""
    first, *rest = pair_lines(document)
    kind = "success" if not rest else "failure" if first == PAIR_WORDS["failure"] else "incomplete"
    out = [f"<h1>{len(document['archives'])} archives, compared with each other</h1><p class='answer {kind}'>{first}"]
    out += [f"<p>{html.escape(line)}" for line in rest]
    for number, each in enumerate(document["archives"], 1):
        out += [f"<hr><p>Archive {number}", *as_html(each["verdict"], each["file"]).split("\n")[1:]]
    return "\n".join([page_head("Archives compared"), *out]) + "\n"


def page_head(title):
    """The beginning of a page, one line."""
    style = STYLE.replace("\n", "")
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{style}</style>"


def as_html(verdict, name):
    """The verdict as one page."""
    e, days = html.escape, verdict["days"]
    out = [page_head(f"Audit of {name}")]
    out.append(f"<h1>Audit of {e(name)}</h1><p class='answer {verdict['overall']}'>{OVERALL_WORDS[verdict['overall']]}")
    out.append("<table>")
    for line, state, words in line_words(verdict):
        kind = "shown" if state == "not shown" else state
        question = QUESTIONS[line]
        out.append(f"<tr class={kind}><th>{line}<br><small>{question}</small><td class=state>{STATE_WORDS[state]}")
        out.append(f"<td>{e(words)}")
    when, *more = time_lines(verdict)
    out.append(f"<tr><th>when<br><small>says who?</small><td><td>{e(when)}</table>")
    if verdict["reasons"]:
        out.append("<h2>Why</h2><ul>")
        for reason in verdict["reasons"]:
            where = "; ".join(e(place_words(w, verdict)) for w in reason["where"] if w)
            sentence, often = e(REASONS[reason["reason"]][2]), times_words(reason["count"])
            out.append(f"<li>{sentence} <code>{reason['reason']}</code>, {often}: <code>{where}</code>")
        out.append("</ul>")
    if verdict["lots"]:
        out.append(f"<h2>Lot {e(clean(verdict['lots']['lot']))}, from the entries that gateways signed</h2><ul>")
        out += [f"<li>{e(line.strip())}" for line in lot_lines(verdict)]
        out.append("</ul>")
    spans = [c for g in verdict["gateways"] for c in g["chains"] if c["from_ms"] is not None and c["to_ms"] is not None]
    first, last = min((c["from_ms"] for c in spans), default=0), max((c["to_ms"] for c in spans), default=0)
    for gateway in verdict["gateways"]:
        out.append(f"<h2>{e(clean(gateway['name']))}</h2><p>id <code>{gateway['id']}</code><ul>")
        out += [f"<li>{clock(h['unix_ms'], days)}: {h['what']} as {e(clean(h['name']))}" for h in gateway["history"]]
        out.append("</ul>")
        for chain in gateway["chains"]:
            out.append(strip(chain, first, last))
            out.append(
                f"<p>Chain {chain['epoch'][:8]}: batches {chain['first_seq']} to {chain['last_seq']},"
                f" {clock(chain['from_ms'], days)} to {clock(chain['to_ms'], days)}; {END_WORDS[chain['end']]}.<ul>"
            )
            out += [f"<li>Batches {a} to {b}: {GAP_WORDS[why]}" for a, b, why in chain["gaps"][:50]]
            out.append("</ul>")
    if verdict["energy"]:
        out.append("<h2>Energy, as differences of the meters' own registers</h2><table>")
        out.append("<tr><th>from<th>to<th>place<th>gateway<th>meter<th>register<th>energy")
    names = {gateway["id"]: gateway["name"] for gateway in verdict["gateways"]}
    for row in verdict["energy"]:
        energy = "not shown" if row["energy"] is None else f"{row['energy']} {e(row['unit'])}"
        who = f"from {names[row['before']]} to {names[row['gateway']]}" if row["before"] else names[row["gateway"]]
        out.append(
            f"<tr><td>{clock(row['from_ms'], days)}<td>{clock(row['to_ms'], days)}"
            f"<td>{e(clean(place_name(verdict, row['place'])))}<td>{e(clean(who))}"
            f"<td>{e(clean(row['instrument']))}<td>{e(row['quantity'].replace('_', ' '))}<td class=n>{energy}"
        )
    out.append("</table>" if verdict["energy"] else "")
    for title, lines in (
        ("When it was signed, by time stamps", more),
        ("Places, as the hub signed them", list(place_lines(verdict))),
        ("What the hub itself signed", statement_lines(verdict)),
        ("Left out", verdict["left_out"]), ("This archive cannot show", verdict["cannot_show"]),
    ):  # fmt: skip
        out.append(f"<h2>{title}</h2><ul>" + "".join(f"<li>{e(clean(line))}" for line in lines) + "</ul>")
    out.append(f"<p>{len(verdict['others'])} more gateways of this hub are not in this archive.")
    out.append(f"<p>The hub that made it, by the id of its log key: <code>{verdict['hub'] or 'unknown'}</code>")
    return "\n".join(out) + "\n"


def strip(chain, first, last):
    """A bar over the time of all chains; what is missing stays in the colour of a gap."""
    if chain["from_ms"] is None or chain["to_ms"] is None or last <= first or chain["last_seq"] is None:
        return ""
    scale = 1000 / (last - first)
    left, width = (chain["from_ms"] - first) * scale, max((chain["to_ms"] - chain["from_ms"]) * scale, 2)
    seqs = max(chain["last_seq"] - chain["first_seq"] + 1, 1)
    parts = [f"<rect x='{left:.1f}' y='0' width='{width:.1f}' height='20' fill='#2c7a4b'/>"]
    for a, b, _ in chain["gaps"]:
        x = left + (a - chain["first_seq"]) / seqs * width
        wide = max((b - a + 1) / seqs * width, 2)
        parts.append(f"<rect x='{x:.1f}' y='0' width='{wide:.1f}' height='20' fill='#b00020'/>")
    return f"<svg viewBox='0 0 1000 20' preserveAspectRatio='none'>{''.join(parts)}</svg>"


def main(argv=None):
    """Audit one file; the exit code says how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", metavar="ARCHIVE.zip", nargs="+", help="several are also compared with each other")
    parser.add_argument("--trust", action="append", default=[], metavar="ID", help="an id from a source that you trust")
    parser.add_argument("--json", metavar="FILE", help="write the verdict for programs (- is standard output)")
    parser.add_argument("--html", metavar="FILE", help="write a page for people")
    args = parser.parse_args(argv)
    for text in args.trust:
        if not re.fullmatch(r"[0-9a-fA-F]{16,64}", text):
            parser.error(f"{text!r} is not an id: it has 16 to 64 hexadecimal digits")
    try:
        audits = []
        for name in args.archive:
            with open(name, "rb") as file:
                audits.append(Audit(file, args.trust, keep=len(args.archive) > 1))
        if len(audits) > 1:
            said = comparison(audits, args.archive)
            page, lines = comparison_html(said), comparison_text(said)
        else:
            said = audits[0].verdict()
            page, lines = as_html(said, args.archive[0]), as_text(said)
        for path, text in ((args.html, page), (args.json, json.dumps(said, indent=1) + "\n")):
            if path:
                if path == "-":
                    sys.stdout.write(text)
                else:
                    with open(path, "w", encoding="utf-8") as out:
                        out.write(text)
    except OSError as error:
        print(f"audit: {error.filename or args.archive[0]}: {error.strerror}", file=sys.stderr)
        return 2
    if args.json != "-":
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        print("\n".join(lines))
    return EXIT[said["overall"]]


if __name__ == "__main__":
    sys.exit(main())

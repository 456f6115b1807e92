"""The file, the statement and the hub's statements of an archive, read from lib/SPEC.md 14.2, 14.3 and 13.5 alone."""

import hashlib
import re
from itertools import pairwise

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from independent_columns import Refused, need
from independent_verifier import ORDER, UINT, canonical, is_a, opened, read_key

SHAPE = {
    "form": str, "class": str, "made_ms": UINT, "by": str, "from_ms": (UINT, type(None)), "to_ms": (UINT, type(None)),
    "zone": str, "days": list, "key": bytes, "gateways": list, "others": list, "members": list, "left_out": list,
    "cannot_show": list,
}  # fmt: skip
GATEWAY = {"id": 32, "key": 64, "name": str, "history": list, "chains": list}
CHAIN = {"epoch": 16, "runs": list, "set_aside": list}


class Stop(Exception):
    pass


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def shaped(item, shape):
    return type(item) is dict and item.keys() == shape.keys() and all(is_a(item[key], shape[key]) for key in shape)


def members(data):  # 14.2
    def ok(holds):
        if not holds:
            raise Stop

    def number(at, size):
        return int.from_bytes(data[at : at + size], "little")

    end = len(data) - 22
    ok(0 <= end < 2**32 - 22 and data[end : end + 8] == b"PK\5\6\0\0\0\0" and data[end + 20 :] == b"\0\0")
    count, start = number(end + 10, 2), number(end + 16, 4)
    ok(number(end + 8, 2) == count and 0 < count <= 20000 and start + number(end + 12, 4) == end)
    at, offset, found = start, 0, {}
    for _ in range(count):
        ok(at + 46 <= end and data[at : at + 4] == b"PK\1\2")
        ok(not any(data[at + 8 : at + 12] + data[at + 30 : at + 36]))
        length, size = number(at + 28, 2), number(at + 24, 4)
        name = data[at + 46 : at + 46 + length].decode("latin-1")
        part = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}"
        ok(re.fullmatch(f"{part}(/{part}){{0,3}}", name) and name not in found and at + 46 + length <= end)
        ok(number(at + 20, 4) == size and number(at + 42, 4) == offset and data[offset : offset + 4] == b"PK\3\4")
        ok(data[offset + 6 : offset + 28] == data[at + 8 : at + 30] and number(offset + 28, 2) == 0)
        body = offset + 30 + length
        ok(data[offset + 30 : body].decode("latin-1") == name and body + size <= start)
        found[name] = data[body : body + size]
        at, offset = at + 46 + length, body + size
    ok(at == end and offset == start and "statement.cbor" in found)
    return found


def holds(xy, message, signature):  # 3.4
    try:
        key = read_key(cbor2.dumps({1: 2, -1: 1, -2: xy[:32], -3: xy[32:]}))
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        need(0 < r < ORDER and 0 < s <= ORDER // 2, "signature", "range")
        key["point"].verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        return True
    except Exception:
        return False


def thumbprint(xy):
    return sha(bytes.fromhex("a401022001215820"), xy[:32], bytes.fromhex("225820"), xy[32:])


def read_statement(data):  # 14.3
    try:
        kid = None
        need(len(data) <= 2 << 20, "", "")
        payload = data
        if data[:1] == b"\xd2":
            parts = canonical(data[1:])
            need(is_a(parts, [bytes, dict, bytes, 64]) and not parts[1], "", "")
            head = canonical(parts[0])
            need(shaped(head, {1: range(-7, -6), 3: range(65105, 65106), 4: 32}), "", "")
            kid, payload = head[4], parts[2]
        told = canonical(payload)
        need(shaped(told, SHAPE) and told["form"] == "parkgate archive 1", "", "")
        days = told["days"]
        need(len(days) <= 4000 and all(is_a(d, UINT) for d in days) and days == sorted({*days}), "", "")
        need(all(type(line) is str for line in told["left_out"] + told["cannot_show"]), "", "")
        need(len(told["key"]) == 64 or not kid and not told["key"], "", "")
        need(all(is_a(o, 32) for o in told["others"]), "", "")
        need(all(is_a(m, [str, UINT, 32]) for m in told["members"]), "", "")
        need(len({m[0] for m in told["members"]}) == len(told["members"]), "", "")
        ids = [shaped(g, GATEWAY) and g["id"] for g in told["gateways"]]
        need(all(ids) and ids == sorted({*ids}), "", "")
        for g in told["gateways"]:
            key = {1: 2, -1: 1, -2: g["key"][:32], -3: g["key"][32:]}
            need(read_key(cbor2.dumps(key))["thumbprint"] == g["id"], "", "")
            kinds = ("enrolled", "renamed", "revoked", "restored")
            need(all(is_a(h, [UINT, str, str]) and h[1] in kinds for h in g["history"]), "", "")
            need(all(shaped(c, CHAIN) for c in g["chains"]), "", "")
            need(len({c["epoch"] for c in g["chains"]}) == len(g["chains"]), "", "")
            for c in g["chains"]:
                need(all(is_a(seq, UINT) for seq in c["set_aside"]), "", "")
                need(all(is_a(run, [UINT, UINT]) and run[0] <= run[1] for run in c["runs"]), "", "")
                need(all(a[1] + 1 < b[0] for a, b in pairwise(c["runs"])), "", "")
        return told, kid
    except (Refused, RecursionError):
        raise Stop from None


def cut_apart(data):
    """The messages of a file; None at the end where the rest has no end that can be told."""
    while data:
        try:
            at, strings = 2, []
            need(data[:2] == b"\xd2\x84", "", "")
            for _ in range(3):
                if len(strings) == 1:
                    need(data[at] == 0xA0, "", "")
                    at += 1
                first = data[at]
                width = {0x58: 1, 0x59: 2}.get(first, 0)
                need(width or 0x40 <= first < 0x58, "", "")
                length = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else first - 0x40
                need(length >= {0: 0, 1: 24, 2: 256}[width], "", "")
                at += 1 + width + length
                need(at <= len(data), "", "")
                strings.append(length)
            need(strings[2] == 64, "", "")
        except (Refused, IndexError):
            yield None
            return
        yield data[:at]
        data = data[at:]


def hub_statement(data):  # 13.5
    """(what is said, as 14.6 shows it, its facts, kid, the signed bytes, signature) or Refused."""
    need(len(data) <= 16384, "", "")
    kinds = range(-7, -6), range(65106, 65107), 32, [16, UINT]
    head, payload, signed, signature = opened(data, b"\xd2", "Signature1", 64, *kinds)
    fields = canonical(payload)
    need(is_a(fields, [range(1, 2), str, UINT, (str, type(None)), dict]) and 0 < len(fields[1]) < 65, "", "")
    need(all(type(name) is str for name in fields[4]), "", "")
    (log, index), (_, kind, time_ms, by, facts) = head[-65537], fields
    said = {"log": log.hex(), "index": index, "unix_ms": time_ms, "kind": kind, "by": by, "in_log": False}
    said["facts"] = {name: shown(fact) for name, fact in facts.items()}
    return said, facts, head[4], signed, signature


def shown(item):
    if type(item) is dict:
        return [[key, shown(value)] for key, value in item.items()]
    return [shown(each) for each in item] if type(item) is list else item.hex() if type(item) is bytes else item


def root_of(log, size):
    """The root of the first `size` entries, subtree by subtree (RFC 9162 2.1.1)."""
    whole, at = {}, 0
    for bit in range(61, -1, -1):
        if log.first >> bit & 1:
            whole[at, 1 << bit], at = log.frontier[32 * len(whole) :][:32], at + (1 << bit)

    def node(begin, count):
        if (begin, count) in whole:
            return whole[begin, count]
        if count == 1:
            return sha(b"\0", log.entries[begin - log.first])
        left = 1 << (count - 1).bit_length() - 1
        return sha(b"\1", node(begin, left), node(begin + left, count - left))

    return node(0, size) if size else sha()

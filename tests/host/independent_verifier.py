"""A second verifier, written from lib/SPEC.md alone: it imports nothing of Parkgate. Numbers are SPEC's sections.
Each `read_…` gives what its message says, or raises Refused(layer, why) at the first rule that does not hold."""

import hashlib
import hmac

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from independent_columns import Refused, need, read_table

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# What an item may be: a range of integers, the length of a byte string, a type, one of a tuple, a list of these.
UINT, NULL, ONE = range(2**62), type(None), range(1, 2)
BATCH = [ONE, (32, NULL), UINT, UINT, UINT, UINT, (UINT, NULL), 16, 16, UINT, list, list]  # 5.2
TABLE = [range(64), range(1, 4097), bytes, bytes, bytes, list]  # 5.3
BEAT = [ONE, (32, NULL), UINT, UINT, UINT, UINT, UINT, (UINT, NULL), (UINT, NULL), UINT, range(4), dict]  # 7
RECEIPT = [ONE, 32, 16, UINT, 32, UINT]  # 6.2


def is_a(item, kind):
    if type(kind) is list:
        return type(item) is list and len(item) == len(kind) and all(map(is_a, item, kind))
    if type(kind) is tuple:
        return any(is_a(item, each) for each in kind)
    if type(kind) is range:
        return type(item) is int and item in kind
    return type(item) is kind if type(kind) is type else type(item) is bytes and len(item) == kind


def canonical(data, layer="cbor"):  # 2
    def known(item, depth):
        if type(item) in (list, dict):
            inner = item if type(item) is list else [*item.values()]
            keys = [cbor2.dumps(key) for key in item if type(item) is dict and type(key) in (int, str)]
            in_order = type(item) is list or len(keys) == len(item) and keys == sorted(keys)
            return (depth or not item) and in_order and all(known(each, depth - 1) for each in inner)
        return type(item) in (bytes, str, bool, NULL) or is_a(item, range(-(2**64), 2**64))

    item = None
    try:
        item = cbor2.loads(data)
        same = known(item, 7) and cbor2.dumps(item) == data
    except Exception:
        same = False
    need(same, layer, "not one item in its canonical form")
    return item


def read_key(data):  # 3.1
    xy = data[8:40] + data[43:]
    template = bytes.fromhex("a401022001215820") + xy[:32] + bytes.fromhex("225820") + xy[32:]
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + xy)
    except ValueError:
        point = None
    need(point and data == template, "key", "not the COSE_Key of a point of P-256")
    return {"xy": xy, "thumbprint": hashlib.sha256(data).digest(), "point": point}


def opened(data, tag, context, end, *values):  # 3.2, 3.3
    need(data[:1] == tag, "cose", "wrong tag")
    parts = canonical(data[1:], "cose")
    need(is_a(parts, [bytes, dict, bytes, end]) and not parts[1], "cose", "not [protected, {}, payload, end]")
    header = canonical(parts[0], "cose")
    labels = [1, 3, 4, -65537][: len(values)]
    need(type(header) is dict and [*header] == labels, "cose", "parameters missing or unknown")
    need(is_a([*header.values()], [*values]), "cose", "a parameter has another value")
    return header, parts[2], cbor2.dumps([context, parts[0], b"", parts[2]]), parts[3]


def signed(data, xy, layer, content, size_max, kinds, check):  # 3.4
    need(len(data) <= size_max, "size", "too long")
    values = range(-7, -6), range(content, content + 1), 32, [16, UINT]
    header, payload, message, end = opened(data, b"\xd2", "Signature1", 64, *values)
    (epoch, seq), fields, count = header[-65537], canonical(payload), len(kinds)
    need(type(fields) is list and is_a(fields[:count], kinds), layer, "wrong fields")
    need((fields[1] is None) == (seq == 0), layer, "a hash stands there exactly when seq is not 0")
    says = {"kid": header[4], "epoch": epoch, "seq": seq, **check(fields, seq)}
    key = read_key(cbor2.dumps({1: 2, -1: 1, -2: xy[:32], -3: xy[32:]}))
    r, s = int.from_bytes(end[:32], "big"), int.from_bytes(end[32:], "big")
    need(key["thumbprint"] == header[4], "foreign", "of another gateway")
    need(0 < r < ORDER and 0 < s <= ORDER // 2, "signature", "r or s")
    try:
        key["point"].verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except Exception:
        raise Refused("signature", "does not hold") from None
    return says


def read_batch(data, xy, columns=True):  # 5
    def check(fields, _seq):
        base, tables, events, *schema = fields[9:]
        ids = [hashlib.sha256(each).digest()[:16] if type(each) is bytes else None for each in schema]
        need(ids in ([], [fields[7]]) and len(events) <= 256, "batch", "schema or events")
        meaning = [read_schema(each) for each in schema]
        need(all(type(e) is list and e and is_a(e[0], UINT) for e in events), "batch", "an event has no kind")
        need(all(is_a(table, TABLE) and 0 < len(table[5]) <= 64 for table in tables), "batch", "not a table")
        for *_, quality, channels in tables:
            own = [each for each in channels[1:] if is_a(each, [bytes, bytes]) and each[0] != quality]
            need(all(type(each) is bytes or each in own for each in channels), "batch", "not a channel")
        need([t[0] for t in tables] == sorted({t[0] for t in tables}), "batch", "tables not in order")
        need(sum(t[1] * (1 + len(t[5])) for t in tables) <= 4096, "batch", "too many times and values")
        need(tables or base == 0, "batch", "a base time without a table")
        fit = all(t[0] < len(each) and len(t[5]) == len(each[t[0]][2]) for each in meaning for t in tables)
        need(fit, "batch", "a table does not fit its schema")
        names = "prev boot cause sampled dropped receipt_seq schema_id settings_id base_ms coded events schema"
        says = dict(zip(names.split(), [*fields[1:], None]))
        return {**says, "readings": sum(t[1] * len(t[5]) for t in tables), "hash": hashlib.sha256(data).digest()}

    says = signed(data, xy, "batch", 65101, 16384, BATCH, check)
    if not columns:
        return says
    tables = [read_table(table, says["base_ms"]) for table in says["coded"]]
    least = min((min(table[1]) for table in tables), default=says["base_ms"])
    need(least == says["base_ms"], "columns", "the base time is not the least")
    return {**says, "tables": tables}


def batch_alone(data, xy):
    return read_batch(data, xy, columns=False)


def read_schema(data):  # 4.2
    schema = canonical(data, "batch")
    need(type(schema) is list and len(schema) <= 64, "batch", "schema")
    for instrument in schema:
        good = is_a(instrument, [str, str, list]) and 0 < len(instrument[2]) <= 64
        need(good and all(is_a(each, [str, str, range(-18, 19)]) for each in instrument[2]), "batch", "schema")
    return schema


def read_beat(data, xy):  # 7
    def check(fields, next_seq):
        items = fields[11].items()
        need(len(fields) == 12 and len(items) <= 32, "beat", "too much")
        need(all(type(n) is str and type(v) is int and abs(v) < 2**62 for n, v in items), "beat", "health")
        need(fields[5] + fields[6] <= fields[4], "beat", "more buffered and dropped than sampled")
        need(all(seq is None or seq < next_seq for seq in fields[7:9]), "beat", "seqs")
        names = "head boot cause sampled dropped buffered receipt_seq oldest_held time_ms trust health"
        return dict(zip(names.split(), fields[1:]))

    return signed(data, xy, "beat", 65102, 1024, BEAT, check)


def read_receipt(data, key, gateway_id, hub_id):  # 3.5, 6.2
    header, payload, message, mac = opened(data, b"\xd1", "MAC0", 32, range(5, 6), range(65103, 65104), 32)
    need(header[4] == hub_id, "cose", "of another hub")
    need(hmac.compare_digest(hmac.new(key, message, "sha256").digest(), mac), "receipt", "the MAC does not hold")
    fields = canonical(payload)
    need(is_a(fields, RECEIPT) and fields[1] == gateway_id and len(data) <= 256, "receipt", "wrong fields")
    return dict(zip(("epoch", "seq", "batch_hash", "committed"), fields[2:]))


def check_link(before, after):  # 5.5
    start = {
        "kid": after["kid"],
        "epoch": after["epoch"],
        "seq": -1,
        "hash": None,
        "boot": 0,
        "dropped": 0,
        "sampled": 0,
        "cause": 0,
    }
    before = before or start
    same = before["kid"] == after["kid"] and before["epoch"] == after["epoch"] and before["hash"] == after["prev"]
    need(same and after["seq"] == before["seq"] + 1, "chain", "does not continue")
    grown = {name: after[name] - before[name] for name in ("boot", "sampled", "dropped")}
    need(grown["boot"] >= 0 and grown["dropped"] >= 0, "chain", "counts backwards")
    need(0 <= grown["sampled"] - after["readings"] <= grown["dropped"], "chain", "readings are missing")
    need(after["readings"] + after["dropped"] <= after["sampled"], "chain", "more lost than sampled")
    need(grown["boot"] or after["cause"] in (before["cause"], 0), "chain", "two causes of one start")
    need(after["receipt_seq"] is None or after["receipt_seq"] < after["seq"], "chain", "its own receipt")

"""Files that a stranger made to break a verifier: `hostile(seed)` gives one, of any of these ways."""

import copy
import io
import random
import zipfile

import cbor2

from crooked import parts_of
from parkgate.wire import cbor

NAMES = ("../x", "/etc/passwd", "a//b", "a\\b", ".x", "x" * 101, "a/b/c/d/e", "statement.cbor", "log/entries.bin", "C:")


def hostile(seed: int) -> bytes:
    rng = random.Random(f"hostile {seed}")
    ways = (_bytes, _bytes, _directory, _statement, _statement, _members, _names, _bombs)
    return rng.choice(ways)(rng, parts_of(seed))


def _bytes(rng, parts):
    """Bits flipped, bytes cut out, doubled or put in, anywhere."""
    data = bytearray(parts.write())
    for _ in range(rng.choice((1, 1, 2, 20))):
        at = rng.randrange(len(data))
        way = rng.randrange(4)
        if way == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            del data[at : at + rng.randrange(1, 50)]
        elif way == 2:
            data[at:at] = data[at : at + rng.randrange(1, 500)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(data)


def _directory(rng, parts):
    """The list of files and the end of it."""
    data = bytearray(parts.write())
    start = data.rindex(b"PK\1\2") if rng.random() < 0.5 else data.index(b"PK\1\2")
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(start, len(data))
        data[at] = rng.choice((0, 1, 255, rng.randrange(256)))
    return bytes(data)


def _statement(rng, parts):
    """Fields of the statement replaced by others, signed all the same."""
    from host_tools.archive import writer

    told = cbor.decode(writer.statement(parts.coverage, parts.gateways, [], parts.key.xy))
    for _ in range(rng.randrange(1, 3)):
        _spoil(rng, told)
    return _with_statement(parts, rng, cbor2.dumps(told, canonical=True))


def _with_statement(parts, rng, payload):
    from host_tools.archive import writer

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, pieces in parts.members.items():
            file.writestr(zipfile.ZipInfo(name), b"".join(pieces))
        signed = payload if rng.random() < 0.3 else writer.sign(payload, parts.key)
        file.writestr(zipfile.ZipInfo("statement.cbor"), signed)
    return out.getvalue()


ITEMS = (None, True, 0, 1, -1, 1 << 61, 1 << 63, b"", bytes(16), bytes(32), bytes(64), "", "x", [], [[]], [0, 0],
         [[5, 2]], [[0, 1 << 61]], {}, {"a": 1}, [[0, "enrolled", "x"]], [[0, "revoked", "x"]], ["x"] * 5)  # fmt: skip


def _spoil(rng, item):
    while True:
        keys = list(item) if type(item) is dict else list(range(len(item)))
        if not keys:
            return
        key = rng.choice(keys)
        if type(item[key]) in (dict, list) and item[key] and rng.random() < 0.8:
            item = item[key]
            continue
        if rng.random() < 0.1 and type(item) is dict:
            del item[key]
        elif type(item[key]) is int and rng.random() < 0.5:
            item[key] += rng.choice((-1, 1, 1000))
        else:
            item[key] = copy.deepcopy(rng.choice(ITEMS))
        return


def _members(rng, parts):
    """Members filled with something else, or with a hundred times the same."""
    names = list(parts.members)
    name = rng.choice(names)
    data = b"".join(parts.members[name])
    other = b"".join(parts.members[rng.choice(names)])
    ways = (other, data * 20, rng.randbytes(500), data[::-1], data + b"\xd2\x84\x59\xff\xff")
    parts.members[name] = [rng.choice(ways)]
    if rng.random() < 0.3:
        parts.members["log/checkpoint.cose"] = [rng.choice((data, rng.randbytes(60)))]
        parts.members["log/entries.bin"] = [rng.randbytes(rng.choice((0, 31, 32, 64)))]
    return parts.write()


def _names(rng, parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in [rng.choice(NAMES), "statement.cbor"]:
            if name not in file.namelist():
                file.writestr(zipfile.ZipInfo(name), rng.randbytes(9))
    return out.getvalue()


def _bombs(rng, parts):
    """What would grow: compressed zeros, deep nesting, claimed lengths, very many runs."""
    way = rng.randrange(5)
    if way == 0:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("statement.cbor", bytes(30 << 20))
        return out.getvalue()
    payload = b"\x81" * rng.choice((7, 8, 9, 100_000))
    if way == 1:
        payload = b"\xa1" + b"\x61a" * 3 + b"\xbb" + b"\xff" * 8
    elif way == 2:
        payload = b"\x9b\x7f" + b"\xff" * 7 + b"\x00" * 100
    elif way == 3:
        one = parts.gateways[0]
        runs = [(3 * n, 3 * n) for n in range(150_000)]
        parts.gateways[0] = one._replace(chains=[one.chains[0]._replace(runs=runs)])
        return parts.write()
    return _with_statement(parts, rng, payload)

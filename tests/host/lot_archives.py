"""Proofs of lots for tests: an honest one from a hub, and the parts to make tampered ones of it."""

import io
import zipfile
from types import SimpleNamespace

from archives import HubKey, rewritten
from host_tools.archive import writer
from parkgate.wire import cbor

SEWN = "SHIRT-1"


def members(data):
    """Name → bytes of the members of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def resigned(data, changed, key: HubKey, tell=lambda told: None):
    """An archive with some members changed (None: left out), under a statement that fits, signed by `key`: what a
    dishonest hub can make. `tell(told)` changes the statement further."""
    files = {**members(data), **changed}
    told = cbor.decode(_payload(files.pop("statement.cbor")))
    told["members"] = [[name, len(body), writer.hashlib.sha256(body).digest()] for name, body in files.items() if body]
    told["key"] = key.xy
    tell(told)
    signer = SimpleNamespace(id=key.id, sign=key.sign)
    return rewritten(data, {**changed, "statement.cbor": writer.sign(cbor.encode(told), signer)})


def _payload(statement):
    return cbor.decode(statement[1:])[2] if statement[:1] == b"\xd2" else statement


def with_lots(data, key, change):
    """The archive with its list of lots changed by `change(lots)`, signed anew."""
    lots = cbor.decode(members(data)["lots.cbor"])
    change(lots)
    return resigned(data, {"lots.cbor": cbor.encode(lots)}, key)

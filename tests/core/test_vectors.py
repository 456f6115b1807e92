"""All vectors of tests/vectors: each is refused by the very layer it names, or says what it says.

The layers are tried in the order in which a hub or gateway meets them; a vector that is refused too early is as wrong
as one that passes, because then something else is broken in it than its fact.
"""

import json
import os

from check import equal, true
from parkgate.errors import FormatError, IntegrityError
from parkgate.wire import batch, beat, cbor, cose, p256, receipt

FOLDER = __file__[: -len("core/test_vectors.py")] + "vectors/"
REFUSALS = (FormatError, IntegrityError)


class Refused(Exception):
    """Ends a walk through the layers: its first argument is the one that refused."""


def at(layer, fn, *args):
    """What `fn(*args)` gives; Refused(layer) when it refuses by an error of ours. Any other error goes through."""
    try:
        return fn(*args)
    except REFUSALS as error:
        raise Refused(layer, str(error)) from None


def unhex(vector, name):
    return bytes.fromhex(vector[name])


def plain(item):
    """An item as it stands in JSON: byte strings as hexadecimal text."""
    if isinstance(item, (bytes, bytearray)):
        return item.hex()
    if isinstance(item, dict):
        return {name: plain(each) for name, each in item.items()}
    return [plain(each) for each in item] if isinstance(item, list) else item


def walk_cbor(vector, data):
    equal(cbor.encode(at("cbor", cbor.decode, data)), data)


def walk_key(vector, data):
    xy = at("key", cose.decode_key, data)
    if not p256.on_curve(xy):
        raise Refused("key", "not on the curve")
    return {"xy": xy.hex(), "thumbprint": cose.thumbprint(xy).hex()}


def walk_column(vector, data):
    return {"values": at("columns", batch.decode_column, data, vector["count"])}


def verified(vector, data, size_max, content_type, layer, form):
    """A batch or beat whose signature holds: SPEC 5.6, steps 1 to 6."""
    if len(data) > size_max:
        raise Refused("size", len(data))
    sign1 = at("cose", cose.Sign1, data, content_type)
    at("cbor", cbor.decode, sign1.payload)
    message = at(layer, form, data)
    key = unhex(vector, "public_key")
    if sign1.kid != cose.thumbprint(key):
        raise Refused("foreign", "of another gateway")
    if not p256.verify(key, sign1.digest(), sign1.signature):
        raise Refused("signature", "does not hold")
    return message


def table_says(instrument, times, trust, quality, values):
    channels = [[list(codes or bytes(len(times))), column] for codes, column in zip(quality, values)]
    return [instrument, times, list(trust), channels]


def walk_batch(vector, data):
    message = verified(vector, data, batch.MAX_BATCH_BYTES, cose.BATCH_TYPE, "batch", batch.Batch)
    tables = [table_says(*table) for table in at("columns", batch.decode_tables, message)]
    return {
        "epoch": message.sign1.epoch.hex(),
        "seq": message.sign1.seq,
        "tables": tables,
        "events": plain(message.events),
        "schema": plain(message.schema),
        "readings": message.readings,
    }


def walk_beat(vector, data):
    message = verified(vector, data, beat.MAX_BEAT_BYTES, cose.BEAT_TYPE, "beat", beat.Beat)
    return {
        "epoch": message.sign1.epoch.hex(),
        "seq": message.sign1.seq,
        "sampled": message.sampled,
        "buffered": message.buffered,
        "health": message.health,
    }


def walk_chain(vector, messages):
    before = before_hash = None
    for data in messages:
        after = at("batch", batch.Batch, data)
        at("chain", batch.check_link, before, before_hash, after)
        before, before_hash = after, batch.chain_hash(data)


def walk_receipt(vector, data):
    hub_id, gateway_id, key = [unhex(vector, name) for name in ("hub_id", "gateway_id", "receipt_key")]
    try:
        payload = cose.open_mac0(key, hub_id, cose.RECEIPT_TYPE, data)
    except FormatError as error:
        raise Refused("cose", str(error)) from None
    except IntegrityError as error:
        raise Refused("receipt", str(error)) from None
    at("cbor", cbor.decode, payload)
    epoch, seq, batch_hash, committed = at("receipt", receipt.decode_receipt, key, hub_id, gateway_id, data)
    return {"epoch": epoch.hex(), "seq": seq, "batch_hash": batch_hash.hex(), "committed": committed}


def walk_receipt_key(vector):
    shared = p256.ecdh(unhex(vector, "private"), unhex(vector, "public"))
    key = receipt.shared_key(shared, unhex(vector, "gateway_id"), unhex(vector, "hub_id"))
    return {"receipt_key": key.hex()}


WALKS = {
    "cbor": walk_cbor,
    "key": walk_key,
    "column": walk_column,
    "batch": walk_batch,
    "beat": walk_beat,
    "receipt": walk_receipt,
}


def walk(vector):
    """(layer that refused it, or "good"; what it says, or why it was refused)"""
    messages = [bytes.fromhex(message) for message in vector["messages"]]
    try:
        if vector["kind"] == "chain":
            return "good", walk_chain(vector, messages)
        if vector["kind"] == "receipt_key":
            return "good", walk_receipt_key(vector)
        return "good", WALKS[vector["kind"]](vector, messages[0])
    except Refused as refused:
        return refused.args


def vectors():
    for name in sorted(os.listdir(FOLDER)):
        if name.endswith(".json"):
            with open(FOLDER + name) as file:
                yield name, json.load(file)


def check_kind(*kinds):
    """Walk all vectors of these kinds."""
    count = 0
    for name, vector in vectors():
        if vector["kind"] in kinds:
            count += 1
            layer, result = walk(vector)
            equal(layer, vector["layer"], "%s: %s (%s)" % (name, vector["fact"], result))
            for what, want in vector.get("says", {}).items():
                equal(result[what], want, "%s: %s" % (name, what))
    true(count > 1, count)


def test_cbor():
    check_kind("cbor")


def test_keys():
    check_kind("key", "receipt_key")


def test_columns():
    check_kind("column")


def test_batches():
    check_kind("batch")


def test_chains():
    check_kind("chain")


def test_beats():
    check_kind("beat")


def test_receipts():
    check_kind("receipt")


def test_there_are_enough():
    layers = {}
    for _, vector in vectors():
        layers[vector["layer"]] = layers.get(vector["layer"], 0) + 1
    for layer in ("good", "cbor", "key", "cose", "batch", "beat", "receipt", "signature", "chain", "columns"):
        true(layers.get(layer, 0) >= 5, "%s: %d vectors" % (layer, layers.get(layer, 0)))
    true("size" in layers and "foreign" in layers, layers)
    true(sum(layers.values()) >= 200, layers)

"""A list of vectors: each is a small function that gives the message (or messages), under a line that says its fact.

    @vector("batch", "cose", "3.3", "the algorithm stands in the unprotected header")
    def alg_unprotected():
        return sign1(…)

becomes the file `cose_alg_unprotected.json`. The first word is what the message is to be read as (its kind), the
second the layer that must refuse it: it passes every layer before. A good one has "good" there, and gives what it
says beside the message.
"""

import json

from .forms import GATEWAY

GOOD = "good"
LAYERS = (
    GOOD, "size", "cose", "cbor", "key", "batch", "beat", "receipt", "foreign", "signature", "chain", "columns",
)  # fmt: skip
KINDS = ("cbor", "key", "column", "batch", "chain", "beat", "receipt", "receipt_key")

VECTORS = {}  # name → function that gives the vector as a dict


def vector(kind: str, layer: str, spec: str, fact: str, **more):
    """Register the function below. It returns bytes, a list of bytes, or either with a dict of what they say."""
    if kind not in KINDS or layer not in LAYERS:
        raise ValueError(f"no such kind or layer: {kind}, {layer}")

    def register(make):
        name = f"{layer}_{make.__name__}"
        if name in VECTORS:
            raise ValueError(f"two vectors are called {name}")

        def build() -> dict:
            made = make()
            messages, says = made if isinstance(made, tuple) else (made, None)
            if isinstance(messages, bytes):
                messages = [messages]
            described = {"fact": fact, "spec": spec, "kind": kind, "layer": layer}
            if kind in ("batch", "chain", "beat"):
                described["public_key"] = GATEWAY.xy.hex()
            described.update(_hex(more))
            described["messages"] = [message.hex() for message in messages]
            if says is not None:
                described["says"] = _hex(says)
            return described

        VECTORS[name] = build
        return make

    return register


def _hex(item):
    """Byte strings as hexadecimal text, all through."""
    if isinstance(item, bytes):
        return item.hex()
    if isinstance(item, dict):
        return {name: _hex(each) for name, each in item.items()}
    if isinstance(item, (list, tuple)):
        return [_hex(each) for each in item]
    return item


def text(described: dict) -> str:
    """A vector as it stands in its file."""
    lines = [f' "{name}": {json.dumps(part, ensure_ascii=False)}' for name, part in described.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"

"""Archives whose hub had another log key before, by the word of the park's root (SPEC 3.7), honest and crooked."""

from hashlib import sha256

import cbor2

import root_vectors as root
from archives import HubKey, Parts, Plant
from crooked_log import Log


def with_root(key, first=None, second=None, old=None, statement_by=None):
    """(archive, id of the root): the hub had the key `old`, and document 2 names `key`. `first` and `second` change
    what `root_vectors.payload` and `document` are given."""
    old = old or HubKey(9)
    plant = Plant(94, 6)
    made = Parts([plant], key)
    log = Log(made)
    log.say(
        "next key", {"gateway": plant.gateway.id, "next": bytes(32)}, key=statement_by or old, log=bytes(16), index=3
    )
    made.members.update(log.members())
    documents: list[bytes] = []
    for number, named, change in ((1, old, first or {}), (2, key, second or {})):
        prior = sha256(documents[-1]).digest() if documents else None
        names = {"number": number, "log": named.xy, "prior": prior, **change.get("payload", {})}
        documents.append(root.document(root.payload(**names), **change.get("document", {})))
    made.members["root.cbor"] = [cbor2.dumps(documents)]
    return made, root.root_id(root.ROOT).hex()


def register(kind):
    """Add the kinds: each gets the reason that it must get."""

    @kind("root_signature")
    def a_root_document_by_one_key(rng, parts, honest):
        by = rng.choice([(root.ROOT[0], root.NEXT[1]), (root.ROOT[1], root.ROOT[1]), root.NEXT[:2]])
        return _two(parts, {"document": {"by": by}})

    @kind("root_signature")
    def a_root_document_with_a_bit_changed(rng, parts, honest):
        made, trust = with_root(parts.key)
        data = bytearray(made.members["root.cbor"][0])
        data[-1 - rng.randrange(32)] ^= 1 << rng.randrange(3)
        made.members["root.cbor"] = [bytes(data)]
        return made.write(), [trust]

    @kind("root_key")
    def the_key_of_before_signs_on(rng, parts, honest):
        return _two(parts, {"payload": {"log": HubKey(rng.randrange(20, 90)).xy}})

    @kind("root_order")
    def a_root_document_left_out(rng, parts, honest):
        made, trust = with_root(parts.key)
        documents = cbor2.loads(made.members["root.cbor"][0])
        made.members["root.cbor"] = [cbor2.dumps(documents[1:])]
        return made.write(), [trust]

    @kind("root_order")
    def a_root_document_of_another_root(rng, parts, honest):
        change = rng.choice([
            {"payload": {"keys": root.NEXT}, "document": {"by": root.NEXT[:2]}},
            {"payload": {"prior": bytes(32)}}, {"payload": {"number": rng.randrange(3, 99)}},
        ])  # fmt: skip
        return _two(parts, change)

    @kind("root_malformed")
    def a_root_document_in_another_form(rng, parts, honest):
        change = rng.choice([
            {"document": {"content_type": 65106}}, {"document": {"by": root.ROOT[:1]}}, {"payload": {"version": 2}},
            {"payload": {"log": bytes(63) + b"\x01"}}, {"payload": {"prior": None}}, {"payload": {"made": -1}},
        ])  # fmt: skip
        return _two(parts, change)

    @kind("root_malformed")
    def root_documents_that_are_none(rng, parts, honest):
        made, trust = with_root(parts.key)
        made.members["root.cbor"] = [rng.choice([b"\x80", b"\x81\x01", b"\xa0", b"\x00", b"\x81\x41", b"\x9f\xff"])]
        return made.write(), [trust]

    @kind("hub_statement_signature")
    def a_statement_by_a_key_that_no_document_names(rng, parts, honest):
        made, trust = with_root(parts.key, statement_by=HubKey(rng.randrange(20, 90)))
        return made.write(), [trust]


def _two(parts, change):
    made, trust = with_root(parts.key, second=change)
    return made.write(), [trust]

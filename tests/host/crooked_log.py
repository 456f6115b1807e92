"""A small log of a hub for archives in tests: batches, statements of the hub and strangers' entries."""

import hashlib

from archives import Parts, Plant, digest
from batches import START_MS
from parkgate.wire import cbor, cose


class Log:
    """A log with the batches of some parts, and strangers' entries between them."""

    def __init__(self, parts, first=0, ahead=5):
        entries = [digest(b"%d" % n) for n in range(ahead)]
        for place in range(len(parts.gateways)):
            entries += [digest(data) for data in parts.batches(place)]
        self.entries, self.first, self.key, self.id = entries, first, parts.key, bytes(range(16))
        self.statements: list = []

    def say(self, kind, facts, **fields):
        """The hub signs a statement, the next leaf. `key`, `log`, `index` and `payload` may be wrong."""
        payload = fields.get("payload", cbor.encode([1, kind, START_MS, "ana", facts]))
        key, place = fields.get("key", self.key), [fields.get("log", self.id), fields.get("index", len(self.entries))]
        protected = bytes.fromhex("a401260319fe52045820") + key.id + bytes.fromhex("3a00010000") + cbor.encode(place)
        data = cose.sign1_join(protected, payload, key.sign(cose.sign1_digest(protected, payload)))
        self.entries.append(digest(data))
        self.statements.append(data)

    def root(self, size=None):
        return root([hashlib.sha256(b"\0" + entry).digest() for entry in self.entries[:size]])

    def members(self, **fields):
        size = len(self.entries)
        payload = fields.get("root", self.root())
        protected = bytes.fromhex("a40126045820") + self.key.id + bytes.fromhex("19018b013a000100008250") + self.id
        protected += cbor.encode(size)
        signature = self.key.sign(cose.sign1_digest(protected, payload))
        frontier, at = [], 0
        for bit in range(61, -1, -1):
            if self.first >> bit & 1:
                leaves = self.entries[at : at + (1 << bit)]
                frontier.append(root([hashlib.sha256(b"\0" + entry).digest() for entry in leaves]))
                at += 1 << bit
        checkpoint = cose.sign1_join(protected, payload, fields.get("signature", signature))
        return {"log/checkpoint.cose": [checkpoint], "log/frontier.bin": frontier,
                "log/entries.bin": self.entries[self.first :], "log/statements.cbor": self.statements}  # fmt: skip


def root(nodes):
    """RFC 9162 section 2.1.1, from the hashes of the leaves."""
    if len(nodes) < 2:
        return nodes[0] if nodes else hashlib.sha256(b"").digest()
    k = 1 << (len(nodes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(nodes[:k]) + root(nodes[k:])).digest()


def with_log(rng, parts, change=None, claim=True, **fields):
    """An archive with a log that a gateway has confirmed, and in which the hub says something."""
    plant = Plant(85, 6)
    made = Parts([plant], parts.key)
    log = Log(made, first=rng.randrange(5))
    log.say("hub started", {"after": "crash", "leaves": 7, "more": {1: [b"x", None], "a": -5}})
    log.say("enrolled", {"gateway": plant.gateway.id, "from_ms": START_MS}, log=bytes(16), index=0)  # of a log before
    if claim:
        seen = len(log.entries)
        plant.more(events=[[32, seen, fields.get("claimed", log.root())]])
        plant.beats = [plant.gateway.beat(time_ms=plant.time_ms)]
        made = Parts([plant], parts.key)
        log.entries.append(digest(plant.sealed[-1]))
    if change:
        change(log)
    made.members.update(log.members(**{k: v for k, v in fields.items() if k != "claimed"}))
    return made.write(), [parts.key.id.hex()]


def with_stamps(key, stamps, batches=3, from_ms=START_MS, every_ms=900_000, first=0):
    """An archive of one gateway: some batches, the first stamp, batches that quote the log behind it, the second stamp.
    `stamps` are two functions (log id, size, root) → facts of a statement `stamped`; None for none."""
    plant = Plant(88, batches, every_ms, from_ms)
    log, told = Log(Parts([plant], key), first), []

    def say(make):
        if make is not None:
            size = len(log.entries)
            log.say("stamped", make(log.id, size, log.root()))

    say(stamps[0])
    for number in range(batches):
        plant.more(events=[] if number else [[32, len(log.entries), log.root()]])
        log.entries.append(digest(plant.sealed[-1]))
    say(stamps[1])
    told.append(plant.gateway.beat(time_ms=plant.time_ms))
    plant.beats = told
    made = Parts([plant], key)
    made.members.update(log.members())
    return made.write()


PLACE = bytes(range(100, 116))


def with_exchange(key, change=None, first=0):
    """An archive in which one gateway took the place of another, with the facts of each statement as `change` leaves
    them: (archive, statements as [kind, facts])."""
    old, new = Plant(86, 6), Plant(87, 6, start_ms=START_MS + 6 * 900_000)
    made = Parts([old, new], key)
    at_ms = START_MS + 6 * 900_000
    register = ["press", "import_active_energy", "kWh", 2]
    last = [old.time_ms - 300_000, old.energy - 17]
    behind = [at_ms, 100_000 * 87]
    told = [
        ["place added", {"name": "Hall 3", "gateway": old.gateway.id, "from_ms": 0}],
        ["place renamed", {"before": "Hall 3", "name": "Foundry"}],
        ["replaced", {"before": old.gateway.id, "gateway": new.gateway.id, "at_ms": at_ms,
                      "registers": [[*register, *last, None, None]]}],
        ["exchange read", {"before": old.gateway.id, "gateway": new.gateway.id, "at_ms": at_ms,
                           "registers": [[*register, *last, *behind]]}],
    ]  # fmt: skip
    if change:
        change(told)
    log, prior = Log(made, first), None
    for kind, facts in told:
        log.say(kind, {"place": PLACE, "prior": prior, **facts})
        prior = log.entries[-1]
    made.members.update(log.members())
    return made.write()

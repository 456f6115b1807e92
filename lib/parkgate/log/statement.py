"""What the hub itself says, signed by its log key: enrolments, starts, what operators did (SPEC 13.5).

A COSE_Sign1 like a batch, with its own content type; its position is [log id, leaf index], so it stands in one place.
Its payload is [1, kind, time, by, facts]: kind and facts in words, as it must be clear in ten years.
"""

from parkgate.errors import FormatError
from parkgate.wire import cbor, cose

CONTENT_TYPE = 65106
VERSION = 1
STATEMENT_BYTES_MAX = 16384
KIND_CHARACTERS_MAX = 64

LOG_BEGUN = "log begun"  # {key, ed25519, hub, hub_key, why, before: [log id, size, root] or null}; always leaf 0
HUB_STARTED = "hub started"  # {version, after: how the last run ended, leaves}
HUB_STOPPED = "hub stopped"  # {}
SETTING = "setting"  # {name, before, value}
EPOCH_SEEN = "epoch seen"  # {gateway, epoch, before: [epoch, seq, hash] or null}
ENROLLED = "enrolled"  # {gateway, key, name, place or null}
RENAMED = "renamed"  # {gateway, before, name}
REVOKED = "revoked"  # {gateway, name, from_ms}: what it signed before stays valid
RESTORED = "restored"  # {gateway, name}
# Of places: each has `place` (16 bytes) and `prior`, the hash of the place's statement before it (null in the first).
PLACE_ADDED = "place added"  # {name}, and {gateway, from_ms} where one stands there from the beginning
PLACE_RENAMED = "place renamed"  # {before, name}
PLACE_CLOSED = "place closed"  # {}
PLACED = "gateway placed"  # {gateway, from_ms}: its readings from then on belong to the place
TAKEN_AWAY = "gateway taken away"  # {gateway, to_ms}
REPLACED = (
    "replaced"  # {before, gateway, at_ms, registers: [[instrument, quantity, unit, scale, ms, before, ms, after]]}
)
EXCHANGE_READ = "exchange read"  # the same facts, when the new gateway's first registers are known
OF_PLACES = (PLACE_ADDED, PLACE_RENAMED, PLACE_CLOSED, PLACED, TAKEN_AWAY, REPLACED, EXCHANGE_READ)
ROOT_DOCUMENT = "root document"  # {serial, document: as signed}: the hub took it
NEXT_KEY = "next key"  # {gateway, next: id of the key that will follow the first}; once a gateway
ROTATED = "rotated"  # {gateway, before: id of the old key, key, next, batch: [epoch, seq, hash] that says so}
ALARMS_CLEARED = "alarms cleared"  # {gateway, alarms: [[kind, count, what], …]}
ALARM_ACKNOWLEDGED = "alarm acknowledged"  # {alarm: its number, kind, what, word}: by whom stands in `by`
# People at the hub's page: {account, role, places} of the first two, {account, what} of a change; {account, address}
ACCOUNT_ADDED, ACCOUNT_REMOVED, ACCOUNT_CHANGED = "account added", "account removed", "account changed"
SIGNED_IN, SIGN_IN_SLOWED = "signed in", "sign-in slowed"
OPERATOR_ADDED, OPERATOR_REMOVED = "operator added", "operator removed"  # {operator}
METER_REGISTERED = "meter registered"  # {gateway, place or null, instrument, prior, record: {field: text}}
BASELINE_SET = "baseline set"  # {name, sha256, place, from, to}: days as text
BASELINE_ADJUSTED = "baseline adjusted"  # {baseline: its sha256, name, from, to, kwh, reason}: text
EVIDENCE_PACK = "evidence pack"  # {place, name, from, to, members: [[name, size, sha256], …]}: days as text
# What an operator removed (retention): {gateway, before_ms, why, chains: [[epoch, [[first, last], …]], …], batches,
# readings}; and what forbids it: {place, hold, from_ms, to_ms or null, why}, {place, hold, why}
READINGS_REMOVED, LEGAL_HOLD, HOLD_RELEASED = "readings removed", "legal hold", "hold released"
STAMPED = "stamped"  # {log, size, root, authority, token}

_FACTS = {  # names and types of facts that a statement of this kind must have; more are allowed
    LOG_BEGUN: (("key", 64), ("ed25519", 32), ("hub", 32), ("hub_key", 64), ("why", str)),
    EPOCH_SEEN: (("gateway", 32), ("epoch", 16)),
    ENROLLED: (("gateway", 32), ("key", 64), ("name", str)),
    RENAMED: (("gateway", 32), ("before", str), ("name", str)),
    REVOKED: (("gateway", 32), ("from_ms", int), ("name", str)),
    RESTORED: (("gateway", 32), ("name", str)),
    PLACE_ADDED: (("place", 16), ("name", str)),
    PLACE_RENAMED: (("place", 16), ("before", str), ("name", str)),
    PLACE_CLOSED: (("place", 16),),
    PLACED: (("place", 16), ("gateway", 32), ("from_ms", int)),
    TAKEN_AWAY: (("place", 16), ("gateway", 32), ("to_ms", int)),
    REPLACED: (("place", 16), ("before", 32), ("gateway", 32), ("at_ms", int), ("registers", list)),
    EXCHANGE_READ: (("place", 16), ("before", 32), ("gateway", 32), ("at_ms", int), ("registers", list)),
    METER_REGISTERED: (("gateway", 32), ("instrument", str), ("record", dict)),
    ROOT_DOCUMENT: (("serial", int), ("document", bytes)),
    NEXT_KEY: (("gateway", 32), ("next", 32)),
    ROTATED: (("gateway", 32), ("before", 32), ("key", 64), ("next", 32), ("batch", list)),
    BASELINE_SET: (("name", str), ("sha256", 32), ("place", 16), ("from", str), ("to", str)),
    BASELINE_ADJUSTED: (("baseline", 32), ("from", str), ("to", str), ("kwh", str), ("reason", str)),
    EVIDENCE_PACK: (("place", 16), ("name", str), ("from", str), ("to", str), ("members", list)),
    READINGS_REMOVED: (("gateway", 32), ("before_ms", int), ("why", str), ("chains", list), ("batches", int)),
    LEGAL_HOLD: (("place", 16), ("hold", int), ("from_ms", int), ("why", str)),
    HOLD_RELEASED: (("place", 16), ("hold", int), ("why", str)),
    STAMPED: (("log", 16), ("size", int), ("root", 32), ("token", bytes)),
}


def encode_payload(kind: str, time_ms: int, by, facts: dict) -> bytes:
    """`time_ms` is the hub's Unix time, `by` who did it, or None for the hub itself. Raises FormatError when facts that
    the kind must have are missing or of another type."""
    _check(kind, time_ms, by, facts)
    return cbor.encode([VERSION, kind, time_ms, by, facts])


def protected_header(kid: bytes, log_id: bytes, index: int) -> bytes:
    """The protected header of the statement that becomes leaf `index`."""
    return cose.sign1_protected(kid, CONTENT_TYPE, log_id, index)


class Statement:
    """A hub statement taken apart: `kid`, `log_id`, `index`, `kind`, `time_ms`, `by`, `facts`, `sign1`. Well formed,
    not verified."""

    def __init__(self, data: bytes):
        if len(data) > STATEMENT_BYTES_MAX:
            raise FormatError("a statement of %d bytes" % len(data))
        self.sign1 = cose.Sign1(data, CONTENT_TYPE)
        self.kid, self.log_id, self.index = self.sign1.kid, self.sign1.epoch, self.sign1.seq
        fields = cbor.expect_array(self.sign1.payload, VERSION, (5,), "statement")
        _, self.kind, self.time_ms, self.by, self.facts = fields
        _check(self.kind, self.time_ms, self.by, self.facts)


def _check(kind, time_ms, by, facts):
    if type(kind) is not str or not 0 < len(kind) <= KIND_CHARACTERS_MAX:
        raise FormatError("statement: its kind is text")
    cbor.expect_uint(time_ms, "statement: time")
    if by is not None and type(by) is not str:
        raise FormatError("statement: who did it is text or null")
    if type(facts) is not dict or any([type(name) is not str for name in facts]):
        raise FormatError("statement: facts have names")
    for name, form in _FACTS.get(kind, ()):
        fact = facts.get(name)
        right = type(fact) is bytes and len(fact) == form if type(form) is int else type(fact) is form
        if not right:
            raise FormatError("statement: %s wants a %s" % (kind, name))

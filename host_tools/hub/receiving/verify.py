"""Whose message is this, and is it signed as it must be? Strict, cheapest question first; every refusal has a
name.

topic            not a topic of ours
unknown gateway  the topic names a gateway that is not enrolled
revoked          the gateway was enrolled and is not welcome any more
oversized        longer than the format allows
malformed        not in the one canonical form of a batch or beat
foreign          signed by another gateway than the topic names, or with a key whose time it is not
signature        the signature does not hold, or is not the one canonical form (high s)
fork             signed as it must be, but contradicts what is held (decided in `accept`)
scattered        would leave more holes in its chain than the hub keeps account of: the gateway sends it again later
internal         the hub itself failed on it; the log has the traceback
"""

from host_tools.base.keys import Verifier
from host_tools.hub.receiving.state import Gateway
from parkgate.errors import FormatError, IntegrityError
from parkgate.wire.batch import MAX_BATCH_BYTES, Batch
from parkgate.wire.beat import MAX_BEAT_BYTES, Beat

TOPIC, UNKNOWN, REVOKED, OVERSIZED, MALFORMED = (
    "topic",
    "unknown gateway",
    "revoked",
    "oversized",
    "malformed",
)
FOREIGN, SIGNATURE, FORK, SCATTERED, INTERNAL = "foreign", "signature", "fork", "scattered", "internal"
REASONS = (TOPIC, UNKNOWN, REVOKED, OVERSIZED, MALFORMED, FOREIGN, SIGNATURE, FORK, SCATTERED, INTERNAL)

_FORMS = {"batch": (Batch, MAX_BATCH_BYTES), "beat": (Beat, MAX_BEAT_BYTES)}


class Refusal(Exception):
    """A message that does not become data: `reason` is one of REASONS, `gateway` the one it is charged to or
    None."""

    def __init__(self, reason: str, what: str, gateway: Gateway | None = None):
        super().__init__(what)
        self.reason, self.what, self.gateway = reason, what, gateway


def holds(xy: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a signature holds under a key."""
    try:
        Verifier(xy).check(digest, signature)
    except (FormatError, IntegrityError):
        return False
    return True


def verify(by_topic: dict[str, Gateway], topic: str, data: bytes) -> tuple[Gateway, "Batch | Beat"]:
    """(gateway, Batch or Beat) of a message that is exactly what its topic says. Raises Refusal."""
    parts = topic.split("/")
    if len(parts) != 3 or parts[0] != "tele" or parts[2] not in _FORMS:
        raise Refusal(TOPIC, f"topic {topic[:80]!r} is not tele/<gateway>/batch or …/beat")
    gateway = by_topic.get(parts[1])
    if gateway is None:
        raise Refusal(UNKNOWN, f"no gateway {parts[1][:40]!r} is enrolled here")
    if gateway.revoked_unix_ms is not None:
        raise Refusal(REVOKED, f"{gateway.name} was revoked", gateway)
    form, limit = _FORMS[parts[2]]
    if len(data) > limit:
        raise Refusal(OVERSIZED, f"{len(data)} bytes; a {parts[2]} has at most {limit}", gateway)
    try:
        message = form(data)
    except FormatError as error:
        raise Refusal(MALFORMED, str(error), gateway) from None
    sign1 = message.sign1
    key = gateway.key_of(sign1.kid, sign1.epoch, sign1.seq, parts[2] == "beat")
    if isinstance(key, str):
        raise Refusal(FOREIGN, key, gateway)
    try:
        key.verifier().check(sign1.digest(), sign1.signature)
    except IntegrityError as error:
        raise Refusal(SIGNATURE, str(error), gateway) from None
    return gateway, message

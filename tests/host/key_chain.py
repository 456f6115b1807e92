"""Gateways whose keys follow each other (SPEC 3.6), for tests."""

from cryptography.hazmat.primitives.asymmetric import ec

from archives import Parts, Plant
from batches import FakeGateway, sign
from crooked_log import Log
from host_tools.base.keys import public_xy
from parkgate.log import rotation
from parkgate.wire import cose


class Keys:
    """The keys of one gateway, made ahead."""

    def __init__(self, gateway: FakeGateway, count: int = 4):
        self.gateway = gateway
        numbers = [int.from_bytes(gateway.id[:8], "big") * 1000 + 7 + i for i in range(count)]
        self.private = [gateway.private] + [ec.derive_private_key(n, ec.SECP256R1()) for n in numbers]
        self.xy = [public_xy(key) for key in self.private]
        self.ids = [cose.thumbprint(xy) for xy in self.xy]
        self.at = 0

    def event(self) -> list:
        """The event that brings the next key into use."""
        at = self.at
        digest = rotation.digest(self.gateway.id, self.ids[at], self.ids[at + 2])
        return [34, self.xy[at + 1], self.ids[at + 2], sign(self.private[at + 1], digest)]

    def rotate(self) -> bytes:
        """The last batch of the key in use; the ones after it are signed by the next."""
        sealed = self.batch(events=[self.event()])
        self.at += 1
        return sealed

    def batch(self, **fields) -> bytes:
        gateway = self.gateway
        private, kid, gateway.private = gateway.private, gateway.id, self.private[self.at]
        gateway.seal = lambda payload, **more: FakeGateway.seal(gateway, payload, kid=self.ids[self.at], **more)  # type: ignore[method-assign]
        try:
            return FakeGateway.batch(gateway, **fields)
        finally:
            gateway.private = private
            del gateway.seal
            assert gateway.id == kid


def with_keys(key, change=None, committed=True):
    """An archive of a gateway that rotated twice: batches 0 and 1 by its first key, 2 and 3 by the second, 4 and 5 by
    the third. `change(keys, event)` makes another event of the first rotation."""
    plant = Plant(89, 0)
    keys = Keys(plant.gateway)
    plant.gateway.batch = keys.batch  # type: ignore[method-assign]
    plant.more()
    for number in range(2):
        event = keys.event()
        plant.more(events=[change(keys, event) if change and not number else event])
        keys.at += 1
        plant.more()
    plant.more()
    plant.beats = [beat_by(keys, plant)]
    made = Parts([plant], key)
    log = Log(made)
    if committed:
        log.say("next key", {"gateway": plant.gateway.id, "next": keys.ids[1]})
    made.members.update(log.members())
    made.members[f"gateways/{plant.gateway.id.hex()}/rotations.cbor"] = [plant.sealed[1], plant.sealed[3]]
    return made, keys


def beat_by(keys, plant):
    """The newest beat, by the key in use."""
    gateway = plant.gateway
    gateway.private, private = keys.private[keys.at], gateway.private
    gateway.id, kid = keys.ids[keys.at], gateway.id
    try:
        return gateway.beat(time_ms=plant.time_ms, buffered=0)
    finally:
        gateway.private, gateway.id = private, kid

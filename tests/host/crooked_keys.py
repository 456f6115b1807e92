"""Crooked archives about keys that follow each other, for `crooked`."""

from archives import runs
from batches import FakeGateway, sign
from key_chain import Keys, with_keys
from parkgate.log import rotation
from parkgate.wire import cose


def register(kind):
    """Add the kinds: each gets the reason that it must get."""

    @kind("rotation")
    def a_thief_names_a_key_of_his_own(rng, parts, honest):
        def change(keys, event):
            thief = Keys(FakeGateway(rng.randrange(1000, 9999)))
            digest = rotation.digest(keys.ids[0], keys.ids[0], event[2])
            return [34, thief.xy[0], event[2], sign(thief.private[0], digest)]

        return with_keys(parts.key, change)[0].write(), [parts.key.id.hex()]

    @kind("rotation")
    def a_new_key_that_did_not_sign(rng, parts, honest):
        def change(keys, event):
            digest = rotation.digest(keys.ids[0], keys.ids[rng.randrange(1, 3)], event[2])
            return [34, event[1], event[2], sign(keys.private[rng.choice([0, 1])], digest)]

        return with_keys(parts.key, change)[0].write(), [parts.key.id.hex()]

    @kind("rotation")
    def a_rotation_in_another_form(rng, parts, honest):
        def change(keys, event):
            return rng.choice(
                [event[:3], [*event, 1], [34, event[1][:63], *event[2:]], [34, event[1], keys.ids[1], event[3]]]
            )

        return with_keys(parts.key, change)[0].write(), [parts.key.id.hex()]

    @kind("rotation")
    def the_proof_of_a_new_key_left_out(rng, parts, honest):
        made, _ = with_keys(parts.key)
        name = made.name("rotations.cbor")
        made.members[name] = made.members[name][: rng.randrange(2)]
        return made.write(), [parts.key.id.hex()]

    @kind("rotation_uncommitted")
    def a_key_that_nobody_committed(rng, parts, honest):
        return with_keys(parts.key, committed=False)[0].write(), [parts.key.id.hex()]

    @kind("wrong_key")
    def the_old_key_signs_on(rng, parts, honest):
        return _signed_by(rng, parts, rng.choice([2, 4, 5]), 0)

    @kind("wrong_key")
    def the_new_key_signs_what_came_before(rng, parts, honest):
        return _signed_by(rng, parts, 0, rng.choice([1, 2]))


def _signed_by(rng, parts, seq, number):
    """The archive with one batch signed again, by another key of the gateway."""
    made, keys = with_keys(parts.key)
    batches = made.batches()
    old = cose.Sign1(batches[seq], 65101)
    protected = cose.sign1_protected(keys.ids[number], 65101, old.epoch, seq)
    batches[seq] = cose.sign1_join(
        protected, old.payload, sign(keys.private[number], cose.sign1_digest(protected, old.payload))
    )
    assert runs(batches) == [(0, 5)]
    return made.write(), [parts.key.id.hex()]

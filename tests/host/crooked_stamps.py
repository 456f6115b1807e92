"""Crooked archives about time stamps, for `crooked`."""

from batches import START_MS
from crooked_log import with_stamps
from stamp_authority import MUTATIONS, Authority, imprint_of, mutated

MIDDLE_MS = START_MS + 3 * 900_000 + 60_000
END_MS = START_MS + 6 * 900_000 + 60_000


def honest(authority, gen_ms, /, **changed):
    """Facts of a good stamp by this authority, or with some of them changed afterwards."""

    def make(log_id, size, root):
        token = authority.stamp(imprint_of(log_id, size, root), gen_ms)
        return {"log": log_id, "size": size, "root": root, "authority": "stamps.example", "token": token, **changed}

    return make


def crooked(kind_of_key, mutation, gen_ms):
    """Facts of a stamp with one mutation."""

    def make(log_id, size, root):
        token, _ = mutated(kind_of_key, mutation, imprint_of(log_id, size, root), gen_ms)
        return {"log": log_id, "size": size, "root": root, "authority": "stamps.example", "token": token}

    return make


def register(kind):
    """Add the kinds: each gets the reason that it must get."""

    def one(mutation, reason):
        def change(rng, parts, honest_archive):
            good = honest(Authority(), END_MS)
            return with_stamps(parts.key, (crooked("P-256", mutation, MIDDLE_MS), good)), [parts.key.id.hex()]

        change.__name__ = f"stamp_{mutation.replace(' ', '_')}"
        kind(reason)(change)

    for mutation, (_, reason) in MUTATIONS.items():
        one(mutation, reason)

    @kind("stamp_root")
    def stamp_of_another_tree(rng, parts, honest_archive):
        def make(log_id, size, root):
            return honest(Authority(), END_MS)(log_id, size, rng.randbytes(32))

        return with_stamps(parts.key, (None, make)), [parts.key.id.hex()]

    @kind("stamp_root")
    def stamp_of_a_tree_that_comes_later(rng, parts, honest_archive):
        def make(log_id, size, root):
            return honest(Authority(), END_MS)(log_id, size + rng.randrange(1, 99), root)

        return with_stamps(parts.key, (make, None)), [parts.key.id.hex()]

    @kind("stamp_order")
    def stamps_in_the_wrong_order(rng, parts, honest_archive):
        authority = Authority()
        stamps = honest(authority, END_MS), honest(authority, END_MS - 1000 * rng.randrange(1, 10**6))
        return with_stamps(parts.key, stamps), [parts.key.id.hex()]

    @kind("stamp_malformed")
    def stamp_without_its_facts(rng, parts, honest_archive):
        changed = rng.choice([{"token": b""}, {"token": None}, {"size": -1}, {"root": bytes(31)}, {"authority": b"x"}])
        return with_stamps(parts.key, (honest(Authority(), MIDDLE_MS, **changed), None)), [parts.key.id.hex()]

    @kind("post_dated")
    def readings_dated_later_than_they_were_signed(rng, parts, honest_archive):
        ahead = rng.randrange(120_000, 10**10)
        stamps = honest(Authority(), MIDDLE_MS), honest(Authority(), END_MS)
        return with_stamps(parts.key, stamps, from_ms=START_MS + 6 * 900_000 + ahead), [parts.key.id.hex()]

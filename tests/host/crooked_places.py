"""Crooked archives about places and exchanges, for `crooked`."""

from crooked_log import with_exchange


def _exchange(rng, parts, change):
    return with_exchange(parts.key, change, rng.randrange(5)), [parts.key.id.hex()]


def register(kind):
    """Add the kinds: each gets the reason that it must get."""

    @kind("place_conflict")
    def two_gateways_at_one_place(rng, parts, honest):
        def change(told):
            told[2][0] = "gateway placed"
            told[2][1] = {"gateway": told[2][1]["gateway"], "from_ms": told[2][1]["at_ms"]}

        return _exchange(rng, parts, change)

    @kind("place_conflict")
    def an_exchange_of_a_gateway_that_stands_elsewhere(rng, parts, honest):
        return _exchange(rng, parts, lambda told: told[2][1].update(before=bytes(32)))

    @kind("place_conflict")
    def a_statement_of_a_place_in_another_form(rng, parts, honest):
        wrong = rng.choice(
            [{"at_ms": None}, {"gateway": bytes(31)}, {"registers": [["press", 5]]}, {"place": "Hall 3"}]
        )
        return _exchange(rng, parts, lambda told: told[2][1].update(wrong))

    @kind("place_conflict")
    def a_place_that_is_added_twice(rng, parts, honest):
        return _exchange(rng, parts, lambda told: told.insert(2, ["place added", {"name": "Hall 4"}]))

    @kind("place_unlinked")
    def a_statement_of_a_place_left_out(rng, parts, honest):
        return _exchange(rng, parts, lambda told: told[2][1].update(prior=rng.randbytes(32)))

    @kind("place_unlinked")
    def the_beginning_of_a_place_left_out(rng, parts, honest):
        def change(told):
            told[0] = ["gateway placed", {"gateway": told[0][1]["gateway"], "from_ms": 0}]

        return _exchange(rng, parts, change)

    @kind("exchange_differs")
    def registers_of_an_exchange_that_nobody_read(rng, parts, honest):
        def change(told):
            told[3][1]["registers"][0][rng.choice([5, 7])] -= rng.randrange(1, 999)

        return _exchange(rng, parts, change)

"""SunSpec: the chain of models is walked to the meter's, and a chain that is broken or endless ends the walk."""

from check import equal, true
from parkgate.meters.profile.sunspec import Discovery


def walk(held, wanted=None):
    """A discovery in a meter that holds these words, and the reads that it made."""
    discovery = Discovery(wanted or {"203": "", "213": "float"})
    asked = []
    while discovery.request():
        function, address, count = discovery.request()
        equal((function, count), (3, 2))
        asked.append(address)
        there = address in held and address + 1 in held
        discovery.take(held[address].to_bytes(2, "big") + held[address + 1].to_bytes(2, "big") if there else None)
    return discovery, asked


def chain(base, *models):
    held = {base: 0x5375, base + 1: 0x6E53}
    at = base + 2
    for number, length in models:
        held[at], held[at + 1] = number, length
        at += 2 + length
    return held


def test_the_bases_are_tried_in_turn():
    for base, tried in ((40000, 1), (50000, 2), (0, 3)):
        found, asked = walk(chain(base, (1, 66), (203, 105), (0xFFFF, 0)))
        equal(found.found, (203, base + 2 + 68))
        equal(len(asked), tried + 2)
        equal(found.models, [(1, base + 2, 66), (203, base + 70, 105)])
    found, asked = walk({})
    equal((found.found, asked), (None, [40000, 50000, 0]))
    true("no SunSpec mark" in found.reason)


def test_floats_and_others_of_the_chain():
    found, _ = walk(chain(40000, (1, 65), (120, 26), (213, 124), (203, 105)))
    equal(found.found, (213, 40002 + 67 + 28))
    found, _ = walk(chain(40000, (1, 66), (103, 50), (0xFFFF, 0)))
    equal(found.found, None)
    true("there are 1, 103" in found.reason, found.reason)


def test_a_chain_that_breaks_off_or_never_ends_is_left():
    found, _ = walk(chain(40000, (1, 66)))
    true("breaks off at register 40070" in found.reason, found.reason)
    found, asked = walk(chain(40000, *[(300, 0)] * 100))
    true("no end" in found.reason)
    true(len(asked) < 70)
    found, _ = walk(chain(40000, (300, 65000)))
    true("no end" in found.reason)

"""Cases from people who run meters: registers as they were reported, and the reading that is true of them.

A vector of tests/vectors/field_cases that has `readings` is read here by its profile (or its own document), block by
block as a gateway does; what is not among its registers is refused.
"""

import json
import os

from check import equal, true
from parkgate.meters import profiles, registers
from parkgate.reading import GOOD, QUALITY_NAMES

ROOT = __file__.rsplit("/", 3)[0]
CASES = ROOT + "/tests/vectors/field_cases/"


def load(path):
    with open(path) as file:
        return json.load(file)


def sampled(plan, held):
    """(values, qualities) of one pass over a plan's reads, with refusals split as a gateway splits them."""
    values, qualities = plan.empty()
    i = 0
    while i < len(plan.blocks):
        block = plan.blocks[i]
        addresses = range(block.address, block.address + block.count)
        if all([address in held for address in addresses]):
            plan.decode(i, b"".join([held[a].to_bytes(2, "big") for a in addresses]), values, qualities)
            i += 1
        else:
            plan.refused(i)
    return plan.finish(values, qualities)


def test_every_case_reads_as_it_is_true():
    seen = []
    for name in sorted(os.listdir(CASES)):
        case = load(CASES + name)
        if "readings" not in case:
            continue
        seen.append(case["id"])
        document = case.get("document") or load(ROOT + "/lib/meters/" + case["profile"] + ".json")
        wanted = case["readings"]
        profile = profiles.load(document, case.get("profile", "case"), tuple(sorted(wanted)))
        held = {int(address): int(word, 16) for address, word in case["registers"].items()}
        values, qualities = sampled(profile.plan, held)
        for channel, value, quality in zip(profile.channels, values, qualities):
            found = [value, QUALITY_NAMES[quality], channel.unit, channel.scale]
            equal(found, wanted[channel.quantity], "%s %s" % (case["id"], channel.quantity))
    for case in ("W2", "W2b", "W3", "W4", "W14", "W15", "W16", "W17"):
        true(case in seen, case)


def test_the_ends_of_its_type_are_no_reading_of_any_profile():
    """W2 in every profile: contents that meters use for "not available" never come out as a good value."""
    for name in sorted(os.listdir(ROOT + "/lib/meters")):
        document = load(ROOT + "/lib/meters/" + name)
        if document.get("protocol", "modbus") != "modbus":
            continue
        for channel in profiles.check(document, name[:-5]):
            if document["registers"] and channel.unit != "1" and channel.alone:
                bits = 16 * channel.wide
                kind = channel.row[2].rstrip("0123456789")
                top = 1 << bits
                ends = {"uint": [top - 1], "int": [top // 2, top // 2 - 1], "bcd": [top - 1]}.get(kind, [])
                if kind == "float":
                    ends = [0x7FC00000, 0xFFC00000, 0x7F800000] if bits == 32 else [0x7FF8 << 48, 0x7FF0 << 48]
                for contents in ends:
                    _, quality = registers.convert(contents, channel.code, channel.exponent)
                    true(quality != GOOD, "%s %s %X" % (name, channel.quantity, contents))

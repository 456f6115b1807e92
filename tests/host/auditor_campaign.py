"""Campaigns before audit.py: `make audit-campaign`; 1,000 is the full size.

post-dated   chains whose readings are dated after a stamp by which they were signed: each refused
late         chains that lay 50 hours to a year: each named with when it was first proved, none refused
punctual     chains that came within 48 hours: nothing is said against them
omitted      what the nearest other system accepts (one batch, the tail, a gateway left out …): each named
mixed        files of one honest archive in another: none is a success
"""

import io
import random
import sys
import time
import zipfile

import crooked
from archive_campaign import honest as honest_archive
from archives import load_audit, rewritten
from batches import START_MS
from crooked_log import with_exchange, with_log, with_stamps
from crooked_stamps import honest as stamp
from key_chain import with_keys
from stamp_authority import Authority

audit = load_audit()
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
OMITTED = (
    "a_batch_left_out", "a_batch_left_out_by_the_hub", "the_tail_cut", "the_tail_cut_by_the_hub",
    "a_whole_gateway_left_out", "a_gateway_left_out_by_the_hub", "signature_flipped", "resigned_by_a_stranger",
    "reversed_", "a_batch_repeated", "a_second_history",
)  # fmt: skip


def told(data, trust):
    return audit.Audit(io.BytesIO(data), trust).verdict()


def reasons(said):
    return [reason["reason"] for reason in said["reasons"]]


def stamped(rng, wait_ms):
    """An archive with two stamps, of which the second came `wait_ms` after the newest reading; its readings."""
    batches, every_ms = rng.randrange(2, 6), rng.choice((60_000, 900_000, HOUR_MS))
    ready_ms = START_MS + 2 * batches * every_ms
    authority = Authority(rng.choice(("P-256", "P-384")))
    key = crooked.parts_of(rng.randrange(5)).key
    stamps = stamp(authority, ready_ms - batches * every_ms + wait_ms), stamp(authority, ready_ms + wait_ms)
    return told(with_stamps(key, stamps, batches, START_MS, every_ms), [key.id.hex(), authority.root_id]), batches


def post_dated(rng):
    said, _ = stamped(rng, -rng.randrange(2 * HOUR_MS * 12, 400 * DAY_MS))
    return said["overall"] == "failure" and "post_dated" in reasons(said)


def late(rng):
    said, batches = stamped(rng, rng.randrange(62 * HOUR_MS, 365 * DAY_MS))
    named = [seq for first, last, *_ in said["time"]["signed"][0]["late"] for seq in range(first, last + 1)]
    words = any("first proved on" in line for line in audit.time_lines(said))
    return said["overall"] == "success" and named == [*range(2 * batches)] and words


def punctual(rng):
    said, _ = stamped(rng, rng.randrange(0, 36 * HOUR_MS))
    return said["overall"] == "success" and said["time"]["signed"][0]["late"] == []


def omitted(rng):
    data, trust, expected = crooked.KINDS[rng.choice(OMITTED)](rng.randrange(10**6))
    said = told(data, trust)
    return said["overall"] != "success" and expected in reasons(said)


def mixed(rng):
    """One file of another honest archive of the same hub, under the statement of this one."""
    made = [_honest(rng) for _ in range(2)]
    (data, trust), (other, _) = made
    mine, theirs = (_files(each) for each in (data, other))
    kinds = sorted(
        {name.rsplit("/", 1)[-1].partition("-")[0] for name in theirs if name.endswith((".cbor", ".bin", ".cose"))}
    )
    kind = rng.choice(kinds)
    name = rng.choice([name for name in theirs if name.rsplit("/", 1)[-1].startswith(kind)])
    places = [each for each in mine if each.rsplit("/", 1)[-1].startswith(kind)] or [name]
    place = rng.choice(places)
    if mine.get(place) == theirs[name]:
        return None  # the same bytes: nothing was mixed
    said = told(rewritten(data, {place: theirs[name]}), trust)
    return (
        said["overall"] != "success"
        and any(reason["effect"] == "wrong" for reason in said["reasons"])
        or (kind == "statement.cbor" and said["overall"] != "success")
    )


def _honest(rng):
    key = crooked.parts_of(rng.randrange(5)).key
    kind, parts = rng.randrange(4), crooked.parts_of(rng.randrange(1000))
    if kind == 0:
        return with_log(random.Random(rng.random()), parts)
    if kind == 1:
        return with_exchange(key, first=rng.randrange(5)), [key.id.hex()]
    if kind == 2:
        return with_keys(key)[0].write(), [key.id.hex()]
    return honest_archive(rng.randrange(10**6))


def _files(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


CAMPAIGNS = (post_dated, late, punctual, omitted, mixed)


def run(campaign, size):
    """(how many were tried, the seeds that went wrong)."""
    tried, wrong, seed = 0, [], 0
    while tried < size:
        good = campaign(random.Random(f"{campaign.__name__} {seed}"))
        tried += good is not None
        if good is False:
            wrong.append(seed)
        seed += 1
    return tried, wrong


def main(size):
    faults = 0
    for campaign in CAMPAIGNS:
        began = time.time()
        tried, wrong = run(campaign, size)
        faults += len(wrong)
        print(f"{campaign.__name__}: {tried}, {len(wrong)} wrong {wrong[:5]}, {time.time() - began:.0f} s", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))

"""A hub that shows two histories, before any two archives; and honest hubs, slow gateways and lying gateways, which
convict nobody.

The hub here has the log's key and lies as it likes. An archive is what a gateway's owner took away: checkpoints with
the hub's signature, receipts of his own batches, and the hashes of all leaves, or none but the frontier.
`python -m tests.host.test_split_views --views 1000 --honest 1000000` runs at length.
"""

import argparse
import random
import sys
from hashlib import sha256

from parkgate.errors import FormatError, IntegrityError
from parkgate.log import evidence, receipt, tree
from parkgate.log.witness import Witness, encode_introduction
from parkgate.wire import cose
from parkgate.wire.steps import finish

GATEWAYS = 10
KEY = bytes(range(64))
KID = cose.thumbprint(KEY)
LOG_ID = bytes(16)


def sign(digest: bytes) -> bytes:
    """The hub's signature. ES256 has its own tests; what matters here is that nobody else can make it."""
    return sha256(b"the hub alone" + digest).digest() + bytes(32)


def verify_steps(key, digest, signature):
    yield
    return key == KEY and signature == sign(digest)


class History:
    """A tree of leaf hashes with every inner hash, so that thousands of proofs are quick."""

    def __init__(self, leaves: list[bytes]):
        self.levels = [leaves]
        while len(self.levels[-1]) > 1:
            below = self.levels[-1]
            self.levels.append([tree.node_hash(*below[at : at + 2]) for at in range(0, len(below) - 1, 2)])

    def part(self, first, end):
        count = end - first
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            return self.levels[level][first >> level]
        half = 1 << (count - 1).bit_length() - 1
        return tree.node_hash(self.part(first, first + half), self.part(first + half, end))

    def root(self, size):
        return self.part(0, size)

    def inclusion(self, index, size):
        path, first, end = [], 0, size
        while end - first > 1:
            half = 1 << (end - first - 1).bit_length() - 1
            if index < first + half:
                path.insert(0, self.part(first + half, end))
                end = first + half
            else:
                path.insert(0, self.part(first, first + half))
                first += half
        return path

    def consistency(self, size1, size2):
        path, first, end, whole = [], 0, size2, True
        while size1 < end:
            half = 1 << (end - first - 1).bit_length() - 1
            if size1 <= first + half:
                path.insert(0, self.part(first + half, end))
                end = first + half
            else:
                path.insert(0, self.part(first, first + half))
                first, whole = first + half, False
        return path if whole else [self.part(first, end), *path]

    def frontier(self, size):
        found, first = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                found.append(self.part(first, first + (1 << level)))
                first += 1 << level
        return found

    def signed(self, size):
        root = self.root(size)
        return root, sign(receipt.digest(KID, LOG_ID, size, root))


def archive(history: History, size: int, index: int, all_leaves: bool, entry: bytes) -> evidence.View:
    """What an owner can prove, every step checked as a verifier must."""
    view = evidence.View()
    root, signature = history.signed(size)
    data = receipt.encode(KID, LOG_ID, size, signature, receipt.INCLUSION, index, history.inclusion(index, size))
    found = receipt.Receipt(data)
    leaf = tree.leaf_hash(entry)
    assert found.root(leaf) == root and found.signature == sign(found.digest(root))
    view.add_root(size, root)
    view.add_nodes(evidence.inclusion_nodes(index, size, leaf, found.path))
    frontier = history.frontier(size)
    assert evidence.frontier_root(frontier) == root
    view.add_nodes(evidence.frontier_nodes(size, frontier))
    if all_leaves:
        view.add_nodes({(0, at): each for at, each in enumerate(history.levels[0][:size])})
        assert view.root(size) == root
    return view


def entries(chance: random.Random, count: int) -> list[bytes]:
    return [chance.randbytes(32) for _ in range(count)]


def split(chance: random.Random, all_leaves: bool) -> bool:
    """One hub that shows some of ten gateways another history than the others: whether two archives convict it."""
    shared = chance.randrange(1, 300)
    common = entries(chance, shared)
    sides = []
    for _ in range(2):
        own = common + entries(chance, chance.randrange(1, 300))
        sides.append((own, History([tree.leaf_hash(each) for each in own])))
    members: list[list[int]] = [[], []]
    while not all(members):
        members = [[], []]
        for gateway in range(GATEWAYS):
            members[chance.randrange(2)].append(gateway)
    views = []
    for own, history in sides:
        size = chance.randrange(shared + 1, len(own) + 1)
        index = chance.randrange(shared, size)
        views.append(archive(history, size, index, all_leaves, own[index]))
    return evidence.conviction(*views) is not None


def honest(chance: random.Random, checks: int) -> int:
    """Gateways follow one honest hub through power cuts, old messages and repeats; archives are taken at any time.
    Returns how many alarms there were: each would be a false one."""
    alarms = done = 0
    while done < checks:
        own = entries(chance, 600)
        history = History([tree.leaf_hash(each) for each in own])
        size = chance.randrange(1, 50)
        root, signature = history.signed(size)
        on_flash = None
        witness = Witness()
        finish(witness.introduced_steps(encode_introduction(bytes(32), KEY, LOG_ID, size, root, signature), bytes(32),
                                        cose.thumbprint, verify_steps))  # fmt: skip
        on_flash, claims = witness.encode(), []
        views: list[evidence.View] = []
        while size < 600 and done < checks:
            size = min(600, size + chance.randrange(0, 40))
            old = chance.choice((witness.size, witness.size, witness.size, 1, max(1, witness.size - 1)))
            root, signature = history.signed(size)
            if old <= size:
                path = history.consistency(old, size)
                data = receipt.encode(KID, LOG_ID, size, signature, receipt.CONSISTENCY, old, path)
                try:
                    finish(witness.accept_steps(data, cose.thumbprint, verify_steps))
                except FormatError:
                    pass  # from another size than is held: passed over, no alarm
                except IntegrityError:
                    alarms += 1
            cut = chance.randrange(4)
            if cut:
                on_flash = witness.encode()  # persisted …
            if cut > 1:
                claims.append((witness.size, witness.root))  # … before it is claimed
            if cut < 3:
                witness = Witness(on_flash)
            if chance.randrange(8) == 0:
                index = chance.randrange(size)
                views.append(archive(history, size, index, chance.random() < 0.3, own[index]))
            done += 1
        alarms += any(history.root(size) != root for size, root in claims)
        for view in views:
            alarms += evidence.conviction(view, chance.choice(views)) is not None
    return alarms


def forged(chance: random.Random) -> bool:
    """A gateway claims what the hub never signed: whether anybody is convicted by it."""
    own = entries(chance, chance.randrange(2, 200))
    history = History([tree.leaf_hash(each) for each in own])
    index = chance.randrange(len(own))
    good = archive(history, len(own), index, True, own[index])
    size, root = chance.randrange(1, len(own) + 1), chance.randbytes(32)
    claimed = evidence.View()
    signature = chance.choice((bytes(64), chance.randbytes(64), history.signed(len(own))[1]))
    if signature == sign(receipt.digest(KID, LOG_ID, size, root)):
        claimed.add_root(size, root)
    return evidence.conviction(good, claimed) is not None


def test_split_views_are_convicted():
    chance = random.Random(1)
    assert all(split(chance, True) for _ in range(60))


def test_without_the_leaves_some_are_and_none_is_by_mistake():
    chance = random.Random(2)
    assert 20 < sum(split(chance, False) for _ in range(60)) < 60


def test_honest_hubs_are_never_convicted():
    assert honest(random.Random(3), 3000) == 0


def test_forged_claims_convict_nobody():
    chance = random.Random(4)
    assert not any(forged(chance) for _ in range(60))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--views", type=int, default=1000)
    parser.add_argument("--honest", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    found = sum(split(chance, True) for _ in range(args.views))
    bare = sum(split(chance, False) for _ in range(args.views))
    framed = sum(forged(chance) for _ in range(args.views))
    alarms = honest(chance, args.honest)
    print(f"{found} of {args.views} split views convicted by archives with all hashes, {bare} by archives without")
    print(f"{framed} of {args.views} forged claims convict anybody; {alarms} false alarms in {args.honest} checks")
    return 0 if found == args.views and not framed and not alarms else 1


if __name__ == "__main__":
    sys.exit(main())

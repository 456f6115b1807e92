"""The log's tree: published verdicts, and every proof of small trees against a tree computed from its definition."""

import json
from binascii import a2b_base64
from hashlib import sha256

from check import equal, raises, true
from parkgate.errors import FormatError, IntegrityError, ParkgateError
from parkgate.log import evidence, tree

FOLDER = __file__[: -len("core/test_log_tree.py")] + "vectors/merkle/"
SIZE = 33
# Good upstream, where a root may be anything; SPEC 13.2 wants 32 bytes.
ROOTS_OF_12_BYTES = "additional/sizes-are-equal-one-and-proof-is-empty.json"


def entry(number):
    return sha256(b"entry %d" % number).digest()


LEAVES = [tree.leaf_hash(entry(number)) for number in range(SIZE)]


def mth(first, end):
    """MTH of RFC 9162 2.1.1, of leaves first … end - 1, from its definition."""
    if end - first == 1:
        return LEAVES[first]
    half = _half(end - first)
    return tree.node_hash(mth(first, first + half), mth(first + half, end))


def path(index, first, end):
    """PATH of RFC 9162 2.1.3.1."""
    if end - first == 1:
        return []
    half = _half(end - first)
    if index < half:
        return path(index, first, first + half) + [mth(first + half, end)]
    return path(index - half, first + half, end) + [mth(first, first + half)]


def subproof(size, first, end, whole):
    """SUBPROOF of RFC 9162 2.1.4.1."""
    if size == end - first:
        return [] if whole else [mth(first, end)]
    half = _half(end - first)
    if size <= half:
        return subproof(size, first, first + half, whole) + [mth(first + half, end)]
    return subproof(size - half, first + half, end, False) + [mth(first, first + half)]


def _half(count):
    half = 1
    while half * 2 < count:
        half *= 2
    return half


def read(name):
    with open(FOLDER + name) as file:
        return json.load(file)


def refused(check, *args):
    try:
        check(*args)
    except ParkgateError:
        return True
    return False


def test_published_proofs_of_inclusion():
    cases = read("inclusion.json")
    equal(len(cases), 98)
    for case in cases:
        root, leaf = a2b_base64(case["root"]), a2b_base64(case["leafHash"])
        hashes = [a2b_base64(each) for each in case["proof"] or []]
        verdict = refused(tree.check_inclusion, case["leafIdx"], case["treeSize"], root, leaf, hashes)
        equal(verdict, case["wantErr"], case["file"])


def test_published_proofs_of_consistency():
    cases = read("consistency.json")
    equal(len(cases), 98)
    for case in cases:
        hashes = [a2b_base64(each) for each in case["proof"] or []]
        roots = a2b_base64(case["root1"]), a2b_base64(case["root2"])
        verdict = refused(tree.check_consistency, case["size1"], case["size2"], roots[0], roots[1], hashes)
        equal(verdict, case["wantErr"] or case["file"].endswith(ROOTS_OF_12_BYTES), case["file"])


def test_every_proof_of_small_trees():
    for size in range(1, SIZE + 1):
        root = mth(0, size)
        for index in range(size):
            hashes = path(index, 0, size)
            tree.check_inclusion(index, size, root, LEAVES[index], hashes)
            for (level, at), found in evidence.inclusion_nodes(index, size, LEAVES[index], hashes).items():
                equal(found, mth(at << level, (at + 1) << level))
        for old in range(1, size + 1):
            hashes = subproof(old, 0, size, True)
            tree.check_consistency(old, size, mth(0, old), root, hashes)
            for (level, at), found in evidence.consistency_nodes(old, size, mth(0, old), hashes).items():
                equal(found, mth(at << level, (at + 1) << level))


def test_a_proof_holds_for_one_place_only():
    size = 21
    root = mth(0, size)
    for index in range(size):
        hashes = path(index, 0, size)
        for other in range(size):
            if other != index:
                true(refused(tree.check_inclusion, other, size, root, LEAVES[index], hashes))
                true(refused(tree.check_inclusion, index, size, root, LEAVES[other], hashes))
        true(refused(tree.check_inclusion, index, size, root, LEAVES[index], hashes[:-1]))
        true(refused(tree.check_inclusion, index, size, root, LEAVES[index], hashes + [root]))
        for at in range(len(hashes)):
            for bit in (0, 100, 255):
                wrong = bytearray(hashes[at])
                wrong[bit >> 3] ^= 1 << (bit & 7)
                changed = hashes[:at] + [bytes(wrong)] + hashes[at + 1 :]
                raises(IntegrityError, tree.check_inclusion, index, size, root, LEAVES[index], changed)


def test_an_inner_node_is_no_leaf():
    # The left half of a tree of four, given as a leaf of a tree of two.
    raises(IntegrityError, tree.check_inclusion, 0, 2, mth(0, 4), tree.leaf_hash(mth(0, 2)), [mth(2, 4)])
    # As a leaf hash it would do: a verifier computes the leaf hash from the entry, never takes it.
    tree.check_inclusion(0, 2, mth(0, 4), mth(0, 2), [mth(2, 4)])


def test_what_has_no_place_is_refused():
    raises(FormatError, tree.check_inclusion, 1, 1, LEAVES[0], LEAVES[0], [])
    raises(FormatError, tree.check_inclusion, -1, 1, LEAVES[0], LEAVES[0], [])
    raises(FormatError, tree.check_inclusion, 0, 1 << 62, LEAVES[0], LEAVES[0], [])
    raises(FormatError, tree.check_inclusion, 0, 2, LEAVES[0], LEAVES[0], [LEAVES[1][:31]])
    raises(FormatError, tree.check_consistency, 0, 1, sha256(b"").digest(), LEAVES[0], [])
    raises(FormatError, tree.check_consistency, 2, 1, LEAVES[0], LEAVES[0], [])


def view(nodes):
    made = evidence.View()
    made.add_nodes(nodes)
    return made


def test_other_histories_disagree_where_both_speak():
    size = 13
    one = evidence.inclusion_nodes(4, size, LEAVES[4], path(4, 0, size))
    other = dict(evidence.inclusion_nodes(9, size, LEAVES[9], path(9, 0, size)))
    equal(evidence.conviction(view(one), view(other)), None)
    other[(2, 0)] = LEAVES[0]
    equal(evidence.conviction(view(one), view(other)), "two hashes for the leaves from 0 on")


def test_a_subtree_disagrees_with_the_leaves_that_another_view_holds():
    held = {(0, n): LEAVES[n] for n in range(4)}
    for level, index in ((1, 0), (1, 1), (2, 0)):
        first = index << level
        right = {(level, index): mth(first, first + (1 << level))}
        equal(evidence.conviction(view(right), view(held)), None)
        for one, other in (({(level, index): LEAVES[9]}, held), (held, {(level, index): LEAVES[9]})):
            equal(evidence.conviction(view(one), view(other)), "two hashes for the leaves from %d on" % first)


def test_a_frontier_is_the_tree():
    for size in range(1, SIZE + 1):
        hashes, begin = [], 0
        for level in range(6, -1, -1):
            if size >> level & 1:
                hashes.append(mth(begin, begin + (1 << level)))
                begin += 1 << level
        equal(len(hashes), evidence.frontier_count(size))
        equal(evidence.frontier_root(hashes), mth(0, size))
        for (level, at), found in evidence.frontier_nodes(size, hashes).items():
            equal(found, mth(at << level, (at + 1) << level))

"""The Merkle tree of RFC 9162: its hashes, and what proofs of inclusion and consistency prove (SPEC 13.2).

    entry = SHA-256(signed bytes)      leaf = SHA-256(00 || entry)      node = SHA-256(01 || left || right)

Leaves are counted from 0. A path is a list of hashes of 32 bytes, the one nearest to the leaves first (RFC 9162 2.1.3
and 2.1.4). A node is named by (level, index): it covers the leaves index << level up to (index + 1) << level.
"""

from hashlib import sha256

from parkgate.errors import FormatError, IntegrityError
from parkgate.wire.steps import finish

PATH_HASHES_MAX = 64
SIZE_LIMIT = 1 << 62  # leaves of a tree stay below


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf, from its entry of 32 bytes."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def root_of_inclusion(index: int, size: int, leaf: bytes, path: list) -> bytes:
    """The root of the tree of `size` leaves in which `path` leads from `leaf` (a leaf hash) at `index` to the top.

    Raises FormatError when there is no such place, or the path has not the one length that it has there."""
    if not 0 <= index < size < SIZE_LIMIT:
        raise FormatError("inclusion: no leaf %d in a tree of %d" % (index, size))
    _check_hashes([leaf], "inclusion: the leaf hash")
    _check_hashes(path, "inclusion: the path")
    at, last, root = index, size - 1, leaf
    for sibling in path:
        if not last:
            raise FormatError("inclusion: the path is too long")
        if at & 1 or at == last:
            root = node_hash(sibling, root)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        at >>= 1
        last >>= 1
    if last:
        raise FormatError("inclusion: the path is too short")
    return root


def check_inclusion(index: int, size: int, root: bytes, leaf: bytes, path: list):
    """Return if `path` proves that `leaf` (a leaf hash) stands at `index` of the tree of `size` leaves with this root.

    Raises FormatError or IntegrityError when it does not."""
    _check_hashes([root], "inclusion: the root")
    if root_of_inclusion(index, size, leaf, path) != root:
        raise IntegrityError("inclusion: the path leads to another root")


def check_consistency(size1: int, size2: int, root1: bytes, root2: bytes, path: list):
    """Return if `path` proves that the tree (size1, root1) is the beginning of the tree (size2, root2).

    Raises FormatError or IntegrityError when it does not. An empty old tree is refused: nothing is proved by it."""
    _check_hashes([root2], "consistency: the newer root")
    if finish(root_of_consistency_steps(size1, size2, root1, path)) != root2:
        raise IntegrityError("consistency: the newer root does not come out")


def root_of_consistency_steps(size1: int, size2: int, root1: bytes, path: list):
    """Generator: the root of the tree of `size2` leaves of which the tree (size1, root1) is the beginning, as `path`
    proves. Raises FormatError, or IntegrityError when the older root does not come out."""
    if not 1 <= size1 <= size2 < SIZE_LIMIT:
        raise FormatError("consistency: from %d to %d leaves" % (size1, size2))
    _check_hashes([root1], "consistency: the older root")
    _check_hashes(path, "consistency: the path")
    if size1 == size2:
        if path:
            raise FormatError("consistency: the path is too long")
        return root1
    at, last = size1 - 1, size2 - 1
    while at & 1:
        at >>= 1
        last >>= 1
    if at:
        if not path:
            raise FormatError("consistency: the path is too short")
        old = path[0]
        path = path[1:]
    else:
        old = root1  # a whole subtree: its hash is known, so the proof leaves it out
    new = old
    for sibling in path:
        yield
        if not last:
            raise FormatError("consistency: the path is too long")
        if at & 1 or at == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        at >>= 1
        last >>= 1
    if last:
        raise FormatError("consistency: the path is too short")
    if old != root1:
        raise IntegrityError("consistency: the older root does not come out")
    return new


def _check_hashes(hashes, what):
    if len(hashes) > PATH_HASHES_MAX:
        raise FormatError("%s has more than %d hashes" % (what, PATH_HASHES_MAX))
    for each in hashes:
        if type(each) is not bytes or len(each) != 32:
            raise FormatError("%s is not of 32 bytes" % what)

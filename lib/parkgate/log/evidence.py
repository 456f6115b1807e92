"""Which hashes of a tree a proof fixes, so that two views of one log can be compared (SPEC 13.7).

A complete subtree never changes its hash: whatever is appended later stands beside it. So if proofs under two signed
checkpoints of one log give different hashes to the same complete subtree, the hub signed two histories. Proofs must
have been checked before (`tree.check_inclusion`, `tree.check_consistency`).
"""

from .tree import node_hash

SIZE_BITS = 62


def inclusion_nodes(index: int, size: int, leaf: bytes, path: list) -> dict:
    """(level, index) → hash of every complete subtree that a checked proof of inclusion fixes."""
    return _nodes(0, index, index, size, leaf, path)


def consistency_nodes(size1: int, size2: int, root1: bytes, path: list) -> dict:
    """The same of a checked proof of consistency, in the newer tree. Empty when both sizes are equal."""
    if size1 == size2:
        return frontier_nodes(size1, [root1]) if not size1 & (size1 - 1) else {}
    at, level = size1 - 1, 0
    while at & 1:
        at >>= 1
        level += 1
    first, rest = (path[0], path[1:]) if at else (root1, path)
    return _nodes(level, at, at, size2, first, rest)


def frontier_nodes(size: int, hashes: list) -> dict:
    """(level, index) → hash, from the hashes of the complete subtrees that make up a tree, the largest first."""
    found = {}
    begin = 0
    level = SIZE_BITS
    for each in hashes:
        while level >= 0 and begin + (1 << level) > size:
            level -= 1
        found[(level, begin >> level)] = each
        begin += 1 << level
    return found


def frontier_root(hashes: list) -> bytes:
    """The root of the tree that these complete subtrees make up, the largest first; at least one."""
    root = hashes[-1]
    for each in reversed(hashes[:-1]):
        root = node_hash(each, root)
    return root


def frontier_count(size: int) -> int:
    """How many complete subtrees make up a tree of `size` leaves: the ones in its binary form."""
    count = 0
    while size:
        count += size & 1
        size >>= 1
    return count


def _nodes(level, at, index, size, first, path):
    """Walk up as the checks do, and note what is complete."""
    found = {(level, at): first}
    last = (size - 1) >> level
    mine = first
    for sibling in path:
        if at & 1 or at == last:
            while not at & 1 and at:
                at >>= 1
                last >>= 1
                level += 1
            found[(level, at - 1)] = sibling
            mine = node_hash(sibling, mine)
        else:
            if (at + 2) << level <= size:
                found[(level, at + 1)] = sibling
            mine = node_hash(mine, sibling)
        at >>= 1
        last >>= 1
        level += 1
        if (at + 1) << level <= size:
            found[(level, at)] = mine
    return found


class View:
    """What somebody can prove of one log: roots that its key signed, and hashes of complete subtrees under them.

    The caller verifies the signature before it adds a root, and the proofs before it adds their nodes. What a gateway
    claims without the hub's signature is no part of a view."""

    def __init__(self):
        self.roots = {}  # size → root
        self.nodes = {}  # (level, index) → hash
        self.contradiction = None

    def add_root(self, size: int, root: bytes):
        """A signed checkpoint. Two roots for one size are a contradiction by themselves."""
        if self.roots.get(size, root) != root:
            self.contradiction = "two signed roots for %d leaves" % size
        self.roots[size] = root

    def add_nodes(self, nodes: dict):
        """Hashes that a checked proof fixes."""
        for node, found in nodes.items():
            if self.nodes.get(node, found) != found:
                self.contradiction = "two hashes for the leaves from %d on" % (node[1] << node[0])
            self.nodes[node] = found

    def node(self, level: int, index: int):
        """The hash of a complete subtree, if it is known or follows from what is."""
        found = self.nodes.get((level, index))
        if found is None and level:
            left = self.node(level - 1, 2 * index)
            right = self.node(level - 1, 2 * index + 1) if left is not None else None
            if left is not None and right is not None:
                found = self.nodes[(level, index)] = node_hash(left, right)
        return found

    def root(self, size: int):
        """The root of the first `size` leaves, if it follows from what is known."""
        hashes = []
        begin = 0
        for level in range(SIZE_BITS, -1, -1):
            if size >> level & 1:
                found = self.node(level, begin >> level)
                if found is None:
                    return None
                hashes.append(found)
                begin += 1 << level
        return frontier_root(hashes)


def conviction(one: View, other: View):
    """Why these two views of one log prove that its key signed two histories; None when they do not prove it."""
    for view in (one, other):
        if view.contradiction:
            return view.contradiction
    for size in one.roots:
        if other.roots.get(size, one.roots[size]) != one.roots[size]:
            return "two signed roots for %d leaves" % size
    for view, against in ((one, other), (other, one)):
        for level, index in list(view.nodes):
            found = against.node(level, index)  # what follows from what the other has, too
            if found is not None and found != view.nodes[(level, index)]:
                return "two hashes for the leaves from %d on" % (index << level)
    for view, against in ((one, other), (other, one)):
        for size, root in view.roots.items():
            found = against.root(size)
            if found is not None and found != root:
                return "a signed root for %d leaves that the other history does not have" % size
    return None

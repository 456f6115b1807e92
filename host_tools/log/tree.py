"""A tree that grows, and its hashes in tiles (C2SP tlog-tiles): files of 256 hashes, written once.

Tiles follow from the leaves in the database. One that is missing or damaged is made again from them; what is served is
checked against a signed root before (`log.Log`).
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path

from host_tools.base import files
from host_tools.log.database.seam import Database
from host_tools.log.keys import LogError
from parkgate.log.tree import leaf_hash, node_hash

WIDTH = 256  # hashes of a full tile
TILE_BYTES = 32 * WIDTH
CACHE_TILES = 1024
EMPTY_ROOT = sha256(b"").digest()


class GrowingTree:
    """The right edge of a tree in memory: enough to add leaves, know the root, and give each tile when it is full."""

    def __init__(self):
        self.size = 0
        self._stack: list[bytes] = []  # hashes of the complete subtrees, the largest first
        self._edges: list[bytearray] = []  # hashes of the tile that is not full yet, by level

    def add(self, entry: bytes) -> list[tuple[int, int, bytes]]:
        """One leaf more. Returns the tiles (level, number, bytes) that it fills."""
        return self._push(leaf_hash(entry), 0)

    def add_full_tile(self, level: int, data: bytes) -> None:
        """A whole tile at once, while loading: all leaves so far are in full tiles of this level or higher ones."""
        self._push(root_of_tile(data), 8 * (level + 1))

    def _push(self, carry, level):
        full = []
        count = self.size >> level
        self._to_edge(level >> 3, carry)
        self.size += 1 << level
        while count & 1:
            carry = node_hash(self._stack.pop(), carry)
            count >>= 1
            level += 1
            if not level & 7:
                edge = self._edges[(level >> 3) - 1]
                full.append(((level >> 3) - 1, (self.size >> level) - 1, bytes(edge)))
                edge.clear()
                self._to_edge(level >> 3, carry)
        self._stack.append(carry)
        return full

    def _to_edge(self, level, carry):
        while len(self._edges) <= level:
            self._edges.append(bytearray())
        self._edges[level] += carry

    def root(self) -> bytes:
        """The root of all leaves so far."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            root = node_hash(left, root)
        return root

    def frontier(self) -> list[bytes]:
        return list(self._stack)


def root_of_tile(data: bytes) -> bytes:
    """The hash of the subtree over these hashes; their number is a power of two."""
    hashes = [data[at : at + 32] for at in range(0, len(data), 32)]
    while len(hashes) > 1:
        hashes = [sha256(b"\x01" + hashes[at] + hashes[at + 1]).digest() for at in range(0, len(hashes), 2)]
    return hashes[0]


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """The path of a tile below `tile/`, as C2SP names it."""
    parts = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        parts.insert(0, f"x{number % 1000:03d}")
    return f"{level}/{'/'.join(parts)}" + (f".p/{width}" if width < WIDTH else "")


class Tiles:
    """The full tiles of one log as files. What is not there is computed from the leaves in the database."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, level: int, number: int, data: bytes) -> None:
        """Raises FileTrouble. Not brought to the disk by force: it follows from the leaves."""
        path = self.folder / tile_path(level, number)
        draft = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(draft, "wb") as out:
                out.write(data)
            os.replace(draft, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise files.trouble("cannot write", path, error) from None

    def read(self, level: int, number: int) -> bytes | None:
        """A full tile, None where there is none, or one of another length."""
        try:
            data = (self.folder / tile_path(level, number)).read_bytes()
        except OSError:
            return None
        return data if len(data) == TILE_BYTES else None


class Hashes:
    """The hash of any part of the tree over the leaves in `db`, by way of tiles."""

    def __init__(self, db: Database, tiles: Tiles | None):
        """Without `tiles` everything is computed from the leaves."""
        self._db = db
        self._tiles = tiles
        self._cache: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()

    def tile(self, level: int, number: int, width: int = WIDTH) -> bytes:
        """The first `width` hashes of a tile. Raises LogError when leaves are missing."""
        key = (level, number, width)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._make_tile(level, number, width)
            while len(self._cache) > CACHE_TILES:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(key)
        return found

    def _make_tile(self, level, number, width):
        if self._tiles is not None:
            found = self._tiles.read(level, number)
            if found is not None:
                return found[: 32 * width]
        first = number * WIDTH
        if level:
            return b"".join(root_of_tile(self.tile(level - 1, at)) for at in range(first, first + width))
        rows = self._db.execute(
            "SELECT entry FROM leaf WHERE leaf >= ? AND leaf < ? ORDER BY leaf", (first, first + width)
        ).fetchall()
        if len(rows) != width:
            raise LogError(f"the database lacks leaves between {first} and {first + width - 1}: restore it")
        return b"".join(leaf_hash(row[0]) for row in rows)

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree."""
        tile_level, height = level >> 3, level & 7
        first = index << height
        number, at = first >> 8, first & 255
        data = self.tile(tile_level, number, WIDTH if self._is_full(tile_level, number) else at + (1 << height))
        return root_of_tile(data[32 * at : 32 * (at + (1 << height))])

    def _is_full(self, level, number):
        return (level, number, WIDTH) in self._cache or (
            self._tiles is not None and self._tiles.read(level, number) is not None
        )

    def part(self, first: int, end: int) -> bytes:
        """MTH of RFC 9162 over leaves first … end - 1; `first` is a multiple of a power of two not below their
        number."""
        count = end - first
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            return self.node(level, first >> level)
        half = 1 << (count - 1).bit_length() - 1
        return node_hash(self.part(first, first + half), self.part(first + half, end))

    def root(self, size: int) -> bytes:
        return self.part(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """PATH of RFC 9162 2.1.3.1, the sibling of the leaf first."""
        path, first, end = [], 0, size
        while end - first > 1:
            half = 1 << (end - first - 1).bit_length() - 1
            if index < first + half:
                path.append((first + half, end))
                end = first + half
            else:
                path.append((first, first + half))
                first += half
        return [self.part(*span) for span in reversed(path)]

    def consistency(self, size1: int, size2: int) -> list[bytes]:
        """PROOF of RFC 9162 2.1.4.1."""
        spans, first, end, whole = [], 0, size2, True
        while size1 < end:
            half = 1 << (end - first - 1).bit_length() - 1
            if size1 <= first + half:
                spans.append((first + half, end))
                end = first + half
            else:
                spans.append((first, first + half))
                first, whole = first + half, False
        if not whole:
            spans.append((first, end))
        return [self.part(*span) for span in reversed(spans)]

    def frontier(self, size: int) -> list[bytes]:
        """Hashes of the complete subtrees that make up the tree, the largest first."""
        found, first = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                found.append(self.node(level, first >> level))
                first += 1 << level
        return found


def load(db: Database, tiles: Tiles | None, size: int) -> GrowingTree:
    """The tree over the first `size` leaves. Raises LogError when leaves are missing."""
    tree, hashes = GrowingTree(), Hashes(db, tiles)
    level = 0
    while size >> 8 * (level + 2):
        level += 1
    for each in range(level, -1, -1):
        span = 8 * (each + 1)
        for number in range(tree.size >> span, size >> span):
            tree.add_full_tile(each, hashes.tile(each, number))
    for (entry,) in db.iterate("SELECT entry FROM leaf WHERE leaf >= ? AND leaf < ? ORDER BY leaf", (tree.size, size)):
        tree.add(entry)
    if tree.size != size:
        raise LogError(f"the database has {tree.size} of {size} leaves: restore it")
    return tree

"""Which lot went into which: a graph without circles, and what a recall asks of it.

Entries are signed where they are made, and no gateway knows what another one has signed. So a circle can only be seen
at the hub: the link that would close it, by the order of their times, is refused and shown, and the others stand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Link(NamedTuple):
    """`source` went into `target`, or `target` came out of it. Links are taken in the order of their fields."""

    time_ms: int
    gateway: str
    number: int
    source: str
    target: str


class Genealogy:
    """All links of a park. `refused` are those that would have closed a circle."""

    def __init__(self, links: Iterable[Link]):
        self._into: dict[str, dict[str, Link]] = defaultdict(dict)
        self._from: dict[str, dict[str, Link]] = defaultdict(dict)
        self.refused: list[Link] = []
        ordered = sorted(set(links))
        circle = _circles([(link.source, link.target) for link in ordered])
        for link in ordered:
            one, other = circle.get(link.source), circle.get(link.target)
            inside = one is not None and one == other and self._reaches(link.target, link.source, one, circle)
            if link.source == link.target or inside:
                self.refused.append(link)
                continue
            self._into[link.source].setdefault(link.target, link)
            self._from[link.target].setdefault(link.source, link)

    def _reaches(self, start: str, end: str, within: int, circle: dict[str, int]) -> bool:
        """Whether a way leads from start to end; it cannot leave the knot that both are in."""
        seen, todo = {start}, [start]
        while todo:
            for lot in self._into[todo.pop()]:
                if lot == end:
                    return True
                if lot not in seen and circle.get(lot) == within:
                    seen.add(lot)
                    todo.append(lot)
        return False

    def made_of(self, lot: str) -> list[Link]:
        """The links by which something went into the lot."""
        return list(self._from.get(lot, {}).values())

    def went_into(self, lot: str) -> list[Link]:
        """The links by which the lot went into something."""
        return list(self._into.get(lot, {}).values())

    def forward(self, lot: str) -> dict[str, int]:
        """Every lot that has something of this one → in how few steps, the nearest first."""
        return walk(self._into, lot)

    def back(self, lot: str) -> dict[str, int]:
        """Every lot that went into this one → in how few steps, the nearest first."""
        return walk(self._from, lot)


def walk(links: Mapping[str, Iterable[str]], lot: str) -> dict[str, int]:
    """Every lot that is reached from one → in how few steps, the nearest first."""
    found: dict[str, int] = {}
    todo = [lot]
    steps = 0
    while todo:
        steps += 1
        following = []
        for each in todo:
            for other in links.get(each, ()):
                if other not in found and other != lot:
                    found[other] = steps
                    following.append(other)
        todo = following
    return found


def _circles(links: list[tuple[str, str]]) -> dict[str, int]:
    """Lot → its knot, for lots that are on some circle: strongly connected components of more than one lot (Tarjan
    1972, without recursion)."""
    following = knotted(links)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: dict[str, int] = {}
    for root in list(following):
        if root in index:
            continue
        work = [(root, iter(following[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            lot, rest = work[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(following.get(other, ()))))
                    break
                if other in on_stack:
                    low[lot] = min(low[lot], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[lot])
                if low[lot] == index[lot]:
                    knot = [stack.pop()]
                    while knot[-1] != lot:
                        knot.append(stack.pop())
                    on_stack.difference_update(knot)
                    if len(knot) > 1:
                        found |= dict.fromkeys(knot, index[lot])
    return found


def knotted(links: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Lot → the lots that it went into, without lots that no circle can hold: those that are made of none that is left.
    Most parks have no circle at all."""
    following: dict[str, list[str]] = defaultdict(list)
    sources: dict[str, int] = defaultdict(int)
    for source, target in links:
        following[source].append(target)
        sources[target] += 1
    todo = [lot for lot in following if not sources[lot]]
    while todo:
        for other in following.pop(todo.pop(), ()):
            sources[other] -= 1
            if not sources[other]:
                todo.append(other)
    return following

"""Batches whose bytes an operator has removed: their rows say so, and a signed statement in the log must say so too. A
row alone would let anybody who writes in the database take readings away unseen."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from hashlib import sha256

from host_tools.log.database.seam import Database
from host_tools.log.tables import STATEMENT
from parkgate.errors import FormatError
from parkgate.log import statement


class Stated:
    """What the statements `readings removed` name."""

    def __init__(self):
        self._runs: dict[tuple[bytes, bytes], list[tuple[int, int]]] = {}
        self._sorted = True

    def take(self, said: statement.Statement) -> None:
        """One statement of any kind. What has another form names nothing."""
        if said.kind != statement.READINGS_REMOVED:
            return
        for chain in said.facts["chains"]:
            with contextlib.suppress(TypeError, ValueError):
                epoch, runs = chain
                pairs = [(first, last) for first, last in runs if type(first) is type(last) is int and first <= last]
                self._runs.setdefault((said.facts["gateway"], epoch), []).extend(pairs)
                self._sorted = False

    def names(self, gateway_id: bytes, epoch: bytes, seq: int) -> bool:
        """Whether the removal of this batch is in the log."""
        if not self._sorted:
            for key, runs in self._runs.items():
                self._runs[key] = _merged(runs)
            self._sorted = True
        runs = self._runs.get((gateway_id, epoch), [])
        at = bisect_right(runs, (seq, 1 << 63)) - 1
        return at >= 0 and runs[at][0] <= seq <= runs[at][1]


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def stated(db: Database) -> Stated:
    """From the statements that are in the log as they were stored; their signatures are `check`'s matter."""
    found = Stated()
    question = "SELECT entry, bytes FROM leaf JOIN statement USING (leaf) WHERE kind = ? ORDER BY leaf"
    for entry, data in db.iterate(question, (STATEMENT,)):
        if sha256(data).digest() == entry:
            with contextlib.suppress(FormatError):
                found.take(statement.Statement(data))
    return found

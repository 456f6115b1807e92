"""May this verified batch become data? Pure decisions over what the hub holds of the batch's chain (SPEC
5.5).

Of a chain (gateway, epoch) the hub holds a set of seqs. A verified batch is then one of four:

    NEW        extends the chain: its seq is above all that are held (perhaps with a hole below it)
    LATE       fills a hole: the newest goes first after an outage, the backlog follows
    DUPLICATE  the very bytes that are held: answered with a receipt again
    FORK       contradicts what is held: the same seq with other bytes, or a hash that does not link to its
    held
               neighbour, or a successor of a fork. Two devices with one key, or a flash that was set back.

Both links are looked at, to the batch before and from the batch after, so the order of arrival does not
matter.
"""

from bisect import bisect_left, bisect_right

NEW, LATE, DUPLICATE, FORK = "new", "late", "duplicate", "fork"


class Held:
    """A set of seqs as sorted, disjoint, non-touching ranges. Small however long the chain: one range a
    hole."""

    def __init__(self, ranges=()):
        self._first = [first for first, _ in ranges]
        self._last = [last for _, last in ranges]

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._first, seq) - 1
        return at >= 0 and seq <= self._last[at]

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._first)

    def ranges(self) -> list[tuple[int, int]]:
        return list(zip(self._first, self._last))

    def head(self) -> int | None:
        """The highest seq held, None when there is none."""
        return self._last[-1] if self._last else None

    def add(self, seq: int) -> tuple[list[int], tuple[int, int]]:
        """Take `seq` in; it must not be held. Returns the first seqs of ranges that are gone, and the range
        it is in."""
        at = bisect_right(self._first, seq)
        first = last = seq
        gone = []
        if at < len(self._first) and self._first[at] == seq + 1:
            last = self._last[at]
            gone.append(self._first.pop(at))
            self._last.pop(at)
        if at and self._last[at - 1] == seq - 1:
            first = self._first[at - 1]
            self._last[at - 1] = last
        else:
            self._first.insert(at, first)
            self._last.insert(at, last)
        return gone, (first, last)

    def add_range(self, first: int, last: int) -> None:
        """Take in first..last, held or not."""
        begin = bisect_left(self._last, first - 1)
        end = bisect_right(self._first, last + 1)
        if begin < end:
            first, last = min(first, self._first[begin]), max(last, self._last[end - 1])
        self._first[begin:end], self._last[begin:end] = [first], [last]

    def holes(self, end: int) -> list[tuple[int, int]]:
        """Ranges below `end` (exclusive) that are not held."""
        found = []
        at = 0
        for first, last in zip(self._first, self._last):
            if first >= end:
                break
            if first > at:
                found.append((at, first - 1))
            at = last + 1
        if at < end:
            found.append((at, end - 1))
        return found

    def hole_up_to(self, seq: int) -> tuple[int, int] | None:
        """The part of a hole that ends at `seq`, None when `seq` is held."""
        if seq in self:
            return None
        at = bisect_right(self._first, seq)
        return (self._last[at - 1] + 1 if at else 0, seq)


def without(ranges: list[tuple[int, int]], other: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of `ranges` is in none of `other`; both sorted and disjoint, as is the result."""
    rest, at = [], 0
    for first, last in ranges:
        while at < len(other) and other[at][1] < first:
            at += 1
        look = at
        while look < len(other) and other[look][0] <= last:
            if first < other[look][0]:
                rest.append((first, other[look][0] - 1))
            first = other[look][1] + 1
            look += 1
        if first <= last:
            rest.append((first, last))
    return rest


def size(ranges: list[tuple[int, int]]) -> int:
    """How many numbers are in these disjoint ranges."""
    return sum(last - first + 1 for first, last in ranges)


def decide(seq, batch_hash, prev, head, same_hash, before_hash, after_prev, is_fork) -> tuple[str, str]:
    """(decision, why) for a verified batch.

    `head` is the highest seq held; `same_hash` and `before_hash` are the hashes of the held batches at seq
    and seq-1, `after_prev` what the held batch at seq+1 names as its predecessor: each None when that batch
    is not held. `is_fork(hash)` tells whether a batch with that hash was refused as a fork."""
    if same_hash is not None:
        if same_hash == batch_hash:
            return DUPLICATE, "held already"
        return FORK, f"seq {seq} is held with other content"
    if is_fork(batch_hash):
        return FORK, "was refused as a fork before"
    if prev is not None and is_fork(prev):
        return FORK, f"continues a fork at seq {seq - 1}"
    if before_hash is not None and prev != before_hash:
        return FORK, f"does not continue the batch held at seq {seq - 1}"
    if after_prev is not None and after_prev != batch_hash:
        return FORK, f"the batch held at seq {seq + 1} continues another one"
    if head is None or seq > head:
        return NEW, "extends the chain"
    return LATE, "fills a hole"


def counter_fault(before, this) -> str | None:
    """Why the signed counters of two neighbours disagree, None when they agree.

    Each is (sampled, readings, dropped): the cumulative counts at its end, and the readings in it. `before` is None
    for seq 0. What was taken and is not in the batch must have been dropped (SPEC 5.5)."""
    sampled, readings, dropped = this
    grown = sampled - (before[0] if before else 0)
    lost = dropped - (before[2] if before else 0)
    if lost < 0 or not 0 <= grown - readings <= lost:
        return f"sampled grew by {grown}, but the batch holds {readings} readings and dropped grew by {lost}"
    if readings + dropped > sampled:
        return f"{readings} readings in the batch and {dropped} dropped are more than the {sampled} sampled"
    return None

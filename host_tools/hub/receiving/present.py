"""What a beat proves of now: how old it can be, whether its gateway's clock is right, and what to ask back for.

A beat is signed, so it is authentic whenever it comes; a broker may have kept it back for days. What bounds its age is
the newest answer of this hub that it repeats (`answered_ms`, SPEC 7): it was made after that, and before it arrived.
"""

from host_tools.hub.receiving.accept import Held, without
from parkgate.reading import RELATIVE_ONLY
from parkgate.wire.beat import Beat
from parkgate.wire.receipt import MAX_WANTED

FRESH_MS = 15 * 60_000  # a beat that may be older proves no life
CLOCK_MS = 2_000  # of a clock that is called synchronised
LAST_ANSWER, UNCERTAINTY, UPTIME = "answered_ms", "clock_error_ms", "uptime_ms"


def rank(beat: Beat) -> tuple[int, int, int, int]:
    """Of two beats of one chain the one with the higher rank is the newer; with the same it is no new statement."""
    return beat.boot, beat.sign1.seq, beat.sampled, beat.health.get(UPTIME, 0)


def age_ms_max(beat: Beat, received_unix_ms: int) -> int | None:
    """How old the beat can have been when it came; None when it repeats no answer, as the first of a start."""
    answered = beat.health.get(LAST_ANSWER)
    return None if answered is None else max(0, received_unix_ms - answered)


def is_fresh(beat: Beat, received_unix_ms: int) -> bool:
    """Whether nothing speaks against its having been made just now."""
    age = age_ms_max(beat, received_unix_ms)
    return age is None or age <= FRESH_MS


def clock_apart_ms(beat: Beat | None, received_unix_ms: int | None) -> int | None:
    """How far the gateway's clock is ahead of the hub's (behind: negative), as far as this beat can tell."""
    if beat is None or received_unix_ms is None or beat.trust == RELATIVE_ONLY or not is_fresh(beat, received_unix_ms):
        return None
    return beat.time_ms - received_unix_ms


def clock_fault(beat: Beat, received_unix_ms: int) -> str | None:
    """What is certainly wrong with the gateway's clock, None when nothing is: the beat was made after the answer that
    it repeats and before it came, so a time outside of that, by more than it may be off, is wrong."""
    if beat.trust == RELATIVE_ONLY:
        return None
    allowed = CLOCK_MS + max(0, beat.health.get(UNCERTAINTY, 0))
    ahead = beat.time_ms - received_unix_ms
    answered = beat.health.get(LAST_ANSWER)
    behind = 0 if answered is None else answered - beat.time_ms
    for apart, word in ((ahead, "ahead of"), (behind, "behind")):
        if apart > allowed:
            return f"its clock is at least {duration(apart)} {word} this hub's"
    return None


def duration(ms: int) -> str:
    """A span in the largest unit of which it has two."""
    for size, unit in ((365 * 86_400_000, "years"), (86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes")):
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{ms / 1000:.1f} s"


def wanted(held: Held, gap: Held, receipt_seq: int | None, begin: int) -> tuple[list[tuple[int, int]], int]:
    """(ranges of seq that the gateway has receipts for and this hub lacks, where to go on the next time). At most
    MAX_WANTED, from `begin` on and round again; what a signed gap names is not asked for."""
    if receipt_seq is None:
        return [], 0
    holes = without(held.holes(receipt_seq + 1), gap.ranges())
    later = [hole for hole in holes if hole[0] >= begin]
    chosen = (later or holes)[:MAX_WANTED]
    return chosen, chosen[-1][1] + 1 if chosen else 0

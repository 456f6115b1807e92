"""What a gateway signs of the periods of its instruments (SPEC 5.7), taken to account."""

from host_tools.hub.receiving.state import Epoch, Gateway
from host_tools.hub.stores.store import Store
from parkgate import events
from parkgate.reading import RELATIVE_ONLY

NUMBER_MAX = 1 << 53  # of times and counts in a statement: what a reader of JSON can keep


def take(store: Store, gateway: Gateway, epoch: Epoch, seq: int, found: list) -> None:
    """Store the statements among the events of a batch; one that cannot be interpreted is an alarm of its gateway."""
    for place, event in enumerate(found):
        if event[0] != events.PERIODS:
            continue
        stated = interpreted(event)
        if stated is None:
            store.alarm(gateway, "event", f"seq {seq}: a statement of periods that cannot be interpreted")
        else:
            store.add_periods(gateway, epoch, seq, place, stated)


def interpreted(event: list) -> tuple | None:
    """(instrument, begin or None, period_ms, counts of the six outcomes) of a statement; counts of outcomes that are
    not known here yet count as failed. None when its fields are not what they should be."""
    if len(event) != 5:
        return None
    _, instrument, begin, period_ms, counts = event
    if type(instrument) is not str or type(begin) is not list or len(begin) != 2 or type(counts) is not list:
        return None
    numbers = [*begin, period_ms, *counts]
    if not 6 <= len(counts) <= 16 or any(type(n) is not int or not 0 <= n < NUMBER_MAX for n in numbers):
        return None
    if not period_ms or sum(counts) > NUMBER_MAX // period_ms:
        return None
    return instrument, None if begin[1] == RELATIVE_ONLY else begin[0], period_ms, [*counts[:5], sum(counts[5:])]

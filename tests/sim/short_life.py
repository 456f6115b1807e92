"""What the tests of the journal do over and over in a short life: start, and seal what is there."""

from hashlib import sha256

from flash_sim import Chance
from parkgate.journal.journal import Journal
from parkgate.journal.space import FIRST_START


def started(flash, seed=1, reason=FIRST_START):
    """(journal, the report of its recovery), started for `reason`; `seed` makes the epoch of a new one."""
    chance = Chance(seed)
    journal = Journal(flash, lambda: chance.data(16))
    return journal, journal.recover(1, reason)


def journal_of(flash, seed=1):
    """The same journal without the report."""
    return started(flash, seed)[0]


def seal(journal, size=0, limit=None):
    """Seal what is unsealed, at most `limit` readings, as a batch with `size` bytes more; gives (seq, bytes)."""
    records = list(journal.unsealed(limit))
    batch = b"".join([r.payload for r in records]) + bytes(size)
    seq, readings = journal.next_seq, sum([r.readings for r in records])
    journal.commit_batch(seq, batch, sha256(batch).digest(), records[-1].position, readings)
    return seq, batch

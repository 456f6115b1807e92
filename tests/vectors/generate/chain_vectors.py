"""Chains: batches that each verify, in the order of their seqs (SPEC 5.5)."""

import hashlib

from .forms import OTHER, batch_at, table
from .registry import GOOD, vector

OTHER_EPOCH = hashlib.sha256(b"parkgate vector epoch 2").digest()[:16]


def chain(*changes, **more) -> list:
    """Batches from seq 0, each with the hash of the one before and counters that fit; `changes` for each."""
    made, sampled, prev = [], 0, None
    for seq, change in enumerate(changes):
        sampled += 8
        parts = {"prev": prev, "receipt_seq": None, "sampled": sampled, **more, **change}
        made.append(batch_at(parts.pop("seq", seq), **parts))
        prev = hashlib.sha256(made[-1]).digest()
    return made


@vector("chain", GOOD, "5.5", "three batches")
def three_batches():
    return chain({}, {}, {})


@vector("chain", GOOD, "5.5", "five readings were lost before they were sealed; the event comes a batch later")
def loss_counted():
    return chain(
        {}, {"sampled": 21, "dropped": 5}, {"sampled": 29, "dropped": 5, "events": [[5, None, None, 5, 0, []]]}
    )


@vector("chain", GOOD, "5.5", "the very first readings were lost")
def first_readings_lost():
    return chain({"sampled": 12, "dropped": 4})


@vector("chain", GOOD, "5.5", "a batch was lost: an event names it; its readings are dropped, not sampled again")
def lost_batch_said():
    return chain({}, {}, {"dropped": 8, "events": [[5, 0, 0, 8, 0, []]]})


@vector("chain", GOOD, "5.5", "a restart between two batches")
def restart():
    return chain({}, {"boot": 4, "cause": 3, "events": [[1, 4, 3]]})


@vector("chain", "chain", "5.5", "the second does not have the hash of the first")
def hash_of_another():
    return chain({}, {"prev": bytes(32)})


@vector("chain", "chain", "5.5", "the first was exchanged for another that is signed as well")
def first_exchanged():
    honest = chain({}, {})
    return chain({"tables": [table(channels=[[1, 2, 3, 4], [5, 6, 7, 8]])]})[:1] + honest[1:]


@vector("chain", "chain", "5.5", "one seq twice with other content, both signed: a fork")
def seq_reused():
    first, second = chain({}, {})
    again = chain({}, {"settings_id": bytes(16)})[1]
    return [first, second, again]


@vector("chain", "chain", "5.5", "a batch is missing")
def batch_missing():
    first, _, third = chain({}, {}, {})
    return [first, third]


@vector("chain", "chain", "5.5", "two batches in the wrong order")
def wrong_order():
    first, second, third = chain({}, {}, {})
    return [first, third, second]


@vector("chain", "chain", "5.5", "the epoch changes in the middle")
def epoch_changes():
    return chain({}, {"epoch": OTHER_EPOCH})


@vector("chain", "chain", "5.5", "the second is another gateway's")
def gateway_changes():
    return chain({}, {"key": OTHER})


@vector("chain", "chain", "5.5", "the first batch is missing")
def first_missing():
    return chain({}, {})[1:]


@vector("chain", "chain", "5.5", "sampled grows by more than the batch holds, and nothing was dropped")
def sampled_too_large():
    return chain({}, {"sampled": 21})


@vector("chain", "chain", "5.5", "sampled grows by five more than the batch holds, but only four were dropped")
def sampled_more_than_dropped():
    return chain({}, {"sampled": 21, "dropped": 4})


@vector("chain", "chain", "5.5", "sampled grows by less than the batch holds")
def sampled_too_small():
    return chain({}, {"sampled": 15})


@vector("chain", "chain", "5.5", "the first batch counts a reading that is neither in it nor dropped")
def first_sampled_too_large():
    return chain({"sampled": 9})


@vector("chain", "chain", "5.5", "sampled counts backwards")
def sampled_backwards():
    return chain({}, {"sampled": 7})


@vector("chain", "chain", "5.5", "dropped counts backwards")
def dropped_backwards():
    return chain({"sampled": 16, "dropped": 8}, {"sampled": 24, "dropped": 7})


@vector("chain", "chain", "5.5", "the number of the start counts backwards")
def boot_backwards():
    return chain({"boot": 4}, {"boot": 3})


@vector("chain", GOOD, "5.5", "the rest of a start, sealed after the next one: its cause is not known any more")
def cause_not_known_later():
    return chain({}, {"cause": 0}, {"boot": 4, "cause": 3})


@vector("chain", "chain", "5.5", "two causes of one start")
def cause_changes():
    return chain({}, {"cause": 2})


@vector("chain", GOOD, "5.5", "a power cut took back a receipt that was not yet written down")
def receipt_taken_back():
    return chain({}, {"receipt_seq": 0}, {})


@vector("chain", "chain", "5.5", "a batch that states its own receipt")
def receipt_of_itself():
    return chain({}, {"receipt_seq": 1})


@vector("chain", "chain", "5.5", "eight readings in the batch and one lost, of eight that were sampled")
def dropped_too_large():
    return chain({"dropped": 1})

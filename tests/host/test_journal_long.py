"""Long lives of the journal: a full one without a hub, and a week of twenty channels."""

from hashlib import sha256

import pytest

from flash_sim import Chance, FlashSim
from parkgate.journal.journal import Journal
from parkgate.reading import encode_sample
from parkgate.wire import columns


def seal(journal, sealed):
    records = list(journal.unsealed())
    readings = sum(record.readings for record in records)
    journal.commit_batch(journal.next_seq, sealed, sha256(sealed).digest(), records[-1].position, readings)


def actual(journal):
    """Readings that can really be read: in unsealed records, and in batches that are whole."""
    held = [seq for seq in journal.held() if journal.read_batch(seq) is not None]
    assert len(held) == len(journal.held())
    return sum(record.readings for record in journal.unsealed()) + sum(journal.commit_of(seq).readings for seq in held)


@pytest.mark.parametrize("unit", [256, 32])
def test_a_full_journal_without_a_hub_takes_200000_readings(unit):
    chance = Chance(unit)
    flash = FlashSim(4096, 64, unit)
    journal = Journal(flash, lambda: bytes(16))
    journal.recover(1)
    sampled = n = 0
    while sampled < 200_000:
        readings = 1 + n % 16
        journal.append(journal.SAMPLE, chance.data(40), readings)
        sampled += readings
        n += 1
        if n % 60 == 0:
            while not journal.ready_for(3000):
                journal.maintain()
            seal(journal, chance.data(600 + n % 2000))
        while journal.needs_erase and journal.maintain():
            pass
        counters = journal.counters
        assert counters.sampled == sampled == counters.acked + counters.buffered + counters.dropped
        if n % 2500 == 0:
            journal = Journal(flash, lambda: bytes(16))
            journal.recover(1)
            assert journal.counters == counters
    assert journal.counters.dropped > 50_000
    assert actual(journal) == journal.counters.buffered


@pytest.mark.parametrize("unit", [256, 32])
def test_a_week_of_twenty_channels_a_minute_fits_768_kib(unit):
    """Twenty drifting channels as one instrument, a row a minute, sealed hourly into compressed columns of which the
    signature and the header take 300 bytes."""
    chance = Chance(5)
    flash = FlashSim(4096, 192, unit)
    journal = Journal(flash, lambda: bytes(16))
    journal.recover(1)
    values = [chance.below(100_000) for _ in range(20)]
    rows = []
    for minute in range(7 * 24 * 60):
        for i in range(20):
            values[i] += chance.below(7 + 6 * i) - 3 - 3 * i
        rows.append(list(values))
        payload = encode_sample(0, 1_800_000_000_000 + minute * 60_000, 0, values)
        journal.append(journal.SAMPLE, payload, 20)
        if minute % 60 == 59:
            sealed = bytes(300) + b"".join(columns.encode([row[i] for row in rows])[1] for i in range(20))
            seal(journal, sealed)
            rows = []
    counters = journal.counters
    assert counters == (7 * 24 * 60 * 20, 0, 7 * 24 * 60 * 20, 0)
    print(journal.space, sum(journal.commit_of(seq).length for seq in journal.held()))

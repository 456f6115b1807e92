"""What the journal says of a flash image is what SPEC 9 says of it, read by another hand (journal_reader.py)."""

import pytest

from journal_reader import Journal as Reader
from tests import cuts


@pytest.mark.parametrize("name", ["story-rp2", "story-esp32", "small-rp2", "small-esp32"])
def test_the_specification_reads_every_image_alike(name):
    world, make_journal = cuts.make_life(name, 11, 400)
    geometry = cuts.LIVES[name][0]
    flash = cuts.FlashSim(*geometry)
    done = unsealed = batches = 0
    for n in range(20, len(world.trace), 97):
        for operation in world.trace[done:n]:
            flash.apply(operation)
        done = n
        image = flash.copy()
        image.apply_cut(world.trace[n], n % 5, n)
        journal = make_journal(image)
        journal.recover(1)  # it writes its BOOT: the reader sees what the next start would
        reader = Reader([bytes(sector) for sector in image.sectors], geometry[2])
        assert reader.counters == tuple(journal.counters)
        assert reader.state["head"] == journal.head_hash and reader.state["next_seq"] == journal.next_seq
        assert reader.held() == list(journal.held())
        assert reader.unsealed() == [tuple(record) for record in journal.unsealed()]
        for seq in reader.held():
            assert reader.batch(seq) == bytes(journal.read_batch(seq))
            batches += 1
        unsealed += journal.unsealed_records
    assert unsealed > 100 and batches > 20


@pytest.mark.parametrize("name", ["small-rp2", "small-esp32"])
def test_what_a_start_declared_to_be_nothing_is_nothing(name):
    """Cells of a torn record that read well again later."""
    world, make_journal = cuts.make_life(name, 12, 300)
    geometry = cuts.LIVES[name][0]
    flash = cuts.FlashSim(*geometry)
    done = torn = 0
    for n in range(20, len(world.trace), 31):
        for operation in world.trace[done:n]:
            flash.apply(operation)
        done = n
        place, data = world.trace[n]
        if data is None or place % 4096 == 0:
            continue
        image = flash.copy()
        image.apply_cut(world.trace[n], 1 if len(data) > 32 else 2, n)
        report = make_journal(image).recover(1)
        sector, at = divmod(place, 4096)
        image.own(sector)[at : at + len(data)] = data
        reader = Reader([bytes(sector) for sector in image.sectors], geometry[2])
        journal = make_journal(image.copy())
        journal.recover(1)
        assert reader.counters == tuple(journal.counters)
        assert reader.unsealed() == [tuple(record) for record in journal.unsealed()]
        torn += report.torn
    assert torn > 10

"""What the hub makes of a gateway whose journal was wiped, re-flashed, lost or set back."""

import copy

import pytest

from batches import START_MS, FakeGateway
from flash_sim import Chance, FlashSim
from parkgate import events, reading
from parkgate.journal.journal import Journal
from parkgate.journal.space import FACTORY_RESET, FIRST_START, JOURNAL_LOST, RE_FLASH
from parkgate.wire import cbor
from parkgate.wire.batch import chain_hash

LEVEL = [["level", "test", [["level", "mm", 0]]]]
epochs = Chance(40)


class Journalled(FakeGateway):
    """A gateway of one channel with a real journal on the flash of the model."""

    def __init__(self, number: int):
        super().__init__(number, LEVEL)
        self.flash = FlashSim(4096, 16, 256)
        self.minute = 0
        self.start()

    def start(self, blank_reason=FIRST_START):
        self.journal = Journal(self.flash, lambda: epochs.data(16))
        self.report = self.journal.recover(1, blank_reason)

    def take_samples(self, count: int):
        for _ in range(count):
            self.minute += 1
            sample = reading.encode_sample(0, START_MS + 60_000 * self.minute, 0, [1000 + self.minute])
            self.journal.append(self.journal.SAMPLE, sample, 1)

    def seal_all(self) -> bytes:
        """One batch of all that is unsealed, as firmware/tasks/seal.py makes it; kept in the journal."""
        journal = self.journal
        before = journal.counters.sampled - journal.unsealed_readings
        rows, told, position = [], [], None
        for record in journal.unsealed():
            position = record.position
            if record.kind == journal.EVENT:
                told.append(cbor.decode(record.payload))
            else:
                rows.append(reading.decode_sample(record.payload)[1:])
        payload = self.payload(
            tables={0: rows} if rows else {},
            events=told,
            with_schema=True,
            prev=journal.head_hash if journal.next_seq else None,
            boot=journal.boot,
            sampled=before + len(rows),
            dropped=journal.counters.dropped,
        )
        sealed = self.seal(payload, seq=journal.next_seq, epoch=journal.epoch)
        journal.commit_batch(journal.next_seq, sealed, chain_hash(sealed), position, len(rows))
        return sealed

    def deliver(self, rig) -> list[str]:
        """Send all that is held; what became of each. Receipts free it."""
        found = []
        for seq in list(self.journal.held()):
            outcome = rig.take((self.batch_topic(), bytes(self.journal.read_batch(seq))))[0]
            if outcome.receipt is not None:
                self.journal.acknowledge(seq)
            found.append(outcome.kind)
        return found


@pytest.fixture
def gateway(rig):
    gateway = Journalled(1)
    rig.enrol(gateway)
    for _ in range(3):
        gateway.take_samples(20)
        gateway.seal_all()
    assert gateway.deliver(rig) == ["new"] * 3
    return gateway


def test_a_flash_image_written_back_is_a_fork_and_costs_nothing_that_was_stored(rig, gateway):
    image = gateway.flash.copy()
    gateway.take_samples(10)
    gateway.seal_all()
    assert gateway.deliver(rig) == ["new"]
    before = rig.everything()
    head, sampled = gateway.journal.head_hash, gateway.journal.counters.sampled

    restored = copy.copy(gateway)
    restored.flash = image
    restored.start()
    assert not restored.report.born and restored.journal.epoch == gateway.journal.epoch
    assert restored.journal.next_seq == 3, "it knows nothing of the batch that came after the image"
    restored.take_samples(5)
    sealed = [restored.seal_all()]
    restored.take_samples(5)
    sealed.append(restored.seal_all())

    # The image is from before the receipts were on flash: those batches are sent once more, the same bytes.
    assert restored.deliver(rig) == ["duplicate"] * 3 + ["refused"] * 2
    assert list(restored.journal.held()) == [3, 4], "nothing is acknowledged: the gateway keeps what it sampled"
    assert rig.everything() == before, "what was stored stays as it was"
    summary = rig.summary(gateway)
    assert summary["forks"] == 2 and {alarm["kind"] for alarm in summary["alarms"]} == {"fork"}
    assert {row[0] for row in rig.rows("SELECT bytes FROM evidence WHERE reason = 'fork'")} == set(sealed)
    assert (gateway.journal.head_hash, gateway.journal.counters.sampled) == (head, sampled)

    # The way out: a factory reset begins another chain, which the hub takes.
    restored.journal.wipe()
    restored.take_samples(7)
    restored.seal_all()
    assert restored.deliver(rig) == ["new"]
    assert rig.summary(gateway)["epochs"] == 2


def test_an_image_without_anything_new_behind_it_does_no_harm(rig, gateway):
    gateway.flash = gateway.flash.copy()
    gateway.start()
    gateway.take_samples(4)
    gateway.seal_all()
    assert gateway.deliver(rig) == ["duplicate"] * 3 + ["new"]
    assert rig.summary(gateway)["forks"] == 0


@pytest.mark.parametrize(
    "happening, reason", [("re-flash", RE_FLASH), ("factory reset", FACTORY_RESET), ("overwritten", JOURNAL_LOST)]
)
def test_a_new_epoch_reaches_the_hub_with_its_reason(rig, gateway, happening, reason):
    gateway.take_samples(3)
    old = gateway.journal.epoch
    if happening == "factory reset":
        gateway.journal.wipe()
    else:
        for sector in range(16):
            gateway.flash.sectors[sector] = (
                gateway.flash.blank if happening == "re-flash" else Chance(sector + 1).data(4096)
            )
        gateway.start(RE_FLASH)
    assert gateway.journal.epoch != old and gateway.journal.epoch_reason == reason
    gateway.take_samples(6)
    gateway.seal_all()
    assert gateway.deliver(rig) == ["new"]
    summary = rig.summary(gateway)
    assert (summary["epochs"], summary["forks"], summary["readings_stored"]) == (2, 0, 66)
    said = rig.rows("SELECT event FROM event")
    assert [events.EPOCH_BORN, reason] in [cbor.decode(row[0]) for row in said]

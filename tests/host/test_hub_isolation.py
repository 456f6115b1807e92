"""What one gateway's key can do to the others: nothing but one more transaction."""

import collections

import pytest

from batches import START_MS, FakeGateway
from host_tools.hub.receiving import intake, periods, verify
from host_tools.hub.verbs.enrol import enrol
from parkgate import events
from parkgate.wire import cbor
from parkgate.wire.cbor import UINT_LIMIT

LARGE = (1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


@pytest.mark.parametrize("kind", LARGE)
def test_a_kind_of_event_outside_the_text_is_malformed(rig, gateway, kind):
    outcome = rig.take((gateway.batch_topic(), gateway.batch(events=[[kind, 1]])))[0]
    assert outcome.kind == "refused" and outcome.what.startswith("malformed"), outcome
    assert rig.rows("SELECT count(*) FROM batch") == [(0,)]


def test_the_largest_kind_of_event_is_kept(rig, gateway):
    assert rig.batches(gateway, gateway.batch(events=[[UINT_LIMIT - 1, LARGE[-1]]]))[0].kind == "new"
    assert rig.rows("SELECT kind FROM event") == [(UINT_LIMIT - 1,)]


def test_a_time_beyond_the_text_does_not_become_a_row(rig, gateway):
    rows = [(UINT_LIMIT - 1000, 0, [1, 2, 3], [0, 0, 0]), (UINT_LIMIT - 1, 0, [1, 2, 3], [0, 0, 0])]
    assert rig.batches(gateway, gateway.batch(tables={0: rows}))[0].kind == "new"
    fields = cbor.decode(gateway.payload(tables={0: rows}))
    fields[9] += 1  # the base time
    rig.take((gateway.batch_topic(), gateway.seal(cbor.encode(fields))))
    assert rig.rows("SELECT state FROM batch ORDER BY seq") == [(0,), (2,)], "kept, and said not to decode"


def test_lost_readings_without_end_fit_the_database(rig, gateway):
    """Each number is in the text's range, their sum is not."""
    for _ in range(4):
        gap = [events.GAP, None, None, UINT_LIMIT - 1, 0, []]
        data = gateway.seal(gateway.payload(events=[gap], sampled=1, dropped=UINT_LIMIT - 1))
        gateway.head, gateway.seq = intake.hashlib.sha256(data).digest(), gateway.seq + 1
        assert rig.take((gateway.batch_topic(), data))[0].receipt
    assert rig.rows("SELECT gap_readings FROM epoch") == [(UINT_LIMIT,)]


def test_statements_without_end_do_not_stop_the_start(rig, gateway):
    much = [periods.NUMBER_MAX - 1, 0, 0, 0, 0, 0]
    for _ in range(9):
        told = [[events.PERIODS, "hall meter", [START_MS, 0], 1, much] for _ in range(128)]
        assert rig.batches(gateway, gateway.batch(rows=1, events=told))[0].receipt
    rig.restart()
    account = rig.store.by_topic[gateway.topic].accounts["hall meter"]
    assert account.counts == [9 * 128 * n for n in much]


@pytest.fixture
def poisoned(rig, gateway, monkeypatch):
    """A hub with a fault of its own: it fails on what this gateway sends in rows of 7. Counts its work."""
    work = collections.Counter()
    real_keep, real_verify = rig.intake._keep, verify.verify

    def keep(message, owner, epoch, batch, *rest):
        if batch.tables and batch.tables[0].rows == 7:
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return real_keep(message, owner, epoch, batch, *rest)

    def counted(*args):
        work["verified"] += 1
        return real_verify(*args)

    monkeypatch.setattr(rig.intake, "_keep", keep)
    monkeypatch.setattr(verify, "verify", counted)
    real_transaction = rig.store.transaction
    monkeypatch.setattr(
        rig.store, "transaction", lambda *args, **more: work.update(["transactions"]) or real_transaction(*args, **more)
    )
    return work


def test_one_gateways_faults_cost_the_others_one_transaction(rig, gateway, poisoned):
    others = [FakeGateway(n) for n in range(2, 12)]
    rig.enrol(gateway, *others)
    bad = [(gateway.batch_topic(), gateway.batch(rows=7)) for _ in range(40)]
    good = [(each.batch_topic(), each.batch(rows=3)) for _ in range(4) for each in others]
    outcomes = rig.take(*[message for pair in zip(bad, good) for message in pair])
    assert [outcome.kind for outcome in outcomes[1::2]] == ["new"] * 40
    assert all(outcome.receipt for outcome in outcomes[1::2])
    assert {outcome.kind for outcome in outcomes[::2]} == {"refused"}
    assert not any(outcome.receipt for outcome in outcomes[::2])
    assert poisoned["verified"] == 80, "nothing is verified twice"
    assert poisoned["transactions"] <= 2 + intake.FAULTS_MAX
    rig.restart()
    assert all(rig.summary(each)["batches_verified"] == 4 for each in others)


def test_a_gateways_own_good_messages_before_its_faults_are_kept(rig, gateway, poisoned):
    data = [gateway.batch(rows=3), gateway.batch(rows=7), gateway.batch(rows=3)]
    kinds = [outcome.kind for outcome in rig.take(*[(gateway.batch_topic(), each) for each in data])]
    assert kinds == ["new", "refused", "new"]
    assert [row[0] for row in rig.rows("SELECT seq FROM batch ORDER BY 1")] == [0, 2]


def test_what_fails_only_at_the_end_of_a_transaction_is_charged_to_its_gateway(rig, gateway, monkeypatch):
    others = [FakeGateway(n) for n in range(2, 8)]
    rig.enrol(gateway, *others)
    real = rig.store._flush

    def flush():
        if gateway.topic in {each.topic_name() for each in rig.store.touched() if each.epochs}:
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        real()

    monkeypatch.setattr(rig.store, "_flush", flush)
    messages = [(each.batch_topic(), each.batch(rows=2)) for each in (*others[:3], gateway, *others[3:])]
    outcomes = rig.take(*messages)
    assert [outcome.kind for outcome in outcomes] == ["new"] * 3 + ["refused"] + ["new"] * 3
    monkeypatch.undo()
    rig.restart()
    assert all(rig.summary(each)["batches_verified"] == 1 for each in others)
    assert rig.take(messages[3])[0].kind == "new", "it comes again, to a hub that can"


def test_a_chain_of_holes_has_an_end(rig, gateway, monkeypatch):
    monkeypatch.setattr(intake, "HOLES_MAX", 5)
    sealed = [gateway.batch(rows=1, with_schema=True) for _ in range(16)]
    outcomes = rig.batches(gateway, *sealed[::2])
    assert [outcome.kind for outcome in outcomes] == ["new"] * 5 + ["refused"] * 3
    assert "scattered" in outcomes[-1].what and not outcomes[-1].receipt
    assert rig.batches(gateway, *sealed)[-1].kind == "new", "in order it is taken"
    assert rig.rows("SELECT first_seq, last_seq FROM held") == [(0, 15)]


def test_memory_after_a_failed_group_is_that_of_the_database(rig, gateway, poisoned):
    other = FakeGateway(2)
    rig.enrol(gateway, other)
    rig.batches(gateway, gateway.batch(rows=3))
    rig.batches(other, other.batch(rows=3))
    rig.take((gateway.batch_topic(), gateway.batch(rows=7)), (other.batch_topic(), other.batch(rows=3)))
    before = rig.summary(gateway), rig.summary(other)
    rig.restart()
    after = rig.summary(gateway), rig.summary(other)
    for one in (*before, *after):
        del one["spark"]
    assert before == after


def test_enrolment_by_another_process_during_faults(rig, gateway, poisoned):
    new = FakeGateway(3)
    rig.take((gateway.batch_topic(), gateway.batch(rows=7)))
    enrol(rig.store.db, new.xy, "new")
    rig.store.load()
    assert rig.batches(new, new.batch(rows=1))[0].kind == "new"


@pytest.mark.parametrize("row", [(1, 99, 0, 1 << 70, b""), (1, 99, 0, None, b"")])
def test_a_row_that_cannot_be_written_later_is_charged_to_its_message(rig, gateway, monkeypatch, row):
    """Rows are written together, behind other messages: the fault is still that of the message which they come from."""
    other = FakeGateway(2)
    other.name = "other"
    rig.enrol(other)
    plain = rig.store.add_events

    def add_events(epoch, seq, events):
        plain(epoch, seq, events)
        if epoch.epoch == gateway.epoch and seq == 1:
            rig.store.db.append("event", "ep, seq, place, kind, event", row)

    monkeypatch.setattr(rig.store, "add_events", add_events)
    bad, good = [gateway.batch() for _ in range(3)], [other.batch() for _ in range(3)]
    found = rig.take(*[(one.batch_topic(), data) for pair in zip(bad, good)
                       for one, data in zip((gateway, other), pair)])  # fmt: skip
    kinds = [outcome.kind for outcome in found]
    assert kinds == ["new", "new", "refused", "new", "new", "new"]
    assert found[2].what.startswith("internal") and found[2].receipt is None
    assert rig.rows("SELECT count(*) FROM event WHERE seq = 99") == [(0,)]
    rig.restart()
    assert rig.rows("SELECT count(*) FROM batch") == [(5,)]
    assert len(rig.rows("SELECT seq FROM leaf WHERE kind = 1")) == 5

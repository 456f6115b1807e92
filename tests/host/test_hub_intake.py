"""What becomes of verified messages: chains, duplicates, forks, gaps, schemas, beats, restarts."""

import contextlib
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches import METER, ROOM, START_MS, FakeGateway
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs.enrol import clear_alarms
from hub_rig import NOW_MS, Rig
from parkgate.errors import IntegrityError
from parkgate.wire import receipt


def test_batches_become_readings_and_are_answered(rig, gateway):
    outcomes = rig.batches(gateway, gateway.batch(rows=10), gateway.batch(rows=10))
    assert [outcome.kind for outcome in outcomes] == ["new", "new"]
    assert not gateway.held, "both receipts were authentic and freed the batches"
    summary = rig.summary(gateway)
    assert summary["batches_verified"] == 2
    assert summary["readings_stored"] == summary["sampled"] == 2 * 10 * 4
    assert summary["gaps"] == summary["forks"] == summary["duplicates"] == 0
    assert summary["last_reading_ms"] == START_MS + 19_000
    assert summary["clock_trust"] == "synchronised"


def test_the_receipt_is_for_this_gateway_and_carries_the_hubs_clock(rig, gateway):
    other = FakeGateway(2)
    (outcome,) = rig.batches(gateway, gateway.batch())
    assert outcome.receipt_topic == gateway.receipt_topic()
    epoch, seq, _, committed = receipt.decode_receipt(
        gateway.receipt_key(rig.key.xy), rig.key.id, gateway.id, outcome.receipt
    )
    assert (epoch, seq, committed) == (gateway.epoch, 0, NOW_MS)
    with pytest.raises(IntegrityError):
        receipt.decode_receipt(other.receipt_key(rig.key.xy), rig.key.id, gateway.id, outcome.receipt)


def test_a_duplicate_is_answered_again_and_stored_once(rig, gateway):
    data = gateway.batch()
    rig.batches(gateway, data)
    before = rig.everything()
    outcomes = rig.batches(gateway, data, data)
    assert [outcome.kind for outcome in outcomes] == ["duplicate", "duplicate"]
    assert all(outcome.receipt for outcome in outcomes)
    assert rig.everything() == before
    assert rig.summary(gateway)["duplicates"] == 2


def test_a_duplicate_within_one_group(rig, gateway):
    data = gateway.batch()
    assert [outcome.kind for outcome in rig.batches(gateway, data, data)] == ["new", "duplicate"]


@settings(max_examples=12)
@given(order=st.permutations(range(7)), again=st.lists(st.integers(0, 6), max_size=5), cut=st.integers(1, 7))
@pytest.mark.sqlite
def test_any_order_with_any_repeats_gives_the_same_database(tmp_path_factory, order, again, cut):
    gateway = FakeGateway(1)
    sealed = [gateway.batch(rows=3) for _ in range(7)]
    wanted = Rig(tmp_path_factory.mktemp("in_order"))
    wanted.enrol(gateway)
    wanted.batches(gateway, *sealed)
    rig = Rig(tmp_path_factory.mktemp("shuffled"))
    rig.enrol(gateway)
    stream = [sealed[n] for n in [*order, *again]]
    rig.batches(gateway, *stream[:cut])
    rig.restart()
    rig.batches(gateway, *stream[cut:])
    assert rig.everything() == wanted.everything()
    assert rig.summary(gateway)["alarms"] == []
    rig.store.close()
    wanted.store.close()


def test_late_batches_fill_holes(rig, gateway):
    sealed = [gateway.batch() for _ in range(6)]
    rig.batches(gateway, sealed[0], sealed[5], sealed[3])
    rig.beat(gateway, receipt_seq=5, oldest_held=1)
    summary = rig.summary(gateway)
    assert (summary["awaited_batches"], summary["unexplained_batches"], summary["gaps"]) == (3, 0, 0)
    outcomes = rig.batches(gateway, sealed[1], sealed[2], sealed[4])
    assert [outcome.kind for outcome in outcomes] == ["late"] * 3
    assert rig.summary(gateway)["awaited_batches"] == 0
    assert rig.rows("SELECT first_seq, last_seq FROM held") == [(0, 5)]


def test_a_fork_is_kept_apart_and_gets_no_receipt(rig, gateway, caplog):
    rig.batches(gateway, gateway.batch(), gateway.batch())
    before = rig.everything()
    forked = gateway.seal(gateway.payload(rows=5, prev=b"\x01" * 32), seq=1)
    outcome = rig.take((gateway.batch_topic(), forked))[0]
    assert outcome.kind == "refused" and outcome.what.startswith("fork: seq 1") and outcome.receipt is None
    assert rig.everything() == before
    summary = rig.summary(gateway)
    assert summary["forks"] == 1 and [alarm["kind"] for alarm in summary["alarms"]] == ["fork"]
    assert rig.rows("SELECT bytes FROM evidence WHERE reason = 'fork'") == [(forked,)]
    assert "refused (fork)" in caplog.text


def test_a_clones_branch_stays_out_whatever_comes_first(rig, gateway):
    rig.batches(gateway, gateway.batch(), gateway.batch())
    clone = FakeGateway(1)
    clone.seq, clone.head, clone.sampled, clone.boot = 2, gateway.head, gateway.sampled, 9
    rig.batches(gateway, gateway.batch())
    branch = [clone.batch(rows=4, with_schema=False) for _ in range(3)]
    outcomes = rig.take(*[(gateway.batch_topic(), data) for data in branch])
    assert [outcome.kind for outcome in outcomes] == ["refused"] * 3, "also those over the clone's own hole"
    assert rig.batches(gateway, gateway.batch())[0].kind == "new", "the first branch goes on"
    rig.restart()
    again = rig.take((gateway.batch_topic(), clone.batch()))[0]
    assert again.kind == "refused", "known after a restart too"


def test_a_batch_that_does_not_link_to_its_neighbour_is_a_fork(rig, gateway):
    rig.batches(gateway, gateway.batch())
    wrong = gateway.seal(gateway.payload(prev=b"\x02" * 32), seq=1)
    assert rig.take((gateway.batch_topic(), wrong))[0].what.startswith("fork:")
    two = gateway.batch(), gateway.batch()
    rig.batches(gateway, two[1])
    wrong = gateway.seal(gateway.payload(prev=None, with_schema=False), seq=0)
    assert rig.take((gateway.batch_topic(), wrong))[0].what.startswith("fork:")
    assert rig.batches(gateway, two[0])[0].kind == "late"


def test_a_new_epoch_begins_a_chain_of_its_own(rig, gateway):
    rig.batches(gateway, gateway.batch(), gateway.batch())
    gateway.new_epoch(b"second epoch 16b")
    rig.batches(gateway, gateway.batch(events=[[2, 1]]))
    summary = rig.summary(gateway)
    assert (summary["epochs"], summary["batches_verified"], summary["head_seq"]) == (2, 3, 0)
    assert summary["epoch"] == gateway.epoch.hex()
    assert summary["gaps"] == 0


def test_signed_gaps_are_counted_and_explain_what_is_missing(rig, gateway):
    sealed = [gateway.batch(rows=2) for _ in range(4)]
    readings = gateway.held[1][1] + gateway.held[2][1]
    rig.batches(gateway, sealed[0], sealed[3])
    # The journal ran over: batches 1 and 2 are gone, and 12 readings before they were sealed.
    rig.batches(gateway, gateway.batch(events=[[5, 1, 2, readings, 0, []], [5, None, None, 12, 0, []]]))
    del gateway.held[1], gateway.held[2]
    rig.beat(gateway)
    summary = rig.summary(gateway)
    assert summary["dropped"] == readings + 12
    assert summary["sampled"] == summary["readings_stored"] + summary["dropped"]
    assert (summary["gaps"], summary["gap_readings"]) == (2, readings + 12)
    assert (summary["awaited_batches"], summary["unexplained_batches"]) == (0, 0)
    assert [alarm["kind"] for alarm in summary["alarms"]] == [], "told by the gateway: no alarm"


def test_missing_batches_nobody_explains_are_said_so(rig, gateway):
    sealed = [gateway.batch() for _ in range(4)]
    rig.batches(gateway, sealed[0], sealed[3])
    rig.beat(gateway, receipt_seq=3, oldest_held=None, buffered=0, sampled=gateway.sampled)
    summary = rig.summary(gateway)
    assert summary["unexplained_batches"] == 2 and summary["gaps"] == 2


@pytest.mark.parametrize(
    "event", [[5], [5, 1, None, 3, 0], [5, "a", "b", 3, 0], [5, None, None, -1, 0], [5, 9, 2, 1, 0], [99, "?"]]
)
def test_strange_events_are_kept_and_break_nothing(rig, gateway, event):
    (outcome,) = rig.batches(gateway, gateway.seal(gateway.payload(events=()), seq=0))
    gateway.batch()
    payload = gateway.payload(rows=1, prev=rig.rows("SELECT hash FROM batch")[0][0], events=())
    from parkgate.wire import cbor

    fields = cbor.decode(payload)
    fields[11] = [event]
    (outcome,) = rig.take((gateway.batch_topic(), gateway.seal(cbor.encode(fields), seq=1)))
    assert outcome.kind == "new"
    assert rig.rows("SELECT kind FROM event") == [(event[0],)]
    assert rig.summary(gateway)["gap_readings"] == 0


def test_counters_that_disagree_raise_an_alarm_but_lose_nothing(rig, gateway):
    rig.batches(gateway, gateway.batch())
    outcome = rig.batches(gateway, gateway.batch(sampled=10_000))[0]
    assert outcome.kind == "new" and outcome.receipt
    assert [alarm["kind"] for alarm in rig.summary(gateway)["alarms"]] == ["counters"]


@pytest.mark.sqlite
def test_a_hub_set_back_notices_and_records_the_lost_range(rig, gateway, tmp_path, caplog):
    rig.batches(gateway, gateway.batch(), gateway.batch())
    yesterday = sqlite3.connect(tmp_path / "yesterday.sqlite")
    rig.store.db.backup(yesterday)
    yesterday.close()
    rig.batches(gateway, *[gateway.batch() for _ in range(3)])
    rig.store.close()
    for name in ("hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "yesterday.sqlite").rename(tmp_path / "hub.sqlite")
    rig.open()
    # The next batch says that a receipt came for seq 4; this hub knows seqs 0 and 1.
    rig.batches(gateway, gateway.batch())
    assert rig.rows("SELECT first_seq, last_seq, why FROM missing") == [(2, 4, "lost")]
    summary = rig.summary(gateway)
    assert summary["lost_batches"] == 3 and [alarm["kind"] for alarm in summary["alarms"]] == ["restored"]
    assert "was it restored" in caplog.text
    rig.batches(gateway, gateway.batch())
    assert rig.summary(gateway)["alarms"][0]["count"] == 1, "told once, not with every batch"


def test_a_beat_tells_of_receipts_this_hub_never_gave(rig, gateway):
    rig.batches(gateway, gateway.batch())
    rig.beat(gateway, sampled=gateway.sampled + 500, buffered=0)
    assert [alarm["kind"] for alarm in rig.summary(gateway)["alarms"]] == ["restored"]


def test_alarms_can_be_cleared_and_come_again(rig, gateway):
    rig.batches(gateway, gateway.batch())
    rig.beat(gateway, head=b"\x07" * 32)
    with contextlib.closing(connect(rig.data_dir)) as db:
        assert clear_alarms(db, "gateway 0") == 1
    rig.batches(gateway, gateway.batch())
    summary = rig.summary(gateway)
    assert summary["alarms"] == [] and summary["forks"] == 1
    rig.beat(gateway, head=b"\x08" * 32)
    assert [alarm["count"] for alarm in rig.summary(gateway)["alarms"]] == [1]


def test_how_long_the_flash_lasts_is_foreseen_after_a_day(rig, gateway):
    rig.beat(gateway, health={"uptime_ms": 1})
    begun_ms = rig.summary(gateway)["enrolled_unix_ms"]

    def years(days, erases):
        rig.now_unix_ms = begun_ms + days * 86_400_000
        rig.beat(gateway, health={"erases_max": erases, "uptime_ms": days + 2})
        return rig.summary(gateway)["beat"]["flash_years"]

    assert [years(0, 5), years(1, 0), years(365, 1000), years(366, 120_000)] == [None, None, 98, 0]


def test_beats(rig, gateway):
    rig.batches(gateway, gateway.batch())
    waiting = gateway.batch()
    assert rig.beat(gateway).kind == "beat"
    summary = rig.summary(gateway)
    assert (summary["buffered"], summary["sampled"]) == (40, 80)
    assert summary["awaited_batches"] == 1, "the beat names a batch that is not here yet"
    assert summary["loss_in_s"] == 600_000
    old = gateway.beat()
    rig.batches(gateway, waiting)
    rig.beat(gateway, boot=2)
    assert rig.beat(gateway, data=old).kind == "stale beat"
    assert rig.summary(gateway)["beat"]["boot"] == 2
    rig.restart()
    assert rig.summary(gateway)["beat"]["boot"] == 2
    assert rig.summary(gateway)["buffered"] == 0


def test_a_beat_that_names_another_head_is_a_fork(rig, gateway):
    rig.batches(gateway, gateway.batch())
    outcome = rig.beat(gateway, head=b"\x07" * 32)
    assert outcome.what.startswith("fork:")
    assert rig.summary(gateway)["forks"] == 1


def test_a_schema_that_comes_late(rig, gateway):
    sealed = [gateway.batch(rows=5, with_schema=n == 0) for n in range(4)]
    rig.batches(gateway, sealed[3], sealed[2])
    assert not set(gateway.held) & {2, 3}, "kept and answered before their channels have names"
    summary = rig.summary(gateway)
    assert (summary["undecoded"], summary["readings_stored"]) == (2, 40)
    rig.restart()
    assert rig.summary(gateway)["undecoded"] == 2
    rig.batches(gateway, sealed[0], sealed[1])
    assert rig.summary(gateway)["undecoded"] == 0
    assert rig.rows("SELECT DISTINCT readings FROM series") == [(20,)]


def test_the_same_channels_under_another_schema_are_the_same_series(rig, gateway):
    rig.batches(gateway, gateway.batch(rows=2))
    gateway.schema = [ROOM, METER]
    rig.batches(gateway, gateway.batch(rows=2, with_schema=True))
    assert rig.rows("SELECT instrument, quantity, readings FROM series ORDER BY series") == [
        ("meter 1", "voltage_l1", 4), ("meter 1", "active_power", 4), ("meter 1", "import_active_energy", 4),
        ("room", "temperature", 4),
    ]  # fmt: skip


def test_names_that_stand_twice(tmp_path):
    gateway = FakeGateway(
        1, [["m", "p", [["voltage", "V", 1], ["voltage", "V", 1]]], ["m", "p", [["voltage", "V", 1]]]]
    )
    rig = Rig(tmp_path)
    rig.enrol(gateway)
    rig.batches(gateway, gateway.batch(rows=2))
    assert rig.rows("SELECT instrument, quantity, readings FROM series ORDER BY series") == [
        ("m", "voltage", 2), ("m", "voltage #2", 2), ("m #2", "voltage", 2),
    ]  # fmt: skip
    rig.store.close()


def test_signed_but_not_decodable_is_kept_answered_and_shown(rig, gateway):
    from parkgate.wire import cbor

    fields = cbor.decode(gateway.payload(rows=3))
    fields[10][0][3] = b"\x7f" + fields[10][0][3][1:]  # a coder that this hub does not know
    outcome = rig.take((gateway.batch_topic(), gateway.seal(cbor.encode(fields), seq=0)))[0]
    assert outcome.kind == "new" and outcome.receipt
    summary = rig.summary(gateway)
    assert summary["undecodable"] == 1 and [alarm["kind"] for alarm in summary["alarms"]] == ["undecodable"]
    rig.restart()
    assert rig.intake.derived.retry_undecodable(NOW_MS) == 0
    assert rig.summary(gateway)["undecodable"] == 1


def test_a_batch_an_earlier_hub_could_not_decode_is_decoded_later(rig, gateway):
    rig.batches(gateway, gateway.batch(rows=3))
    whole = rig.everything()
    rig.store.db.execute("UPDATE batch SET state = 2")
    rig.store.db.execute("DELETE FROM block")
    rig.store.db.execute("UPDATE series SET readings = 0, qualities = '{}', last_ep = NULL, last_seq = NULL")
    rig.restart()
    assert rig.summary(gateway)["undecodable"] == 1
    assert rig.intake.derived.retry_undecodable(NOW_MS) == 1
    assert rig.everything() == whole
    assert rig.summary(gateway)["undecodable"] == 0


def test_readings_without_a_date_or_a_value(rig, gateway):
    rig.batches(
        gateway,
        gateway.batch(
            tables={
                0: [
                    (5000, 3, [1, 2, 3], None),
                    (START_MS, 2, [4, None, 6], [0, 8, 4]),
                    (START_MS + 1000, 1, [None, None, None], [9, 9, 9]),
                ]
            }
        ),
    )
    rows = rig.rows(
        "SELECT quantity, readings, undated, qualities, last_value, last_quality FROM series"
        " WHERE readings > 0 ORDER BY 1"
    )
    assert rows == [
        ("active_power", 3, 1, '{"0": 1, "8": 1, "9": 1}', None, 9),
        ("import_active_energy", 3, 1, '{"0": 1, "4": 1, "9": 1}', None, 9),
        ("voltage_l1", 3, 1, '{"0": 2, "9": 1}', None, 9),
    ]
    assert rig.rows("SELECT DISTINCT first_ms, last_ms FROM block") == [(START_MS, START_MS + 1000)]


def test_a_database_that_fails_answers_nothing_and_loses_nothing(rig, gateway, monkeypatch):
    rig.batches(gateway, gateway.batch())
    data = gateway.batch()

    def full(*_args):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(rig.store, "add_blocks", full)
    with pytest.raises(sqlite3.OperationalError):
        rig.batches(gateway, data)
    monkeypatch.undo()
    assert rig.rows("SELECT count(*) FROM batch") == [(1,)]
    outcome = rig.batches(gateway, data)[0]
    assert outcome.kind == "new" and outcome.receipt
    assert rig.summary(gateway)["batches_verified"] == 2


def test_after_a_restart_everything_is_as_before(rig, gateway):
    sealed = [gateway.batch(rows=4) for _ in range(5)]
    rig.batches(gateway, sealed[0], sealed[1], sealed[4], sealed[1])
    rig.beat(gateway)
    rig.take((gateway.batch_topic(), b"garbage"))
    before = rig.summary(gateway)
    rig.restart()
    after = rig.summary(gateway)
    del before["spark"], after["spark"]
    assert after == before
    rig.intake.derived.fill_sparks()
    assert rig.summary(gateway)["spark"]


def test_many_gateways_in_one_group(rig):
    gateways = [FakeGateway(n) for n in range(1, 21)]
    rig.enrol(*gateways)
    messages = [(gateway.batch_topic(), gateway.batch(rows=5)) for _ in range(3) for gateway in gateways]
    assert {outcome.kind for outcome in rig.take(*messages)} == {"new"}
    assert all(rig.summary(gateway)["batches_verified"] == 3 for gateway in gateways)

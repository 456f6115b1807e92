"""What beats prove of now: life, the gateway's clock, and what the hub asks back for (SPEC 10.3)."""

import pytest

from host_tools.hub.receiving import present
from host_tools.hub.receiving.accept import Held
from hub_rig import NOW_MS
from parkgate.wire import receipt

DAY_MS = 86_400_000


def wanted(rig, gateway, outcome):
    key = gateway.receipt_key(rig.key.xy)
    return receipt.decode_answer(key, rig.key.id, gateway.id, outcome.answer)[2]


def alarms(rig, gateway):
    return {alarm["kind"]: alarm["what"] for alarm in rig.summary(gateway)["alarms"]}


def health(age_ms, uptime_ms=60_000, error_ms=300):
    return {"answered_ms": NOW_MS - age_ms, "uptime_ms": uptime_ms, "clock_error_ms": error_ms}


@pytest.mark.parametrize(
    ("off_ms", "said"),
    [
        (20 * 365 * DAY_MS, "20 years ahead of"),
        (3_600_000, "60 minutes ahead of"),
        (-DAY_MS, "23 hours behind"),
        (-90_000, "30.0 s behind"),
        (2_301, "2.3 s ahead of"),
        (2_300, None),
        (-61_000, None),
        (0, None),
    ],
)
def test_a_wrong_clock_is_an_alarm(rig, gateway, off_ms, said):
    rig.beat(gateway, time_ms=NOW_MS + off_ms, health=health(60_000))
    found = alarms(rig, gateway).get("clock")
    assert (found is None) == (said is None), found
    assert said is None or said in found
    assert rig.summary(gateway)["beat"]["clock_apart_ms"] == off_ms


def test_a_beat_that_was_held_back_is_no_wrong_clock(rig, gateway):
    rig.beat(gateway, time_ms=NOW_MS - DAY_MS, health=health(DAY_MS + 30_000))
    assert "clock" not in alarms(rig, gateway)
    assert rig.summary(gateway)["beat"]["clock_apart_ms"] is None, "nobody can tell"
    assert rig.summary(gateway)["beat"]["age_ms_max"] == DAY_MS + 30_000


def test_a_clock_that_was_never_set_is_not_compared(rig, gateway):
    rig.beat(gateway, time_ms=5_000, trust=3, health=health(1000))
    assert "clock" not in alarms(rig, gateway)


def test_a_gateway_that_is_replayed_is_not_alive(rig, gateway):
    data = gateway.batch()
    rig.take((gateway.batch_topic(), data))
    kept = [gateway.beat(health=health(60_000, uptime)) for uptime in (60_000, 120_000, 180_000)]
    assert rig.beat(gateway, kept[0]).kind == "beat"
    assert rig.summary(gateway)["last_seen_unix_ms"] == NOW_MS
    for day in range(1, 31):
        rig.now_unix_ms = NOW_MS + day * DAY_MS
        rig.take((gateway.batch_topic(), data))
        if day < 3:
            assert rig.beat(gateway, kept[day]).kind == "beat", "new here, but kept back"
        assert rig.beat(gateway, kept[0]).kind == "stale beat"
        assert rig.beat(gateway, kept[min(day, 2)]).kind == "stale beat", "the same again"
    summary = rig.summary(gateway)
    assert summary["last_seen_unix_ms"] == NOW_MS
    assert summary["duplicates"] == 30
    rig.restart()
    assert rig.summary(gateway)["last_seen_unix_ms"] == NOW_MS


def test_a_hub_that_was_set_back_asks_for_what_it_lacks(rig, gateway):
    sealed = [gateway.batch(rows=2) for _ in range(12)]
    for seq in (0, 1, 2, 6, 11):
        rig.take((gateway.batch_topic(), sealed[seq]))
    gateway.held = {}
    gateway.receipt_seq = 11
    assert wanted(rig, gateway, rig.beat(gateway, health=health(0))) == [[3, 5], [7, 10]]
    late = rig.take(*[(gateway.batch_topic(), sealed[seq]) for seq in (4, 7)])
    assert [outcome.kind for outcome in late] == ["late", "late"]
    again = rig.beat(gateway, health=health(0, 120_000)), rig.beat(gateway, health=health(0, 180_000))
    assert [3, 3] in wanted(rig, gateway, again[0]) + wanted(rig, gateway, again[1])
    rig.take(*[(gateway.batch_topic(), sealed[seq]) for seq in (3, 5, 8, 9, 10)])
    assert wanted(rig, gateway, rig.beat(gateway, health=health(0, 240_000))) == []
    assert rig.summary(gateway)["lost_batches"] == 0


def test_what_no_receipt_was_seen_for_is_not_asked_for(rig, gateway):
    sealed = [gateway.batch(rows=2) for _ in range(4)]
    rig.take((gateway.batch_topic(), sealed[3]))
    assert wanted(rig, gateway, rig.beat(gateway, health=health(0))) == []


def test_many_holes_are_asked_for_in_turn():
    held = Held([(2 * n, 2 * n) for n in range(1, 21)])
    begin, asked = 0, []
    for _ in range(6):
        ranges, begin = present.wanted(held, Held(), 40, begin)
        assert len(ranges) <= receipt.MAX_WANTED
        asked += ranges
    assert set(asked) == {(0, 1)} | {(2 * n + 1, 2 * n + 1) for n in range(1, 20)}
    assert present.wanted(held, Held([(0, 39)]), 40, 0)[0] == []
    assert present.wanted(held, Held(), None, 0)[0] == []

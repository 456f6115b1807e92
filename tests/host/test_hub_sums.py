"""Exact sums: a function of the readings alone. Random orders of arrival, gaps, jumps of registers, days of 23 and 25
hours. PARKGATE_ORDERS sets how many orders are tried."""

import os
import random
from itertools import pairwise

import pytest

from batches import START_MS, FakeGateway
from host_tools.hub.park import sums, zone
from host_tools.hub.park.book import Book
from host_tools.hub.park.sums import Jump, Piece, Row
from host_tools.hub.park.zone import DAY_MS, HOUR_MS, PIECE_MS
from hub_rig import Rig, meters_schema
from parkgate import events

ORDERS = int(os.environ.get("PARKGATE_ORDERS", "5"))
METER = ["mill", "SDM630; every 60 s", [["active_power", "W", 0], ["import_active_energy", "Wh", 0]]]
T0 = START_MS // DAY_MS * DAY_MS
MINUTE = 60_000


# The pure part, against another way to count: each second by itself.


def by_seconds(rows, begin_ms, end_ms):
    good_s = weight = 0
    for second in range(begin_ms // 1000, end_ms // 1000):
        at_ms = second * 1000
        before = [i for i, row in enumerate(rows) if row.time_ms <= at_ms]
        if not before or before[-1] + 1 == len(rows):
            continue
        row, behind = rows[before[-1]], rows[before[-1] + 1]
        gap = 2 * (behind.time_ms - row.time_ms) > 3 * row.row_ms
        if row.good and at_ms < (row.time_ms + row.row_ms if gap else behind.time_ms):
            good_s, weight = good_s + 1, weight + row.value * 1000
    return good_s * 1000, weight


@pytest.mark.parametrize("seed", range(8))
def test_time_is_counted_as_by_each_second(seed):
    dice = random.Random(seed)
    rows, at = [], 0
    while at < 3600:
        at += dice.choice([10, 10, 10, 14, 15, 16, 40, 300])
        good = dice.random() < 0.8
        rows.append(Row(at * 1000, dice.randrange(-50, 500) if good else None, good, 10_000))
    edges = [0, 600_000, 1_200_000, 1_203_000, 3_600_000]
    found = sums.pieces(rows, edges, None)
    for piece in found:
        assert (piece.good_ms, piece.weight) == by_seconds(rows, piece.begin_ms, piece.end_ms)
        inside = [row.value for row in rows if row.good and piece.begin_ms <= row.time_ms < piece.end_ms]
        assert piece.good_count == len(inside)
        assert (piece.least, piece.most) == (min(inside, default=None), max(inside, default=None))
    assert sums.merge(found)[2:9] == sums.pieces(rows, [edges[0], edges[-1]], None)[0][2:9]


def counter(*readings, row_ms=MINUTE):
    return [Row(T0 + minute * MINUTE, value, True, row_ms) for minute, value in readings]


HOURS = [T0 + n * HOUR_MS for n in range(5)]
EVERY = [(n, 1000 + 10 * n) for n in range(-2, 245)]


def energies(rows, jumps=None, edges=HOURS):
    return [piece.energy() for piece in sums.pieces(rows, edges, jumps or {})]


def test_hours_add_up_to_their_day_to_the_step():
    found = sums.pieces(counter(*EVERY), HOURS, {})
    assert [piece.energy() for piece in found] == [(600, 600)] * 4 and all(piece.is_exact() for piece in found)
    assert sums.merge(found).energy() == (2400, 2400)


def test_an_edge_in_a_gap_is_an_interval_and_costs_the_day_nothing():
    away = [(n, value) for n, value in EVERY if not 50 < n < 80]
    found = sums.pieces(counter(*away), HOURS, {})
    assert [piece.energy() for piece in found] == [(500, 800), (400, 700), (600, 600), (600, 600)]
    assert [piece.is_exact() for piece in found] == [False, False, True, True]
    day = sums.merge(found)
    assert day.energy() == (2400, 2400) and day.is_exact()
    assert day.good_ms == 4 * HOUR_MS - 29 * MINUTE


def test_an_hour_wholly_in_a_gap_may_have_all_of_it_or_nothing():
    away = [(n, value) for n, value in EVERY if not 50 < n < 130]
    assert energies(counter(*away)) == [(500, 1300), (0, 800), (500, 1300), (600, 600)]
    assert sums.merge(sums.pieces(counter(*away), HOURS, {})).energy() == (2400, 2400)


def test_what_begins_late_or_goes_on_is_not_called_exact():
    late = sums.pieces(counter(*[each for each in EVERY if 30 <= each[0] <= 100]), HOURS, {})
    assert [piece.energy() for piece in late] == [(300, 300), (400, 400), (0, 0), (0, 0)]
    assert late[0].begin_open and late[1].end_open and not any(piece.is_exact() for piece in late)


@pytest.mark.parametrize("before,value,grown", [
    (99_999_990, 40, 50), (4_294_967_290, 4, 10), (65_530, 4, 10), (655_300, 40, 100), (9_999_980, 0, 20),
])  # fmt: skip
def test_a_rollover_grows_to_the_end_and_on(before, value, grown):
    jumps = sums.jumps([(sums.ROLLOVER, before, value)])
    rows = counter((0, before - 5), (1, before), (2, value), (3, value + 7), (4, value + 7))
    (piece,) = sums.pieces(rows, [T0, T0 + 4 * MINUTE], jumps)
    assert piece.energy() == (5 + grown + 7,) * 2 and piece.rollovers == 1 and piece.is_exact()


def test_an_exchange_and_a_reset_count_what_both_meters_counted():
    for what in (sums.EXCHANGE, sums.RESET):
        rows = counter((0, 500), (1, 520), (2, 7), (3, 30), (4, 30))
        (piece,) = sums.pieces(rows, [T0, T0 + 4 * MINUTE], sums.jumps([(what, 520, 7)]))
        assert piece.energy() == (43, 43) and piece.exchanges == 1 and piece.is_exact()
    up = counter((0, 500), (1, 90_000), (2, 90_010), (3, 90_010))
    (piece,) = sums.pieces(up, [T0, T0 + 3 * MINUTE], sums.jumps([(sums.EXCHANGE, 500, 90_000)]))
    assert piece.energy() == (10, 10), "also where the new meter stands higher"


def test_an_exchange_that_is_undone_takes_back_what_was_counted():
    told = [(sums.EXCHANGE, 520, 7), (sums.UNDONE, 9, 530)]
    rows = counter((0, 500), (1, 520), (2, 7), (3, 9), (4, 530), (5, 540), (6, 540))
    (piece,) = sums.pieces(rows, [T0, T0 + 6 * MINUTE], sums.jumps(told))
    assert piece.energy() == (40, 40)
    rolled = [(sums.ROLLOVER, 99_990, 5), (sums.UNDONE, 8, 99_995)]
    rows = counter((0, 99_990), (1, 5), (2, 8), (3, 99_995), (4, 99_995))
    (piece,) = sums.pieces(rows, [T0, T0 + 4 * MINUTE], sums.jumps(rolled))
    assert piece.energy() == (5, 5)


def test_a_step_back_that_nobody_explains_is_not_called_exact():
    (piece,) = sums.pieces(counter((0, 500), (1, 400), (2, 410), (3, 410)), [T0, T0 + 3 * MINUTE], {})
    assert piece.unexplained == 1 and not piece.is_exact()
    assert sums.jumps([(sums.ROLLOVER, 12_345, 3)]) == {(12_345, 3): Jump(None, sums.ROLLOVER)}, "no such end"


# Whatever the order.


def filled(tmp_path_factory, gateway):
    folder = tmp_path_factory.mktemp("hub")
    rig = Rig(folder)
    rig.enrol(gateway)
    return rig


def history():
    """Batches of some hours: gaps, bad readings, a rollover, an exchange, a clock that was set back by a little."""
    dice = random.Random(7)
    gateway = FakeGateway(1, [METER])
    sealed, register, at = [], 99_990_000, 0
    for number in range(40):
        rows, told = [], []
        for _ in range(10):
            at += MINUTE
            if dice.random() < 0.08:
                at += dice.randrange(2, 90) * MINUTE
            before, register, what = register, register + dice.randrange(0, 900), 0
            if number == 25 and not rows:
                register, what = 77, sums.EXCHANGE
            if register >= 100_000_000:
                register, what = register - 100_000_000, sums.ROLLOVER
            if what:
                when = [T0 + at, 0]
                told.append([events.COUNTER, "mill", "import_active_energy", what, before, register, when])
            bad = dice.random() < 0.1
            rows.append((T0 + at, 0, [None if bad else dice.randrange(50, 900), register], [8 if bad else 0, 0]))
        sealed.append(gateway.batch(tables={0: rows}, events=told, with_schema=True))
        if number % 9 == 4:
            at += dice.randrange(1, 5) * HOUR_MS
        if number == 30:
            at -= 5 * MINUTE
    return gateway, sealed, T0 + at


def everything(book, until_ms):
    stretches = list(zone.spans("hour", T0, until_ms + HOUR_MS, zone.zone("UTC")))
    return {series: book.ask(series, stretches) for series in (1, 2)}


def test_any_order_of_arrival_gives_the_same_sums(tmp_path_factory):
    gateway, sealed, until_ms = history()
    reference = filled(tmp_path_factory, gateway)
    for data in sealed:
        reference.take((gateway.batch_topic(), data))
    wanted = everything(Book(reference.store.db), until_ms)
    whole = sums.merge([piece for piece, _ in wanted[2]])
    assert whole.rollovers == whole.exchanges == 1 and whole.grown and not any(due_ms for _, due_ms in wanted[2])
    for seed in range(ORDERS):
        dice = random.Random(seed)
        rig = filled(tmp_path_factory, gateway)
        order = list(range(len(sealed)))
        if seed % 3:
            dice.shuffle(order)
        else:  # the newest first, the backlog behind it
            cut = dice.randrange(1, len(order))
            order = order[cut:] + order[:cut]
        while order:
            count = dice.randrange(1, 8)
            group, order = order[:count], order[count:]
            rig.take(*[(gateway.batch_topic(), sealed[n]) for n in group])
            if dice.random() < 0.6:  # pieces are made and kept in between, and must not outlive their readings
                rig.store.db.execute("BEGIN")
                while Book(rig.store.db).catch_up(dice.randrange(1, 40)):
                    pass
                rig.store.db.execute("COMMIT")
        assert everything(Book(rig.store.db), until_ms) == wanted, seed
        rig.store.db.execute("BEGIN")
        while Book(rig.store.db).catch_up(30):
            pass
        rig.store.db.execute("COMMIT")
        rig.store.db.execute("UPDATE batch SET bytes = ?", (b"\0",))  # from now on, what is kept must do
        assert everything(Book(rig.store.db), until_ms) == wanted, seed
        rig.store.close()
    reference.store.close()


def test_the_day_of_the_year_is_the_sum_of_its_hours(tmp_path_factory):
    gateway, sealed, until_ms = history()
    rig = filled(tmp_path_factory, gateway)
    rig.take(*[(gateway.batch_topic(), data) for data in sealed])
    book = Book(rig.store.db)
    place = zone.zone("Asia/Kathmandu")  # 5 h 45 min
    for series in (1, 2):
        days = list(zone.spans("day", T0, until_ms, place))
        hours = [span for day in days for span in zone.spans("hour", *day, place)]
        of_days, of_hours = book.ask(series, days), book.ask(series, hours)
        for (day, _), span in zip(of_days, days):
            parts = [piece for piece, _ in of_hours if span[0] <= piece.begin_ms < span[1]]
            assert sums.merge(parts) == day and len(parts) == 24
    rig.store.close()


# The zone.


def test_days_of_23_and_25_hours_and_a_midnight_that_is_skipped():
    berlin = zone.zone("Europe/Berlin")
    spring = list(zone.spans("day", 1774652400000 - DAY_MS, 1774652400000 + 3 * DAY_MS, berlin))
    assert sorted({(end - begin) // HOUR_MS for begin, end in spring}) == [23, 24]
    autumn = list(zone.spans("day", 1792800000000 - DAY_MS, 1792800000000 + 4 * DAY_MS, berlin))
    assert sorted({(end - begin) // HOUR_MS for begin, end in autumn}) == [24, 25]
    for days in (spring, autumn):
        assert all(a[1] == b[0] for a, b in pairwise(days))
        for begin, end in days:
            hours = list(zone.spans("hour", begin, end, berlin))
            assert hours[0][0] == begin and hours[-1][1] == end and len(hours) == (end - begin) // HOUR_MS
    cairo = zone.zone("Africa/Cairo")  # clocks skip from 00:00 to 01:00 on the last Friday of April
    days = list(zone.spans("day", 1776981600000 - DAY_MS, 1776981600000 + 3 * DAY_MS, cairo))
    assert {(end - begin) // HOUR_MS for begin, end in days} == {23, 24}
    months = list(zone.spans("month", T0, T0 + 400 * DAY_MS, zone.zone("Asia/Phnom_Penh")))
    assert all(27 * DAY_MS < end - begin < 32 * DAY_MS for begin, end in months)
    with pytest.raises(Exception, match="no time zone"):
        zone.zone("Khmer")


def test_an_empty_series_has_empty_sums(rig, gateway):
    rig.batches(gateway, gateway.batch(rows=0, with_schema=True))
    assert Book(rig.store.db).ask(1, [(T0, T0 + PIECE_MS)]) == [(Piece(T0, T0 + PIECE_MS), 0)]


def test_a_batch_of_many_days_is_added_up_to_its_first_day(rig):
    """A gateway that is read once a day, or sealed seldom: nobody must wait for sums that are never made."""
    gateway = FakeGateway(3, meters_schema(["mains"]))
    rig.enrol(gateway)
    days = [(T0 + day * 24 * HOUR_MS, 0, [0, 1000 * day], [0, 0]) for day in range(20)]
    for rows in (days[:11], days[11:]):
        rig.now_unix_ms = rows[-1][0] + HOUR_MS
        assert rig.batches(gateway, gateway.batch(tables={0: rows}, with_schema=True))[0].receipt
    with rig.store.db.transaction():
        while Book(rig.store.db).catch_up():
            pass
    ((series,),) = rig.rows("SELECT series FROM series WHERE quantity = 'import_active_energy'")
    ((piece, due_ms),) = Book(rig.store.db).ask(series, [(days[0][0], days[-1][0])])
    assert not due_ms and piece.energy() == (19_000, 19_000)

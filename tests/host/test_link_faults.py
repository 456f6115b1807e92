"""Sampling goes on beside faults of the link, and no broker is called more often than the back-off allows. How late a
sample is at most is measured by `make bench ARGS=link`."""

import importlib

from link_faults import NAMES, PLAIN, TLS, message

link = importlib.import_module("tests.bench.link")

SECONDS = 12
NAMED = ("drip", "RST after SUBACK", "black hole", "PUBLISH of 300 kB without an end", "PUBLISH of 200 MB, dripped",
         "name server lies", "TLS: handshake damaged", "TLS: closed at ClientHello")  # fmt: skip
CONNECTIONS_MAX = 8  # tries in so long: the first waits are at least 1, 2, 4 and 8 s


def test_no_period_is_missed_beside_faults_of_the_link():
    found = link.meet(NAMED, SECONDS)
    assert [met.name for met in found] == list(NAMED)
    for met in found:
        assert len(met.late) >= SECONDS - 1 - met.missed, met
        assert met.missed <= met.healthy_missed, met
        assert met.connections * SECONDS / 60 <= CONNECTIONS_MAX, met


def test_lateness_is_counted_from_the_earliest_sample():
    assert link.lateness([1000, 2003, 3000, 4001]) == ([0, 0, 1, 3], 0)
    assert link.lateness([1005, 2000, 3000]) == ([0, 0, 5], 0)
    assert link.lateness([1000, 2000, 5001]) == ([0, 0, 1], 2)
    assert link.lateness([1000, 2700, 3000, 4001]) == ([0, 0, 1, 700], 0)
    assert link.lateness([1700, 2000, 3001, 4000]) == ([0, 0, 1, 700], 0)
    assert link.lateness([999, 2002, 3000, 3999]) == ([0, 0, 1, 3], 0)
    assert link.quantile(list(range(1000)), 0.999) == 999 and link.quantile([1, 2], 0.5) == 2


def test_the_table_has_each_kind_of_fault():
    assert len(TLS) == 13 and len({*PLAIN, *NAMES, *TLS}) == len(PLAIN) + len(NAMES) + len(TLS) == len(link.ALL)
    for size, head in ((0, 2), (200, 3), (300_000, 4)):
        assert len(message(size)) == head + 7 + size

"""The journal's bounds, on shorter runs of what `make bench ARGS=journal` measures."""

import pytest

from tests.bench import journal

ERASES_A_READING = {256: 0.07, 32: 0.02}


@pytest.mark.parametrize("unit", [256, 32])
def test_what_a_reading_costs_the_flash(unit):
    steady = journal._steady(unit, 48, 15_000)
    assert steady["erases"] / steady["readings"] <= ERASES_A_READING[unit]
    assert steady["programmed"] / steady["units"] <= 1.2
    assert steady["append_us"] <= 2000, "flash busy, without an erase"
    assert steady["skew"] <= 1.2, "1.1 in the long run of the bench"


@pytest.mark.parametrize("unit", [256, 32])
def test_a_start_of_a_full_journal_reads_headers_and_two_sectors(unit):
    headers, sectors = journal._recovery("", unit, journal.UNITS[unit])
    assert headers["value"] <= 300
    assert sectors["value"] <= 2

"""The console's `meters scan` on a bus with meters: who answers, and as which of the profiles in use."""

import re

import pytest

from host_tools.link import Link
from park import Park

METERS = (("incomer", "eastron-sdm630", 1), ("press", "pzem-004t", 2))


@pytest.mark.timeout(120)
def test_units_are_found_with_the_profile_that_fits(tmp_path):
    with Park(tmp_path, METERS, period_ms=2000) as park:
        park.start_gateway()
        with Link(str(park.gateway.folder), timeout_s=60) as link:
            said = link.ask("meters scan rs485 1 3")
        assert park.gateway.status.get("crashes", 0) == 0
    assert said[-1] == "2 of 3 unit ids answered"
    first = [line for line in said if line.startswith("unit id 1: plausible as ")]
    second = [line for line in said if line.startswith("unit id 2: plausible as ")]
    assert [line.split(":")[1] for line in first] == [" plausible as eastron-sdm630"]
    assert [line.split(":")[1] for line in second] == [" plausible as pzem-004t"]
    assert re.search(r"frequency (49|50)\.\d+ Hz, voltage_l1 2\d\d\.\d V", first[0])

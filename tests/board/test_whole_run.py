"""The gateway, installed by our own tool on an emulated Pico W: from a bare chip to verified readings at the hub by
Wi-Fi and TLS, and through a power cut in the middle of a write.

Needs what flash_image.py names; the image may be MicroPython's own or one built with boards/pico_w. A few minutes on a
quiet machine, half an hour on a slow one.
"""

import pytest

from tests.board.flash_image import missing_for
from tests.board.whole_park import WholePark, parkgate

MISSING = missing_for("pico_w")
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(3600)]

HEAP_FREE_BYTES = 60 * 1000
LATER_OPERATIONS = 7  # flash operations until the cut


def test_from_a_bare_chip_to_verified_readings_and_through_a_cut(tmp_path):
    with WholePark("pico_w", tmp_path) as park:
        said = park.write_flash()
        frozen = "the app is frozen in" in said
        assert frozen or "code that runs in place" in said
        park.on()
        first = park.status()
        assert first["boot"] == 1 and first["storage"] == ("raw" if frozen else "segment files")
        words, environment = park.provisioning()
        assert "provisioned" in parkgate(*words, environment=environment)

        status = park.wait(lambda status: status["acknowledged"], "the first receipt")
        assert status["connected"] and status["crashes"] == 0
        assert b"settings: confirmed" in bytes(park.heard)

        park.pico.cut_after(LATER_OPERATIONS)
        park.pico.wait_for_event("power_cut", 900)
        boot = status["boot"]
        park.off(kill=True)

        park.on()
        status = park.wait(lambda status: status["sampled"], "a start after the cut")
        assert status["boot"] == boot + 1
        taken = status["acknowledged"] + status["buffered"]
        status = park.wait(lambda status: status["acknowledged"] >= taken, "all from before the cut is acknowledged")
        assert status["sampled"] == status["acknowledged"] + status["buffered"] + status["dropped"]
        assert status["dropped"] == 0 and status["crashes"] == 0
        if not frozen:
            run, _, of, _ = status["code_in_place"].split()
            assert run == of != "0", status["code_in_place"]
        free = status["heap_limit"] - status["heap_used"]  # nobody has been at the console since this start
        assert free >= HEAP_FREE_BYTES, f"{free} bytes of heap are free"
        stats = park.pico.stats()
        assert stats["flash"]["not_erased"] == 0
        assert stats["uart"][1]["overruns"] == stats["uart"][1]["sent_without_driver"] == 0

        rows = park.exported()
        at_hub = park.at_hub()
    assert len(rows) >= status["acknowledged"] >= taken
    assert len({tuple(row.values()) for row in rows}) == len(rows), "each reading once"
    assert at_hub["alarms"] == [] and at_hub["gaps"] == 0 and at_hub["lost_batches"] == 0, at_hub

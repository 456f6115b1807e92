"""The floor on the real firmware: a scanner on the gateway's UART, the console, a power cut, the lots at the hub."""

import contextlib
import json

from host_tools.gateway.link import Link
from host_tools.hub.production import document
from host_tools.hub.production.floor import Floor
from host_tools.hub.stores.store import connect
from host_tools.sim.scanner import SimulatedScanner
from park import BUSY_MACHINE, Park

METERS = [("press", "eastron-sdm120", 1)]


class ScannedPark(Park):
    def __init__(self, folder, scanner):
        super().__init__(folder, METERS)
        self.scanner = scanner

    def settings(self, meters=None):
        settings = super().settings(meters)
        if meters is None:
            settings["stations"] = [
                {"name": "press", "scanner": self.scanner.device, "registers": ["press.import_active_energy"]},
                {"name": "bench", "scanner": self.scanner.device},
            ]
        return settings

    def floor(self):
        with contextlib.closing(connect(self.hub.folder, read_only=True)) as db:
            return Floor(db)


def test_from_the_scan_to_the_lot(tmp_path):
    scanner = SimulatedScanner()
    scanner.start()
    try:
        with ScannedPark(tmp_path, scanner) as park:
            park.start_gateway()
            park.wait(lambda: park.gateway.status.get("sampled", 0) > 10, 30, "the meter is read")
            assert scanner.scan("lot", "LOT-1") == "+ 3 start LOT-1"
            assert scanner.scan("scrap", "3/2") == "+ 4 scrap 3/2"
            assert scanner.scan("station", "bench") == "+ at BENCH"
            assert scanner.scan("count", "5") == "- no lot is open here: scan its traveller first"
            assert scanner.scan("station", "press") == "+ at PRESS"
            scanner.send(b"\x00\xff noise PGLLOT-1*AAAAAA\r")
            assert scanner.hear() == "- no code"
            park.gateway.kill()  # a power cut
            park.gateway.start()
            park.wait(lambda: park.gateway.status.get("boot") == 2, 30, "it runs again")
            assert scanner.scan("count", "25") == "+ 7 count 25"
            with Link(park.gateway.console(), timeout_s=10 * BUSY_MACHINE) as link:
                assert "lot LOT-1" in "\n".join(link.ask("floor show"))
                assert link.ask("floor enter press operator K7F2") == ["8 operator K7F2"]
                assert link.ask("floor correct 7 quantity 24") == ["9 corrects 7"]
            assert scanner.scan("lot", "LOT-1") == "+ 10 stop LOT-1"
            park.wait(lambda: [job for job in park.floor().by_lot["LOT-1"] if job.stop], 60, "the lot is at the hub")
            shown = document.lot(park.floor(), "LOT-1")
            assert (shown["pieces"], shown["scrap"]) == (24, [{"reason": 3, "pieces": 2}])
            job = shown["jobs"][0]
            assert (job["station"], job["stop"], job["operators"]) == ("press", "by hand", ["K7F2"])
            assert job["figures"][0]["basis"] == "measured" and job["figures"][0]["unit"] in ("Wh", "kWh")
            assert float(job["figures"][0]["amount"]) >= 0
            assert park.gateway.status["crashes"] == 0
            assert json.dumps(shown)
    finally:
        scanner.stop()

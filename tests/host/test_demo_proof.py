"""The demo's proof of a lot: written once everything that was signed of it has arrived, and right."""

from archive_campaign import by_audit, by_the_other
from host_tools.sim import proving, sewing
from lot_archives import SEWN
from parkgate.sensing import scans
from test_lots import park  # noqa: F401


def test_the_proof_of_a_finished_lot(park, tmp_path):  # noqa: F811
    out = tmp_path / "lot.zip"
    assert not proving.write_proof(park.data_dir, "CUT-9", out) and not out.exists()
    assert proving.write_proof(park.data_dir, SEWN, out)
    assert proving.write_proof(park.data_dir, SEWN, out), "the one of an earlier run is replaced"
    said = by_audit(out.read_bytes(), [])
    assert said == by_the_other(out.read_bytes(), [])
    assert [job["lot"] for job in said["lots"]["jobs"]] == [SEWN, "CUT-1"] and said["overall"] != "failure"
    assert "drop the archive" in proving.page().lower()


def test_both_halls_have_four_machines_that_can_stand_on_tags():
    for number in (1, 2):
        hall = sewing.hall(number)
        stations = sewing.stations(hall, "/dev/tty9")
        assert len(stations) == 4 and len({one["name"] for one in stations}) == 4
        assert all(scans.is_body(scans.STATION, one["name"].upper()) for one in stations)
    assert sewing.hall(1) != sewing.hall(2)

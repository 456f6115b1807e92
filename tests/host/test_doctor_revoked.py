"""doctor after a real revocation: gateway, broker and hub run, the hub revokes, and doctor says so and all the rest."""

import json

from host_tools import cli
from host_tools.gateway import doctor
from park import Park

METERS = (("press", "pzem-004t", 1),)


def told(words, capsys):
    """(exit code, {key: finding}, the text for people) of doctor."""
    code = cli.main([*words, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["complete"] is True, document
    return code, {each["key"]: each for each in document["findings"]}


def test_doctor_says_that_the_hub_revoked_the_gateway_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "RECEIPT_WAIT_S", 4.0)
    with Park(tmp_path, METERS, period_ms=1000) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("readings_stored", 0) > 4, 40, "the hub has readings")
        assert park.hub
        data = str(park.hub.folder)
        here = ["doctor", "--port", str(park.gateway.folder)]
        _, sound = told([*here, "--hub", data], capsys)
        assert "hub.revoked" not in sound and "receipt.overdue" not in sound
        assert cli.main(["enrol", "--data", data, "--revoke", "gateway"]) == 0
        park.wait(lambda: park.at_hub().get("revoked_unix_ms"), 20, "the hub has revoked it")
        capsys.readouterr()
        code, found = told([*here, "--hub", data], capsys)
        assert code == 1
        assert found["hub.revoked"]["level"] == "wrong" and "enrol --restore" in found["hub.revoked"]["todo"]
        overdue = [each for key, each in found.items() if key.startswith("receipt") and each["level"] == "wrong"]
        assert overdue, "the gateway sees it by itself too"
        # What has nothing to do with it was looked at all the same, and is as before.
        assert set(sound) - set(found) <= {key for key in sound if key.startswith(("receipt", "hub"))}
        assert any(key.startswith("meter.press") for key in found)
        code, alone = told(here, capsys)  # without the hub at hand
        assert code == 1 and any(each["level"] == "wrong" for key, each in alone.items() if key.startswith("receipt"))
        assert cli.main(["enrol", "--data", data, "--restore", "gateway"]) == 0

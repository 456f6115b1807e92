"""`parkgate doctor` on gateways that are wrong in several ways at once: all is listed, the weightiest first."""

import json
import types

import pytest

from host_tools import cli
from host_tools.gateway import doctor
from host_tools.gateway.link import CodeMissing, GatewayRefused
from parkgate.errors import LinkError

HEALTHY = {
    "identity": "gateway = ab12\nid = ab12cd\nname = hall-3\nboard = unix\nhub = 77\ncode = set\nsettings = 2",
    "status": "crashes = 0\nconnected = True",
    "meters list": "press: pzem-004t, bus rs485, unit id 2, every 1000 ms",
    "log": "",
    "sensor read press": "voltage = 230.1 V (good)",
    "meters stats press": "line ok = 0\nlearnt largest read answered = 0",
    "journal status": "dropped = 0\nseconds_to_loss = 900000\nnext_batch = 5\nheld = 1\nhighest_receipt = 4",
    "time": "trust = synchronised\nunix_ms = {now}",
    "link test": "wi-fi: ok\nreceipt: ok, the last one came 3 s ago (1 ms)",
    "export seal": "sealed = 1",
}


class Line:
    """A gateway that answers from a table; what is missing there is silence."""

    patience = 0.0

    def __init__(self, **changed):
        import time

        self.answers = {**HEALTHY, **{name.replace("_", " "): text for name, text in changed.items()}}
        self.answers["time"] = self.answers["time"].format(now=time.time_ns() // 1_000_000)
        self.asked = []

    def ask(self, command, _timeout_s=None):
        self.asked.append(command)
        text = self.answers.get(command)
        if text is None:
            raise LinkError("no whole answer within 5 s")
        if text.startswith("!"):
            raise GatewayRefused(text[1:])
        return text.split("\n") if text else []

    def unlock(self, _code):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def keys(found, level):
    return [each.key for each in found if each.level == level]


def run(monkeypatch, capsys, line, *words):
    monkeypatch.setattr(doctor, "Link", lambda _port: line)
    code = cli.main(["doctor", "--port", "x", *words])
    return code, capsys.readouterr().out


def test_nothing_is_wrong(monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, Line())
    assert code == 0 and said.endswith("nothing is wrong\n")
    assert "its receipt came" in said


def test_a_receipt_that_does_not_come_is_wrong_at_once(monkeypatch, capsys):
    """What the gateway sees of a revocation: all is well but that no receipt comes any more."""
    overdue = HEALTHY["journal status"].replace("highest_receipt = 4", "highest_receipt = 3")
    line = Line(journal_status=overdue)
    code, said = run(monkeypatch, capsys, line)
    assert code == 1 and "nothing is wrong" not in said
    assert said.startswith("WRONG no receipt came for batch 4")
    assert "export seal" in line.asked


def test_all_troubles_are_listed_the_weightiest_first(monkeypatch, capsys):
    line = Line(
        status="crashes = 2\nproblem = reverted\nconnected = False",
        sensor_read_press="voltage = none (timeout)",
        link_test="tcp: FAILED: refused\ntcp: what to do: check broker.port\nmqtt: not tried, because tcp failed",
        journal_status="dropped = 7\nseconds_to_loss = 7000\nnext_batch = 5\nheld = 3\nhighest_receipt = none",
        time="trust = relative only\nsince_start_ms = 9",
    )
    code, said = run(monkeypatch, capsys, line, "--json")
    document = json.loads(said)
    assert code == 1 and document["complete"] is True
    wrong = [each["key"] for each in document["findings"] if each["level"] == "wrong"]
    assert wrong == [
        "settings.problem", "way.tcp", "receipt.overdue", "meter.press.silent", "journal.space", "clock.unset",
        "journal.dropped", "program.crashes",
    ]  # fmt: skip
    assert document["wrong"] == len(wrong)
    assert [each["level"] for each in document["findings"]] == sorted(
        (each["level"] for each in document["findings"]), key=["wrong", "note", "ok"].index
    )


@pytest.mark.parametrize("missing", sorted(set(HEALTHY) - {"export seal", "log", "meters stats press"}))
def test_a_command_without_an_answer_hides_nothing_else(missing):
    line = Line()
    del line.answers[missing]
    found = doctor.findings(doctor.Asked(line))
    assert any(each.level == doctor.WRONG and missing in each.text for each in found)
    assert len(found) >= 4


def test_a_silent_line_is_not_asked_for_ever():
    line = Line()
    line.answers.clear()
    found = doctor.findings(doctor.Asked(line))
    assert len(line.asked) == doctor.SILENCES_MAX and keys(found, doctor.WRONG)


def test_without_the_code_it_says_what_it_cannot_see(monkeypatch, capsys):
    refused = "!locked: unlock CODE first"
    locked = Line(meters_list=refused, link_test=refused, export_seal=refused, log=refused)

    def unlock(_code):
        raise CodeMissing("the gateway is locked")

    locked.unlock = unlock
    code, said = run(monkeypatch, capsys, locked)
    assert code == 1 and "nothing is wrong" not in said
    assert "locked:" in said and "readings were lost" in said
    assert said.endswith("nothing wrong was found, but not everything could be looked at\n")


@pytest.mark.parametrize("known, revoked, key", [(False, None, "hub.unknown"), (True, 1, "hub.revoked")])
def test_the_hub_is_asked_too(monkeypatch, known, revoked, key):
    from host_tools.hub.verbs.hub_view import HubView

    view = HubView(known, "hall-3", revoked, 5, {"revoked": 3}, ("fork: two contents",), 61_000)
    monkeypatch.setattr(doctor, "hub_view", types.SimpleNamespace(ask=lambda *_: view))
    found = doctor.findings(doctor.Asked(Line(), "park"))
    assert found[0].key == key


def test_a_meter_that_answers_small_reads_has_good_wires():
    """Silence above a size is no fault of the cable."""
    silent = "voltage = none (timeout)\ncurrent = none (timeout)"
    learnt = "learnt largest read answered = 38\nlearnt smallest read left unanswered = 76"
    found = list(doctor.check_meters(doctor.Asked(Line(sensor_read_press=silent, meters_stats_press=learnt))))
    assert [each.key for each in found] == ["meter.press.not_good"]
    assert "wires are good: it answers 38 registers in one read, not 76" in found[0].todo
    found = list(doctor.check_meters(doctor.Asked(Line(sensor_read_press=silent))))
    assert [each.key for each in found] == ["meter.press.silent"]
    assert "wires" in found[0].todo


def test_numbers_that_disagree_are_said(monkeypatch, capsys):
    wrong = "DISAGREES, signed: current transformer of L2 reversed: power is negative there"
    hint = "look at it: power is negative at L2 only"
    values = "active_power_l2 = -617.1 W (inconsistent)\nvoltage = 230.1 V (good)"
    line = Line(sensor_read_press=f"{values}\n{wrong}\n{hint}")
    code, said = run(monkeypatch, capsys, line)
    assert code == 1
    assert f"WRONG meter press {wrong}" in said and f"meter press {hint}" in said
    assert "1 of 2 values are not good" in said

"""Lots at the hub: from signed batches to the answers of `parkgate lot`, over two gateways."""

import contextlib
import json
import os
import random
import subprocess

import httpx
import pytest

from batches import START_MS, FakeGateway
from failing_calls import run
from host_tools.hub.production import document, traveller
from host_tools.hub.production.floor import Floor, LotError
from host_tools.hub.production.genealogy import Genealogy, Link
from host_tools.hub.stores.store import connect
from parkgate import events
from parkgate.errors import SettingsError
from parkgate.sensing import jobs, scans
from test_hub_web import Server
from test_openapi import described, faults

SCHEMA = [
    ["mill", "SDM630", [["import_active_energy", "kWh", 2]]],
    ["state", "machine inputs", [["run_time", "s", 0], ["cycle_count", "1", 0]]],
]
REGISTERS = ["mill.import_active_energy", "state.run_time", "state.cycle_count"]


class Hall:
    """A gateway whose entries are written as the firmware writes them."""

    def __init__(self, rig, number, name, station):
        self.rig, self.gateway, self.number = rig, FakeGateway(number, SCHEMA), 0
        self.gateway.name = name
        rig.enrol(self.gateway)
        self.entry(jobs.STATION, 0, [station, REGISTERS])

    def entry(self, what, job, detail, *registers, at_s=0):
        self.number += 1
        event = jobs.event(
            events.PRODUCTION, what, 0, self.number, (START_MS + at_s * 1000, 0), job, detail, 100, list(registers)
        )
        rows = [(START_MS + at_s * 1000, 0, [registers[0] if registers else 0], [0])]
        state = [(START_MS + at_s * 1000, 0, list(registers[1:]) or [0, 0], [0, 0])]
        batch = self.gateway.batch(tables={0: rows, 1: state}, events=[event], with_schema=self.number == 1)
        assert self.rig.batches(self.gateway, batch)[0].receipt
        return self.number


@pytest.fixture
def park(rig):
    """Cloth is cut in one hall and sewn in another; one job is forgotten there, and its time corrected."""
    cutting, sewing = Hall(rig, 1, "cutting", "saw"), Hall(rig, 2, "sewing", "line-1")
    cut = cutting.entry(jobs.START, "CUT-1", jobs.MACHINE, 1000, 10, 5, at_s=10)
    cutting.entry(jobs.MATERIAL_IN, cut, "CLOTH-7", 1010, 20, 7, at_s=20)
    cutting.entry(jobs.STOP, cut, jobs.BY_HAND, 1250, 130, 105, at_s=200)
    sewing.entry(jobs.OPERATOR, 0, "K7F2", 5000, 0, 0, at_s=250)
    shirt = sewing.entry(jobs.START, "SHIRT-1", jobs.HAND, 5010, 1, 0, at_s=300)
    sewing.entry(jobs.MATERIAL_IN, shirt, "CUT-1", 5020, 2, 1, at_s=310)
    other = sewing.entry(jobs.START, "SHIRT-2", jobs.HAND, 5030, 3, 1, at_s=320)
    count = sewing.entry(jobs.COUNT, shirt, 240, 5040, 4, 1, at_s=400)
    sewing.entry(jobs.SCRAP, shirt, [3, 6], 5050, 5, 1, at_s=410)
    sewing.entry(jobs.STOP, shirt, jobs.BY_HAND, 5131, 6, 1, at_s=500)
    stop = sewing.entry(jobs.STOP, other, jobs.IDLE, 5200, 7, 1, at_s=5000)
    sewing.entry(jobs.CORRECTION, stop, [jobs.TIME, START_MS + 600_000])
    sewing.entry(jobs.CORRECTION, count, [jobs.QUANTITY, 234])
    return rig


def test_a_lot_with_all_that_was_signed_of_it(park):
    with contextlib.closing(connect(park.data_dir, read_only=True)) as db:
        floor = Floor(db)
    shown = document.lot(floor, "SHIRT-1")
    assert (shown["pieces"], shown["scrap"], shown["open"]) == (234, [{"reason": 3, "pieces": 6}], False)
    (job,) = shown["jobs"]
    assert (job["gateway"], job["station"], job["operators"], job["flags"]) == (
        "sewing",
        "line-1",
        ["K7F2"],
        ["corrected"],
    )
    energy = next(row for row in job["figures"] if row["quantity"] == "import_active_energy")
    # 5010 to 5030 alone, 5030 to 5131 shared by two in 0.01 kWh: 20 + 5 + 5 + 41.
    assert (energy["amount"], energy["unit"], energy["basis"]) == ("0.71", "kWh", "measured")
    assert energy["shared_by"] == ["equal"]
    forgotten = document.lot(floor, "SHIRT-2")["jobs"][0]
    assert forgotten["flags"] == ["forgotten", "corrected", "estimated"] and forgotten["stop"] == "idle"
    assert forgotten["end_ms"] == START_MS + 600_000
    assert {row["basis"] for row in forgotten["figures"] if row["amount"] != "0"} == {"estimated"}
    cut = document.lot(floor, "CUT-1")
    assert cut["pieces"] == 100, "the machine counted"
    assert [(row["quantity"], row["amount"]) for row in cut["totals"]] == [
        ("cycle_count", "100"), ("run_time", "120"), ("import_active_energy", "2.50")
    ]  # fmt: skip
    assert cut["jobs"][0]["proof"]["first_seq"] == 1 and cut["jobs"][0]["proof"]["last_seq"] == 3
    for row in document.balance(floor):
        assert float(row["meter"]) == pytest.approx(float(row["lots"]) + float(row["idle"]) + float(row["unassigned"]))


def test_recall_over_both_gateways(park):
    db = park.store.db
    found = document.recall(db, "CLOTH-7")
    assert [(lot["lot"], lot["steps"], lot["where"]) for lot in found["forward"]] == [
        ("CUT-1", 1, ["cutting/saw"]), ("SHIRT-1", 2, ["sewing/line-1"])
    ]  # fmt: skip
    assert [lot["lot"] for lot in document.recall(db, "SHIRT-1")["back"]] == ["CUT-1", "CLOTH-7"]
    with pytest.raises(LotError, match="no entry names a lot 'SHIRT-9'"):
        document.recall(db, "SHIRT-9")


def test_the_command(park, tmp_path):
    def ask(*words):
        result = run(["lot", *words, "--data", str(park.data_dir), "--json"], lambda _: None)
        made = json.loads(result.out)
        assert made["ok"], made
        return made

    assert [lot["lot"] for lot in ask("list")["lots"]] == ["SHIRT-2", "SHIRT-1", "CUT-1"]
    assert ask("show", "SHIRT-1", "--rule", "count")["rule"] == "count"
    assert len(ask("recall", "CLOTH-7")["forward"]) == 2
    assert len(ask("balance")["registers"]) == 6
    for words in (["list"], ["show", "SHIRT-2"], ["recall", "CUT-1"], ["balance"]):
        result = run(["lot", *words, "--data", str(park.data_dir)], lambda _: None)
        assert result.exit_code == 0 and result.out.strip()
    result = run(["lot", "show", "NONE", "--data", str(park.data_dir)], lambda _: None)
    assert result.exit_code == 2 and "no entry names a lot" in result.err


@pytest.mark.parametrize("language, paper", [("en", "a4"), ("km", "58")])
def test_what_is_printed_is_what_the_gateway_reads(tmp_path, language, paper):
    out = tmp_path / "t.html"
    result = run(
        ["lot", "print", "LOT-0147", "--out", str(out), "--lang", language, "--paper", paper, "--json"], lambda _: None
    )
    code = json.loads(result.out)["code"]
    assert scans.Scans().feed(code.encode() + b"\r") == [("L", "LOT-0147")]
    page = out.read_text()
    assert (
        code in page
        and "<svg" in page
        and f'lang="{language}"' in page
        and "http" not in page.replace("http://www.w3", "")
    )
    for kind, text in (("station", "saw"), ("scrap", "3"), ("operator", "K7F2"), ("count", "25"), ("in", "CLOTH-7")):
        assert scans.Scans().feed(traveller.code(kind, text).encode() + b"\r") == [
            (traveller.KINDS[kind], text.upper())
        ]
    for kind, text in (("lot", "a b"), ("count", "0"), ("scrap", "x"), ("lots", "A")):
        with pytest.raises(SettingsError):
            traveller.code(kind, text)


def test_an_entry_of_a_strange_shape_is_left_out(rig):
    hall = Hall(rig, 1, "hall", "saw")
    strange = [events.PRODUCTION, 1, 0, 2, START_MS, 0, ["lot"], 0, 1]
    later = [events.PRODUCTION, 12, 0, 3, START_MS, 0, 0, 0, 1]
    rig.batches(hall.gateway, hall.gateway.batch(rows=1, events=[strange, later, [events.PRODUCTION]]))
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        floor = Floor(db)
    assert floor.chains[0].strange == 3 and not floor.jobs


# Genealogy alone.


def links(*pairs):
    return [Link(i, "aa", i, source, target) for i, (source, target) in enumerate(pairs)]


def test_splits_merges_and_rework_over_six_steps():
    found = Genealogy(links(
        ("COTTON-A", "YARN"), ("COTTON-B", "YARN"), ("YARN", "CLOTH-1"), ("YARN", "CLOTH-2"), ("CLOTH-1", "CUT"),
        ("CUT", "SHIRT"), ("SHIRT", "SHIRT-R"), ("SHIRT-R", "BOX"), ("CLOTH-2", "BOX"),
    ))  # fmt: skip
    assert found.forward("COTTON-A") == {
        "YARN": 1, "CLOTH-1": 2, "CLOTH-2": 2, "CUT": 3, "BOX": 3, "SHIRT": 4, "SHIRT-R": 5
    }  # fmt: skip
    assert set(found.back("BOX")) == {"SHIRT-R", "SHIRT", "CUT", "CLOTH-1", "CLOTH-2", "YARN", "COTTON-A", "COTTON-B"}
    assert not found.refused


def test_the_link_that_would_close_a_circle_is_refused():
    found = Genealogy(links(("A", "B"), ("B", "C"), ("C", "A"), ("C", "D"), ("D", "D"), ("B", "A")))
    assert [(link.source, link.target) for link in found.refused] == [("C", "A"), ("D", "D"), ("B", "A")]
    assert set(found.forward("A")) == {"B", "C", "D"}
    dice = random.Random(5)
    for _ in range(300):
        pairs = [(f"L{dice.randrange(9)}", f"L{dice.randrange(9)}") for _ in range(dice.randrange(1, 25))]
        made = Genealogy(links(*pairs))
        kept: set[tuple[str, str]] = set()
        refused = []
        for link in links(*pairs):  # the same, one after the other, by brute force
            if link.source in reach(kept, link.target):
                refused.append(link)
            else:
                kept.add((link.source, link.target))
        assert made.refused == refused
        for lot in {lot for pair in kept for lot in pair}:
            assert set(made.forward(lot)) == reach(kept, lot) - {lot}


def reach(pairs, start):
    found, todo = {start}, [start]
    while todo:
        lot = todo.pop()
        for source, target in pairs:
            if source == lot and target not in found:
                found.add(target)
                todo.append(target)
    return found


def test_a_chain_of_many_lots_needs_no_recursion():
    count = 20_000
    made = Genealogy(links(*[(f"L{i}", f"L{i + 1}") for i in range(count)], (f"L{count}", "L0")))
    assert len(made.refused) == 1 and len(made.forward("L0")) == count


def test_the_api_is_as_described(park):
    park.store.close()
    with Server(park.data_dir) as server:

        def check(address, query="", status="200"):
            answer = httpx.get(server.url + address + query)
            assert str(answer.status_code) == status
            assert faults(answer.json(), described(address, status)) == []
            return answer.json()

        assert [lot["lot"] for lot in check("/api/lots")["lots"]] == ["SHIRT-2", "SHIRT-1", "CUT-1"]
        assert check("/api/lots/one", "?lot=SHIRT-1&rule=count")["pieces"] == 234
        assert len(check("/api/lots/recall", "?lot=CLOTH-7")["forward"]) == 2
        check("/api/lots/one", "?lot=NONE", "404")
        check("/api/lots/recall", "?lot=", "404")
        check("/api/lots", "?rule=best", "400")
        page = httpx.get(server.url + "/lots").text
        assert 'src="static/lots.js"' in page and '<a href="lots">' in httpx.get(server.url + "/").text
        shot = os.environ.get("PARKGATE_SHOTS")  # a folder: pictures of the page, for people
        for name, query, width in (
            ("lots", "", 1200),
            ("lot", "?lot=SHIRT-1", 1200),
            ("lot-phone", "?lot=SHIRT-1", 400),
        ):
            if shot:
                command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},1100"]
                command += [
                    "--virtual-time-budget=4000",
                    f"--screenshot={shot}/{name}.png",
                    f"{server.url}/lots{query}",
                ]
                subprocess.run(command, check=True, capture_output=True, timeout=100)

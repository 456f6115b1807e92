"""The proof of a lot: written by the hub, judged by audit.py, by verify.html and by a verifier from SPEC alone."""

import json
import os
import random
from pathlib import Path

import pytest

from archive_campaign import CHROMIUM, Page, by_audit, by_the_other
from archives import HubKey, rewritten, seq_of
from batches import START_MS, FakeGateway
from failing_calls import run
from lot_archives import SEWN, members, resigned, with_lots
from parkgate import events
from parkgate.sensing import jobs
from parkgate.wire import cbor
from test_lots import REGISTERS, SCHEMA, park  # noqa: F401

KEY = HubKey(7)
PARKS = 400 if os.environ.get("PARKGATE_FUZZ_SIZE") else 12


@pytest.fixture(scope="module")
def page():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Page(browser)
        browser.close()


def prove(rig, lot, folder) -> bytes:
    """The proof of a lot as the hub writes it, under the test's key."""
    out = Path(folder) / f"{lot}.zip"
    result = run(["archive", "--data", str(rig.data_dir), "--lot", lot, "--out", str(out), "--json"], lambda _: None)
    assert json.loads(result.out)["ok"], result.out
    return resigned(out.read_bytes(), {}, KEY)


@pytest.fixture
def proof(park, tmp_path):  # noqa: F811
    return prove(park, SEWN, tmp_path)


def judged(data, *others):
    """The verdict, which all verifiers give."""
    said = by_audit(data, [KEY.id.hex()])
    assert by_the_other(data, [KEY.id.hex()]) == said
    for other in others:
        assert other(data, [KEY.id.hex()]) == said
    return said


def reasons(said):
    return [reason["reason"] for reason in said["reasons"]]


def test_the_buyer_sees_the_lot_and_the_verdict(proof, page):
    said = judged(proof, page.verdict)
    assert reasons(said) == ["no_log"] and said["class"] == "lot"
    assert {line: each["state"] for line, each in said["lines"].items()} == {
        "authentic": "yes", "unaltered": "yes", "complete": "yes", "witnessed": "not shown"
    }  # fmt: skip
    lots = said["lots"]
    shirt, cut = lots["jobs"]
    assert (shirt["lot"], shirt["station"], shirt["pieces"], shirt["scrap"]) == (SEWN, "line-1", 234, [[3, 6]])
    assert (shirt["start_ms"], shirt["end_ms"], shirt["stop"]) == (START_MS + 300_000, START_MS + 500_000, "by hand")
    # 5010 to 5030 alone, 5030 to 5131 shared by two in 0.01 kWh: 20 + 5 + 5 + 41.
    assert shirt["figures"][0]["amount"] == "0.71" and shirt["figures"][0]["shared"]
    assert (cut["lot"], cut["pieces"], cut["figures"][0]["amount"]) == ("CUT-1", 100, "2.50")
    assert lots["made_of"] == [["CUT-1", "CLOTH-7"], [SEWN, "CUT-1"]] and lots["outside"] == ["CLOTH-7"]
    assert lots["totals"][0] == {"quantity": "import_active_energy", "unit": "kWh", "amount": "0.71"}
    text = page.page.inner_text("#result")
    for words in (f"Lot {SEWN}", "234, counted by hand", "0.71 kWh", "scrap 6, reason 3", "Nothing wrong was found"):
        assert words in text
    shot = os.environ.get("PARKGATE_SHOTS")  # a folder: pictures for people
    for width in (1200, 400) if shot else ():
        page.page.set_viewport_size({"width": width, "height": 1000})
        page.page.screenshot(path=f"{shot}/lot-proof-{width}.png", full_page=True)


def test_the_command_says_what_it_wrote_and_what_it_cannot_do(park, tmp_path):  # noqa: F811
    def ask(*words):
        return run(["archive", "--data", str(park.data_dir), "--out", str(tmp_path / "x.zip"), *words], lambda _: None)

    for words, why in (
        (["--lot", "NONE"], "no entry names a lot 'NONE'"),
        (["--lot", "A", "--month", "2026-10"], "leave out"),
    ):
        result = ask(*words)
        assert result.exit_code == 2 and why in result.err and not (tmp_path / "x.zip").exists()
    assert "drop the file on verify.html" in ask("--lot", SEWN).out


def test_a_forgotten_job_and_what_was_typed_afterwards_are_named(park, tmp_path):  # noqa: F811
    (job,) = judged(prove(park, "SHIRT-2", tmp_path))["lots"]["jobs"]
    assert job["flags"] == ["forgotten", "corrected", "estimated"] and job["stop"] == "idle"
    assert job["end_ms"] == START_MS + 600_000
    assert {figure["basis"] for figure in job["figures"]} == {"estimated"}


# Tampered proofs: each is refused for its own reason. The first ones need no key, the others are a dishonest hub's.


def batches_of(data, job=0):
    """(name of the member, its messages) with a job's batches."""
    files = members(data)
    gateway, epoch = cbor.decode(files["lots.cbor"])["jobs"][job][1:3]
    name = f"gateways/{gateway.hex()}/batches-{epoch.hex()}.cbor"
    found, rest = [], files[name]
    while rest:
        at = rest.find(bytes.fromhex("d284"), 2)
        while at > 0 and not whole(rest[:at]):
            at = rest.find(bytes.fromhex("d284"), at + 2)
        found.append(rest[:at] if at > 0 else rest)
        rest = rest[len(found[-1]) :]
    return name, found


def whole(data):
    try:
        seq_of(data)
    except Exception:
        return False
    return True


def without(data, at, job=0):
    """The proof without one batch, as a dishonest hub leaves it out: its list of batches fits."""
    name, found = batches_of(data, job)
    gone = seq_of(found.pop(at))
    gateway, epoch = cbor.decode(members(data)["lots.cbor"])["jobs"][job][1:3]

    def tell(told):
        for one in told["gateways"]:
            for chain in one["chains"]:
                if (one["id"], chain["epoch"]) == (gateway, epoch):
                    runs = [
                        [a, b]
                        for run in chain["runs"]
                        for a, b in ((run[0], min(run[1], gone - 1)), (max(run[0], gone + 1), run[1]))
                    ]
                    chain["runs"] = [run for run in runs if run[0] <= run[1]]

    return resigned(data, {name: b"".join(found)}, KEY, tell)


def change(job, field, value):
    return lambda lots: lots["jobs"][job].__setitem__(field, value)


def flip(data, job, word):
    """The proof with some signed bytes changed, by somebody without any key."""
    name, found = batches_of(data, job)
    body = b"".join(found)
    at = body.index(word) + len(word) - 1
    return rewritten(data, {name: body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]})


def swap(lots):
    figures = lots["jobs"][0][8]
    figures[0][3], figures[1][3] = figures[1][3], figures[0][3]


def other_lot(lots):
    lots["lot"] = "SHIRT-2"


def told_by_the_hub(change_lots):
    return lambda data: with_lots(data, KEY, change_lots)


def one_job_renamed(lots):
    lots["jobs"].pop(0)
    lots["jobs"][0][0] = SEWN


TAMPERED = {
    "batches taken out": (
        "batch_missing",
        lambda data: rewritten(data, {batches_of(data)[0]: b"".join(batches_of(data)[1][:-2])}),
    ),
    "the start taken out by the hub": ("lot_entry_missing", lambda data: without(data, 2)),
    "the statement of the station taken out by the hub": ("lot_entry_missing", lambda data: without(data, 0)),
    "a batch between taken out by the hub": ("lot_gap", lambda data: without(data, 4)),
    "the stop taken out by the hub": ("lot_open", lambda data: without(with_lots(data, KEY, change(0, 5, 6)), 7)),
    "a signed register changed": ("signature", lambda data: flip(data, 0, cbor.encode(5131))),
    "a signed count changed": ("signature", lambda data: flip(data, 0, b"\x03\x18\xf0")),
    "registers swapped by the hub": ("lot_figures", told_by_the_hub(swap)),
    "less energy told by the hub": (
        "lot_figures",
        told_by_the_hub(lambda lots: lots["jobs"][0][8][0].__setitem__(3, "0.70")),
    ),
    "a register left out by the hub": ("lot_figures", told_by_the_hub(lambda lots: lots["jobs"][0][8].pop())),
    "pieces changed by the hub": ("lot_counts", told_by_the_hub(change(0, 6, 300))),
    "scrap changed by the hub": ("lot_counts", told_by_the_hub(change(0, 7, []))),
    "another lot's proof": ("lot_differs", told_by_the_hub(other_lot)),
    "a job under another lot's name": ("lot_differs", told_by_the_hub(change(0, 0, "SHIRT-2"))),
    "only a job of another lot": ("lot_differs", told_by_the_hub(one_job_renamed)),
    "the lot's history cut": ("lot_genealogy", told_by_the_hub(lambda lots: lots["jobs"].pop(1))),
    "what came from outside left out": ("lot_genealogy", told_by_the_hub(lambda lots: lots["outside"].clear())),
    "the list of jobs left out": ("lot_malformed", lambda data: resigned(data, {"lots.cbor": None}, KEY)),
    "the list of jobs of another form": ("lot_malformed", told_by_the_hub(lambda lots: lots.update(form="x"))),
    "one job twice": ("lot_malformed", told_by_the_hub(lambda lots: lots["jobs"].append(lots["jobs"][0]))),
}


def test_a_tampered_proof_is_refused_for_its_own_reason(proof, page):
    wrong = {}
    for name, (reason, tamper) in TAMPERED.items():
        said = judged(tamper(proof), page.verdict)
        found = reasons(said)
        # What is not here is never called wrong, and never right.
        expected = "incomplete" if reason in ("lot_gap", "lot_open") else "failure"
        line = next(each["line"] for each in said["reasons"] if each["reason"] == reason) if reason in found else None
        if line is None or said["overall"] != expected or said["lines"][line]["state"] == "yes":
            wrong[name] = found
        if reason in ("lot_figures", "lot_counts", "lot_malformed", "lot_gap", "lot_open") and len(found) != 2:
            wrong[name] = found  # this one and no_log
    assert wrong == {}


def test_random_bytes_in_the_list_of_jobs_are_judged_alike(proof, page):
    dice, lots = random.Random(5), members(proof)["lots.cbor"]
    for _ in range(40):
        at = dice.randrange(len(lots))
        data = resigned(proof, {"lots.cbor": lots[:at] + bytes([dice.randrange(256)]) + lots[at + 1 :]}, KEY)
        judged(data, page.verdict)


# Random workshops.


class Workshop:
    """A gateway that signs random entries: overlaps, corrections, lost batches, counters that begin again."""

    def __init__(self, rig, number, dice):
        self.rig, self.dice, self.gateway, self.number = rig, dice, FakeGateway(number, SCHEMA), 0
        self.gateway.name = f"hall-{number}"
        rig.enrol(self.gateway)
        self.at_s, self.values, self.open = 0, [1000, 10, 5], []
        self.put(jobs.STATION, 0, 0, ["saw", REGISTERS])
        self.put(jobs.STATION, 1, 0, ["press", REGISTERS[:2]])

    def put(self, what, station, job, detail, lost=False, also=()):
        dice = self.dice
        self.number += 1
        self.at_s += dice.randrange(1, 100)
        self.values = [value + dice.randrange(9) for value in self.values]
        known = [value if dice.random() > 0.1 else None for value in self.values[: 3 - station]]
        when = START_MS + self.at_s * 1000
        event = jobs.event(events.PRODUCTION, what, station, self.number, (when, 0), job, detail, 100, known)
        tables = {0: [(when, 0, self.values[:1], [0])], 1: [(when, 0, self.values[1:], [0, 0])]}
        batch = self.gateway.batch(tables=tables, events=[*also, event], with_schema=self.number == 1)
        if not lost:
            self.rig.batches(self.gateway, batch)
        return self.number

    def step(self):
        dice, what = self.dice, self.dice.random()
        station, lost = dice.randrange(2), dice.random() < 0.02
        if what < 0.3 or not self.open:
            number = self.put(jobs.START, station, f"L{dice.randrange(6)}", dice.randrange(2), lost)
            self.open.append((number, station))
            return
        at = dice.randrange(len(self.open))
        job, station = self.open[at]
        if what < 0.55:
            self.open.pop(at)
            self.put(jobs.STOP, station, job, dice.randrange(4), lost)
        elif what < 0.65:
            self.put(jobs.COUNT, station, job, dice.randrange(1, 50), lost)
        elif what < 0.7:
            self.put(jobs.SCRAP, station, job, [dice.randrange(1, 4), 2], lost)
        elif what < 0.8:
            self.put(dice.choice((jobs.MATERIAL_IN, jobs.MATERIAL_OUT)), station, job, f"L{dice.randrange(9)}", lost)
        elif what < 0.92:
            about = dice.randrange(1, self.number + 1)
            detail = dice.choice(
                ([jobs.VOID], [jobs.LOT, "L2"], [jobs.TIME, START_MS + dice.randrange(10**6)], [jobs.QUANTITY, 3])
            )
            self.put(jobs.CORRECTION, 0, about, detail)
        elif what < 0.96:
            self.values[0] //= 2
            self.put(jobs.SHIFT, station, 0, 7, also=[[9, "mill", "import_active_energy", 2, 9000, 10, [START_MS, 0]]])
        else:
            self.put(jobs.STATION, station, 0, ["saw-2", REGISTERS[: dice.randrange(1, 4)]])


def test_what_the_hub_writes_of_a_random_workshop_is_what_verifiers_find(rig, tmp_path):
    dice, proofs, amounts, shared = random.Random(11), 0, 0, 0
    for park_number in range(PARKS):
        halls = [Workshop(rig, 10 + 2 * park_number + n, dice) for n in range(2)]
        for _ in range(60):
            dice.choice(halls).step()
        lot = f"L{dice.randrange(6)}"
        said = judged(prove(rig, lot, (tmp_path / str(park_number)).mkdir() or tmp_path / str(park_number)))
        assert {reason for reason in reasons(said) if reason.startswith("lot")} <= {"lot_gap", "lot_open"}, park_number
        assert not {reason["reason"] for reason in said["reasons"] if reason["effect"] == "wrong"}
        figures = [figure for job in said["lots"]["jobs"] for figure in job["figures"]]
        amounts += sum(figure["amount"] is not None for figure in figures)
        shared += sum(figure["shared"] for figure in figures)
        proofs += 1
    assert proofs == PARKS and amounts > 20 * PARKS and shared > 5 * PARKS

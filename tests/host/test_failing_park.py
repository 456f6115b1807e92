"""The verbs of people, money, evidence and production with every call made to fail, as in test_failing_calls.py.

One hub has a hall with a month of readings, a workshop with lots, a tariff, a baseline, a pack, an account and a meter
register. Whatever fails, the tables, the files and the log of the hub are as before or as after, and the same command
works then: nothing is left half.
"""

import base64
import contextlib
import datetime
import io
import json
import shutil
import time
import urllib.request

import pytest

import failing_calls
from batches import FakeGateway
from failing_calls import each_failure, run
from host_tools.hub.park.book import Book
from host_tools.hub.people import accounts
from host_tools.hub.stores.store import connect
from hub_rig import HOUR_MS, Rig, meters_schema
from stamp_authority import Authority
from test_bills import EXAMPLES, document
from test_evidence_pack import FACTORS
from test_failing_calls import check, no_drafts
from test_hub_log import sign
from test_lots import Hall

BEGIN_MS = int(datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc).timestamp()) * 1000
DAY_MS, DAYS = 24 * HOUR_MS, 33
MARCH = ["--from", "2026-03-02", "--to", "2026-03-25"]
METER, MAIN = ["--meter", "hall-3", "press"], ["--main", "hall-3", "mains"]
HUB, WORD = ["--data", "{hub}"], ["--password-file", "{word}"]
VERBS = {
    "park meters": ["park", "meters", *HUB],
    "park behind": ["park", "behind", *HUB, *METER, *MAIN],
    "park apart": ["park", "apart", *HUB, "--meter", "hall-3", "oven"],
    "meter-register add": ["meter-register", "add", *HUB, *METER, "--serial", "7", "--calibrated-on", "2026-01-05",
                           "--due-on", "2028-01-05", "--certificate-file", "{paper}"],
    "meter-register list": ["meter-register", "list", *HUB],
    "meter-register check": ["meter-register", "check", *HUB, *MARCH],
    "alarm list": ["alarm", "list", *HUB],
    "alarm limit": ["alarm", "limit", *HUB, "--channel", "hall-3", "press", "active_power", "--above", "90", "--for",
                    "10"],
    "alarm limits --remove": ["alarm", "limits", *HUB, "--remove", "1"],
    "tariff check": ["tariff", "check", "{tariff}", "{example}"],
    "bill --out": ["bill", *HUB, "--month", "2026-03", "--tariff", "{tariff}", "--gateway", "hall-3", "--out", "{out}"],
    "enpi baseline": ["enpi", "baseline", "two", *HUB, "--place", "hall-3", "--unit", "day", *MARCH],
    "enpi adjust": ["enpi", "adjust", "one", *HUB, *MARCH, "--kwh", "40", "--reason", "a second shift"],
    "enpi report": ["enpi", "report", "one", *HUB, *MARCH],
    "enpi list": ["enpi", "list", *HUB],
    "evidence write": ["evidence", "write", *HUB, "--place", "hall-3", "--from", "2026-03-01", "--to", "2026-03-31",
                       "--factors", "{factors}", "--out", "{out}"],
    "evidence check": ["evidence", "check", "{pack}"],
    "oee plan": ["oee", "plan", "sewing/line-1", *HUB, *MARCH, "--busy-minutes", "480", "--piece-seconds", "27.5",
                 "--source", "sheet 4"],
    "oee report": ["oee", "report", "sewing/line-1", *HUB, *MARCH],
    "log proof": ["log", "proof", *HUB, "--leaf", "2", "--cose", "{out}"],
    "log stamp": ["log", "stamp", *HUB, "--authority", "http://stamps.example/"],
    "log renew": ["log", "renew", *HUB, "--why", "a test of the spare"],
    "account add": ["account", "add", "sok", "--role", "tenant", "--place", "hall-3", *HUB, *WORD],
    "account password": ["account", "password", "dara", *HUB, *WORD],
    "account remove": ["account", "remove", "dara", *HUB],
    "account list": ["account", "list", *HUB],
    "operator": ["operator", "bert", *HUB, "--may", "read"],
    "operator --remove": ["operator", "--remove", "anna", *HUB],
    "place replace": ["place", "replace", "hall-3", "sewing", *HUB],
    "lot list": ["lot", "list", *HUB],
    "lot recall": ["lot", "recall", "SHIRT-1", *HUB],
    "lot balance": ["lot", "balance", *HUB],
    "lot export": ["lot", "export", "SHIRT-1", *HUB, "--base", "https://hub.example/", "--out", "{out}"],
    "lot print": ["lot", "print", "SHIRT-1", *HUB, "--out", "{page}"],
    "lot tag": ["lot", "tag", "count", "25", "--out", "{page}"],
    "archive": ["archive", *HUB, "--place", "hall-3", "--month", "2026-03", "--out", "{out}"],
}  # fmt: skip
FINDINGS = {"meter-register check", "evidence check", "enpi report"}  # they end with 1 where they find something


def build(folder):
    """The hub, once."""
    rig = Rig(folder)
    gateway = FakeGateway(9, meters_schema(["mains", "press", "oven"]))
    gateway.name = "hall-3"
    rig.enrol(gateway)
    for day in range(-1, DAYS, 11):
        rows = [(BEGIN_MS + (day + i) * DAY_MS, 0, [0, 100_000 * (day + i + 1)], [0, 0]) for i in range(11)]
        rig.now_unix_ms = rows[-1][0] + HOUR_MS
        tables = dict.fromkeys(range(3), rows)
        assert rig.batches(gateway, gateway.batch(tables=tables, with_schema=True))[0].receipt
    for number, name, station in ((1, "cutting", "saw"), (2, "sewing", "line-1")):
        hall = Hall(rig, number, name, station)
        job = hall.entry(1, "SHIRT-1", 0, 5010, 1, 0, at_s=300)
        hall.entry(2, job, 0, 5131, 6, 1, at_s=500)
    with rig.store.db.transaction():
        while Book(rig.store.db).catch_up():
            pass
    sign(rig)
    rig.store.close()
    with contextlib.closing(connect(folder)) as db:
        db.execute("INSERT INTO about VALUES ('setting zone', 'UTC')")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("park")
    hub = folder / "hub"
    hub.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        furnish(folder, hub)
    return folder


def furnish(folder, hub):
    """The hub with what people have told it, and the files that the verbs want."""
    build(hub)
    (folder / "tariff.json").write_text(json.dumps(document()))
    (folder / "factors.json").write_text(
        json.dumps([{**each, "from": "2026-01-01", "to": "2026-12-31", "year": 2026} for each in FACTORS])
    )
    (folder / "word").write_text("correct horse battery\n")
    (folder / "paper.pdf").write_bytes(b"%PDF-1.7 a certificate")
    there = places(folder, folder / "x", hub)
    for words in (
        ["park", "behind", *HUB, "--meter", "hall-3", "oven", *MAIN],
        ["account", "add", "dara", "--role", "auditor", *HUB, "--password-file", "{word}"],
        ["operator", "anna", *HUB],
        ["alarm", "limit", *HUB, "--channel", "hall-3", "mains", "active_power", "--above", "9000", "--for", "5"],
        ["enpi", "baseline", "one", *HUB, "--place", "hall-3", "--unit", "day", *MARCH],
        [
            "evidence",
            "write",
            *HUB,
            "--place",
            "hall-3",
            "--from",
            "2026-03-01",
            "--to",
            "2026-03-31",
            "--out",
            "{pack}",
        ],
    ):
        result = run([word.format(**there) for word in words])
        assert result.exit_code == 0, result
    with contextlib.closing(connect(hub)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def places(folder, scratch, hub):
    return {
        "hub": hub, "tariff": folder / "tariff.json", "example": next(EXAMPLES.glob("*.json")), "word": folder / "word",
        "factors": folder / "factors.json", "paper": folder / "paper.pdf", "pack": folder / "pack.zip",
        "out": scratch / "out", "page": scratch / "page.html",
    }  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """A few of many calls of one kind fail, nothing of this user is touched, a stamp is that of a test."""
    monkeypatch.setattr(failing_calls, "FEW", 0.5)  # the first of each kind, and one or two more
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(accounts, "hash_of", lambda password: base64.b64encode(password.encode()).decode())
    authority = Authority()

    def answer(question, timeout):
        return contextlib.closing(io.BytesIO(authority.answer(question.data, int(time.time() * 1000))))

    monkeypatch.setattr(urllib.request, "urlopen", answer)


@pytest.mark.parametrize("name", VERBS)
def test_a_sentence_and_a_whole_state(name, tmp_path, made):
    scratch, hub = tmp_path / "scratch", tmp_path / "hub"
    words = [word.format(**places(made, scratch, hub)) for word in VERBS[name]]

    def begin():
        for path in (scratch, hub, tmp_path / "state"):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(made / "hub", hub)
        shutil.copytree(made / "state", tmp_path / "state")
        scratch.mkdir()

    begin()
    whole = run(words)
    assert whole.exit_code == 0 or (name in FINDINGS and whole.exit_code == 1), whole
    wanted = state(hub), out_of(scratch)
    begin()
    untouched = state(hub), out_of(scratch)
    tried = 0
    for number, result, error in each_failure(words, None, begin):
        tried += 1
        if name in FINDINGS and result.exit_code == 1:
            result = result._replace(exit_code=0)
        what = check(name, result, error, number)
        now = state(hub), out_of(scratch)
        assert now[0] in (untouched[0], wanted[0]), f"half of it is at the hub: {what}\n{difference(now[0], wanted[0])}"
        assert now[1] in (untouched[1], wanted[1]), f"half of it is written: {now[1]} {what}"
        assert no_drafts(tmp_path) or (result.failed == "change" and result.exit_code == 0), what
        if result.exit_code == 0:
            assert now == wanted, what
        elif now == untouched and number % 4 == 0:
            for draft in tmp_path.rglob("*.new"):
                draft.unlink()
            again = run(words)
            assert again.exit_code == whole.exit_code, f"not again: {what} {again.err}"
            assert (state(hub), out_of(scratch)) == wanted, f"not the same again: {what}"
    assert tried > 2


def state(folder):
    """What a hub has: how many rows each table has, the names of its files, its people."""
    found = {}
    with contextlib.closing(connect(folder)) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        for (table,) in tables:
            found[table] = db.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
        found["behind"] = db.execute("SELECT count(*) FROM about").fetchone()[0]
    found["files"] = sorted(str(path.relative_to(folder)).partition("-")[0] for path in folder.rglob("*"))
    found["files"] = [name for name in dict.fromkeys(found["files"]) if name not in ("hub.lock",)]
    found["people"] = {name: each.hash for name, each in accounts.load(folder).items()}
    operators = folder / "operators.json"
    found["operators"] = sorted(json.loads(operators.read_text())) if operators.exists() else []
    return found


def difference(now, wanted):
    return {key: (now.get(key), wanted.get(key)) for key in {*now, *wanted} if now.get(key) != wanted.get(key)}


def out_of(folder):
    """What a verb has written, by name: each is there whole, or not at all."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".new")]
    return sorted(str(path.relative_to(folder)) for path in found)

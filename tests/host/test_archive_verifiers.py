"""Three verifiers of archives in three hands: audit.py, verify.html in a browser, and one written from SPEC alone."""

import base64
import io
import json
import re
from pathlib import Path

import pytest

import archive_example
import vector_archives
from archive_campaign import CHROMIUM, FIREFOX, PAGE, Page, audit, by_audit, by_the_other, compare, run
from crooked import KINDS
from firefox import Firefox
from test_vectors_spec import SPEC, blocks, for_pycddl

CORPUS = Path(__file__).parent.parent / "vectors" / "archives"
SHORT = range(len(KINDS))
HOSTILE = range(40)


@pytest.fixture(scope="module")
def page():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Page(browser)
        browser.close()


def test_audit_and_the_verifier_from_spec_alone_agree():
    assert list(run(SHORT, [by_audit, by_the_other])) == []
    assert list(compare(HOSTILE, [by_audit, by_the_other])) == []


def test_the_page_agrees_and_asks_for_nothing(page):
    assert list(run(SHORT[::2], [by_audit, page.verdict])) == []
    assert list(compare(HOSTILE[::3], [by_audit, page.verdict])) == []
    assert page.requests == [PAGE.as_uri()]


VECTORS = [*vector_archives.vectors("batch", "beat", "chain")]
VERDICTS_IN_PAGE = """async archives => {
  const said = [];
  for (const text of archives) {
    const file = new Blob([Uint8Array.from(atob(text), c => c.charCodeAt(0))]);
    said.push(await verdictOf(file, []));
  }
  return said;
}"""
TAKEN_IN_PAGE = """([items, columns]) => {
  const taken = read => {
    try { read(); return true; } catch (e) { if (!(e instanceof Malformed)) throw e; return false; }
  };
  return [items.map(item => taken(() => decode(unhex(item)))),
    columns.map(([column, count]) => taken(() => decodeColumn(unhex(column), count)))];
}"""


def test_audit_and_the_verifier_from_spec_alone_refuse_what_every_reader_must_refuse():
    """Every vector of a message: whoever adds a rule adds a vector, and so to these verifiers too."""
    troubles = []
    for name, vector in VECTORS:
        data = vector_archives.archive_of(vector)
        said = by_audit(data, [])
        troubles += vector_archives.wrong(name, vector, said)
        troubles += [] if by_the_other(data, []) == said else [f"{name}: the verdicts differ"]
    assert troubles == [] and len(VECTORS) > 150


def test_audit_takes_the_items_and_columns_that_every_reader_takes():
    def taken(read, *words):
        try:
            read(*words)
        except audit.Malformed:
            return False
        return True

    items = [taken(audit.decode, bytes.fromhex(v["messages"][0])) for _, v in vector_archives.vectors("cbor")]
    columns = [
        taken(audit.decode_column, bytes.fromhex(vector["messages"][0]), vector["count"])
        for _, vector in vector_archives.vectors("column")
    ]
    assert vector_archives.wrong_pieces(items, columns) == []


def test_the_page_refuses_what_every_reader_must_refuse(page):
    archives = [vector_archives.archive_of(vector) for _, vector in VECTORS]
    said = page.page.evaluate(VERDICTS_IN_PAGE, [base64.b64encode(data).decode() for data in archives])
    troubles = []
    for (name, vector), data, verdict in zip(VECTORS, archives, map(json.loads, said), strict=True):
        troubles += vector_archives.wrong(name, vector, verdict)
        troubles += [] if verdict == by_audit(data, []) else [f"{name}: the verdicts differ"]
    items = [vector["messages"][0] for _, vector in vector_archives.vectors("cbor")]
    columns = [[vector["messages"][0], vector["count"]] for _, vector in vector_archives.vectors("column")]
    taken = page.page.evaluate(TAKEN_IN_PAGE, [items, columns])
    assert troubles + vector_archives.wrong_pieces(*taken) == []


def test_the_page_in_firefox_agrees_and_asks_for_nothing(tmp_path):
    if FIREFOX is None:
        pytest.skip("no Firefox on this machine")
    with Firefox(FIREFOX, tmp_path, PAGE) as firefox:
        assert list(run(SHORT[1::4], [by_audit, firefox.verdict])) == []


def test_the_page_is_small_and_forbids_requests():
    text = PAGE.read_text(encoding="utf-8")
    assert len(text.encode()) <= 300_000
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy and policy[1].startswith("default-src 'none';")
    asking = r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon"
    assert not re.search(asking, text)


def test_an_honest_and_a_crooked_archive_are_told_apart_by_words(page):
    data, trust, _ = KINDS["a_reading_changed"](1)
    page.verdict(data, trust)
    assert "SOMETHING IS WRONG" in page.page.inner_text("#answer")
    assert "the gateway did not sign these bytes" in page.page.inner_text("#lines")
    assert page.page.locator("#lines tr.no").count() == 3
    page.verdict(archive_example.archive(), [archive_example.GATEWAY.id.hex()])
    assert "Nothing wrong was found" in page.page.inner_text("#answer")
    assert page.page.locator("#lines tr.no").count() == 0


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.zip")), ids=lambda path: path.stem)
def test_archives_of_earlier_versions_are_judged_as_they_were(path):
    kept = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    for judge in (by_audit, by_the_other):
        said = judge(path.read_bytes(), kept["trust"])
        assert agrees({key: value for key, value in kept.items() if key != "trust"}, said)
    incomplete = path.stem in ("bad_the_tail_cut_by_the_hub", "bad_a_statement_of_a_place_left_out")
    assert path.stem.startswith("good") == (kept["overall"] != "failure" and not incomplete)


def agrees(kept, said):
    """Whether a verdict of today says all that was kept. It may say more: a map may have new keys."""
    if isinstance(kept, dict):
        return all(key in said and agrees(kept[key], said[key]) for key in kept)
    if isinstance(kept, list):
        return len(kept) == len(said) and all(map(agrees, kept, said))
    return kept == said


def test_the_example_of_spec():
    assert archive_example.text() in SPEC
    data, named = archive_example.archive(), [archive_example.GATEWAY.id.hex()]
    said = by_audit(data, named)
    assert said == by_the_other(data, named)
    assert [reason["reason"] for reason in said["reasons"]] == ["statement_unsigned", "no_log"]
    assert [row["energy"] for row in said["energy"]] == ["25"] and said["overall"] == "incomplete"


def test_the_statement_matches_the_cddl():
    pycddl = pytest.importorskip("pycddl", reason="no pycddl for this Python")
    import zipfile

    with zipfile.ZipFile(io.BytesIO(archive_example.archive())) as file:
        statement = file.read("statement.cbor")
    rules = for_pycddl("root = archive-statement\n" + "\n".join(blocks("cddl")), statement)
    pycddl.Schema(rules).validate_cbor(statement)

"""The page for an auditor: what a device remembers, and refuses; an archive taken away."""

import contextlib
import io
import json
import re
import time

import httpx
import pytest

from archives import load_audit
from batches import FakeGateway
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs.enrol import enrol
from host_tools.hub.web.auditing import audit_pages
from host_tools.log.log import Checkpoint
from test_hub_web import WAIT_S, Server, browser, filled, page_of  # noqa: F401
from test_openapi import described, faults


def grow(server, folder) -> None:
    """Another leaf, and the checkpoint that covers it: a running hub signs one within a second."""
    size = httpx.get(f"{server.url}/api/log").json().get("size", 0)
    with contextlib.closing(connect(folder)) as db:
        for number in range(3):
            enrol(db, FakeGateway(1000 * size + number).xy, f"new {size} {number}")
    deadline = time.monotonic() + WAIT_S
    while httpx.get(f"{server.url}/api/log").json()["size"] < size + 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def server(filled):  # noqa: F811
    with Server(filled[0]) as server:
        deadline = time.monotonic() + WAIT_S
        while httpx.get(f"{server.url}/api/log").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield server


def state(page) -> str:
    page.wait_for_selector("#verdict[data-state]")
    return page.get_attribute("#verdict", "data-state")


def test_a_device_remembers_and_refuses(server, filled, browser):  # noqa: F811
    with page_of(browser, server.url, "/audit") as page:
        assert state(page) == "good"
        assert "for the first time" in page.inner_text("#verdict")
        kept = json.loads(page.evaluate("localStorage['parkgate-log']"))
        assert kept["size"] <= httpx.get(f"{server.url}/api/log").json()["size"]
        assert page.evaluate("document.querySelector('.audit-code').naturalWidth") > 0
        assert "paint shop: has confirmed nothing yet" in page.inner_text("#seen")

        grow(server, filled[0])
        page.reload()
        assert state(page) == "good"
        grown = json.loads(page.evaluate("localStorage['parkgate-log']"))
        assert grown["size"] > kept["size"] and "still there, unchanged" in page.inner_text("#verdict")

        other = "00" + kept["root"][2:]
        for wrong in (
            {**kept, "root": other},  # another beginning
            {**grown, "root": other},  # another root for the same size
            {**kept, "log": "00" * 16},
            {**kept, "size": grown["size"] + 1000},  # leaves that are gone
        ):
            page.evaluate("text => { localStorage['parkgate-log'] = text; }", json.dumps(wrong))
            page.reload()
            assert state(page) == "refused", wrong
            assert json.loads(page.evaluate("localStorage['parkgate-log']")) == wrong, "what it saw is kept"
        page.click("button:has-text('Forget')")
        page.wait_for_selector("#verdict.audit-good")


def test_a_scanned_code_is_judged(server, filled, browser):  # noqa: F811
    with page_of(browser, server.url, "/audit") as page:
        made = httpx.get(f"{server.url}/api/log").json()
        raw = {name: bytes.fromhex(made[name]) for name in ("log", "root", "signature")}
        point = Checkpoint(made["size"], raw["root"], raw["signature"], "", 0)
        text = audit_pages.code_text(f"{server.url}/audit", raw["log"], point)
        assert len(text) <= audit_pages.CODE_CHARACTERS_MAX
        grow(server, filled[0])
        wrong = text[:-3] + ("A" if text[-3] != "A" else "B") + text[-2:]
        for scanned, expected in ((text, "good"), (wrong, "refused"), (text[:-1], "refused"), (text + ".1", "refused")):
            page.goto("about:blank") if scanned != text else None
            page.goto(scanned)
            page.reload()
            assert state(page) == expected, scanned


def test_sha256_and_proofs_of_the_page(server, browser):  # noqa: F811
    """Against hashlib, and against every pair of sizes of a small tree."""
    from hashlib import sha256

    from parkgate.log.tree import leaf_hash, node_hash

    leaves = [leaf_hash(bytes([n]) * 32) for n in range(9)]

    def root(nodes):
        if len(nodes) == 1:
            return nodes[0]
        k = 1 << (len(nodes) - 1).bit_length() - 1
        return node_hash(root(nodes[:k]), root(nodes[k:]))

    def proof(m, nodes, whole):
        n = len(nodes)
        if m == n:
            return [] if whole else [root(nodes)]
        k = 1 << (n - 1).bit_length() - 1
        if m <= k:
            return [*proof(m, nodes[:k], whole), root(nodes[k:])]
        return [*proof(m - k, nodes[k:], False), root(nodes[:k])]

    cases = []
    for n in range(1, 10):
        for m in range(1, n + 1):
            path = [each.hex() for each in proof(m, leaves[:n], True)]
            good = [m, n, root(leaves[:m]).hex(), root(leaves[:n]).hex(), path]
            bad = [[m, n, good[3], "00" * 32, path], [m, n, *good[2:4], [*path, "00" * 32]]]
            bad += [[m, n, *good[2:4], path[:-1]]] if path else []
            cases += [[good, True], *([each, False] for each in bad)]
    texts = [bytes(range(n % 256)) * (1 + n // 60) for n in (0, 1, 54, 55, 56, 63, 64, 65, 119, 200)]
    with page_of(browser, server.url, "/audit") as page:
        found = page.evaluate(
            """async ([cases, texts]) => {
              const { consistent, sha256 } = await import("./static/checkpoint.js");
              const digest = (text) => [...sha256(Uint8Array.from(text))];
              return [cases.map(([args]) => consistent(...args)), texts.map(digest)];
            }""",
            [cases, [list(text) for text in texts]],
        )
    assert found[0] == [good for _, good in cases]
    assert [bytes(each) for each in found[1]] == [sha256(text).digest() for text in texts]


def test_the_answers(server, filled):  # noqa: F811
    def check(address, path, status="200"):
        answer = httpx.get(server.url + path)
        assert str(answer.status_code) == status, answer.text
        assert faults(answer.json(), described(address, status)) == []
        return answer.json()

    now = check("/api/log", "/api/log")
    assert check("/api/log/consistency", "/api/log/consistency?size=1")["old_size"] == 1
    assert check("/api/log/consistency", f"/api/log/consistency?size={now['size']}")["path"] == []
    check("/api/log/consistency", f"/api/log/consistency?size={now['size'] + 1}", "404")
    for size in ("0", "x", "-1", "9" * 30):
        check("/api/log/consistency", f"/api/log/consistency?size={size}", "400")
    code = httpx.get(f"{server.url}/api/log/code", params={"page": f"{server.url}/audit"})
    assert code.status_code == 200 and re.match(r"<svg ", code.text)
    check("/api/log/code", "/api/log/code?page=https://elsewhere.example/audit", "400")
    check("/api/log/code", f"/api/log/code?page={server.url}/{'a' * 200}", "400")


def test_an_archive_is_taken_away(server, filled):  # noqa: F811
    answer = httpx.get(f"{server.url}/api/archive", params={"gateway": "paint shop"}, timeout=120)
    assert answer.status_code == 200, answer.text
    trust = [httpx.get(f"{server.url}/api/log").json()["key_id"]]
    said = load_audit().Audit(io.BytesIO(answer.content), trust).verdict()
    assert [one["name"] for one in said["gateways"]] == ["paint shop"]
    assert said["lines"]["authentic"]["state"] == said["lines"]["unaltered"]["state"] == "yes"
    wrong = httpx.get(f"{server.url}/api/archive", params={"gateway": "--data=/"}, timeout=120)
    assert wrong.status_code == 400 and "no gateway is called" in wrong.json()["error"]
    assert httpx.get(f"{server.url}/api/archive?data=/etc").status_code == 400

"""People at the hub's page: every address under every role, sign in and out, and what a stranger may try."""

import contextlib
import io
import json
import time

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from batches import FakeGateway
from host_tools import cli
from host_tools.hub.alarms import ledger, rules
from host_tools.hub.people import accounts, operators, pages, register, sessions
from host_tools.hub.people.door import Door, Unlisted
from host_tools.hub.stores import places
from host_tools.hub.stores.gateways import find
from host_tools.hub.stores.store import connect
from host_tools.hub.web.server import make_app
from hub_rig import Rig, fill_meters, meters_schema
from park import PAGE_WAIT_MS
from parkgate.errors import SettingsError
from parkgate.log import statement
from test_hub_web import Server, browser, page_of  # noqa: F401

PASSWORD = "correct horse battery"
MINE, THEIRS = 1, 2
VISITORS = ("nobody", "operator", "technician", "auditor", "mine", "theirs", "program")
ALL, STAFF, MONEY = "200 200 200 200 200 200", "200 200 200 403 403 200", "200 403 200 200 200 200"
GATEWAY, BILL = "200 200 200 200 404 200", "200 403 200 200 404 200"

# Every address of the page: an example of it, and the status for nobody, an operator, a technician, an auditor, the
# tenant whose gateway it is, another tenant, and a program with a token to read. 303 leads to the page for signing in.
TABLE = {
    "GET /": ("/", f"303 {ALL}"),
    "GET /place": ("/place?id={id}", f"303 {ALL}"),
    "GET /lots": ("/lots", f"303 {STAFF}"),
    "GET /bill": ("/bill?id={id}&month={month}&tariff=t.json", f"303 {BILL}"),
    "GET /audit": ("/audit", f"303 {STAFF}"),
    "GET /login": ("/login", f"200 {ALL}"),
    "POST /api/login": ("/api/login", "400 400 400 400 400 400 400"),
    "POST /api/password": ("/api/password", "401 400 400 400 400 400 403"),
    "GET /api/me": ("/api/me", f"401 {ALL}"),
    "GET /api/summary": ("/api/summary", f"401 {ALL}"),
    "GET /api/gateways": ("/api/gateways", f"401 {ALL}"),
    "POST /api/gateways": ("/api/gateways", "401 401 401 401 401 401 400"),
    "GET /api/gateways/{id}": ("/api/gateways/{id}", f"401 {GATEWAY}"),
    "GET /api/gateways/{id}/readings": ("/api/gateways/{id}/readings?series={series}&last_s=60", f"401 {GATEWAY}"),
    "GET /api/gateways/{id}/energy": ("/api/gateways/{id}/energy", f"401 {GATEWAY}"),
    "GET /api/places": ("/api/places", f"401 {ALL}"),
    "GET /api/places/{id}/view": ("/api/places/{place}/view", f"401 {GATEWAY}"),
    "GET /api/gateways/{id}/view": ("/api/gateways/{id}/view", f"401 {GATEWAY}"),
    "GET /api/gateways/{id}/proof": ("/api/gateways/{id}/proof?series={series}&from={from_}&to={to}", f"401 {GATEWAY}"),
    "GET /api/gateways/{id}/bill": ("/api/gateways/{id}/bill?month={month}&tariff=t.json", f"401 {BILL}"),
    "GET /api/gateways/{id}/batches/{epoch}/{seq:int}": ("/api/gateways/{id}/batches/{epoch}/0", f"401 {GATEWAY}"),
    "GET /api/tariffs": ("/api/tariffs", f"401 {MONEY}"),
    "GET /api/park": ("/api/park", f"401 {ALL}"),
    "GET /api/alarms": ("/api/alarms", f"401 {ALL}"),
    "POST /api/alarms/{id:int}/acknowledge": ("/api/alarms/999/acknowledge", "401 400 400 403 403 403 403"),
    "GET /api/export": ("/api/export?format=csv&gateway={name}", "401 200 403 200 200 400 200"),
    "GET /metrics": ("/metrics", f"401 {STAFF}"),
    "GET /healthz": ("/healthz", f"200 {ALL}"),
    "GET /readyz": ("/readyz", "503 503 503 503 503 503 503"),
    "GET /api/lots": ("/api/lots", f"401 {STAFF}"),
    "GET /api/lots/one": ("/api/lots/one?lot=none", "401 404 404 404 403 403 404"),
    "GET /api/lots/recall": ("/api/lots/recall?lot=none", "401 404 404 404 403 403 404"),
    "GET /api/log": ("/api/log", f"401 {STAFF}"),
    "GET /api/log/consistency": ("/api/log/consistency?size=1", f"401 {STAFF}"),
    "GET /api/log/code": ("/api/log/code?page={url}/audit", f"401 {STAFF}"),
    "GET /api/archive": ("/api/archive?gateway={name}", "401 200 403 200 403 403 200"),
    "GET /log/checkpoint": ("/log/checkpoint", f"200 {ALL}"),
    "GET /log/key": ("/log/key", f"200 {ALL}"),
    "GET /log/tile/{path:path}": ("/log/tile/0/000.p/1", f"200 {ALL}"),
    "GET /log/receipt/{leaf:int}": ("/log/receipt/0", f"200 {ALL}"),
    "GET /log/consistency/{size:int}": ("/log/consistency/1", f"200 {ALL}"),
    "GET /log/proof/{leaf:int}": ("/log/proof/0", f"200 {ALL}"),
    "GET /log/batch/{gateway}/{epoch}/{seq:int}": ("/log/batch/{id}/{epoch}/0", f"200 {ALL}"),
    "POST /api/logout": ("/api/logout", "401 200 200 200 200 200 403"),  # the last: it ends the sessions
}


def open_alarms(folder, *gateways):
    """An alarm of each gateway, and one of both together."""
    from host_tools.hub.alarms.causes import Cause

    with contextlib.closing(connect(folder)) as db, ledger.writing(db):
        for members in ([gateways[0]], [gateways[1]], gateways):
            alarm = rules.Alarm("silent", 1, 1)
            for one in members:
                alarm.add(Cause(f"silent:{one.id.hex()}", "silent", f"{one.name} is silent", 1, one.id.hex(), one.name))
            alarm.what = " ".join(one.name for one in members)
            ledger.write(db, [(rules.OPENED, alarm)], 1)


@pytest.fixture(scope="module")
def park(tmp_path_factory):
    """A hub with two tenants, each with a gateway at a place of his own, and an account of each role."""
    folder = tmp_path_factory.mktemp("people")
    rig = Rig(folder)
    gateways = [FakeGateway(number, meters_schema(["main"])) for number in (MINE, THEIRS)]
    now_ms = time.time_ns() // 1_000_000 // 900_000 * 900_000
    for gateway, name in zip(gateways, ("pottery hall", "dye works")):
        gateway.name = name
        rig.enrol(gateway)
        fill_meters(rig, gateway, [6000], now_ms - 2 * 3_600_000, now_ms)
    rig.store.close()
    prices = {"from": "2020-01", "to": None, "energy": [{"name": "E", "price": "0.1"}]}
    (folder / "tariffs").mkdir()
    (folder / "tariffs/t.json").write_text(
        json.dumps({"tariff": "t", "currency": "USD", "rounding": "0.01", "versions": [prices]})
    )
    with contextlib.closing(connect(folder)) as db:
        own = {place.gateway: place.id.hex() for place in places.listed(db)}
    for role in ("operator", "technician", "auditor"):
        accounts.add(folder, role, role, PASSWORD)
    accounts.add(folder, "mine", "tenant", PASSWORD, [own["pottery hall"]])
    accounts.add(folder, "theirs", "tenant", PASSWORD, [own["dye works"]])
    open_alarms(folder, *gateways)
    with pytest.MonkeyPatch.context() as patch, Server(folder) as server:
        patch.setattr(register, "REQUESTS_MAX", 10_000)  # all of this comes from one address
        server.hub.alarms._stopping.set()  # the alarms of this test stay as they are
        server.folder, server.gateways, server.now_ms = folder, gateways, now_ms
        server.hub._sign_due_s = 0
        deadline = time.monotonic() + 100
        while httpx.get(server.url + "/log/checkpoint").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        token = operators.add(folder, "prometheus", scopes=["read"])
        server.visitors = {"nobody": httpx.Client(base_url=server.url)}
        server.visitors["program"] = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"})
        for name in ("operator", "technician", "auditor", "mine", "theirs"):
            server.visitors[name] = signed_in(server, name)
        yield server
        for client in server.visitors.values():
            client.close()


def signed_in(server, name, password=PASSWORD):
    client = httpx.Client(base_url=server.url)
    assert client.post("/api/login", json={"name": name, "password": password}).status_code == 200
    client.headers["X-CSRF-Token"] = client.get("/api/me").json()["csrf"]
    return client


def filled(server, path, gateway):
    with contextlib.closing(connect(server.folder, read_only=True)) as db:
        question = "SELECT series FROM series JOIN gateway USING (gw) WHERE kid = ? ORDER BY series DESC LIMIT 1"
        series = db.execute(question, (gateway.id,)).fetchone()[0]
        stood = "SELECT id FROM place JOIN place_stay USING (pl) JOIN gateway USING (gw) WHERE kid = ?"
        place = db.execute(stood, (gateway.id,)).fetchone()[0].hex()
    return path.format(
        url=server.url, id=gateway.id.hex(), name=gateway.name, epoch=gateway.epoch.hex(), series=series,
        place=place,
        month=time.strftime("%Y-%m", time.gmtime(server.now_ms / 1000)), from_=server.now_ms - 3_600_000,
        to=server.now_ms,
    )  # fmt: skip


def test_every_address_is_in_the_table(park):
    routes = {
        f"{method} {route.path}"
        for route in make_app(park.hub).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes == set(TABLE), "say here who may ask the new address"


def test_an_address_that_nobody_listed_is_not_served(tmp_path):
    async def answer(_request: Request):
        return PlainTextResponse("all of it")

    for route in (Route("/api/new", answer), Route("/api/park", answer, methods=["POST"])):
        with pytest.raises(Unlisted, match=r"/api/(new|park) is not in the list"):
            Door(tmp_path).guard([route])


@pytest.mark.parametrize("address", TABLE)
def test_every_address_under_every_role(park, address):
    method, (example, statuses) = address.split(" ")[0], TABLE[address]
    path = filled(park, example, park.gateways[0])
    found = {}
    for name, wanted in zip(VISITORS, statuses.split(), strict=True):
        client = park.visitors[name]
        answer = client.get(path) if method == "GET" else client.post(path, json={})
        found[name] = answer.status_code, int(wanted)
        if name == "theirs" and method == "GET":
            said = answer.text + str(answer.headers)
            if answer.status_code >= 400:
                said = said.replace(park.gateways[0].name, "")  # his own question
            assert "pottery" not in said and park.gateways[0].id.hex() not in said.replace(path, ""), (
                "a tenant learns nothing of another's"
            )
    assert all(status == wanted for status, wanted in found.values()), found
    if address == "POST /api/logout":
        for name in VISITORS[1:6]:
            park.visitors[name] = signed_in(park, name)


def test_a_tenant_sees_his_own_and_only_that(park):
    mine = park.visitors["mine"]
    assert [each["name"] for each in mine.get("/api/summary").json()["gateways"]] == ["pottery hall"]
    assert mine.get("/api/gateways").json()["totals"]["gateways"] == 1
    found = mine.get("/api/park").json()
    assert [hall["name"] for hall in found["halls"]] == ["pottery hall"] and found["energy"]["today"]["of"] == 1
    alarms = mine.get("/api/alarms").json()["open"]
    assert [alarm["what"] for alarm in alarms] == ["pottery hall", "silent: your gateway and others"]
    assert alarms[1]["concerned"] == alarms[1]["ever"] == 1
    export = mine.get("/api/export?format=csv").text
    assert "pottery hall" in export and "dye works" not in export
    assert len(park.visitors["auditor"].get("/api/alarms").json()["open"]) == 3
    other = park.gateways[1].id.hex()
    for path in (f"/api/gateways/{other}", f"/api/gateways/{other[:8]}", "/api/gateways/", f"/bill?id={other}"):
        assert mine.get(path).status_code in (404, 303, 307), path
    for name in (park.gateways[1].name, other, other[:12]):
        answer = mine.get(f"/api/export?format=csv&gateway={name}")
        assert answer.status_code == 400 and "there is no gateway" in answer.json()["error"]


def test_a_gateway_that_stood_elsewhere_is_not_its_new_tenants(tmp_path):
    rig = Rig(tmp_path)
    first = FakeGateway(MINE)
    first.name = "pottery hall"
    rig.enrol(first)
    rig.store.close()
    with contextlib.closing(connect(tmp_path)) as db:
        before = next(place for place in places.listed(db) if place.gateway == "pottery hall").id.hex()
        now = places.add(db, "hall 3", "test").hex()
        places.put(db, find(db, "pottery hall"), "hall 3", 5, "test")
        own = [Door(tmp_path).own_gateways(door_visitor("mine", ids)) for ids in ((before,), (now,), (before, now))]
        assert own == [set(), set(), {first.id.hex()}], "what it read before it came is another's"


def door_visitor(name, own):
    from host_tools.hub.people.door import Visitor

    return Visitor(name, "tenant", own, "", name)


# Changes.


def test_a_change_needs_the_token_of_the_page(park):
    client = signed_in(park, "operator")
    token = client.headers.pop("X-CSRF-Token")
    path, body = "/api/alarms/999/acknowledge", {"word": "seen"}
    assert client.post(path, json=body).status_code == 403
    assert client.post(path, json=body, headers={"X-CSRF-Token": "x" * len(token)}).status_code == 403
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert client.post(path, json=body, headers={"X-CSRF-Token": token, **foreign}).status_code == 403
    own = {"X-CSRF-Token": token, "Origin": park.url, "Sec-Fetch-Site": "same-origin"}
    assert client.post(path, json=body, headers=own).status_code == 409, "no such alarm: the door let it pass"


def test_who_acknowledged_stands_in_the_log(park):
    client = park.visitors["technician"]
    number = client.get("/api/alarms").json()["open"][0]["id"]
    found = client.post(f"/api/alarms/{number}/acknowledge", json={"word": "on my way", "by": "the king"}).json()
    assert found["acknowledged"]["by"] == "account technician" and found["acknowledged"]["word"] == "on my way"
    kinds = [(each.kind, each.by) for each in said(park.folder)]
    assert ("alarm acknowledged", "account technician") in kinds and ("signed in", "account technician") in kinds


def said(folder):
    with contextlib.closing(connect(folder, read_only=True)) as db:
        rows = db.execute("SELECT bytes FROM statement JOIN leaf USING (leaf) WHERE kind = 4 ORDER BY leaf").fetchall()
    return [statement.Statement(row[0]) for row in rows]


# Signing in.


@pytest.fixture
def small(tmp_path):
    """A hub with one account."""
    Rig(tmp_path).store.close()
    accounts.add(tmp_path, "sok", "operator", PASSWORD)
    with Server(tmp_path) as server:
        server.folder = tmp_path
        yield server


def test_the_cookie_is_for_the_page_alone(small):
    answer = httpx.post(small.url + "/api/login", json={"name": "sok", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie and "Secure" not in cookie
    token = answer.cookies[sessions.COOKIE]
    for path in (accounts.FILE, sessions.FILE):
        text = (small.folder / path).read_text()
        assert token not in text and PASSWORD not in text and (small.folder / path).stat().st_mode & 0o077 == 0
    assert accounts.load(small.folder)["sok"].hash.startswith("$argon2id$")


def test_a_session_outlives_the_hub_and_ends_with_its_account(tmp_path):
    Rig(tmp_path).store.close()
    accounts.add(tmp_path, "sok", "operator", PASSWORD)
    accounts.add(tmp_path, "dara", "auditor", PASSWORD)
    with Server(tmp_path) as server:
        cookies = dict(signed_in(server, "dara").cookies)
    with Server(tmp_path) as server:
        client = httpx.Client(base_url=server.url, cookies=cookies)
        assert client.get("/api/me").json()["name"] == "dara"
        accounts.set_password(tmp_path, "dara", "another password")
        assert client.get("/api/me").status_code == 401, "the session of the old password"
        again = signed_in(server, "dara", "another password")
        accounts.remove(tmp_path, "dara")
        assert again.get("/api/me").status_code == 401


def test_a_session_ends_when_nobody_uses_it_and_in_any_case_after_a_week(tmp_path):
    known = sessions.Sessions(tmp_path)
    token, _ = known.begin("sok", 0)
    at = 0
    while at < sessions.LIFE_MS - sessions.IDLE_MS:
        at += sessions.IDLE_MS - 1
        assert known.find(token, at)
    assert sessions.Sessions(tmp_path).find(token, at), "its use is on file"
    assert known.find(token, sessions.LIFE_MS) is None
    token, _ = known.begin("sok", 0)
    assert known.find(token, sessions.IDLE_MS) is None
    assert known.find("x", 1) is None


def test_sessions_have_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 3)
    known = sessions.Sessions(tmp_path)
    tokens = [known.begin("sok", n)[0] for n in range(5)]
    assert [known.find(token, 10) is not None for token in tokens] == [False, False, True, True, True]


def test_sign_out_ends_the_session_itself(small):
    client = signed_in(small, "sok")
    kept = dict(client.cookies)
    assert client.post("/api/logout", json={}).status_code == 200
    assert httpx.get(small.url + "/api/me", cookies=kept).status_code == 401


def test_a_new_password_ends_the_other_sessions(small):
    client, other = signed_in(small, "sok"), signed_in(small, "sok")
    wrong = client.post("/api/password", json={"old": "x" * 12, "new": "y" * 12})
    assert wrong.status_code == 401
    assert client.post("/api/password", json={"old": PASSWORD, "new": "short"}).status_code == 400
    assert client.post("/api/password", json={"old": PASSWORD, "new": "y" * 12}).status_code == 200
    assert client.get("/api/me").json()["name"] == "sok" and other.get("/api/me").status_code == 401
    changed = [each for each in said(small.folder) if each.kind == "account changed"]
    assert [(each.by, each.facts["account"]) for each in changed] == [("account sok", "sok")]


def test_wrong_passwords_are_slowed_for_each_account_and_each_address(small, monkeypatch):
    url = small.url + "/api/login"
    monkeypatch.setattr(pages, "FAILURES_MAX", 3)
    monkeypatch.setattr(register, "REQUESTS_MAX", 12)
    for name in ("sok", "sok", "nobody", "sok"):
        answer = httpx.post(url, json={"name": name, "password": "wrong password"})
        assert answer.status_code == 401 and "account" in answer.json()["error"], "the same words for both"
    answer = httpx.post(url, json={"name": "sok", "password": PASSWORD})
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= pages.SLOW_S
    assert [each.facts["account"] for each in said(small.folder) if each.kind == "sign-in slowed"] == ["sok"]
    found = [httpx.post(url, json={}).status_code for _ in range(12)]
    assert found[0] == 400 and found[-1] == 429, "an address may not try without end"


def test_failures_are_forgotten_in_time_and_bounded():
    now = [0.0]
    slowed = pages.Slowed(lambda: now[0])
    assert [slowed.failed("sok") for _ in range(pages.FAILURES_MAX)] == [False] * (pages.FAILURES_MAX - 1) + [True]
    assert slowed.wait_s("sok") == pages.SLOW_S and slowed.wait_s("dara") == 0
    now[0] += pages.SLOW_S
    assert slowed.wait_s("sok") == 0
    slowed.failed("sok")
    assert slowed.wait_s("sok") == pages.SLOW_S
    now[0] += pages.FAILURES_S
    assert slowed.wait_s("sok") == 0
    for number in range(2 * pages.ACCOUNTS_REMEMBERED):
        slowed.failed(str(number))
    assert len(slowed._failures) == pages.ACCOUNTS_REMEMBERED


def test_damaged_files_let_nobody_in(small):
    client = signed_in(small, "sok")
    (small.folder / accounts.FILE).write_text("{")
    assert client.get("/api/summary").status_code == 500
    assert httpx.get(small.url + "/api/summary").status_code == 500, "damaged is not the same as none"
    (small.folder / sessions.FILE).write_text("[")
    assert sessions.Sessions(small.folder).find("x") is None


def test_the_first_account_closes_the_page_and_without_one_only_loopback_is_open(tmp_path):
    Rig(tmp_path).store.close()
    with Server(tmp_path) as server:
        assert httpx.get(server.url + "/api/me").json()["role"] == "operator"
        assert httpx.get(server.url + "/").status_code == 200
        assert httpx.post(server.url + "/api/alarms/9/acknowledge", json={"word": "x"}).status_code == 403, (
            "CSRF here too"
        )
        accounts.add(tmp_path, "sok", "operator", PASSWORD)
        assert httpx.get(server.url + "/api/me").status_code == 401
        answer = httpx.get(server.url + "/place?id=5&span=day")
        assert answer.status_code == 303 and answer.headers["location"] == "login?next=place%3Fid%3D5%26span%3Dday"
        accounts.remove(tmp_path, "sok")
    shut = Door(tmp_path, may_be_open=False)
    request = Request({"type": "http", "headers": [], "method": "GET", "path": "/", "query_string": b""})
    assert shut.visitor(request) is None and Door(tmp_path).visitor(request).role == "operator"


def test_the_verb(tmp_path, capsys, monkeypatch):
    Rig(tmp_path).store.close()
    monkeypatch.setenv("PARKGATE_PASSWORD", PASSWORD)

    def run(*words):
        code = cli.main(["account", *words, "--data", str(tmp_path), "--json"])
        return code, json.loads(capsys.readouterr().out)

    with contextlib.closing(connect(tmp_path)) as db:
        place = places.add(db, "Hall 3", "test").hex()
    assert run("add", "sok", "--role", "operator") == (
        0, {"verb": "account add", "ok": True, "account": "sok", "role": "operator"},
    )  # fmt: skip
    assert run("add", "dara", "--role", "tenant", "--place", "Hall 3")[0] == 0
    for bad in (
        ["add", "SOK", "--role", "auditor"], ["add", "x", "--role", "tenant"], ["add", "y"], ["list", "z"], ["add"],
        ["add", "x", "--role", "auditor", "--place", "Hall 3"], ["remove", "nobody"], ["password", "nobody"],
        ["add", "x", "--role", "tenant", "--place", "Hall 9"],
    ):  # fmt: skip
        assert run(*bad)[0] == 2, bad
    listed = {each["name"]: each for each in run("list")[1]["accounts"]}
    assert listed["dara"]["places"] == [{"id": place, "name": "Hall 3"}] and "hash" not in listed["dara"]
    monkeypatch.setenv("PARKGATE_PASSWORD", "short")
    assert run("password", "sok")[0] == 2
    monkeypatch.setenv("PARKGATE_PASSWORD", "a longer password")
    assert run("password", "sok")[0] == 0
    assert accounts.is_right(accounts.load(tmp_path)["sok"], "a longer password")
    assert not accounts.is_right(accounts.load(tmp_path)["sok"], PASSWORD)
    assert run("remove", "dara")[1]["removed"] == "dara"
    kinds = [each.kind for each in said(tmp_path) if each.kind.startswith("account")]
    assert kinds == ["account added", "account added", "account changed", "account removed"]
    monkeypatch.delenv("PARKGATE_PASSWORD")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run("password", "sok")[0] == 2, "nobody is there to type it"


@pytest.mark.parametrize("name", ["", " sok", "so\nk", "x" * 65])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(SettingsError):
        accounts.add(tmp_path, name, "operator", PASSWORD)


def test_sign_in_in_a_browser(park, browser):  # noqa: F811
    context = browser.new_context(viewport={"width": 360, "height": 740})
    context.set_default_timeout(PAGE_WAIT_MS)
    page = context.new_page()
    page.goto(f"{park.url}/place?id={park.gateways[0].id.hex()}")
    page.wait_for_selector("#form")
    page.fill("#name", "mine")
    page.fill("#password", "not the password")
    page.click("#go")
    page.wait_for_selector("#why:has-text('wrong')")
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("#me >> text=mine (tenant)")
    assert park.gateways[0].id.hex() in page.url, "back where one wanted to go"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.goto(park.url)
    page.wait_for_selector(".need")
    assert page.locator(".need-line button:has-text('Acknowledge')").count() == 0, "a tenant does not acknowledge"
    page.click("#me button")
    page.wait_for_selector("#form")
    context.close()


def test_an_alarm_is_acknowledged_in_a_browser(park, browser):  # noqa: F811
    context = browser.new_context()
    context.set_default_timeout(PAGE_WAIT_MS)
    page = context.new_page()
    page.goto(park.url)
    page.fill("#name", "operator")
    page.fill("#password", PASSWORD)
    page.click("#go")
    page.wait_for_selector(".need-line button:has-text('Acknowledge')")
    page.click(".need-line:has-text('dye works') >> nth=0 >> text=Acknowledge")
    page.fill(".acknowledge input", "fuse replaced")
    page.keyboard.press("Enter")
    page.wait_for_selector(".need.seen:has-text('fuse replaced')")
    assert page.locator(".need.seen:has-text('seen by operator')").count() >= 1
    context.close()

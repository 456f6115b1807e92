"""The page and its JSON: right, safe, and as a person sees it in a browser."""

import contextlib
import json
import shutil
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
import uvicorn

from batches import FakeGateway
from host_tools.hub.park.metering.meters import Meter, put
from host_tools.hub.service import Hub
from host_tools.hub.stores.store import connect
from host_tools.hub.web import connections
from host_tools.hub.web.server import make_app
from hub_rig import Rig, fill_meters, meters_schema
from park import PAGE_WAIT_MS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT_S = 100


class Server:
    """Hub and page inside this process; no broker answers, messages go in by hand before the start."""

    def __init__(self, data_dir):
        self.hub = Hub(data_dir, "mqtt://127.0.0.1:1")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.server = uvicorn.Server(connections.config(make_app(self.hub)))
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],), daemon=True)

    def __enter__(self):
        self.thread.start()
        deadline = time.monotonic() + WAIT_S
        while not self.server.started:
            assert time.monotonic() < deadline and self.thread.is_alive()
            time.sleep(0.01)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(WAIT_S)


@pytest.fixture
def filled(tmp_path):
    """A data directory with three gateways: one that fares well, one in trouble, one not heard yet."""
    rig = Rig(tmp_path)
    well, trouble, new = FakeGateway(1), FakeGateway(2), FakeGateway(3)
    well.name, trouble.name, new.name = "paint shop", "press <b>line</b>", "cold store"
    rig.enrol(well, trouble, new)
    rig.now_unix_ms = int(time.time() * 1000)
    rig.batches(well, *[well.batch(rows=60) for _ in range(4)])
    rig.beat(well)
    rig.batches(trouble, trouble.batch(rows=5, events=[[1, 1, 3], [5, None, None, 8, 0, []]]))
    rig.take((trouble.batch_topic(), b"garbage"))
    rig.take((trouble.batch_topic(), trouble.seal(trouble.payload(rows=1, prev=None), seq=0)))
    rig.store.close()
    return tmp_path, well, trouble, new


@pytest.fixture
def server(filled):
    with Server(filled[0]) as server:
        yield server


def test_the_summary(server, filled):
    _, well, trouble, new = filled
    answer = httpx.get(server.url + "/api/summary").json()
    by_id = {gateway["id"]: gateway for gateway in answer["gateways"]}
    assert by_id[well.id.hex()]["batches_verified"] == 4
    assert by_id[well.id.hex()]["headline"] == {"quantity": "active_power", "unit": "W", "value": "333.6", "scale": 1}
    assert by_id[trouble.id.hex()]["refused"] == {"malformed": 1, "fork": 1}
    assert by_id[new.id.hex()]["last_seen_unix_ms"] is None
    assert answer["totals"]["readings_stored"] == 960 + 20
    assert answer["totals"]["refused"] == {"malformed": 1, "fork": 1}
    assert answer["hub"]["broker"]["connected_unix_ms"] is None
    assert answer["hub"]["storage_fault"] is None
    assert "private" not in str(answer).lower()


def test_only_what_changed(server):
    everything = httpx.get(server.url + "/api/gateways").json()
    assert len(everything["gateways"]) == 3
    nothing = httpx.get(f"{server.url}/api/gateways?since={everything['rev']}").json()
    assert nothing["gateways"] == [] and nothing["totals"] == everything["totals"]
    after_restart = httpx.get(f"{server.url}/api/gateways?since={everything['rev'] - 60_000}").json()
    assert len(after_restart["gateways"]) == 3


def test_one_gateway(server, filled):
    _, well, trouble, _ = filled
    answer = httpx.get(f"{server.url}/api/gateways/{trouble.id.hex()}").json()
    assert [event["what"] for event in answer["events"]] == [
        "8 readings lost before they were sealed: overflow",
        "start 1, cause: watchdog",
    ]
    assert {item["reason"] for item in answer["evidence"]} == {"malformed", "fork"}
    assert httpx.get(f"{server.url}/api/gateways/{trouble.topic}").json()["name"] == trouble.name
    assert httpx.get(f"{server.url}/api/gateways/{'0' * 64}").status_code == 404
    assert httpx.get(f"{server.url}/api/gateways/xyz").status_code == 404
    channels = httpx.get(f"{server.url}/api/gateways/{well.id.hex()}").json()["channels"]
    assert [channel["quantity"] for channel in channels][:2] == ["voltage_l1", "active_power"]
    assert channels[0]["qualities"] == {"good": 240} and channels[0]["value"] == "232.3"


def test_readings_and_their_bad_questions(server, filled):
    _, well, _, _ = filled
    place = f"{server.url}/api/gateways/{well.id.hex()}/readings"
    answer = httpx.get(place + "?series=1,2&last_s=99&points=1000").json()
    assert [len(item["times"]) for item in answer["series"]] == [100, 100]
    for bad in ("", "?series=x", "?series=1&points=0", "?series=1&from=-1", "?series=1&to=99999999999999999999",
                "?series=" + ",".join(map(str, range(99)))):  # fmt: skip
        assert httpx.get(place + bad).status_code == 400, bad


def test_the_signed_bytes_of_a_batch(server, filled):
    _, well, _, _ = filled
    place = f"{server.url}/api/gateways/{well.id.hex()}/batches"
    answer = httpx.get(f"{place}/{well.epoch.hex()}/0")
    assert answer.content[:2] == b"\xd2\x84" and answer.headers["content-type"].startswith("application/cose")
    assert httpx.get(f"{place}/{well.epoch.hex()}/9").status_code == 404
    assert httpx.get(f"{place}/zz/0").status_code == 404


def test_headers_keep_the_page_to_itself(server):
    for path in ("/", "/api/summary", "/static/main.js", "/nothing"):
        headers = httpx.get(server.url + path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'"), path
        assert headers["x-content-type-options"] == "nosniff"
    assert httpx.get(server.url + "/api/summary", headers={"Host": "evil.example"}).status_code == 400
    assert httpx.post(server.url + "/api/summary").status_code == 405
    assert httpx.get(server.url + "/static/../main.py").status_code == 404
    assert httpx.get(server.url + "/static/%2e%2e/store.py").status_code == 404


def test_a_gateway_enrolled_meanwhile_appears(server, filled):
    late = FakeGateway(9)
    from host_tools.hub.stores.store import connect
    from host_tools.hub.verbs.enrol import enrol

    with contextlib.closing(connect(filled[0])) as db:
        enrol(db, late.xy, "late")
    deadline = time.monotonic() + WAIT_S
    while len(httpx.get(server.url + "/api/gateways").json()["gateways"]) != 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def page_of(browser, url, path="/", **fields):
    """A page that fails the test for any error it prints and any request that leaves the hub."""
    context = browser.new_context(**fields)
    context.set_default_timeout(PAGE_WAIT_MS)
    page = context.new_page()
    troubles = []
    page.on("console", lambda message: message.type in ("error", "warning") and troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: request.url.startswith(url) or troubles.append(request.url))
    page.goto(url + path)
    yield page
    context.close()
    assert troubles == []


def test_the_page_in_a_browser(server, browser):
    with page_of(browser, server.url) as page:
        page.wait_for_selector("#list .row")
        assert page.locator("#list .row").count() == 3
        page.click("#list .row:has-text('paint shop')")
        page.wait_for_selector("#detail h2:has-text('paint shop')")
        page.wait_for_selector(".uplot canvas")
        assert page.locator("#detail h2").inner_text() == "paint shop"
        assert "active power" in page.locator(".u-legend").inner_text()
        page.click("button.pick:has-text('voltage L1')")
        page.wait_for_selector(".u-legend:has-text('voltage L1')")
        page.click("#list .row:has-text('press')")
        page.wait_for_selector(".alarm")
        assert "needs attention" in page.locator(".title").inner_text()
        assert page.locator("#detail h2").inner_text() == "press <b>line</b>", "a name is text, never markup"
        page.fill("#search", "cold")
        assert page.locator("#list .row").count() == 1
        page.fill("#search", "nothing like it")
        assert page.locator("#list-empty").is_visible()


def test_the_first_screen_says_what_a_manager_asks(server, browser):
    with page_of(browser, server.url) as page:
        page.wait_for_selector(".tile")
        assert page.locator(".figure dt").all_inner_texts() == ["Power now", "Energy today", "Off", "Needs attention"]
        names = page.locator(".tile-head b").all_inner_texts()
        assert names[0] == "press <b>line</b>" and len(names) == 3, "trouble first"
        assert page.locator("#list .row .name").all_inner_texts()[0] == "press <b>line</b>"
        assert page.locator(".figure >> nth=0").bounding_box()["y"] < 200, "without scrolling"
        assert "null" not in page.locator("#park").inner_text()
        assert page.locator(".contents summary").inner_text() == "The totals contain 2 meters"
        page.click(".contents summary")
        assert page.locator(".contents li").all_inner_texts() == ["paint shop: meter 1", "press <b>line</b>: meter 1"]
        page.click(".tile:has-text('paint shop')")
        page.wait_for_selector("#detail h2:has-text('paint shop')")
        page.wait_for_selector(".bar-one svg rect.sure, .bar-one svg rect.unknown")


def test_the_page_on_a_phone_does_not_scroll_sideways(server, browser):
    with page_of(browser, server.url, viewport={"width": 375, "height": 800}, color_scheme="dark") as page:
        page.wait_for_selector(".uplot canvas")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_the_page_of_an_empty_hub(tmp_path, browser):
    with Server(tmp_path) as server, page_of(browser, server.url) as page:
        page.wait_for_selector("text=No gateway is enrolled yet")
        assert "parkgate enrol" in page.locator("pre").inner_text()


def test_the_page_when_the_hub_ends(filled, browser):
    context = browser.new_context()
    context.set_default_timeout(PAGE_WAIT_MS)
    page = context.new_page()
    with Server(filled[0]) as server:
        page.goto(server.url + "/")
        page.wait_for_selector("#list .row")
    page.wait_for_selector("text=hub not reachable", timeout=WAIT_S * 1000)
    assert page.locator("#list .row").count() == 3, "what was known stays"
    assert page.locator("body.gone").count() == 1 and "may be out of date" in page.locator("#gone").inner_text()
    assert "grayscale" in page.locator("main").evaluate("node => getComputedStyle(node).filter"), "and is grey"
    context.close()


@pytest.mark.parametrize("path", ["/lots", "/place?id={id}&span=day&at=2023-11-14"])
def test_every_page_of_a_hub_that_is_down_is_grey(filled, browser, path):
    context = browser.new_context()
    context.set_default_timeout(PAGE_WAIT_MS)
    page = context.new_page()
    with Server(filled[0]) as server:
        page.goto(server.url + path.format(id=filled[1].id.hex()))
        page.wait_for_selector("#lots .card, .columns button")
    page.wait_for_selector("body.gone", timeout=WAIT_S * 1000)
    assert "cannot be reached" in page.locator("#gone").inner_text()
    assert "grayscale" in page.locator("main").evaluate("node => getComputedStyle(node).filter")
    context.close()


@pytest.fixture
def hall(tmp_path):
    """A hall with a main meter and a press behind it, three days long, without readings for some hours of yesterday."""
    rig = Rig(tmp_path)
    gateway = FakeGateway(1, meters_schema(["main", "press"]))
    gateway.name = "hall 3"
    rig.enrol(gateway)
    now_ms = time.time_ns() // 1_000_000 // 900_000 * 900_000
    gap = now_ms - 30 * 3_600_000
    fill_meters(rig, gateway, [6000, 1000], now_ms - 72 * 3_600_000, gap)
    fill_meters(
        rig, gateway, [6000, 1000], gap + 4 * 3_600_000, now_ms + 60_000, counted_from_ms=now_ms - 72 * 3_600_000
    )
    with contextlib.closing(connect(tmp_path)) as db:
        put(db, *(Meter(gateway.id.hex(), name) for name in ("press", "main")))
    rig.store.set_setting("zone", "Asia/Phnom_Penh")
    rig.store.close()
    with Server(tmp_path) as server:
        server.place = f"/place?id={gateway.id.hex()}"
        server.now_ms = now_ms
        yield server


def test_from_a_month_to_the_registers_of_an_hour(hall, browser):
    with page_of(browser, hall.url, hall.place + "&span=month") as page:
        page.wait_for_selector(".columns button")
        assert "% of the time read" in page.locator("#headline").inner_text()
        assert page.locator("#meters .chip").all_inner_texts() == ["Total", "main", "press (behind)"]
        page.click(".columns button:not([disabled]) >> nth=-1")
        page.wait_for_selector("#proof .registers")
        assert "The difference of the registers is this sum" in page.locator("#proof").inner_text()
        assert page.locator("#proof .registers > div").count() == 2, "the total's meter, not the one behind it"
        assert httpx.get(page.locator("#export").evaluate("link => link.href")).text.count("\n") > 1000
        page.click("#proof .go")
        page.wait_for_selector(".chip[aria-pressed=true]:has-text('Day')")
        page.wait_for_selector(".columns button >> nth=23")
        here = page.url
        page.click("#back")
        page.wait_for_selector("#forward:enabled")
        assert page.locator(".columns button").count() == 24
        page.go_back()
        page.wait_for_selector("#forward:disabled")
        assert page.url == here, "the address is the state"
        page.focus(".columns button:not([disabled])")
        page.keyboard.press("Enter")
        page.wait_for_selector("#proof .registers")
        proofs = page.locator("#proof a").evaluate_all("links => links.map(link => link.href)")
        assert any("/log/proof/" in href for href in proofs) and any("/batches/" in href for href in proofs)
        for href in proofs[:2]:
            assert httpx.get(href).status_code in (200, 404), "404: not under a checkpoint yet"


def test_a_gap_is_drawn_as_a_gap(hall, browser):
    day = time.strftime("%Y-%m-%d", time.gmtime(hall.now_ms / 1000 - 28 * 3600 + 7 * 3600))
    with page_of(browser, hall.url, f"{hall.place}&span=day&at={day}") as page:
        page.wait_for_selector(".columns .perhaps")
        assert page.locator(".share .none").count() >= 2
        labels = page.locator(".columns button").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
        assert any("0.00 … " in label and "0 % of the time read" in label for label in labels), labels
        assert page.locator("#power polyline").count() == 2, "the line of the mean is broken"


def test_the_place_on_a_phone_and_on_paper(hall, browser):
    with page_of(browser, hall.url, hall.place, viewport={"width": 360, "height": 740}, color_scheme="dark") as page:
        page.wait_for_selector(".columns button")
        page.click("#headline button")
        page.wait_for_selector("#proof .registers")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.emulate_media(media="print")
        assert not page.locator("#spans").is_visible() and page.locator("#bars").is_visible()


def test_the_page_of_a_place_that_is_not_there(hall, browser):
    context = browser.new_context()
    context.set_default_timeout(PAGE_WAIT_MS)
    page = context.new_page()
    page.goto(hall.url + "/place?id=00")
    page.wait_for_selector("text=no such place or gateway")
    context.close()


def test_the_bill_of_a_month(hall, browser):
    month = time.strftime("%Y-%m", time.gmtime(hall.now_ms / 1000 + 7 * 3600))
    folder = Path(hall.hub.data_dir) / "tariffs"
    folder.mkdir()
    with page_of(browser, hall.url, hall.place + "&span=month") as page:
        page.wait_for_selector("#bills >> text=no tariff for this month")
    prices = {"from": month, "to": None, "energy": [{"name": "Energy", "price": "0.164"}]}
    text = json.dumps({"tariff": "industry", "currency": "USD", "rounding": "0.01", "versions": [prices]})
    (folder / "industry.json").write_text(text)
    with page_of(browser, hall.url, hall.place + "&span=month") as page:
        page.click("#bills a:has-text('industry (USD)')")
        page.wait_for_selector("text=Not complete: this is no final bill")
        assert "the month is not over" in page.locator(".state").inner_text()
        assert page.locator("tfoot td").last.inner_text()
        assert "press, behind main" in page.locator("body").inner_text()
        assert page.locator("h1").evaluate("node => getComputedStyle(node).fontFamily").startswith("system-ui"), (
            "styled"
        )
        csv = httpx.get(page.url + "&form=registers")
        assert csv.headers["content-type"].startswith("text/csv") and csv.text.count("\r\n") >= 3

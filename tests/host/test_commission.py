"""A hall is put into service at a terminal: compared with displays, interrupted, finished, signed, printed, shown."""

import hashlib
import json
import os
import time
from decimal import Decimal

import pexpect
import pytest

from host_tools.cli import main
from host_tools.gateway import upload
from host_tools.gateway.commissioning import commission, comparing
from host_tools.gateway.link import GatewayRefused, Link
from park import PAGE_WAIT_MS, Park
from parkgate.errors import SettingsError
from parkgate.wire import cbor
from test_driven import typed
from test_hub_web import CHROMIUM, page_of
from test_outage import picture

METERS = (("press", "eastron-sdm120", 1), ("oven", "pzem-004t", 2))
JPEG = b"\xff\xd8\xff\xe0 a photograph of the plate"


def answer(person, question, text):
    person.expect(question)
    person.expect(r": $")
    person.sendline(text)


def shown(person, park, unit_id, quantity, factor=1):
    """Type what the display shows just now."""
    load = park.bus._loads[unit_id]
    value = Decimal(load.quantity(quantity, time.monotonic() - park.bus._started_s)) / factor
    person.sendline(f"{value:.3f}")


def displays(person, park, unit_id):
    person.expect(r"display's voltage in V")
    shown(person, park, unit_id, "voltage")
    person.expect("agrees")
    answer(person, r"display's current", "")
    person.expect(r"display's active power in kW")
    shown(person, park, unit_id, "active_power", 1000)
    person.expect("agrees|differs")
    person.expect(r"display's import active energy in kWh|Read the display again")
    if "again" in person.after:  # the load moved meanwhile
        person.sendline("n")
        person.expect(r"display's import active energy in kWh")
    person.sendline("")


def test_a_hall_from_the_first_question_to_the_hubs_page(tmp_path):
    photo = tmp_path / "plate.jpg"
    photo.write_bytes(JPEG)
    with Park(tmp_path / "park", METERS, period_ms=1000) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("readings_stored", 0) > 20, 40, "the hub has readings")
        folder = tmp_path / "hall 3"
        words = ["commission", folder, "--port", park.gateway.folder]
        person = typed(*words)
        answer(person, "Your name", "Tran Van A")
        person.expect("1 of 2: press")
        person.expect("it answers: 8 values")
        answer(person, "Serial number", "A-4711")
        answer(person, "Current transformers", "100 to 5")
        person.expect("as on the plate")
        answer(person, "Current transformers", "100:5")
        person.expect(r"display's voltage in V")
        person.expect(r": $")
        time.sleep(0.5)
        person.sendintr()
        person.expect("every answer so far is kept")
        person.expect(pexpect.EOF)
        assert not (folder / "commission.html").exists()
        person = typed(*words)
        person.expect("1 of 2: press")
        person.expect("differs: the gateway's setting is none")
        displays(person, park, 1)
        answer(person, "photograph's file", str(tmp_path / "nowhere.jpg"))
        person.expect("cannot read")
        answer(person, "photograph's file", str(photo))
        answer(person, "photograph's file", "")
        answer(person, "Anything to note", "behind the <door>")
        person.expect("signed on the gateway's chain")
        person.expect("2 of 2: oven")
        answer(person, "Serial number", "")
        answer(person, "Current transformers", "")
        person.expect(r"display's voltage in V")
        person.sendline("23,1")
        person.expect("differs: the display shows 23.1 V, the gateway reads")
        person.expect("a factor of 10")
        answer(person, "Read the display again", "n")
        for question in ("current", "active power", "import active energy"):
            answer(person, f"display's {question}", "")
        answer(person, "photograph's file", "")
        answer(person, "Anything to note", "")
        person.expect("look again at: press, oven")
        person.expect(pexpect.EOF)
        text = (folder / "commission.html").read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert "behind the &lt;door&gt;" in text and "A-4711" in text and "@media print" in text
        assert "data:image/jpeg;base64," in text and hashlib.sha256(JPEG).hexdigest() in text
        assert "http" not in text.replace("http-equiv", ""), "it needs nothing from elsewhere"
        again = typed(*words)
        again.expect("done: signed")
        again.expect("done: signed")
        again.expect("nothing is new")
        again.expect(pexpect.EOF)
        assert (folder / "commission.html").read_text(encoding="utf-8") == text
        park.wait(lambda: len(park.asked()["commissioned"]) == 3, 40, "the records are at the hub")
        found = park.asked()["commissioned"]
        assert found["press"]["by"] == "Tran Van A" and found["press"]["facts"]["serial"] == "A-4711"
        assert found["press"]["facts"]["photos"] == [hashlib.sha256(JPEG).hexdigest()]
        assert found["press"]["facts"]["differs"] == ["the gateway's ratio is not set"]
        assert not found["oven"]["good"] and found["oven"]["facts"]["compared"][0][4] == 0
        assert found[""]["facts"]["report"] == digest
        bad_uploads(park)
        show(park, folder)


def bad_uploads(park):
    with Link(str(park.gateway.folder)) as link:
        for bad in ([1, 2], ["p", "", {}], ["p", "x" * 65, {}], ["p", "x", {1: 2}], ["p", "x", {"a": "b" * 2000}]):
            with pytest.raises(GatewayRefused):
                upload.send(link, cbor.encode(bad), "commission sign")
        assert link.facts("status")["crashes"] == "0"


def show(park, folder):
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        return
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with page_of(browser, park.hub.page.rstrip("/"), viewport={"width": 1400, "height": 1100}) as page:
            page.wait_for_selector(".commissioned")
            assert "by Tran Van A" in page.locator(".commissioned").first.inner_text()
            picture(page, "commissioned-hub")
        page = browser.new_page(viewport={"width": 900, "height": 1200})
        page.set_default_timeout(PAGE_WAIT_MS)
        page.goto((folder / "commission.html").as_uri())
        assert page.locator("h2").count() == 2
        picture(page, "commission-page")
        if os.environ.get("PARKGATE_SHOTS"):
            page.pdf(path=os.path.join(os.environ["PARKGATE_SHOTS"], "commission.pdf"))
        browser.close()


def test_answers_from_a_file_and_what_is_wrong_with_them(tmp_path, capsys):
    with Park(tmp_path / "park", METERS, period_ms=1000) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("readings_stored", 0) > 8, 40, "the hub has readings")
        park.bus.meters[1].dead = True
        told = {"by": "Tran Van A", "instruments": {"press": {"serial": "1", "display": {"voltage": "999 V"}}}}
        path = tmp_path / "answers.json"
        path.write_text(json.dumps(told))
        words = ["commission", str(tmp_path / "hall"), "--port", str(park.gateway.folder), "--answers", str(path)]
        assert main(words) == 1
        out = capsys.readouterr().out
        assert "differs: the display shows 999 V" in out and "it does not answer" in out
        assert "look again at: press, oven" in out
        park.bus.meters[1].dead = False
        told["instruments"]["press"]["display"]["voltage"] = "volts"
        path.write_text(json.dumps(told))
        assert main([*words, "--again", "press", "--again", "oven"]) == 2
        assert "press, display voltage: 'volts' is not a number" in capsys.readouterr().err
        del told["instruments"]["press"]["display"]
        path.write_text(json.dumps(told))
        time.sleep(3)
        assert main(words) == 0, "it goes on where it was"
        assert main([*words, "--again", "nobody"]) == 2
        path.write_text("[]")
        assert main(words) == 2
        state = json.loads((tmp_path / "hall" / "commission.json").read_text())
        state["gateway"] = "another"
        (tmp_path / "hall" / "commission.json").write_text(json.dumps(state))
        path.write_text(json.dumps(told))
        assert main(words) == 2
        assert "another gateway" in capsys.readouterr().err


@pytest.mark.parametrize(
    "typed_text, unit, read, agrees, said",
    [
        ("230.5", "V", "230.52", True, "agrees"),
        ("230", "V", "236", True, "agrees"),  # it moves
        ("230", "V", "240", False, "differs"),
        ("12.5 kW", "W", "12480", True, "agrees"),
        ("12,5kW", "W", "12480", True, "agrees"),
        ("12.5", "W", "12.5", True, "agrees"),
        ("90", "A", "4.5", False, "a transformer 100:5"),
        ("12.5 kW", "W", "1250", False, "a factor of 10"),
        ("5 A", "A", "-5", False, "the sign is the other way round"),
        ("5 A", "A", "0", False, "reads nothing there"),
    ],
)
def test_the_comparison(typed_text, unit, read, agrees, said):
    found = comparing.compare("x", typed_text, unit, Decimal(read), False)
    assert found.agrees == agrees and said in found.words


def test_a_counter_agrees_to_its_last_digit():
    assert comparing.compare("e", "1350.0 kWh", "Wh", Decimal(1350100), True).agrees
    assert not comparing.compare("e", "1350.0 kWh", "Wh", Decimal(1350200), True).agrees
    for text in ("", "x", "1 kV", "nan", "inf"):
        with pytest.raises(SettingsError):
            comparing.compare("e", text, "A", Decimal(1), False)


def test_what_live_values_say_of_the_wiring():
    good = {f"voltage_l{n}": Decimal(230) for n in (1, 2, 3)}
    good |= {f"current_l{n}": Decimal(10) for n in (1, 2, 3)} | {f"active_power_l{n}": Decimal(2200) for n in (1, 2, 3)}
    assert comparing.findings(good) == []
    assert "negative at L2 only" in comparing.findings({**good, "active_power_l2": Decimal(-2200)})[0]
    assert "no voltage at L3" in comparing.findings({**good, "voltage_l3": Decimal(3)})[0]
    assert "a wrong ratio" in comparing.findings({**good, "active_power_l1": Decimal(44000)})[0]
    swapped = {**good, "active_power_l1": Decimal(-100), "active_power_l2": Decimal(150)}
    assert any("may be swapped" in text for text in comparing.findings(swapped))
    # The checks of the gateway see the same, in their own words.
    assert commission.wiring(good) == []
    assert "L2" in commission.wiring({**good, "active_power_l2": Decimal(-2200)})[0]

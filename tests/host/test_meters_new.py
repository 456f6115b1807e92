"""A meter that nobody has heard of, added by a technician at a terminal: made, tried live, brought into service."""

import json
import time
from decimal import Decimal

import pexpect
import pytest

from host_tools.base import profile_files
from host_tools.base.paths import METER_PROFILES
from host_tools.cli import main
from host_tools.gateway.link import GatewayRefused, Link
from host_tools.meters.meter_simulator import MeterBus, SimulatedMeter
from host_tools.meters.new import word_orders
from host_tools.meters.register_map import encode
from host_tools.sim.simulate import SimulatedGateway
from parkgate.errors import ProfileError
from test_driven import typed

VOLTAGE, ENERGY = "voltage_l1", "import_active_energy"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An own folder of profiles, which child processes see too."""
    folder = tmp_path / "own"
    monkeypatch.setenv("PARKGATE_METERS", str(folder))
    yield folder
    profile_files.use(())


@pytest.fixture
def line(tmp_path, own):
    """A meter on a line under a profile that is nowhere else: unknown to the tools, its words swapped (CDAB)."""
    document = json.loads((METER_PROFILES / "chint-dtsu666.json").read_text(encoding="utf-8"))
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    rows = [
        [VOLTAGE, 700, "uint32", 2, "V", ""],
        ["frequency", 702, "uint16", 2, "Hz", ""],
        [ENERGY, 710, "uint32", 1, "kWh", ""],
        ["active_power", 704, "int32", 0, "W", ""],
    ]
    made = {name: document[name] for name in ("manual", "sources", "licences")}
    made.update(meter="Acme M100", function=3, order="CDAB", usual=[row[0] for row in rows], registers=rows, gap_max=20)
    (hidden / "acme-hidden.json").write_text(json.dumps(made))
    profile_files.use([hidden])
    bus = MeterBus([SimulatedMeter("acme-hidden", 7)], log=tmp_path / "meters.jsonl")
    profile_files.use(())
    with bus:
        yield bus


def shown(bus, quantity):
    """What the meter's display shows: the true value with one decimal."""
    registers = bus._maps[7]
    row = next(row for row in registers.document["registers"] if row[0] == quantity)
    words = bus.words(7)
    number = words[row[1]] | (words[row[1] + 1] << 16 if row[2] != "uint16" else 0)
    return Decimal(number).scaleb(-row[3])


def answer(person, question, text):
    person.expect(question)
    person.expect(r": $")
    person.sendline(text)


def about(person):
    answer(person, "Maker and model", "Acme M100")
    answer(person, "manual", "")
    answer(person, "register addresses from", "label inside the door")
    answer(person, "Licence", "")
    answer(person, "Function code", "3")


def one_row(person, bus, quantity, address, words="-"):
    answer(person, "Quantity", quantity)
    answer(person, "Address", address)
    answer(person, "display show", str(shown(bus, quantity)))
    person.expect("Read in every way")
    person.expect("as the display says")
    answer(person, "Which line is right", "")
    answer(person, "Unit", "")
    answer(person, "manual's words", words)


def test_made_step_by_step_after_an_interruption_and_brought_into_service(tmp_path, own, line):
    words = ["meters", "new", "acme-m100", "--port", line.device, "--unit", "7", "--line", "9600N"]
    person = typed(*words)
    about(person)
    answer(person, "Quantity", "volts")
    person.expect("there is no such quantity")
    one_row(person, line, VOLTAGE, "40701", "Ua")
    person.expect("Quantity: ")
    time.sleep(0.5)  # Python does not see a signal that comes just before it begins to wait for a line
    person.sendintr()
    person.expect("the same command goes on with them")
    person.expect(pexpect.EOF)
    assert list(own.glob("*.json")) == []
    person = typed(*words)
    answer(person, "earlier answers, with 1 registers", "")
    one_row(person, line, "frequency", "702")
    one_row(person, line, ENERGY, "0x2C6")
    answer(person, "Quantity", "")
    person.expect("read from the meter now")
    person.expect(VOLTAGE + r" +2\d\d\.\d+ V\r")
    answer(person, "Is that right", "y")
    person.expect("written: ")
    person.expect(pexpect.EOF)
    made = json.loads((own / "acme-m100.json").read_text(encoding="utf-8"))
    assert [row[:5] for row in made["registers"]] == [
        [VOLTAGE, 700, "uint16", 2, "V"], ["frequency", 702, "uint16", 2, "Hz"], [ENERGY, 710, "uint32", 1, "kWh"],
    ]  # fmt: skip
    assert (made["order"], made["function"], made["line"]["baud"]) == ("CDAB", 3, 9600)
    assert not list(own.glob(".*")), "no answers stay behind"
    assert main(["meters", "check", str(own / "acme-m100.json")]) == 0
    in_service(tmp_path, own, line)


def in_service(tmp_path, own, line):
    """One command brings it to a gateway that runs; then a setting uses it."""
    gateway = SimulatedGateway(tmp_path / "gateway")
    gateway.configure({"buses": [{"name": "rs485", "device": line.device}]})
    gateway.start()
    try:
        gateway.public_key()
        (tmp_path / "bad.json").write_text('{"meter": "x"}')
        assert main(["meters", "push", str(tmp_path / "bad.json"), "--port", str(gateway.folder)]) == 2
        for _ in range(2):  # again does no harm
            assert main(["meters", "push", "acme-m100", "--port", str(gateway.folder)]) == 0
        with Link(str(gateway.folder)) as link:
            boot = link.boot()
            link.ask("settings add instruments name=press profile=acme-m100 bus=rs485 unit_id=7")
            link.ask("settings commit")
            link.wait_restart(boot)
            values = link.facts("sensor read press")
            deadline = time.monotonic() + 100  # on a busy machine the simulated meter's bytes may come too late
            while not values[VOLTAGE].endswith("V (good)") and time.monotonic() < deadline:
                time.sleep(0.5)  # a line that was disturbed wants some silence
                values = link.facts("sensor read press")
            assert values[VOLTAGE].startswith("2") and values[VOLTAGE].endswith("V (good)")
            changed = json.loads((own / "acme-m100.json").read_text(encoding="utf-8"))
            changed["registers"][0][3] = 1
            (own / "acme-m100.json").write_text(json.dumps(changed))
            before = (gateway.folder / "meters" / "acme-m100.json").read_bytes()
            assert main(["meters", "push", "acme-m100", "--port", str(gateway.folder)]) == 2, "it is in use"
            with pytest.raises(GatewayRefused, match="in use by press"):
                from host_tools.gateway import upload

                upload.push_profile(link, "acme-m100")
            assert (gateway.folder / "meters" / "acme-m100.json").read_bytes() == before
            for bad in ("upload 20000 AAAA", "upload x AAAA", "meters keep acme-m100 00", "meters keep ../x 00"):
                with pytest.raises(GatewayRefused):
                    link.ask(bad)
            assert link.facts("status")["crashes"] == "0"
    finally:
        gateway.kill()


def test_scan_names_the_way_for_a_meter_that_fits_no_profile(tmp_path, own, line):
    scan = typed("meters", "scan", line.device, "--units", "7", "--line", "9600N")
    scan.expect("it answers, but no profile fits")
    scan.expect("meters new MAKER-MODEL --port PORT --unit 7 --line 9600N --from-scan")
    scan.expect(pexpect.EOF)
    silent = typed("meters", "scan", line.device, "--units", "3", "--line", "9600N")
    silent.expect("DL/T 645")
    silent.expect(pexpect.EOF)


@pytest.mark.parametrize("how", ["csv", "copy"])
def test_begun_with_a_list_or_another_profile(tmp_path, own, how):
    listed = tmp_path / "list.csv"
    rows = "voltage_l1;0x2BC;uint32;2;V;Ua\nfrequency;702;uint16;2;Hz;F\n"
    listed.write_text("quantity;address;type;decimals;unit;words\n" + rows)
    start = ["--csv", listed] if how == "csv" else ["--copy", "pzem-004t"]
    person = typed("meters", "new", "acme-m200", *start)
    answer(person, "Maker and model", "Acme M200")
    answer(person, "manual", "Manual 1.2")
    if how == "csv":
        answer(person, "register addresses from", "Manual 1.2, page 7")
        answer(person, "Licence", "")
        answer(person, "Function code", "")
        answer(person, "Word order", "CDAB")
    answer(person, "Quantity", "")
    person.expect("written")
    person.expect(pexpect.EOF)
    assert main(["meters", "check", str(own / "acme-m200.json")]) == 0
    assert main(["meters", "show", "acme-m200"]) == 0


def test_a_list_with_a_fault_is_refused_by_line(tmp_path, own, capsys):
    listed = tmp_path / "list.csv"
    for text, said in (
        ("a,b\n", ":1: the heading must have quantity"),
        ("quantity,address,type,decimals,unit\nvolts,1,uint16,0,V\n", ":2: there is no quantity 'volts'"),
        ("quantity,address,type,decimals,unit\nvoltage,x,uint16,0,V\n", ":2: address and decimals are whole numbers"),
        ("quantity,address,type,decimals,unit\n", "no register"),
    ):
        listed.write_text(text)
        assert main(["meters", "new", "acme-m300", "--csv", str(listed)]) == 2
        assert said in capsys.readouterr().err
    assert main(["meters", "new", "Acme M3", "--csv", str(listed)]) == 2
    assert main(["meters", "new", "pzem-004t", "--csv", str(listed)]) == 2
    assert "already" in capsys.readouterr().err


def test_own_profiles_are_known_everywhere(tmp_path, own, capsys):
    own.mkdir()
    text = (METER_PROFILES / "pzem-004t.json").read_text(encoding="utf-8").replace("PZEM-004T v3", "My own")
    (own / "my-own.json").write_text(text)
    meter = {"name": "a", "profile": "my-own", "bus": "b", "unit_id": 1}
    settings = {"buses": [{"name": "b", "device": "/dev/null"}], "instruments": [meter]}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert main(["settings", "check", str(tmp_path / "settings.json")]) == 0
    assert main(["meters", "list"]) == 0
    assert "my-own" in capsys.readouterr().out
    gateway = SimulatedGateway(tmp_path / "gateway")
    gateway.bring_meters()
    assert (gateway.folder / "meters" / "my-own.json").is_file()
    other = tmp_path / "other"
    other.mkdir()
    (other / "other-one.json").write_text(text)
    assert main(["meters", "show", "other-one", "--meters", str(other)]) == 0
    (own / "pzem-004t.json").write_text(text)
    assert main(["meters", "list"]) == 2
    assert "rename one of them" in capsys.readouterr().err
    with pytest.raises(ProfileError, match="no such folder"):
        profile_files.use([tmp_path / "nowhere"])


def test_every_order_of_what_a_meter_may_hold_is_among_the_meanings():
    for type_name, number, decimals in (
        ("uint16", "2305", 1), ("uint32", "23051", 2), ("int32", "-178", 0), ("float32", "230.5", 0),
        ("uint64", "123456789", 1), ("float64", "50.02", 0), ("int16", "-3", 0),
    ):  # fmt: skip
        for order in word_orders.ORDERS if type_name[-2:] != "16" else ("ABCD",):
            words = encode(type_name, order, Decimal(number))
            found = [m for m in word_orders.meanings(words) if m.type == type_name and m.order == order]
            alike = [m for m in word_orders.meanings(words) if m.type == type_name and m.number == Decimal(number)]
            assert alike and (not found or found[0].number == Decimal(number)), (type_name, order)
            display = Decimal(number).scaleb(-decimals)
            fits = word_orders.fitting(words, display)
            assert any(m.type == type_name and d == decimals for m, d in fits), (type_name, order, fits)

"""Every board's folder is data of one form, agrees with itself, and has what the firmware asks of a board."""

import ast
import json
import re
import sys
import types
from pathlib import Path

import pytest

from host_tools import cli
from host_tools.image import boards, esp_image
from parkgate.errors import FlashError, LinkError
from tests import check_types

ROOT = Path(__file__).resolve().parent.parent.parent
HAL = ROOT / "firmware" / "hal"
REAL = [name for name in boards.names() if name != "unix"]
RP2 = [name for name in REAL if boards.load(name).port == "rp2"]
ESP32 = [name for name in REAL if boards.load(name).port == "esp32"]
COMMON = {"board.json", "board.py", "manifest.py", "mpconfigboard.cmake", "mpconfigboard.h"}
OWN = {"rp2": {"_boot.py"}, "esp32": {"partitions.csv"}}

# key → type; a key in brackets of SCHEMA_OF[port] is for that port only.
SCHEMA = {
    "title": str,
    "chip": str,
    "links": list,
    "micropython": dict,
    "flash_bytes": int,
    "layout": dict,
    "heap_bytes": int,
    "pin_prefix": str,
    "power": dict,
    "ports": dict,
    "pins": dict,
    "notes": list,
    "sources": list,
}
SCHEMA_OF = {"rp2": {"own_build": dict, "stock_build": dict}, "esp32": {}}
PORT_SCHEMA = {"uart": int, "tx": int, "rx": int, "de": (int, type(None))}
PIN_NAMES = {"i2c_sda", "i2c_scl", "onewire", "s0_1", "s0_2", "input_1", "input_2", "adc"}
ETHERNET = {"phy": str, "phy_addr": int, "mdc": int, "mdio": int, "power": (int, type(None)), "clock": int}

# Pins that exist and are free, by the data sheets. On RP2 23 to 25 and 29 belong to the board; on ESP32 6 to 11 are its
# flash, 34 and above only inputs; on ESP32-S3 22 to 25 do not exist, 26 to 32 are its flash.
PINS = {
    "rp2040": set(range(23)) | {26, 27, 28},
    "rp2350": set(range(23)) | {26, 27, 28},
    "esp32": set(range(40)) - set(range(6, 12)) - {1, 3, 20, 24, 28, 29, 30, 31, 37, 38},
    "esp32s3": set(range(49)) - set(range(19, 38)) - {0, 3, 43, 44, 45, 46},
}
INPUT_ONLY = {"esp32": set(range(34, 40))}
UART_PINS_RP2040 = {0: ({0, 12, 16}, {1, 13, 17}), 1: ({4, 8, 20, 24}, {5, 9, 21, 25})}  # data sheet 1.4.3


def _data(name):
    return json.loads((ROOT / "boards" / name / "board.json").read_text(encoding="utf-8"))


def test_there_are_the_boards_that_were_promised():
    assert set(boards.names()) == {
        "unix",
        "pico",
        "pico_w",
        "pico2_w",
        "esp32_generic",
        "esp32_s3",
        "esp32_wt32_eth01",
    }


@pytest.mark.parametrize("name", REAL)
def test_each_folder_has_the_same_files(name):
    files = {path.name for path in (ROOT / "boards" / name).iterdir() if path.is_file()}
    assert files == COMMON | OWN[boards.load(name).port]


@pytest.mark.parametrize("name", REAL)
def test_the_data_has_one_form(name):
    data = _data(name)
    schema = {**SCHEMA, **SCHEMA_OF[boards.load(name).port]}
    if "ethernet" in data["links"]:
        schema["ethernet"] = dict
        assert {k: type(v) for k, v in data["ethernet"].items()}.keys() == ETHERNET.keys()
        assert all(isinstance(data["ethernet"][k], kind) for k, kind in ETHERNET.items())
    assert data.keys() == schema.keys()
    assert all(isinstance(data[key], kind) for key, kind in schema.items())
    assert set(data["links"]) <= {"wifi", "ethernet"} and set(data["pins"]) <= PIN_NAMES
    assert data["sources"] and all(text.startswith("https://") for text in data["sources"])
    assert data["micropython"]["page"] == f"https://micropython.org/download/{data['micropython']['board']}/"
    assert data["ports"]
    for port in data["ports"].values():
        assert port.keys() == PORT_SCHEMA.keys()
        assert all(isinstance(port[key], kind) for key, kind in PORT_SCHEMA.items())


def _used_pins(data):
    for name, port in data["ports"].items():
        yield from ((f"{name}.{role}", port[role]) for role in ("tx", "rx", "de") if port[role] is not None)
    yield from data["pins"].items()
    wires = data.get("ethernet", {})
    yield from ((role, wires[role]) for role in ("mdc", "mdio", "power", "clock") if role in wires)


@pytest.mark.parametrize("name", REAL)
def test_no_pin_is_used_twice_and_each_can_do_its_work(name):
    data = _data(name)
    used = list(_used_pins(data))
    numbers = [number for _, number in used]
    assert len(set(numbers)) == len(numbers), sorted(numbers)
    assert set(numbers) <= PINS[data["chip"]]
    outputs = ("tx", "de", "i2c_sda", "i2c_scl", "onewire")
    drives = {number for role, number in used if role.rpartition(".")[2] in outputs}
    assert not drives & INPUT_ONLY.get(data["chip"], set())
    uarts = [port["uart"] for port in data["ports"].values()]
    assert len(set(uarts)) == len(uarts)
    if name in RP2:
        for port in data["ports"].values():
            tx, rx = UART_PINS_RP2040[port["uart"]]
            assert port["tx"] in tx and port["rx"] in rx


def _class(path, name):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), tree


def _members(path, name):
    """Public names of a class and of those it is made from, read from the source."""
    node, tree = _class(path, name)
    found = set()
    for item in ast.walk(node):
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(item.name)
        elif isinstance(item, ast.Attribute) and isinstance(item.value, ast.Name) and item.value.id == "self":
            found |= {item.attr} if isinstance(item.ctx, ast.Store) else set()
    for item in node.body:
        if isinstance(item, ast.Assign):
            found |= {target.id for target in item.targets if isinstance(target, ast.Name)}
    for base in node.bases:
        assert isinstance(base, ast.Name)
        for item in tree.body:
            if isinstance(item, ast.ImportFrom) and base.id in [alias.name for alias in item.names]:
                found |= _members(ROOT / "firmware" / ((item.module or "").replace(".", "/") + ".py"), base.id)
    return {member for member in found if not member.startswith("_")}


@pytest.mark.parametrize("name", REAL)
def test_a_board_has_all_that_the_simulated_one_has(name):
    wanted = _members(ROOT / "boards" / "unix" / "board.py", "Board") - SIMULATED_ONLY
    assert wanted <= _members(ROOT / "boards" / name / "board.py", "Board")
    functions = {n.name for n in _class(ROOT / "boards" / name / "board.py", "Board")[1].body if hasattr(n, "name")}
    assert "this_board" in functions


SIMULATED_ONLY = {"world"}  # what stands for the machines around a board


@pytest.mark.parametrize("name", REAL)
def test_the_module_is_made_from_the_data(name, tmp_path):
    assert cli.main(["boards", name, "--module", str(tmp_path / "board.py")]) == 0
    made = (tmp_path / "board.py").read_text()
    assert made == (ROOT / "boards" / name / "board.py").read_text(), f"parkgate boards {name} --module writes it"


def test_a_module_of_its_own_is_not_made_from_data(tmp_path, capsys):
    for words, said in ((["unix"], "a module of its own"), ([], "name the board")):
        assert cli.main(["boards", *words, "--module", str(tmp_path / "board.py")]) == 2
        assert said in capsys.readouterr().err and not (tmp_path / "board.py").exists()


@pytest.mark.parametrize("name", RP2)
def test_the_build_for_rp2_divides_the_storage_as_the_data_says(name):
    data, folder = _data(name), ROOT / "boards" / name
    offset, size = data["layout"]["storage"]
    assert offset + size == data["flash_bytes"]
    assert sum(data["own_build"].values()) == size
    assert f"mount({data['own_build']['file_system_bytes'] // 1024} * 1024)" in (folder / "_boot.py").read_text()
    text = (folder / "mpconfigboard.h").read_text()
    assert f"FLASH_STORAGE_BYTES ({size // 1024} * 1024)" in text and '"Parkgate on ' in text
    assert f"boards/{data['micropython']['board']}/" in text


@pytest.mark.parametrize("name", ESP32)
def test_the_partitions_of_an_esp32_are_whole(name):
    board = boards.load(name)
    table = esp_image.read_csv((board.folder / "partitions.csv").read_text(), board.data["flash_bytes"])
    places = {part.name: part for part in table}
    assert {"factory", "vfs", "journal"} <= places.keys()
    assert places["journal"].size >= 768 * 1024
    assert max(part.offset + part.size for part in table) <= board.data["flash_bytes"]


@pytest.mark.parametrize(
    "line, fault",
    [
        ("journal, data, 0x40, 0x1F0000, 0x100000", "inside the one before"),
        ("journal, data, 0x40, 0x200800, 0x1000", "boundary"),
        ("journal, data, 0x40, 0x300000, 0x200000", "beyond the flash"),
        ("journal, data, what, 0x300000, 0x1000", "cannot be read"),
    ],
)
def test_a_wrong_partition_table_is_refused(line, fault):
    with pytest.raises(esp_image.EspImageError, match=fault):
        esp_image.read_csv("factory, app, factory, 0x10000, 0x1F0000\n" + line, 4 * 1024 * 1024)


@pytest.mark.parametrize("name", REAL)
def test_the_manifest_freezes_what_is_there(name):
    """Its words are MicroPython's; here they only note what they are given."""
    folder = ROOT / "boards" / name
    required, frozen, included = [], [], []

    def real(path):
        return Path(path.replace("$(BOARD_DIR)", str(folder)))

    def freeze(path, script=None, opt=0):
        scripts = [script] if isinstance(script, str) else script
        frozen.append((path, scripts))
        if "$(PORT_DIR)" not in path:
            assert real(path).is_dir() and all((real(path) / s).is_file() for s in scripts or ())

    words = {
        "freeze": freeze,
        "require": required.append,
        "include": included.append,
        "package": lambda package, base_path, opt: frozen.append((real(base_path) / package, None)),
    }
    exec((folder / "manifest.py").read_text(), words)
    assert "umqtt.simple" in required
    assert (folder / ".." / ".." / "lib" / "parkgate", None) in frozen
    assert any(path.endswith("/firmware") for path, _ in frozen if isinstance(path, str))
    if name in RP2:  # MicroPython's own _boot.py formats at any error
        assert [scripts for path, scripts in frozen if path == "$(PORT_DIR)/modules"] == [["rp2.py"]]
        assert ("$(BOARD_DIR)", ("board.py", "_boot.py")) in frozen


def test_nothing_of_a_real_board_is_touched_by_an_import():
    for part in ("device", "rp2", "esp32"):
        for path in (HAL / part).glob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                calls = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
                allowed = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                assert allowed or not calls, f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("name", REAL)
def test_types_are_checked_against_the_stubs_of_the_right_port(name):
    settings = check_types.board_settings(name)
    assert f"micropython_{boards.load(name).port}_stubs" in str(settings["stubPath"])


# The command


def test_boards_are_listed(capsys):
    assert cli.main(["boards"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in boards.names())


@pytest.mark.parametrize("name", REAL)
def test_the_wiring_of_the_usual_modules_is_one_page(name, capsys):
    assert cli.main(["boards", name]) == 0
    out = capsys.readouterr().out
    for module in ("MAX3485", "SCT-013", "ADS1115", "DS18B20", "S0"):
        assert module in out
    data = _data(name)
    tx = f"{data['pin_prefix']}{data['ports']['rs485']['tx']}"
    assert re.search(rf"DI +{tx}\b", out)
    assert "pin:" not in out


def test_an_unknown_board_is_refused_with_the_known_ones(capsys):
    assert cli.main(["boards", "pico3"]) == 2
    assert "pico_w" in capsys.readouterr().err


# Code for real boards that runs here too


class FakeDevice:
    """MicroPython's block protocol over memory that only clears bits."""

    def __init__(self, data):
        self.data = bytearray(data)
        self.erased = []

    def ioctl(self, operation, argument):
        if operation == 6:
            self.erased.append(argument)
            self.data[argument * 4096 : argument * 4096 + 4096] = b"\xff" * 4096
            return 0
        return {4: len(self.data) // 4096, 5: 4096}.get(operation)

    def readblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        buffer[:] = self.data[at : at + len(buffer)]

    def writeblocks(self, block, data, offset):
        at = block * 4096 + offset
        for i, byte in enumerate(data):
            self.data[at + i] &= byte


def test_a_raw_region_takes_the_journals_four_calls():
    from hal.device.raw_flash import BlockFlash

    flash = BlockFlash(FakeDevice(b"\0" * 8192), 256)
    assert (flash.sector_size, flash.sector_count) == (4096, 2)
    flash.erase(1)
    flash.program(4096 + 256, b"a" * 512)
    flash.sync()
    there = bytearray(1024)
    flash.read(4096, there)
    assert there == b"\xff" * 256 + b"a" * 512 + b"\xff" * 256
    for address, data in ((4096, b"a" * 255), (4100, b"a" * 256), (8192 - 256, b"a" * 512), (8192, b"a" * 256)):
        with pytest.raises(FlashError):
            flash.program(address, data)
    with pytest.raises(FlashError):
        flash.erase(2)
    with pytest.raises(FlashError):
        flash.read(8191, bytearray(2))


@pytest.fixture
def boot(monkeypatch):
    """The start of our RP2 build over a fake flash; `made` notes each mkfs."""
    made, mounted = [], []
    flash = FakeDevice(b"\xff" * 16 * 4096)

    class Part:
        def __init__(self, start, len=None):
            self.start = start

        def readblocks(self, block, buffer, offset):
            flash.readblocks(self.start // 4096 + block, buffer, offset)

    class Lfs:
        good = False

        def __init__(self, device, progsize):
            if not made and not Lfs.good:
                raise OSError(19)

        @staticmethod
        def mkfs(device, progsize):
            made.append(device.start)

    monkeypatch.setitem(sys.modules, "rp2", types.SimpleNamespace(Flash=Part))
    monkeypatch.setitem(sys.modules, "vfs", types.SimpleNamespace(VfsLfs2=Lfs, mount=lambda *at: mounted.append(at[1])))
    monkeypatch.delitem(sys.modules, "hal.rp2.boot", raising=False)
    import hal.rp2.boot as module

    yield types.SimpleNamespace(module=module, made=made, mounted=mounted, flash=flash, lfs=Lfs)
    sys.modules.pop("hal.rp2.boot", None)


def test_a_flash_that_was_never_written_gets_a_file_system(boot):
    boot.module.mount(8 * 4096)
    assert boot.made == [0] and boot.mounted == ["/"] and boot.module.problem is None
    assert boot.module.region.start == 8 * 4096


def test_a_good_file_system_is_mounted(boot):
    boot.lfs.good = True
    boot.module.mount(8 * 4096)
    assert boot.made == [] and boot.mounted == ["/"]


@pytest.mark.parametrize("at", [0, 255, 4096, 8191])
def test_what_cannot_be_mounted_is_kept_and_told(boot, at):
    boot.flash.data[at] = 0
    before = bytes(boot.flash.data)
    boot.module.mount(8 * 4096)
    assert boot.made == [] and boot.mounted == []
    assert "nothing was erased" in boot.module.problem
    assert bytes(boot.flash.data) == before
    assert boot.module.region is not None


def _answer(sent, seconds, leap=0, stratum=2, mode=4, delay=0, dispersion=0, received=b"\x01" * 8):
    head = bytes([leap << 6 | 4 << 3 | mode, stratum, 6, 0xEC]) + delay.to_bytes(4, "big")
    head += dispersion.to_bytes(4, "big") + bytes(12) + sent + received
    return head + seconds.to_bytes(4, "big") + (1 << 31).to_bytes(4, "big")


def test_ntp_answers_are_judged():
    from hal.device.ntp import CLOCK_MS, unix_ms_of

    sent = b"marked!!"
    second = 1 << 16
    assert unix_ms_of(_answer(sent, 2208988800 + 1793491200), sent) == (1793491200500, CLOCK_MS)
    assert unix_ms_of(_answer(sent, 5), sent)[0] == ((1 << 32) + 5 - 2208988800) * 1000 + 500  # after 2036
    far = _answer(sent, 1 << 31, delay=second // 2, dispersion=second // 4)
    assert unix_ms_of(far, sent)[1] == CLOCK_MS + 500, "its own delay and dispersion"
    for packet in (b"", b"junk" * 12, _answer(b"another!", 1 << 31), _answer(sent, 1 << 31, mode=3)):
        assert unix_ms_of(packet, sent) is None, "not an answer to this question: it is waited on"
    for packet in (
        _answer(sent, 1 << 31, leap=3),
        _answer(sent, 1 << 31, stratum=0),
        _answer(sent, 1 << 31, stratum=16),
        _answer(sent, 1 << 31, received=bytes(8)),
        _answer(sent, 1 << 31)[:40] + bytes(8),
        _answer(sent, 1 << 31, dispersion=2 * second),
        _answer(sent, 1 << 31, delay=4 * second),
    ):
        with pytest.raises(LinkError):
            unix_ms_of(packet, sent)


def test_of_several_time_servers_more_than_half_must_agree():
    from hal.device.ntp import choose

    year = 365 * 86_400_000
    assert choose([(1000, 20)]) == (1000, 20)
    assert choose([(1000, 50), (1030, 20), (20 * year, 20)]) == (1030, 20), "one that is 20 years off decides nothing"
    assert choose([(-56 * year, 20), (1000, 50), (1030, 60)]) == (1000, 50)
    assert choose([(1000, 20), (1500, 600)]) == (1000, 20)
    for found in ([], [(0, 20), (1000, 20)], [(0, 20), (1000, 20), (2000, 20)], [(0, 9), (1, 9), (99, 9), (100, 9)]):
        with pytest.raises(LinkError):
            choose(found)


def test_the_page_of_modules_is_current():
    text = (ROOT / "boards" / "WIRING.md").read_text(encoding="utf-8")
    assert text == boards.page(), "run: parkgate boards --page boards/WIRING.md"
    for word in ("MAX3485", "SCT-013", "ADS1115", "DS18B20", "S0"):
        assert word in text
    for name in REAL:
        assert name in text


def test_the_list_shows_the_wiring(capsys):
    assert cli.main(["boards"]) == 0
    listed = capsys.readouterr().out
    assert "GP4, GP5, GP2" in listed and all(name in listed for name in boards.names())

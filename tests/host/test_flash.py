"""What `parkgate flash` would write, read back by code that shares nothing with it; and what it refuses to write.

MicroPython's own images are in no registry, so stand-ins that say the same about themselves take their place
(firmware_images). tests/board starts a real one, where there is one, on an emulated Pico.
"""

import binascii
import hashlib
import json
import struct
import subprocess
import sys
import types
from pathlib import Path

import pytest
from littlefs import LittleFS, UserContext

import firmware_images
from fake_mpremote import FakeMpremote
from host_tools import cli
from host_tools.image import boards, flash_write
from host_tools.image.flash_image import FlashError
from packs import opened
from parkgate.wire.p256_table import TABLES

FLASH_BASE = 0x10000000
KB = 1024


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Its own cache for each test."""
    monkeypatch.setenv("PARKGATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _image(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def _dry_run(tmp_path, board, firmware, *more):
    out = tmp_path / "out"
    words = ["flash", "--board", board, "--dry-run", str(out), *map(str, more)]
    if firmware is not None:
        words += ["--firmware", str(_image(tmp_path, "firmware" + (".bin" if "esp" in board else ".uf2"), firmware))]
    code = cli.main(words)
    return code, out


PICO_W = firmware_images.rp2_flash()


def _pages(data):
    """Pages of a UF2 by address, by this test's own reading of the format; families in the order they come."""
    assert len(data) % 512 == 0
    pages, families, numbers, counts = {}, [], {}, set()
    for at in range(0, len(data), 512):
        begin, second, flags, address, length, number, count, family = struct.unpack_from("<8I", data, at)
        assert (begin, second, flags, length) == (0x0A324655, 0x9E5D5157, 0x2000, 256)
        assert struct.unpack_from("<I", data, at + 508)[0] == 0x0AB16F30
        families.append(family)
        numbers.setdefault(family, []).append(number)
        counts.add((family, count))
        if family in (firmware_images.FAMILIES["rp2040"], firmware_images.FAMILIES["rp2350"]):
            assert address not in pages
            pages[address] = data[at + 32 : at + 288]
            assert numbers[family] == list(range(len(numbers[family])))
    return pages, families, counts


def _mounted(image, page):
    """Every file of a littlefs image, mounted with settings of its own."""
    context = UserContext(buffsize=len(image))
    context.buffer[:] = image
    disk = LittleFS(
        context=context, mount=False, block_size=4096, block_count=len(image) // 4096, prog_size=page, read_size=32,
        cache_size=4 * page,
    )  # fmt: skip
    disk.mount()
    return {
        f"{folder}/{name}".lstrip("/"): disk.open(f"{folder}/{name}", "rb").read()
        for folder, _, names in disk.walk("/")
        for name in names
    }


def _check_files(found, plan):
    assert {path: hashlib.sha256(data).hexdigest() for path, data in found.items()} == {
        path: entry["sha256"] for path, entry in plan["files"].items()
    }


# RP2


@pytest.mark.parametrize("board, storage, size", [("pico", 0xA0000, 1408 * KB), ("pico_w", 0x12C000, 848 * KB)])
def test_a_uf2_holds_firmware_table_and_files(tmp_path, board, storage, size):
    flash = firmware_images.rp2_flash(board_id=board, storage=(storage, size))
    code, out = _dry_run(tmp_path, board, firmware_images.uf2(flash))
    assert code == 0
    plan = json.loads((out / "plan.json").read_text())
    data = (out / f"parkgate-{board}.uf2").read_bytes()
    pages, families, counts = _pages(data)
    assert set(families) == {firmware_images.FAMILIES["rp2040"]} and counts == {(families[0], len(families))}
    sectors = {address // 4096 for address in pages}
    assert len(pages) == 16 * len(sectors)  # a sector that is touched is given whole

    def flash_at(offset, length):
        return b"".join(pages[FLASH_BASE + at] for at in range(offset, offset + length, 256))

    assert flash_at(0, len(flash) // 256 * 256) == flash[: len(flash) // 256 * 256]
    table = flash_at(storage - 32768, 32768)
    assert table == b"".join(TABLES)
    head = flash_at(storage - 32768 - 256, 256)[-32:]
    assert head == b"parkgate p256 comb table 1\0\0" + struct.pack("<I", binascii.crc32(table))
    files = _mounted(flash_at(storage, size), 256)
    _check_files(files, plan)
    assert files["main.py"].startswith(b"try:\n    from micropython import kbd_intr")
    assert {path for path in files if path.startswith("lib/")} == {
        "lib/pack.mpy",
        "lib/names_in_place.mpy",
        "lib/app.pak",
    }
    assert files["lib/pack.mpy"][:2] == b"M\x06"
    app = opened(files["lib/app.pak"], tmp_path)
    for path in ("main.mpy", "journal.mpy", "rp2_board.mpy", "in_place.mpy"):
        assert app.open("/" + path, "rb").read(2) == b"M\x06" and app.stat("/" + path)[0] == 0x8000
    for path in ("_boot.mpy", "manifest.mpy", "tty.mpy", "p256_table.mpy", "esp32_board.mpy", "parkgate", "x.py"):
        with pytest.raises(OSError):
            app.stat("/" + path)
    assert max(pages) < FLASH_BASE + boards.load(board).data["flash_bytes"]
    for write in plan["writes"]:
        assert hashlib.sha256(_cut(flash_at, write)).hexdigest() == write["sha256"]


def _cut(flash_at, write):
    begin = write["address"] - write["address"] % 256
    data = flash_at(begin, write["bytes"] + 512) if write["what"] != "file system" else flash_at(begin, write["bytes"])
    return data[write["address"] - begin :][: write["bytes"]]


def test_the_same_input_gives_the_same_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    outs = [_dry_run(tmp_path / name, "pico_w", firmware_images.uf2(PICO_W))[1] for name in "ab"]
    first, second = ({p.name: p.read_bytes() for p in out.iterdir()} for out in outs)
    assert first == second


def test_a_block_for_another_family_stays_in_front(tmp_path):
    flash = firmware_images.rp2_flash("pico2_w", storage=(1536 * KB, 2560 * KB))
    firmware = firmware_images.uf2(flash, "rp2350", [firmware_images.errata_block()])
    code, out = _dry_run(tmp_path, "pico2_w", firmware)
    assert code == 0
    data = (out / "parkgate-pico2_w.uf2").read_bytes()
    assert data[:512] == firmware_images.errata_block()
    pages, families, _ = _pages(data)
    assert families[1:] == [firmware_images.FAMILIES["rp2350"]] * (len(families) - 1)
    assert len(_mounted(b"".join(pages[FLASH_BASE + at] for at in range(1536 * KB, 4096 * KB, 256)), 256)) > 50


def test_our_own_build_gets_a_small_file_system_and_no_app(tmp_path):
    flash = firmware_images.rp2_flash(name=b"Parkgate on Raspberry Pi Pico W")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "settings.json").write_text("{}")
    code, out = _dry_run(tmp_path, "pico_w", firmware_images.uf2(flash), "--data", tmp_path / "data")
    assert code == 0
    plan = json.loads((out / "plan.json").read_text())
    assert plan["built_with_parkgate"] and list(plan["files"]) == ["data/settings.json"]
    pages, _, _ = _pages((out / "parkgate-pico_w.uf2").read_bytes())
    assert max(pages) < FLASH_BASE + 0x12C000 + 80 * KB  # the journal's region is left as it is
    files = _mounted(b"".join(pages[FLASH_BASE + 0x12C000 + at] for at in range(0, 80 * KB, 256)), 256)
    assert files == {"data/settings.json": b"{}"}


def test_files_can_be_kept(tmp_path):
    code, out = _dry_run(tmp_path, "pico_w", firmware_images.uf2(PICO_W), "--keep-files")
    assert code == 0
    pages, _, _ = _pages((out / "parkgate-pico_w.uf2").read_bytes())
    assert max(pages) < FLASH_BASE + 0x12C000


# ESP32


@pytest.mark.parametrize(
    "board, chip_id, offset", [("esp32_generic", 0, 0x1000), ("esp32_wt32_eth01", 0, 0x1000), ("esp32_s3", 9, 0)]
)
def test_an_esp32_gets_our_partitions_its_firmware_and_files(tmp_path, board, chip_id, offset):
    firmware = firmware_images.esp32(chip_id, offset)
    code, out = _dry_run(tmp_path, board, firmware)
    assert code == 0
    plan = json.loads((out / "plan.json").read_text())
    written = (out / "firmware.bin").read_bytes()
    at = 0x8000 - offset
    assert written[:at] == firmware[:at] and written[at + 0xC00 :] == firmware[at + 0xC00 :]
    table = written[at : at + 0xC00]
    places, rows = {}, b""
    while table[:2] == b"\xaa\x50":
        _, kind, subtype, start, size, name, flags = struct.unpack_from("<HBBII16sI", table)
        places[name.rstrip(b"\0").decode()] = (kind, subtype, start, size)
        rows, table = rows + table[:32], table[32:]
        assert flags == 0
    assert table[:32] == b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows).digest() and not table[32:].strip(b"\xff")
    assert places["factory"] == (0, 0, 0x10000, 0x1F0000)
    assert places["journal"][0] == 1 and 0x40 <= places["journal"][1] <= 0xFE
    vfs = (out / "littlefs.bin").read_bytes()
    assert len(vfs) == places["vfs"][3]
    assert [write["address"] for write in plan["writes"]] == [offset, places["vfs"][2]]
    files = _mounted(vfs, 32)
    _check_files(files, plan)
    assert files["lib/p256.tbl"] == b"".join(TABLES)
    app = opened(files["lib/app.pak"], tmp_path)
    assert app.stat("/esp32_board.mpy")
    with pytest.raises(OSError):
        app.stat("/rp2_board.mpy")
    assert len([path for path in files if path.startswith("data/meters/")]) > 20


def test_esptool_is_called_once_to_write_and_once_to_verify(tmp_path, monkeypatch, capfd):
    calls = []

    def run(command, **_):
        calls.append(command)
        for address, file in zip(command[-4::2], command[-3::2]):
            calls.append((address, hashlib.sha256(Path(file).read_bytes()).hexdigest()))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(flash_write.importlib.util, "find_spec", lambda name: types.SimpleNamespace())
    code, out = _dry_run(tmp_path, "esp32_generic", firmware_images.esp32())
    plan = json.loads((out / "plan.json").read_text())
    real_run = subprocess.run
    monkeypatch.setattr(
        flash_write.subprocess, "run", lambda c, **k: run(c, **k) if "esptool" in c else real_run(c, **k)
    )
    assert cli.main(["flash", "--board", "esp32_generic", "--port", "/dev/ttyX"]) == code == 0  # image from the cache
    assert "NOT CHECKED" in capfd.readouterr().out
    assert calls[0][:8] == [sys.executable, "-m", "esptool", "--chip", "esp32", "--baud", "460800", "--port"]
    assert calls[0][9] == "write-flash" and calls[3][9] == "verify-flash"
    wanted = [(hex(write["address"]), write["sha256"]) for write in plan["writes"]]
    assert calls[1:3] == wanted == calls[4:6]


# Refusals: what is wrong, and what to do next


def _own(name, size):
    return firmware_images.rp2_flash(name, storage=(0x12C000, size))


REFUSED = {
    "no image": (
        "pico_w",
        None,
        ["https://micropython.org/download/RPI_PICO_W/", "--firmware FILE", "pip install mpflash"],
    ),
    "cut short": ("pico_w", firmware_images.uf2(PICO_W)[:-100], ["cut short", "download/RPI_PICO_W"]),
    "another kind": ("pico_w", b"\x7fELF" * 256, ["no UF2 block at byte 0", "download/RPI_PICO_W"]),
    "wrong chip": ("pico_w", firmware_images.uf2(PICO_W, "rp2350"), ["wrong chip", "RP2350", "take RPI_PICO_W"]),
    "wrong board": ("pico", firmware_images.uf2(PICO_W), ["'pico_w', not 'pico'", "take RPI_PICO from"]),
    "unknown board": ("pico_w", firmware_images.uf2(b"\0" * 20_000), ["unknown name", "take RPI_PICO_W"]),
    "storage elsewhere": ("pico_w", firmware_images.uf2(_own("pico_w", 512 * KB)), ["512 KiB", "own build"]),
    "no storage": (
        "pico_w",
        firmware_images.uf2(firmware_images.rp2_flash(storage=None)),
        ["nowhere", "this board's folder"],
    ),
    "too old": (
        "pico_w",
        firmware_images.uf2(firmware_images.rp2_flash(version="v1.19.1")),
        ["v1.19.1 is too old", "1.24 or newer"],
    ),
    "no version": (
        "pico_w",
        firmware_images.uf2(firmware_images.rp2_flash(version="")),
        ["not a MicroPython image", "download/RPI_PICO_W"],
    ),
    "reaches into its storage": (
        "pico_w",
        firmware_images.uf2(firmware_images.rp2_flash(size=0x12C100)),
        ["into its own storage", "damaged"],
    ),
    "esp32: wrong chip": ("esp32_s3", firmware_images.esp32(0, 0), ["wrong chip", "ESP32-S3", "ESP32_GENERIC_S3"]),
    "esp32: app alone": ("esp32_generic", firmware_images.esp32(table=False), ["app alone", "plain .bin"]),
    "esp32: of RP2": ("esp32_generic", firmware_images.uf2(PICO_W), ["not an image for an ESP32", "ESP32_GENERIC"]),
    "esp32: app too large": (
        "esp32_generic",
        firmware_images.esp32(app_bytes=0x1F8000),
        ["2,031,616 at 0x10000", "plain build"],
    ),
    "esp32: cut short": ("esp32_generic", firmware_images.esp32()[:-5000], ["cut short"]),
    "esp32: too old": ("esp32_generic", firmware_images.esp32(version=b"v1.20.0"), ["too old", "newer from"]),
    "simulated": ("unix", None, ["parkgate simulate"]),
    "no such board": ("pico_z", None, ["pico_w"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_and_says_what_to_do(case, tmp_path, capsys, cache):
    board, firmware, words = REFUSED[case]
    code, out = _dry_run(tmp_path, board, firmware)
    said = capsys.readouterr().err
    assert code == 2 and said.startswith("parkgate flash: ") and said.count("\n") == 1
    assert [word for word in words if word not in said] == [], said
    assert not out.exists()
    assert not cache.exists()  # what does not fit is not kept for the next time


def test_data_that_does_not_fit_is_refused(tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    (data / "large").write_bytes(bytes(900 * KB))
    code, _ = _dry_run(tmp_path, "pico_w", firmware_images.uf2(PICO_W), "--data", data)
    assert code == 2 and "too large for pico_w" in capsys.readouterr().err
    (data / "large").write_bytes(bytes(200 * KB))  # fits, but leaves no room for the journal
    code, _ = _dry_run(tmp_path, "pico_w", firmware_images.uf2(PICO_W), "--data", data)
    said = capsys.readouterr().err
    assert code == 2 and "the journal needs" in said and "fewer files with --data" in said


def test_an_image_is_kept_and_used_again_without_its_file(tmp_path, capsys, cache):
    code, out = _dry_run(tmp_path, "pico_w", firmware_images.uf2(PICO_W))
    first = {p.name: p.read_bytes() for p in out.iterdir()}
    (tmp_path / "firmware.uf2").unlink()
    assert _dry_run(tmp_path, "pico_w", None)[0] == code == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == first
    kept = next(cache.rglob("*.uf2"))
    kept.write_bytes(kept.read_bytes()[:-512])
    capsys.readouterr()
    assert _dry_run(tmp_path, "pico_w", None)[0] == 2
    assert "no longer what was kept" in capsys.readouterr().err


def test_an_image_must_have_the_sha256_that_was_given(tmp_path, capsys):
    firmware = firmware_images.uf2(PICO_W)
    digest = hashlib.sha256(firmware).hexdigest()
    assert _dry_run(tmp_path, "pico_w", firmware, "--sha256", digest.upper())[0] == 0
    assert _dry_run(tmp_path, "pico_w", firmware, "--sha256", "0" * 64)[0] == 2
    assert digest in capsys.readouterr().err


# Writing, with stand-ins for the board


def test_the_uf2_is_copied_to_the_drive_and_compared(tmp_path, monkeypatch):
    drive = tmp_path / "drive"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
    firmware = _image(tmp_path, "firmware.uf2", firmware_images.uf2(PICO_W))
    _, out = _dry_run(tmp_path, "pico_w", firmware_images.uf2(PICO_W))
    plan = json.loads((out / "plan.json").read_text())
    there = {path: entry["sha256"] for path, entry in plan["files"].items()}
    state = {"machine": "Raspberry Pi Pico W with RP2040", "mpy": 6, "files": there}
    monkeypatch.setattr(flash_write, "board_state", lambda port, folders: state)
    monkeypatch.setattr(flash_write, "to_prompt", lambda *_: None)
    monkeypatch.setattr(flash_write, "_mpremote", lambda *_: "")
    words = ["flash", "--board", "pico_w", "--firmware", str(firmware), "--drive", str(drive)]
    assert cli.main(words) == 0
    assert (drive / "parkgate-pico_w.uf2").read_bytes() == (out / "parkgate-pico_w.uf2").read_bytes()
    there["lib/app.pak"] = "0" * 64
    assert cli.main(words) == 2


def test_a_drive_of_another_chip_is_refused(tmp_path, capsys):
    firmware = _image(tmp_path, "firmware.uf2", firmware_images.uf2(PICO_W))
    words = ["flash", "--board", "pico_w", "--firmware", str(firmware), "--drive", str(tmp_path)]
    assert cli.main(words) == 2
    assert "Hold BOOTSEL" in capsys.readouterr().err
    (tmp_path / "INFO_UF2.TXT").write_text("Board-ID: RP2350\n")
    assert cli.main(words) == 2
    assert "wrong chip" in capsys.readouterr().err


def test_the_app_alone_replaces_what_differs(monkeypatch):
    board = FakeMpremote()
    board.files = {"lib/app.mpy": b"old", "lib/gone.mpy": b"stale", "data/identity.key": b"secret", "main.py": b"x"}
    monkeypatch.setattr(flash_write, "_mpremote", board)
    monkeypatch.setattr(flash_write, "to_prompt", lambda *_: None)
    assert cli.main(["flash", "--board", "pico_w", "--app-only"]) == 0
    assert board.files["data/identity.key"] == b"secret" and "lib/gone.mpy" not in board.files
    assert "lib/app.mpy" not in board.files, "of a board that had the modules as files"
    assert board.files["lib/app.pak"][:8] == b"parkpak2" and board.files["lib/p256.tbl"] == b"".join(TABLES)
    assert board.files["main.py"].startswith(b"try:\n    from micropython import kbd_intr") and board.resets == 1
    before = dict(board.files)
    assert cli.main(["flash", "--board", "pico_w", "--app-only"]) == 0
    assert board.files == before


def test_a_cut_while_the_app_is_replaced_is_mended_by_the_same_command(monkeypatch, capsys):
    """After any of the tool's steps: the old firmware, or the new one, or none until the command has run again."""
    words = ["flash", "--board", "pico_w", "--app-only"]
    monkeypatch.setattr(flash_write, "to_prompt", lambda *_: None)
    board = FakeMpremote()
    monkeypatch.setattr(flash_write, "_mpremote", board)
    assert cli.main(words) == 0
    new = dict(board.files)
    old = {path: b"old" if path.endswith((".mpy", ".pak")) else data for path, data in new.items()}
    old.update({"lib/gone.mpy": b"stale", "main.py": b"old", "data/identity.key": b"secret"})
    steps = 0
    while True:
        board = FakeMpremote()
        monkeypatch.setattr(flash_write, "_mpremote", board)
        board.files = dict(old)
        board.calls_left = steps
        capsys.readouterr()
        if cli.main(words) == 0:
            break
        assert "cable was pulled" in (said := capsys.readouterr().err)
        if "data/repl" in board.files:
            assert "Run the same command again" in said and board.files["data/repl"]  # empty would hold for one start
        else:
            assert board.files in (old, {**new, "data/identity.key": b"secret"})
        board.calls_left = -1
        assert cli.main(words) == 0
        assert board.files == {**new, "data/identity.key": b"secret"} and board.resets == 1
        steps += 1
    assert steps > 8


def test_code_that_must_follow_keeps_the_board_at_the_prompt(tmp_path, monkeypatch, capsys):
    """A board that would want for heap waits between --app-only and --keep-files."""
    board = FakeMpremote()
    monkeypatch.setattr(flash_write, "_mpremote", board)
    for name in ("to_prompt", "wait_prompt"):
        monkeypatch.setattr(flash_write, name, lambda *_: None)
    monkeypatch.setattr(flash_write, "find_port", lambda port: port)
    new = board.code
    board.code = b""  # nothing in place: what an older tool left, or a damaged block
    assert cli.main(["flash", "--board", "pico_w", "--app-only"]) == 0
    assert "--keep-files" in capsys.readouterr().out and board.resets == 0 and board.files["data/repl"]
    drive = tmp_path / "drive"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("Board-ID: RPI-RP2\n")
    firmware = _image(tmp_path, "firmware.uf2", firmware_images.uf2(PICO_W))
    words = ["flash", "--board", "pico_w", "--firmware", str(firmware), "--drive", str(drive), "--keep-files"]
    newer = board.files["lib/app.pak"]
    board.files["lib/app.pak"] = b"older"
    assert cli.main(words) == 2 and "data/repl" in board.files, "old files and new code do not start"
    board.files["lib/app.pak"] = newer
    assert cli.main(words) == 0
    assert "data/repl" not in board.files and board.resets == 1
    board.code = new
    assert cli.main(["flash", "--board", "pico_w", "--app-only"]) == 0
    assert "take heap" not in capsys.readouterr().out and board.resets == 2


@pytest.mark.parametrize(
    "machine, mpy, word",
    [
        ("Parkgate on Raspberry Pi Pico W with RP2040", 6, "build it anew"),
        ("Generic ESP32 module with ESP32", 6, "wrong chip"),
        ("Raspberry Pi Pico 2 W with RP2350", 6, "wrong chip"),
        ("Raspberry Pi Pico W with RP2040", 5, "without --app-only"),
    ],
)
def test_the_app_is_not_written_to_another_board(monkeypatch, capsys, machine, mpy, word):
    board = FakeMpremote(machine, mpy)
    monkeypatch.setattr(flash_write, "_mpremote", board)
    monkeypatch.setattr(flash_write, "to_prompt", lambda *_: None)
    assert cli.main(["flash", "--board", "pico_w", "--app-only"]) == 2
    assert word in capsys.readouterr().err and board.files == {}


def test_esp32_s3_is_not_taken_for_an_esp32():
    state = {"machine": "Generic ESP32S3 module with ESP32S3", "mpy": 6, "files": {}}
    flash_write.check_board(state, boards.load("esp32_s3"))
    with pytest.raises(FlashError):
        flash_write.check_board(state, boards.load("esp32_generic"))

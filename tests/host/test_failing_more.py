"""The verbs that fetch, flash, commission, measure and simulate, with every call made to fail, as in
test_failing_calls.py: a sentence each, and a whole state."""

import json
import os
import shutil
import subprocess

import pytest

import failing_calls
import firmware_images
from console_gateway import Gateway, Port
from failing_calls import each_failure, run
from fake_mpremote import FakeMpremote
from host_tools.base.messages import Message, read_messages, write_messages
from host_tools.gateway import link, upload
from host_tools.gateway.commissioning import commission
from host_tools.image import flash_image, flash_write
from host_tools.sim import simulate
from test_failing_calls import check, no_drafts


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Nothing waits for its time here, a few of many calls of one kind fail, and nothing of this user is touched."""
    monkeypatch.setattr(failing_calls, "FEW", 1)
    monkeypatch.setattr(link.time, "sleep", lambda _s: None)
    monkeypatch.setattr(link, "RESTART_REPLY_TIMEOUT_S", 0.01)
    monkeypatch.setattr(link, "REPLY_TIMEOUT_S", 0.02)
    monkeypatch.setenv("PARKGATE_PATIENCE", "0.01")
    monkeypatch.setenv("PARKGATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("PARKGATE_CODE", raising=False)


class Holding(Gateway):
    """A gateway with two sealed batches and two meters. `freed` are the receipts that it took, `signed` the records."""

    def __init__(self):
        super().__init__()
        self.freed, self.signed = [], []

    def _carry_out(self, request, lines):
        answers = {
            "export seal": [],
            "export list": ["batch = 4", "batch = 5"],
            "export beat": ["bytes = 5", "aGVsbG8="],
            "meters list": ["press: pzem-004t, unit 1; alive", "oven: pzem-004t, unit 2; alive"],
            "journal status": ["next_batch = 6"],
        }
        name = request.name
        if name in answers:
            lines += answers[name]
        elif name == "export batch":
            lines += ["bytes = 4", {"4": "Zm91cg==", "5": "Zml2ZQ=="}[request.args[0]]]
        elif name == "export receipt":
            new = request.args[0] not in self.freed
            self.freed += [request.args[0]] if new else []
            lines.append("receipt = taken" if new else "receipt = known")
        elif name == "sensor read":
            lines += ["voltage = 230.0 V (good)", "current = 5.000 A (good)", "active_power = 1100.0 W (good)"]
        else:
            return super()._carry_out(request, lines)
        return None


def test_pull_fetches_all_or_nothing(tmp_path):
    out = tmp_path / "hall.messages"
    there = {}

    def begin():
        out.unlink(missing_ok=True)
        there["gateway"] = Holding()

    def port(on_call):
        return Port(there["gateway"], on_call)

    words = ["pull", "--port", "x", "--out", out]
    begin()
    expected = run(words, port)
    assert expected.exit_code == 0 and len(read_messages(out)) == 3, expected
    for number, result, error in each_failure(words, port, begin):
        what = check("pull", result, error, number)
        assert no_drafts(tmp_path), what
        assert not out.exists() or [message.data for message in read_messages(out)] == [b"four", b"five", b"hello"], (
            what
        )
        assert out.exists() or result.exit_code, what


def test_pull_brings_receipts_again_after_every_failure(tmp_path):
    there = {"gateway": Holding()}
    receipts = tmp_path / "receipts"
    topic = f"cmd/{there['gateway'].topic_id}/receipt"
    write_messages(receipts, [Message(topic, b"one"), Message(topic, b"two")])
    key = there["gateway"].files.read("public.key")

    def begin():
        gateway = there["gateway"] = Holding()
        gateway.files.write("public.key", key)
        gateway.restart()

    def port(on_call):
        return Port(there["gateway"], on_call)

    words = ["pull", "--port", "x", "--receipts", receipts, "--json"]
    for number, result, error in each_failure(words, port, begin):
        what = check("pull --receipts", result, error, number)
        assert run(words, port).exit_code == 0 and len(there["gateway"].freed) == 2, what


def test_commission_goes_on_after_every_failure(tmp_path, monkeypatch):
    folder, answers, photo = tmp_path / "hall", tmp_path / "answers.json", tmp_path / "plate.jpg"
    photo.write_bytes(b"a photograph")
    told = {"serial": "A-1", "display": {"voltage": "230"}, "photos": [str(photo)]}
    answers.write_text(json.dumps({"by": "Tran", "instruments": {"press": told, "oven": {**told, "photos": []}}}))
    there = {}

    def send(line, data, command):
        line.ask("identity")  # the cable can fail here
        there["gateway"].signed.append(data)

    monkeypatch.setattr(upload, "send", send)
    key = os.urandom(64)

    def begin():
        shutil.rmtree(folder, ignore_errors=True)
        gateway = there["gateway"] = Holding()
        gateway.files.write("public.key", key)
        gateway.restart()

    def port(on_call):
        return Port(there["gateway"], on_call)

    words = ["commission", folder, "--port", "x", "--answers", answers, "--json"]
    begin()
    expected = run(words, port)
    assert expected.exit_code == 0 and len(there["gateway"].signed) == 3, expected
    for number, result, error in each_failure(words, port, begin):
        what = check("commission", result, error, number)
        assert no_drafts(tmp_path), what
        state = folder / commission.STATE
        if state.exists():
            json.loads(state.read_text())
        if number % 2:
            continue
        again = run(words, port)
        assert again.exit_code == 0 and (folder / commission.PAGE).is_file(), (what, again.err)
        signed = there["gateway"].signed
        assert len(set(map(bytes, signed))) == 3, what


FLASH = {
    "flash --dry-run": ["--dry-run", "{out}"],
    "flash --dry-run --json": ["--dry-run", "{out}", "--json"],
    "flash --drive": ["--drive", "{drive}"],
}


@pytest.mark.parametrize("name", FLASH)
def test_flash(name, tmp_path, monkeypatch):
    """Whatever fails: the output is whole, or the same command makes it so; no half image is kept for the next time."""
    firmware, out, drive = tmp_path / "firmware.uf2", tmp_path / "out", tmp_path / "drive"
    firmware.write_bytes(firmware_images.uf2(firmware_images.rp2_flash()))
    monkeypatch.setattr(flash_write, "_after_start", lambda ask, timeout_s=0: None)
    monkeypatch.setattr(flash_write, "compare", lambda *_: None)
    monkeypatch.setattr(flash_write, "_mpremote", lambda *_, **__: "")
    _once(monkeypatch, flash_image, "plan")

    def begin():
        for folder in (out, drive, tmp_path / "cache"):
            shutil.rmtree(folder, ignore_errors=True)
        drive.mkdir()
        (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n")

    words = ["flash", "--board", "pico_w", "--firmware", firmware]
    words += [word.format(out=out, drive=drive) for word in FLASH[name]]
    begin()
    expected = run(words)
    assert expected.exit_code == 0, expected.err
    whole = _files(out), _files(drive)
    for number, result, error in each_failure(words, None, begin):
        what = check("flash", result, error, number)
        kept = list((tmp_path / "cache").rglob("*.uf2"))
        assert all(path.read_bytes() == firmware.read_bytes() for path in kept), what
        # The draft stays where its removal is what fails.
        assert no_drafts(tmp_path) or (result.failed == "change" and result.exit_code == 0), what
        if result.exit_code == 0:
            assert (_files(out), _files(drive)) == whole, what
        if number % 3 == 0:
            assert run(words).exit_code == 0 and (_files(out), _files(drive)) == whole, f"not again: {what}"


def test_flash_of_the_app_alone_is_mended_by_the_same_command(monkeypatch):
    """mpremote is a child process here, and the board behind it keeps what it was given."""
    there = {}
    plain = subprocess.run

    def program(command, **more):
        if "mpremote" not in command:
            return plain(command, **more)
        return subprocess.CompletedProcess(command, 0, there["board"]("x", *command[5:]), "")

    monkeypatch.setattr(subprocess, "run", program)
    _once(monkeypatch, flash_image, "app_files")
    monkeypatch.setattr(flash_write, "to_prompt", lambda *_: None)
    whole = FakeMpremote()
    there["board"] = whole
    words = ["flash", "--board", "pico_w", "--app-only", "--port", "x"]
    assert run(words).exit_code == 0

    def begin():
        board = there["board"] = FakeMpremote()
        board.files = {**whole.files, "lib/app.pak": b"old", "lib/gone.mpy": b"stale", "main.py": b"old"}

    children = 0
    for number, result, error in each_failure(words, None, begin):
        what = check("flash --app-only", result, error, number)
        children += result.failed == "child"
        if "data/repl" in there["board"].files and not isinstance(error, BrokenPipeError):
            assert "un the same command again" in result.err, f"the board waits, and nobody is told: {what}"
        if number % 3 == 0:
            assert run(words).exit_code == 0 and there["board"].files == whole.files, f"not again: {what}"
    assert children > 5


def test_esptool_that_cannot_be_started_or_is_interrupted(tmp_path, monkeypatch):
    firmware = tmp_path / "firmware.bin"
    firmware.write_bytes(firmware_images.esp32())
    asked = []
    plain = subprocess.run

    def program(command, **more):
        if not any("-flash" in str(word) for word in command):
            return plain(command, **more)
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", program)
    _once(monkeypatch, flash_image, "plan")
    monkeypatch.setattr(flash_write, "esptool_program", lambda: ["esptool"])
    monkeypatch.setattr(flash_write, "_after_start", lambda *_, **__: {})
    monkeypatch.setattr(flash_write, "compare", lambda *_: None)
    words = ["flash", "--board", "esp32_generic", "--firmware", firmware, "--port", "x"]
    assert run(words).exit_code == 0 and len(asked) >= 2
    children = 0
    for number, result, error in each_failure(words):
        what = check("flash esp32", result, error, number)
        if result.failed == "child":
            children += 1
            assert "un the same command again" in result.err, what
    assert children


def _once(monkeypatch, module, name):
    """Compiling is the same each time, and takes seconds: what this function gave first, it gives again."""
    plain, made = getattr(module, name), {}

    def remembered(*args, **named):
        wanted = str(named)
        if wanted not in made:
            made[wanted] = plain(*args, **named)
        return made[wanted]

    monkeypatch.setattr(module, name, remembered)


def _files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_bench_wire(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(
        "time,power\n" + "".join(f"2026-01-01 00:{i // 60:02}:{i % 60:02},{i % 7}.5\n" for i in range(600))
    )
    tried = 0
    for number, result, error in each_failure(["bench", "wire", "--csv", table, "--batches", "1"]):
        tried += 1
        check("bench wire", result, error, number)
    assert tried > 3


class Stage:
    """Stands for the process of a gateway: it starts, says one line, and ends."""

    lines, lines_said, status, pid = ["ready"], 1, {}, None

    def __init__(self, folder, **_):
        self.folder = folder
        self.turns = 2

    bring_meters = simulate.SimulatedGateway.bring_meters

    def console(self):
        return "/dev/pts/0"

    def start(self, environment=None):
        self.started = True

    def running(self):
        self.turns -= 1
        return self.turns > 0

    def kill(self):
        self.started = False


def test_simulate_and_its_folder(tmp_path, monkeypatch):
    folder = tmp_path / "bare"
    monkeypatch.setattr(simulate, "SimulatedGateway", Stage)
    monkeypatch.setattr(simulate.time, "sleep", lambda _s: None)

    def begin():
        shutil.rmtree(folder, ignore_errors=True)

    for number, result, error in each_failure(["simulate", folder, "--json"], None, begin):
        what = check("simulate", result, error, number)
        assert no_drafts(tmp_path), what

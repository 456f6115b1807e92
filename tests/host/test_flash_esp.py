"""`parkgate flash` to an ESP32, as far as that goes without one: esptool itself, and a ROM loader that is not ours.

The loader (esp32-mock-bootloader) keeps what esptool writes, answers its hashes, and gives it back; esptool and the
loader are programs of an environment of their own (build/venv-esp).
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import firmware_images

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "build" / "venv-esp" / "bin"
START_S = 150.0


@contextlib.contextmanager
def rom_loader(chip):
    """An ESP32 in boot mode, reached by TCP; its port as esptool takes it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    program = subprocess.Popen(
        [PROGRAMS / "esp32-mock-bootloader", "run", "--chip", chip, "--port", str(number)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", number), 1).close()
                break
            except OSError:
                assert program.poll() is None and time.monotonic() < deadline, "the loader does not start"
                time.sleep(0.1)
        time.sleep(0.5)  # it takes the connection above for a client that has gone
        yield f"socket://127.0.0.1:{number}"
    finally:
        program.kill()
        program.wait()


def flash(tmp_path, *words):
    """`parkgate flash` with esptool where pipx would put it."""
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "PARKGATE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "host_tools.cli", "flash", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def verify(port, *pairs):
    """Have esptool compare the loader's flash with files; its exit code."""
    command = [PROGRAMS / "esptool", "--chip", "auto", "--port", port, "verify-flash"]
    return subprocess.run([*command, *map(str, pairs)], capture_output=True, text=True, timeout=240).returncode


def test_what_is_written_is_what_the_plan_says(tmp_path):
    image = tmp_path / "ESP32_GENERIC-v1.28.0.bin"
    image.write_bytes(firmware_images.esp32())
    dry = flash(tmp_path, "--board", "esp32_generic", "--firmware", image, "--dry-run", tmp_path / "out")
    assert dry.returncode == 0, dry.stderr
    assert "NOT CHECKED against a known hash" in " ".join(dry.stdout.split())
    with rom_loader("esp32") as port:
        done = flash(tmp_path, "--board", "esp32_generic", "--firmware", image, "--port", port)
        assert done.returncode == 0, done.stdout + done.stderr
        pairs = [(0x1000, "firmware.bin"), (0x200000, "littlefs.bin")]
        for address, name in pairs:
            found = re.search(rf"{address:#010x}\s+([\d,]+) bytes", dry.stdout)
            assert found and int(found[1].replace(",", "")) == (tmp_path / "out" / name).stat().st_size, dry.stdout
        assert verify(port, *[part for address, name in pairs for part in (hex(address), tmp_path / "out" / name)]) == 0
        other = bytearray((tmp_path / "out" / "littlefs.bin").read_bytes())
        other[-1] ^= 1
        (tmp_path / "other.bin").write_bytes(other)
        assert verify(port, "0x200000", tmp_path / "other.bin") != 0, "one bit at the end would be seen"


def test_the_wrong_chip_is_refused_by_the_loader(tmp_path):
    image = tmp_path / "ESP32_GENERIC-v1.28.0.bin"
    image.write_bytes(firmware_images.esp32())
    with rom_loader("esp32s3") as port:
        done = flash(tmp_path, "--board", "esp32_generic", "--firmware", image, "--port", port)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "parkgate flash: esptool write-flash failed" in done.stderr and "Traceback" not in done.stderr


def test_an_image_with_the_given_hash_is_checked(tmp_path):
    import hashlib

    data = firmware_images.esp32()
    image = tmp_path / "image.bin"
    image.write_bytes(data)
    words = ["--board", "esp32_generic", "--firmware", image, "--dry-run", tmp_path / "out", "--sha256"]
    done = flash(tmp_path, *words, hashlib.sha256(data).hexdigest())
    assert done.returncode == 0 and "given with --sha256" in done.stdout and "NOT CHECKED" not in done.stdout
    done = flash(tmp_path, *words, "0" * 64)
    assert done.returncode == 2 and "not the one given" in done.stderr


@pytest.mark.parametrize("named", ["esptool", "esp32-mock-bootloader"])
def test_the_environment_is_there(named):
    assert (PROGRAMS / named).is_file(), "make build/venv-esp.ready"

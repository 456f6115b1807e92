"""The built wheel, installed where nothing of this checkout can be reached: its `parkgate` flashes, simulates and
provisions with what the wheel brings. Libraries come from the environment of the tests, so no network is needed."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import pytest

import firmware_images
from host_tools.image import device_libraries
from parkgate import VERSION

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("lib", "firmware", "boards", "host_tools")
START_S = 300


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: what a build leaves behind must not lie in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SHIPPED:
        shutil.copytree(ROOT / name, source / name, ignore=unwanted)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    _python(
        "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
        "--no-index", "-w", folder, source,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def parkgate(wheel, tmp_path_factory):
    """Run the installed command in a folder of its own; gives what it printed."""
    home = tmp_path_factory.mktemp("installed")
    _python("-m", "venv", "--without-pip", home / "venv")
    bin_folder = home / "venv" / "bin"
    _python("-m", "pip", "--python", bin_folder / "python", "install", "--quiet", "--disable-pip-version-check",
            "--no-index", "--no-deps", wheel)  # fmt: skip
    site = next((home / "venv" / "lib").glob("python*/site-packages"))
    # As a line of a .pth file this folder is searched for libraries; its own .pth files, which lead here, are not read.
    (site / "libraries_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (bin_folder / "nats-server").symlink_to(Path(sysconfig.get_path("scripts"), "nats-server"))
    shutil.copytree(device_libraries.FOLDER, home / "cache" / VERSION / "device_lib")
    environment = {**os.environ, "PARKGATE_CACHE": str(home / "cache"), "HOME": str(home)}
    environment.pop("PYTHONPATH", None)

    return Installed(home, site, environment)


class Installed:
    """The command; called, it gives what it printed."""

    def __init__(self, home, site, environment):
        self.home, self.site, self._environment = home, site, environment

    def __call__(self, *words):
        done = subprocess.run(
            self._command(words), cwd=self.home, env=self._environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *words):
        return subprocess.Popen(self._command(words), cwd=self.home, env=self._environment, stdout=subprocess.DEVNULL)

    def _command(self, words):
        return [str(self.home / "venv/bin/parkgate"), *map(str, words)]


def _python(*words):
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_has_every_file_that_the_tree_has(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for top in SHIPPED:
        for path in (ROOT / top).rglob("*"):
            relative = path.relative_to(ROOT).as_posix()
            if path.is_file() and "__pycache__" not in relative and ".egg-info" not in relative:
                assert ("" if top == "host_tools" else "host_tools/device/") + relative in names
    assert not [name for name in names if name.split("/")[0] in ("tests", "build", "boards", "firmware", "lib")]


def test_it_says_its_version_and_uses_its_own_files(parkgate):
    assert parkgate("--version") == f"parkgate {VERSION}\n"
    where = "from host_tools.base import paths; from parkgate import wire; print(paths.SOURCES, wire.__file__)"
    done = subprocess.run(
        [parkgate.site.parents[2] / "bin" / "python", "-I", "-c", where], capture_output=True, text=True, timeout=60
    )
    sources, module = done.stdout.split()
    assert Path(sources) == parkgate.site / "host_tools" / "device" and Path(module).is_relative_to(parkgate.site)
    assert "pico_w" in parkgate("boards") and "pzem-004t" in parkgate("meters", "list")


def test_it_makes_a_flash_image(parkgate):
    image = parkgate.home / "firmware.uf2"
    # A MicroPython with the firmware frozen in: compiling it for another board would take the test's time twice.
    image.write_bytes(firmware_images.uf2(firmware_images.rp2_flash(name=b"Parkgate on Raspberry Pi Pico W")))
    parkgate("flash", "--board", "pico_w", "--meters", "pzem-004t", "--firmware", image, "--dry-run", "out")
    assert b"PZEM-004T" in (parkgate.home / "out" / "parkgate-pico_w.uf2").read_bytes()


def test_it_provisions_a_simulated_gateway_for_its_hub(parkgate):
    programs = [
        parkgate.start("simulate", "bare"),
        parkgate.start("hub", "--data", "park", "--own-broker", "127.0.0.1:0", "--http", "127.0.0.1:0"),
    ]
    try:
        deadline = time.monotonic() + START_S
        while not all((parkgate.home / name).exists() for name in ("bare/public.key", "park/hub.json")):
            assert all(program.poll() is None for program in programs) and time.monotonic() < deadline
            time.sleep(0.1)
        parkgate("provision", "--port", "bare", "--hub", "park", "--name", "hall-3")
        identity = parkgate("console", "--port", "bare", "identity")
        assert f"firmware = {VERSION}" in identity and "name = hall-3" in identity
    finally:
        for program in programs:
            program.send_signal(signal.SIGINT)
        for program in programs:
            program.wait(30)
    assert "hall-3" in parkgate("enrol", "--data", "park", "--list")

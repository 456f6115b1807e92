"""Every file of tests/core passes on MicroPython's Unix port as well; and once more as a board runs the code: with the
names that the build gives and without what it takes out, without assertions and line numbers.

Also: the runner and the two ways to start the port do what they say, failures above all.
"""

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import transformed
from host_tools.base import unix_port as port

ROOT = Path(__file__).resolve().parent.parent.parent
CORE = ROOT / "tests" / "core"
RUNNER = CORE / "run.py"
SEARCH_PATH = [ROOT / folder for folder in ("lib", "tests/core", "tests/sim", "firmware", "build/device_lib")]
FILES = sorted(path.stem for path in CORE.glob("test_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_core_on_the_unix_port(unix_port, file):
    _passes(unix_port, file, optimise=0)


@pytest.fixture(scope="module")
def as_on_boards(tmp_path_factory):
    """A folder with library, firmware and these tests as the build writes them."""
    folder = tmp_path_factory.mktemp("transformed")
    transformed.write(folder)
    return folder


@pytest.mark.parametrize("file", FILES)
def test_core_as_boards_run_it(unix_port, as_on_boards, file):
    _passes(unix_port, file, 3, ROOT if file in transformed.NOT_TRANSFORMED else as_on_boards)


def _passes(server, file, optimise, root=ROOT):
    path = SEARCH_PATH if root == ROOT else [root / folder for folder in transformed.SEARCH]
    finished = server.run(root / "tests/core/run.py", [file], path=path, optimise=optimise, timeout_s=120, cwd=ROOT)
    if finished.exit_code != 0:
        why = "ran out of time" if finished.timed_out else f"exit code {finished.exit_code}"
        pytest.fail(f"{file} on the Unix port, -O{optimise}: {why}\n{finished.output}", pytrace=False)


def _run_planted(server, folder, text, **options):
    (folder / "test_planted.py").write_text(text)
    return server.run(RUNNER, ["test_planted"], path=[folder, *SEARCH_PATH], **options)


@pytest.mark.parametrize("optimise", [0, 3])
def test_a_failing_core_test_is_reported(unix_port, tmp_path, optimise):
    finished = _run_planted(
        unix_port,
        tmp_path,
        "from check import equal\ndef test_good():\n    equal(1, 1)\ndef test_bad():\n    equal(1, 2, 'planted')\n",
        optimise=optimise,
    )
    assert finished.exit_code == 1
    assert "passed test_good" in finished.output
    assert "FAILED test_bad" in finished.output
    assert "AssertionError: planted: got 1, want 2" in finished.output
    assert "test_planted: 1 passed, 1 failed" in finished.output
    with pytest.raises(pytest.fail.Exception, match="test_check2"):
        _passes(unix_port, "test_check2_that_does_not_exist", optimise)


def test_a_core_file_that_cannot_be_imported_is_reported(unix_port, tmp_path):
    finished = _run_planted(unix_port, tmp_path, "import no_such_module\ndef test_good():\n    pass\n")
    assert finished.exit_code == 1
    assert "no_such_module" in finished.output


def test_a_core_file_without_tests_is_reported(unix_port, tmp_path):
    assert _run_planted(unix_port, tmp_path, "x = 1\n").exit_code == 1


def test_an_endless_core_test_is_ended(unix_port, tmp_path):
    began_s = time.monotonic()
    finished = _run_planted(unix_port, tmp_path, "def test_endless():\n    while True:\n        pass\n", timeout_s=0.5)
    assert finished.timed_out and finished.exit_code == -signal.SIGKILL
    assert time.monotonic() - began_s < 100  # it would run for ever


def test_a_run_that_dies_by_a_signal_is_reported(unix_port, tmp_path):
    script = tmp_path / "wait.py"
    script.write_text("import time\nprint('up')\ntime.sleep(30)\n")
    process = port.start(script, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) != 0
    process.stdout.close()


def test_a_process_gets_arguments_path_heap_limit_and_optimisation(tmp_path):
    (tmp_path / "planted.py").write_text(
        "import gc, sys\nprint(sys.argv[1:], gc.mem_alloc() + gc.mem_free() < 400_000, __debug__)\nsys.exit(7)\n"
    )
    process = port.start("planted", ["a", "b"], path=[tmp_path], heapsize="390k", optimise=1, stdout=subprocess.PIPE)
    output, _ = process.communicate(timeout=100)
    assert output == b"['a', 'b'] True False\n"
    assert process.returncode == 7


def test_the_fork_server_gives_the_same(unix_port, tmp_path):
    script = tmp_path / "planted.py"
    script.write_text("import os, sys\nprint(sys.argv[1:], os.getenv('HUE'), os.getcwd())\nsys.exit(7)\n")
    finished = unix_port.run(script, ["a"], cwd=tmp_path, env={"HUE": "red"})
    assert finished == (7, f"['a'] red {tmp_path}\n", False)


def test_closing_the_fork_server_ends_what_it_runs(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text("open('up', 'w').close()\nwhile True:\n    pass\n")
    with ThreadPoolExecutor(1) as threads, port.ForkServer() as server:
        running = threads.submit(server.run, script, timeout_s=60, cwd=tmp_path)
        while not (tmp_path / "up").exists() and not running.done():
            time.sleep(0.01)
        server.close()
        assert running.result(5) == (-signal.SIGKILL, "", False)


def test_another_interpreter_can_be_named(monkeypatch, tmp_path):
    fake = tmp_path / "other"
    fake.write_text('#!/bin/sh\necho "$@" $MICROPYPATH\nexit 4\n')
    fake.chmod(0o755)
    monkeypatch.setenv("MICROPYTHON", str(fake))
    with port.ForkServer() as server:
        finished = server.run("modbus", ["x"], path=["/lib"], heapsize="390k", optimise=2)
    assert finished == (4, "-X heapsize=390k -O2 -m modbus x .frozen:/lib\n", False)


def test_an_interpreter_that_cannot_be_run_is_named(monkeypatch):
    monkeypatch.setenv("MICROPYTHON", "/nowhere/micropython")
    with pytest.raises(port.UnixPortError, match="/nowhere/micropython"):
        port.start("x")

"""The tools where a person's computer is not as it should be: the terminal, the pipe, the disk, the home, Ctrl-C."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from host_tools.base import files, output
from host_tools.base.files import FileTrouble
from host_tools.gateway import label

PROGRAM = Path(sys.executable).with_name("parkgate")
GATEWAY = "a3f19c07d2b84e5560718293a4b5c6d7"


def parkgate(*words, shell="", **more):
    command = [str(PROGRAM), *map(str, words)]
    if shell:
        quoted = " ".join(f"'{word}'" for word in command)
        command = ["/bin/sh", "-c", f"{quoted} {shell}"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, **more)


@pytest.mark.parametrize("words", [["boards"], ["settings", "help"], ["meters", "list"], ["boards", "pico"]])
def test_a_terminal_without_utf8(words):
    done = parkgate(*words, env={**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"})
    assert done.returncode == 0 and done.stdout.isascii() and not done.stderr


@pytest.mark.parametrize("shell, code", [("> /dev/full", 2), (">&-", 0), ("| head -0", 0)])
def test_an_output_that_takes_nothing(shell, code):
    done = parkgate("settings", "help", shell=shell)
    assert done.returncode == code and "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    if shell == "> /dev/full":
        assert done.stderr == "parkgate settings: no space is left on the disk\n"


def test_a_home_that_cannot_be_written(tmp_path):
    done = parkgate("meters", "list", env={**os.environ, "HOME": "/proc/none"})
    assert done.returncode == 0 and not done.stderr


def test_ctrl_c_at_any_moment_shows_no_traceback():
    for after_ms in (*range(0, 60, 4), *range(60, 240, 20)):
        program = subprocess.Popen(
            [str(PROGRAM), "meters", "check"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(after_ms / 1000)
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=150)
        assert "Traceback" not in errors and "Error" not in errors, (after_ms, errors)
        assert program.returncode in (0, 1, 130, -signal.SIGINT), (after_ms, program.returncode, errors)


def test_ctrl_c_where_python_only_prints_it_comes_again():
    """As in a callback of a weak reference, in which an import may be."""
    program = """
import sys, time
from host_tools import cli

class Going:
    def __del__(self):
        raise KeyboardInterrupt

def main():
    Going()
    for _ in range(600):
        time.sleep(0.1)

cli.main = main
sys.exit(cli.command())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=150)
    assert done.returncode == 130 and not done.stderr


def test_a_file_is_whole_or_as_before(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = parkgate("settings", "docs", path, preexec_fn=limited)
    assert done.returncode == 2 and "larger than is allowed" in done.stderr and done.stderr.count("\n") == 1
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("path, said", [
    ("{tmp}", "it is a folder"), ("{tmp}/none/x", "does not exist"), ("{tmp}/file/x", "a part of its path is a file"),
    ("{tmp}/" + "x" * 300, "name is too long"),
])  # fmt: skip
def test_what_cannot_be_a_file_is_told(path, said, tmp_path):
    (tmp_path / "file").write_text("before")
    name = path.format(tmp=tmp_path)
    for check in (files.check_target, lambda p: files.write(p, "x")):
        with pytest.raises(FileTrouble) as raised:
            check(Path(name))
        assert "Errno" not in str(raised.value)
    with pytest.raises(FileTrouble, match=said):
        files.check_target(Path(name))


def test_links_modes_and_devices_stay(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("before")
    real.chmod(0o640)
    link.symlink_to(real)
    files.write(link, "after")
    assert link.is_symlink() and real.read_text() == "after" and real.stat().st_mode & 0o777 == 0o640
    files.write("/dev/null", "x")
    files.write(tmp_path / "secret", "x", 0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_every_letter_can_be_printed():
    output.prepare()
    assert "→ … ×".encode("ascii", "parkgate") == b"-> ... x"
    assert "ห้อง".encode("ascii", "parkgate").isascii()


@pytest.mark.parametrize("name, place", [
    ("hall-3", "gate B"), ("x" * 32, "y" * 80), ("injection-moulding-line-2-panel-b", ""), ("ห้อง 3", "อมตะ"), ("1", "2")
])  # fmt: skip
def test_a_label_holds_all_and_nothing_sticks_out(name, place):
    made = label.layout(GATEWAY, name, place)
    for text in made.texts:
        assert text.x >= 0 and text.x + text.width <= label.WIDTH_MM - 2 and 0 < text.y <= label.HEIGHT_MM - 2, text
    shown = "".join(text.text for text in made.texts).replace(" ", "")
    assert name.replace(" ", "") in shown and place.replace(" ", "") in shown and GATEWAY[:8] in shown
    assert max(text.size for text in made.texts) == made.texts[0].size or len(name) > 20
    names = [text for text in made.texts if text.text in name]
    assert names[0].size >= (15 if len(name) <= 6 else 4.5), "readable from the ground"
    assert label.content(Path("x.svg"), GATEWAY, name, place).startswith(b"<?xml")
    if name.isascii():
        assert label.content(Path("x.pdf"), GATEWAY, name, place).startswith(b"%PDF-1.4")


def test_the_qr_code_on_any_terminal():
    for blocks in (True, False):
        lines = label.terminal_lines("parkgate:x:y", blocks, 120)
        assert len({len(line) for line in lines}) == 1 and len(lines) > 10
        assert blocks or "".join(lines).isascii()
    assert label.terminal_lines("parkgate:x:y", True, 10)[0].startswith("(the QR code is wider")

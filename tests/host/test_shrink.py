"""What is taken out of the firmware's source changes nothing that it does."""

import ast
import functools
import subprocess
import sys
import threading
import time

import pytest

from host_tools.image.app import app_image
from host_tools.image.app.shrink import shrink

PROGRAM = {
    "main": """
from tool import answers
from parts import base
import parts.extra as extra
RESULT = answers(base) + [extra.counted(3, upto=2), extra.Shape().area, extra.Shape.SIDES, extra.late()]
""",
    "tool": '''"""A tool."""
from parts.base import (
    LIMIT,
    unused_import,
    SMALL as TINY,
)
from parts import base
A, B = 3, LIMIT + 1
BIG = 1 << 40
SHIFTED = 1 << 4 | 1
NEGATIVE = -LIMIT
_table = [n * LIMIT for n in range(3)]
_state = 0
GROWN = ("only",)
GROWN += ("added to, and never used",)


def never_called(x):
    return BIG + x


def answers(given, LIMIT_UNUSED=None):
    return [
        LIMIT, TINY, A, B, BIG, SHIFTED, NEGATIVE, 10 - NEGATIVE, _table, shadowed(5), nested(4), step(), step(),
        [LIMIT for LIMIT in range(2)], (lambda LIMIT: LIMIT)(8), keyword(second=2, first=1), given.LIMIT, base.whole(),
        several(1, 2, *[3], four=4), caught(), default(),
    ]


def shadowed(LIMIT):
    return LIMIT + A


def nested(outer):
    def inner(other, A=A):
        return outer + other + A
    return inner(LIMIT) + inner(1, 2)


def step():
    global _state
    _state += 1
    return _state


def keyword(first, second, third=LIMIT):
    return first * 100 + second * 10 + third


def several(first, *rest, **others):
    return first, rest, others


def caught():
    try:
        raise ValueError(A)
    except ValueError as first:
        return str(first)


def default(value=[LIMIT, A]):
    return value
''',
    "parts": "",
    "parts.base": """
from .errors import Broken, NEVER
LIMIT = 7
SMALL = LIMIT - 5
HUGE = 1 << 64
COUNTS = (LIMIT, SMALL)
unused_import = HUGE


def whole():
    local = COUNTS
    return [local, SMALL, isinstance(Broken("x"), ValueError)]


def half():
    return NEVER
""",
    "parts.errors": "NEVER = 1\nclass Broken(ValueError):\n    pass\nclass Whole(Exception):\n    pass\n",
    "parts.extra": """
from . import base
SIDE = 6


class Shape:
    SIDES, SIDE = SIDE, 9
    CORNERS = SIDES

    def __init__(self):
        from .base import LIMIT, half
        self.area = LIMIT * SIDE + base.SMALL


def counted(start, upto=1):
    return [start + upto for start in range(upto)]


def late():
    from .base import SMALL as few, COUNTS
    return [few, COUNTS]
""",
    "parts.idle": "raise SystemExit('imported')\n",
}


def run(program, folder):
    """What the program's RESULT is."""
    packages = {name.rpartition(".")[0] for name in program}
    for name, text in program.items():
        path = folder.joinpath(*name.split("."))
        path = path / "__init__.py" if name in packages else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = [sys.executable, "-c", "import main; print(main.RESULT)"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def test_what_is_left_does_the_same(tmp_path):
    assert run(shrink(PROGRAM), tmp_path / "small") == run(PROGRAM, tmp_path / "whole")


def test_it_takes_out_what_nothing_leads_to():
    small = shrink(PROGRAM)
    assert "parts.idle" not in small
    for gone in ("never_called", "A, B = ", "SHIFTED =", "unused_import", "LIMIT,\n"):
        assert gone not in small["tool"], gone
    assert "Whole" not in small["parts.errors"]
    assert "def keyword(first, second, a=7)" in small["tool"]
    assert "def shadowed(LIMIT)" in small["tool"]  # short for nobody: another means something else by it


def test_a_module_that_is_handed_on_is_kept_whole():
    program = {"main": "import kept\nprint(kept)\n", "kept": "ONE = 1\nTWO = '2'\ndef three():\n    return ONE\n"}
    assert "TWO" in shrink(program)["kept"] and "def three" in shrink(program)["kept"]


DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def names_at_top(text):
    tree = ast.parse(text)
    found = {node.name for node in tree.body if isinstance(node, DEFINED)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
    return found


@functools.cache
def of_board(name):
    """Dotted name → source of all modules of a board. The files of tests that ask again get the same dictionary."""
    files = {path: text.read_text("utf-8") for path, text in app_image.sources(name).items()}
    files.pop(app_image.TABLE_MODULE)
    return {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): text for path, text in files.items()}


@functools.cache
def small_of(name, roots=("main",)):
    """The same, shrunk: it takes seconds of a processor."""
    return shrink(of_board(name), roots)


@pytest.mark.parametrize("board", ["unix", "pico_w", "esp32_wt32_eth01"])
def test_no_board_misses_anything(board, tmp_path):
    whole = of_board(board)
    small = small_of(board)
    tops = {name: names_at_top(text) for name, text in small.items()}
    for name, text in small.items():
        (tmp_path / f"{name}.py").write_text(text)
        lines = {node.lineno: node.name for node in ast.walk(ast.parse(whole[name])) if isinstance(node, DEFINED)}
        package = name.split(".") if any(n.startswith(name + ".") for n in whole) else name.split(".")[:-1]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, DEFINED):
                assert lines[node.lineno] == node.name, f"{name}: line {node.lineno} moved"
            if isinstance(node, ast.ImportFrom):
                base = package[: len(package) + 1 - node.level] if node.level else []
                source = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    if source in tops and f"{source}.{alias.name}" not in tops:
                        assert alias.name in tops[source], f"{name} wants {alias.name} of {source}"
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--quiet", str(tmp_path)]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_one_process_builds_a_folder_at_a_time(monkeypatch, tmp_path):
    """Each gateway that tests start asks for the build: without the lock they would all make it at once."""
    running: list[int] = []
    at_once = []

    def build(_board, folder):
        running.append(1)
        at_once.append(len(running))
        time.sleep(0.02)
        running.pop()
        return folder

    monkeypatch.setattr(app_image, "_build", build)
    threads = [threading.Thread(target=app_image.build, args=("unix", tmp_path / "app")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert at_once == [1, 1, 1, 1]

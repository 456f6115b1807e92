"""Modules without folders: each import and each text that names a module finds the same module as before."""

import ast
import sys

import pytest

from host_tools.image.app import app_image, flat_modules
from host_tools.image.app.flat_modules import FlatteningError, flatten

PROGRAM = {
    "main": """
import park.deep.inner  # loaded first
import sys, park.deep.other as other
from park import LIMIT, deep
from park.deep import (
    WORD as word,
    inner,
)
LINE = 9

def run():
    from park.deep.inner import answer as found; from park import clock
    names = ("park.deep.inner", "park.nothing", "main")
    known = [name in sys.modules for name in names]
    sys.modules.pop("park.deep.inner")
    return LIMIT, word, inner.answer(), found(), deep.WORD, clock.NOW, other.NAME, known, "ä"
""",
    "clock": "NOW = 1\n",
    "park": "LIMIT = 5\n",
    "park.clock": "from clock import NOW as there\nimport park.deep as park\nNOW = there + len(park.WORD)\n",
    "park.empty": "",
    "park.empty.inside": "",
    "park.deep": "WORD = 'word'\n",
    "park.deep.inner": "from . import other\nfrom ..deep import other as again\n"
    "def answer():\n    return other.ANSWER + again.ANSWER\n",
    "park.deep.other": "ANSWER = 21\nNAME = __name__\n",
    "park.gc": "",
}


@pytest.fixture
def run_in(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(modules, path):
        folder = tmp_path / path
        packages = {name.rpartition(".")[0] for name in modules}
        for name, text in modules.items():
            target = folder / name.replace(".", "/")
            target = target / "__init__.py" if name in packages else target.with_suffix(".py")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        before = dict(sys.modules)
        for name in {name.split(".")[0] for name in modules}:
            sys.modules.pop(name, None)
        monkeypatch.syspath_prepend(str(folder))
        try:
            import main  # pyright: ignore

            return main.run()
        finally:
            sys.path.remove(str(folder))
            for name in set(sys.modules) - set(before):
                del sys.modules[name]
            sys.modules.update(before)

    return run


def test_a_program_does_the_same(run_in):
    small, flat = flatten(PROGRAM)
    assert flat == {
        "main": "main", "clock": "clock", "park": "park", "park.clock": "park_clock", "park.empty.inside": "inside",
        "park.deep": "deep", "park.deep.inner": "inner", "park.deep.other": "other", "park.gc": "park_gc",
    }  # fmt: skip
    assert set(small) == set(flat.values())
    before, after = run_in(PROGRAM, "before"), run_in(small, "after")
    assert before == (5, "word", 42, 42, "word", 5, "park.deep.other", [True, False, True], "ä")
    assert after == (*before[:6], "other", *before[7:])


def test_lines_stay_where_they_are():
    small, flat = flatten(PROGRAM)
    for name, short in flat.items():
        assert len(small[short].splitlines()) == len(PROGRAM[name].splitlines())
    assert small["main"].splitlines().index("LINE = 9") == PROGRAM["main"].splitlines().index("LINE = 9")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from park import deep\ndeep.inner.answer()\n", "line 2: import park.deep.inner by its own name"),
        ("import park.deep.inner\npark.deep.inner.answer()\n", "line 2: import the module itself"),
        ("forget = ('park.deep',)\n", "line 1: 'park.deep' is a package"),
    ],
)
def test_what_would_lose_its_meaning_is_refused(text, said):
    with pytest.raises(FlatteningError, match=f"main, {said}"):
        flatten({**PROGRAM, "main": text})


@pytest.mark.parametrize("board", ["unix", "pico_w", "esp32_generic"])
def test_every_board_has_modules_of_one_word(board):
    texts = {app_image._dotted(name): path.read_text() for name, path in app_image.sources(board).items()}
    small, flat = flatten(texts)
    assert len(set(flat.values())) == len(flat) == len(small)
    assert not [name for name in small if "." in name or name in flat_modules.OF_MICROPYTHON - {"_boot"}]
    assert all(flat[root] == root.rpartition(".")[2] for root in app_image.ROOTS if root in flat)
    for name, short in flat.items():
        before, after = _bound(texts[name]), _bound(small[short])
        assert before <= after, name  # what more there is was only loaded; nothing else is called so
        used = {node.id for node in ast.walk(ast.parse(texts[name])) if isinstance(node, ast.Name)}
        assert not (after - before) & used, name


def _bound(text):
    """Names that imports bind; those that only load a module aside."""
    return {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names if alias.asname or "." not in alias.name
    }  # fmt: skip

"""The firmware under other names does what it did."""

import ast
import functools
import io
import keyword
import tokenize

import pytest

from host_tools.image.app import firmware_names
from parkgate.console.line import CHANGE, COMMANDS, LOOK, TEST, UPLOAD
from tests.host.test_shrink import run, small_of

PROGRAM = {
    "main": """
from tool import Tool, LIMIT
import tool


def begin(first, second_word=2):
    return [first, second_word, LIMIT]


RESULT = [begin(1, second_word=3), Tool(2).doubled(), Tool(5).by_name("half of it"), Tool(7).by_name("wi-fi")]
RESULT += [tool.counted(), tool.counted(), Tool(1).append([], 4), sorted(vars(Tool(3))), Tool(9).shown(), tool.told]
""",
    "tool": '''"""A tool that says doubled_docstring and counts."""
LIMIT = 1 << 40
told = {"told": "remembered_total"}
_turns = 0


class Base:
    kind_of_tool = "base"


class Tool(Base):
    def __init__(self, number):
        self.number_held = number
        self.remembered_total = 10 * number

    def doubled(self):
        local_value = 2 * self.number_held
        return [local_value, (lambda other_value: other_value + local_value)(1), self.kind_of_tool]

    def by_name(self, wanted):
        if "-" in wanted:
            return getattr(self, "_" + wanted.replace("-", ""))()
        return getattr(self, wanted.replace(" ", "_"))() + getattr(self, told["told"])

    def half_of_it(self):
        return self.number_held // 2

    def _wifi(self):
        return "radio"

    def append(self, items, item):  # MicroPython has this one
        items.append(item)
        return items

    def shown(self):
        return f"{self.in_a_format} {self.number_held}"

    @property
    def in_a_format(self):
        return "format"


def counted():
    global _turns
    _turns += 1
    return _turns
''',
}
WORDS = ["half of it", "wi-fi"]


@functools.cache
def renamed(board, roots):
    """The modules of a board with other names, and which is which."""
    return firmware_names.give(small_of(board, roots), roots)


def program():
    return {**PROGRAM, "tool": PROGRAM["tool"] + f"WORDS = {WORDS!r}\n"}


def test_under_other_names_it_does_the_same(tmp_path):
    renamed, names = firmware_names.give(program())
    assert run(renamed, tmp_path / "renamed") == run(program(), tmp_path / "plain")
    text = "".join(renamed.values())
    for gone in ("doubled(", "kind_of_tool", "counted", "LIMIT", "second_word", "_turns"):
        assert gone not in text
    for kept in ("remembered_total", "half_of_it", "_wifi", "append", "in_a_format", "number_held", "begin", "RESULT"):
        assert kept in text, f"{kept}: a string, a format or MicroPython may ask for it, or it is of a root"
    assert {"doubled", "counted", "LIMIT"} <= set(names.values())


def _tokens(text):
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(token.type, token.string, token.start[0]) for token in tokens]


@pytest.mark.parametrize("board", ["unix", "pico_w", "esp32_wt32_eth01"])
def test_one_name_becomes_one_other_and_nothing_else_changes(board):
    roots = ("main", "hal.rp2.in_place") if board == "pico_w" else ("main",)
    before = small_of(board, roots)
    after, names = renamed(board, roots)
    assert before.keys() == after.keys()
    for module, text in before.items():
        old, new = _tokens(text), _tokens(after[module])
        assert len(old) == len(new)
        for (kind, word, line), (kind_now, word_now, line_now) in zip(old, new):
            assert (kind, line) == (kind_now, line_now)
            if kind == tokenize.NAME:
                word_now = names.get(f"{module}:{word_now}", names.get(word_now, word_now))
            assert word == word_now, f"{module}:{line}"
    everywhere = {short: name for short, name in names.items() if ":" not in short}
    within = {tuple(short.split(":")): name for short, name in names.items() if ":" in short}
    assert len(set(everywhere.values())) == len(everywhere) > 500
    assert len({(module, name) for (module, _), name in within.items()}) == len(within) > 200
    shared = {short for _, short in within}
    assert len(shared) < 100 and not shared & everywhere.keys()
    names = everywhere | dict.fromkeys(shared, "")
    taken = {word for text in before.values() for kind, word, _ in _tokens(text) if kind == tokenize.NAME}
    assert not taken & names.keys(), "a name that somebody had before"
    assert not [name for name in names if keyword.iskeyword(name) or not name.isidentifier()]
    assert not names.keys() & {"const", "value", "write", "range", "append", "match"}, "names that mean something"


def test_what_a_start_needs_first_gets_the_names_that_cost_nothing():
    in_rom, elsewhere = firmware_names._of_micropython()
    assert {"append", "IRQ_RISING", "ldrex"} <= in_rom and {"readexactly", "wait_for_ms"} <= elsewhere | in_rom
    roots = ("main", "hal.rp2.in_place")
    names = {old: new for new, old in renamed("pico_w", roots)[1].items()}
    assert names["Sampler"] in in_rom and names["HeapWatch"] in in_rom
    assert names["Analyser"] not in in_rom, "of parkgate.sensing.vibration, which few gateways load"
    assert not [name for name in names if name.endswith("Error")], "logs say the names of exceptions"


def test_every_command_finds_its_method_by_name():
    """firmware/tasks/console.py asks for it by the words of the command."""
    modules = renamed("pico_w", ("main", "hal.rp2.in_place"))[0]
    methods = {
        module: {node.name for node in ast.walk(ast.parse(modules[module])) if isinstance(node, ast.AsyncFunctionDef)}
        for module in modules if module.startswith("tasks.console_")
    }  # fmt: skip
    files = {LOOK: "look", CHANGE: "change", TEST: "test", UPLOAD: "upload"}
    for words, _, _, where, *_ in COMMANDS:
        assert words.replace(" ", "_") in methods[f"tasks.console_{files[where]}"], words
    assert methods["tasks.console_test"] >= {"_wifi", "_dns", "_tcp", "_tls", "_mqtt", "_receipt"}

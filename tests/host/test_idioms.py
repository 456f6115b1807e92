"""The build refuses, by file and line, what the steps that make firmware small cannot keep. One planted fault each."""

import pytest

from host_tools.image.app import app_image, idioms

BASE = "class Base:\n    pass\nLIMIT = 5\nclass Box:\n    def __init__(self, left=0):\n        self._left = left\n"
PLANTED = {
    "store to a module's attribute": ("import a\ndef f():\n    a.LIMIT = 6\n", 3, "sets a.LIMIT"),
    "the same from a package": ("from pack import inner\ninner.X = 1\n", 2, "sets inner.X"),
    "removal of it": ("import a\ndel a.LIMIT\n", 2, "sets a.LIMIT"),
    "addition to it": ("import a\na.LIMIT += 1\n", 2, "sets a.LIMIT"),
    "base under another name": ("from a import Base as Parent\n\nclass Child(Parent):\n    pass\n", 3, "base Parent"),
    "base that is computed": ("import a\nclass Child(a.pick().Base):\n    pass\n", 2, "computed"),
    "base from a table": ("TABLE = []\nclass Child(TABLE[0]):\n    pass\n", 2, "computed"),
    "keyword of a class": ("class Child(metaclass=type):\n    pass\n", 1, "keywords"),
    "two stars in a call": ("import a\ndef f(given):\n    return a.Box(**given)\n", 3, "** in a call"),
    "walrus in a comprehension": ("def f(rows):\n    return [y for row in rows if (y := row)]\n", 2, ":="),
    "globals": ("def f():\n    return globals()['f']\n", 2, "globals()"),
    "locals": ("def f(x):\n    return locals()\n", 2, "locals()"),
    "vars": ("def f(x):\n    return vars(x)\n", 2, "vars()"),
    "dir": ("def f(x):\n    return dir(x)\n", 2, "dir()"),
    "eval": ("def f(x):\n    return eval('x')\n", 2, "eval()"),
    "exec": ("def f(x):\n    exec('x = 1')\n", 2, "exec()"),
    "import by a name": ("def f(x):\n    return __import__(x)\n", 2, "__import__()"),
    "__dict__": ("def f(x):\n    return x.__dict__\n", 2, "__dict__"),
    "getattr": ("def f(x, n):\n    return getattr(x, n)\n", 2, "getattr()"),
    "getattr of a joined name": ("def f(x, n):\n    return getattr(x, '_' + n)\n", 2, "getattr()"),
    "setattr": ("def f(x, n):\n    setattr(x, n, 1)\n", 2, "setattr()"),
    "hasattr": ("def f(x, n):\n    return hasattr(x, n)\n", 2, "hasattr()"),
    "delattr": ("def f(x, n):\n    delattr(x, n)\n", 2, "delattr()"),
    "class made by type": ("def f(n):\n    return type(n, (), {})\n", 2, "type()"),
    "import of everything": ("from a import *\n", 1, "import *"),
    "f-string that prints a name": ("def f(count):\n    return f'{count=}'\n", 2, "f-string"),
    "format of an attribute": ("def f(x):\n    return 'n {0._left}'.format(x)\n", 2, "format"),
    "format of an attribute by name": ("def f(x):\n    return '{x.left}'.format(x=x)\n", 2, "format"),
}


def tree(text):
    return {"a": BASE, "pack": "", "pack.inner": "X = 0\n", "main": text}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_idiom_is_refused(name):
    text, line, what = PLANTED[name]
    found = idioms.faults(tree(text))
    assert any(fault.startswith(f"main, line {line}: ") and what in fault for fault in found), found
    with pytest.raises(idioms.IdiomError, match=f"main, line {line}"):
        idioms.check(tree(text))


@pytest.mark.parametrize(
    "text",
    [
        "import a\ndef f():\n    return a.Box(left=1), a.LIMIT\n",
        "from a import Base\nclass Child(Base):\n    pass\n",
        "import a\nclass Child(a.Base):\n    def __init__(self):\n        self.LIMIT = 5\n",
        "def f(x):\n    return getattr(x, 'left', None), type(x), '{} of {}'.format(1, 2), '%d.%d' % (1, 2)\n",
        "def f(x):\n    if (y := x):\n        return y\n",
        "def f(x):\n    return f'{x}: {x.left}'\n",
        "import json\njson.limit = 5\n",
        '"""A docstring that names {0.left}, as an example."""\n',
    ],
)
def test_what_keeps_its_meaning_passes(text):
    assert idioms.faults(tree(text)) == []


@pytest.mark.parametrize("board", ["unix", "pico_w", "esp32_wt32_eth01"])
def test_the_firmware_has_none_and_each_exception_is_needed(board):
    texts = {app_image._dotted(name): path.read_text() for name, path in app_image.sources(board).items()}
    assert idioms.faults(texts) == []
    without = {fault.split(", ")[0] for fault in idioms.faults(texts, frozenset())}
    assert {module for module, _ in idioms.ALLOWED} & texts.keys() == without  # each exception is needed

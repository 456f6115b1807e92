"""The tables of SPEC that name numbers (qualities, trust, causes, events, content types, topics), compared with the
code, both ways: no number without a row, no row without a number. And the rooms that README and CONTRIBUTING name."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from host_tools.archive import audit, writer
from host_tools.hub.reading import readings
from host_tools.hub.receiving import answer, receive, witnesses
from parkgate import events, reading
from parkgate.log import root, statement, witness
from parkgate.wire import cose
from test_layering import HOST_ROOMS

ROOT = Path(__file__).resolve().parent.parent.parent
SPEC = (ROOT / "lib/SPEC.md").read_text(encoding="utf-8")
CDDL = "\n".join(re.findall(r"^```cddl\n(.*?)^```$", SPEC, re.DOTALL | re.MULTILINE))
TIME_MS = 1767225600000
WHEN = [TIME_MS, 0]


def section(number: str) -> str:
    start = re.search(rf"^#{{2,3}} {re.escape(number)} .*$", SPEC, re.MULTILINE)
    assert start, number
    end = re.search(r"^#{2,3} ", SPEC[start.end() :], re.MULTILINE)
    return SPEC[start.end() : start.end() + end.start()] if end else SPEC[start.end() :]


def numbered(text: str) -> dict[int, str]:
    """All pairs of neighbouring cells `| number | words |` of the tables in `text`."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        for number, words in pairwise(cells):
            if number.isdecimal():
                assert int(number) not in found, line
                found[int(number)] = words
    return found


def rule(name: str) -> str:
    found = re.search(rf"^{re.escape(name)} = \[(.*)\]", CDDL, re.MULTILINE)
    assert found, name
    return found[1]


def known_events() -> dict[int, str]:
    union = re.search(r"^known-event = (.*?)^\w[^/]*=", CDDL, re.DOTALL | re.MULTILINE)
    assert union
    names = re.findall(r"[a-z]+(?:-[a-z]+)*", re.sub(r";.*", "", union[1]))
    found = {int(rule(name).split(",")[0]): name for name in names}
    assert len(found) == len(names)
    return found


def test_qualities_and_trust():
    # Both tables count from 0, so they are read apart.
    qualities, clock = section("4.1").split("A *sample* is")
    assert numbered(qualities) == reading.QUALITY_NAMES
    assert {code: words.split(":")[0] for code, words in numbered(clock).items()} == reading.TRUST_NAMES


def test_every_kind_of_event_has_a_rule_and_a_meaning():
    told = known_events()
    assert set(told) == set(events.NAMES)
    for kind, name in told.items():
        words, code = name.replace("-", " "), events.NAMES[kind]
        assert words.startswith(code) or code.startswith(words), (name, code)
    constants = {value for name, value in vars(events).items() if name.isupper() and type(value) is int}
    assert set(events.NAMES) <= constants


def test_numbers_within_events():
    def last(of: str, field: str) -> int:
        found = re.search(rf"{field}: \d+\.\.(\d+)", rule(of))
        assert found
        return int(found[1])

    assert last("epoch-born", "reason") == len(events.EPOCH_REASONS) - 1
    assert last("gap", "why") == len(events.GAP_REASONS) - 1
    assert last("counter", "what") == len(events.COUNTER_EVENTS) - 1
    assert last("clock-disputed", "source") == max(events.HUB, events.NTP, events.PERSON, events.CHIP)
    assert f"counts: [{len(events.PERIOD_OUTCOMES)}*16" in rule("periods")
    outcomes = {code: words.split(":")[0] for code, words in numbered(section("5.7")).items()}
    assert outcomes == dict(enumerate(events.PERIOD_OUTCOMES))
    causes = re.search(r"^\| cause \| of that start: (.*) \|$", section("5.2"), re.MULTILINE)
    assert causes and causes[1] == ", ".join(f"{code} {name}" for code, name in enumerate(events.CAUSES))


EVENTS = [
    [events.RESET, 3, 1],
    [events.EPOCH_BORN, 0],
    [events.CLOCK_SET, 5000, None],
    [events.SETTINGS, bytes(16), "line 4"],
    [events.GAP, 3, 9, 12, 0, []],
    [events.TORN, 1],
    [events.CORRUPT, 1, 2, 3],
    [events.FLASH_FAULT, 1, 2],
    [events.COUNTER, "press", "import_active_energy", 2, 5000, 77, WHEN],
    [events.RATIO, "press", "ct", None, [200, 5], WHEN],
    [events.PERIODS, "press", WHEN, 1000, [60, 0, 0, 0, 0, 0]],
    [events.OFF, None, TIME_MS],
    [events.COMMISSIONED, WHEN, "press", "Sok", {}],
    [events.CONSISTENCY, "press", "wiring", 1, 42, -950, 2700, 3, WHEN],
    [events.CLOCK_DISPUTED, events.NTP, TIME_MS, WHEN],
    [events.TASK_STALLED, "send", 0, 90_000],
    [events.CRASH, "send", "Traceback\n  in run\nValueError: 7\n", 60_000],
    [events.CHECKPOINT_HELD, 4711, bytes(32)],
    [events.PRODUCTION, 1, 0, 7, TIME_MS, 0, "LOT-0147", 0, 4, 90017],
    [events.KEY_ROTATED, bytes(64), bytes(32), bytes(64)],
    [events.HUB_KEY_TAKEN, 2, bytes(32)],
]


def test_the_hub_has_words_for_every_kind():
    assert [event[0] for event in EVENTS] == sorted(events.NAMES)
    for event in EVENTS:
        words = readings.describe(event)
        assert "does not know" not in words and "does not understand" not in words, event
    assert readings.describe([99, 1]) == "a kind that this hub does not know"
    assert "program" in readings.describe([events.FLASH_FAULT, 1, 1])
    assert readings.describe(EVENTS[-5]).endswith("ValueError: 7")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: events.NAMES[event[0]])
def test_every_event_has_as_many_items_as_its_rule(event):
    inner = re.sub(r"[\[{][^\[\]{}]*[\]}]", "", rule(known_events()[event[0]]))
    assert len(inner.split(",")) == len(event)


def test_content_types():
    told = numbered(section("3.3"))
    told = {code: words for code, words in told.items() if code > 60000}
    assert told == {
        cose.BATCH_TYPE: "batch",
        cose.BEAT_TYPE: "beat",
        cose.RECEIPT_TYPE: "receipt",
        cose.ANSWER_TYPE: "answer",
        writer.CONTENT_TYPE: "statement of an archive",
        statement.CONTENT_TYPE: "statement of the hub",
        witness.INTRODUCTION_TYPE: "introduction of the log",
        root.CONTENT_TYPE: "root document",
    }
    of_archives = {audit.BATCH: "batch", audit.BEAT: "beat"}
    of_archives |= {audit.STATEMENT: "statement of an archive", audit.HUB_STATEMENT: "statement of the hub"}
    assert of_archives.items() <= told.items()
    sources = [SPEC]
    for folder in ("lib/parkgate", "host_tools", "firmware"):
        sources += [path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py")]
    assert {int(number) for text in sources for number in re.findall(r"(?<![\w.])651\d\d\b", text)} == set(told)


class Gateway:
    @staticmethod
    def topic_name() -> str:
        return "<gw>"


def test_topics():
    told = dict(re.findall(r"^\| `(\S+)` \| (gateway to hub|hub to gateway) ", section("10.1"), re.MULTILINE))
    up = {topic.replace("+", "<gw>") for topic, _ in receive.TOPICS}
    gateway: Any = Gateway
    down = {answer.receipt_topic(gateway), answer.answer_topic(gateway), witnesses.log_topic(gateway)}
    assert told == dict.fromkeys(up, "gateway to hub") | dict.fromkeys(down, "hub to gateway")
    sender = (ROOT / "firmware/tasks/send.py").read_text(encoding="utf-8")
    assert {"tele/<gw>/" + name for name in re.findall(r'_up \+ "(\w+)"', sender)} == up
    assert {"cmd/<gw>/" + name for name in re.findall(r'_down \+ "(\w+)"', sender)} == down


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_rooms_are_those_of_the_tree(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(("| `host_tools` |", "| `host_tools/` |"))]
    assert len(rows) == 1
    named = re.search(r"in rooms: ((?:`\w+` ?)+)", rows[0])
    assert named
    assert tuple(re.findall(r"`(\w+)`", named[1])) == tuple(room for room in HOST_ROOMS if room != "cli")
    assert {path.parent.name for path in (ROOT / "host_tools").glob("*/__init__.py")} == set(HOST_ROOMS) - {"cli"}


def test_contributing_names_the_folders_of_lib_and_firmware():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for top in ("lib/parkgate", "firmware", "tests"):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{top}` |"))
        for folder in (ROOT / top).iterdir():
            if folder.is_dir() and not folder.name.startswith(("_", ".")):
                assert f"`{folder.name}`" in row, (top, folder.name)

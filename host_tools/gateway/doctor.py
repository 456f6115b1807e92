"""`parkgate doctor`: why does this gateway not deliver? Asks it everything, says in plain words what to do.

It lists all that it finds, the most important first, and how old its knowledge is. To know whether the hub takes this
gateway's batches now, it has one sealed and waits for the receipt. With --hub DIR|URL it asks the hub too.

Exit code 0 when nothing is wrong, 1 when something is, or when it could not look at everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from host_tools.base import output, tracebacks
from host_tools.gateway.link import CodeMissing, Link, add_port_argument
from host_tools.hub.verbs import hub_view
from parkgate.errors import LinkError, ParkgateError, SettingsError

CLOCK_OFF_S = 60
RECEIPT_WAIT_S = 15.0
RECEIPT_POLL_S = 0.4
SILENCES_MAX = 2  # commands without an answer until no more are tried

WRONG, NOTE, GOOD = "wrong", "note", "ok"
_SHOWN = {WRONG: "WRONG ", NOTE: "  --  ", GOOD: "  ok  "}


class Finding(NamedTuple):
    """One thing that a check found.

    `key` is for programs and stays the same; `level` is WRONG (it costs readings, or soon will), NOTE (not wrong, but
    somebody should know, or it could not be looked at) or GOOD. `weight`, 0 to 99, orders those of one level: what
    stops everything else is low. `todo` is what to do, as a sentence."""

    key: str
    level: str
    text: str
    todo: str = ""
    weight: int = 50

    def line(self) -> str:
        return _SHOWN[self.level] + self.text + (f". What to do: {self.todo}" if self.todo else "")


class NotAsked(ParkgateError):
    """A command that was not answered, or may not be given: what depends on it is not known."""


class Asked:
    """What the gateway said, each command given once. Raises NotAsked where there is no answer."""

    def __init__(self, link: Link, hub: str | None = None):
        self.link = link
        self.hub = hub
        self.locked = False
        self._said: dict[str, list[str]] = {}
        self._silences = 0

    def lines(self, command: str, timeout_s: float | None = None, again: bool = False) -> list[str]:
        """The lines of the answer; `again` asks anew."""
        if command not in self._said or again:
            self._said[command] = self._ask(command, timeout_s)
        return self._said[command]

    def facts(self, command: str, again: bool = False) -> dict[str, str]:
        """An answer of `name = value` lines."""
        return dict(part.split(" = ", 1) for part in self.lines(command, None, again) if " = " in part)

    def _ask(self, command: str, timeout_s: float | None) -> list[str]:
        if self._silences >= SILENCES_MAX:
            raise NotAsked(f"{command}: not tried, since the gateway does not answer")
        try:
            answer = self.link.ask(command, timeout_s)
        except LinkError as error:
            self._silences += 1
            raise NotAsked(f"{command}: {error}") from None
        except SettingsError as error:  # the gateway refuses
            self.locked = self.locked or str(error).startswith("locked")
            raise NotAsked(f"{command}: the gateway says: {error}") from None
        self._silences = 0
        return answer


def add_parser(subparsers) -> None:
    """Arguments of `parkgate doctor`."""
    parser = subparsers.add_parser("doctor", help="find out why a gateway does not deliver", description=__doc__)
    add_port_argument(parser)
    parser.add_argument("--hub", metavar="DIR|URL", help="ask this hub as well: its data directory, or its page")
    output.add_json(parser)


def run(args) -> int:
    """Raises LinkError where the port does not open, GatewayRefused for a wrong code."""
    with Link(args.port) as link:
        locked = not _unlock(link, args.code)
        found = findings(Asked(link, args.hub), locked)
    wrong = sum(each.level == WRONG for each in found)
    whole = not any(each.key.startswith("unknown.") for each in found)
    document = {"wrong": wrong, "complete": whole, "findings": [each._asdict() for each in found]}
    output.show(args, document, [*(each.line() for each in found), _verdict(wrong, whole)])
    return 1 if wrong or not whole else 0


def _unlock(link: Link, code: str | None) -> bool:
    try:
        link.unlock(code)
    except CodeMissing:
        return False
    return True


def _verdict(wrong: int, whole: bool) -> str:
    if wrong:
        return "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong; start with the first one"
    return "nothing is wrong" if whole else "nothing wrong was found, but not everything could be looked at"


def findings(asked: Asked, locked: bool = False) -> list[Finding]:
    """All that the checks find: what is wrong first, and of that the weightiest."""
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(asked)
        except NotAsked as error:
            if not asked.locked:
                found.append(Finding(f"unknown.{_name(check)}", WRONG, str(error), "check cable and power", 1))
    if locked or asked.locked:
        text = "locked: meters, the way to the hub and the receipts could not be looked at"
        found.append(Finding("unknown.locked", NOTE, text, "give --code CODE, or set PARKGATE_CODE", 1))
    order = (WRONG, NOTE, GOOD)
    return sorted(found, key=lambda each: (order.index(each.level), each.weight))


def _name(check: Callable) -> str:
    return check.__name__.removeprefix("check_")


# Checks. Each gives what it finds of one matter; a NotAsked that it lets through says that it could not look. A new
# check is a function here (or in a module of its own) and its name in CHECKS.


def check_identity(asked: Asked) -> Iterator[Finding]:
    """Who it is, and whether it was provisioned."""
    who = asked.facts("identity")
    yield Finding("identity", GOOD, f"it is {who['name']} ({who['gateway'][:8]}…) on board {who['board']}", weight=0)
    if who["hub"] == "none":
        yield Finding("hub.none", WRONG, "it knows no hub", "run parkgate provision", 2)
    code = who["code"]
    if code == "damaged":
        yield Finding("code.damaged", WRONG, "its code is damaged", "only erasing the board opens its console", 60)
    elif code == "on trial":
        text = "its code was never confirmed, so anybody with a cable can change it"
        yield Finding("code.on_trial", NOTE, text, "parkgate provision --again shows a new one and sets it", 10)
    elif code == "not set":
        text = "its console has no code: anybody with a cable can change it"
        yield Finding("code.none", NOTE, text, "parkgate provision --again sets one", 11)


def check_settings(asked: Asked) -> Iterator[Finding]:
    """Whether it runs with what was pushed."""
    status = asked.facts("status")
    if "problem" in status:
        text = f"its settings: {status['problem']}; it runs with older ones"
        yield Finding("settings.problem", WRONG, text, "mend and push them again", 5)
    if "on trial" in asked.facts("identity")["settings"]:
        text = "its settings are on trial: it goes back to those before unless the hub accepts a batch (or at once, by "
        yield Finding("settings.trial", GOOD, text + "settings revert)")
    else:
        yield Finding("settings", GOOD, "its settings are confirmed")


def check_program(asked: Asked) -> Iterator[Finding]:
    """Faults of the firmware itself."""
    crashes = int(asked.facts("status")["crashes"])
    level = WRONG if crashes else GOOD
    todo = "keep what `parkgate console log` shows, and report it" if crashes else ""
    text = f"{crashes} errors of its own program since the start"
    if crashes:
        known = tracebacks.names(asked.facts("identity"))
        last = tracebacks.last_fault(tracebacks.in_words_of_the_source(asked.lines("log"), known))
        text += f"; the last one: {last}" if last else ""
    yield Finding("program.crashes", level, text, todo, 55)


def check_meters(asked: Asked) -> Iterator[Finding]:
    """Each meter, read now."""
    meters = asked.lines("meters list")
    if meters and meters[0].startswith("none"):
        yield Finding("meters.none", WRONG, "no meter is set up", "settings add instruments …", 20)
        return
    log = asked.lines("log")
    for line in meters:
        yield from _meter(asked, line, log)


def _meter(asked: Asked, line: str, log: list[str]) -> Iterator[Finding]:
    name = line.split(":")[0]
    said = [entry.partition(f" {name}: ")[2] for entry in log if f" {name}: " in entry]
    if "NOT SAMPLED" in line:
        text = f"meter {name} is not read: its profile or bus is wrong"
        yield Finding(f"meter.{name}.not_sampled", WRONG, text, "see `parkgate console log`", 20)
        return
    try:
        answers = asked.lines(f"sensor read {name}", 30.0)
    except NotAsked as error:
        yield Finding(f"meter.{name}.unknown", WRONG, f"meter {name}: {error}", "", 22)
        return
    told = [answer for answer in answers if answer.startswith(_DISAGREEING)]
    answers = [answer for answer in answers if answer not in told]
    yield from _agreement(name, told)
    bad = [answer for answer in answers if not answer.endswith("(good)")]
    learnt = _learnt(asked, name) if bad else ""
    if answers and len(bad) == len(answers) and not learnt:
        why = f"; the gateway's last message about it: {said[-1]}" if said else ""
        todo = "check its power, both wires (A and B swapped?), unit id and baud"
        yield Finding(f"meter.{name}.silent", WRONG, f"meter {name} gives nothing{why}", todo, 21)
    elif bad:
        text = f"meter {name}: {len(bad)} of {len(answers)} values are not good, such as {bad[0]}"
        yield Finding(f"meter.{name}.not_good", WRONG, text, learnt, 30)
    else:
        first = f": {answers[0]}" if answers else ""
        yield Finding(f"meter.{name}", GOOD, f"meter {name} answers{first}")


def _learnt(asked: Asked, name: str) -> str:
    """What to do about a meter that answers some reads and not others; "" when it answers none, so that its wires may
    be wrong."""
    try:
        facts = asked.facts(f"meters stats {name}")
    except NotAsked:
        return ""
    largest, least, silent = (
        facts.get(f"learnt {what}", "0")
        for what in ("largest read answered", "smallest read left unanswered", "values that stay silent")
    )
    if largest == "0":
        return ""
    if least != "0":
        return f"its wires are good: it answers {largest} registers in one read, not {least}; smaller reads are tried"
    return "its wires are good: it leaves some values unanswered; choose other channels" if silent != "0" else ""


_DISAGREEING = ("DISAGREES", "disagrees just now", "look at it")


def _agreement(name: str, told: list[str]) -> Iterator[Finding]:
    """What the gateway says of how the meter's numbers agree with each other (SPEC 11.11)."""
    todo = "`parkgate meters test` at the meter shows every number; the wiring, or its ratio, is to be corrected"
    for n, text in enumerate(told):
        wrong = text.startswith(_DISAGREEING[0])
        level, key = WRONG if wrong else NOTE, f"meter.{name}.inconsistent.{n}"
        yield Finding(key, level, f"meter {name} {text}", todo if wrong else "", 23)


def check_losses(asked: Asked) -> Iterator[Finding]:
    """Readings that are gone."""
    dropped = int(asked.facts("journal status")["dropped"])
    text = f"{dropped} readings were lost so far (the gateway tells the hub which)"
    yield Finding("journal.dropped", WRONG if dropped else GOOD, text, weight=50)


def check_clock(asked: Asked) -> Iterator[Finding]:
    """Its time beside this computer's."""
    clock = asked.facts("time")
    if "unix_ms" not in clock:
        todo = "the network sets it; by hand `parkgate console time set UNIX_MS`"
        yield Finding("clock.unset", WRONG, "its clock was never set", todo, 40)
        return
    off_s = abs(int(clock["unix_ms"]) / 1000 - time.time())
    level = GOOD if off_s < CLOCK_OFF_S else WRONG
    text = f"its clock is {off_s:.0f} s away from this computer's ({clock['trust']})"
    yield Finding("clock", level, text, "" if level == GOOD else "find out which of the two is right", 41)


def check_way(asked: Asked) -> Iterator[Finding]:
    """The way to the hub, step by step: behind a step that fails nothing can be tried."""
    failed: dict[str, str] = {}
    order = 10
    for line in asked.lines("link test", 60.0):
        step, _, text = line.partition(": ")
        order += 1
        if text.startswith("what to do: "):
            yield Finding(f"way.{step}", WRONG, f"{step} fails: {failed.pop(step, '')}", text[12:], order)
        elif text.startswith("FAILED: "):
            failed[step] = text[8:]
        elif text.startswith("not tried"):
            yield Finding(f"way.{step}.not_tried", NOTE, f"{step}: {text}", weight=order)
        else:
            yield Finding(f"way.{step}", GOOD, f"{step}: {text}", weight=order)
    for step, text in failed.items():
        yield Finding(f"way.{step}", WRONG, f"{step} fails: {text}", weight=order)


def check_receipt(asked: Asked) -> Iterator[Finding]:
    """Does the hub take its batches now? One is sealed, and its receipt awaited: a revocation shows within seconds."""
    if asked.facts("identity")["hub"] == "none":
        return
    asked.lines("export seal", 30.0)
    journal = asked.facts("journal status", again=True)
    if not int(journal["next_batch"]) or not int(journal["held"]):
        # Nothing was sampled since the last receipt, so what is known of the hub is as old as that receipt.
        yield Finding("receipt.nothing_waits", NOTE, "no batch waits for a receipt, so none could be asked for" + (
            "" if int(journal["next_batch"]) else ": it has made no batch yet"), weight=5)  # fmt: skip
        return
    newest = int(journal["next_batch"]) - 1
    connected = asked.facts("status", again=True).get("connected") == "True"
    began = time.monotonic()
    while True:
        passed = time.monotonic() - began
        if _receipt_of(journal) >= newest:
            text = f"batch {newest} was sealed now and its receipt came after {passed:.1f} s: the hub takes its batches"
            yield Finding("receipt", GOOD, text)
            return
        if passed > (RECEIPT_WAIT_S if connected else 0) * asked.link.patience:
            break
        time.sleep(RECEIPT_POLL_S)
        journal = asked.facts("journal status", again=True)
    held, last = journal["held"], journal["highest_receipt"]
    text = f"no receipt came for batch {newest} within {passed:.0f} s; {held} wait, the last receipt was " + (
        "none so far" if last == "none" else f"for batch {last}"
    )
    todo = "see that the hub runs, and that it knows this gateway and has not revoked it (parkgate enrol --list)"
    if not connected:
        text += "; it is not connected to its broker"
        todo = "mend the way to the hub first"
    yield Finding("receipt.overdue", WRONG, text, todo, 18)


def _receipt_of(journal: dict[str, str]) -> int:
    return -1 if journal["highest_receipt"] == "none" else int(journal["highest_receipt"])


def check_hub(asked: Asked) -> Iterator[Finding]:
    """What the hub itself says of this gateway."""
    if not asked.hub:
        return
    try:
        view = hub_view.ask(asked.hub, asked.facts("identity")["id"])
    except NotAsked:
        raise
    except ParkgateError as error:
        yield Finding("unknown.hub", WRONG, f"the hub could not be asked: {error}", "check --hub", 6)
        return
    if not view.known:
        yield Finding("hub.unknown", WRONG, "the hub does not know this gateway", "parkgate provision, or enrol", 3)
        return
    if view.revoked_unix_ms is not None:
        ago = _ago(view.asked_unix_ms - view.revoked_unix_ms)
        todo = "parkgate enrol --restore accepts it again"
        yield Finding("hub.revoked", WRONG, f"the hub revoked it {ago} ago and accepts nothing from it", todo, 3)
    for reason, count in sorted(view.refused.items()):
        text = f"the hub refused {count} of its messages so far: {reason}"
        yield Finding(f"hub.refused.{reason}", NOTE, text, weight=20)
    for alarm in view.alarms:
        todo = "look into it, then parkgate enrol --clear-alarms"
        yield Finding("hub.alarm", WRONG, f"the hub has an alarm about it: {alarm}", todo, 35)
    seen = "never" if view.last_seen_unix_ms is None else (
        f"{_ago(view.asked_unix_ms - view.last_seen_unix_ms)} ago"
    )  # fmt: skip
    yield Finding("hub.seen", GOOD, f"the hub, asked just now, knows it as {view.name} and last heard from it: {seen}")


def _ago(ms: int) -> str:
    seconds = max(0, ms // 1000)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172800 else f"{seconds // 86400} days"


def check_space(asked: Asked) -> Iterator[Finding]:
    """How long its memory lasts, by what it writes: it goes on even while a backlog is on its way to the hub."""
    journal = asked.facts("journal status")
    seconds = journal["seconds_to_loss"]
    if not seconds.isdigit():
        return
    days = int(seconds) // 86400
    lasts = f"{days} days" if days > 1 else _ago(int(seconds) * 1000)
    if days or int(journal["held"]) <= 1:
        yield Finding("journal.space", GOOD, f"without a hub its memory would be full in {lasts}")
    else:
        text = f"its memory is full in {lasts} if no receipts come, and {journal['held']} batches wait"
        yield Finding("journal.space", WRONG, text, "does its hub run and know it?", 25)


CHECKS: tuple[Callable[[Asked], Iterator[Finding]], ...] = (
    check_identity,
    check_settings,
    check_program,
    check_meters,
    check_losses,
    check_clock,
    check_way,
    check_receipt,
    check_hub,
    check_space,
)

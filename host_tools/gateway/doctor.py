"""`parkgate doctor`: why does this gateway not deliver? Asks it everything, says in plain words what to do.

Exit code 0 when nothing is wrong, 1 when something is.
"""

from __future__ import annotations

import time

from host_tools.gateway.link import Link, add_port_argument, open_unlocked

CLOCK_OFF_S = 60


def add_parser(subparsers) -> None:
    """Arguments of `parkgate doctor`."""
    parser = subparsers.add_parser("doctor", help="find out why a gateway does not deliver", description=__doc__)
    add_port_argument(parser)


def run(args) -> int:
    """Raises LinkError, GatewayRefused."""
    with open_unlocked(args) as link:
        wrong = 0
        for good, text in findings(link):
            wrong += not good
            print(("  ok  " if good else "WRONG ") + text)
    many = "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong; mend the first one first"
    print(many if wrong else "nothing is wrong")
    return 1 if wrong else 0


def findings(link: Link):
    """Generator: (whether it is good, what it is in words)."""
    identity, status, journal = link.facts("identity"), link.facts("status"), link.facts("journal status")
    yield True, f"it is {identity['name']} ({identity['gateway'][:8]}…) on board {identity['board']}"
    if "problem" in status:
        yield False, f"its settings: {status['problem']}; it runs with older ones. Mend and push them again."
    trial = "on trial" in identity["settings"]
    back = "on trial: it goes back to those before unless the hub accepts a batch (settings revert: at once)"
    yield True, "its settings are " + (back if trial else "confirmed")
    if identity["hub"] == "none":
        yield False, "it knows no hub: run parkgate provision"
    if identity["code"] == "not set":
        yield True, "its console has no code: whoever has a cable can change it (code CODE sets one)"
    yield from _meters(link)
    yield int(journal["dropped"]) == 0, f"{journal['dropped']} readings were lost so far (the hub is told which)"
    yield int(status["crashes"]) == 0, f"{status['crashes']} faults of its own program since the start"
    yield from _clock(link)
    way = list(_way(link))
    yield from way
    yield from _space(journal["seconds_to_loss"], all(good for good, _ in way))


def _meters(link):
    meters = link.ask("meters list")
    if meters and meters[0].startswith("none"):
        yield False, "no meter is set up: settings add instruments …"
        return
    log = link.ask("log")
    for line in meters:
        name = line.split(":")[0]
        said = [entry.partition(f" {name}: ")[2] for entry in log if f" {name}: " in entry]
        if "NOT SAMPLED" in line:
            yield False, f"meter {name} is not read: its profile or bus is wrong; see `parkgate console log`"
            continue
        answers = link.ask(f"sensor read {name}", 30.0)
        bad = [a for a in answers if not a.endswith("(good)")]
        if len(bad) == len(answers) and answers:
            why = f"; the last that the gateway said of it: {said[-1]}" if said else ""
            yield False, (
                f"meter {name} gives nothing: check its power, both wires (A and B swapped?), unit id and baud{why}"
            )
        elif bad:
            yield False, f"meter {name}: {len(bad)} of {len(answers)} values are not good, such as {bad[0]}"
        else:
            yield True, f"meter {name} answers: {answers[0]}" if answers else f"meter {name} answers"


def _space(seconds, delivers):
    """How long its memory lasts, by what it writes: it goes on even while a backlog is on its way to the hub."""
    if not seconds.isdigit():
        return
    days, hours = int(seconds) // 86400, int(seconds) // 3600
    lasts = f"{days} days" if days else f"{hours} h"
    if delivers or days:
        yield True, f"without a hub its memory would be full in {lasts}"
    else:
        yield False, f"its memory is full in {lasts} if no receipts come: does its hub run and know it?"


def _clock(link):
    clock = link.facts("time")
    if "unix_ms" not in clock:
        yield False, "its clock was never set: the network will do it, or `parkgate console time set UNIX_MS`"
        return
    off_s = abs(int(clock["unix_ms"]) / 1000 - time.time())
    yield off_s < CLOCK_OFF_S, f"its clock is {off_s:.0f} s away from this computer's ({clock['trust']})"


def _way(link):
    advice = ""
    for line in link.ask("link test", 60.0):
        step, _, text = line.partition(": ")
        if text.startswith("what to do: "):
            yield False, advice + text[12:]
        elif text.startswith("FAILED: "):
            advice = f"{step} fails: {text[8:]}. What to do: "
        elif not text.startswith("not tried"):
            yield True, f"{step}: {text}"

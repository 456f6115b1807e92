"""Makes the past of some halls into files, as a process of its own: `python -m host_tools.sim.past.making`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from host_tools.base import files
from host_tools.base.messages import Message, read_messages, write_messages
from host_tools.sim.past import chains, halls
from parkgate.errors import ParkgateError


class NotMade(ParkgateError):
    """A process that makes the past of some halls failed."""


def make(folder: Path, begin_ms: int, until_ms: int) -> None:
    """Make the past of every hall from begin_ms, a local midnight, to until_ms: side by side, where there are several
    processors. Raises NotMade."""
    numbers = [str(number) for number in range(len(halls.PARK))]
    workers = min(len(numbers), os.cpu_count() or 1)
    command = [sys.executable, "-m", "host_tools.sim.past.making", str(folder), str(begin_ms), str(until_ms)]
    started = [subprocess.Popen(command + numbers[n::workers], stdin=subprocess.DEVNULL) for n in range(workers)]
    ended = [process.wait() for process in started]
    if any(ended):
        raise NotMade("the history of the demo's park could not be made")


def read(folder: Path) -> tuple[list[dict], list[Message]]:
    """(states, batches) that `make` left there. Raises FormatError, FileTrouble, ValueError."""
    states: list[dict] = []
    messages: list[Message] = []
    for number in range(len(halls.PARK)):
        states += json.loads(files.read_text(folder / f"{number}.json"))
        messages += read_messages(folder / f"{number}.messages")
    return states, messages


def hall(number: int, begin_ms: int, until_ms: int) -> tuple[list[dict], list[Message]]:
    """States and batches of the gateways of one hall, one after the other."""
    states: list[dict] = []
    messages: list[Message] = []
    for each, name, at_ms, end_ms in chains.park(begin_ms):
        if each.name != halls.PARK[number].name:
            continue
        if states:
            state = chains.successor_state(each, name, states[-1], at_ms)
        else:
            state = chains.new_state(each, name, begin_ms, at_ms)
        messages += chains.batches(each, state, min(end_ms or until_ms, until_ms), chains.ROW_MS, chains.BATCH_MS)
        states.append(state)
    return states, messages


def main(folder: Path, begin_ms: int, until_ms: int, numbers: Sequence[int]) -> None:
    """Make the files of these halls; that of the states comes last."""
    for number in numbers:
        states, messages = hall(number, begin_ms, until_ms)
        write_messages(folder / f"{number}.messages", messages)
        files.write(folder / f"{number}.json", json.dumps(states))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), [int(number) for number in sys.argv[4:]])

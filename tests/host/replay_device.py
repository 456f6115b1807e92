"""Runs on MicroPython: the whole gateway replays a recording in virtual time, with the wall clock that is in it.

micropython replay_device.py FOLDER FIRST_ROW LAST_ROW STEP_S

FOLDER is a gateway's folder; its workshop.json has a 4 to 20 mA transmitter that plays the recording, `clock.csv` the
wall time (Unix ms) of each row. One row passes in STEP_S seconds. The firmware's own parts do all the rest: driver,
sampler, clock, journal on simulated NOR flash, sealer. What is sealed is written to FOLDER/batch.N at the end.
"""

import asyncio
import json
import sys


class VirtualTime:
    """The board's clock: it moves when somebody sleeps, or is told to."""

    def __init__(self, start_us):
        self.us = start_us

    def mono_ms(self):
        return self.us // 1000

    def ticks_us(self):
        return self.us & 0x3FFFFFFF

    def ticks_ms(self):
        return self.us // 1000 & 0x3FFFFFFF

    async def sleep_ms(self, ms):
        self.us += ms * 1000


FOLDER, FIRST, LAST, STEP_S = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
time = VirtualTime(1000)
asyncio.sleep_ms = time.sleep_ms

from app import App  # noqa: E402
from board import Board  # noqa: E402
from parkgate.events import PERSON  # noqa: E402
from start import Start  # noqa: E402
from tasks.seal import Sealer  # noqa: E402
from workshop import Workshop  # noqa: E402

MAINTAIN_MS = 1000


class World(Workshop):
    """The workshop, in virtual time since the recording began."""

    def now_us(self):
        return FIRST * STEP_S * 1000000 + time.us


class ReplayBoard(Board):
    """The simulated board with the recording's clock."""

    def __init__(self, folder):
        super().__init__(folder)
        self.clock = time
        with open(folder + "/clock.csv") as file:
            self._walls = [int(line) for line in file]

    def comb_point(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return None

    def wall_time(self):
        """What the clock on the wall shows: the row's time and what has passed since."""
        passed_ms = FIRST * STEP_S * 1000 + time.mono_ms()
        row = min(passed_ms // (STEP_S * 1000), len(self._walls) - 1)
        return self._walls[row] + passed_ms - row * STEP_S * 1000, 20, PERSON

    def _workshop(self):
        if self._sensors is None:
            self._sensors = World(self.files)
        return self._sensors

    def write_console(self, text):
        pass


def run(coroutine):
    """What a coroutine gives that never really waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waits for something real")


def replay():
    """Play the rows; the state at the end."""
    board = ReplayBoard(FOLDER)
    app = App(board, Start(board))
    journal, sampler = app.journal, app.samplers[0]
    rows_max = app.settings["sealing"]["rows_max"]
    facts = {"cause": app.cause, "settings_id": app.settings_id, "schema": app.schema}
    sealer = Sealer(journal, app.signing.seal, app.clock, app.settings["sealing"], facts, app.mono_ms, app.log)
    sampler.begin()
    for row in range(FIRST, LAST):
        time.us = (row - FIRST) * STEP_S * 1000000 + 1000
        app.timekeeper.ask_board()  # as every minute
        run(sampler._one(0, app.mono_ms()))
        while journal.needs_erase:
            journal.maintain(MAINTAIN_MS)
        if journal.unsealed_records >= rows_max:
            run(sealer.seal_one())
    if len(board._walls) <= LAST:
        while journal.unsealed_records:
            run(sealer.seal_one())
    for seq in journal.held():
        with open("%s/batch.%d" % (FOLDER, seq), "wb") as file:
            file.write(journal.read_batch(seq))
    counters = journal.counters
    return {
        "public_key": app.signer.public_key.hex(),
        "sampled": counters.sampled,
        "buffered": counters.buffered,
        "dropped": counters.dropped,
        "sealed": journal.next_seq,
        "errors": app.log.errors,
        "crashes": app.supervisor.crashes,
        "faults": sampler.faults,
    }


print(json.dumps(replay()))

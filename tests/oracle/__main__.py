"""Live random lives of the journal and hold each start against its promises.

    python -m tests.oracle --lives 200 --seed 1       so many lives of each geometry, all faults mixed
    python -m tests.oracle --faults weak,bad          only these faults (none: cuts alone)
    python -m tests.oracle --replay rp2:17            one life again, by what a failure prints

Prints what was tried and each failure with the command that replays it; exits with 1 if there was one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "lib"), str(ROOT / "firmware")]

from tests.oracle import lives  # noqa: E402

Task = tuple[str, int, int, "frozenset[str] | None"]


def live(task: Task) -> tuple[lives.Tally, str | None]:
    """One life in a process of its own: what was tried, and what failed."""
    geometry, seed, starts, only = task
    life = lives.Life(seed, geometry, only=only)
    try:
        life.live(starts)
    except lives.Failure as failure:
        return life.tally, str(failure)
    return life.tally, None


def campaign(tasks: Iterable[Task], jobs: int) -> Iterator[tuple[Task, lives.Tally, str | None]]:
    """Live all lives, `jobs` at a time."""
    tasks = list(tasks)
    with multiprocessing.Pool(jobs) as pool:
        for task, (tally, failure) in zip(tasks, pool.imap(live, tasks, chunksize=4)):
            yield task, tally, failure


def main() -> int:
    """Parse the arguments, live, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__.splitlines()[0])
    parser.add_argument("--lives", type=int, default=100, help="lives of each geometry (default 100)")
    parser.add_argument("--starts", type=int, default=40, help="starts of each life (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first life; each next one has the next")
    parser.add_argument("--geometry", choices=sorted(lives.GEOMETRIES), action="append")
    kinds = ",".join(lives.Faults.KINDS)
    parser.add_argument("--faults", metavar="KINDS", help=f"among {kinds}; none: cuts alone (default: mixed)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--replay", metavar="GEOMETRY:SEED", help="one life again")
    arguments = parser.parse_args()
    only = None
    if arguments.faults is not None:
        only = frozenset(arguments.faults.split(",")) - {"none"}
    if arguments.replay:
        geometry, _, seed = arguments.replay.partition(":")
        lives.Life(int(seed), geometry, only=only).live(arguments.starts)
        print("no promise was broken")
        return 0
    failed = 0
    for geometry in arguments.geometry or sorted(lives.GEOMETRIES):
        total = lives.Tally()
        began_s = time.monotonic()
        seeds = range(arguments.seed, arguments.seed + arguments.lives)
        for task, tally, failure in campaign(((geometry, s, arguments.starts, only) for s in seeds), arguments.jobs):
            total.add(tally)
            if failure:
                failed += 1
                extra = f" --faults {arguments.faults}" if arguments.faults is not None else ""
                print(f"  {failure}\n    python -m tests.oracle --replay {task[0]}:{task[1]}{extra}", flush=True)
        print(f"{geometry}, seeds {seeds[0]} to {seeds[-1]}: {total}; {time.monotonic() - began_s:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

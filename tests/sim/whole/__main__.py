"""Live worlds, one a seed: `python -m tests.sim.whole --seeds 100 --jobs 2`. Each failing seed says how to live it
again."""

import argparse
import collections
import json
import logging
import multiprocessing
import sys
import time
import traceback
import warnings

from tests.sim.whole.bugs import BUGS, plant
from tests.sim.whole.checker import Broken
from tests.sim.whole.world import KINDS, world


def live(task: tuple) -> dict:
    """One world: seed, what happened, and what was wrong (None, or words)."""
    seed, days, kinds, fine, bug = task
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that lost their power
    began = time.process_time()
    found = {"seed": seed, "days": days, "wrong": None, "happened": {}, "figures": {}}
    edits = plant(bug) if bug else {}
    with world(seed, days, kinds=kinds, paces=() if fine else None, edits=edits) as made:
        try:
            made.run()
            found["figures"] = made.check()
        except Broken as error:
            found["wrong"] = str(error)
        except Exception as error:
            found["wrong"] = "".join(traceback.format_exception(type(error), error, error.__traceback__)[-6:])
        found["happened"] = made.happened
        found["days"] = (made.loop.now_us - made.began_us) / 86_400e6 * len(made.machines)
        found["steps"], found["trace"] = made.loop.steps, made.trace.hexdigest()
        found["lines"] = [line for machine in made.machines for line in machine.lines[-40:]]
    found["seconds"] = time.process_time() - began
    return found


def report(results) -> dict:
    """The figures of many worlds."""
    total: collections.Counter = collections.Counter()
    happened: collections.Counter = collections.Counter()
    for found in results:
        happened.update(found["happened"])
        total.update({"seeds": 1, "gateway_days": found["days"], "seconds": found["seconds"], "steps": found["steps"]})
        total.update(found["figures"])
        total["failed"] += found["wrong"] is not None
    return {**total, "happened": dict(sorted(happened.items()))}


def planted(args) -> int:
    """Whether each planted bug is found by one of the seeds: further seeds for those that are not found yet."""
    left = list(BUGS) if args.bug is None else [args.bug]
    asked = len(left)
    with multiprocessing.get_context("fork").Pool(args.jobs, maxtasksperchild=1) as pool:
        for seed in range(args.seed, args.seed + args.seeds):
            tasks = [(seed, args.days, list(BUGS[bug][1]), False, bug) for bug in left]
            for task, result in zip(tasks, pool.imap(live, tasks, chunksize=1)):
                if result["wrong"]:
                    left.remove(task[4])
                    words = result["wrong"].splitlines()[-1]
                    print(f"{task[4]}: seed {seed}, {result['seconds']:.1f} s: {words}", flush=True)
    print(*(f"{bug}: NOT FOUND" for bug in left), f"{asked - len(left)} of {asked} planted bugs found", sep="\n")
    return 1 if left else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.whole", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="so many worlds (10)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--days", type=float, default=1.0, help="simulated days of faults; then all is well again (1)")
    parser.add_argument("--kinds", help=f"only these kinds of faults, by commas: {', '.join(KINDS)}")
    parser.add_argument("--fine", action="store_true", help="the gateway's loops look round as often as on a board")
    parser.add_argument("--bug", choices=BUGS, help="with this bug planted; it must be found")
    parser.add_argument("--planted", action="store_true", help="plant each bug in turn; the seeds must find every one")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--log", action="store_true", help="print the last lines of each gateway's console")
    args = parser.parse_args()
    kinds = None if args.kinds is None else [kind for kind in args.kinds.split(",") if kind]
    if args.planted:
        return planted(args)
    if args.bug and kinds is None:
        kinds = list(BUGS[args.bug][1])
    tasks = [(seed, args.days, kinds, args.fine, args.bug) for seed in range(args.seed, args.seed + args.seeds)]
    again = f"--days {args.days:g}" + (f" --kinds '{args.kinds}'" if kinds else "") + (" --fine" if args.fine else "")
    results = []
    with multiprocessing.get_context("fork").Pool(
        min(args.jobs, len(tasks)), maxtasksperchild=1 if args.bug else None
    ) as pool:
        for found in pool.imap_unordered(live, tasks, chunksize=1):
            results.append(found)
            if args.log:
                print(*found["lines"], sep="\n")
            if found["wrong"]:
                print(f"seed {found['seed']}: {found['wrong']}")
                print(f'  again: make sim SEEDS=1 ARGS="--seed {found["seed"]} {again} --log"', flush=True)
    figures = report(results)
    if args.json:
        print(json.dumps({**figures, "worlds": [{k: r[k] for k in ("seed", "trace", "wrong")} for r in results]}))
    else:
        print(
            f"{figures['seeds']} worlds, {figures['gateway_days']:.1f} days of a gateway, {figures['steps']} steps,"
            f" {figures.get('readings', 0)} readings in {figures.get('batches', 0)} batches,"
            f" {figures['seconds']:.0f} s of processor; {figures['failed']} worlds broke a promise"
        )
        print(", ".join(f"{count} {name}" for name, count in figures["happened"].items()))
    return 1 if figures["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

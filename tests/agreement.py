"""Lives of simulated meters, sound and faulty: how often the check that their numbers agree is wrong.

    python -m tests.agreement --size 1         a hundredth of the full campaign; --size 100 is all of it
    python -m tests.agreement --replay 17      one sound meter again; with --fault NAME one that has it

Full: at least 10,000 meter-days without a fault, in which no disagreement may be told, and 1,000 meters with each kind
of fault under adequate load, of which 99 % must be found and rightly named. Prints figures; exits with 1 otherwise.
"""

import argparse
import multiprocessing
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("lib", "tests/sim")]

from meter_days import FAULTS, live, rightly_named  # noqa: E402
from parkgate.meters.consistency import diagnosis  # noqa: E402

FULL = 100
SOUND_SAMPLES, FAULTY_SAMPLES = 300, 400
SOUND_METERS, FAULTY_METERS = 110, 10  # a size


def sound(seed):
    """(days, events) of a meter without a fault."""
    events, meter = live(seed, None, SOUND_SAMPLES)
    return SOUND_SAMPLES * meter.period_s / 86400, events


def faulty(task):
    """(fault, whether it was found, whether it was rightly named) of one meter."""
    fault, seed = task
    events, _ = live(seed, fault, FAULTY_SAMPLES)
    return fault, bool(events), rightly_named(fault, events)


def sentences(events):
    """What was told, in words."""
    return [diagnosis.sentence(name, code, *numbers) for name, what, code, *numbers in events if what == 1]


def run(size, seed, out=print, part=1):
    """The figures of a campaign, or of one `part`-th of it: (meter-days, false alarms, {fault: (meters, found,
    named)})."""
    first = seed * 10**7
    seeds = range(first, first + size * SOUND_METERS // part)
    tasks = [(fault, first + n) for fault in FAULTS for n in range(size * FAULTY_METERS // part)]
    days, alarms, figures = 0.0, 0, {fault: [0, 0, 0] for fault in FAULTS}
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for number, (lived, events) in zip(seeds, pool.imap(sound, seeds, 20)):
            days += lived
            if events:
                alarms += 1
                out(f"FALSE ALARM of meter {number}: {'; '.join(sentences(events))}")
        for fault, found, named in pool.imap(faulty, tasks, 20):
            figures[fault][0] += 1
            figures[fault][1] += found
            figures[fault][2] += named
    return days, alarms, figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", type=int)
    parser.add_argument("--fault", choices=tuple(FAULTS))
    args = parser.parse_args()
    if args.replay is not None:
        events, meter = live(args.replay, args.fault, FAULTY_SAMPLES if args.fault else SOUND_SAMPLES)
        print(f"{meter.phases} phases, every {meter.period_s} s, ratio {meter.ratio}: {meter.names}")
        print("\n".join(sentences(events)) or "nothing was told")
        return 0
    began_s = time.monotonic()
    days, alarms, figures = run(args.size, args.seed)
    print(f"without a fault: {args.size * SOUND_METERS} meters, {days:.0f} meter-days, {alarms} false alarms")
    wrong = alarms
    for fault, (meters, found, named) in figures.items():
        print(f"{fault:32} {meters} meters, {found} found, {named} rightly named ({100 * named / meters:.1f} %)")
        wrong += named * 100 < 99 * meters
    print(f"seed {args.seed}, {time.monotonic() - began_s:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

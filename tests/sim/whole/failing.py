"""Let one call of the gateway's code fail, and live on: `python -m tests.sim.whole.failing --size 10`.

A first life lists every call of a function of firmware and library, the bodies of modules included (an import that
fails). Then a life is lived for each chosen call, in which that call raises MemoryError or OSError. The gateway may
restart or begin a task anew. What checker.py asks must hold all the same, but for the one sample that was in flight;
and what failed is in the chain as a crash, or was handled where it happened.
"""

import argparse
import builtins
import logging
import random
import sys
import tempfile
import warnings
from pathlib import Path

from tests.sim.whole import ROOT
from tests.sim.whole.checker import Broken
from tests.sim.whole.machine import HARD_RESET
from tests.sim.whole.world import Plan, World

DAYS = 0.012  # 17 minutes and the hour in which all is well
ERRORS = (MemoryError, lambda: OSError(5, "EIO"))
OWN = (str(ROOT / "firmware"), str(ROOT / "lib"))


class Calls:
    """Counts calls of the gateway's code, by sys.settrace. The one with number `fails` (from 1) raises."""

    def __init__(self, world, fails: int = 0, make_error=MemoryError):
        self.world, self.fails, self.make_error = world, fails, make_error
        self.count = 0
        self.of: dict = {}  # (file, function) → [numbers of its calls]
        self.failed = None

    def __call__(self, frame, event, _argument):
        if event != "call" or frame.f_builtins is builtins.__dict__:
            return
        code = frame.f_code
        if not code.co_filename.startswith(OWN):
            return
        self.count += 1
        if not self.fails:
            self.of.setdefault((code.co_filename, code.co_firstlineno, code.co_name), []).append(self.count)
        elif self.count == self.fails:
            sys.settrace(None)
            self.failed = code.co_name
            self.world.faults_ms.append(self.world.loop.now_us // 1000)
            raise self.make_error()


class FailingWorld(World):
    """A world of one gateway without any other fault. What its program cannot go on with restarts it, as main.py
    does."""

    def falls(self, machine, error):
        self.note("a task ended")
        if machine.life and machine.life.fallen():
            machine.off(HARD_RESET, 1)


def plain_seed() -> int:
    """The first seed of a plan with one gateway, one meter and much to do."""
    for seed in range(10_000):
        plan = Plan(random.Random(seed), ())
        if (plan.gateways, plan.meters, plan.pulses, plan.seal_s, plan.beat_s, plan.source) == (1, 1, 0, 60, 60, None):
            return seed
    raise ValueError("no such seed")


def live(seed: int, fails: int, make_error=MemoryError):
    """(Calls, what was wrong or None, what happened) of one life."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        world = FailingWorld(seed, Path(folder), DAYS, kinds=())
        calls = Calls(world, fails, make_error)
        wrong = None
        sys.settrace(calls)
        try:
            world.run()
            sys.settrace(None)
            world.check()
        except Broken as error:
            wrong = str(error)
        finally:
            sys.settrace(None)
            for machine in world.machines:
                if machine.life:
                    machine.life.close()
            world.hub.store.close()
    return calls, wrong, dict(world.happened)


def chosen(calls: Calls, size: int, draw) -> list:
    """Numbers of calls: of each function its first call, and `size` − 1 more; with size 0 of few functions one."""
    functions = sorted(calls.of)
    if not size:
        return sorted(draw.choice(calls.of[each]) for each in draw.sample(functions, 12))
    numbers = set()
    for each in functions:
        of = calls.of[each]
        numbers.add(of[0])
        numbers.update(draw.sample(of, min(size - 1, len(of))))
    return sorted(numbers)


def quiet() -> None:
    """Nothing of what a gateway's end leaves behind is news here."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore", RuntimeWarning)
    sys.unraisablehook = lambda _found: None


def campaign(size: int, seed: int = 1, tell=print) -> dict:
    """Figures: functions, lives, failures as a list of words."""
    draw = random.Random(seed)
    plain = plain_seed()
    whole, wrong, _ = live(plain, 0)
    if wrong:
        raise Broken(f"without any fault: {wrong}")
    figures: dict = {"functions": len(whole.of), "calls": whole.count, "lives": 0, "restarts": 0, "failures": []}
    for number in chosen(whole, size, draw):
        for make_error in ERRORS if size else (draw.choice(ERRORS),):
            calls, wrong, happened = live(plain, number, make_error)
            figures["lives"] += 1
            figures["restarts"] += happened["start"] - 1
            if calls.failed is None:
                wrong = "the call was never made"
            if wrong:
                where = next(f"{Path(of[0]).name} {of[2]}" for of, numbers in whole.of.items() if number in numbers)
                words = f"call {number} ({where}), {type(make_error()).__name__}: {wrong}"
                figures["failures"].append(words)
                tell(words)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.whole.failing", description=__doc__)
    parser.add_argument(
        "--size", type=int, default=1, help="so many calls of each function; 0: of few functions one (1)"
    )
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    quiet()
    figures = campaign(args.size, args.seed)
    print({**figures, "failures": len(figures["failures"])})
    return 1 if figures["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())

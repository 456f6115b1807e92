"""Cut the power at every flash operation of a gateway's life, recover, compare; and cut the recovery too.

    python -m tests.cuts --size 1              every 64th operation; --size 64 takes every one
    python -m tests.cuts --replay NAME         one state again, by the name that a failure prints

Each geometry gets its own recorded life (tests/sim/journal_world.py) from `--seed`; each operation of it is cut in
every way (tests/sim/journal_cuts.py). Prints what was tried; exits with 1 if the journal broke a promise anywhere.
"""

import argparse
import ast
import importlib.util
import multiprocessing
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("lib", "tests/core", "tests/sim", "firmware")]

import file_store  # noqa: E402
from flash_sim import Chance, FlashSim, ways  # noqa: E402
from journal_cuts import Cuts, Tally  # noqa: E402
from journal_world import World  # noqa: E402

FULL = 64  # the size at which every operation is cut
# On littlefs: name → (blocks, program unit, segments, samples, every how many states one is cut again). These run on
# MicroPython's Unix port.
LITTLEFS = {"littlefs-rp2": (256, 256, 40, 3600, 400), "littlefs-esp32": (240, 32, 40, 3200, 400)}
# In segment files over a model of littlefs, where each commit is done or not: name → (segments, samples of a life,
# lives of the full campaign, every how many states one is cut again)
FILES = {"files-12": (12, 2500, 140, 1), "files-40": (40, 3600, 95, 1)}
# name → (geometry, samples of the full life at least, every how many states one is cut again)
LIVES = {
    "rp2": ((4096, 256, 256), 4500, 10),
    "esp32": ((4096, 240, 32), 12000, 8),
    "small-rp2": ((4096, 12, 256), 3000, 10),
    "small-esp32": ((4096, 12, 32), 5000, 10),
    "story-rp2": ((4096, 10, 256), 1, 6),
    "story-esp32": ((4096, 10, 32), 1, 6),
}


def make_life(name: str, seed: int, samples: int, journal_class=None):
    """The World of one named life, lived through, and the function that makes its journals."""
    if journal_class is None:
        from parkgate.journal.journal import Journal as journal_class
    geometry = LIVES[name][0]
    flash = FlashSim(*geometry)
    flash.trace = []
    epochs = Chance(seed + 1)

    def make_journal(flash):
        return journal_class(flash, lambda: epochs.data(16))

    world = World(flash, make_journal, seed)
    if name.startswith("story"):
        tell_story(world)
    else:
        live(world, geometry, samples)
    return world, make_journal


def make_file_life(name: str, seed: int, samples: int):
    """As `make_life`, in segment files."""
    from parkgate.journal.journal import Journal

    spec = importlib.util.find_spec("hal.segment_files")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    segments = FILES[name][0]
    epochs = Chance(seed + 1)

    def files(store):
        module.os, module.open = store, store.open
        return module.SegmentFiles("journal", segments)

    store = file_store.FileStore()
    store.trace = []
    world = World(files(store), lambda files: Journal(files, lambda: epochs.data(16)), seed, False, store.trace)
    file_store.live(world, samples, segments)
    return world, lambda store: Journal(files(store), lambda: epochs.data(16))


def live(world, geometry, samples: int):
    """Years of a gateway in short: online, offline until space runs out, backlog, lost receipts, a stalled sealer."""
    small = geometry[1] < 64
    filler = 5000 if small else 15000
    # What fills the journal without a hub, in records: batches of 24 samples with up to `filler` bytes beside them.
    fills = geometry[1] * 4096 * 24 // (filler // 2 + 1500)
    while world.appended < samples:
        world.work(min(200, samples), 24, True)
        world.work(min(fills * 5 // 4, samples), 24, False, filler)
        world.work(min(300, samples), 24, True, filler // 4, "newest")
        world.work(min(200, samples), 20, True, 1000, "some")
        world.work(180 if small else 60, 0, False)
        world.work(min(200, samples), 30, True, 500, "all")


def tell_story(world):
    """The rare turns, close together, in a journal of a few sectors."""
    for _ in range(2):
        # The newest are acknowledged, then no receipt comes until the oldest are dropped, and some of those above.
        _seal_many(world, 5, 6, 2500)
        for seq in list(world.journal.held())[-2:]:
            world.acknowledge(seq)
        _seal_many(world, 9, 6, 4000)
        # Several batches in each sector, some of them acknowledged, and then the sector is dropped.
        _seal_many(world, 24, 2, 400)
        for seq in list(world.journal.held())[-7:-1:2]:
            world.acknowledge(seq)
        # Large batches; then nothing is sealed any more, and each receipt comes just before its sector is needed.
        _seal_many(world, 6, 1, 3900)
        for _ in range(110):
            world.sample(40)
            held = world.journal.held()
            if world.journal.needs_erase and held:
                world.acknowledge(held[0])
            world.maintain()
        world.start()
        world.seal(60)
        world.seal(None, 9000)
        for seq in list(world.journal.held()):
            world.acknowledge(seq)


def _seal_many(world, batches, samples, filler):
    for _ in range(batches):
        for _ in range(samples):
            world.sample()
            world.maintain()
        world.seal(None, filler)


def chosen(count: int, size: int, part: int = 0, parts: int = 1):
    """The operations of a life that are cut at this size, for one of several workers."""
    every = max(1, FULL // size)
    return range(part * every, count, every * parts)


_life = None  # the workers are forks: they find the life lived here


def all_cuts(name: str, world, make_journal, failures_max: int = 1) -> Cuts:
    """The Cuts of the life `name`, as `make_life` or `make_file_life` gave it."""
    if name in FILES:
        return Cuts(world, file_store.FileStore, make_journal, failures_max, file_store.one_way)
    return Cuts(world, lambda: FlashSim(*LIVES[name][0]), make_journal, failures_max, ways)


def _cut_part(arguments):
    name, size, part, parts, second_every = arguments
    world, make_journal = _life
    return all_cuts(name, world, make_journal, 3).run(
        chosen(len(world.trace), size, part, parts), second_every, flicker_every=8, damage_every=8
    )


def run(name: str, seed: int, size: int, samples: int, jobs: int) -> Tally:
    """Cut one life; gives what was tried."""
    global _life
    _life = make_life(name, seed, samples)
    # In the long lives a start reads hundreds of headers: below a quarter of the campaign fewer of them are cut again.
    second_every = LIVES[name][2] * (6 if size < FULL // 4 and LIVES[name][0][1] > 64 else 1)
    if jobs == 1:
        return _cut_part((name, size, 0, 1, second_every))
    tally = Tally()
    parts = jobs * 8
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for part in pool.imap_unordered(_cut_part, [(name, size, i, parts, second_every) for i in range(parts)]):
            tally.add(part)
    return tally


def _on_littlefs(name, seed, samples, every, part, parts, state=""):
    """What littlefs_cuts.py prints; a SystemExit with its output when it fails."""
    from host_tools.base import unix_port

    blocks, unit, segments, _, second_every = LITTLEFS[name]
    arguments = [blocks, unit, segments, seed, samples, every, part, parts, second_every, *([state] if state else [])]
    process = unix_port.start(
        ROOT / "tests" / "sim" / "littlefs_cuts.py",
        [str(a) for a in arguments],
        path=[ROOT / folder for folder in ("lib", "tests/sim", "firmware")],
        heapsize="768M",
        stdout=-1,
        stderr=-2,
        text=True,
    )
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{name}, part {part} of {parts}, failed:\n{output}")
    return ast.literal_eval(output.strip().split("\n")[-1])


def run_littlefs(name: str, seed: int, size: int, samples: int, jobs: int) -> dict:
    """Cut one life on littlefs, each part in a process of MicroPython; gives what was tried."""
    total = {}
    parts = max(jobs, size // 4)
    with ThreadPoolExecutor(jobs) as pool:
        futures = [
            pool.submit(_on_littlefs, name, seed, samples, max(1, FULL // size), part, parts) for part in range(parts)
        ]
        for part, future in enumerate(futures):
            for key, value in future.result().items():
                if key in ("states", "seconds", "continued", "operations", "failures"):
                    total[key] = total.get(key, type(value)()) + value
                else:
                    total[key] = value
            if size == FULL:
                print(
                    f"  part {part + 1} of {parts}, so far {total['states']} states, {total['seconds']} double cuts, "
                    f"{len(total['failures'])} failures",
                    flush=True,
                )
    return total


def main_littlefs(name: str, seed: int, size: int, samples: int, jobs: int) -> bool:
    """Run and print one life on littlefs; True when nothing failed."""
    began_s = time.monotonic()
    blocks, unit, segments, usual, _ = LITTLEFS[name]
    samples = samples or usual
    found = run_littlefs(name, seed, size, samples, jobs)
    print(
        f"{name} 4096/{unit} × {blocks}, {segments} segment files, seed {seed}: {found['samples']} samples, "
        f"{found['readings']} readings, {found['dropped']} dropped, {found['trace']} operations; "
        f"cut at {found['operations']} of them: {found['states']} states, {found['seconds']} double cuts, "
        f"{found['continued']} lived on; {len(found['failures'])} failures; {time.monotonic() - began_s:.0f} s",
        flush=True,
    )
    for state, what in found["failures"]:
        print(f'  {what}\n    python -m tests.cuts --replay "{name}:{seed}:{samples}:{state}"')
    return not found["failures"]


def _cut_files(arguments):
    name, seed, samples, every = arguments
    world, make_journal = make_file_life(name, seed, samples)
    tally = all_cuts(name, world, make_journal, 3).run(range(0, len(world.trace), every), FILES[name][3])
    return tally, seed, world.appended, world.readings, len(world.trace), world.moments[-1].counters.dropped


def main_files(name: str, seed: int, size: int, samples: int, jobs: int) -> bool:
    """Run and print the lives of one name in FILES; True when nothing failed."""
    began_s = time.monotonic()
    segments, usual, lives, _ = FILES[name]
    samples = samples or usual
    lives = max(1, lives * size // FULL)
    total = Tally()
    counts = [0] * 4
    tasks = [(name, s, samples, max(1, 8 // size)) for s in range(seed, seed + lives)]
    failures = []
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for tally, of_seed, *more in pool.imap(_cut_files, tasks):
            total.add(tally)
            failures += [(of_seed, *failure) for failure in tally.failures]
            counts = [a + b for a, b in zip(counts, more)]
    print(
        f"{name}, {segments} segment files, seeds {seed} to {seed + lives - 1}: {counts[0]} samples, "
        f"{counts[1]} readings, {counts[3]} dropped, {counts[2]} commits: "
        f"{total.states} states, {total.seconds} double cuts, "
        f"{total.continued} lived on; {len(failures)} failures; {time.monotonic() - began_s:.0f} s",
        flush=True,
    )
    for of_seed, state, what in failures:
        print(f'  {what}\n    python -m tests.cuts --replay "{name}:{of_seed}:{samples}:{state}"')
    return not failures


def replay(text: str) -> int:
    """Do one named state again; its failure comes as a traceback."""
    name, seed, samples, state = text.split(":", 3)
    if name in LITTLEFS:
        _on_littlefs(name, int(seed), int(samples), 1, 0, 1, state)
        print("this state is as it should be")
        return 0
    world, make_journal = (make_file_life if name in FILES else make_life)(name, int(seed), int(samples))
    all_cuts(name, world, make_journal).replay(ast.literal_eval(state))
    print("this state is as it should be")
    return 0


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.cuts", description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=1, help="1 … 64: cut every 64th … every operation (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="of the life and of everything random (default 1)")
    parser.add_argument(
        "--life", choices=sorted({**LIVES, **FILES, **LITTLEFS}), action="append", help="only this one (default: all)"
    )
    parser.add_argument("--samples", type=int, help="length of the life (default: as for the full campaign)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--replay", metavar="NAME", help="one state again")
    arguments = parser.parse_args()
    if arguments.replay:
        return replay(arguments.replay)
    failed = False
    for name in arguments.life or [*LIVES, *FILES, *LITTLEFS]:
        if name not in LIVES:
            main_of_kind = main_files if name in FILES else main_littlefs
            good = main_of_kind(name, arguments.seed, arguments.size, arguments.samples, arguments.jobs)
            failed = failed or not good
            continue
        geometry, samples, _ = LIVES[name]
        samples = arguments.samples or samples
        began_s = time.monotonic()
        tally = run(name, arguments.seed, arguments.size, samples, arguments.jobs)
        world = _life[0]
        seconds = time.monotonic() - began_s
        print(
            f"{name} {geometry[0]}/{geometry[2]} × {geometry[1]}, seed {arguments.seed}: {world.appended} samples, "
            f"{world.readings} readings, {len(world.batches)} batches, {world.moments[-1].counters.dropped} dropped, "
            f"{world.restarts} starts, {len(world.trace)} operations; cut at {tally.operations} of them: "
            f"{tally.states} states, {tally.seconds} double cuts, {tally.flickers} flickers, "
            f"{tally.damages} flipped bits, {tally.continued} lived on; "
            f"{len(tally.failures)} failures; {seconds:.0f} s",
            flush=True,
        )
        for state, what in tally.failures:
            failed = True
            print(f'  {what}\n    python -m tests.cuts --replay "{name}:{arguments.seed}:{samples}:{state}"')
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

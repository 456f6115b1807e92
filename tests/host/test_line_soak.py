"""No value is wrong on lines where everything goes wrong: the gateway's own code in virtual time, tests/sim/line_world.

`make soak SIZE=n` is the long form: n × 100,000 exchanges from a seed of its own, printed; `python -m
tests.host.test_line_soak --seed 1234 --worlds 1` plays one world again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "sim"), str(ROOT / "firmware"), str(ROOT / "lib")]

from line_world import World, soak  # noqa: E402
from parkgate.meters.modbus import debts  # noqa: E402
from parkgate.meters.modbus.client import Client  # noqa: E402

EXCHANGES = 12_000


def test_no_value_is_wrong_in_the_short_form():
    result = soak(EXCHANGES, 1)
    assert not result.bad(), (result.wrong + result.lost)[:5]
    assert result.good > result.readings // 3
    assert min(result.late, result.doubled, result.foreign, result.echoes, result.collisions, result.refused) > 30


@pytest.mark.parametrize(
    "seed", [85, 256, 418, 1473, 61515, 700637, 700680, 700915, 3000381, 5000897, 5004884, 6000652]
)
def test_worlds_that_once_went_wrong(seed):
    result = soak(0, seed, worlds=1)
    assert not result.wrong and not result.lost


def never_drained(monkeypatch):
    """Nobody reads the receiver between exchanges."""
    monkeypatch.setattr(World, "drain", lambda self: b"")
    monkeypatch.setattr(Client, "sent", lambda self, early, t_us: None)

    async def read(self, timeout_ms, original=World.read):
        self.drain = lambda: World_drain(self)
        try:
            return await original(self, timeout_ms)
        finally:
            del self.drain

    World_drain = DRAIN
    monkeypatch.setattr(World, "read", read)


DRAIN = World.drain


def no_debts(monkeypatch):
    """What a unit owes is forgotten."""
    monkeypatch.setattr(debts.Unit, "owe", lambda *_: None)


def time_ends_debts(monkeypatch):
    """A debt ends by time alone, after a second."""
    monkeypatch.setattr(debts, "_FRESH", -1)


def owed_for_ever(monkeypatch):
    """A read that is owed is never asked again, not even as a probe."""
    monkeypatch.setattr(debts.Unit, "may_probe", lambda self, shape, *_: not self._owes(shape))
    monkeypatch.setattr(debts, "_PROBE_COUNT_MAX", 4)


def no_crc(monkeypatch):
    """A frame is taken by its head and length."""
    monkeypatch.setattr("parkgate.meters.modbus.client.crc16", lambda *_: 0)


def early_bytes_count(monkeypatch):
    """What had come before the request was out is searched for the reply as well."""

    def sent(self, early, t_us):
        self.receive(early, t_us)

    monkeypatch.setattr(Client, "sent", sent)


def copies_are_not_noticed(monkeypatch):
    """A reply frame that nobody asked for means nothing, nor do the bytes of a reply shortly before."""
    monkeypatch.setattr(debts.Unit, "unasked", lambda *_: None)
    monkeypatch.setattr(debts.Unit, "came", lambda *_: False)


@pytest.mark.parametrize("plant", [never_drained, no_debts, no_crc, copies_are_not_noticed, owed_for_ever])
def test_planted_faults_are_found(plant, monkeypatch):
    plant(monkeypatch)
    assert soak(EXCHANGES, 1, until_wrong=True).bad()


def main() -> int:
    """Play worlds, say what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument("--exchanges", type=int, default=100_000)
    parser.add_argument("--worlds", type=int, help="play so many worlds instead")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    began_s = time.perf_counter()
    result = soak(args.exchanges, args.seed, worlds=args.worlds)
    for line in (result.wrong + result.lost)[:20]:
        print(line)
    counted = ", ".join(f"{name} {value}" for name, value in vars(result).items() if not isinstance(value, list))
    print(f"{len(result.wrong)} wrong values, {len(result.lost)} meters that never came back; {counted}")
    print(f"{time.perf_counter() - began_s:.0f} s")
    return 1 if result.bad() else 0


if __name__ == "__main__":
    raise SystemExit(main())

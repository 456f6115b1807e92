"""A line in virtual time that does everything at once: no wrong value, and each rule of the client is needed."""

import os

import pytest

import dlt645_soak as soak
from parkgate.meters.dlt645 import client as module
from parkgate.meters.dlt645.client import Client
from parkgate.meters.dlt645.unit import Unit

SIZE = int(os.environ.get("PARKGATE_FUZZ_SIZE", "0"))
EXCHANGES = 200_000 * SIZE or 12_000
FOUND_WITHIN = 60_000


def test_no_value_is_of_another_question_or_time():
    result = soak.run(EXCHANGES, seed=20261127 + SIZE)
    assert result.wrong == []
    assert result.uncounted == 0
    assert result.credited > 0.4 * result.exchanges
    assert result.refused > 0.01 * result.exchanges
    assert result.by_chance <= 3 + result.exchanges // 2000  # what a checksum of 8 bits lets through


class NoDebts(Unit):
    __slots__ = ()

    def owe(self, shape, t_us, ours=True):
        pass


class NoGuard(Unit):
    """One answer to anything pays for everything, at once."""

    __slots__ = ()

    def forget(self, t_us, hold_off_us, late_guard_us, again_us):
        super().forget(t_us, hold_off_us, 0, again_us)


class ShortHoldOff(Unit):
    __slots__ = ()

    def forget(self, t_us, hold_off_us, late_guard_us, again_us):
        super().forget(t_us, hold_off_us // 4, late_guard_us, again_us)


class AnyAddress(Client):
    def _answers(self, control, address, shape):
        return shape == self._shape


class AnyIdentifier(Client):
    def _answers(self, control, address, shape):
        return super()._answers(control, address, self._shape)


class NobodyElse(Client):
    """What other clients ask is nothing to us."""

    def _judge_request(self, start, length, address, control, t_us):
        pass


class EchoAtAnyTime(Client):
    """Every frame like our request is our echo."""

    def _judge_request(self, start, length, address, control, t_us):
        self._echoed, self._sent_us = False, t_us
        super()._judge_request(start, length, address, control, t_us)


class RefusalsWithoutDoubt(Client):
    def _credit(self, control, address, content, t_us):
        debts, refused_us = self._unit.debts, self._unit.refused_us
        if control & 0x40:
            self._unit.debts, self._unit.refused_us = [], None
        event = super()._credit(control, address, content, t_us)
        if control & 0x40:
            self._unit.debts, self._unit.refused_us = debts, refused_us
        return event


class AtOnceAgain(Client):
    """The same identifier may be asked again at once."""

    def __init__(self, *args, **options):
        super().__init__(*args, **{**options, "again_us": 0})


def no_checksum(data, start, end):
    left = end - start
    if data[start] != 0x68 or (left > 7 and data[start + 7] != 0x68):
        return 0
    if left < 10 or left < 12 + data[start + 9]:
        return -1
    return 12 + data[start + 9]


PLANTED = {
    "no debts": ("Unit", NoDebts),
    "no guard": ("Unit", NoGuard),
    "hold-off too short": ("Unit", ShortHoldOff),
    "address not compared": ("", AnyAddress),
    "identifier not compared": ("", AnyIdentifier),
    "other clients not heard": ("", NobodyElse),
    "echo at any time": ("", EchoAtAnyTime),
    "refusals never doubted": ("", RefusalsWithoutDoubt),
    "asked again at once": ("", AtOnceAgain),
    "checksum not checked": ("frame_length", no_checksum),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(monkeypatch, bug):
    name, what = PLANTED[bug]
    if name:
        monkeypatch.setattr(module, name, what)
    result = soak.run(FOUND_WITHIN, 1, Client if name else what, stop_at_wrong=True)
    assert result.wrong or result.by_chance > 100, f"{bug}: nothing seen in {result.exchanges} exchanges"

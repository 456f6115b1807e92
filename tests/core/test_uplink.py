"""The way to the hub: what waits for what."""

import asyncio

from check import equal
from gateway import uplink


class Loop:
    """asyncio that counts its waits instead of waiting."""

    def __init__(self):
        self.waits = 0

    async def sleep_ms(self, _ms):
        self.waits += 1


class Console:
    """In use for so many looks."""

    def __init__(self, looks):
        self.looks = looks

    def is_open(self):
        self.looks -= 1
        return self.looks >= 0


class Gateway:
    """Of the App, what a word of the hub's log needs."""

    def __init__(self, console):
        self.console = console
        self.taken = []

    async def look_into_log(self, message):
        self.taken.append(message)


def waits_before(gateway):
    """How often it waits before it looks into a message."""
    loop = Loop()
    real, uplink.asyncio = uplink.asyncio, loop
    try:
        asyncio.run(uplink.Uplink(gateway)._look_into(b"word"))
    finally:
        uplink.asyncio = real
    equal(gateway.taken, [b"word"])
    return loop.waits


def test_a_word_of_the_log_waits_for_the_console():
    for looks in (0, 1, 7):
        equal(waits_before(Gateway(Console(looks))), looks)


def test_it_waits_five_minutes_at_most():
    equal(waits_before(Gateway(Console(10**9))), 300)


def test_without_a_console_it_does_not_wait():
    equal(waits_before(Gateway(None)), 0)

"""What must not hold up the first sample, nor any later one: the receipts' key and the steps of TLS."""

import asyncio

import gateway.waiting
from check import equal, raises, true
from enrolled import known_hub
from gateway.waiting import QUIET_WAIT_MS, until_quiet
from parkgate.errors import IntegrityError
from parkgate.wire import cose, receipt
from parkgate.wire.p256 import SoftwareSigner, ecdh, public_key
from tasks.sample import Sampler

GATEWAY, HUB = bytes(31) + b"\x05", bytes(31) + b"\x07"
GATEWAY_ID = cose.thumbprint(public_key(GATEWAY))
MESSAGE = (bytes(16), 3, bytes(32), 1793491200000)


class Log:
    def __init__(self):
        self.said = []

    def error(self, who, text):
        self.said.append(text)

    info = error


class CountingSigner(SoftwareSigner):
    made = 0

    def ecdh_steps(self, xy64):
        self.made += 1
        return SoftwareSigner.ecdh_steps(self, xy64)


def test_the_receipts_key_is_made_when_it_is_wanted_and_once():
    signer = CountingSigner(GATEWAY)
    hub = known_hub(public_key(HUB).hex(), signer, GATEWAY_ID, Log())
    equal(signer.made, 0, "at the start")
    equal(hub.id, cose.thumbprint(public_key(HUB)))
    key = receipt.shared_key(ecdh(HUB, public_key(GATEWAY)), GATEWAY_ID, hub.id)
    sealed = receipt.encode_receipt(key, hub.id, GATEWAY_ID, *MESSAGE)
    true(len(list(hub.key_steps())) > 100, "in short steps")
    for _ in range(2):
        equal(hub.open_receipt(sealed), MESSAGE)
    equal(signer.made, 1)
    raises(IntegrityError, hub.open_receipt, sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_a_receipt_by_cable_needs_no_step_before():
    hub = known_hub(public_key(HUB).hex(), SoftwareSigner(GATEWAY), GATEWAY_ID, Log())
    key = receipt.shared_key(ecdh(HUB, public_key(GATEWAY)), GATEWAY_ID, hub.id)
    equal(hub.open_receipt(receipt.encode_receipt(key, hub.id, GATEWAY_ID, *MESSAGE)), MESSAGE)


def test_no_hub_is_said():
    for wrong in ("", "11" * 64):
        log = Log()
        equal(known_hub(wrong, SoftwareSigner(GATEWAY), GATEWAY_ID, log), None)
        equal(len(log.said), 1)


class Bus:
    """One sampler: 200 ms of work in each second. Its clock goes on when the loop sleeps."""

    def __init__(self, busy=False):
        self.now_ms = 0
        self.busy = busy

    def quiet_ms(self, _flash=True):
        at = self.now_ms % 1000
        return 0 if self.busy or at < 200 else 1000 - at

    async def sleep_ms(self, ms):
        self.now_ms += ms


def waited(bus, start_ms, *wanted):
    bus.now_ms = start_ms
    before, gateway.waiting.asyncio = gateway.waiting.asyncio, bus
    try:
        asyncio.run(until_quiet([bus], *wanted))
    finally:
        gateway.waiting.asyncio = before
    return bus.now_ms - start_ms


def test_a_step_of_tls_begins_right_after_a_sample():
    equal(waited(Bus(), 0, 700, 10), 200)
    equal(waited(Bus(), 250, 700, 10), 0, "700 ms are left")
    equal(waited(Bus(), 400, 700, 10), 800, "not enough is left: after the next one")
    equal(waited(Bus(), 400), 0, "but enough to write flash")
    equal(waited(Bus(busy=True), 0, 700, 10), QUIET_WAIT_MS, "not for ever")


class Sensor:
    """Read once a second."""

    period_ms, name, channels, report, taken_ms = 1000, "air", 1, None, None


def test_a_step_of_tls_waits_for_a_sensor_that_lets_flash_be_written():
    def sampler(shared, idle):
        made = Sampler([Sensor()], None, None, lambda: now_ms, None, shared, idle)
        made.begin()
        made._schedule.done(0, True, now_ms)
        return made

    for shared, idle in ((False, None), (True, False)):
        now_ms = 5000
        each = sampler(shared, idle)
        now_ms = 5400
        equal((each.quiet_ms(), each.quiet_ms(False)), (1000, 600), "an erase may come at any time")
        now_ms = 6000
        equal((each.quiet_ms(), each.quiet_ms(False)), (1000, 0))
    now_ms = 5000
    bus = sampler(True, None)
    now_ms = 5400
    equal((bus.quiet_ms(), bus.quiet_ms(False)), (600, 600))

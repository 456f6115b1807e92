"""What `link test` makes of the receipts, or of their silence."""

import asyncio

from check import equal, raises
from parkgate.errors import LinkError, SettingsError
from tasks import console_test


class Gateway:
    """As much of the App as the step needs; the receipt came `silent_s` ago, None: never."""

    hub = True
    sender = None
    settings = {"sealing": {"period_s": 60}, "sending": {"receipt_timeout_s": 15}}

    def __init__(self, silent_s, held, unsealed=0):
        self.receipt_ms = None if silent_s is None else 1000000 - silent_s * 1000
        self.journal = self
        self.unsealed_records = unsealed
        self._held = held

    def mono_ms(self):
        return 1000000

    def held(self):
        return range(self._held)


def step(gateway):
    return asyncio.run(console_test.Tests(gateway)._receipt())


def test_receipts_that_come_and_receipts_that_do_not():
    equal(step(Gateway(5, 2)), "ok, the last one came 5 s ago")
    equal(step(Gateway(105, 2)), "ok, the last one came 105 s ago")
    equal(step(Gateway(900, 0)), "ok, the last one came 900 s ago", "a long pause with nothing to send")
    equal(str(raises(LinkError, step, Gateway(106, 2))), "the last one came 106 s ago, 2 batches wait")
    equal(step(Gateway(None, 0)), "nothing waits for one")
    raises(LinkError, step, Gateway(None, 0, 1))
    raises(LinkError, step, Gateway(None, 3))


def test_a_receipt_of_before_is_no_connection():
    class Sender:
        connected = False

    gateway = Gateway(5, 2)
    gateway.sender = Sender()
    text = str(raises(LinkError, step, gateway))
    equal(text, "not connected just now, 2 batches wait; it tries again within a minute")
    gateway.sender.connected = True
    equal(step(gateway), "ok, the last one came 5 s ago")


def test_without_a_hub():
    gateway = Gateway(5, 0)
    gateway.hub = None
    raises(SettingsError, step, gateway)

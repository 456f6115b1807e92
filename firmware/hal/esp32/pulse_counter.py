"""Pulses of a contact on an ESP32: interrupts debounce it, the pulse counter unit is the witness.

The unit's filter takes spikes of up to 12 µs only, so what it counts are pulses *and* bounces. What counts here is the
contact's clean level (parkgate/sensing/debounce.py). But interrupts wait while flash is erased: of a pulse that begins
and ends meanwhile, one interrupt comes when all is over. If it is alone, finds the contact open, and the unit has seen
a closing, it counts as one pulse.
"""

import time

from machine import Counter, Pin

from parkgate.errors import SettingsError
from parkgate.sensing.debounce import WRAP, Debounce

_FILTER_NS = 12000
_UNITS = 4  # ESP32-S3 has four, ESP32 eight


class PulseCounter:
    """`unit` is the number of a free unit, `number` the pin. Counts from its making; `value` is to be asked more often
    than every 17 minutes."""

    modulo = 1 << 30

    def __init__(self, unit: int, number: int, debounce_us: int):
        if unit >= _UNITS:
            raise SettingsError("this board counts pulses on at most %d inputs" % _UNITS)
        contact = Pin(number, Pin.IN, Pin.PULL_UP)
        self._contact = contact
        self._counter = Counter(unit, contact, edge=Counter.FALLING, filter_ns=_FILTER_NS)
        self._edges = 0
        self._count = 0
        self._hold_us = debounce_us
        self._heard_us = 0  # when the last interrupt came
        self._unseen = False  # one came alone and found the contact open already
        self._debounce = Debounce(0, debounce_us, debounce_us // 2)
        if not contact.value():
            self._debounce.begin(1)  # closed before we looked: its beginning was not seen
        contact.irq(self._hit, Pin.IRQ_RISING | Pin.IRQ_FALLING)

    def _hit(self, _):
        now_us = time.ticks_us() & WRAP  # pyright: ignore[reportOperatorIssue]
        debounce = self._debounce
        level = 1 - self._contact.value()
        if debounce.edge(now_us, level):
            self._count += debounce.level
        elif not level and not debounce.level and (now_us - self._heard_us) & WRAP >= self._hold_us:
            self._unseen = True
        self._heard_us = now_us

    def value(self) -> int:
        """Pulses since it was made, modulo `modulo`."""
        if self._debounce.settle(time.ticks_us() & WRAP):  # pyright: ignore[reportOperatorIssue]
            self._count += self._debounce.level
        edges = self._counter.value()
        if self._unseen and edges != self._edges:
            self._count += 1
        self._unseen = False
        self._edges = edges
        return self._count % self.modulo

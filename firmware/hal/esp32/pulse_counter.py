"""Pulses of a contact counted by ESP32's pulse counter unit. Its filter takes spikes of up to 12 µs only: a contact
that bounces needs a capacitor of 10 nF or more beside its pull-up."""

from machine import Counter, Pin

from parkgate.errors import SettingsError

_FILTER_NS = 12000
_UNITS = 4  # ESP32-S3 has four, ESP32 eight


class PulseCounter:
    """`unit` is the number of a free unit, `number` the pin. Counts from its making."""

    modulo = 1 << 30

    def __init__(self, unit: int, number: int):
        if unit >= _UNITS:
            raise SettingsError("this board counts pulses on at most %d inputs" % _UNITS)
        contact = Pin(number, Pin.IN, Pin.PULL_UP)
        self._counter = Counter(unit, contact, edge=Counter.FALLING, filter_ns=_FILTER_NS)

    def value(self) -> int:
        """Pulses since it was made, modulo `modulo`."""
        return self._counter.value() % self.modulo

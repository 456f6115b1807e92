# ruff: noqa: F821
# pyright: reportUndefinedVariable=false
"""Pulses of a contact counted by a PIO state machine: it goes on while flash is erased and all interrupts wait.

A pulse counts when the contact has been closed, and after it open, for the whole of the debouncing time.
"""

import rp2
from machine import Pin

from parkgate.errors import SettingsError

_TURNS = 32  # looks at the pin while it must be at rest, two cycles each
_LOWEST_HZ = 2000  # a state machine cannot run slower
_MACHINES = 8


@rp2.asm_pio()
def _count():
    # No `wait`: value() puts an instruction in between, and a machine that stands still would lose its place.
    wrap_target()
    label("closed")  # at the start as well: of a contact that is closed then, the beginning was not seen
    jmp(pin, "rest")
    jmp("closed")
    label("rest")
    set(y, 31)
    label("opening")
    jmp(pin, "still")
    jmp("closed")
    label("still")
    jmp(y_dec, "opening")
    label("open")
    jmp(pin, "open")
    set(y, 31)
    label("closing")
    jmp(pin, "open")
    jmp(y_dec, "closing")
    jmp(x_dec, "closed")  # x counts down from 0; where it does not jump, it wraps to the same place
    wrap()


class PulseCounter:
    """`machine` is the number of a free state machine, `number` the pin. Counts from its making."""

    modulo = 1 << 30

    def __init__(self, machine: int, number: int, debounce_us: int):
        if machine >= _MACHINES:
            raise SettingsError("this board counts pulses on at most %d inputs" % _MACHINES)
        contact = Pin(number, Pin.IN, Pin.PULL_UP)
        frequency = min(max(_LOWEST_HZ, 2 * _TURNS * 1000000 // max(debounce_us, 1)), 1000000)
        self._machine = rp2.StateMachine(machine, _count, freq=frequency, in_base=contact, jmp_pin=contact)
        self._machine.exec("set(x, 0)")
        self._machine.active(1)

    def value(self) -> int:
        """Pulses since it was made, modulo `modulo`."""
        self._machine.exec("mov(isr, x)")
        self._machine.exec("push(noblock)")
        return -self._machine.get() % self.modulo

# ruff: noqa: F821
# pyright: reportUndefinedVariable=false
"""Pulses of a contact counted by a PIO state machine: it goes on while flash is erased and all interrupts wait.

The rule is that of parkgate/sensing/debounce.py with a rest of half the debouncing time: after its first edge the
contact is left alone for half of the time, then it must be at rest for the other half. Where it goes back to its old
level for the whole time, nothing has happened.
"""

import rp2
from machine import Pin

from parkgate.errors import SettingsError

_CYCLES = 128  # of the state machine in the debouncing time: 16 looks of 4 cycles, twice
_LOWEST_HZ = 2000  # a state machine cannot run slower
_HIGHEST_HZ = 1000000
_DEBOUNCE_US_MAX = 64000  # at the lowest rate
_MACHINES = 8


@rp2.asm_pio()
def _count():
    # No `wait`: value() puts an instruction in between, and a machine that stands still would lose its place.
    wrap_target()
    label("closed")  # at the start as well: of a contact that is closed then, the beginning was not seen
    jmp(pin, "opening")
    jmp("closed")
    label("opening")
    set(y, 15)
    label("opening_blind")
    jmp(y_dec, "opening_blind")[3]
    label("opening_again")
    set(y, 15)
    label("opening_rest")
    jmp(pin, "opening_still")
    set(y, 31)
    label("closed_again")
    jmp(pin, "opening_again")[1]
    jmp(y_dec, "closed_again")[1]
    jmp("closed")
    label("opening_still")
    jmp(y_dec, "opening_rest")[2]
    label("open")
    jmp(pin, "open")
    set(y, 15)
    label("closing_blind")
    jmp(y_dec, "closing_blind")[3]
    label("closing_again")
    set(y, 15)
    label("closing_rest")
    jmp(pin, "open_again")
    jmp(y_dec, "closing_rest")[2]
    jmp(x_dec, "closed")  # x counts down from 0; where it does not jump, it goes to the same place
    jmp("closed")
    label("open_again")
    set(y, 31)
    label("open_look")
    jmp(pin, "open_still")
    jmp("closing_again")
    label("open_still")
    jmp(y_dec, "open_look")[2]
    jmp("open")
    wrap()


class PulseCounter:
    """`machine` is the number of a free state machine, `number` the pin. Counts from its making."""

    modulo = 1 << 30

    def __init__(self, machine: int, number: int, debounce_us: int):
        if machine >= _MACHINES:
            raise SettingsError("this board counts pulses on at most %d inputs" % _MACHINES)
        if debounce_us > _DEBOUNCE_US_MAX:
            raise SettingsError("debounce_us: this board debounces for at most %d us" % _DEBOUNCE_US_MAX)
        contact = Pin(number, Pin.IN, Pin.PULL_UP)
        frequency = min(max(_LOWEST_HZ, _CYCLES * 1000000 // max(debounce_us, 1)), _HIGHEST_HZ)
        self._machine = rp2.StateMachine(machine, _count, freq=frequency, in_base=contact, jmp_pin=contact)
        self._machine.exec("set(x, 0)")
        self._machine.active(1)

    def value(self) -> int:
        """Pulses since it was made, modulo `modulo`."""
        self._machine.exec("mov(isr, x)")
        self._machine.exec("push(noblock)")
        return -self._machine.get() % self.modulo

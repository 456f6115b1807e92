"""Contacts and analogue inputs of a board, made when a setting names them."""

import asyncio
import time

from machine import ADC, Pin, Timer

_LOOK_MS = 5
_ETIMEDOUT = 110
_RATE_HZ = 2000  # 40 samples of a cycle at 50 Hz


class Contact:
    """A contact to ground with the board's pull-up: value() is 1 while it is closed. `options` go to Pin.irq."""

    def __init__(self, number: int, options: dict):
        self._pin = Pin(number, Pin.IN, Pin.PULL_UP)
        self._options = options
        self._handler = None

    def value(self) -> int:
        return 1 - self._pin.value()

    def on_edge(self, handler):
        """Call handler() at each edge, in the interrupt where the port can."""
        self._handler = handler
        self._pin.irq(handler=self._hit, trigger=Pin.IRQ_RISING | Pin.IRQ_FALLING, **self._options)

    def _hit(self, _):
        assert self._handler is not None
        self._handler()


class AnalogueInput:
    """One ADC pin. A timer takes the samples, so that the event loop goes on; `timer` is its number."""

    rate_hz = _RATE_HZ

    def __init__(self, number: int, timer: int):
        self._adc = ADC(Pin(number))
        self._timer_number = timer
        self._buffer = None
        self._at = 0

    async def burst(self, buffer):
        """Fill `buffer` (array "H") with samples 1/rate_hz apart. Raises OSError when the timer does not keep up."""
        self._buffer, self._at = buffer, 0
        deadline = time.ticks_add(time.ticks_ms(), 2 * 1000 * len(buffer) // _RATE_HZ + 100)
        timer = Timer(self._timer_number, freq=_RATE_HZ, mode=Timer.PERIODIC, callback=self._take)
        try:
            while self._at < len(buffer):
                if time.ticks_diff(deadline, time.ticks_ms()) <= 0:
                    raise OSError(_ETIMEDOUT)
                await asyncio.sleep_ms(_LOOK_MS)
        finally:
            timer.deinit()

    def _take(self, _):
        at = self._at
        assert self._buffer is not None
        if at < len(self._buffer):
            self._buffer[at] = self._adc.read_u16()
            self._at = at + 1

"""Digital inputs by interrupt: edges with the time they came, and pulses of a contact. Nothing here allocates inside
an interrupt; `pin` has `value()` (1 while active) and `on_edge(handler)`, which calls handler() at each edge."""

from array import array

from parkgate.sensing.debounce import Debounce

WRAP = (1 << 30) - 1


class Edges:
    """A ring of edges, stamped in the interrupt. `ticks_ms` may wrap at 2^30."""

    def __init__(self, pin, ticks_ms, room: int = 32):
        self._pin = pin
        self._ticks_ms = ticks_ms
        self._times = array("I", bytes(4 * room))
        self._levels = bytearray(room)
        self._room = room
        self._written = self._read = 0
        self.overflows = 0

    def start(self) -> int:
        """Begin to listen; the level now."""
        level = self._pin.value()
        self._pin.on_edge(self._hit)
        return level

    def level(self) -> int:
        return self._pin.value()

    def _hit(self):
        following = (self._written + 1) % self._room
        if following == self._read:
            self.overflows += 1
            return
        self._times[self._written] = self._ticks_ms() & WRAP
        self._levels[self._written] = self._pin.value()
        self._written = following

    def next(self):
        """(ticks_ms, level after it) of the oldest edge not yet taken, or None."""
        at = self._read
        if at == self._written:
            return None
        edge = self._times[at], self._levels[at]
        self._read = (at + 1) % self._room
        return edge


class EdgeCounter:
    """A pulse counter for a board that has none in hardware. A pulse counts when its contact began to close
    `debounce_us` ago and has been at rest for half of that; `ticks_us` may wrap at 2^30. Interrupts wait while flash is
    erased (45 ms on RP2040): a pulse that begins and ends within it is not seen here."""

    modulo = 1 << 30

    def __init__(self, pin, ticks_us, debounce_us: int):
        self._pin = pin
        self._ticks_us = ticks_us
        self._debounce = Debounce(0, debounce_us, debounce_us // 2)
        self._count = 0
        self._started = self._looking = self._missed = False

    def value(self) -> int:
        """Pulses since the first call, modulo `modulo`. To be asked more often than every 17 minutes (2^30 µs)."""
        if not self._started:
            self._started = True
            self._pin.on_edge(self._hit)
            if self._pin.value():
                self._debounce.begin(1)  # closed before we looked: its beginning was not seen
            return 0
        self._looking = True  # an interrupt in here would count the same change twice
        if self._debounce.settle(self._ticks_us() & WRAP) and self._debounce.level:
            self._count = (self._count + 1) & WRAP
        self._looking = False
        if self._missed:
            self._missed = False
            self._hit()
        return self._count

    def _hit(self):
        if self._looking:
            self._missed = True
        elif self._debounce.edge(self._ticks_us() & WRAP, self._pin.value()) and self._debounce.level:
            self._count = (self._count + 1) & WRAP

"""Serial lines that do not wait for flash, as on RP2040: while a sector is erased or a page programmed all interrupts
stand still, the hardware FIFO takes 32 bytes a line, and what comes after them is gone.

Time is virtual, in µs. Each `Line` polls its meter with a period; the meter answers after a turnaround, byte by byte at
the line's speed (11 bits a byte). `StallingFlash` is a FlashSim whose erases and programs let time pass with interrupts
off. Chips erase a sector in 45 ms, some in 400; `erase_us` says which this one is.
"""

from flash_sim import PAGE_US, FlashSim

FIFO_BYTES = 32
REQUEST_BYTES = 8
TURNAROUND_US = 20000


class World:
    """The time, and the lines on which bytes arrive whether or not somebody listens."""

    def __init__(self):
        self.now_us = 0
        self.lines = []

    def pass_us(self, us: int, deaf: bool = False):
        """Let time pass; `deaf` with interrupts off."""
        self.now_us += us
        for line in self.lines:
            line.receive(deaf)

    def quiet_ms(self) -> int:
        """Milliseconds until a line has something to do; 0 while one is at work."""
        return max(0, min(line.idle_until_us() for line in self.lines) - self.now_us) // 1000


class Line:
    """One RS-485 line with one meter, whose replies have `reply_bytes`."""

    def __init__(self, world: World, baud: int, period_us: int, first_us: int, reply_bytes: int):
        self.world = world
        self.byte_us = 11 * 1000000 // baud
        self.period_us = period_us
        self.reply_bytes = reply_bytes
        self.poll_us = first_us
        self.fifo = self.arrived = self.received = self.lost = self.replies = self.late = 0
        self.reply_us = -1
        world.lines.append(self)

    def idle_until_us(self) -> int:
        """When it must be served next; now while a reply is due or on its way."""
        return self.world.now_us if self.reply_us >= 0 else self.poll_us

    def serve(self):
        """Send the next request if it is time; True when a whole reply is in."""
        now_us = self.world.now_us
        if self.reply_us < 0:
            if now_us >= self.poll_us:
                self.late = max(self.late, now_us - self.poll_us)
                self.reply_us = now_us + REQUEST_BYTES * self.byte_us + TURNAROUND_US
                self.poll_us += self.period_us
                self.arrived = self.received = 0
            return False
        if self.arrived < self.reply_bytes:
            return False
        self.reply_us = -1
        self.replies += 1
        return True

    def receive(self, deaf: bool):
        """Take what has arrived up to now; with interrupts off it stays in the FIFO, as far as that goes."""
        if self.reply_us < 0:
            return
        arrived = min(self.reply_bytes, max(0, (self.world.now_us - self.reply_us) // self.byte_us))
        self.fifo += arrived - self.arrived
        self.arrived = arrived
        if deaf and self.fifo > FIFO_BYTES:
            self.lost += self.fifo - FIFO_BYTES
            self.fifo = FIFO_BYTES
        if not deaf:
            self.received += self.fifo
            self.fifo = 0


class StallingFlash(FlashSim):
    """Flash that lets time pass in `world`, deaf."""

    def __init__(self, world: World, erase_us: int, sector_count: int = 64):
        super().__init__(4096, sector_count, 256)
        self.world = world
        self.erase_us = erase_us

    def program(self, address, data):
        """As FlashSim, a page at a time."""
        for at in range(0, len(data), 256):
            super().program(address + at, data[at : at + 256])
            self.world.pass_us(PAGE_US, True)
            self.world.pass_us(0)

    def erase(self, sector):
        """As FlashSim."""
        super().erase(sector)
        self.world.pass_us(self.erase_us, True)
        self.world.pass_us(0)

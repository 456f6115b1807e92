"""What every instrument that is not a Modbus meter has in common."""

STUCK_FRAMES = 1000


class Sensor:
    """`profile` says in words what the readings depend on and travels in the schema; `rows` are (quantity, scale), one
    a channel, scale None for the quantity's own. `index` is the place in the schema and `report` a
    reduction.Reporter, both given when the gateway is put together. `taken_ms` is when the last sample was acquired
    (None: when read() returned). `waits` is False where read() never waits for the hardware: all such sensors are read
    together, the others one by one on each port."""

    report = None
    waits = True
    index = None
    taken_ms = None

    def __init__(self, name: str, period_ms: int, profile: str, *rows):
        self.name = name
        self.period_ms = period_ms
        self.profile = profile
        self.channels = len(rows)
        self._rows = rows

    def schema(self) -> list:
        """[[quantity, unit, scale], …] of the channels, as a batch's schema wants it."""
        from parkgate import quantities  # needed at the start only, and large: not kept

        channels = []
        for name, scale in self._rows:
            quantity = quantities.find(name)
            channels.append([name, quantity.unit, quantity.scale if scale is None else scale])
        return channels

    def watch_frames(self, size: int):
        """Room for what is_stuck() remembers of frames of this size."""
        self._frame_before = bytearray(size)
        self._same = self.stale_frames = 0

    def is_stuck(self, frame) -> bool:
        """Whether the raw `frame` has been the same, bit by bit, STUCK_FRAMES times: a converter whose last digits are
        noise does not do that, one that hangs does. For drivers that call `watch_frames` when they are made."""
        if frame != self._frame_before:
            self._frame_before[:] = frame
            self._same = 0
        self._same += 1
        if self._same < STUCK_FRAMES:
            return False
        self.stale_frames += 1
        return True

    def failed(self, quality: int):
        """The sample of a sensor that gave nothing."""
        return [None] * self.channels, bytes([quality]) * self.channels


async def in_steps(steps, sleep_ms):
    """Drive a generator of short steps, letting the other tasks run between them; its return value."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        await sleep_ms(0)

"""How much of the heap is in use, and how much ever was; and a part of it kept free for TLS."""

import gc


class HeapWatch:
    """Live bytes of the heap: each look collects first, so that garbage is not counted as use."""

    def __init__(self):
        self.peak_bytes = 0
        self.used_bytes = 0  # at the last look

    def look(self) -> int:
        gc.collect()
        used = self.used_bytes = gc.mem_alloc()
        if used > self.peak_bytes:
            self.peak_bytes = used
        return used

    def limit_bytes(self) -> int:
        return gc.mem_alloc() + gc.mem_free()


class Room:
    """A place in the heap that is kept for TLS while there is no connection. mbedTLS wants one piece of 17 kB, which
    after weeks need not be there, and takes thousands of small ones for a moment, each searched for from the heap's
    beginning. So the place is kept from the first moment on, near the beginning. Nothing is kept unless `keep` says so:
    on some boards mbedTLS has memory of its own."""

    def __init__(self):
        self._size = self._users = 0
        self._kept = None

    def keep(self, size: int):
        """Keep so many bytes from now on."""
        self._size = size
        self._kept = None
        self._fill()

    def take(self):
        """A connection needs it. To be followed by give_back()."""
        self._users += 1
        self._kept = None
        gc.collect()

    def give_back(self):
        """The connection is closed."""
        self._users -= 1
        self._fill()

    def _fill(self):
        if self._size and not self._users:
            gc.collect()
            try:
                self._kept = bytearray(self._size)
            except MemoryError:
                pass  # the next connection must do with what it finds


tls_room = Room()

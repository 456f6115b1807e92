"""How much of the heap is in use, and how much ever was."""

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

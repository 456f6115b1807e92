"""The start: this board's parts, the gateway made of them, run."""

import gc

# What is loaded stays between what was only needed to load it: without many collections now, the heap is full of holes.
gc.threshold(8192)

from app import App  # noqa: E402
from board import this_board  # noqa: E402

app = App(this_board())
gc.collect()
gc.threshold(gc.mem_free() // 4)  # the same later: what lives long must not spread over all of the heap
app.run()

"""Runs on the board: measures in board time and reports one figure a line, as JSON."""

import gc
import json
import time

LEAST_FREE_BYTES = 50000  # more than any single step takes


def report(name, value, unit):
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit}))


class Steps:
    """Drives a generator as an event loop would, and keeps the times of its steps.

    Garbage is collected between the steps, as if that cost nothing: the time of a collection is a figure of its own.
    """

    def __init__(self, generator):
        self.count = 0
        self.longest_us = 0
        self.total_us = 0
        self.result = None
        self.churn_bytes = 0  # heap taken in all, most of it garbage at once
        gc.collect()
        gc.disable()
        try:
            self._drive(generator)
        finally:
            gc.enable()

    def _drive(self, generator):
        while generator is not None:
            allocated = gc.mem_alloc()
            begun = time.ticks_us()
            try:
                given = next(generator)
            except StopIteration as end:
                given = end.value
                generator = None
            taken = time.ticks_diff(time.ticks_us(), begun)
            self.churn_bytes += gc.mem_alloc() - allocated
            self.count += 1
            self.total_us += taken
            self.longest_us = max(self.longest_us, taken)
            if given is not None:
                self.result = given
            if gc.mem_free() < LEAST_FREE_BYTES:
                gc.collect()


def once_us(function, *args):
    """Time of one call, in microseconds, and what it gave."""
    gc.collect()
    begun = time.ticks_us()
    result = function(*args)
    return time.ticks_diff(time.ticks_us(), begun), result

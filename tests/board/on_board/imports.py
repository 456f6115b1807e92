"""Runs on the board: time and memory of importing the modules that imports.json names.

The heap is tidied before each import: modules that load inside modules tear it, and then less fits. What the board
has no radio for (socket, ssl) is replaced by empty modules.
"""

import gc
import json
import sys
import time

from measure import report


class Absent:
    def __getattr__(self, name):
        return None


for absent in ("socket", "usocket", "ssl", "ussl", "tls", "network"):
    try:
        __import__(absent)
    except ImportError:
        sys.modules[absent] = Absent()

with open("imports.json") as file:
    plan = json.load(file)
what, names = plan["what"], plan["names"]
gc.collect()
first_free = gc.mem_free()
report("heap free, before %s" % what, first_free, "bytes")
total_us = 0
for name in names:
    gc.collect()
    free = gc.mem_free()
    begun = time.ticks_us()
    __import__(name)
    taken_us = time.ticks_diff(time.ticks_us(), begun)
    total_us += taken_us
    gc.collect()
    report("import %s" % name, taken_us / 1000, "ms")
    report("import %s, heap" % name, free - gc.mem_free(), "bytes")
report("import of %s" % what, total_us / 1000, "ms")
report("import of %s, heap" % what, first_free - gc.mem_free(), "bytes")
report("heap free, %s imported" % what, gc.mem_free(), "bytes")
begun = time.ticks_us()
gc.collect()
report("gc.collect(), %s imported" % what, time.ticks_diff(time.ticks_us(), begun) / 1000, "ms")

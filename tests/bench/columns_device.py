"""What tests run on MicroPython's Unix port: `columns_device.py FILE`, a JSON list of columns.

Prints one line of JSON: for each column the coder id, the bytes as hexadecimal text, and the microseconds that
encoding took.
"""

import json
import sys
import time

from parkgate.wire import columns

with open(sys.argv[1]) as file:
    wanted = json.load(file)
made = []
for values in wanted:
    began_us = time.ticks_us()
    coder, data = columns.encode(values)
    took_us = time.ticks_diff(time.ticks_us(), began_us)
    if columns.decode(coder, data, len(values)) != values:
        raise ValueError("a column does not come back")
    made.append((coder, data.hex(), took_us))
print(json.dumps(made))

"""Runs first in a MicroPython built with this folder. board.json has the same number, as own_build."""

import sys

from hal.rp2.boot import mount

sys.modules["socket"] = sys  # no network here: the MQTT encoder only wants the name
mount(384 * 1024)

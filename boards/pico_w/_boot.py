"""Runs first in a MicroPython built with this folder. board.json has the same number, as own_build."""

from hal.rp2.boot import mount

mount(80 * 1024)

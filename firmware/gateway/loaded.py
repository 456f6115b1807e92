"""Modules that are taken out of memory once their work is done, and loaded again when they are wanted."""

import sys


def drop(names):
    """Forget modules; of a package, all that is in it."""
    loaded = sys.modules
    for name in names:
        inside = name + "."
        for each in [each for each in loaded if each == name or each[: len(inside)] == inside]:
            del loaded[each]
        package, _, module = name.rpartition(".")
        if hasattr(loaded.get(package), module):
            delattr(loaded[package], module)

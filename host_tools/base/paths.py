"""Where the parts of the project are on this computer.

In a checkout they are where git put them, and what is made goes to build/. In an installed wheel the sources for the
boards are data of the package (setup.py puts them there), and what is made goes to this user's cache.
"""

import os
from pathlib import Path

from parkgate import VERSION

_PACKAGE = Path(__file__).resolve().parents[1]  # host_tools
_INSTALLED = _PACKAGE / "device"
IN_CHECKOUT = not _INSTALLED.is_dir()

SOURCES = _PACKAGE.parent if IN_CHECKOUT else _INSTALLED
"""The folder that holds lib, firmware and boards."""
METER_PROFILES = SOURCES / "lib" / "meters"


def state_folder() -> Path:
    """Where this user's history is kept."""
    return _of_user("XDG_STATE_HOME", ".local/state")


def data_folder() -> Path:
    """Where this user's own files are."""
    return _of_user("XDG_DATA_HOME", ".local/share")


def cache_folder() -> Path:
    """Where this user's downloads are kept."""
    named = os.environ.get("PARKGATE_CACHE")
    return Path(named) if named else _of_user("XDG_CACHE_HOME", ".cache")


def build_folder() -> Path:
    """Where compiled firmware and fetched libraries are kept: one folder for each version."""
    return SOURCES / "build" if IN_CHECKOUT else cache_folder() / VERSION


def _of_user(variable: str, below_home: str) -> Path:
    named = os.environ.get(variable)
    return (Path(named) if named else Path(os.path.expanduser("~")) / below_home) / "parkgate"

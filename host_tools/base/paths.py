"""Where the parts of the project stand on this computer."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
METER_PROFILES = REPOSITORY / "lib" / "meters"


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


def _of_user(variable: str, below_home: str) -> Path:
    named = os.environ.get(variable)
    return (Path(named) if named else Path(os.path.expanduser("~")) / below_home) / "parkgate"

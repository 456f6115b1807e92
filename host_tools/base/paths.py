"""Where the parts of the project stand on this computer."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
METER_PROFILES = REPOSITORY / "lib" / "meters"

"""A pack of modules as a board reads it."""

import sys
import types
from pathlib import Path


def opened(pack: bytes, folder: Path):
    """The firmware's own reader over these bytes, which it wants as a file in `folder`."""
    sys.modules.setdefault("vfs", types.ModuleType("vfs"))
    from hal.device.pack import Pack

    path = folder / "app.pak"
    path.write_bytes(pack)
    return Pack(str(path))

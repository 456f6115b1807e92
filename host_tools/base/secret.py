"""Passwords and tokens from a file or the environment: on a command line every user of the computer could read them."""

from __future__ import annotations

import os
from pathlib import Path

from host_tools.base import files
from parkgate.errors import SettingsError

SECRET_BYTES_MAX = 4096


def secret(what: str, file: str | Path | None, variable: str) -> str | None:
    """The first line of `file`, else what the environment variable holds, else None. Raises SettingsError when it is
    empty, FileTrouble."""
    if file is not None:
        text = files.read_text(file, SECRET_BYTES_MAX).split("\n")[0].rstrip("\r")
        if not text:
            raise SettingsError(f"{what}: {file} is empty")
        return text
    found = os.environ.get(variable)
    if found == "":
        raise SettingsError(f"{what}: {variable} is set and empty")
    return found

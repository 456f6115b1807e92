"""Where meter profiles are found: those that are included, and a technician's own ones in folders.

The user's own folder is $PARKGATE_METERS, or `parkgate/meters` in $XDG_DATA_HOME (~/.local/share). `--meters FOLDER`
names one more. An own profile must not have the name of an included one: a gateway has one file of a name.
"""

from __future__ import annotations

import os
from pathlib import Path

from host_tools.base import files
from host_tools.base.paths import METER_PROFILES, data_folder
from parkgate.errors import ProfileError

_more: list[Path] = []


def add_argument(parser) -> None:
    """`--meters FOLDER`, the same for every verb."""
    parser.add_argument(
        "--meters", action="append", type=Path, metavar="FOLDER", dest="meter_folders",
        help=f"a folder with your own meter profiles, in addition to {user_folder()}",
    )  # fmt: skip


def use(folders) -> None:
    """Look into these folders too, from now on. Raises ProfileError."""
    for folder in folders or ():
        if not folder.is_dir():
            raise ProfileError(f"--meters {folder}: there is no such folder")
    _more[:] = list(folders or ())


def user_folder() -> Path:
    """The folder of this user's own profiles; it need not exist."""
    named = os.environ.get("PARKGATE_METERS")
    if named:
        return Path(named)
    return data_folder() / "meters"


def own_folders() -> list[Path]:
    """The folders of own profiles, those named by --meters first."""
    return [*_more, user_folder()]


def paths() -> list[Path]:
    """All profile files, by name. Raises ProfileError when two have the same name."""
    found = {path.stem: path for path in files.listed(METER_PROFILES, ".json")}
    for folder in own_folders():
        for path in files.listed(folder, ".json") if folder.is_dir() else ():
            there = found.setdefault(path.stem, path)
            if there != path and there.resolve() != path.resolve():
                raise ProfileError(f"{path} has the same name as {there}: rename one of them")
    return [found[name] for name in sorted(found)]


def find(name: str) -> Path | None:
    """The file of this profile, None when there is none. Raises ProfileError."""
    return next((path for path in paths() if path.stem == name), None)


def is_own(name: str) -> bool:
    """Whether this profile is one of the own ones, and not included."""
    path = find(name)
    return path is not None and path.parent != METER_PROFILES

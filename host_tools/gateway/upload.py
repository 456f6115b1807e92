"""Bytes to a gateway over its console: staged in pieces, and used only when they are whole (SPEC 12.4)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from host_tools.base import files, profile_files
from host_tools.gateway.link import Link
from parkgate.errors import SettingsError
from parkgate.meters.profiles import split_name

_PIECE_BYTES = 330  # 440 characters of base64: a line of the console has 512
_CHECK_S = 30.0


def send(link: Link, data: bytes, use: str, progress: Callable[[int], None] | None = None) -> list[str]:
    """Stage `data`, then ask the command `use` with its SHA-256 behind; that command's lines. Raises LinkError,
    GatewayRefused. Repeating it after any failure is safe."""
    for at in range(0, len(data), _PIECE_BYTES):
        piece = base64.b64encode(data[at : at + _PIECE_BYTES]).decode()
        link.ask(f"upload {at} {piece}", 15.0)
        if progress:
            progress(at)
    return link.ask(f"{use} {hashlib.sha256(data).hexdigest()}", _CHECK_S, repeat=False)


def push_text(link: Link, name: str, text: str) -> str:
    """Bring a profile into service under `name`; the gateway's word for it."""
    # As a board keeps it: without indentation, each line where it was, since faults are named by line.
    data = "\n".join(line.strip() for line in text.splitlines()).encode() + b"\n"
    return send(link, data, f"meters keep {name}")[-1]


def push_profile(link: Link, name: str) -> str:
    """Bring an own profile into service. Raises SettingsError when there is none of this name."""
    path = profile_files.find(name)
    if path is None:
        raise SettingsError(f"there is no profile {name!r}; `parkgate meters list` names them")
    return push_text(link, name, files.read_text(path))


def own_profiles(settings: dict[str, Any]) -> list[str]:
    """Names of the own profiles that settings use: a gateway has those only when they are brought to it."""
    names = {split_name(item.get("profile", ""))[0] for item in settings.get("instruments", ())}
    return sorted(name for name in names if profile_files.is_own(name))

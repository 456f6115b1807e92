"""`parkgate meters`: what host_tools.meters.command has, and `push`, which needs a gateway's console."""

from __future__ import annotations

from pathlib import Path

from host_tools.base import files, output, profile_files
from host_tools.gateway import upload
from host_tools.gateway.link import add_port_argument, open_unlocked
from host_tools.meters import command
from parkgate.errors import ProfileError


def add_parser(subparsers) -> None:
    """The verb with all its own verbs."""
    verbs = command.add_parser(subparsers)
    push = verbs.add_parser("push", help="copy a profile to a gateway in service; no reading is lost")
    push.add_argument("file", metavar="FILE.json|NAME", help="a profile file, or the name of an own profile")
    profile_files.add_argument(push)
    add_port_argument(push)
    output.add_json(push)


def run(args) -> int:
    """Raises ProfileError, FileTrouble, LinkError, GatewayRefused."""
    if args.meters_verb != "push":
        return command.run(args)
    profile_files.use(args.meter_folders)
    path = Path(args.file)
    if not path.is_file():
        path = profile_files.find(args.file) or path
    text = files.read_text(path)
    fault = command.check_text(text, path.stem)
    if fault:
        raise ProfileError(f"{path}:{fault[0]}: {fault[1]}; nothing was sent")
    with open_unlocked(args) as link:
        said = upload.push_text(link, path.stem, text)
    use = f"use it: parkgate console, then settings add instruments name=… profile={path.stem} bus=… unit_id=…"
    output.show(args, {"profile": path.stem, "file": str(path), "said": said}, [said, use])
    return 0

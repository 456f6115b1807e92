"""`parkgate settings`: a gateway's settings as a file: pull them, see what differs, push them.

The file is TOML, or JSON if its name ends in .json. Secrets never come off a gateway: a pulled file has none, and a
file without a secret leaves the gateway's as it is.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from host_tools.base import files, output, profile_files
from host_tools.base.names import check_gateway_name
from host_tools.gateway import upload
from host_tools.gateway.link import GatewayRefused, Link, add_port_argument, open_unlocked
from parkgate.errors import LinkError, SettingsError
from parkgate.meters.profile import staging
from parkgate.meters.profiles import split_name
from parkgate.settings import KIND, MEANING, NAME, edit
from parkgate.settings.schema import LISTS, REQUIRED, TABLE, validate

COMMIT_UNSURE_S = 15.0
ON_TRIAL = (
    "active, on trial: they stay once the hub has accepted a batch (parkgate doctor shows it); otherwise the",
    "gateway returns to the settings before, after 15 minutes or five starts",
)
LONG, PIECE = 400, 384  # characters of a value in one line (console.LINE_BYTES_MAX holds the rest of the line too)


def add_parser(subparsers) -> None:
    """Arguments of `parkgate settings`."""
    parser = subparsers.add_parser("settings", help="show, check and change a gateway's settings", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|pull|push|diff|check|help|docs")
    for name, text in (
        ("pull", "write the gateway's settings into FILE"),
        ("push", "give the gateway the settings of FILE; if its hub then accepts nothing, it takes the old ones back"),
        ("diff", "show what push would change"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("file", type=Path, metavar="FILE.toml")
        add_port_argument(action)
        if name == "push":
            profile_files.add_argument(action)
            action.add_argument("--without-hub", action="store_true", help="push a file that removes the hub's key")
        output.add_json(action)
    show = actions.add_parser("show", help="the gateway's settings, without its secrets")
    add_port_argument(show)
    output.add_json(show)
    check = actions.add_parser("check", help="check FILE without a gateway")
    check.add_argument("file", type=Path, metavar="FILE.toml")
    output.add_json(check)
    profile_files.add_argument(check)
    explain = actions.add_parser("help", help="every setting: what it means and may be")
    output.add_json(explain)
    explain.add_argument("prefix", nargs="?", default="", help="such as broker, broker.port or sensors.pulses")
    docs = actions.add_parser("docs", help="write the page of all settings")
    docs.add_argument("file", type=Path, metavar="FILE.md")


def run(args) -> int:
    """Raises SettingsError, LinkError, GatewayRefused."""
    profile_files.use(getattr(args, "meter_folders", None))
    if args.action == "help":
        found = list(edit.help_entries(args.prefix))
        entries = [{"path": path, "allowed": text} for path, text in found]
        output.show(args, {"settings": entries}, [f"{path:34} {text}" for path, text in found])
        return 0
    if args.action == "docs":
        from host_tools.gateway.settings_docs import markdown

        files.write(args.file, markdown())
        return 0
    if args.action == "check":
        check_whole(read_file(args.file))
        output.show(args, {"file": str(args.file)}, [f"{args.file}: good"])
        return 0
    if args.action == "show":
        with open_unlocked(args) as link:
            settings = active(link)
        output.show(args, {"settings": settings}, to_text(settings, Path("settings.toml")).split("\n"))
        return 0
    if args.action == "pull":
        files.check_target(args.file)
        with open_unlocked(args) as link:
            files.write(args.file, to_text(active(link), args.file))
        said = f"written to {args.file}; secrets stay on the gateway"
        output.show(args, {"file": str(args.file)}, [said])
        return 0
    return _diff_or_push(args, check_whole(read_file(args.file), own_profiles=True))


def _diff_or_push(args, given: dict[str, Any]) -> int:
    with open_unlocked(args) as link:
        before = active(link)
        commands = changes(before, given)
        differing = list(edit.differences(before, _without_secrets(given)))
        differing += [f"{path} = (set)" for path in _secrets(given)]
        document = {"file": str(args.file), "differences": differing, "same": not commands}
        lines = differing if commands else [*differing, "nothing differs"]
        if args.action == "diff" or not commands:
            output.show(args, document, lines)
            return 0
        for line in lines:
            output.say(args, output.plain(line))
        if before["hub"].get("public_key") and not given.get("hub", {}).get("public_key") and not args.without_hub:
            raise SettingsError(
                f"{args.file} leaves out hub.public_key: the gateway would deliver nothing any more. Take its own "
                "settings (parkgate settings pull), change those and push them; or give --without-hub"
            )
        goes_by = before["hub"].get("root_serial", 0)
        if goes_by > given.get("hub", {}).get("root_serial", 0) and not args.without_hub:
            raise SettingsError(
                f"{args.file} has the hub's key of before root document {goes_by}, by which the gateway goes. Take its "
                "own settings (parkgate settings pull), change those and push them; or give --without-hub"
            )
        for name in upload.own_profiles(given):
            output.say(args, upload.push_profile(link, name))
        push(link, commands)
        output.show(args, document, ON_TRIAL)
    return 0


def read_file(path: Path) -> dict[str, Any]:
    """The file's content, not validated. Raises SettingsError."""
    try:
        text = files.read_text(path)
        if path.suffix == ".json":
            return json.loads(text)
        try:
            import tomllib
        except ImportError:  # Python 3.10
            try:
                import tomli as tomllib  # pyright: ignore[reportMissingImports]
            except ImportError:
                raise SettingsError("TOML needs Python 3.11: write the file as JSON and name it .json") from None
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}") from None


def check_whole(given: dict[str, Any], own_profiles: bool = False) -> dict[str, Any]:
    """`given` itself, if a gateway could take it: schema, profiles, its name, and that console lines can say it.
    `own_profiles`: the gateway may have profiles that are not here; it judges those itself when they are staged. Raises
    SettingsError."""
    settings = validate(given)
    check_gateway_name(settings["gateway"]["name"])
    here = [
        item for item in settings["instruments"]
        if not own_profiles or profile_files.find(split_name(item["profile"])[0])
    ]  # fmt: skip
    check_profiles({**settings, "instruments": here})
    changes(validate({}), given)
    return given


def active(link: Link) -> dict[str, Any]:
    """The gateway's settings without secrets."""
    settings: dict[str, Any] = {section: [] if section in LISTS else {} for section in TABLE}
    for line in link.ask("settings show", 10.0):
        path, _, text = line.partition(" = ")
        section, item, field = edit.field_of(path)
        if field is None or field[KIND] == "secret":
            continue
        value = edit.value_of(path, field, text, json.loads)
        if item is None:
            settings[section][field[NAME]] = value
            continue
        if not settings[section] or settings[section][-1].get("name") != item:
            settings[section].append({"name": item})
        settings[section][-1][field[NAME]] = value
    return settings


def check_profiles(settings: dict[str, Any]) -> None:
    """Look into the profiles that settings name, as the gateway does when they are staged. Raises SettingsError."""

    def read(name: str) -> bytes | None:
        path = profile_files.find(name)
        return path.read_bytes() if path else None

    staging.check(read, json.loads, settings["instruments"])


def _without_secrets(given: dict[str, Any]) -> dict[str, Any]:
    full = validate(given)
    return {
        section: [dict(item) for item in values]
        if isinstance(values, list)
        else {k: v for k, v in values.items() if (k, "secret") not in [(f[0], f[1]) for f in TABLE[section]]}
        for section, values in full.items()
    }


def _secrets(given: dict[str, Any]) -> list[str]:
    """Paths of the secrets that a file sets."""
    return [
        f"{section}.{field[NAME]}"
        for section, fields in TABLE.items() if section not in LISTS
        for field in fields if field[KIND] == "secret" and field[NAME] in given.get(section, {})
    ]  # fmt: skip


def changes(before: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """The console commands that make `before` into `given`, which is validated. Raises SettingsError."""
    after = validate(given)
    commands = []
    for section, fields in TABLE.items():
        if section in LISTS:
            commands += _list_changes(section, fields, before.get(section, []), after[section])
            continue
        for field in fields:
            name = field[NAME]
            if field[KIND] == "secret":
                if name in given.get(section, {}):
                    commands += _set(f"{section}.{name}", after[section][name])
            elif before.get(section, {}).get(name) != after[section][name]:
                commands += _set(f"{section}.{name}", after[section][name])
    return commands


def _list_changes(section, fields, before, after) -> list[str]:
    old = {item["name"]: item for item in before}
    new = {item["name"]: item for item in after}
    commands = [f"settings remove {section}.{name}" for name in old if name not in new]
    for name, item in new.items():
        if name.split() != [name]:
            raise SettingsError(f"{section}: a name must not have spaces in it: {name!r}")
        known = dict(old.get(name, {}))
        if not known:
            first = {f[0]: item[f[0]] for f in fields if f[2] is REQUIRED}
            if any(" " in str(value) for value in first.values()):
                raise SettingsError(f"{section}.{name}: {', '.join(first)} must not have spaces in them")
            commands.append(f"settings add {section} " + " ".join(f"{k}={v}" for k, v in first.items()))
            known = {f[0]: edit.fresh_default(f) for f in fields if f[2] is not REQUIRED}
            known.update(first)
        for field in fields:
            if known.get(field[NAME]) != item[field[NAME]]:
                commands += _set(f"{section}.{name}.{field[NAME]}", item[field[NAME]])
    return commands


def _set(path: str, value) -> list[str]:
    """What sets one setting: a text that no line of the console can hold goes in pieces."""
    text = ",".join(value) if isinstance(value, (list, tuple)) else str(value)
    if isinstance(value, dict):
        text = json.dumps(value, separators=(",", ":"))
    first, rest = (text[:PIECE], text[PIECE:]) if " " not in text and len(text) > LONG else (text, "")
    commands = [f"settings set {path} {first or chr(34) * 2}"]
    for at in range(0, len(rest), PIECE):
        commands.append(f"settings append {path} {PIECE + at} {rest[at : at + PIECE]}")
    return commands


def push(link: Link, commands: list[str]) -> None:
    """Stage, commit, and wait until the gateway runs with it. Raises LinkError, GatewayRefused: nothing changed."""
    stage(link, commands)
    commit(link)


def stage(link: Link, commands: list[str]) -> None:
    """Have the gateway check the settings that these commands make; nothing changes before `commit`. Raises
    GatewayRefused, LinkError, with nothing staged."""
    link.ask("settings discard")
    try:
        for command in commands:
            link.ask(command)
    except BaseException:
        discard(link)
        raise


def commit(link: Link) -> None:
    """Have the gateway start with what is staged, on trial. Raises LinkError, GatewayRefused."""
    boot = link.boot()
    try:
        link.ask("settings commit", 10.0, repeat=False)
    except SettingsError:
        discard(link)
        raise
    except LinkError:  # the answer may have been lost: whether it starts anew tells
        with contextlib.suppress(LinkError):
            link.wait_restart(boot, COMMIT_UNSURE_S)
            return
        raise
    link.wait_restart(boot)


def discard(link: Link) -> None:
    """Forget what is staged, if the gateway still answers; the next run does it otherwise."""
    with contextlib.suppress(LinkError, GatewayRefused):
        link.ask("settings discard")


def _toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


_IN_TOML = {"names": 'a list such as ["voltage", "active_power"]', "map": "a table such as {every = 10}"}


def _explained(field) -> str:
    """What a field means, as a comment in TOML: lists and tables are written otherwise there than at the console."""
    return f"{field[MEANING]}; {_IN_TOML[field[KIND]]}" if field[KIND] in _IN_TOML else edit.allowed(field)


def to_text(settings: dict[str, Any], path: Path) -> str:
    """As TOML with the meaning of each setting, or as JSON by the file's name."""
    if path.suffix == ".json":
        return json.dumps(settings, indent=1) + "\n"
    lines = []
    for section, fields in TABLE.items():
        for values in settings[section] if section in LISTS else [settings[section]]:
            lines.append(f"[[{section}]]" if section in LISTS else f"[{section}]")
            for field in fields:
                if field[KIND] == "secret":
                    lines.append(f"# {field[NAME]} = …  stays on the gateway; write it here to change it")
                elif field[NAME] in values:
                    lines.append(f"{field[NAME]} = {_toml(values[field[NAME]])}  # {_explained(field)}")
            lines.append("")
    return "\n".join(lines)

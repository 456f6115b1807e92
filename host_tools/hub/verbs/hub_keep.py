"""`parkgate hub backup | restore | check | move`: a hub's data copied, put back, looked through, taken to a server."""

from __future__ import annotations

import time

from host_tools.base import output
from host_tools.hub.stores import backup, move
from parkgate.errors import SettingsError

FAULTS_SHOWN = 100
ACTIONS = ("backup", "restore", "check", "move")


def run(args) -> int:
    """One of ACTIONS. Raises SettingsError, StoreError, FileTrouble. Exit code 1 when `check` found a fault."""
    if args.action == "backup":
        if not args.to:
            raise SettingsError("hub backup: --to FOLDER says where")
        manifest = backup.backup(args.data, args.to)
        line = f"{_bytes(manifest)} bytes in {args.to}. It holds the hub's private keys: keep it as safe as the hub"
        output.show(args, {"folder": str(args.to), **manifest}, [line])
        return 0
    if args.action == "restore":
        if not args.from_folder:
            raise SettingsError("hub restore: --from FOLDER names the backup")
        manifest = backup.restore(args.from_folder, args.data)
        age_s = max(0, time.time_ns() // 1_000_000 - manifest["made_unix_ms"]) // 1000
        lines = [
            f"{_bytes(manifest)} bytes restored; the backup was made {age_s // 3600} h {age_s % 3600 // 60} min ago",
            "what came later is missing: gateways send again what they still hold, the rest is recorded as lost",
        ]
        output.show(args, {"data": str(args.data), **manifest}, lines)
        return 0
    return _move(args) if args.action == "move" else _check(args)


def _move(args) -> int:
    if not args.to:
        raise SettingsError("hub move: --to postgresql://USER@HOST/DATABASE says where")
    found = move.move(args.data, args.to, args.store_password, lambda table: output.say(args, f"{table} …"))
    lines = [
        f"{sum(found['tables'].values()):,} rows of {len(found['tables'])} tables moved and compared in"
        f" {found['seconds']} s",
        f"the hub of {args.data} is in the server from now on; start it as before",
        f"{move.MOVED_FILE} holds what was moved: delete it when you have a backup of the server's database",
    ]
    output.show(args, {"data": str(args.data), "to": args.to, **found}, lines)
    return 0


def _check(args) -> int:
    faults, more, batches = [], 0, 0
    for found in backup.check(args.data):
        if "batches" in found:
            batches = found["batches"]
        elif len(faults) < FAULTS_SHOWN:
            faults.append(found)
        else:
            more += 1
    lines = [
        f"{each['gateway']}, batch {each['seq']} of epoch {each['epoch'][:8]}: {each['what']}"
        if each["gateway"] else each["what"]
        for each in faults
    ]  # fmt: skip
    lines += [f"and {more} more"] if more else []
    lines.append(f"{batches} batches read, {len(faults) + more} faults")
    output.show(args, {"ok": not faults, "batches": batches, "faults": faults, "faults_left_out": more}, lines)
    return 1 if faults else 0


def _bytes(manifest: dict) -> str:
    return f"{sum(about['bytes'] for about in manifest['files'].values()):,}"

"""`parkgate log`: look at the hub's log, prove that something is in it, find what is damaged, begin a new one.

parkgate log show --data DIR
parkgate log check --data DIR                          exit code 1 when something does not agree
parkgate log proof --data DIR --leaf N                 a C2SP tlog-proof; --cose FILE writes the RFC 9942 receipt
parkgate log proof --data DIR --batch GATEWAY EPOCH SEQ
parkgate log stamp --data DIR --authority URL          have the newest checkpoint stamped, for a daily timer
parkgate log renew --data DIR --why TEXT               after a database was lost: a new log that names the old one
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from host_tools.base import files, output
from host_tools.base.folder_lock import is_held
from host_tools.hub.service import LOCK_FILE
from host_tools.hub.stores.gateways import whoami
from host_tools.hub.stores.store import connect, existing
from host_tools.log import record, stamps
from host_tools.log.check import Check
from host_tools.log.keys import LogError
from host_tools.log.log import Log
from parkgate.errors import SettingsError
from parkgate.wire.cose import thumbprint


def add_parser(subparsers) -> None:
    """Arguments of `parkgate log`."""
    parser = subparsers.add_parser(
        "log",
        help="show the hub's log, prove what is in it, check it",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("show", "check", "proof", "stamp", "renew"))
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--leaf", type=int, metavar="N", help="for proof: the number of the leaf")
    parser.add_argument("--batch", nargs=3, metavar=("GATEWAY", "EPOCH", "SEQ"), help="for proof: the batch")
    parser.add_argument("--cose", type=Path, metavar="FILE", help="for proof: write the COSE receipt to FILE too")
    parser.add_argument("--authority", metavar="URL", help="for stamp: the address of a time stamp authority")
    parser.add_argument("--why", metavar="TEXT", help="for renew: what happened; it becomes part of the new log")
    output.add_json(parser)


def run(args) -> int:
    """Raises LogError, SettingsError, StoreError."""
    existing(args.data)
    return {"show": _show, "check": _check, "proof": _proof, "stamp": _stamp, "renew": _renew}[args.what](args)


def _show(args) -> int:
    with Log.open(args.data) as log:
        made, key_id = log.checkpoint(), thumbprint(log.key_xy).hex()
        document = {
            "log": log.log_id.hex(), "origin": log.origin, "key": log.key_xy.hex(), "key_id": key_id,
            "verifier_keys": log.verifier_keys,
            "size": made.size, "root": made.root.hex(), "signed_unix_ms": made.signed_unix_ms, "note": made.note,
        }  # fmt: skip
        lines = [
            f"log {log.log_id.hex()}: {made.size} entries are signed",
            f"id of the log key, for audit.py --trust: {key_id}",
            "", "The newest checkpoint:", *made.note.rstrip("\n").split("\n"),
            "", "Keys that verify its signatures:", *log.verifier_keys,
        ]  # fmt: skip
    output.show(args, document, lines)
    return 0


def _check(args) -> int:
    found = Check(args.data).run()
    document = {
        "leaves": found.leaves, "checkpoints": found.checkpoints, "tiles": found.tiles, "removed": found.removed,
        "findings": found.findings,
    }  # fmt: skip
    looked = f"{found.leaves} leaves, {found.checkpoints} checkpoints, {found.tiles} tiles"
    looked += f", {found.removed} batches removed as the log says" if found.removed else ""
    output.show(args, document, [*found.findings, f"{looked}: {'all agree' if not found.findings else 'see above'}"])
    return 1 if found.findings else 0


def _proof(args) -> int:
    with Log.open(args.data) as log:
        if args.batch:
            gateway, epoch, seq = args.batch
            if not seq.isdigit():
                raise SettingsError(f"the seq of a batch is a number, not {seq!r}")
            index = log.find_batch(gateway, epoch, int(seq)).leaf_index
        elif args.leaf is not None:
            index = args.leaf
        else:
            raise SettingsError("name what to prove: --leaf N, or --batch GATEWAY EPOCH SEQ")
        made, text, cose = log.checkpoint(), log.tlog_proof(index), log.receipt(index)
        document = {
            "leaf": index, "entry": log.leaf(index).entry.hex(), "size": made.size, "root": made.root.hex(),
            "path": [each.hex() for each in log.inclusion(index, made.size)], "proof": text, "receipt": cose.hex(),
        }  # fmt: skip
    if args.cose:
        files.write(args.cose, cose)
    output.show(args, document, text.rstrip("\n").split("\n"))
    return 0


def _stamp(args) -> int:
    if not args.authority:
        raise SettingsError("name the authority: --authority https://…")
    stamps.check_url(args.authority)
    with contextlib.closing(connect(args.data)) as db:
        facts = stamps.stamp(db, record.open_recorder(db), args.authority, whoami())
    document = {"size": facts["size"], "authority": facts["authority"], "bytes": len(facts["token"])}
    output.show(args, document, [f"{facts['authority']} stamped the checkpoint of {facts['size']} leaves"])
    return 0


def _renew(args) -> int:
    if not args.why or not args.why.strip():
        raise SettingsError("say what happened: --why TEXT becomes part of the new log, for its auditors")
    if is_held(args.data / LOCK_FILE):
        raise LogError("a hub runs on this folder: stop it first")
    with contextlib.closing(connect(args.data)) as db:
        done = record.renew(db, args.why.strip()[:500])
    lines = [f"a new log begins: {done['log']}"]
    if done["before"]:
        lines.append(f"it names the one before: {done['before'][0]}, {done['before'][1]} leaves were signed")
    output.show(args, done, lines)
    return 0

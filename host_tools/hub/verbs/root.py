"""`parkgate root`: three keys, kept off the hub, of which two can give the hub new keys (SPEC 3.7).

    parkgate root make --out DIR                           three keys; keep each in another place, with another person
    parkgate root draft --data HUB --root DIR/root.pub --out 1.draft [--new-keys]
    parkgate root sign 1.draft --key root-1.pem            on a computer without a network, twice, with two of the keys
    parkgate root take 1.draft --data HUB                  the hub must not run; then start it again
    parkgate root show FILE                                what a draft says; --data HUB: what the hub has

The first document names the keys that the hub has. `parkgate provision` gives each gateway the id of the root. When
the hub's keys were stolen or lost, --new-keys makes others: `take` puts them in place, and gateways go over to them
when they are heard from next, those that were away for weeks as well. Without two of the three root keys nobody can do
that, and no document ends by itself. --next DIR/root.pub names three new root keys, which sign the documents after it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from host_tools.base import files, folder_lock, output
from host_tools.base.keys import (
    HUB_KEY_FILE,
    HUB_KEYS_BEFORE_FILE,
    HUB_PUBLIC_FILE,
    HubKey,
    hub_key,
    make_private,
    read_hub_key,
)
from host_tools.hub.service import LOCK_FILE
from host_tools.hub.stores.gateways import whoami
from host_tools.hub.stores.store import connect, existing
from host_tools.log import keys, record
from host_tools.log.root import ROOT_FILE, read
from parkgate.errors import SettingsError
from parkgate.log import root, statement
from parkgate.wire.cose import thumbprint

KEY_NAMES, PUBLIC_NAME = ("root-1.pem", "root-2.pem", "root-3.pem"), "root.pub"
NEXT = ".next"  # behind the name of a key's file: made for a document that two root keys have not signed yet
FILE_BYTES_MAX = 4096


def add_parser(subparsers) -> None:
    """Arguments of `parkgate root`."""
    parser = subparsers.add_parser(
        "root", help="keep three keys off the hub that can give it new ones",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=("make", "draft", "sign", "take", "show"))
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a draft, for sign, take and show")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--out", type=Path, metavar="PATH", help="for make: a folder; for draft: a new file")
    parser.add_argument("--root", type=Path, metavar="FILE", help="for draft: the root.pub of the root that signs it")
    parser.add_argument(
        "--next", type=Path, metavar="FILE", help="for draft: the root.pub of another root from then on"
    )
    parser.add_argument(
        "--new-keys", action="store_true", help="for draft: name new keys, which are made in the folder"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="for sign: one of the root's keys")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, FormatError, IntegrityError, LogError, StoreError, FileTrouble."""
    wanted = {"make": ("out",), "draft": ("data", "root", "out"), "sign": ("file", "key"), "take": ("file", "data")}
    for name in wanted.get(args.action, ()):
        if getattr(args, name) is None:
            raise SettingsError(f"root {args.action} needs {'a file' if name == 'file' else '--' + name}")
    return {"make": _make, "draft": _draft, "sign": _sign, "take": _take, "show": _show}[args.action](args)


def _make(args) -> int:
    files.make_folder(args.out)
    for name in (*KEY_NAMES, PUBLIC_NAME):
        if (args.out / name).exists():
            raise SettingsError(f"{args.out / name} is there already: root keys are made once, in a new folder")
    for name in KEY_NAMES:
        make_private(args.out / name)
    public = [read_hub_key(args.out / name).xy for name in KEY_NAMES]
    files.write(args.out / PUBLIC_NAME, "".join(key.hex() + "\n" for key in public))
    lines = [
        f"id of the root: {root.root_id(public).hex()}",
        f"Give {', '.join(KEY_NAMES)} in {args.out} to three people, on media of their own; delete them here.",
        "Two of them can give the hub new keys. Who has one alone can do nothing.",
        f"{PUBLIC_NAME} is no secret: `parkgate root draft` wants it.",
    ]
    output.show(args, {"root": root.root_id(public).hex(), "folder": str(args.out)}, lines)
    return 0


def _public(path: Path) -> list[bytes]:
    """The three keys of a root.pub. Raises SettingsError, FileTrouble."""
    lines = files.read_text(path, FILE_BYTES_MAX).split()
    with contextlib.suppress(ValueError):
        found = [bytes.fromhex(line) for line in lines]
        if len(found) == 3 == len(set(found)) and all(len(key) == 64 for key in found):
            return found
    raise SettingsError(
        f"{path} does not hold the three public keys of a root: `parkgate root make` writes {PUBLIC_NAME}"
    )


def _draft(args) -> int:
    folder = existing(args.data)
    chain, public = read(folder), _public(args.root)
    newest = chain.newest
    if newest is not None and newest.next_root != root.root_id(public):
        raise SettingsError(f"{args.root} is another root than document {newest.serial} names for the next one")
    if args.out.exists():
        raise SettingsError(f"{args.out} is there already")
    if args.new_keys:
        hub, log = _next_keys(folder)
    else:
        hub, log = hub_key(folder, make=False), keys.read(folder)
    following = _public(args.next) if args.next else public
    payload = root.encode_payload(
        newest.serial + 1 if newest else 1, public, root.root_id(following), hub.xy, log.xy,
        time.time_ns() // 1_000_000, sha256(chain.bytes[-1]).digest() if newest else None,
    )  # fmt: skip
    files.write(args.out, root.encode(payload, []))
    return _say(args, root.Document(root.encode(payload, []), 0), [f"{args.out}: two of the root's keys must sign it"])


def _next_keys(folder: Path) -> tuple[HubKey, keys.LogKey]:
    """The keys that wait for a document, made where there are none yet."""
    path = folder / (HUB_KEY_FILE + NEXT)
    if not path.exists():
        make_private(path)
    waiting = folder / (keys.KEY_FILE + NEXT)
    if not waiting.exists():
        keys.make_file(waiting)
    return read_hub_key(path), keys.read_file(waiting)


def _document(path: Path) -> root.Document:
    return root.Document(files.read_bytes(path, root.DOCUMENT_BYTES_MAX), 0)


def _sign(args) -> int:
    document = _document(args.file)
    key = read_hub_key(args.key)
    if key.xy not in document.keys:
        raise SettingsError(f"{args.key} is not one of the three keys of the root that must sign {args.file}")
    if key.id in [kid for kid, _ in document.signatures]:
        raise SettingsError(f"{args.key} has signed {args.file} already: another one of the three keys is wanted")
    if len(document.signatures) >= root.SIGNATURES_MIN:
        raise SettingsError(f"{args.file} has its two signatures: `parkgate root take` is next")
    signature = key.sign_root(root.digest(key.id, document.payload))
    files.write(args.file, root.encode(document.payload, [*document.signatures, (key.id, signature)]))
    missing = root.SIGNATURES_MIN - len(document.signatures) - 1
    last = "one more signature is wanted" if missing else "`parkgate root take` is next, at the hub"
    return _say(args, _document(args.file), [f"{args.file} is signed with {args.key}: {last}"])


def _take(args) -> int:
    folder = existing(args.data)
    try:
        lock = folder_lock.hold(folder / LOCK_FILE)
    except BlockingIOError:
        raise SettingsError("a hub runs on this folder: stop it first") from None
    try:
        return _take_held(args, folder)
    finally:
        os.close(lock)


def _take_held(args, folder: Path) -> int:
    data = files.read_bytes(args.file, root.DOCUMENT_BYTES_MAX)
    chain = read(folder)
    document = chain.newest
    if document is None or chain.bytes[-1] != data:
        document = chain.add(data)
    hub_at, log_at = _key_at(folder, document.hub, False), _key_at(folder, document.log, True)
    _keep_before(folder, document.hub)
    if hub_at.name != HUB_KEY_FILE:
        files.write(folder / HUB_PUBLIC_FILE, document.hub.hex() + "\n")
        os.replace(hub_at, folder / HUB_KEY_FILE)
    elif not (folder / HUB_PUBLIC_FILE).exists():
        files.write(folder / HUB_PUBLIC_FILE, document.hub.hex() + "\n")
    if log_at.name != keys.KEY_FILE:
        os.replace(log_at, folder / keys.KEY_FILE)
    with contextlib.closing(connect(folder)) as db:
        db.set_about("hub_id", thumbprint(document.hub).hex())
        if db.about("log_kid") not in (None, thumbprint(document.log)):
            record.renew(db, f"root document {document.serial}")
        with record.recording(db) as leaves:
            facts = {"serial": document.serial, "document": data}
            leaves.statement(statement.ROOT_DOCUMENT, facts, whoami(), record.now_unix_ms())
    files.write(folder / ROOT_FILE, b"".join(chain.bytes))
    lines = ["start the hub again; its gateways go over to the key when they are heard from next"]
    return _say(args, document, lines)


def _key_at(folder: Path, xy: bytes, is_log: bool) -> Path:
    """The file that has this key: the one in use, or the one that waits. Raises SettingsError when neither has it."""
    name = keys.KEY_FILE if is_log else HUB_KEY_FILE
    for path in (folder / (name + NEXT), folder / name):
        if path.exists() and (keys.read_file(path) if is_log else read_hub_key(path)).xy == xy:
            return path
    raise SettingsError(
        f"{folder} does not have the key that the document names for {name}: was it drafted for this hub?"
    )


def _keep_before(folder: Path, hub_xy: bytes) -> None:
    """The key that is replaced, before those of before."""
    current, before = folder / HUB_KEY_FILE, folder / HUB_KEYS_BEFORE_FILE
    if not current.exists() or read_hub_key(current).xy == hub_xy:
        return
    older = files.read_bytes(before) if before.exists() else b""
    pem = files.read_bytes(current)
    if not older.startswith(pem):
        files.write(before, pem + older, 0o600)


def _show(args) -> int:
    if args.data is not None:
        chain = read(existing(args.data))
        if chain.newest is None:
            output.show(args, {"serial": None}, ["this hub has no root document"])
            return 0
        return _say(args, chain.newest, [])
    if args.file is None:
        raise SettingsError("name what to show: a draft, or --data HUB")
    return _say(args, _document(args.file), [])


def _say(args, document: root.Document, lines: list[str]) -> int:
    made = datetime.fromtimestamp(document.made_ms / 1000, timezone.utc)
    shown = {
        "serial": document.serial, "root": document.root.hex(), "next_root": document.next_root.hex(),
        "hub_key": document.hub.hex(), "hub_id": thumbprint(document.hub).hex(),
        "log_key": document.log.hex(), "log_key_id": thumbprint(document.log).hex(), "made_unix_ms": document.made_ms,
        "signed_by": [kid.hex() for kid, _ in document.signatures],
    }  # fmt: skip
    said = [
        f"root document {document.serial}, drafted {made:%Y-%m-%d %H:%M} UTC",
        f"root            {shown['root']}",
        f"hub's key, id   {shown['hub_id']}",
        f"log key, id     {shown['log_key_id']}",
        f"signatures      {len(document.signatures)} of {root.SIGNATURES_MIN}",
    ]
    if document.next_root != document.root:
        said.insert(2, f"root after it   {shown['next_root']}")
    output.show(args, shown, [*said, *lines])
    return 0

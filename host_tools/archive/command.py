"""`parkgate archive`: write one file with which anybody checks readings alone, trusting neither hub nor workshop.

    parkgate archive --data park --month 2026-10 --out october.zip

The file is an ordinary .zip: the signed batches as the gateways sent them, the gateways' keys with their history, kept
heartbeats, a signed statement of what it covers, and two verifiers, `audit.py` and `verify.html`. Times are those of
the park (--zone); --to is not included. --data is a hub's folder, or the database file of a backup, also on a medium
that cannot be written. --messages takes what `parkgate pull` fetched from a gateway by cable instead.

    parkgate archive --data park --lot SHIRT-0147 --out shirt-0147.zip

--lot writes the proof of one lot, for its buyer: the batches between the start and the end of each of its jobs, and
those of what went into it. The verifiers show the lot, its times, pieces and energy, and whether anything is missing.

The file appears under its name when it is complete. A file that exists is not replaced.
"""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from host_tools.archive import log_part, selection
from host_tools.archive.writer import Archive, ArchiveError, Coverage
from host_tools.base import files, output
from host_tools.base.keys import read_public
from host_tools.base.messages import read_messages
from host_tools.hub.production import proof
from host_tools.hub.stores import places
from host_tools.hub.stores.database import DATABASE_FILE, connect
from host_tools.hub.verbs.enrol import find
from host_tools.log import root
from host_tools.log.database.seam import Database
from host_tools.log.keys import KEY_FILE, read
from parkgate.errors import SettingsError
from parkgate.wire import cbor

HERE = Path(__file__).parent
DAYS_MAX = 4000
SETTINGS_LEFT_OUT = "the gateways' settings: the hub does not have them; each batch names its own by their hash"
CANNOT_SHOW = (
    "whether a meter was right: a meter that lies to its own register is signed lying",
    "readings of gateways that are not in it, and whether the hub had more gateways than it names",
    "that nobody copied a gateway's key: a second history is found only where both are compared",
    "that the clock of a gateway was right, beyond what the batches say of it",
)
LOT_CANNOT_SHOW = (
    "jobs of the lot at a machine without a gateway, or jobs that the hub does not list",
    "whether a lot that came from outside, as the hub says, was not made in this park",
    "a correction that a gateway signed later than the newest batch that is here",
    "a job at the same machine that began before the first batch that is here and took a part of the energy",
)


def add_parser(subparsers) -> None:
    """Arguments of `parkgate archive`."""
    parser = subparsers.add_parser("archive", help="write a file that anybody can check alone", description=__doc__)
    parser.add_argument("--data", metavar="DIR|FILE", help="folder of the hub, or a backup of its database")
    parser.add_argument("--messages", type=Path, metavar="FILE", help="use a file of `parkgate pull` instead of --data")
    parser.add_argument("--key", metavar="PUBKEY_FILE|HEX", help="with --messages: the gateway's public key")
    parser.add_argument("--gateway", action="append", metavar="NAME|ID", help="only this one (may be given again)")
    parser.add_argument("--place", metavar="NAME|ID", help="only this place: each gateway that stood there, and when")
    parser.add_argument("--lot", metavar="NAME", help="the proof of this lot, with what went into it")
    parser.add_argument("--month", metavar="YYYY-MM", help="this month, in the park's time")
    parser.add_argument("--from", dest="begin", metavar="DATE", help="from this day (2026-10-01) or minute (…T08:00)")
    parser.add_argument("--to", dest="end", metavar="DATE", help="up to the beginning of this day, or this minute")
    parser.add_argument(
        "--zone", metavar="NAME", help="time zone, such as Asia/Phnom_Penh (default: the hub's, else this computer's)"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the archive to write")
    output.add_json(parser)


def run(args) -> int:
    """Raises ArchiveError, SettingsError, StoreError, LotError, FileTrouble."""
    if (args.data is None) == (args.messages is None):
        raise SettingsError("give --data (the hub's folder) or --messages (a file of `parkgate pull`)")
    if args.zone is None and args.data is not None:
        args.zone = _kept_zone(Path(args.data))
    zone = zone_of(args.zone)
    span = span_of(args, zone)
    if args.messages is not None and (not args.key or args.gateway or args.place or span != selection.Span(None, None)):
        raise SettingsError("--messages needs the gateway's --key, and takes everything that is in the file")
    if args.gateway and args.place:
        raise SettingsError("give either --gateway or --place")
    if args.lot and (args.gateway or args.place or args.messages or span != selection.Span(None, None)):
        raise SettingsError("--lot takes the batches of the lot: leave out --gateway, --place, --messages and times")
    if args.out.exists() or args.out.is_symlink():
        raise ArchiveError(f"{args.out} exists already; it is not replaced")
    files.check_target(args.out)
    taken, unsigned = write(args, span, zone)
    size = args.out.stat().st_size
    lines = [f"{args.out}: {size:,} bytes; gateways: {len(taken.gateways)}, batches: {taken.batches}"]
    lines += [f"left out: {line}" for line in taken.left_out]
    if args.lot:
        lines.append(f"the proof of lot {args.lot}: drop the file on verify.html to see it")
    if unsigned:
        lines.append(f"its statement is not signed: {unsigned}")
    lines.append(f"check it anywhere: python3 audit.py {args.out.name} --trust ID, or verify.html; both are inside")
    document = {
        "file": str(args.out), "bytes": size, "batches": taken.batches, "left_out": taken.left_out,
        "signed": not unsigned, "gateways": [{"name": one.name, "id": one.id.hex()} for one in taken.gateways],
    }  # fmt: skip
    output.show(args, document, lines)
    return 0


def write(args, span, zone):
    """Write the archive that these arguments ask for. Returns (what was taken, why it is not signed)."""
    try:
        with files.creating(args.out) as out, contextlib.closing(Archive(out)) as archive:
            for name, path in (("README.txt", "README.md"), ("audit.py", "audit.py"), ("verify.html", "verify.html")):
                archive.add(name, [files.read_bytes(HERE / path)])
            if args.messages is not None:
                key, unsigned, others, kind = None, "it comes from the gateway, not from the hub", [], "gateway"
                public = read_public(args.key)
                taken = selection.from_messages(read_messages(args.messages), public, args.messages.stem, archive)
                log_xy, not_logged = b"", ["the log: a gateway has none"]
            else:
                source = Path(args.data)
                with contextlib.closing(_open(source)) as db:
                    db.begin_snapshot()  # one snapshot, whatever the hub does meanwhile
                    place, others, taken = _taken(db, args, span, archive)
                    folder = source if source.is_dir() else source.parent
                    log_xy, not_logged = log_part.add(
                        db, folder, taken.gateways, archive, span.to_ms is None and not args.lot, place
                    )
                documents = root.read(folder).bytes
                if documents:
                    archive.add("root.cbor", [cbor.encode(documents)])
                key, unsigned = signing_key(source)
                if key is not None and log_xy and key.xy != log_xy:
                    raise ArchiveError(f"the log key in {source} is not that of the log in its database")
                kind = "lot" if args.lot else "hub" if source.is_dir() else "backup"
            left_out = [*taken.left_out, *not_logged]
            coverage = Coverage(
                kind, time.time_ns() // 1_000_000, "parkgate archive", span.from_ms, span.to_ms,
                str(args.zone or "local time of the hub"),
                days(span, taken, zone), others, [*left_out, SETTINGS_LEFT_OUT],
                [*CANNOT_SHOW, *(LOT_CANNOT_SHOW if args.lot else ())],
            )  # fmt: skip
            archive.finish(coverage, taken.gateways, key, log_xy)
    except FileExistsError:
        raise ArchiveError(f"{args.out} exists already; it is not replaced") from None
    except OSError as error:
        raise files.trouble("cannot write", args.out, error) from None
    return taken._replace(left_out=left_out), unsigned


def _kept_zone(path: Path) -> str | None:
    """The time zone of the park, where the hub was started with --zone. Raises ArchiveError, StoreError."""
    with contextlib.closing(_open(path)) as db:
        return db.about("setting zone")


def _open(path: Path) -> Database:
    """The database of a hub's folder, or a file of it. Where nothing can be written, it is read as it lies there.
    Raises ArchiveError, StoreError."""
    if not path.exists():
        raise ArchiveError(f"there is no hub in {path}")
    folder = path if path.is_dir() else path.parent
    name = DATABASE_FILE if path.is_dir() else path.name
    return connect(folder, read_only=True, name=name)


def _taken(db, args, span, archive):
    """(id of the place or None, ids of the gateways that are left out, what was written)."""
    if args.lot:
        taken = selection.of_lot(db, proof.prove(db, args.lot), archive)
        kids = {gateway.id for gateway in taken.gateways}
        rows = db.execute("SELECT kid FROM gateway ORDER BY kid").fetchall()
        return None, [bytes(kid) for (kid,) in rows if kid not in kids], taken
    place, chosen, others, spans = _chosen(db, args, span)
    return place, others, selection.from_database(db, chosen, spans, archive)


def _chosen(db, args, span):
    """(id of the place or None, gateways, ids of the others, gw → its span)."""
    if not args.place:
        chosen, others = _gateways(db, args.gateway)
        return None, chosen, others, {gw: span for gw, _, _ in chosen}
    place = places.find(db, args.place)
    times = places.times(db, place.pl, span.from_ms, span.to_ms)
    if not times:
        raise SettingsError(f"no gateway stood at {place.name!r} in that time")
    everyone = db.execute("SELECT gw, kid, name FROM gateway ORDER BY kid").fetchall()
    chosen = [row for row in everyone if row[0] in times]
    spans = {gw: selection.Span(*time) for gw, time in times.items()}
    return place.id, chosen, [row[1] for row in everyone if row[0] not in times], spans


def _gateways(db, names):
    """((gw, id, name) of those that are wanted, ids of the others)."""
    everyone = db.execute("SELECT gw, kid, name FROM gateway ORDER BY kid").fetchall()
    chosen = everyone if not names else sorted({find(db, name) for name in names}, key=lambda row: row[1])
    ids = [row[1] for row in chosen]
    return chosen, [row[1] for row in everyone if row[1] not in ids]


def signing_key(path: Path):
    """(the hub's log key or None, why there is none)."""
    if not path.is_dir() or not (path / KEY_FILE).exists():
        return None, "the hub's log key is not here"
    return read(path), ""


def zone_of(name: str | None) -> tzinfo | None:
    """The time zone; None is that of this computer. Raises SettingsError."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"--zone: there is no time zone {name!r}; an example is Asia/Phnom_Penh") from None


def span_of(args, zone) -> selection.Span:
    """From when to when. Raises SettingsError."""
    if args.month:
        if args.begin or args.end:
            raise SettingsError("give either --month, or --from and --to")
        begin = _moment("--month", f"{args.month}-01", zone)
        end = (begin + timedelta(days=32)).replace(day=1)
        return selection.Span(_ms(begin), _ms(_local(end.replace(tzinfo=None), zone)))
    begin_ms = _ms(_moment("--from", args.begin, zone)) if args.begin else None
    end_ms = _ms(_moment("--to", args.end, zone)) if args.end else None
    if begin_ms is not None and end_ms is not None and begin_ms >= end_ms:
        raise SettingsError("--to must be later than --from")
    return selection.Span(begin_ms, end_ms)


def _moment(option: str, text: str, zone) -> datetime:
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M"):
        with contextlib.suppress(ValueError):
            return _local(datetime.strptime(text, form), zone)
    raise SettingsError(f"{option} {text!r}: a day is written 2026-10-01, a minute 2026-10-01T08:00")


def _local(moment: datetime, zone) -> datetime:
    return moment.replace(tzinfo=zone) if zone is not None else moment.astimezone()


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


def days(span: selection.Span, taken: selection.Taken, zone) -> list[int]:
    """The beginnings of the local days from the first reading to behind the last, in Unix ms. Raises ArchiveError."""
    first_ms = span.from_ms if span.from_ms is not None else taken.first_ms
    last_ms = span.to_ms if span.to_ms is not None else taken.last_ms
    if first_ms is None or last_ms is None:
        return []
    if last_ms - first_ms > DAYS_MAX * 86_400_000:
        raise ArchiveError(f"the readings span more than {DAYS_MAX} days: choose a time by --from and --to")
    day = datetime.fromtimestamp(first_ms / 1000, zone).replace(tzinfo=None)
    day = day.replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    while not found or found[-1] < last_ms:
        found.append(_ms(_local(day, zone)))
        day += timedelta(days=1)
    return found

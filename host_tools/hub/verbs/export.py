"""`parkgate export`: the readings of a hub as SenML (RFC 8428, JSON or CBOR) or CSV, exact to the last digit.

Numbers are written from integers and scales, never through a float: 2305 at scale 1 is 230.5 in JSON, and in
CBOR the decimal fraction 4([-1, 2305]). SenML units are those of the IANA registry, by the table of
quantities; a quantity or unit that has none there goes out with the unit its schema declares. SenML has no
word for quality: only readings that carry a value are in it, and one that is not good says so in the field
"quality" (readers that do not know it pass over it). Readings that could never be dated have no place in it
either; CSV has everything.

`availability` is a table of how much of the time each channel's good readings cover, `outages` one of what was signed
as not read, with the reasons, and of the times in which the gateway did not run (those have no instrument). Both are
CSV.

Works beside a running hub: it reads one snapshot of the database. The bytes of each batch are checked against the hash
under which it was stored. One that is damaged is named and left out, the hub raises an alarm about it, the rest is
written, and the exit code is 1.
"""

import contextlib
import csv
import io
import json
import sys
from collections.abc import Iterator
from typing import NamedTuple

import cbor2

from host_tools.base import files, output
from host_tools.hub.reading.decode import decode_stored
from host_tools.hub.stores.damaged import Damaged
from host_tools.hub.stores.schema import DECODED
from host_tools.hub.stores.store import connect, existing
from host_tools.hub.verbs import export_account
from host_tools.hub.verbs.enrol import find
from host_tools.hub.web.summary import decimal_text
from parkgate import quantities
from parkgate.errors import FormatError, SettingsError
from parkgate.reading import GOOD, QUALITY_NAMES, RELATIVE_ONLY, TRUST_NAMES
from parkgate.wire.batch import decode_schema

FORMATS = ("senml-json", "senml-cbor", "csv")
GROUP = 64  # batches decoded together
CSV_HEADER = ("gateway", "epoch", "seq", "instrument", "quantity", "unit", "time_unix_ms", "time_since_boot_ms",
              "clock_trust", "value", "quality")  # fmt: skip

# Labels of RFC 8428 table 4 and CBOR labels of section 6.
_BASE_NAME, _BASE_TIME, _BASE_UNIT = -2, -3, -4
_VALUE, _TIME = 2, 6
_BREAK = b"\xff"


class Stored(NamedTuple):
    """A batch as it lies in the database."""

    seq: int
    data: bytes
    hash: bytes
    schema_id: bytes


class Place(NamedTuple):
    """What a column of a batch is, by its schema."""

    instrument: str
    quantity: str
    unit: str
    scale: int


class Rows(NamedTuple):
    """All readings of one channel in one batch. `values` has an entry a row, None where there is no value."""

    gateway: str
    gateway_id: bytes
    epoch: bytes
    seq: int
    place: Place
    times: list[int]
    trust: bytes
    values: list[int | None]
    quality: bytes


def add_parser(subparsers) -> None:
    """Arguments of `parkgate export`."""
    parser = subparsers.add_parser("export", help="write a hub's readings as SenML or CSV", description=__doc__)
    parser.add_argument("--data", required=True, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--format", choices=FORMATS + export_account.FORMATS)
    parser.add_argument("--list", action="store_true", help="only list the gateways and what there is of each")
    output.add_json(parser)
    parser.add_argument("--gateway", action="append", metavar="NAME|ID", help="only this one (may be given again)")
    parser.add_argument("--from-ms", type=int, metavar="MS", help="only readings at or after this Unix time in ms")
    parser.add_argument("--to-ms", type=int, metavar="MS", help="only readings before this Unix time in ms")
    parser.add_argument("--out", metavar="FILE", help="where to write (default: standard output)")


def run(args) -> int:
    """Write the export. Raises SettingsError for a gateway that is not there, StoreError."""
    if getattr(args, "list", False) or output.wanted(args):
        return _list(args)
    if not args.format:
        raise SettingsError(f"--format: one of {', '.join(FORMATS + export_account.FORMATS)}; or --list")
    if args.out:
        files.check_target(args.out)
    db = connect(existing(args.data), read_only=True)
    damaged = Damaged()
    try:
        db.execute("BEGIN")  # one snapshot, whatever the hub does meanwhile
        if args.out:
            with files.writing(args.out) as file:
                counts = _write_one(args, db, file, damaged)
        else:
            counts = _write_one(args, db, sys.stdout.buffer, damaged)
            sys.stdout.buffer.flush()
    finally:
        db.close()
    written, left_out = counts
    note = f"; {left_out} without a value or a date are not in SenML" if left_out else ""
    what = "lines" if args.format in export_account.FORMATS else "readings"
    print(f"{written} {what} written{note}", file=sys.stderr)
    for line in damaged.lines():
        print(line, file=sys.stderr)
    damaged.alarm(args.data)
    return 1 if damaged.count else 0


def _write_one(args, db, out, damaged) -> tuple[int, int]:
    span = args.gateway, args.from_ms, args.to_ms
    if args.format in export_account.FORMATS:
        return export_account.write(args.format, db, *span, out)
    return write(args.format, read(db, *span, damaged), out)


def _list(args) -> int:
    """What could be exported: each gateway, or those that are named."""
    with contextlib.closing(connect(existing(args.data), read_only=True)) as db:
        gateways = [find(db, name) for name in args.gateway or ()]
        gateways = gateways or db.execute("SELECT gw, kid, name FROM gateway ORDER BY name").fetchall()
        found = []
        for gw, gateway_id, name in gateways:
            batches, readings = db.execute(
                "SELECT coalesce(sum(batches), 0), coalesce(sum(readings), 0) FROM epoch WHERE gw = ?", (gw,)
            ).fetchone()
            channels = db.execute(
                "SELECT instrument, quantity, unit, last_ms FROM series WHERE gw = ? ORDER BY series", (gw,)
            ).fetchall()
            found.append({
                "name": name, "id": gateway_id.hex(), "batches": batches, "readings": readings,
                "channels": [dict(zip(("instrument", "quantity", "unit", "last_ms"), row)) for row in channels],
            })  # fmt: skip
    lines = [
        f"{each['name']:24} {each['id'][:8]}…  {each['batches']} batches, {each['readings']} readings, "
        f"{len(each['channels'])} channels"
        for each in found
    ]
    output.show(args, {"gateways": found}, lines or ["no gateway is enrolled yet"])
    return 0


def read(
    db, names=None, from_ms: int | None = None, to_ms: int | None = None, damaged: Damaged | None = None
) -> Iterator[Rows]:
    """The readings of the named gateways (all without names), in the order of their chains. A reading whose
    time is only relative to a boot is in every span of time. A batch whose bytes are not those that were stored is
    left out and noted in `damaged`. Raises SettingsError."""
    damaged = Damaged() if damaged is None else damaged
    gateways = [find(db, name) for name in names] if names else None
    if gateways is None:
        gateways = db.execute("SELECT gw, kid, name FROM gateway ORDER BY name").fetchall()
    for gw, gateway_id, name in gateways:
        schemas = {}
        for ep, epoch in db.execute("SELECT ep, epoch FROM epoch WHERE gw = ? ORDER BY ep", (gw,)).fetchall():
            question = f"SELECT seq, bytes, hash, schema_id FROM batch WHERE ep = ? AND state = {DECODED} ORDER BY seq"
            cursor = db.execute(question, (ep,))
            while group := [Stored(*row) for row in cursor.fetchmany(GROUP)]:
                whole = [one for one in group if damaged.check((gw, name, epoch, one.seq), one.data, one.hash)]
                for one, tables in zip(whole, decode_stored([one.data for one in whole])):
                    if isinstance(tables, FormatError):
                        damaged.leave_out((gw, name, epoch, one.seq), str(tables))
                        continue
                    if one.schema_id not in schemas:
                        schemas[one.schema_id] = _places(db, gw, one.schema_id)
                    for rows in _rows(name, gateway_id, epoch, one.seq, tables, schemas[one.schema_id]):
                        cut = _cut(rows, from_ms, to_ms)
                        if cut.times:
                            yield cut


def _places(db, gw, schema_id):
    data = db.execute("SELECT bytes FROM schema WHERE gw = ? AND schema_id = ?", (gw, schema_id)).fetchone()[0]
    return [[Place(name, *channel) for channel in channels] for name, _, channels in decode_schema(data)]


def _rows(name, gateway_id, epoch, seq, tables, places):
    for table in tables:
        times = [int(time_ms) for time_ms in table.times]
        for i, place in enumerate(places[table.instrument]):
            quality, values = table.rows_of(i)
            yield Rows(name, gateway_id, epoch, seq, place, times, table.trust, values, quality)


def _cut(rows, from_ms, to_ms):
    if from_ms is None and to_ms is None:
        return rows
    low, high = from_ms or 0, to_ms if to_ms is not None else 1 << 62
    kept = [i for i, (t, trust) in enumerate(zip(rows.times, rows.trust)) if trust == RELATIVE_ONLY or low <= t < high]
    return rows._replace(
        times=[rows.times[i] for i in kept],
        trust=bytes(rows.trust[i] for i in kept),
        values=[rows.values[i] for i in kept],
        quality=bytes(rows.quality[i] for i in kept),
    )


def write(form: str, rows: Iterator[Rows], out) -> tuple[int, int]:
    """Write `rows` to the binary file `out` in one of FORMATS. Returns (readings written, readings left
    out)."""
    return {"csv": _write_csv, "senml-json": _write_senml_json, "senml-cbor": _write_senml_cbor}[form](rows, out)


def _write_csv(rows, out):
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    written = 0
    for part in rows:
        place = part.place
        start = (part.gateway, part.epoch.hex(), part.seq, place.instrument, place.quantity, place.unit)
        for time_ms, trust, value, quality in zip(part.times, part.trust, part.values, part.quality):
            dated = trust != RELATIVE_ONLY
            writer.writerow(
                (
                    *start,
                    time_ms if dated else "",
                    "" if dated else time_ms,
                    TRUST_NAMES[trust],
                    decimal_text(value, place.scale) or "",
                    QUALITY_NAMES.get(quality, f"code {quality}"),
                )
            )
            written += 1
    text.detach()
    return written, 0


# SenML.


def senml_unit(place: Place) -> tuple[str, int]:
    """(unit, power of ten) for SenML: a value of `place` is its integer × 10^power in that unit of the
    registry, or in its own unit where the registry has none."""
    known = quantities.find(place.quantity)
    if known is not None and known.senml is not None:
        exponent = quantities.unit_exponent(place.unit, known.unit)
        if exponent is not None:
            return known.senml, exponent + known.senml_exponent - place.scale
    return place.unit, -place.scale


def senml_name(text: str) -> str:
    """`text` as a part of a SenML name (RFC 8428 section 4.5.1): other characters become "_"."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-:._") else "_" for c in text)


def _packs(rows):
    """(base fields, [(time in ms after the base time, value, quality)], power of ten, left out) of each
    part."""
    for part in rows:
        unit, exponent = senml_unit(part.place)
        name = f"parkgate:{part.gateway_id.hex()}:{senml_name(part.place.instrument)}:{senml_name(part.place.quantity)}"
        found = [
            (time_ms, value, quality)
            for time_ms, trust, value, quality in zip(part.times, part.trust, part.values, part.quality)
            if value is not None and trust != RELATIVE_ONLY
        ]
        yield name, unit, exponent, found, len(part.times) - len(found)


def _write_senml_json(rows, out):
    written = left_out = 0
    out.write(b"[")
    for name, unit, exponent, found, missing in _packs(rows):
        left_out += missing
        base_ms = found[0][0] if found else 0
        for i, (time_ms, value, quality) in enumerate(found):
            fields = []
            if i == 0:
                # The base name is the whole name: no record needs one of its own.
                fields.append(f'"bn":{_text(name)},"bt":{decimal_text(base_ms, 3)},"bu":{_text(unit)}')
            if time_ms != base_ms:
                fields.append(f'"t":{decimal_text(time_ms - base_ms, 3)}')
            fields.append(f'"v":{decimal_text(value, -exponent)}')
            if quality != GOOD:
                fields.append(f'"quality":{_text(QUALITY_NAMES.get(quality, f"code {quality}"))}')
            out.write((",\n" if written else "").encode() + b"{" + ",".join(fields).encode() + b"}")
            written += 1
    out.write(b"]\n")
    return written, left_out


def _text(text):
    return json.dumps(text, ensure_ascii=False)


def _write_senml_cbor(rows, out):
    written = left_out = 0
    out.write(b"\x9f")  # an array without a length: how many there are is known at the end
    for name, unit, exponent, found, missing in _packs(rows):
        left_out += missing
        base_ms = found[0][0] if found else 0
        for i, (time_ms, value, quality) in enumerate(found):
            record: dict = {}
            if i == 0:
                record = {_BASE_NAME: name, _BASE_TIME: _decimal(base_ms, -3), _BASE_UNIT: unit}
            record[_VALUE] = _decimal(value, exponent)
            if time_ms != base_ms:
                record[_TIME] = _decimal(time_ms - base_ms, -3)
            if quality != GOOD:
                record["quality"] = QUALITY_NAMES.get(quality, f"code {quality}")
            out.write(cbor2.dumps(record))
            written += 1
    out.write(_BREAK)
    return written, left_out


def _decimal(value, exponent):
    """An integer where there are no decimals, else the decimal fraction of RFC 8949 section 3.4.4."""
    return value * 10**exponent if exponent >= 0 else cbor2.CBORTag(4, [exponent, value])

"""Baselines that never change, and adjustments with reasons.

A baseline is a file `baselines/<SHA-256>.json` in the hub's data, named by the hash of its bytes; a signed statement in
the log names that hash. A file that was touched is refused. What has changed since (a new hall, a second shift) is an
adjustment: kWh for a span of days, with a reason, a signed statement too. Neither is ever changed or removed.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from host_tools.base import files
from host_tools.evidence.enpi.model import Point
from host_tools.hub.stores.gateways import whoami
from host_tools.log import record
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError
from parkgate.log import statement

FORM = "parkgate baseline 1"
FOLDER = "baselines"
NAME = "setting baselines"  # in the table `about`
_KWH = re.compile(r"[+-]?\d{1,12}(\.\d{1,6})?")


class Adjustment(NamedTuple):
    """`kwh` more (or less) are to be expected from the day `begin` to the day `end`, because of `reason`."""

    begin: date
    end: date
    kwh: Fraction
    reason: str
    unix_ms: int
    by: str | None
    entry: str

    def of(self, first: date, last: date) -> Fraction:
        """Its part of a period, by days."""
        days = (min(self.end, last) - max(self.begin, first)).days + 1
        return self.kwh * max(0, days) / ((self.end - self.begin).days + 1)

    def document(self) -> dict:
        kwh = float_free(self.kwh)
        return {
            "from": self.begin.isoformat(), "to": self.end.isoformat(), "kwh": kwh, "reason": self.reason,
            "unix_ms": self.unix_ms, "by": self.by, "entry": self.entry,
        }  # fmt: skip


class Baseline(NamedTuple):
    """A baseline as its file says, and the statement that names it."""

    name: str
    sha256: str
    unix_ms: int
    by: str | None
    entry: str
    content: dict

    def points(self) -> list[Point]:
        return [
            Point(
                date.fromisoformat(one["from"]), date.fromisoformat(one["before"]), Fraction(one["kwh_least"]),
                Fraction(one["kwh_most"]), tuple(Fraction(value) for value in one["variables"]),
            )
            for one in self.content["points"]
        ]  # fmt: skip


def float_free(value: Fraction) -> str:
    """A decimal that is exact where it has an end within 9 digits, else a fraction: 12.5, 1/3."""
    scaled = value * 10**9
    if scaled.denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(scaled.numerator)).rjust(10, "0")
    text = f"{digits[:-9]}.{digits[-9:]}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 else text


def point(one: Point) -> dict:
    """A point as it stands in the file. `before` is the day after its last."""
    return {
        "from": one.begin.isoformat(), "before": one.end.isoformat(), "kwh_least": float_free(one.least),
        "kwh_most": float_free(one.most), "variables": [float_free(value) for value in one.variables],
    }  # fmt: skip


def _kept(db: Database) -> dict:
    row = db.execute("SELECT value FROM about WHERE name = ?", (NAME,)).fetchone()
    try:
        found = json.loads(row[0]) if row else {"baselines": [], "adjustments": []}
        return {"baselines": list(found["baselines"]), "adjustments": list(found["adjustments"])}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise SettingsError("the baselines cannot be read from the database: it is damaged") from None


def listed(db: Database) -> list[dict]:
    """{"name", "sha256", "unix_ms", "by", "entry"} of each, the oldest first."""
    return _kept(db)["baselines"]


def put(db: Database, data_dir: Path, name: str, place_id: bytes, content: dict) -> Baseline:
    """Write a baseline and its statement. Raises SettingsError: a name stands for one baseline for all time."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}", name):
        raise SettingsError("a baseline's name has 1 to 40 letters, digits, blanks, dots and dashes")
    data = (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()
    digest = hashlib.sha256(data).digest()
    folder = data_dir / FOLDER
    files.make_folder(folder)
    path = folder / f"{digest.hex()}.json"
    with files.undoing(path), record.recording(db) as leaves:
        kept = _kept(db)
        if any(one["name"] == name for one in kept["baselines"]):
            raise SettingsError(
                f"there is a baseline {name!r} already, and a baseline never changes: choose a new name"
            )
        files.write(path, data.decode())
        facts = {"name": name, "sha256": digest, "place": place_id, "from": content["from"], "to": content["to"]}
        now_ms, by = record.now_unix_ms(), whoami()
        entry = leaves.statement(statement.BASELINE_SET, facts, by, now_ms)
        about = {"name": name, "sha256": digest.hex(), "unix_ms": now_ms, "by": by, "entry": entry.hex()}
        kept["baselines"].append(about)
        _keep(db, kept)
    return Baseline(**about, content=content)


def _keep(db, kept: dict) -> None:
    db.execute(
        "INSERT INTO about VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (NAME, json.dumps(kept, ensure_ascii=True)),
    )


def load(db: Database, data_dir: Path, name: str) -> Baseline:
    """Raises SettingsError: there is none of this name, or its file is not as it was signed."""
    about = next((one for one in listed(db) if one["name"] == name), None)
    if about is None:
        names = ", ".join(one["name"] for one in listed(db)) or "none yet: `parkgate enpi baseline` makes one"
        raise SettingsError(f"there is no baseline {name!r}; there are {names}")
    path = data_dir / FOLDER / f"{about['sha256']}.json"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {files.why(error)}. Put it back from a backup") from None
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise SettingsError(f"{path} is not as it was signed: it was changed. Put it back from a backup")
    return Baseline(**about, content=json.loads(data))


def adjust(db: Database, baseline: Baseline, begin: date, end: date, kwh: str, reason: str) -> Adjustment:
    """Write an adjustment and its statement. Raises SettingsError."""
    if end < begin:
        raise SettingsError("an adjustment ends before it begins")
    if not _KWH.fullmatch(kwh):
        raise SettingsError(f"{kwh!r:.40} is not a number of kWh: 12.5, or -800 where less is to be expected")
    reason = " ".join(reason.split())
    if not 10 <= len(reason) <= 400 or not reason.isprintable():
        raise SettingsError("an adjustment needs its reason, in 10 to 400 characters: --reason")
    with record.recording(db) as leaves:
        kept = _kept(db)
        facts = {
            "baseline": bytes.fromhex(baseline.sha256), "name": baseline.name, "from": begin.isoformat(),
            "to": end.isoformat(), "kwh": kwh.removeprefix("+"), "reason": reason,
        }  # fmt: skip
        now_ms, by = record.now_unix_ms(), whoami()
        entry = leaves.statement(statement.BASELINE_ADJUSTED, facts, by, now_ms)
        told = {key: facts[key] for key in ("from", "to", "kwh", "reason")}
        kept["adjustments"].append(
            {"baseline": baseline.sha256, **told, "unix_ms": now_ms, "by": by, "entry": entry.hex()}
        )
        _keep(db, kept)
    return Adjustment(begin, end, Fraction(kwh), reason, now_ms, by, entry.hex())


def adjustments(db: Database, baseline: Baseline) -> list[Adjustment]:
    """Those of a baseline, in the order of writing."""
    return [
        Adjustment(
            date.fromisoformat(one["from"]), date.fromisoformat(one["to"]), Fraction(one["kwh"]), one["reason"],
            one["unix_ms"], one["by"], one["entry"],
        )
        for one in _kept(db)["adjustments"] if one["baseline"] == baseline.sha256
    ]  # fmt: skip

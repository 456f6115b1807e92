"""Alarms and their messages in the database (`raised`, `alarm_message`), and what people do with them.

One writer opens and ends alarms: the hub's thread (`watch`). A person's acknowledgement comes from anywhere, as a row
that is changed and a signed statement in the log.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from host_tools.hub.alarms.causes import FINDINGS, KINDS, URGENT, Cause
from host_tools.hub.alarms.rules import CLOSED, OPENED, Alarm
from host_tools.log import record
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError
from parkgate.log import statement

KEPT = 10_000  # alarms that are over; older ones are forgotten
SHOWN = 100
MEMBERS_SHOWN = 5000
WORD_LENGTH_MAX, NAME_LENGTH_MAX = 500, 64
CHANGED_EVERY_MS = 60_000  # how often the numbers in an open alarm's words are written anew
_FIELDS = (
    "id, kind, what, urgent, causes, ever, count, begun_unix_ms, opened_unix_ms, changed_unix_ms, closed_unix_ms,"
    " acknowledged_unix_ms, acknowledged_by, word"
)


@contextlib.contextmanager
def writing(db: Database) -> Iterator[None]:
    """One transaction."""
    with db.transaction():
        yield


# What the watching thread reads and writes.


def open_alarms(db: Database) -> list[Alarm]:
    """Alarms that are not over, the oldest first."""
    rows = db.execute(f"SELECT {_FIELDS} FROM raised WHERE closed_unix_ms IS NULL ORDER BY id").fetchall()
    return [_alarm(row) for row in rows]


def _alarm(row) -> Alarm:
    alarm = Alarm(row[1], row[7], row[8])
    alarm.id, alarm.what, alarm.urgent = row[0], row[2], bool(row[3])
    kept = json.loads(row[4])
    alarm.members = {fields[0]: Cause(*fields) for fields in kept["members"]}
    alarm.returned_ms, alarm.news = kept["returned_ms"], kept["news"]
    alarm.window = tuple(kept["window"]) if kept["window"] else None
    alarm.ever, alarm.count = row[5], row[6]
    if row[11] is not None:
        alarm.acknowledged = (row[11], row[12], row[13])
    return alarm


def marks(db: Database) -> dict[str, int]:
    """Key → mark at which the cause was acknowledged."""
    row = db.execute("SELECT value FROM about WHERE name = 'alarm marks'").fetchone()
    return json.loads(row[0]) if row else {}


def put_about(db: Database, name: str, value: str) -> None:
    db.execute(
        "INSERT INTO about (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def write(db: Database, changes: Sequence[tuple[str, Alarm]], now_ms: int) -> None:
    """In the open transaction: what `rules.step` changed. Numbers new alarms. What a person wrote meanwhile stays."""
    for what, alarm in changes:
        kept = {
            "members": [list(member) for member in alarm.members.values()],
            "returned_ms": alarm.returned_ms,
            "news": alarm.news,
            "window": alarm.window,
        }
        values = (alarm.what, int(alarm.urgent), json.dumps(kept), alarm.ever, alarm.count, alarm.begun_ms, now_ms)
        if what == OPENED or alarm.id is None:
            alarm.id = db.execute(
                "INSERT INTO raised (what, urgent, causes, ever, count, begun_unix_ms, changed_unix_ms, kind,"
                " opened_unix_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (*values, alarm.kind, alarm.opened_ms),
            ).fetchone()[0]
        else:
            db.execute(
                "UPDATE raised SET what = ?, urgent = ?, causes = ?, ever = ?, count = ?, begun_unix_ms = ?,"
                " changed_unix_ms = ? WHERE id = ?",
                (*values, alarm.id),
            )
        if what == CLOSED:
            db.execute(
                "UPDATE raised SET closed_unix_ms = ? WHERE id = ? AND closed_unix_ms IS NULL", (now_ms, alarm.id)
            )
    if any(what == CLOSED for what, _ in changes):
        question = "SELECT id FROM raised WHERE closed_unix_ms IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?"
        last = db.execute(question, (KEPT,)).fetchone()
        if last is not None:
            db.execute("DELETE FROM raised WHERE closed_unix_ms IS NOT NULL AND id <= ?", last)


# Messages that are still to be sent.


class Message(NamedTuple):
    """`event` is "opened" or "closed"."""

    id: int
    alarm: int
    event: str
    address: str
    due_ms: int
    tries: int


def add_message(db: Database, alarm: int, event: str, address: str, due_ms: int) -> None:
    """In the open transaction. The end of an alarm that nobody was told of is not told either."""
    if event == CLOSED:
        question = "DELETE FROM alarm_message WHERE alarm = ? AND address = ? AND event = ? AND tries = 0"
        if db.execute(question, (alarm, address, OPENED)).rowcount:
            return
    db.execute(
        "INSERT INTO alarm_message (alarm, event, address, due_unix_ms, tries) VALUES (?, ?, ?, ?, 0)",
        (alarm, event, address, due_ms),
    )


def due_messages(db: Database, now_ms: int, limit: int) -> list[Message]:
    question = (
        "SELECT id, alarm, event, address, due_unix_ms, tries FROM alarm_message WHERE due_unix_ms <= ?"
        " ORDER BY id LIMIT ?"
    )
    return [Message(*row) for row in db.execute(question, (now_ms, limit)).fetchall()]


def sent(db: Database, messages: Iterable[Message]) -> None:
    db.executemany("DELETE FROM alarm_message WHERE id = ?", [(message.id,) for message in messages])


def put_off(db: Database, messages: Iterable[Message], due_ms: int) -> None:
    question = "UPDATE alarm_message SET tries = tries + 1, due_unix_ms = ? WHERE id = ?"
    db.executemany(question, [(due_ms, message.id) for message in messages])


# What people see and do.


def listed(db: Database, ended: bool = False, limit: int = SHOWN) -> list[dict]:
    """Alarms as JSON: those that are open, urgent and unacknowledged ones first; with `ended` those that are over, the
    newest first."""
    which = "NOT NULL ORDER BY closed_unix_ms DESC, id DESC" if ended else "NULL ORDER BY id"
    rows = db.execute(f"SELECT {_FIELDS} FROM raised WHERE closed_unix_ms IS {which} LIMIT ?", (limit,)).fetchall()
    found = [document(row) for row in rows]
    if not ended:
        found.sort(key=lambda each: (each["acknowledged"] is not None, not each["urgent"], each["id"]))
    return found


def one(db: Database, number: int) -> dict:
    """One alarm as JSON. Raises SettingsError."""
    return document(_row(db, number))


def _row(db, number: int):
    row = db.execute(f"SELECT {_FIELDS} FROM raised WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise SettingsError(f"there is no alarm {number}: `parkgate alarm list` shows them")
    return row


def document(row) -> dict:
    """A row of `raised` as JSON. `gateways` are the gateways that are still concerned."""
    alarm = _alarm(row)
    gateways = {member.gateway: member.name for member in alarm.members.values() if member.gateway is not None}
    kind = KINDS.get(alarm.kind)
    return {
        "id": alarm.id,
        "kind": alarm.kind,
        "what": alarm.what,
        "todo": kind.todo if kind else "",
        "urgent": alarm.urgent or bool(kind and kind.weight == URGENT),
        "begun_unix_ms": alarm.begun_ms,
        "opened_unix_ms": alarm.opened_ms,
        "closed_unix_ms": row[10],
        "gateways": [{"id": key, "name": name} for key, name in gateways.items()][:MEMBERS_SHOWN],
        "concerned": len(alarm.members),
        "ever": alarm.ever,
        "returns": not alarm.news and all(member.mark is None for member in alarm.members.values()),
        "acknowledged": alarm.acknowledged and dict(zip(("unix_ms", "by", "word"), alarm.acknowledged)),
    }


def acknowledge(db: Database, number: int, by: str, word: str, now_ms: int) -> dict:
    """A person has seen this alarm: by whom and in which words, as a signed statement of the log. An alarm of something
    that does not return (a fork, lost readings) ends with it. Returns the alarm. Raises SettingsError."""
    by, word = check_text("the name", by, NAME_LENGTH_MAX), check_text("the word", word, WORD_LENGTH_MAX)
    with record.recording(db) as leaves:
        row = _row(db, number)
        if row[10] is not None:
            raise SettingsError(f"alarm {number} is over since then: nothing is left to acknowledge")
        alarm = _alarm(row)
        ends = alarm.news or any(member.mark is not None for member in alarm.members.values())
        db.execute(
            "UPDATE raised SET acknowledged_unix_ms = ?, acknowledged_by = ?, word = ?, closed_unix_ms = ?"
            " WHERE id = ?",
            (now_ms, by, word, now_ms if ends else None, number),
        )
        known = marks(db)
        known.update({member.key: member.mark for member in alarm.members.values() if member.mark is not None})
        put_about(db, "alarm marks", json.dumps(known))
        facts = {"alarm": number, "kind": alarm.kind, "what": alarm.what[:WORD_LENGTH_MAX], "word": word}
        leaves.statement(statement.ALARM_ACKNOWLEDGED, facts, by, now_ms)
        _clear_findings(db, leaves, alarm, by, now_ms)
        return document(_row(db, number))


def _clear_findings(db, leaves, alarm: Alarm, by: str, now_ms: int) -> None:
    """What the hub found while it took messages is looked into, then: as `parkgate enrol --clear-alarms`."""
    if alarm.kind not in FINDINGS or alarm.kind == "clock":
        return
    for member in alarm.members.values():
        gateway = bytes.fromhex(member.gateway or "")
        kind = member.key.rpartition(":")[2]
        which = "kind = ? AND gw IN (SELECT gw FROM gateway WHERE kid = ?)"
        rows = db.execute(f"SELECT kind, count, what FROM alarm WHERE {which}", (kind, gateway)).fetchall()
        db.execute(f"DELETE FROM alarm WHERE {which}", (kind, gateway))
        if rows:
            facts = {"gateway": gateway, "alarms": [list(each) for each in rows]}
            leaves.statement(statement.ALARMS_CLEARED, facts, by, now_ms)


def check_text(what: str, text: str, length_max: int) -> str:
    """`text` without blanks around it. Raises SettingsError."""
    text = text.strip()
    if not text or len(text) > length_max or not text.isprintable():
        raise SettingsError(f"{what} is 1 to {length_max} printable characters")
    return text

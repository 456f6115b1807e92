"""`parkgate alarm`: what is wrong in the park, who has seen it, who gets messages.

    parkgate alarm list --data DIR                     open alarms; --ended those that are over
    parkgate alarm show 7 --data DIR                   one of them: since when, which gateways, what to do
    parkgate alarm acknowledge 7 --word "fuse replaced" --data DIR
    parkgate alarm test --data DIR                     send a test message to each address, or to --address NAME
    parkgate alarm limit --channel GATEWAY INSTRUMENT QUANTITY --above 90 --for 10 --data DIR
    parkgate alarm limits --data DIR                   limits that people have set; --remove N takes one away

A running hub opens an alarm for each cause and ends it when the cause is gone. What does not return (lost readings, a
fork) ends when somebody acknowledges it. The file alarms.toml in the hub's data says who gets messages:

    [[address]]
    name = "manager"
    url = "mailtos://user:password@mail.example?to=manager@park.example"
    quiet = "22:00-06:00"

`url` is any address of apprise (e-mail, webhooks, Telegram and many more; pip install 'parkgate[alarms]'), or `mqtt` a
topic at the hub's broker. chmod 600 alarms.toml: it holds passwords.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from datetime import datetime
from pathlib import Path

from host_tools.base import output
from host_tools.hub.alarms import addresses, ledger, limits, send
from host_tools.hub.park import zone
from host_tools.hub.stores.gateways import whoami
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError

NUMBERED = ("show", "acknowledge")


def add_parser(subparsers) -> None:
    """Arguments of `parkgate alarm`."""
    parser = subparsers.add_parser(
        "alarm", help="list and acknowledge alarms, set limits, test the messages", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=("list", "show", "acknowledge", "test", "limit", "limits"))
    parser.add_argument("number", nargs="?", type=int, metavar="N", help="for show and acknowledge: its number")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--ended", action="store_true", help="for list: alarms that are over")
    parser.add_argument("--word", metavar="TEXT", help="for acknowledge: what you found or do")
    parser.add_argument("--by", metavar="NAME", help="for acknowledge: who you are (default: this computer's user)")
    parser.add_argument("--address", metavar="NAME", help="for test: only this address of alarms.toml")
    parser.add_argument(
        "--channel", nargs=3, metavar=("GATEWAY", "INSTRUMENT", "QUANTITY"), help="for limit: such as active_power"
    )
    parser.add_argument("--above", metavar="VALUE", help="for limit: an alarm above this, in the channel's unit")
    parser.add_argument("--below", metavar="VALUE", help="for limit: an alarm below this")
    parser.add_argument(
        "--for", type=int, default=0, dest="minutes", metavar="MINUTES",
        help="for limit: only when it lasts so long (default 0: at once)",
    )  # fmt: skip
    parser.add_argument("--remove", type=int, metavar="N", help="for limits: take this limit away")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, LogError, FileTrouble."""
    if (args.action in NUMBERED) != (args.number is not None):
        wanted = "the number of an alarm" if args.action in NUMBERED else "no number"
        raise SettingsError(f"alarm {args.action} takes {wanted}")
    verbs = {"list": _list, "show": _show, "acknowledge": _acknowledge, "limit": _limit, "limits": _limits}
    folder = existing(args.data)
    if args.action == "test":
        return _test(args, folder)
    with contextlib.closing(connect(folder)) as db:
        return verbs[args.action](args, db)


def _list(args, db) -> int:
    found = ledger.listed(db, args.ended)
    tz = _zone(db)
    lines = [_line(alarm, tz) for alarm in found]
    output.show(args, {"alarms": found}, lines or ["no alarm is over yet" if args.ended else "no alarm is open"])
    return 0


def _line(alarm: dict, tz) -> str:
    mark = "seen  " if alarm["acknowledged"] else "URGENT" if alarm["urgent"] else "      "
    who = alarm["gateways"][0]["name"] + ": " if len(alarm["gateways"]) == 1 else ""
    ended = f" to {_clock(alarm['closed_unix_ms'], tz)}" if alarm["closed_unix_ms"] else ""
    return f"{alarm['id']:5} {mark} {_clock(alarm['begun_unix_ms'], tz)}{ended}  {alarm['kind']}: {who}{alarm['what']}"


def _show(args, db) -> int:
    alarm, tz = ledger.one(db, args.number), _zone(db)
    seen = alarm["acknowledged"]
    lines = [_line(alarm, tz), f"      to do: {alarm['todo']}"]
    lines += [f"      {each['name']}  {each['id']}" for each in alarm["gateways"]]
    if seen:
        lines.append(f"      seen by {seen['by']} at {_clock(seen['unix_ms'], tz)}: {seen['word']}")
    if not alarm["returns"] and not alarm["closed_unix_ms"]:
        lines.append("      it ends when somebody acknowledges it")
    output.show(args, {"alarm": alarm}, lines)
    return 0


def _acknowledge(args, db) -> int:
    if not args.word:
        raise SettingsError('alarm acknowledge: --word "what you found or do" belongs to it')
    alarm = ledger.acknowledge(db, args.number, args.by or whoami(), args.word, _now())
    over = "; it is over" if alarm["closed_unix_ms"] else "; it ends when its cause is gone"
    output.show(args, {"alarm": alarm}, [f"acknowledged alarm {args.number}{over}"])
    return 0


def _test(args, folder) -> int:
    known = addresses.load(folder)
    wanted = [each for each in known if args.address in (None, each.name)]
    if not wanted:
        names = ", ".join(each.name for each in known) or "none"
        raise SettingsError(f"{folder / addresses.FILE} has no such address; it has {names}")
    found, lines = [], []
    for address in wanted:
        problem = None
        try:
            text = "This is a test. Alarms of this park's hub will reach you here."
            send.send(address, "Parkgate: a test", text, {"test": True}, None)
        except send.SendError as error:
            problem = str(error)
        found.append({"name": address.name, "sent": problem is None, "problem": problem})
        lines.append(f"{address.name}: {'sent' if problem is None else problem}")
    output.show(args, {"addresses": found}, lines)
    return 0 if all(each["sent"] for each in found) else 1


def _limit(args, db) -> int:
    if not args.channel:
        raise SettingsError("alarm limit: --channel GATEWAY INSTRUMENT QUANTITY names the channel")
    limit = limits.add(db, tuple(args.channel), args.above, args.below, args.minutes, whoami())
    output.show(args, {"limit": limit._asdict()}, [f"limit {limit.number} is set"])
    return 0


def _limits(args, db) -> int:
    if args.remove is not None:
        limits.remove(db, args.remove, whoami())
    found = limits.load(db)
    names = {kid.hex(): name for kid, name in db.execute("SELECT kid, name FROM gateway").fetchall()}
    lines = []
    for each in found:
        bounds = [f"{word} {value}" for word, value in (("above", each.above), ("below", each.below)) if value]
        lasting = f" for {each.minutes} minutes" if each.minutes else ""
        where = f"{names.get(each.gateway, each.gateway)} {each.instrument} {each.quantity}"
        lines.append(f"{each.number:5}  {where}: alarm {' or '.join(bounds)}{lasting}")
    output.show(args, {"limits": [each._asdict() for each in found]}, lines or ["no limit is set"])
    return 0


def _zone(db):
    row = db.execute("SELECT value FROM about WHERE name = 'setting zone'").fetchone()
    return zone.zone(row[0] if row else zone.local_zone_name())


def _clock(ms: int, tz) -> str:
    return datetime.fromtimestamp(ms / 1000, tz).strftime("%Y-%m-%d %H:%M")


def _now() -> int:
    return time.time_ns() // 1_000_000

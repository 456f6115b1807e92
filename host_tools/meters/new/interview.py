"""`parkgate meters new`: a profile for a meter that nobody has heard of, made step by step and tried live.

It asks for the name, where the facts are from, and each register; with `--port` it reads the registers from the meter,
shows what they mean in every type and word order at once, and asks what the meter's display shows. A start may be a
list of registers (`--csv`), another profile (`--copy`) or a search of the meter (`--from-scan`). What was answered is
kept beside the profile until it is finished: after Ctrl-C the same command goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path

from host_tools.base import files, output, profile_files
from host_tools.base.questions import ask, yes
from host_tools.meters.lines.opening import Bus, is_tcp, open_bus
from host_tools.meters.new import sources, word_orders
from parkgate import quantities
from parkgate.errors import ModbusError, ProfileError
from parkgate.meters import profiles

_STOPPED = 130
_INTERRUPTED = "nothing was written but the answers so far: the same command goes on with them"
_WIDTH = 4  # registers that are looked at for one value
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def add_arguments(parser) -> None:
    """The arguments of `meters new`."""
    parser.add_argument("name", help="maker and model in lower case with hyphens, such as acme-m100")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--csv", type=Path, metavar="FILE", help="registers: quantity,address,type,decimals,unit,words")
    start.add_argument("--copy", metavar="PROFILE", help="begin with the registers of another profile")
    start.add_argument("--from-scan", action="store_true", help="begin with registers that look like mains values")
    parser.add_argument("--port", help="serial port with the meter, or tcp:HOST[:PORT]: each answer is tried live")
    parser.add_argument("--unit", type=int, default=1, help="its unit id (default 1)")
    parser.add_argument("--line", metavar="BAUD[N|E|O]", help="baud rate and parity (default 9600N; DL/T 645: 2400E)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the file (default: your own profiles)")
    parser.add_argument("--protocol", choices=("modbus", "dlt645"), default="modbus", help="what the meter speaks")
    parser.add_argument("--address", metavar="DIGITS", help="DL/T 645: its address (default: the only meter there)")
    output.add_json(parser)


def run(args) -> int:
    """Raises ProfileError, FileTrouble, LinkError, SettingsError."""
    from host_tools.meters.scan import line_of

    if not _NAME.fullmatch(args.name):
        raise ProfileError(f"{args.name!r}: a name is maker and model in lower case with hyphens, such as acme-m100")
    if args.from_scan and not args.port:
        raise ProfileError("--from-scan looks at a live meter: name its serial port with --port")
    folder = args.out or (args.meter_folders[0] if args.meter_folders else profile_files.user_folder())
    there = profile_files.find(args.name)
    if there:
        raise ProfileError(f"there is a profile {args.name!r} already: {there}")
    dlt645 = args.protocol == "dlt645"
    if dlt645 and (args.csv or args.from_scan or (args.port and is_tcp(args.port))):
        raise ProfileError("DL/T 645: --copy and a serial --port only; a meter says itself what it has")
    baud, parity = line_of(args.line or ("2400E" if dlt645 else "9600N"))
    files.make_folder(folder)
    path = folder / f"{args.name}.json"
    files.check_target(path)
    if dlt645:
        return _run_dlt645(args, path, baud, parity)
    with open_bus(args.port, baud, parity, 200) if args.port else contextlib.nullcontext() as bus:
        made = Interview(args, path, Meter(bus, args.unit) if bus else None, baud, parity)
        try:
            with output.talk(args):
                made.run()
        except KeyboardInterrupt:
            output.say(args, f"\n{_INTERRUPTED}")
            if output.wanted(args):
                print(output.error_document(output.verb_of(args), "Interrupted", _INTERRUPTED, _STOPPED))
            return _STOPPED
    output.show(args, _as_document(args, path, made.document))
    return 0


def _run_dlt645(args, path: Path, baud: int, parity: str) -> int:
    from host_tools.meters.new import dlt645

    with output.talk(args):
        document = dlt645.run(args, path, baud, parity)
        write(path, document)
    output.show(args, _as_document(args, path, document))
    return 0


def _as_document(args, path: Path, document: dict) -> dict:
    return {"file": str(path), "profile": path.stem, "registers": len(document["registers"]),
            "tried_live": bool(args.port)}  # fmt: skip


def write(path: Path, document: dict) -> None:
    """Write a profile, and say what comes next."""
    files.write(path, to_text(document))
    print(f"written: {path}")
    print(f"check it:        parkgate meters check {path}")
    print(f"bring it along:  parkgate meters push {path} --port PORT")


class Meter:
    """The live meter, read register by register."""

    def __init__(self, bus: Bus, unit_id: int):
        self.bus, self.unit_id = bus, unit_id

    def words(self, function: int, address: int, count: int) -> list[int] | str:
        """The registers, or why there are none, in words."""
        try:
            data = self.bus.read(self.unit_id, function, address, count).data
        except ModbusError as error:
            return str(error)
        return [data[i] << 8 | data[i + 1] for i in range(0, len(data), 2)]

    def most_words(self, function: int, address: int) -> list[int] | str:
        """As many registers from `address` on as it gives, four at most."""
        found: list[int] | str = "no answer"
        for count in (_WIDTH, 2, 1):
            found = self.words(function, address, count)
            if isinstance(found, list):
                break
        return found


class Interview:
    """Questions and answers until the file is written. `document` is what is known so far."""

    def __init__(self, args, path: Path, meter: Meter | None, baud: int, parity: str):
        self.args, self.path, self.meter = args, path, meter
        self.baud, self.parity = baud, parity
        self.draft = path.with_name(f".{path.stem}.answers")
        self.document: dict = {}

    def run(self) -> None:
        self._begin()
        self._about()
        self._registers()
        self._show_live()
        self._finish()

    # The start.

    def _begin(self) -> None:
        if self.draft.is_file():
            kept = json.loads(files.read_text(self.draft))
            count = len(kept.get("registers", ()))
            if yes(f"There are earlier answers, with {count} registers. Go on with them?"):
                self.document = kept
                return
        if self.args.csv:
            self.document = sources.from_csv(self.args.csv)
        elif self.args.copy:
            self.document = sources.from_profile(self.args.copy)
        elif self.args.from_scan and self.meter:
            print("Looking for registers that hold mains voltage, frequency or power; this takes a minute.", flush=True)
            self.document = sources.from_scan(self.meter.words)
            for row in self.document["registers"]:
                print(f"  address {row[1]}: {row[5]}")
        self.document.setdefault("registers", [])
        self._keep()

    def _keep(self) -> None:
        files.write(self.draft, json.dumps(self.document))

    def _about(self) -> None:
        document = self.document
        if not document.get("meter"):
            document["meter"] = ask("Maker and model, as the label says")
        if not document.get("manual"):
            document["manual"] = ask("Title and revision of the manual (or: none)", "none at hand")
        if not document.get("sources"):
            source = ask("Where are the register addresses from (manual, page; web address)")
            document["sources"] = [source]
            document["licences"] = [ask("Licence of that source, where one is stated", "not stated")]
        if not document.get("function"):
            question = "Function code that reads the registers: 3 holding, 4 input"
            document["function"] = int(ask(question, "4", _is_function))
        self._keep()

    # The registers.

    def _registers(self) -> None:
        document = self.document
        if any(row[2][-2:] != "16" for row in document["registers"]) and not document.get("order"):
            document["order"] = self._order_of(document["registers"])
        print("Now the registers, one after another. An empty line ends; ? lists the quantities.")
        while True:
            text = ask("Quantity", "", self._quantity_fault)
            if not text:
                if document["registers"]:
                    return
                print("  a profile needs at least one register")
                continue
            if text == "?":
                print("  " + ", ".join(q.name for q in quantities.everything()))
                continue
            row = self._row(text)
            if row:
                document["registers"].append(row)
                self._keep()

    def _quantity_fault(self, text: str) -> str | None:
        return _quantity_fault(text, {row[0] for row in self.document["registers"]})

    def _row(self, quantity: str) -> list | None:
        known = quantities.find(quantity)
        unit = known.unit if known else "1"
        unit = {"Wh": "kWh", "varh": "kvarh", "VAh": "kVAh"}.get(unit, unit)  # as displays and manuals have it
        question = "  Address (from 0 as on the wire, or a number such as 30001 or 0x1F)"
        address, function = _address(ask(question, "", _address_fault))
        if function and function != self.document["function"]:
            print(f"  such a number means function {function}; this profile reads with {self.document['function']}")
            return None
        words = self.meter.most_words(self.document["function"], address) if self.meter else None
        if isinstance(words, str):
            print(f"  the meter does not give it: {words}")
            if not yes("  Keep it anyway?", False):
                return None
            words = None
        type_name, order, decimals = self._meaning(words, unit)
        if not self.document.get("order") and (type_name[-2:] != "16" or order != "ABCD"):
            self.document["order"] = order
        unit = ask("  Unit of that number", unit)
        row: list = [quantity, address, type_name, decimals, unit, ask("  The manual's words for it", "-").strip("-")]
        if type_name[-2:] != "16" and order != self.document.get("order"):
            row.append({"order": order})
        fault = self._fault_of(row)
        if fault:
            print(f"  that cannot be: {fault}")
            return None
        return row

    def _meaning(self, words: list[int] | None, unit: str) -> tuple[str, str, int]:
        """(type, order, decimals), picked from what the meter says, or asked."""
        if not words:
            type_name = ask("  Type, such as uint16, int32, float32", "uint16")
            order = self.document.get("order") or ask("  Word order: ABCD, CDAB, BADC or DCBA", "ABCD", _order_fault)
            decimals = int(ask("  Decimals in the number (2305 is 230.5 V: 1)", "0", _decimals_fault))
            return type_name, order, decimals
        found = word_orders.meanings(words)
        question = f"  What does the meter's display show for it, in {unit}? (empty: it does not show it)"
        shown = _decimal(ask(question, "", _shown_fault))
        narrow = unit in ("V", "Hz", "1", "deg")
        fitting = word_orders.fitting(words, shown, narrow) if shown is not None else []
        best = found.index(fitting[0][0]) if fitting else 0
        print("  The registers hold " + " ".join(f"{word:04X}" for word in words) + ". Read in every way, that is:")
        for number, one in enumerate(found, 1):
            decimals = next((d for meaning, d in fitting if meaning == one), None)
            mark = f"   <- as the display says, with {decimals} decimals" if decimals is not None else ""
            print(f"  {number:3}  {one.type:8} {one.order}  {one.number}{mark}")
        if len(fitting) > 1:
            print("  Several lines agree with the display; the manual says how many registers the value has.")
        if shown is not None and not fitting:
            print("  No line is what the display shows: the address is another one, or the value has moved.")
        picked = int(ask("  Which line is right", str(best + 1), lambda text: _line_fault(text, len(found)))) - 1
        decimals = next((d for meaning, d in fitting if meaning == found[picked]), None)
        if decimals is None:
            decimals = int(ask("  Decimals in the number (2305 is 230.5 V: 1)", "0", _decimals_fault))
        return found[picked].type, found[picked].order, decimals

    def _order_of(self, rows: list) -> str:
        """The word order of the rows that were brought along: by looking at one, or by asking."""
        if self.meter:
            row = next(row for row in rows if row[2][-2:] != "16")
            words = self.meter.words(self.document["function"], row[1], 2 if row[2].endswith("32") else 4)
            if isinstance(words, list):
                print(f"{row[0]} at address {row[1]} in every word order; pick the one that is right:")
                found = [one for one in word_orders.meanings(words) if one.type == row[2]]
                for number, one in enumerate(found, 1):
                    print(f"  {number:3}  {one.order}  {one.number.scaleb(-row[3])} {row[4]}")
                if found:
                    text = ask("Which line is right", "1", lambda answer: _line_fault(answer, len(found)))
                    return found[int(text) - 1].order
        return ask("Word order of values in two registers: ABCD, CDAB, BADC or DCBA", "ABCD", _order_fault)

    def _fault_of(self, row: list) -> str | None:
        try:
            self._checked({**self.document, "registers": [*self.document["registers"], row]})
        except ProfileError as error:
            return str(error).removeprefix(f"{self.path.stem}: ")
        return None

    def _checked(self, document: dict) -> dict:
        """The document as it will be written. Raises ProfileError."""
        full = dict(document)
        full.setdefault("order", "ABCD")
        usual = [row[0] for row in full["registers"]]
        full["usual"] = [name for name in full.get("usual", ()) if name in usual] or usual[:16]
        if self.meter and not is_tcp(self.args.port):
            full.setdefault("line", {"baud": self.baud, "parity": self.parity})
        profiles.check(full, self.path.stem)
        return full

    # The end.

    def _show_live(self) -> None:
        if not self.meter:
            return
        document = self._checked(self.document)
        print("The whole profile, read from the meter now:")
        for line in live(document, self.path.stem, self.meter):
            print("  " + line)
        if not yes("Is that right?"):
            raise ProfileError(
                "nothing was written. The answers are kept: the same command goes on with them, and a register that is "
                f"wrong can be taken out of {self.draft}"
            )

    def _finish(self) -> None:
        document = self._checked(self.document)
        tried = "read from a live meter" if self.meter else "not tried on a meter"
        note = f"Made by a technician with `parkgate meters new`; its facts have one source, {tried}."
        document["notes"] = [*document.get("notes", ()), note]
        write(self.path, document)
        self.draft.unlink(missing_ok=True)


def to_text(document: dict) -> str:
    """A profile file as a person would write it: one line a register."""
    parts = []
    for name, value in document.items():
        if name == "registers":
            rows = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f'  "registers": [\n{rows}\n  ]')
        else:
            parts.append(f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def live(document: dict, name: str, meter: Meter) -> list[str]:
    """Each register of a profile as the meter has it now, one line each; what is not plausible says so."""
    lines = []
    for row in document["registers"]:
        quantity, address, type_name, decimals, unit = row[:5]
        order = row[6].get("order", document["order"]) if len(row) > 6 else document["order"]
        count = max(1, int(type_name[-2:]) // 16) if type_name != "bit" else 1
        words = meter.words(document["function"], address, count)
        if isinstance(words, str):
            lines.append(f"{quantity:28} no value: {words}")
            continue
        found = [one for one in word_orders.meanings(words) if one.type == type_name and one.order == order]
        found = found or [
            one for one in word_orders.meanings(words) if one.type == type_name
        ]  # equal in several orders: told once, under the first
        if not found:
            lines.append(f"{quantity:28} {' '.join(f'{word:04X}' for word in words)} is no {type_name}")
            continue
        value = found[0].number.scaleb(-decimals)
        doubt = sources.doubt(quantity, value, unit)
        lines.append(f"{quantity:28} {value} {unit}" + (f"   ? {doubt}" if doubt else ""))
    return lines


# Questions.


def _is_function(text: str) -> str | None:
    return None if text in ("1", "2", "3", "4") else "1, 2, 3 or 4"


def _order_fault(text: str) -> str | None:
    return None if text in word_orders.ORDERS else "one of " + ", ".join(word_orders.ORDERS)


def _decimals_fault(text: str) -> str | None:
    return None if text.lstrip("-").isdigit() and abs(int(text)) <= 9 else "a whole number such as 0, 1 or 2"


def _line_fault(text: str, count: int) -> str | None:
    return None if text.isdigit() and 1 <= int(text) <= count else f"a number from 1 to {count}"


def _quantity_fault(text: str, known: set[str]) -> str | None:
    if text in known:
        return "it stands there already"
    if not text or text == "?" or quantities.find(text):
        return None
    words = text.replace(" ", "_").lower().split("_")
    alike = [q.name for q in quantities.everything() if all(word in q.name for word in words)][:6]
    return f"there is no such quantity; {'perhaps ' + ', '.join(alike) if alike else '? lists them'}"


def _address(text: str) -> tuple[int, int]:
    """(address on the wire, function that such a number means or 0)."""
    if text.lower().startswith("0x"):
        return int(text, 16), 0
    if len(text) in (5, 6) and text[0] in "34" and text.isdigit():
        return int(text[1:]) - 1, {"3": 4, "4": 3}[text[0]]
    return int(text), 0


def _address_fault(text: str) -> str | None:
    try:
        address, _ = _address(text)
    except ValueError:
        return "a number from 0 to 65535, such as 12, 0x0C or 30013"
    return None if 0 <= address <= 65535 else "an address is from 0 to 65535"


def _decimal(text: str) -> Decimal | None:
    return Decimal(text.replace(",", ".")) if text else None


def _shown_fault(text: str) -> str | None:
    try:
        _decimal(text)
    except InvalidOperation:
        return "a number as the display shows it, such as 230.5"
    return None

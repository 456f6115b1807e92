"""`parkgate commission`: put one hall into service, meter by meter, and leave a signed record and a page to print.

For each meter that the gateway reads: does it answer; its serial number and transformers; the directions of its phases;
what its display shows against what the gateway reads; photographs. Every answer is kept in the folder at once: after
Ctrl-C or a broken cable the same command goes on where it was. Each meter's record is signed on the gateway's chain,
and at the end one with the SHA-256 of the page.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from host_tools.base import files, output
from host_tools.gateway import upload
from host_tools.gateway.commissioning import comparing
from host_tools.gateway.commissioning.page import page
from host_tools.gateway.link import GatewayRefused, Link, add_port_argument, open_unlocked
from parkgate import quantities
from parkgate.errors import SettingsError
from parkgate.events import COMMISSIONING_BYTES_MAX
from parkgate.meters.consistency import diagnosis
from parkgate.wire import cbor

AFTER_CTRL_C = "stopped; every answer so far is kept: the same command goes on with them"
STATE, PAGE = "commission.json", "commission.html"
_READ_S = 30.0
_TEXT_MAX = 120
_PHOTOS_MAX = 8
_COMPARED = ("voltage_l1", "voltage", "current_l1", "current", "active_power", "import_active_energy")
_SHOWN_IN = {"W": "kW", "Wh": "kWh"}
_LINE = re.compile(r"(\S+) = (none|-?[0-9.]+) ?(.*?) ?\(([^)]*)\)")


def add_parser(subparsers) -> None:
    """Arguments of `parkgate commission`."""
    parser = subparsers.add_parser(
        "commission", help="put the meters of one hall into service, with a signed record", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="where answers and the page are kept; made if missing")
    parser.add_argument("--by", help="who does it (asked when it is left out)")
    parser.add_argument("--again", action="append", default=[], metavar="NAME", help="do this meter once more")
    parser.add_argument("--answers", type=Path, metavar="FILE.json", help="take the answers from a file, ask nothing")
    add_port_argument(parser)
    output.add_json(parser)


def run(args) -> int:
    """0 when everything agrees, 1 when something differs or a meter does not answer. Raises SettingsError, FileTrouble,
    LinkError, GatewayRefused."""
    given = _answers(args.answers) if args.answers else None
    files.make_folder(args.folder)
    files.check_target(args.folder / PAGE)
    with open_unlocked(args) as link:
        made = Commissioning(args, link, given)
        with output.talk(args):
            code = made.run()
    output.show(args, made.as_document())
    return code


def _answers(path: Path) -> dict:
    try:
        found = json.loads(files.read_text(path))
        if not isinstance(found, dict) or not isinstance(found.get("instruments", {}), dict):
            raise ValueError('it is not {"by": …, "instruments": {NAME: {…}}}')
        return found
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None


class Commissioning:
    """One hall. `state` is all that is known, and is written after each answer."""

    def __init__(self, args, link: Link, given: dict | None):
        self.args, self.link, self.given = args, link, given
        self.path = args.folder / STATE
        self.state: dict[str, Any] = {"instruments": {}}

    def run(self) -> int:
        self._begin()
        for number, (name, about) in enumerate(self.meters.items(), 1):
            print(f"\n{number} of {len(self.meters)}: {name} ({about})", flush=True)
            self._one(name, about)
        return self._end()

    def _begin(self) -> None:
        identity = self.link.facts("identity")
        self.meters = _meters(self.link)
        if not self.meters:
            raise SettingsError("this gateway reads no meter yet: parkgate settings push first")
        unknown = [name for name in self.args.again if name not in self.meters]
        if unknown:
            raise SettingsError(f"--again {', '.join(unknown)}: the gateway reads {', '.join(self.meters)}")
        if self.path.is_file():
            self.state = json.loads(files.read_text(self.path))
            if self.state.get("gateway") != identity["gateway"]:
                raise SettingsError(f"{self.args.folder} has the answers of another gateway: name another folder")
        by = self.args.by or (self.given or {}).get("by") or self.state.get("by")
        self.state.update(gateway=identity["gateway"], name=identity.get("name", ""), by=by or "")
        while not 0 < len(self.state["by"]) <= 64:
            self.state["by"] = self._input("Your name, for the record (up to 64 characters)")
        for name in self.args.again:
            self.state["instruments"].pop(name, None)
        self._keep()

    def _keep(self) -> None:
        files.write(self.path, json.dumps(self.state, indent=1, ensure_ascii=False) + "\n")

    # One meter.

    def _one(self, name: str, about: str) -> None:
        record = self.state["instruments"].setdefault(name, {"answers": {}})
        if record.get("signed_unix_ms"):
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(record["signed_unix_ms"] / 1000))
            print(f"  done: signed {when}; --again {name} does it once more")
            return
        record["about"] = about
        values = self._live(name, record)
        self._label(name, record, values)
        self._phases(record, values)
        self._display(name, record, values)
        self._photographs(name, record)
        self._answer(name, record, "note", "  Anything to note (empty: nothing)")
        self._sign(name, record)

    def _live(self, name: str, record: dict) -> dict[str, tuple[Decimal, str]]:
        """The good values now, in their units. A meter that does not answer can be tried again, or left so."""
        while True:
            try:
                values, bad = read(self.link, name)
            except GatewayRefused as error:
                values, bad = {}, {"": str(error)}
            if values:
                record["answers_now"] = True
                print(f"  it answers: {len(values)} values" + (f", {len(bad)} without a good one" if bad else ""))
                for quantity, quality in bad.items():
                    print(f"    {quantity}: {quality}")
                break
            record["answers_now"] = False
            print("  it does not answer: check its supply, the wires A and B, its unit id and its baud rate")
            if self.given is not None or not self._yes("  Try again"):
                break
        record["bad"] = dict(list(bad.items())[:16])
        self._keep()
        return values

    def _label(self, name, record, values) -> None:
        serial = self._answer(name, record, "serial", "  Serial number on its label (empty: not readable)")
        known = values.get("serial_number")
        if known and known[0] >= 0 and serial and serial.strip("0 ") != comparing.plain(known[0]).strip("0 "):
            record["serial_differs"] = comparing.plain(known[0])
            print(f"  differs: the meter says {record['serial_differs']}; is this the meter with that unit id?")
        question = "  Current transformers as their plates say, such as 100:5 (empty: none)"
        ratio = self._answer(name, record, "ratio", question, _ratio_fault)
        setting = _ratio_setting(self.link, name)
        if setting is not None and (ratio or setting) and ratio != setting:
            record["ratio_differs"] = setting
            print(f"  differs: the gateway's setting is {setting or 'none'}")
        self._keep()

    def _phases(self, record, values) -> None:
        record["findings"] = wiring({name: value for name, (value, _) in values.items()})
        for text in record["findings"]:
            print(f"  please check: {text}")
        if values and not record["findings"]:
            print("  phases: nothing looks wrong")
        self._keep()

    def _display(self, name, record, values) -> None:
        compared = record.setdefault("compared", {})
        for quantity in [q for q in _COMPARED if q in values][:4]:
            unit = values[quantity][1]
            shown_in = _SHOWN_IN.get(unit, unit)
            while quantity not in compared:
                key = f"display {quantity}"
                question = f"  The display's {quantity.replace('_', ' ')} in {shown_in} (empty: it does not show it)"
                text = self._answer(name, record, key, question, lambda t, u=unit: _number_fault(t, u))
                if not text:
                    break
                now = self._now(name, quantity, values)
                typed = text if text[-1:].isalpha() else f"{text} {shown_in}"
                known = quantities.find(quantity)
                one = comparing.compare(quantity, typed, unit, now, bool(known and known.cumulative))
                print(f"    {one.words}")
                if not one.agrees and self.given is None and self._yes("    Read the display again", True):
                    del record["answers"][key]
                    continue
                compared[quantity] = [typed, comparing.plain(now), unit, one.agrees, one.words]
                self._keep()

    def _now(self, name, quantity, values) -> Decimal:
        """The value as it is just after it was typed."""
        try:
            fresh, _ = read(self.link, name)
            return fresh[quantity][0] if quantity in fresh else values[quantity][0]
        except GatewayRefused:
            return values[quantity][0]

    def _photographs(self, name, record) -> None:
        photos = record.setdefault("photos", [])
        wanted: list = (self.given or {}).get("instruments", {}).get(name, {}).get("photos", [])
        while len(photos) < _PHOTOS_MAX and not record.get("photos_done"):
            if self.given is not None:
                text = str(wanted[len(photos)]) if len(photos) < len(wanted) else ""
            else:
                text = self._input("  A photograph's file (empty: no more)")
            if not text:
                break
            try:
                data = Path(text).expanduser().read_bytes()
            except OSError as error:
                if self.given is not None:
                    raise files.trouble("cannot read", text, error) from None
                print(f"  cannot read {text}: {files.why(error)}")
                continue
            digest = hashlib.sha256(data).hexdigest()
            photos.append({"file": str(Path(text).expanduser().resolve()), "sha256": digest})
            print(f"    SHA-256 {digest[:16]}…")
            self._keep()
        record["photos_done"] = True
        self._keep()

    def _sign(self, name, record) -> None:
        answers = record["answers"]
        facts: dict[str, Any] = {
            "profile": record["about"], "answers": int(record["answers_now"]), "serial": answers.get("serial", ""),
            "ratio": answers.get("ratio", ""), "notes": answers.get("note", ""),
            "compared": [[q, c[0], c[1], c[2], int(c[3])] for q, c in record["compared"].items()],
            "phases": [text[:_TEXT_MAX] for text in record["findings"]],
            "photos": [bytes.fromhex(photo["sha256"]) for photo in record["photos"]],
        }  # fmt: skip
        differs = []
        if record.get("serial_differs"):
            differs.append(f"the meter says serial number {record['serial_differs']}")
        if record.get("ratio_differs") is not None:
            differs.append(f"the gateway's ratio is {record['ratio_differs'] or 'not set'}")
        if differs:
            facts["differs"] = differs
        self._put_into_chain(name, facts)
        record["signed_unix_ms"] = int(time.time() * 1000)
        record["batch"] = self.link.facts("journal status")["next_batch"]
        self._keep()
        print("  signed on the gateway's chain")

    def _put_into_chain(self, name, facts) -> None:
        while len(data := cbor.encode([name, self.state["by"], facts])) > COMMISSIONING_BYTES_MAX:
            # What is too long for the chain is in the page, whose hash is signed at the end.
            longest = max(facts, key=lambda key: len(cbor.encode(facts[key])))
            facts[longest] = facts[longest][: len(facts[longest]) // 2]
        upload.send(self.link, data, "commission sign")

    # The end.

    def _end(self) -> int:
        differs = [name for name in self.meters if not fine(self.state["instruments"][name])]
        newest = max(self.state["instruments"][name]["signed_unix_ms"] for name in self.meters)
        whole = self.state.get("report") and self.state["report"] == _digest(self.args.folder / PAGE)
        if whole and newest <= self.state.get("finished_unix_ms", 0):
            print(f"\nnothing is new; the page: {self.args.folder / PAGE}")
            return 1 if differs else 0
        self.state["finished_unix_ms"] = int(time.time() * 1000)
        self._keep()
        text = page(self.state, list(self.meters))
        files.write(self.args.folder / PAGE, text)
        digest = _digest(self.args.folder / PAGE)
        facts = {"report": bytes.fromhex(digest), "instruments": list(self.meters), "differs": differs}
        self._put_into_chain("", facts)
        self.state["report"] = digest
        self._keep()
        print(f"\nthe page: {self.args.folder / PAGE} (SHA-256 {digest}, signed on the gateway's chain)")
        if differs:
            print(f"look again at: {', '.join(differs)}")
        else:
            print(f"all {len(self.meters)} meters answer and agree with their displays")
        return 1 if differs else 0

    def as_document(self) -> dict:
        """What was found, for programs."""
        instruments = [
            {"name": name, "about": record["about"], "answers": bool(record["answers_now"]), "fine": fine(record),
             "findings": record["findings"], "signed_unix_ms": record["signed_unix_ms"]}
            for name in self.meters for record in [self.state["instruments"][name]]
        ]  # fmt: skip
        return {"gateway": self.state["gateway"], "page": str(self.args.folder / PAGE),
                "sha256": self.state["report"], "instruments": instruments}  # fmt: skip

    # Answers.

    def _answer(self, name, record, key, question, fault=None) -> str:
        """An answer that is kept: from before, from the file, or asked."""
        if key not in record["answers"]:
            if self.given is not None:
                told = self.given.get("instruments", {}).get(name, {})
                part, _, quantity = key.partition(" ")
                text = str(told.get(part, {}).get(quantity, "") if quantity else told.get(part, ""))
                wrong = fault(text) if fault and text else None
                if wrong:
                    raise SettingsError(f"{self.args.answers}: {name}, {key}: {wrong}")
            else:
                text = self._input(question, fault)
            record["answers"][key] = text[:_TEXT_MAX]
            self._keep()
        return record["answers"][key]

    def _input(self, question, fault=None) -> str:
        if self.given is not None:
            raise SettingsError(f"{self.args.answers} has no answer to: {question.strip()}")
        while True:
            try:
                text = input(f"{question}: ").strip()
            except EOFError:
                raise SettingsError("the input ended; every answer so far is kept") from None
            wrong = fault(text) if fault and text else None
            if not wrong:
                return text
            print(f"    {wrong}")

    def _yes(self, question, default=True) -> bool:
        text = self._input(f"{question} {'[Y/n]' if default else '[y/N]'}")
        return default if not text else text[:1].lower() == "y"


def wiring(values: dict[str, Decimal]) -> list[str]:
    """What the live values say of the wiring, in sentences: by the checks that the gateway makes itself (SPEC 11), and
    by what a person would see at once."""
    whole = {}
    for name, value in values.items():
        exponent = value.as_tuple().exponent
        scale = max(0, -exponent) if isinstance(exponent, int) else 0
        whole[name] = int(value.scaleb(scale)), scale
    found = diagnosis.first_look(whole)
    seen = comparing.findings(values)
    if found:  # it has looked at signs and order itself
        seen = [text for text in seen if "negative" not in text and "swapped" not in text]
    return [*found, *seen]


def _digest(path: Path) -> str:
    """The SHA-256 of a file; "" when there is none."""
    return hashlib.sha256(files.read_text(path).encode()).hexdigest() if path.is_file() else ""


def fine(record: dict) -> bool:
    """Whether nothing of a meter's record asks for another look."""
    differing = record.get("serial_differs") or record.get("ratio_differs") is not None or record.get("findings")
    return bool(record.get("answers_now")) and not differing and all(c[3] for c in record.get("compared", {}).values())


def read(link: Link, name: str) -> tuple[dict[str, tuple[Decimal, str]], dict[str, str]]:
    """(quantity → good value and unit, quantity → quality of the others), read from the meter now."""
    values, bad = {}, {}
    for line in link.ask(f"sensor read {name}", _READ_S):
        found = _LINE.fullmatch(line)
        if not found:
            continue
        quantity, text, unit, quality = found.groups()
        if text != "none" and quality == "good":
            values[quantity] = (Decimal(text), unit or "1")
        else:
            bad[quantity] = quality
    return values, bad


def _meters(link: Link) -> dict[str, str]:
    """name → what it is, of the gateway's meters."""
    found = {}
    for line in link.ask("meters list", _READ_S):
        name, separator, about = line.partition(": ")
        if separator and name != "none":
            found[name] = about.split("; ")[0]
    return found


def _ratio_setting(link: Link, name: str) -> str | None:
    """What the setting says, None where this gateway has no such setting."""
    try:
        for line in link.ask(f"settings show instruments.{name}", _READ_S):
            path, _, text = line.partition(" = ")
            if path.endswith(".ct_ratio"):
                return text.strip('"').removesuffix("not set").strip()
    except GatewayRefused:
        pass
    return None


def _ratio_fault(text: str) -> str | None:
    return None if re.fullmatch(r"[1-9][0-9]*(:[1-9][0-9]*)?", text) else "as on the plate, such as 100:5 or 20"


def _number_fault(text: str, unit: str) -> str | None:
    try:
        comparing.number_of(text, unit)
    except SettingsError as error:
        return str(error)
    return None

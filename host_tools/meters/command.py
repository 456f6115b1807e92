"""`parkgate meters`: the meter profiles, looked at, checked, recognised on a bus, and played by simulated meters.

parkgate meters list                     every profile with its registers, variants and source
parkgate meters show eastron-sdm630      its quantities, scales and the reads that the gateway makes
parkgate meters check [FILE.json …]      the schema, with file and line of each fault
parkgate meters compare --facts FILE.csv where other sources have a register otherwise
parkgate meters docs FILE.md             the list of meters, as a page
parkgate meters scan /dev/ttyUSB0        which meters answer on a bus, and what they may be
parkgate meters new acme-m100            the profile of a meter that nobody has heard of, step by step
parkgate meters push FILE.json           bring a profile to a gateway in service, over its console
parkgate meters test PORT PROFILE@UNIT   every value of a live meter, and what cannot be right
parkgate meters simulate --meter …       simulated meters on a pseudo terminal (or a real port)
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

from host_tools.base import output, profile_files
from host_tools.base.files import FileTrouble, read_text
from host_tools.meters import scan, test_meter
from host_tools.meters.catalogue import compare, docs
from host_tools.meters.new import interview
from host_tools.meters.register_map import read_document
from parkgate import quantities
from parkgate.errors import ProfileError
from parkgate.meters import profiles
from parkgate.meters.dlt645.frame import text_of
from parkgate.meters.profile.lines import line_of


def add_parser(subparsers):
    """Add the verb and its own verbs; gives the parsers of these."""
    parser = subparsers.add_parser("meters", help="list, check, scan for and simulate meters")
    verbs = parser.add_subparsers(dest="meters_verb", metavar="VERB", required=True)
    output.add_json(verbs.add_parser("list", help="list all profiles"))
    show = verbs.add_parser("show", help="show one profile: quantities, scales, reads")
    show.add_argument("profile", help="its name, as in the list; name+variant for a variant")
    output.add_json(show)
    check = verbs.add_parser("check", help="check profile files against the schema")
    check.add_argument("files", nargs="*", type=Path, metavar="FILE.json", help="default: all that are included")
    output.add_json(check)
    compare.add_arguments(verbs.add_parser("compare", help="compare the profiles with facts from other sources"))
    docs.add_arguments(verbs.add_parser("docs", help="write the list of meters as a page"))
    scan.add_arguments(verbs.add_parser("scan", help="find the meters on a live bus, with baud rates and profiles"))
    test_meter.add_arguments(verbs.add_parser("test", help="read live meters and report what cannot be right"))
    simulate = verbs.add_parser("simulate", help="simulate meters, on a serial line or over Modbus TCP")
    if "simulate" in sys.argv:
        # pymodbus is slow to import: only when it is needed.
        importlib.import_module("host_tools.meters.meter_simulator").add_arguments(simulate)
    interview.add_arguments(verbs.add_parser("new", help="make a profile for a meter that has none yet"))
    for verb in verbs.choices.values():
        profile_files.add_argument(verb)
    return verbs


def run(args) -> int:
    """Run one of the verbs."""
    profile_files.use(args.meter_folders)
    if args.meters_verb == "new":
        return interview.run(args)
    if args.meters_verb == "list":
        return _list(args)
    if args.meters_verb == "show":
        if output.wanted(args):
            output.show(args, {"profile": args.profile, "document": read_document(args.profile)})
            return 0
        return _show(args.profile)
    if args.meters_verb == "check":
        return _check(args, args.files or profile_files.paths())
    if args.meters_verb in ("compare", "docs"):
        return {"compare": compare.run, "docs": docs.run}[args.meters_verb](args)
    if args.meters_verb == "scan":
        return scan.run(args)
    if args.meters_verb == "test":
        return test_meter.run(args)
    return importlib.import_module("host_tools.meters.meter_simulator").run(args)


def _list(args) -> int:
    found, lines = [], []
    for path in profile_files.paths():
        document = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(document.get("variants", ()))
        single = "  (one source)" if document.get("single_source") else ""
        suffix = "  variants: " + ", ".join(f"+{name}" for name in names) if names else ""
        lines.append(f"{path.stem:24} {len(document['registers']):3} registers  {document['meter']}{single}{suffix}")
        found.append({"profile": path.stem, "meter": document["meter"], "registers": len(document["registers"]),
                      "variants": names, "single_source": document.get("single_source", False)})  # fmt: skip
    lines.append(f"{len(found)} profiles, {sum(len(each['variants']) for each in found)} variants")
    output.show(args, {"profiles": found}, lines)
    return 0


def _show(name: str) -> int:
    document = read_document(name)
    print(document["meter"])
    print(f"  manual    {document['manual']}")
    for label in ("sources", "licences", "notes"):
        for text in document.get(label, ()):
            print(f"  {label[:-1]:9} {text}")
    if document.get("single_source"):
        print("  one source: nobody has confirmed these facts; compare the meter's display with what is read")
    for variant, change in document.get("variants", {}).items():
        print(f"  variant   {profiles.split_name(name)[0]}+{variant}: {change['why']}")
    base = profiles.split_name(name)[0]
    everything = profiles.check(document, base)
    dlt645 = document.get("protocol") == "dlt645"
    how = "DL/T 645-2007" if dlt645 else f"function {document['function']}, order {document['order']}"
    print(f"\n  {how}; * is read when nothing else is set")
    print("    address   type     quantity                     reading          OBIS       manual's words")
    for row, channel in zip(document["registers"], everything):
        quantity = quantities.find(channel.quantity)
        mark = "*" if channel.quantity in document["usual"] else " "
        reading = f"x 10^{-channel.scale} {channel.unit}" if channel.scale else f"{channel.unit}"
        address = f"{row[1]:10}" if dlt645 else f"{row[1]:5} {row[1]:04X}"
        print(
            f"  {mark} {address} {row[2]:8} {channel.quantity:28} {reading:16} "
            f"{(quantity.obis if quantity else None) or '':10} {row[5]}{_options_words(row)}"
        )
    for row in document.get("auxiliary", ()):
        print(f"    {row[1]:5} {row[1]:04X} {row[2]:8} {row[0]:28} {'auxiliary':27} {row[5]}{_options_words(row)}")
    usual = profiles.load(document, base)
    print("\n  reads, when nothing else is set:")
    for block in usual.plan.blocks:
        names = ", ".join(usual.channels[i].quantity if i < len(usual.channels) else "auxiliary" for i in block.rows)
        if dlt645:
            print(f"    identifier {text_of(block.address)}: {names}")
        else:
            print(f"    function {block.function} address {block.address} count {block.count}: {names}")
    print(f"  in the signed schema: {usual.words()}")
    return 0


def _options_words(row: list) -> str:
    """The options of a row, behind its words."""
    options = row[6] if len(row) > 6 else {}
    return "".join(f"  {name} {json.dumps(value)}" for name, value in options.items())


def _check(args, files: list[Path]) -> int:
    faults, lines = [], []
    for path in files:
        try:
            fault = check_text(read_text(path), path.stem)
        except FileTrouble as error:
            faults.append({"file": str(path), "line": None, "text": str(error)})
            lines.append(str(error))
            continue
        if fault:
            line, message = fault
            faults.append({"file": str(path), "line": line, "text": message})
            lines.append(f"{path}:{line}: {message}")
    lines.append(f"{len(files) - len(faults)} of {len(files)} profiles are good")
    output.show(args, {"checked": len(files), "faults": faults}, lines)
    return 1 if faults else 0


def check_text(text: str, name: str) -> tuple[int, str] | None:
    """(line, message) of the first fault of a profile file, or None. Lines count from 1."""
    try:
        document = json.loads(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        return error.lineno, f"{name}: not JSON: {error.msg}"
    except ProfileError as error:
        return line_of(text, str(error)), f"{name}: {error}"
    try:
        profiles.check(document, name)
    except ProfileError as error:
        return line_of(text, str(error), document), str(error)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        return 1, f"{name}: the file's name is maker and model in lower case with hyphens"
    return None


def _no_duplicates(pairs: list) -> dict:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise ProfileError(f"{key!r} stands twice; keep one")
        seen.add(key)
    return dict(pairs)

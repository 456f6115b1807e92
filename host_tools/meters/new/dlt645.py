"""`parkgate meters new NAME --protocol dlt645`: the profile of one DL/T 645 meter, from what it answers.

The standard fixes identifiers, formats and units, so there is little to ask: it begins with the standard's profile (or
another one, --copy). With --port each identifier is read from the meter, those that it refuses are left out, and
identifiers that the standard's profile lacks can be added, each tried live. Only reads are sent.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path

from host_tools.base.questions import ask, yes
from host_tools.meters.dlt645.line import REPLY_TIMEOUT_MS, Dlt645Bus
from host_tools.meters.register_map import read_document
from parkgate import quantities
from parkgate.errors import Dlt645Refusal, ModbusError, ProfileError, SettingsError
from parkgate.meters import profiles
from parkgate.meters.dlt645 import values
from parkgate.meters.dlt645.frame import address_bytes, identifier_bytes
from parkgate.reading import GOOD

_STANDARD = "dlt645-2007"
_ANYBODY = "AAAAAAAAAAAA"
_TRIES = 2


def run(args, path: Path, baud: int, parity: str) -> dict:
    """The document that was written to `path`. Raises ProfileError, SettingsError, LinkError, FileTrouble."""
    document = {**read_document(args.copy or _STANDARD), "variants": {}}
    if document.get("protocol") != "dlt645":
        raise ProfileError(f"--copy {args.copy}: that profile is for Modbus")
    try:
        address = address_bytes(args.address or _ANYBODY)
    except ModbusError as error:
        raise SettingsError(f"--address {args.address}: {error}") from None
    with Dlt645Bus(args.port, baud, parity, REPLY_TIMEOUT_MS) if args.port else contextlib.nullcontext() as bus:
        document["meter"] = ask("Maker and model, as the label says")
        known = ask("What else is known of it (manual, page; empty: nothing)")
        document["sources"] = [*document["sources"], *([known] if known else [])]
        if bus:
            _keep_answered(document, bus, address, path.stem)
        _add(document, bus, address, path.stem)
        document["usual"] = [row[0] for row in document["registers"] if row[0] in document["usual"]]
        document["usual"] = document["usual"] or [row[0] for row in document["registers"]][:16]
        tried = "read from a live meter" if bus else "not tried on a meter"
        note = f"Made by a technician with `parkgate meters new`, {tried}."
        document["notes"] = [*document.get("notes", ()), note]
        document.pop("variants")
        profiles.check(document, path.stem)
        if bus and not yes("Is that right?"):
            raise ProfileError("nothing was written")
    return document


def read(bus: Dlt645Bus, address: bytes, channel) -> Decimal | str:
    """What the meter holds, in the unit of its row; or why there is no value, in words."""
    told = ""
    for _ in range(_TRIES):
        try:
            data = bus.ask(address, channel.address).data
        except Dlt645Refusal:
            return "the meter does not have it"
        except ModbusError as error:
            told = str(error)
            continue
        if len(data) != values.item_bytes(channel.address, channel.code):
            return f"it answers {len(data)} bytes, which is another format"
        number, quality = values.number(data, 0, channel.address, channel.code)
        if number is None or quality != GOOD:
            return "it says that there is no value"
        return Decimal(number).scaleb(-channel.decimals)
    return f"no answer: {told}"


def _keep_answered(document: dict, bus: Dlt645Bus, address: bytes, name: str) -> None:
    print("Every identifier of the profile, read from the meter now:", flush=True)
    kept = []
    for row, channel in zip(document["registers"], profiles.check(document, name)):
        found = read(bus, address, channel)
        if isinstance(found, Decimal):
            kept.append(row)
            print(f"  {row[1]} {row[0]:28} {found} {row[4]}", flush=True)
        else:
            print(f"  {row[1]} {row[0]:28} left out: {found}", flush=True)
    if not kept:
        raise ProfileError("the meter answered nothing: check the address, the baud rate and the wires (meters scan)")
    document["registers"] = kept


def _add(document: dict, bus: Dlt645Bus | None, address: bytes, name: str) -> None:
    print("More identifiers, one after another. An empty line ends; ? lists the quantities.")
    while text := ask("Quantity"):
        if text == "?":
            print("  " + ", ".join(q.name for q in quantities.everything()))
            continue
        identifier = ask("  Identifier, 8 hexadecimal digits, such as 02010100").upper()
        row = [text, identifier, ask("  Type", "bcd16"), 0, "1", ""]
        try:
            identifier_bytes(row[1])
            row[3] = int(ask("  Decimals", "0", _decimals_fault))
            row[4] = ask("  Unit of that number", "1")
            trial = {**document, "registers": [*document["registers"], row], "usual": [text]}
            channel = profiles.check(trial, name)[-1]
        except (ModbusError, ProfileError) as error:
            print(f"  that cannot be: {str(error).removeprefix(name + ': ')}")
            continue
        if bus:
            found = read(bus, address, channel)
            print(f"  the meter: {found}" + (f" {row[4]}" if isinstance(found, Decimal) else ""))
            if not yes("  Keep it?", isinstance(found, Decimal)):
                continue
        document["registers"].append(row)


def _decimals_fault(text: str) -> str | None:
    return None if text.isdigit() and int(text) <= 9 else "a whole number from 0 to 9"

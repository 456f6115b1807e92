"""The id of an EPCIS 2.0 event that its content gives: `ni:///sha-256;HEX?ver=CBV2.0` (CBV 2.0, section 8.9).

Two parties that hold the same event get the same id, in whatever order and form its fields were written. The string
that is hashed has the event's fields in the order of CBV, with times in UTC to the millisecond, short CBV words as
URIs, and GS1 keys as Digital Link URIs under id.gs1.org; then fields of others, in alphabetical order. What says
when and by whom the event was recorded (eventID, recordTime, errorDeclaration) is left out.

Compared with the vectors of RalphTro/epcis-event-hash-generator (tests/host/test_lots_epcis.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal

from parkgate.errors import ParkgateError

_CBV, _VOC = "https://ref.gs1.org/cbv/", "https://gs1.org/voc/"
_EVENT = (
    "eventTime", "eventTimeZoneOffset", "certificationInfo", "epcList", "parentID", "inputEPCList", "childEPCs",
    "quantityList", "childQuantityList", "inputQuantityList", "outputEPCList", "outputQuantityList", "action",
    "transformationID", "bizStep", "disposition", "persistentDisposition", "readPoint", "bizLocation",
    "bizTransactionList", "destinationList", "sourceList", "sensorElementList", "ilmd",
)  # fmt: skip
_INSIDE = {
    "persistentDisposition": ("set", "unset"), "readPoint": ("id",), "bizLocation": ("id",),
    "quantityElement": ("epcClass", "quantity", "uom"), "bizTransactionList": ("type", "bizTransaction"),
    "sourceList": ("type", "source"), "destinationList": ("type", "destination"),
    "sensorElement": ("sensorMetadata", "sensorReport"),
    "sensorMetadata": (
        "time", "startTime", "endTime", "deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules",
    ),
    "sensorReport": (
        "type", "exception", "deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "time", "microorganism",
        "chemicalSubstance", "value", "component", "stringValue", "booleanValue", "hexBinaryValue", "uriValue",
        "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue", "uom", "coordinateReferenceSystem",
    ),
}  # fmt: skip
_ITEMS = {
    "epcList": "epc", "inputEPCList": "epc", "outputEPCList": "epc", "childEPCs": "epc",
    "quantityList": "quantityElement", "childQuantityList": "quantityElement", "inputQuantityList": "quantityElement",
    "outputQuantityList": "quantityElement", "sensorElementList": "sensorElement",
}  # fmt: skip
_PLAIN_ITEMS = ("bizTransactionList", "sourceList", "destinationList")  # their items have no name of their own
_LEFT_OUT = ("type", "@context", "eventID", "recordTime", "errorDeclaration")
_TIMES = ("eventTime", "time", "startTime", "endTime")
# Short words and the URIs that they stand for.
_WORDS = {
    "bizStep": f"{_CBV}BizStep-", "disposition": f"{_CBV}Disp-", "set": f"{_CBV}Disp-", "unset": f"{_CBV}Disp-",
    "component": f"{_CBV}Comp-", "exception": _VOC,
}  # fmt: skip
_TYPES = {
    "bizTransactionList": f"{_CBV}BTT-", "sourceList": f"{_CBV}SDT-", "destinationList": f"{_CBV}SDT-",
    "sensorReport": _VOC,
}  # fmt: skip
_PREFIXES = {"cbv": _CBV, "gs1": _VOC}
# A GS1 Digital Link: any host, then a primary key of GS1's application identifiers.
_LINK = re.compile(
    r"https?://[^/?#]+(?:/[^?#]*?)?(/(?:00|01|253|255|254|401|402|414|417|8003|8004|8006|8010|8017|8018)/.+)"
)


class HashError(ParkgateError):
    """The event holds something that this hub cannot bring into the form that is hashed."""


def event_id(event: Mapping, context: Mapping[str, str]) -> str:
    """The id of an event; `context` maps the prefixes of others' fields to their namespaces. Raises HashError."""
    digest = hashlib.sha256(prehash(event, context).encode()).hexdigest()
    return f"ni:///sha-256;{digest}?ver=CBV2.0"


def prehash(event: Mapping, context: Mapping[str, str]) -> str:
    """The string that is hashed."""
    fields = {name: value for name, value in event.items() if name not in _LEFT_OUT}
    return f"eventType={event['type']}" + _fields(fields, _EVENT, "", context)


def _fields(item: Mapping, order: tuple[str, ...], parent: str, context) -> str:
    own = "".join(_field(name, item[name], parent, context) for name in order if name in item)
    others = sorted(_other(name, value, context) for name, value in item.items() if name not in order)
    return own + "".join(others)


def _field(name: str, value, parent: str, context) -> str:
    if name in _ITEMS:
        return name + "".join(sorted(_item(_ITEMS[name], each, context) for each in value))
    if name in _PLAIN_ITEMS:
        return name + "".join(sorted(_fields(each, _INSIDE[name], name, context) for each in value))
    if name == "sensorReport":
        return "".join(sorted(name + _fields(each, _INSIDE[name], name, context) for each in value))
    if isinstance(value, list):
        return "".join(sorted(_field(name, each, parent, context) for each in value))
    if isinstance(value, Mapping):
        return name + _fields(value, _INSIDE.get(name, ()), name, context)
    return f"{name}={_text(name, value, parent)}"


def _item(name: str, each, context) -> str:
    return name + (_fields(each, _INSIDE[name], name, context) if isinstance(each, Mapping) else f"={_uri(each)}")


def _other(name: str, value, context) -> str:
    """A field of another namespace."""
    prefix, colon, rest = name.partition(":")
    if not colon or prefix not in context:
        raise HashError(f"the field {name!r} has no namespace in @context")
    full = f"{{{context[prefix]}}}{rest}"
    if isinstance(value, list):
        return "".join(sorted(_other(name, each, context) for each in value))
    if isinstance(value, Mapping):
        return full + "".join(sorted(_other(inner, each, context) for inner, each in value.items()))
    return f"{full}={_text('', value, '')}"


def _text(name: str, value, parent: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return number(value)
    if name in _TIMES:
        return _moment(value)
    short = _TYPES.get(parent) if name == "type" else _WORDS.get(name)
    if short is not None:
        prefix, colon, rest = value.partition(":")
        if colon and prefix in _PREFIXES:
            return _PREFIXES[prefix] + rest
        return value if colon else short + value
    return _uri(value)


def number(value: float | int) -> str:
    """A number without an exponent and without zeros at its end."""
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _moment(text: str) -> str:
    """In UTC, to the millisecond, halves up."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if not found:
        raise HashError(f"{text!r} is not a time with a zone")
    whole, part, zone = found[1], found[2] or ".0", found[3].replace("Z", "+00:00")
    milliseconds = int((Decimal("0" + part) * 1000).to_integral_value(ROUND_HALF_UP))
    moment = datetime.fromisoformat(whole + zone).astimezone(timezone.utc) + timedelta(milliseconds=milliseconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _uri(text: str) -> str:
    """GS1 keys as canonical Digital Links; all else as it is."""
    if text.startswith("urn:epc:id:"):
        scheme, _, rest = text[len("urn:epc:id:") :].partition(":")
        return "https://id.gs1.org" + _of_urn(scheme, rest.split("."), text)
    if text.startswith("urn:epc:"):
        raise HashError(f"{text}: write it as a GS1 Digital Link")
    found = _LINK.fullmatch(text)
    return "https://id.gs1.org" + found[1] if found else text


def _of_urn(scheme: str, parts: list[str], text: str) -> str:
    company, rest = parts[0], ".".join(parts[1:])
    if scheme == "giai" and rest:
        return f"/8004/{company}{rest}"
    if scheme == "sgtin" and len(parts) >= 3:
        return f"/01/{_checked(parts[1][0] + company + parts[1][1:])}/21/{'.'.join(parts[2:])}"
    if scheme == "sscc" and len(parts) == 2:
        return f"/00/{_checked(parts[1][0] + company + parts[1][1:])}"
    if scheme == "sgln" and len(parts) >= 3:
        extension = ".".join(parts[2:])
        return f"/414/{_checked(company + parts[1])}" + ("" if extension == "0" else f"/254/{extension}")
    if scheme == "pgln" and len(parts) == 2:
        return f"/417/{_checked(company + parts[1])}"
    if scheme == "gdti" and len(parts) >= 3:
        return f"/253/{_checked(company + parts[1])}{'.'.join(parts[2:])}"
    raise HashError(f"{text}: write it as a GS1 Digital Link")


def _checked(digits: str) -> str:
    """`digits` and their check digit (GS1 General Specifications, 7.9)."""
    total = sum(int(digit) * (3 if i % 2 == 0 else 1) for i, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)

"""What an EPCIS 2.0 document must be, from GS1's standard (EPCIS 2.0, CBV 2.0) and not from this project's exporter. A
JSON schema alone lets URIs, units and words pass that are none; this does not.

`faults(document)` gives a line for each fault; an empty list is a valid document.
"""

from __future__ import annotations

import re


def _words(text: str) -> list[str]:
    return text.split()


STEPS = set(
    _words("""accepting arriving assembling collecting commissioning consigning creating_class_instance cycle_counting
decommissioning departing destroying disassembling dispensing encoding entering_exiting holding inspecting installing
killing loading other packing picking receiving removing repackaging repairing replacing reserving retail_selling
sampling sensor_reporting shipping staging_outbound stock_taking stocking storing transporting unloading unpacking
void_shipping""")
)
DISPOSITIONS = set(
    _words("""active available completeness_verified completeness_inferred conformant container_closed
container_open damaged destroyed dispensed disposed encoded expired in_progress in_transit inactive mismatch_class
mismatch_instance mismatch_quantity needs_replacement no_pedigree_match non_conformant non_sellable_other
partially_dispensed recalled reserved retail_sold returned sellable_accessible sellable_not_accessible stolen
unavailable unknown""")
)
UNITS = {  # UN/CEFACT Recommendation 20, by kind of report; kinds that are not here are not looked at
    "Energy": {"JOU", "KJO", "WHR", "KWH", "MWH", "GWH"}, "Power": {"WTT", "KWT", "MAW"},
    "Time": {"SEC", "MIN", "HUR", "DAY", "C26"}, "Volume": {"MTQ", "LTR"}, "Temperature": {"CEL", "FAH", "KEL"},
}  # fmt: skip
COMMON = {"type", "eventTime", "recordTime", "eventTimeZoneOffset", "eventID", "errorDeclaration", "certificationInfo",
          "bizStep", "disposition", "persistentDisposition", "readPoint", "bizLocation", "bizTransactionList",
          "sourceList", "destinationList", "sensorElementList", "@context"}  # fmt: skip
OF_KIND = {
    "ObjectEvent": {"epcList", "quantityList", "action", "ilmd"},
    "AggregationEvent": {"parentID", "childEPCs", "childQuantityList", "action"},
    "AssociationEvent": {"parentID", "childEPCs", "childQuantityList", "action"},
    "TransactionEvent": {"parentID", "epcList", "quantityList", "action"},
    "TransformationEvent": {"inputEPCList", "inputQuantityList", "outputEPCList", "outputQuantityList",
                            "transformationID", "ilmd"},
}  # fmt: skip
REPORT = set(
    _words("""
    type exception bizRules deviceID deviceMetadata rawData dataProcessingMethod time microorganism
    chemicalSubstance value component stringValue booleanValue hexBinaryValue uriValue minValue maxValue
    meanValue sDev percRank percValue uom coordinateReferenceSystem
    """)
)
METADATA = set(_words("time startTime endTime deviceID deviceMetadata rawData dataProcessingMethod bizRules"))
MOMENT = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-][01]\d:[0-5]\d)")
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


def faults(document: dict) -> list[str]:
    found = []
    if not document.get("@context"):
        found.append("no @context")
    if document.get("type") != "EPCISDocument" or document.get("schemaVersion") not in ("2.0", "2.0.0"):
        found.append("type or schemaVersion")
    if not MOMENT.fullmatch(str(document.get("creationDate"))):
        found.append("creationDate")
    events = document.get("epcisBody", {}).get("eventList")
    if not isinstance(events, list):
        return [*found, "no eventList"]
    for i, event in enumerate(events):
        found += [f"event {i}: {fault}" for fault in _event(event)]
    return found


def _event(event: dict):
    kind = event.get("type")
    if kind not in OF_KIND:
        yield f"type {kind}"
        return
    yield from _unknown(event, COMMON | OF_KIND[kind])
    for name in ("eventTime", "recordTime"):
        if (name in event or name == "eventTime") and not MOMENT.fullmatch(str(event.get(name))):
            yield f"{name}: {event.get(name)}"
    if not re.fullmatch(r"[+-](0\d|1[0-4]):[0-5]\d", str(event.get("eventTimeZoneOffset"))):
        yield "eventTimeZoneOffset"
    if "action" in OF_KIND[kind] and event.get("action") not in ("ADD", "OBSERVE", "DELETE"):
        yield f"action {event.get('action')}"
    yield from _what(kind, event)
    for name, words in (("bizStep", STEPS), ("disposition", DISPOSITIONS)):
        if name in event and not (event[name] in words or _is_uri(event[name])):
            yield f"{name}: {event[name]}"
    for name in ("readPoint", "bizLocation"):
        if name in event and not _is_uri(event[name].get("id")):
            yield f"{name} is no URI"
    for name in ("certificationInfo", "transformationID", "parentID", "eventID"):
        if name in event and not all(_is_uri(each) for each in _list(event[name])):
            yield f"{name} is no URI: {event[name]}"
    for name in event.get("ilmd", {}):
        if ":" not in name:
            yield f"ilmd.{name} has no namespace"
    for sensor in event.get("sensorElementList", []):
        yield from _sensor(sensor)


def _what(kind: str, event: dict):
    epcs = [name for name in ("epcList", "childEPCs", "inputEPCList", "outputEPCList") if name in event]
    quantities = [name for name in event if name.lower().endswith("quantitylist")]
    for name in epcs:
        yield from [f"{name}: {epc}" for epc in event[name] if not _is_uri(epc)]
    for name in quantities:
        for each in event[name]:
            yield from _unknown(each, {"epcClass", "quantity", "uom"})
            if not _is_uri(each.get("epcClass")):
                yield f"{name}.epcClass"
            if "quantity" in each and not _is_number(each["quantity"]):
                yield f"{name}.quantity {each['quantity']!r}"
    if kind == "ObjectEvent" and not epcs and not quantities and not event.get("sensorElementList"):
        yield "nothing is named"
    if (
        kind in ("AggregationEvent", "AssociationEvent")
        and not event.get("parentID")
        and event.get("action") != "OBSERVE"
    ):
        yield "no parentID"
    ends = [any(name.startswith(end) for name in (*epcs, *quantities)) for end in ("input", "output")]
    if kind == "TransformationEvent" and not all(ends) and not event.get("transformationID"):
        yield "no inputs or no outputs, and no transformationID"


def _sensor(sensor: dict):
    yield from _unknown(sensor, {"sensorMetadata", "sensorReport"})
    metadata = sensor.get("sensorMetadata", {})
    yield from _unknown(metadata, METADATA)
    if not sensor.get("sensorReport"):
        yield "no sensorReport"
    for one in (metadata, *sensor.get("sensorReport", [])):
        for name in ("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules"):
            if name in one and not _is_uri(one[name]):
                yield f"{name} is no URI: {one[name]}"
        for name in ("time", "startTime", "endTime"):
            if name in one and not MOMENT.fullmatch(str(one[name])):
                yield f"{name}: {one[name]}"
    for report in sensor.get("sensorReport", []):
        yield from _unknown(report, REPORT)
        if "type" not in report:
            yield "a sensorReport without type"
        for name in ("value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue"):
            if name in report and not _is_number(report[name]):
                yield f"{name}: {report[name]!r}"
        units = UNITS.get(report.get("type", "").rpartition(":")[2])
        if units and report.get("uom") not in units:
            yield f"uom {report.get('uom')} for {report['type']}"


def _unknown(item: dict, known: set[str]):
    for name in item:
        if name not in known and ":" not in name:
            yield f"{name} is no field, and has no namespace"


def _list(value):
    return value if isinstance(value, list) else [value]


def _is_uri(text) -> bool:
    return isinstance(text, str) and bool(URI.fullmatch(text))


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

"""A lot as an EPCIS 2.0 document (GS1): one event for each job that is over, with what its meters say.

A job into which lots went, or out of which others came, is a TransformationEvent; any other is an ObjectEvent in
which the lot was made. `sensorElementList` holds energy, mean power and time with UN/CEFACT Recommendation 20
codes. `rawData` points to the proof that the batch with the job's stop is in the hub's log; the signed entry is in
that batch. What rests on a time that was typed afterwards, or was shared with another lot, says so in fields of
Parkgate's own namespace.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from urllib.parse import quote

from host_tools.hub.production import document
from host_tools.hub.production.event_hash import event_id
from host_tools.hub.production.floor import Figure, Floor
from host_tools.hub.production.jobs import Job
from parkgate.errors import SettingsError

CONTEXT = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"
PREFIX, NAMESPACE = "parkgate", "https://parkgate.example/epcis/"
METHOD = f"{NAMESPACE}method/register-difference/1"  # SPEC 15 and host_tools/hub/production/allocation.py
# Unit of a register → (kind of sensor report, UN/CEFACT code, factor to it).
_REPORTS = {
    "Wh": ("Energy", "KWH", Decimal("0.001")),
    "kWh": ("Energy", "KWH", Decimal(1)),
    "MWh": ("Energy", "KWH", Decimal(1000)),
    "s": ("Time", "SEC", Decimal(1)),
    "m3": ("Volume", "MTQ", Decimal(1)),
}


class Exporter:
    """`base` is the address at which the hub is reached. `lot_uri` is what a lot is called outside, with {lot} for its
    name, such as https://id.gs1.org/01/09506000134352/10/{lot}; empty for the lot's page here. `leaf(job, seq)` gives
    the number of a batch's leaf in the hub's log, None where it is not in it. `utc_offset_min` is the park's."""

    def __init__(self, floor: Floor, base: str, lot_uri: str, leaf: Callable[[Job, int], int | None], utc_offset_min=0):
        self._floor = floor
        self._base = base.rstrip("/")
        if not self._base.startswith(("http://", "https://")):
            raise SettingsError("--base is the hub's address, such as https://hub.example.org")
        if lot_uri and "{lot}" not in lot_uri:
            raise SettingsError("--lot-uri must hold {lot}, such as https://id.gs1.org/01/09506000134352/10/{lot}")
        self._lot_uri = lot_uri or f"{self._base}/lots?lot={{lot}}"
        self._leaf = leaf
        sign = "-" if utc_offset_min < 0 else "+"
        self._offset = f"{sign}{abs(utc_offset_min) // 60:02d}:{abs(utc_offset_min) % 60:02d}"

    def lot(self, name: str, made_ms: int) -> dict:
        """The document of a lot. Raises LotError, SettingsError where no job of it is over."""
        events = [self._event(job) for job in self._floor.lot(name) if job.end_ms is not None and job.lot is not None]
        if not events:
            raise SettingsError(f"no job of lot {name} is over: there is nothing to tell yet")
        for event in events:
            event["eventID"] = event_id(event, {PREFIX: NAMESPACE})
        return {
            "@context": [CONTEXT, {PREFIX: NAMESPACE}],
            "type": "EPCISDocument",
            "schemaVersion": "2.0",
            "creationDate": _moment(made_ms),
            "epcisBody": {"eventList": events},
        }

    def _uri(self, lot: str) -> str:
        return self._lot_uri.replace("{lot}", quote(lot, safe=""))

    def _event(self, job: Job) -> dict:
        pieces = self._floor.pieces(job)
        made = {"epcClass": self._uri(job.lot or ""), **({} if not pieces else {"quantity": pieces})}
        event: dict = {
            "type": "ObjectEvent",
            "eventTime": _moment(job.end_ms or 0),
            "eventTimeZoneOffset": self._offset,
        }
        if job.taken or job.given:
            event["type"] = "TransformationEvent"
            event["transformationID"] = f"{self._base}/lots?lot={quote(job.lot or '', safe='')}&job={job.number}"
            # With nothing known to go in, only parts came out of the lot: the lot itself went in.
            taken = sorted({lot for _, lot in job.taken}) or [job.lot or ""]
            event["inputQuantityList"] = [{"epcClass": self._uri(lot)} for lot in taken]
            given = [{"epcClass": self._uri(lot)} for lot in sorted({lot for _, lot in job.given})]
            event["outputQuantityList"] = [*([made] if job.taken else []), *given]
        else:
            event["action"] = "ADD"
            event["quantityList"] = [made]
        event["bizStep"] = "creating_class_instance"
        event["disposition"] = "active"
        event["readPoint"] = {"id": f"{self._base}/place?id={job.chain.gateway_id}"}
        sensors = self._sensors(job)
        if sensors:
            event["sensorElementList"] = [sensors]
        event |= self._own(job)
        return event

    def _own(self, job: Job) -> dict:
        """Fields in Parkgate's namespace. Their values are texts."""
        found = {
            "gateway": job.chain.gateway_id,
            "station": self._floor.station(job),
            "epoch": job.chain.epoch,
            "firstBatch": str(job.first_seq),
            "lastBatch": str(job.last_seq),
            "startEntry": str(job.number),
            "stopped": job.stop or "",
        }
        if document.flags(job):
            found["flags"] = ", ".join(document.flags(job))
        scrap = ", ".join(f"{count} for reason {reason}" for reason, count in sorted(job.scrap.items()))
        if scrap:
            found["scrap"] = scrap
        return {f"{PREFIX}:{name}": value for name, value in found.items() if value}

    def _sensors(self, job: Job) -> dict | None:
        reports = [report for figure in self._floor.figures(job) for report in self._reports(job, figure)]
        if not reports:
            return None
        metadata = {"startTime": _moment(job.start_ms), "endTime": _moment(job.end_ms or 0)}
        leaf = self._leaf(job, job.last_seq)
        if leaf is not None:
            metadata["rawData"] = f"{self._base}/log/proof/{leaf}"
        metadata["dataProcessingMethod"] = METHOD
        return {"sensorMetadata": metadata, "sensorReport": reports}

    def _reports(self, job: Job, figure: Figure):
        known = _REPORTS.get(figure.register.unit)
        if known is None:
            return
        kind, code, factor = known
        value = Decimal(figure.text()) * factor
        basis = document.ESTIMATED if figure.estimated else document.MEASURED
        own = {f"{PREFIX}:quantity": figure.register.quantity, f"{PREFIX}:basis": basis}
        if figure.rules:
            own[f"{PREFIX}:sharedBy"] = ", ".join(sorted(figure.rules))
        device = f"{self._base}/place?id={job.chain.gateway_id}&instrument={quote(figure.register.instrument, safe='')}"
        yield {"type": kind, "deviceID": device, "value": _number(value), "uom": code, **own}
        duration_ms = (job.end_ms or 0) - job.start_ms
        if kind == "Energy" and duration_ms > 0:
            watt = (value * 3_600_000_000 / duration_ms).quantize(Decimal("0.1"))
            yield {"type": "Power", "deviceID": device, "meanValue": _number(watt), "uom": "WTT", **own}


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, timezone.utc):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"

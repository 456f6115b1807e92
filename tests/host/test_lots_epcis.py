"""Lots as EPCIS 2.0: ids of events as the reference generator gives them, documents that a stranger's rules let pass,
and proofs that verify."""

import contextlib
import hashlib
import json
from urllib.parse import urlsplit

import httpx
import pytest

from epcis_facts import faults
from failing_calls import run
from host_tools.hub.production import epcis
from host_tools.hub.production.event_hash import HashError, event_id, number, prehash
from host_tools.hub.production.floor import Floor
from host_tools.hub.stores.store import connect
from parkgate.errors import SettingsError
from test_hub_web import Server
from test_lots import park  # noqa: F401

CONTEXT = {"example": "https://ns.example.com/epcis/", "ext1": "https://ns.ext.de/epcis/"}
HASHED = (
    "CertificationInfoAndSensorReportWithCRS", "ReferenceEventHashAlgorithm", "ReferenceEventHashAlgorithm2",
    "ReferenceEventHashAlgorithm3", "TimeStampRoundOff", "epcisDocWithSensorComponent",
    "epcisDocWithSensorDataObjectEvent",
)  # fmt: skip


@pytest.mark.parametrize("name", HASHED)
def test_ids_are_those_of_the_reference_generator(reference, name):
    folder = reference / "epcis/hash"
    events = json.loads((folder / f"{name}.jsonld").read_text())["epcisBody"]["eventList"]
    strings = (folder / f"{name}.prehashes").read_text().split("\n")
    ids = (folder / f"{name}.hashes").read_text().split()
    assert [prehash(event, CONTEXT) for event in events] == [string for string in strings if string]
    # The generator lists the ids of a document in the order of its events.
    assert [event_id(event, CONTEXT) for event in events] == ids


def test_order_and_form_of_an_event_do_not_matter(reference):
    event = json.loads((reference / "epcis/hash/ReferenceEventHashAlgorithm.jsonld").read_text())["epcisBody"][
        "eventList"
    ][0]
    turned = dict(reversed(event.items()))
    turned["epcList"] = list(reversed(event["epcList"]))
    turned |= {"eventTime": "2020-03-04T10:00:30Z", "recordTime": "2026-01-01T00:00:00Z", "eventID": "urn:uuid:1"}
    assert event_id(turned, CONTEXT) == event_id(event, CONTEXT)
    for change in ({"action": "ADD"}, {"eventTime": "2020-03-04T10:00:30.001Z"}, {"example:myField2": "1"}):
        assert event_id(event | change, CONTEXT) != event_id(event, CONTEXT)
    for change in ({"eventTime": "2020-03-04T10:00:30"}, {"other:field": 1}, {"epcList": ["urn:epc:id:cpi:1.2.3"]}):
        with pytest.raises(HashError):
            event_id(event | change, CONTEXT)
    assert [number(n) for n in (0, 1e-7, 1e21, 200.0, -0.5, 12.10)] == [
        "0", "0.0000001", "1000000000000000000000", "200", "-0.5", "12.1"
    ]  # fmt: skip


def test_the_judge_of_documents_judges_rightly(reference):
    """Decided: `SensorData_with_combined_events` is wrong, because a sensorReport in it has no type."""
    for path in sorted((reference / "epcis/valid").glob("*.json")):
        assert bool(faults(json.loads(path.read_text()))) is (path.stem == "SensorData_with_combined_events"), path.name
    bad = sorted((reference / "epcis/invalid").glob("*.json"))
    assert len(bad) == 15
    for path in bad:
        assert faults(json.loads(path.read_text())), path.name


def export(park, *words):  # noqa: F811
    result = run(["lot", "export", *words, "--data", str(park.data_dir), "--json"], lambda _: None)
    return json.loads(result.out)


def test_a_lot_goes_out_and_its_proof_verifies(park):  # noqa: F811
    park.store.close()
    with Server(park.data_dir) as server:
        document = export(park, "SHIRT-1", "--base", server.url)["document"]
        assert faults(document) == []
        (event,) = document["epcisBody"]["eventList"]
        assert event["type"] == "TransformationEvent"
        assert [each["epcClass"] for each in event["inputQuantityList"]] == [f"{server.url}/lots?lot=CUT-1"]
        assert event["outputQuantityList"] == [{"epcClass": f"{server.url}/lots?lot=SHIRT-1", "quantity": 234}]
        (sensor,) = event["sensorElementList"]
        energy = next(report for report in sensor["sensorReport"] if report["type"] == "Energy")
        assert (energy["value"], energy["uom"], energy["parkgate:basis"]) == (0.71, "KWH", "measured")
        assert energy["parkgate:sharedBy"] == "equal"
        power = next(report for report in sensor["sensorReport"] if report["type"] == "Power")
        assert power["meanValue"] == 12_780 and power["uom"] == "WTT"  # 0.71 kWh in 200 s
        time = next(report for report in sensor["sensorReport"] if report["type"] == "Time")
        assert (time["value"], time["uom"]) == (5, "SEC")
        assert event["eventID"] == event_id(event, {epcis.PREFIX: epcis.NAMESPACE})
        # The proof: it names a leaf, and the leaf is the batch that holds the stop.
        text = httpx.get(sensor["sensorMetadata"]["rawData"]).text
        assert text.startswith("c2sp.org/tlog-proof@v1")
        index = int(urlsplit(sensor["sensorMetadata"]["rawData"]).path.rsplit("/", 1)[1])
        gateway, epoch = event["parkgate:gateway"], event["parkgate:epoch"]
        batch = httpx.get(f"{server.url}/api/gateways/{gateway}/batches/{epoch}/{event['parkgate:lastBatch']}").content
        leaf = httpx.get(f"{server.url}/log/batch/{gateway}/{epoch}/{event['parkgate:lastBatch']}").json()
        assert leaf["leaf"] == index and hashlib.sha256(batch).hexdigest() in json.dumps(leaf)


def test_an_estimate_is_named_and_a_lot_without_materials(park):  # noqa: F811
    document = export(
        park,
        "SHIRT-2",
        "--base",
        "https://hub.example.org",
        "--lot-uri",
        "https://id.gs1.org/01/09506000134352/10/{lot}",
    )
    event = document["document"]["epcisBody"]["eventList"][0]
    assert faults(document["document"]) == []
    assert event["type"] == "ObjectEvent" and event["parkgate:flags"] == "forgotten, corrected, estimated"
    assert event["quantityList"] == [{"epcClass": "https://id.gs1.org/01/09506000134352/10/SHIRT-2"}]
    assert all(
        report["parkgate:basis"] == "estimated"
        for report in event["sensorElementList"][0]["sensorReport"]
        if report.get("value")
    )
    for words in (["CUT-1"], ["CUT-1", "--base", "hub"], ["CUT-1", "--base", "http://x", "--lot-uri", "urn:x"]):
        assert export(park, *words)["error"]["kind"] == "SettingsError"
    with contextlib.closing(connect(park.data_dir, read_only=True)) as db:
        floor = Floor(db)
    with pytest.raises(SettingsError, match="no job of lot CLOTH-7 is over"):
        epcis.Exporter(floor, "http://x", "", lambda *_: None).lot("CLOTH-7", 0)

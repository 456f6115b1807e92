"""host_tools/hub/web/static/openapi.json is what the hub's JSON is: every address, every key, every type."""

import json
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from host_tools.hub.web.server import make_app
from test_hub_web import Server, filled, server  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
PAGE = json.loads((ROOT / "host_tools/hub/web/static/openapi.json").read_text(encoding="utf-8"))
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list,
         "object": dict}  # fmt: skip


def faults(item, schema, path="$"):
    """What of an answer is not as the schema says."""
    if "$ref" in schema:
        schema = PAGE["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(item, TYPES[kind]) and (kind == "boolean") >= (item is True) for kind in kinds):
        return [f"{path}: {item!r:.40} is no {' or '.join(kinds)}"]
    found = []
    if isinstance(item, dict) and "properties" in schema:
        known = schema["properties"]
        found += [f"{path}.{name}: missing" for name in schema["required"] if name not in item]
        found += [f"{path}.{name}: not described" for name in item if name not in known]
        for name in item.keys() & known.keys():
            found += faults(item[name], known[name], f"{path}.{name}")
    if isinstance(item, list):
        for each in item:
            found += faults(each, schema.get("items", {}), path + "[]")
    return found


def described(address, status="200"):
    return PAGE["paths"][address]["get"]["responses"][status]["content"]["application/json"]["schema"]


def test_every_address_is_described_and_no_other(server):  # noqa: F811
    routes = {}
    for route in make_app(server.hub).routes:
        if isinstance(route, Route) and not route.path.startswith("/log/"):
            methods = {method.lower() for method in route.methods or () if method != "HEAD"}
            routes.setdefault(route.path.replace(":int", ""), set()).update(methods)
    assert routes == {path: set(verbs) for path, verbs in PAGE["paths"].items()}


def test_every_answer_is_as_described(server, filled):  # noqa: F811
    def check(address, path, status="200"):
        answer = httpx.get(server.url + path)
        assert str(answer.status_code) == status, path
        assert faults(answer.json(), described(address, status)) == []
        return answer.json()

    check("/api/summary", "/api/summary")
    check("/api/gateways", "/api/gateways?since=0")
    check("/api/gateways", "/api/gateways?since=x", "400")
    check("/api/park", "/api/park")
    check("/healthz", "/healthz")
    check("/readyz", "/readyz", "503")
    for gateway in filled[1:]:
        start = f"/api/gateways/{gateway.id.hex()}"
        for channel in check("/api/gateways/{id}", start)["channels"][:2]:
            check("/api/gateways/{id}/readings", f"{start}/readings?series={channel['series']}&points=2")
    check("/api/gateways/{id}/energy", f"/api/gateways/{filled[1].id.hex()}/energy?unit=day")
    start = f"/api/gateways/{filled[1].id.hex()}"
    for span in ("year", "month", "week", "day", "hour"):
        check("/api/gateways/{id}/view", f"{start}/view?span={span}&at=2023-11-14T22:13:20Z".replace("Z", "%2B00:00"))
    (first, *_) = check("/api/places", "/api/places")["places"]
    of_place = f"/api/places/{first['id']}/view"
    check("/api/places/{id}/view", f"{of_place}?at=2023-11-14&beside={first['id']}&beside_at=2023-11-13")
    check("/api/places/{id}/view", f"/api/places/{'0' * 32}/view", "404")
    check("/api/gateways/{id}/view", f"{start}/view?span=age", "400")
    check("/api/gateways/{id}/view", f"{start}/view?at=x", "400")
    hour = 1_699_999_200_000
    check("/api/gateways/{id}/proof", f"{start}/proof?series=3&from={hour}&to={hour + 3_600_000}")
    check("/api/gateways/{id}/proof", f"{start}/proof?series=99&from=0&to=900000", "404")
    check("/api/gateways/{id}/proof", f"{start}/proof?series=3&from=1&to=900000", "400")
    (filled[0] / "tariffs").mkdir()
    prices = {"from": "2020-01", "to": None, "energy": [{"name": "E", "price": "0.1"}]}
    text = json.dumps({"tariff": "t", "currency": "USD", "rounding": "0.01", "versions": [prices]})
    (filled[0] / "tariffs" / "t.json").write_text(text)
    (filled[0] / "tariffs" / "bad.json").write_text("{}")
    assert [each["fault"] is None for each in check("/api/tariffs", "/api/tariffs")["tariffs"]] == [False, True]
    bill = "/api/gateways/{id}/bill"
    assert check(bill, f"{start}/bill?month=2023-11&tariff=t.json")["lines"][0]["registers"]
    check(bill, f"{start}/bill?month=2023-11&tariff=bad.json", "400")
    check(bill, f"{start}/bill?month=2023-11&tariff=../t.json", "400")
    check(bill, f"{start}/bill?month=2023&tariff=t.json", "400")
    check(bill, "/api/gateways/zz/bill?month=2023-11&tariff=t.json", "404")
    check("/api/gateways/{id}", "/api/gateways/zz", "404")


@pytest.mark.parametrize(
    "item, fault",
    [({"ok": 1}, "$.ok: 1 is no boolean"), ({}, "$.ok: missing"), ({"ok": True, "more": 1}, "$.more: not described")],
)
def test_a_wrong_answer_is_seen(item, fault):
    assert faults(item, PAGE["components"]["schemas"]["Health"]) == [fault]

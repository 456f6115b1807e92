"""GET /metrics: how the hub fares, for Prometheus. Made when it is asked for, from what the hub counts anyway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from host_tools.hub.service import Hub
from host_tools.hub.stores.store import DATABASE_FILE
from parkgate import VERSION

if TYPE_CHECKING:
    from prometheus_client.core import Metric

GATEWAYS_MAX = 5000  # gateways that have lines of their own

_HUB_COUNTERS = (
    ("groups", "Groups of messages that were committed together.", lambda hub: hub.groups),
    ("messages", "Messages taken from the broker and committed or refused.", lambda hub: hub.messages),
    ("faults", "Groups on which the hub itself failed.", lambda hub: hub.faults),
    ("taking_seconds", "Time spent on verifying, decoding and committing.", lambda hub: hub.taking_s),
    ("broker_connects", "Connections made to the broker.", lambda hub: hub.receiver.connects),
    ("queue_overflows", "Messages left with the broker because the hub's queue was full.",
     lambda hub: hub.receiver.overflows),
    ("unsent_answers", "Receipts and answers that could not be handed to the broker.", lambda hub: hub.receiver.unsent),
)  # fmt: skip
_PARK_COUNTERS = (
    ("batches", "batches_verified", "Batches held."),
    ("readings", "readings_stored", "Readings held."),
    ("duplicates", "duplicates", "Batches that came again."),
    ("forks", "forks", "Messages that contradict the chain of their gateway."),
    ("gap_readings", "gap_readings", "Readings that gateways state as lost."),
    ("dropped_readings", "dropped", "Readings that gateways dropped."),
)
_PARK_GAUGES = (
    ("awaited_batches", "Batches that are missing and may still come."),
    ("lost_batches", "Batches that this hub acknowledged and lost."),
    ("unexplained_batches", "Batches that are missing without a reason."),
    ("undecoded", "Batches that wait for their schema."),
    ("undecodable", "Batches that are signed and do not decode."),
)
_GATEWAY_GAUGES = (
    ("last_seen_timestamp_seconds", "last_seen_unix_ms", 1000, "When a new signed statement came last."),
    ("last_reading_timestamp_seconds", "last_reading_ms", 1000, "Time of the newest reading, by the gateway's clock."),
    ("buffered_readings", "buffered", 1, "Readings that the gateway holds."),
    ("awaited_batches", "awaited_batches", 1, "Batches of the gateway that are missing and may still come."),
)


class Metrics:
    """Answers with the text that Prometheus reads."""

    def __init__(self, hub: Hub):
        self.hub = hub

    async def metrics(self, _request: Request) -> Response:
        """GET /metrics."""
        data, content_type = await run_in_threadpool(self._text)
        return Response(data, headers={"content-type": content_type})

    def _text(self) -> tuple[bytes, str]:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def describe(self) -> list[Metric]:
        """For the registry: nothing is asked before it is scraped."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All of it, as the library wants it."""
        yield from _of_hub(self.hub)
        gateways = self.hub.board.since(0)[1]
        yield from _of_park(gateways, self.hub.board.nobody())
        yield from _of_gateways(gateways[:GATEWAYS_MAX])


def _of_hub(hub: Hub) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    about = {"version": VERSION, "id": hub.key.id.hex()}
    yield InfoMetricFamily("parkgate_hub", "Which hub this is.", value=about)
    for name, what, value in _HUB_COUNTERS:
        yield CounterMetricFamily(f"parkgate_hub_{name}", what, value=value(hub))
    gauges = (
        ("writer_alive", "1 while the thread that stores goes round.", hub.is_alive()),
        ("broker_connected", "1 while the broker is connected.", hub.receiver.connected_unix_ms is not None),
        ("storage_ok", "0 while the database cannot be written.", hub.storage_fault is None),
        ("log_ok", "0 while the log does not go on.", hub.log_fault is None),
        ("start_timestamp_seconds", "When the hub started.", hub.started_unix_ms / 1000),
        ("database_bytes", "Size of the database.", _size(hub, "")),
        ("database_wal_bytes", "Size of the database's write-ahead log.", _size(hub, "-wal")),
        ("disk_free_bytes", "Space left where the database is.", _free(hub)),
    )
    for name, what, value in gauges:
        yield GaugeMetricFamily(f"parkgate_hub_{name}", what, value=float(value))


def _of_park(gateways: list[dict], nobody: dict[str, int]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for name, field, what in _PARK_COUNTERS:
        yield CounterMetricFamily(f"parkgate_{name}", what, value=sum(gateway[field] for gateway in gateways))
    for name, what in _PARK_GAUGES:
        yield GaugeMetricFamily(f"parkgate_{name}", what, value=sum(gateway[name] for gateway in gateways))
    refused = dict(nobody)
    alarms: dict[str, int] = {}
    for gateway in gateways:
        for reason, count in gateway["refused"].items():
            refused[reason] = refused.get(reason, 0) + count
        for alarm in gateway["alarms"]:
            alarms[alarm["kind"]] = alarms.get(alarm["kind"], 0) + 1
    family = CounterMetricFamily("parkgate_refused_messages", "Messages that were refused.", labels=["reason"])
    for reason, count in sorted(refused.items()):
        family.add_metric([reason], count)
    yield family
    alarming = GaugeMetricFamily("parkgate_alarms", "Gateways with an open alarm of a kind.", labels=["kind"])
    for kind, count in sorted(alarms.items()):
        alarming.add_metric([kind], count)
    yield alarming
    enrolled = sum(1 for gateway in gateways if gateway["revoked_unix_ms"] is None)
    yield GaugeMetricFamily("parkgate_gateways", "Gateways that are enrolled and not revoked.", value=enrolled)


def _of_gateways(gateways: list[dict]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    for name, field, divisor, what in _GATEWAY_GAUGES:
        family = GaugeMetricFamily(f"parkgate_gateway_{name}", what, labels=["gateway", "id"])
        for gateway in gateways:
            if gateway[field] is not None:
                family.add_metric([gateway["name"], gateway["id"]], gateway[field] / divisor)
        yield family


def _size(hub: Hub, ending: str) -> int:
    try:
        return (hub.data_dir / f"{DATABASE_FILE}{ending}").stat().st_size
    except OSError:
        return 0


def _free(hub: Hub) -> int:
    try:
        found = os.statvfs(hub.data_dir)
        return found.f_bavail * found.f_frsize
    except OSError:
        return 0

"""A small park for tests: broker, hub, meters and one gateway, each of which can be killed and started again."""

import csv
import json
import subprocess
import sys
import time
import urllib.request

from host_tools.broker.broker import Broker
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs import enrol
from host_tools.meters.meter_simulator import Faults, MeterBus, SimulatedMeter
from host_tools.sim.demo import Hub, gateway_settings
from host_tools.sim.simulate import SimulatedGateway

# How much longer than on an idle machine a wait may take before it is a failure: whatever else runs beside the
# tests must not decide their verdict.
BUSY_MACHINE = 5
PAGE_WAIT_MS = 30_000 * BUSY_MACHINE  # for what a browser shall show


def answer_of(address):
    """The JSON at an address of the hub's page."""
    with urllib.request.urlopen(address, timeout=20 * BUSY_MACHINE) as answer:
        return json.load(answer)


class Park:
    """Start with `start`, use as a context manager to end it. `meters` are (name, profile, unit id)."""

    def __init__(self, folder, meters, period_ms=250, broker="nats", faults=None):
        self.folder = folder
        self.meters = meters
        self.period_ms = period_ms
        self.broker = Broker(broker, folder / "broker")
        self.bus = MeterBus(
            [SimulatedMeter(profile, unit_id, faults=faults or Faults()) for _, profile, unit_id in meters],
            log=folder / "meters.jsonl",
        )
        self.gateway = SimulatedGateway(folder / "gateway")
        self.hub = None
        self.gateway_id = ""

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.broker.start()
        self.hub = Hub(self.folder / "hub", self.broker.url, "127.0.0.1:0")
        self.hub.start()
        self.bus.start()
        return self

    def __exit__(self, *_):
        self.gateway.kill()
        self.bus.stop()
        if self.hub:
            self.hub.stop()
        self.broker.stop()

    def settings(self, meters=None):
        settings = gateway_settings(
            "gateway",
            self.bus.device,
            int(self.broker.url.rsplit(":", 1)[1]),
            self.hub.about["public_key"],
            self.meters if meters is None else meters,
        )
        settings["sealing"] = {"period_s": 2}
        settings["sending"] = {"beat_period_s": 2, "receipt_timeout_s": 3, "backlog_interval_ms": 0}
        for instrument in settings["instruments"]:
            instrument["period_ms"] = self.period_ms
        return settings

    def start_gateway(self, environment=None):
        """Configure, start and enrol the gateway."""
        self.gateway.configure(self.settings())
        self.gateway.start(environment)
        self.enrol()

    def enrol(self):
        database = connect(self.hub.folder)
        try:
            self.gateway_id = enrol.enrol(database, self.gateway.public_key(), "gateway").hex()
        finally:
            database.close()

    def at_hub(self):
        """What the hub says of the gateway; {} while it does not answer."""
        return self.hub.gateways().get(self.gateway_id, {})

    def asked(self):
        """What the hub's page knows of the gateway: channels, events and what at_hub() has."""
        return answer_of(f"{self.hub.page}api/gateways/{self.gateway_id}")

    def wait(self, condition, timeout_s, what):
        """Wait until `condition()` is true; fail with the gateway's last words. `timeout_s` is for an idle machine."""
        deadline = time.monotonic() + timeout_s * BUSY_MACHINE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not within {timeout_s * BUSY_MACHINE} s: {what}\n"
                    f"status {self.gateway.status}\nhub {self.at_hub()}\n" + "\n".join(self.gateway.lines[-20:])
                )
            time.sleep(0.1)

    def drain(self, timeout_s=60):
        """Let the gateway send all it has, without taking more: its settings lose their instruments."""
        self.gateway.kill()
        self.gateway.configure(self.settings(meters=()))
        self.gateway.start()
        self.wait(lambda: self.gateway.status.get("buffered") == 0, timeout_s, "the journal is empty")

    def readings(self):
        """All readings at the hub as dictionaries of the CSV export."""
        path = self.folder / "export.csv"
        command = [sys.executable, "-m", "host_tools.cli", "export", "--data", str(self.hub.folder)]
        subprocess.run([*command, "--format", "csv", "--out", str(path)], check=True, capture_output=True)
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

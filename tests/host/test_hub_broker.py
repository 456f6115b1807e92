"""The whole hub on real brokers, as a process of its own: batches in, receipts out, and nothing lost whoever
is killed."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from batches import FakeGateway
from host_tools.broker import broker as broker_module
from host_tools.broker.broker import Broker
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs.enrol import enrol
from parkgate.errors import ParkgateError
from test_broker import available

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 150
SEED = 20261122


class HubProcess:
    """`parkgate hub` on a directory; starts again with the same one."""

    def __init__(self, data_dir, broker):
        self.data_dir, self.broker = data_dir, broker
        data_dir.mkdir(exist_ok=True)
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "host_tools.cli", "hub", "--data", str(self.data_dir)]
        command += ["--broker", self.broker.url, "--http", "127.0.0.1:0"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "lib")])}
        with open(self.data_dir / "hub.log", "a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        line = self.process.stdout.readline()
        assert line.startswith("hub ready:"), (self.data_dir / "hub.log").read_text()
        about = json.loads((self.data_dir / "hub.json").read_text())
        self.page, self.xy = about["page"], bytes.fromhex(about["public_key"])

    def stop(self, number=signal.SIGTERM):
        if self.process:
            self.process.send_signal(number)
            code = self.process.wait(WAIT_S)
            self.process.stdout.close()
            self.process = None
            return code
        return None

    def summary(self):
        with urllib.request.urlopen(self.page + "api/summary", timeout=WAIT_S) as answer:
            return json.load(answer)

    def gateway(self, gateway):
        return next((item for item in self.summary()["gateways"] if item["id"] == gateway.id.hex()), None)

    def wait(self, fits):
        """Until `fits(summary)`; fails after WAIT_S with the summary and the log."""
        deadline = time.monotonic() + WAIT_S
        while not fits(summary := self.summary()):
            assert time.monotonic() < deadline, (summary, (self.data_dir / "hub.log").read_text()[-3000:])
            time.sleep(0.05)


class Link:
    """A fake gateway's end of the broker: sends what it holds until receipts free it."""

    def __init__(self, broker, gateway, hub):
        self.broker, self.gateway, self.hub = broker, gateway, hub
        self.receipts, self.refused = [], []
        self._lock = threading.Lock()
        self.client = Client(CallbackAPIVersion.VERSION2, f"gateway-{gateway.topic}", reconnect_on_failure=True)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe(gateway.receipt_topic(), 1)
        self.client.on_message = self._on_message
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()

    def _on_message(self, _client, _userdata, message):
        with self._lock:
            try:
                self.gateway.take_receipt(message.payload, self.hub.xy)
                self.receipts.append(message.payload)
            except ParkgateError as error:
                self.refused.append(error)

    def send(self, data, topic=None):
        self.client.publish(topic or self.gateway.batch_topic(), data, qos=1)

    def send_held(self):
        with self._lock:
            held = [data for data, _ in self.gateway.held.values()]
        for data in held:
            self.send(data)

    def deliver(self, timeout_s=300):
        """Send what is held again and again until all is answered."""
        deadline = time.monotonic() + timeout_s
        while self.gateway.held:
            assert time.monotonic() < deadline, f"{len(self.gateway.held)} batches never got a receipt"
            self.send_held()
            for _ in range(30):
                if not self.gateway.held:
                    break
                time.sleep(0.05)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(params=broker_module.KINDS)
def broker(request, tmp_path):
    with Broker(available(request.param), tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def hub(broker, tmp_path):
    hub = HubProcess(tmp_path / "hub", broker)
    hub.start()
    yield hub
    hub.stop(signal.SIGKILL)


@pytest.fixture
def gateway(hub):
    gateway = FakeGateway(1)
    with contextlib.closing(connect(hub.data_dir)) as db:
        enrol(db, gateway.xy, "workshop")
    return gateway


@pytest.fixture
def link(broker, gateway, hub):
    link = Link(broker, gateway, hub)
    yield link
    link.close()


def stored(hub):
    with contextlib.closing(connect(hub.data_dir, read_only=True)) as db:
        return [seq for (seq,) in db.execute("SELECT seq FROM batch ORDER BY seq")]


def test_batches_and_beats_through_the_broker(hub, gateway, link):
    for _ in range(20):
        gateway.batch()
    link.deliver()
    link.send(gateway.beat(), gateway.beat_topic())
    hub.wait(lambda s: s["gateways"] and s["gateways"][0]["beat"])
    item = hub.gateway(gateway)
    assert item["name"] == "workshop"
    assert (item["batches_verified"], item["readings_stored"], item["buffered"]) == (20, 800, 0)
    assert item["sampled"] == item["readings_stored"] + item["dropped"]
    assert hub.stop() == 0, "ends in order on SIGTERM"


def test_bad_input_through_the_broker(hub, gateway, link):
    first = gateway.batch()
    link.deliver()
    stranger = FakeGateway(2)
    forged = bytearray(gateway.seal(gateway.payload()))
    forged[-1] ^= 1
    forked = gateway.seal(gateway.payload(rows=2, prev=None), seq=0)
    link.send(b"garbage")
    link.send(b"")
    link.send(os.urandom(20_000))
    link.send(bytes(forged))
    link.send(stranger.batch())
    link.send(stranger.batch(), stranger.batch_topic())
    link.send(forked)
    link.send(first)
    link.send(b"x", "tele/nobody/beat")
    gateway.batch()
    link.deliver()
    hub.wait(lambda s: sum(s["totals"]["refused"].values()) >= 8 and s["totals"]["duplicates"] >= 1)
    item = hub.gateway(gateway)
    assert item["refused"] == {"malformed": 2, "oversized": 1, "signature": 1, "foreign": 1, "fork": 1}
    assert hub.summary()["refused_not_enrolled"] == {"unknown gateway": 2}
    assert (item["batches_verified"], item["forks"]) == (2, 1)
    log = (hub.data_dir / "hub.log").read_text()
    for reason in (*item["refused"], "unknown gateway"):
        assert f"refused ({reason})" in log
    assert "Traceback" not in log


def test_receipts_replayed_or_forged_free_nothing(hub, gateway, link):
    gateway.batch()
    link.deliver()
    old = link.receipts[0]
    gateway.batch()
    for noise in (old, b"noise", old[:-1] + bytes([old[-1] ^ 1])):
        link.send(noise, gateway.receipt_topic())
    link.send(old)  # to the hub, as if it were a batch
    hub.wait(lambda s: s["totals"]["refused"].get("malformed") == 1 and len(link.refused) == 2)
    assert list(gateway.held) == [1]
    link.deliver()
    assert stored(hub) == [0, 1]


def test_what_arrives_while_the_hub_is_away_waits_at_the_broker(hub, gateway, link):
    gateway.batch()
    link.deliver()
    hub.stop()
    for _ in range(5):
        gateway.batch()
    link.send_held()
    time.sleep(0.5)
    hub.start()
    hub.wait(lambda s: s["totals"]["batches_verified"] == 6)
    deadline = time.monotonic() + WAIT_S
    while gateway.held and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not gateway.held, "nothing had to be sent again"


def test_hub_and_broker_killed_in_turn_lose_nothing_that_was_acknowledged(hub, broker, gateway, link):
    choose = random.Random(SEED)
    made = 0
    for _ in range(5):
        for _ in range(choose.randrange(5, 30)):
            gateway.batch(rows=3)
            made += 1
        link.send_held()
        time.sleep(choose.random() * 0.08)
        freed = set(range(made)) - set(gateway.held)
        if made % 3:
            hub.stop(signal.SIGKILL)
            assert freed <= set(stored(hub)), "a receipt was given for what is not there"
            hub.start()
        else:
            broker.kill()
            broker.start()
    link.deliver()
    assert stored(hub) == list(range(made)), "every batch exactly once"
    link.send(gateway.beat(), gateway.beat_topic())
    hub.wait(lambda s: s["gateways"][0]["beat"])
    item = hub.gateway(gateway)
    assert item["sampled"] == item["readings_stored"] == made * 3 * 4
    assert item["alarms"] == []


def test_a_second_hub_on_the_same_data_is_refused(hub, broker):
    command = [sys.executable, "-m", "host_tools.cli", "hub", "--data", str(hub.data_dir), "--http", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "lib")])}
    ended = subprocess.run(
        [*command, "--broker", broker.url], capture_output=True, text=True, env=environment, timeout=WAIT_S
    )
    assert ended.returncode == 2 and "another hub runs" in ended.stderr and "Traceback" not in ended.stderr

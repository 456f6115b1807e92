"""The hub: batches a second and core for verifying, decoding and storing, the same through real brokers, and what
the page asks for. A batch here is 240 rows of 6 channels that wander (1440 readings)."""

import contextlib
import random
import tempfile
import threading
import time
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

import postgres_server
from batches import START_MS, FakeGateway
from host_tools.broker.broker import Broker, mosquitto_program, nats_program
from host_tools.hub.reading import readings, window
from host_tools.hub.reading.decode import decode_group
from host_tools.hub.receiving.verify import verify
from host_tools.hub.service import Hub
from host_tools.hub.stores.store import DATABASE_FILE, connect
from host_tools.hub.verbs.enrol import enrol
from host_tools.log.database import opening
from hub_rig import Rig

ROWS, CHANNELS, GROUP = 240, 6, 128
SCHEMA = [["meter", "profile", [[f"channel_{n}", "V", 1] for n in range(CHANNELS)]]]
SEED = 20261122
WAIT_S = 60


def wandering(gateway: FakeGateway, count: int, rows: int = ROWS) -> list[bytes]:
    """Sealed batches of one gateway, a reading a second."""
    choose = random.Random(SEED)
    values = [2300] * CHANNELS
    sealed = []
    for n in range(count):
        samples = []
        for row in range(rows):
            values = [value + choose.randrange(-4, 5) for value in values]
            samples.append((START_MS + 1000 * (n * rows + row), 0, list(values), None))
        sealed.append(gateway.batch(tables={0: samples}))
    return sealed


def figures(size: int = 1) -> list[dict]:
    """The figures of the hub; `size` times as many batches."""
    count = 4 * GROUP * size
    found = []
    gateway = FakeGateway(1, SCHEMA)
    sealed = wandering(gateway, count)
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        rig.enrol(gateway)
        found += _stages(rig, gateway, sealed)
        found += _questions(rig, gateway, count)
        rig.store.close()
    found += _stores(sealed, wandering(FakeGateway(1, SCHEMA), count * 2, rows=10))
    for kind, program in (("nats", nats_program()), ("mosquitto", mosquitto_program())):
        if program:
            found.append(_figure(f"hub: gateway to receipt over {kind}", _through(kind, sealed), "batches/s"))
            short = wandering(FakeGateway(1, SCHEMA), count * 2, rows=10)
            found.append(_figure(f"hub: the same, 10 rows a batch, {kind}", _through(kind, short), "batches/s"))
    return found


def _figure(name, value, unit, peer=None, peer_value=None):
    ratio = value / peer_value if peer_value else None
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def _rate(count, work):
    """Times a second of processor time."""
    began = time.process_time()
    work()
    return count / (time.process_time() - began)


def _stages(rig, gateway, sealed):
    rig.store.refresh()
    by_topic, topic = rig.store.by_topic, gateway.batch_topic()
    count = len(sealed)
    groups = [sealed[at : at + GROUP] for at in range(0, count, GROUP)]

    def verify_each():
        for data in sealed:
            verify(by_topic, topic, data)

    def one_by_one():
        for data in sealed:
            _, batch = verify(by_topic, topic, data)
            for table in batch.tables:
                table.times(batch.base_ms)
                for channel in range(CHANNELS):
                    table.column(channel)

    def together():
        for group in groups:
            decode_group([verify(by_topic, topic, data)[1] for data in group])

    def take():
        for group in groups:
            rig.take(*[(topic, data) for data in group])

    single = _rate(count, one_by_one)
    return [
        _figure("hub: parse and verify, columns left coded", _rate(count, verify_each), "batches/s/core"),
        _figure("hub: verify and decode in groups", _rate(count, together), "batches/s/core", "one by one", single),
        _figure("hub: verify, decode, commit, make the receipt", _rate(count, take), "batches/s/core"),
    ]


def _stores(sealed, short):
    """The same batches into a file and into a PostgreSQL server, by wall time: the server is another process. Both wait
    for the disk at each commit, of GROUP batches."""
    rates = {}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server.server()) if postgres_server.programs() else None
        for store in ("file", "PostgreSQL") if server else ("file",):
            for rows, batches in ((ROWS, sealed), (10, short)):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                if store == "PostgreSQL":
                    opening.choose(folder, server.new())
                rig, gateway = Rig(folder), FakeGateway(1, SCHEMA)
                rig.enrol(gateway)
                began = time.perf_counter()
                for first in range(0, len(batches), GROUP):
                    rig.take(*[(gateway.batch_topic(), data) for data in batches[first : first + GROUP]])
                rates[store, rows] = len(batches) / (time.perf_counter() - began)
                assert rig.rows("SELECT count(*) FROM batch") == [(len(batches),)]
                rig.store.close()
    return [
        _figure(
            f"hub: verify, decode, commit into {store}, {rows} rows a batch", rate, "batches/s",
            *(("file", rates["file", rows]) if store != "file" else ()),
        )
        for (store, rows), rate in rates.items()
    ]  # fmt: skip


def _questions(rig, gateway, count):
    path = rig.data_dir / DATABASE_FILE
    rig.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    stored = count * ROWS * CHANNELS
    sealed = rig.rows("SELECT sum(length(bytes)) FROM batch")[0][0]
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        gw = readings.gateway_row(db, gateway.id.hex())

        def hour():
            return window.window(db, gw, [1], None, None, 3600, 2000)

        hour()
        began = time.perf_counter()
        hour()
        took_ms = (time.perf_counter() - began) * 1000
    return [
        _figure("hub: database", path.stat().st_size / stored, "bytes/reading", "sealed batches", sealed / stored),
        _figure("hub: one hour of one channel at 1 Hz for the plot", took_ms, "ms"),
    ]


def _through(kind, sealed):
    """Batches a second of wall time from a gateway's publish to the last receipt, all of one gateway."""
    with tempfile.TemporaryDirectory() as folder, Broker(kind, Path(folder) / "broker") as broker:
        hub = Hub(Path(folder) / "hub", broker.url)
        gateway = FakeGateway(1, SCHEMA)
        with contextlib.closing(connect(hub.data_dir)) as db:
            enrol(db, gateway.xy, "bench")
        hub.start()
        ready, receipts = threading.Event(), threading.Semaphore(0)
        client = Client(CallbackAPIVersion.VERSION2, "bench")
        client.max_inflight_messages_set(GROUP)
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda *_: receipts.release()
        client.connect(broker.host, broker.port)
        client.loop_start()
        client.subscribe(gateway.receipt_topic(), 1)
        if not ready.wait(WAIT_S):
            raise TimeoutError("the broker does not answer")
        while hub.receiver.connected_unix_ms is None:
            time.sleep(0.01)
        began = time.perf_counter()
        for data in sealed:
            client.publish(gateway.batch_topic(), data, qos=1)
        for _ in sealed:
            if not receipts.acquire(timeout=WAIT_S):
                raise TimeoutError("a receipt is missing")
        rate = len(sealed) / (time.perf_counter() - began)
        client.disconnect()
        client.loop_stop()
        hub.stop()
    return rate

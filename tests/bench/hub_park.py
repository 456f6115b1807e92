"""A park before a hub, in one process and without a broker: every gateway's batches in turn, one in five sent twice,
one in ten behind the next; the log signs each second and the sums are made meanwhile, as the running hub does. On both
stores, at 60 and at 1,440 readings a batch; each gateway's first two batches, with its schema and its series, are
before the measurement. Beside it, in the same run: each stage alone, and the same readings as plain rows, which nobody
has verified. SIZE 1 takes two minutes; SIZE 10 has 1,000 gateways."""

import contextlib
import json
import random
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

import postgres_server
from batches import START_MS, FakeGateway
from host_tools.broker.broker import Broker, nats_program
from host_tools.hub.park.book import Book
from host_tools.hub.receiving.intake import Message, _Work
from host_tools.hub.receiving.receive import GROUP_MESSAGES as GROUP_MAX
from host_tools.hub.service import SIGN_EVERY_S, SUMS_BUSY_S, SUMS_EVERY_S
from host_tools.log.database import opening
from host_tools.log.signer import Signer
from hub_rig import Rig

CHANNELS = 6
SCHEMA = [["meter", "profile", [[f"channel_{n}", "V", 1] for n in range(CHANNELS)]]]
TWICE, BEHIND, FIRST = 0.2, 0.1, 2
SEED = 20261128
WAIT_S = 120
GOALS = {("file", 10): 1000, ("file", 240): 800, ("PostgreSQL", 10): 800, ("PostgreSQL", 240): 600}


def figures(size: int = 1) -> list[dict]:
    """The figures of a park; `size` times as many gateways."""
    found = []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server.server()) if postgres_server.programs() else None
        for rows, each in ((10, 20), (240, 8)):
            gateways = [FakeGateway(n + 1, SCHEMA) for n in range(100 * size)]
            chains = [_chain(gateway, each, rows) for gateway in gateways]
            messages = _on_the_way(gateways, chains)
            rates = {}
            for store in ("file", "PostgreSQL") if server else ("file",):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                taken = _park(folder, store, server, gateways, messages, len(gateways) * each)
                alone = _alone(stack, store, server, gateways, messages)
                rates[store] = taken["batches"]
                found += _shown(store, rows, taken, alone)
            if nats_program():
                rate = _broker_alone(messages)
                found.append(_figure(f"park: the broker alone, {rows * CHANNELS} readings a batch", rate, "messages/s"))
            found += _rows_alone(server, rows, chains, rates["file"])
    return found


def _figure(name, value, unit, peer=None, peer_value=None):
    ratio = value / peer_value if peer_value else None
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def _shown(store, rows, taken, alone):
    name = f"park into {store}, {rows * CHANNELS} readings a batch"
    slowest = min(alone, key=lambda stage: alone[stage])
    goal = GOALS[store, rows]
    return [
        _figure(f"{name}: log and sums on", taken["batches"], "batches/s", f"the goal ({goal})", goal),
        _figure(f"{name}: the same", taken["batches"], "batches/s", f"{slowest} alone", alone[slowest]),
        _figure(f"{name}: verification and decoding alone", alone["verification"], "batches/s"),
        _figure(f"{name}: insertion alone", alone["insertion"], "batches/s"),
        _figure(f"{name}: commit of a group, 99 of 100 within", taken["p99_ms"], "ms"),
        _figure(f"{name}: on the disk, index and log with it", taken["bytes"], "bytes/reading"),
    ]


def _chain(gateway, count, rows):
    choose = random.Random(SEED + rows)
    values, sealed = [2300] * CHANNELS, []
    for n in range(count):
        samples = []
        for row in range(rows):
            values = [value + choose.randrange(-4, 5) for value in values]
            samples.append((START_MS + 1000 * (n * rows + row), 0, list(values), None))
        sealed.append(gateway.batch(tables={0: samples}))
    return sealed


def _on_the_way(gateways, chains) -> list[Message]:
    choose = random.Random(SEED)
    chains = [list(chain) for chain in chains]
    for chain in chains:
        for at in range(len(chain) - 1):
            if choose.random() < BEHIND:
                chain[at], chain[at + 1] = chain[at + 1], chain[at]
    ahead, messages = [], []
    for turn in zip(*chains):
        for gateway, data in zip(gateways, turn):
            message = Message(gateway.batch_topic(), data)
            messages.append(message)
            if choose.random() < TWICE:
                ahead.append(message)
        choose.shuffle(ahead)
        messages += ahead[: len(ahead) // 2]
        del ahead[: len(ahead) // 2]
    return messages + ahead


def _warm(rig, gateways, messages) -> list[Message]:
    """Take what comes first, and give the rest."""
    begin = int(FIRST * len(gateways) * (1 + TWICE))
    for group in _groups(messages[:begin]):
        rig.take(*group)
    return messages[begin:]


def _groups(messages):
    return [messages[at : at + GROUP_MAX] for at in range(0, len(messages), GROUP_MAX)]


def _rig(folder, store, server, gateways) -> Rig:
    if store == "PostgreSQL":
        opening.choose(folder, server.new())
    rig = Rig(folder)
    rig.enrol(*gateways)
    rig.store.refresh()
    return rig


def _park(folder, store, server, gateways, messages, count) -> dict:
    rig = _rig(folder, store, server, gateways)
    signer, book = Signer(rig.intake.leaves), Book(rig.store.db)
    rest = _warm(rig, gateways, messages)
    ((known,),) = rig.rows("SELECT count(*) FROM batch")
    sign_s = sums_s = began_s = time.perf_counter()
    took_ms = []
    for group in _groups(rest):
        at_s = time.perf_counter()
        rig.take(*group)
        took_ms.append((time.perf_counter() - at_s) * 1000)
        if at_s - sign_s > SIGN_EVERY_S:
            signer.sign(rig.now_unix_ms)
            sign_s = at_s
        if at_s - sums_s > SUMS_EVERY_S:
            sums_s = at_s
            with rig.store.transaction(rig.now_unix_ms):
                while book.catch_up() and time.perf_counter() - at_s < SUMS_BUSY_S:
                    pass
    signer.sign(rig.now_unix_ms)
    took_s = time.perf_counter() - began_s
    ((batches, readings),) = rig.rows("SELECT count(*), sum(readings) FROM batch")
    assert batches == count and rig.rows("SELECT count(*) FROM leaf WHERE kind = 1") == [(count,)]
    signer.close()
    size = _size(rig, store, server)
    rig.store.close()
    p99_ms = sorted(took_ms)[len(took_ms) * 99 // 100]
    return {"batches": (count - known) / took_s, "p99_ms": p99_ms, "bytes": size / int(readings)}


def _size(rig, store, server) -> int:
    if store == "file":
        rig.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return (rig.data_dir / opening.DATABASE_FILE).stat().st_size
    question = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace ="
    return int(rig.rows(f"{question} current_schema()::regnamespace")[0][0])


def _alone(stack, store, server, gateways, messages) -> dict[str, float]:
    """Batches a second of each stage by itself, over the same groups."""
    rig = _rig(Path(stack.enter_context(tempfile.TemporaryDirectory())), store, server, gateways)
    rest = _warm(rig, gateways, messages)
    ((known,),) = rig.rows("SELECT count(*) FROM batch")
    verify_s = insert_s = 0.0
    for group in _groups(rest):
        began_s = time.perf_counter()
        verified = [rig.intake._verify(message) for message in group]
        columns = rig.intake._decode_new(verified)
        between_s = time.perf_counter()
        works = [_Work(message, one, columns.get(at)) for at, (message, one) in enumerate(zip(group, verified))]
        rig.intake._commit(works, rig.now_unix_ms)
        verify_s, insert_s = verify_s + between_s - began_s, insert_s + time.perf_counter() - between_s
    count = rig.rows("SELECT count(*) FROM batch")[0][0] - known
    rig.store.close()
    return {"verification": count / verify_s, "insertion": count / insert_s}


def _broker_alone(messages) -> float:
    """Messages a second from a publisher to a subscriber that does nothing, QoS 1."""
    with tempfile.TemporaryDirectory() as folder, Broker("nats", Path(folder) / "broker") as broker:
        ready, arrived = threading.Event(), threading.Semaphore(0)
        reader = Client(CallbackAPIVersion.VERSION2, "reader")
        reader.on_subscribe = lambda *_: ready.set()
        reader.on_message = lambda *_: arrived.release()
        writer = Client(CallbackAPIVersion.VERSION2, "writer")
        writer.max_inflight_messages_set(GROUP_MAX)
        for client in (reader, writer):
            client.connect(broker.host, broker.port)
            client.loop_start()
        reader.subscribe("tele/+/batch", 1)
        if not ready.wait(WAIT_S):
            raise TimeoutError("the broker does not answer")
        began_s = time.perf_counter()
        for message in messages:
            writer.publish(message.topic, message.data, qos=1)
        for _ in messages:
            if not arrived.acquire(timeout=WAIT_S):
                raise TimeoutError("a message is missing")
        rate = len(messages) / (time.perf_counter() - began_s)
        for client in (reader, writer):
            client.disconnect()
            client.loop_stop()
    return rate


def _rows_alone(server, rows, chains, batches) -> list[dict]:
    """The same number of readings as rows of (series, time, value), by the means that each database does best."""
    each = rows * CHANNELS
    count = sum(map(len, chains))
    made = [
        [(gateway * CHANNELS + n % CHANNELS, START_MS + 1000 * (at * rows + n // CHANNELS), 2300 + n % 9)
         for n in range(each)]
        for gateway in range(len(chains)) for at in range(len(chains[0]))
    ]  # fmt: skip
    ours = batches * each
    found = []

    def add(name, took_s, size):
        rate = count * each / took_s
        found.append(_figure(f"park: readings into the file, {each} a batch", ours, "readings/s", name, rate))
        if size:
            found.append(_figure(f"park: {name}", size / (count * each), "bytes/reading"))

    for name, senml in (("rows in SQLite, not verified", False), ("SenML JSON read, rows in SQLite", True)):
        packs = [
            json.dumps([{"n": str(series), "t": time_ms / 1000, "v": value} for series, time_ms, value in batch])
            for batch in made
        ] if senml else []  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            db = sqlite3.connect(Path(folder) / "rows.sqlite", isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("CREATE TABLE reading (series INTEGER, time_ms INTEGER, value INTEGER, PRIMARY KEY (series,"
                       " time_ms)) WITHOUT ROWID")  # fmt: skip
            began_s = time.perf_counter()
            for at in range(0, count, GROUP_MAX):
                db.execute("BEGIN")
                for n in range(at, min(at + GROUP_MAX, count)):
                    batch = made[n]
                    if senml:
                        batch = [(int(r["n"]), round(r["t"] * 1000), r["v"]) for r in json.loads(packs[n])]
                    db.executemany("INSERT INTO reading VALUES (?, ?, ?)", batch)
                db.execute("COMMIT")
            took_s = time.perf_counter() - began_s
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
            add(name, took_s, 0 if senml else (Path(folder) / "rows.sqlite").stat().st_size)
    if server:
        import psycopg

        with psycopg.connect(server.address("test", "postgres"), autocommit=True) as db:
            db.execute("DROP TABLE IF EXISTS reading")
            db.execute(
                "CREATE TABLE reading (series BIGINT, time_ms BIGINT, value BIGINT, PRIMARY KEY (series, time_ms))"
            )
            began_s = time.perf_counter()
            for at in range(0, count, GROUP_MAX):
                with db.cursor().copy("COPY reading FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(["int8"] * 3)
                    for batch in made[at : at + GROUP_MAX]:
                        for row in batch:
                            copy.write_row(row)
            took_s = time.perf_counter() - began_s
            size = db.execute("SELECT pg_total_relation_size('reading')").fetchone()[0]  # type: ignore[index]
            add("rows in PostgreSQL by COPY, not verified", took_s, size)
    return found

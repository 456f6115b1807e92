"""What a day of one gateway costs on the line: 20 channels, once a minute and once a second, every byte. Batches,
beats, receipts and answers are those of the library and the hub; MQTT is counted by its rules (QoS 1, the gateway's
real topics), TLS 1.3 as 22 bytes a record, TCP and IPv4 as 40 bytes a segment of 1,460 and 40 for its acknowledgement;
pings while nothing else is sent. Beside it the same values as SenML JSON over the same MQTT, a message a sample as
gateways send it. The hub's disk is what its database has after that day, with index, log and sums.

The load is made up from a seed: three phases whose voltages wander, a machine that runs in shifts, and registers that
count what it draws."""

import json
import random
import tempfile
from pathlib import Path
from typing import NamedTuple

from batches import START_MS, FakeGateway
from host_tools.hub.park.book import Book
from host_tools.hub.stores.store import DATABASE_FILE
from hub_rig import Rig

CHANNELS = [
    *((f"voltage_l{n}", "V", 1) for n in (1, 2, 3)), *((f"current_l{n}", "A", 3) for n in (1, 2, 3)),
    *((f"active_power_l{n}", "W", 0) for n in (1, 2, 3)), *((f"reactive_power_l{n}", "var", 0) for n in (1, 2, 3)),
    *((f"power_factor_l{n}", "", 3) for n in (1, 2, 3)), ("active_power", "W", 0), ("reactive_power", "var", 0),
    ("frequency", "Hz", 2), ("import_active_energy", "kWh", 2), ("export_active_energy", "kWh", 2),
]  # fmt: skip
SCHEMA = [["hall", "SDM630; every 60 s", [list(channel) for channel in CHANNELS]]]
SEED = 20261128
DAY_S, KEEPALIVE_S, BEAT_S = 86_400, 30, 60
TLS_RECORD, SEGMENT, SEGMENT_BYTES = 22, 40, 1460
GOAL_KB, GOAL_BYTES, GOAL_RATIO, GOAL_DISK = 120, 1.4, 15, 8


class Cost(NamedTuple):
    """Bytes of a day by what they are spent on, and how many readings they carry."""

    batches: int
    beats: int
    answers: int
    transport: int
    readings: int
    disk: float

    def whole(self) -> int:
        return self.batches + self.beats + self.answers + self.transport


def figures(size: int = 1) -> list[dict]:
    """The figures of a day; at 1 Hz `size` times two hours are measured, and the day is twelve times as much."""
    found = []
    minute = _samples(60, DAY_S // 60)
    senml = _senml(minute)
    for seal_s, beat_s in ((60, BEAT_S), (300, BEAT_S), (300, 300), (900, 900)):
        cost = _ours(minute, 60, seal_s, beat_s)
        name = f"day: 20 channels a minute, sealed each {seal_s} s, a beat each {beat_s} s"
        found += [
            _figure(f"{name}: all of it", cost.whole() / 1000, "kB/day", "the goal", GOAL_KB),
            _figure(f"{name}: batches", cost.batches / 1000, "kB/day"),
            _figure(f"{name}: beats", cost.beats / 1000, "kB/day"),
            _figure(f"{name}: receipts and answers", cost.answers / 1000, "kB/day"),
            _figure(f"{name}: MQTT, TLS, TCP and IP", cost.transport / 1000, "kB/day"),
            _figure(f"{name}: SenML JSON is so many times as much", senml / cost.whole(), "", "the goal", GOAL_RATIO),
            _figure(f"{name}: on the hub's disk", cost.disk, "bytes/reading", "the goal", GOAL_DISK),
        ]
    span_s = min(DAY_S, 7200 * size)
    second = _samples(1, span_s)
    cost, senml = _ours(second, 1, 60, BEAT_S), _senml(second)
    name = "day: 20 channels at 1 Hz, as the settings are by default"
    found += [
        _figure(f"{name}: all of it", cost.whole() / cost.readings, "bytes/value", "the goal", GOAL_BYTES),
        _figure(f"{name}: batches alone", cost.batches / cost.readings, "bytes/value"),
        _figure(f"{name}: a day", cost.whole() / 1e6 * DAY_S / span_s, "MB/day"),
        _figure(f"{name}: SenML JSON is so many times as much", senml / cost.whole(), "", "the goal", GOAL_RATIO),
        _figure(f"{name}: on the hub's disk", cost.disk, "bytes/reading"),
    ]
    return found


def _figure(name, value, unit, peer=None, peer_value=None):
    ratio = value / peer_value if peer_value else None
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def _samples(step_s: int, count: int) -> list[tuple[int, list[int]]]:
    """(time in ms, value of each channel)."""
    choose = random.Random(SEED)
    volts, load_w, energy_ws, found = [2300, 2310, 2295], 0.0, 0, []
    for n in range(count):
        at_s = n * step_s
        runs = at_s // 3600 % 24 in range(7, 22) and at_s // 900 % 8 != 3
        wanted = 2400 if runs else 60
        load_w += (wanted - load_w) * min(1.0, step_s / 30) + choose.gauss(0, 12 if runs else 1)
        volts = [min(2420, max(2180, volt + choose.randrange(-3, 4))) for volt in volts]
        watts = [max(0, round(load_w * part + choose.gauss(0, 3))) for part in (0.36, 0.33, 0.31)]
        vars_ = [round(watt * 0.4 + choose.gauss(0, 2)) for watt in watts]
        factor = [928 + choose.randrange(-4, 5) if watt else 1000 for watt in watts]
        amps = [round(watt * 1e7 / volt / part) for watt, volt, part in zip(watts, volts, factor)]
        energy_ws += sum(watts) * step_s
        whole = [sum(watts), sum(vars_), 5000 + choose.randrange(-3, 4), energy_ws // 36_000, 0]
        found.append((START_MS + 1000 * at_s, [*volts, *amps, *watts, *vars_, *factor, *whole]))
    return found


def _ours(samples, step_s: int, seal_s: int, beat_s: int) -> Cost:
    rows = seal_s // step_s
    gateway = FakeGateway(1, SCHEMA)
    batches = beats = answers = transport = readings = 0
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        rig.enrol(gateway)
        topics = gateway.batch_topic(), gateway.beat_topic(), gateway.receipt_topic()
        for at in range(0, len(samples), rows):
            part = samples[at : at + rows]
            data = gateway.batch(tables={0: [(ms, 0, values, None) for ms, values in part]})
            rig.now_unix_ms = part[-1][0] + 500
            (outcome,) = rig.batches(gateway, data)
            batches, answers = batches + len(data), answers + len(outcome.receipt)
            transport += _message(topics[0], data) - len(data)
            transport += _message(topics[2], outcome.receipt) - len(outcome.receipt)
            readings += len(part) * len(CHANNELS)
        span_s = len(samples) * step_s
        for n in range(span_s // beat_s):
            data = gateway.beat(time_ms=rig.now_unix_ms + n)
            outcome = rig.beat(gateway, data)
            answer = outcome.answer
            assert answer is not None
            beats, answers = beats + len(data), answers + len(answer)
            transport += _message(topics[1], data) - len(data) + _message(outcome.answer_topic, answer) - len(answer)
        busy_s = min(seal_s, beat_s)
        pings = span_s // busy_s * max(0, busy_s // KEEPALIVE_S - 1)
        transport += pings * 2 * (2 + TLS_RECORD + SEGMENT)
        transport += pings * SEGMENT  # the acknowledgement of the answer; that of the question goes with it
        book = Book(rig.store.db)
        with rig.store.transaction(rig.now_unix_ms):
            while book.catch_up():
                pass
        rig.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        disk = (rig.data_dir / DATABASE_FILE).stat().st_size / readings
        rig.store.close()
    return Cost(batches, beats, answers, transport, readings, disk)


def _senml(samples) -> int:
    """Bytes of a message a sample, and all below it."""
    names = [name for name, _, _ in CHANNELS]
    found = 0
    for time_ms, values in samples:
        records = [{"n": name, "v": value / 10**scale if scale else value}
                   for name, value, (_, _, scale) in zip(names, values, CHANNELS)]  # fmt: skip
        records[0] = {"bn": "hall:", "bt": time_ms // 1000, **records[0]}
        found += _message("tele/hall/senml", json.dumps(records, separators=(",", ":")).encode())
    return found


def _message(topic: str, payload: bytes) -> int:
    """Bytes of a PUBLISH with QoS 1 and of its PUBACK, down to IP."""
    rest = 2 + len(topic) + 2 + len(payload)
    length = 1 if rest < 128 else 2 if rest < 16_384 else 3
    return _sent(1 + length + rest) + _sent(4)


def _sent(size: int) -> int:
    """These bytes as one TLS record, in TCP segments, and the acknowledgement of the last."""
    size += TLS_RECORD
    return size + -(-size // SEGMENT_BYTES) * SEGMENT + SEGMENT

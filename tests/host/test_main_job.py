"""The main job on real parts: what the meters held is what the hub has, and no kill loses or doubles a reading."""

import importlib.util
import json
import os
import random
import shutil
import struct
import time
from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest
from paho.mqtt import publish

from host_tools.meters.meter_simulator import Faults
from park import Park
from parkgate import reading
from parkgate.journal.journal import Journal
from parkgate.wire import batch, receipt


def unix_board(module):
    """A module of the Unix board: its folder must not come onto the path, it has a tty.py of its own."""
    path = Path(__file__).resolve().parent.parent.parent / "boards" / "unix" / f"{module}.py"
    spec = importlib.util.spec_from_file_location(module, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


SDM630, PZEM = ("incomer", "eastron-sdm630", 1), ("press", "pzem-004t", 2)
# From the meters' manuals, apart from the profiles: (address, quantity, decimals) of 32-bit floats; and the ten
# input registers of a PZEM-004T, low word first.
SDM630_FLOATS = ((0, "voltage_l1", 1), (52, "active_power", 1), (70, "frequency", 2), (72, "import_active_energy", 0))


def float_text(high, low, decimals, factor=1):
    """A register pair as a float32, rounded to a scale, by another way than the firmware's."""
    value = Decimal(struct.unpack(">f", struct.pack(">HH", high, low))[0]) * factor
    return str(value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN))


def samples(rows, instrument):
    """Value by quantity for each sample of an instrument, in the order of its times."""
    found = {}
    for row in rows:
        if row["instrument"] == instrument:
            found.setdefault(int(row["time_unix_ms"]), {})[row["quantity"]] = row["value"]
    return [found[time_ms] for time_ms in sorted(found)]


def answers(park, unit_id):
    """The answered requests of a meter as (address, words), in order."""
    with open(park.folder / "meters.jsonl", encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    return [(e["address"], e["words"]) for e in entries if e["unit"] == unit_id and e["fate"] == "sent"]


@pytest.mark.parametrize("broker", ["nats", "mosquitto"])
def test_values_at_the_hub_are_the_registers_to_the_last_digit(tmp_path, broker):
    if broker == "mosquitto" and not (shutil.which("mosquitto") or os.path.exists("/usr/sbin/mosquitto")):
        pytest.skip("mosquitto is not installed")
    with Park(tmp_path, (SDM630, PZEM), broker=broker) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("batches_verified", 0) >= 3, 40, "three batches are verified")
        park.drain()
        rows = park.readings()
        status = park.gateway.status
        assert status["sampled"] == status["acknowledged"] == len(rows) > 0
        assert park.at_hub()["readings_stored"] == len(rows)
        assert {row["quality"] for row in rows} == {"good"}
        assert {row["clock_trust"] for row in rows} == {"synchronised"}
        pzem = [words for _, words in answers(park, 2) if len(words) > 6]  # a read of less makes sure of one before
        seen = [
            [sample[name] for name in ("voltage", "current", "active_power", "import_active_energy")]
            for sample in samples(rows, "press")
        ]
        told = [
            [
                f"{Decimal(words[0]) / 10:.1f}",
                f"{Decimal(words[1] | words[2] << 16) / 1000:.3f}",
                f"{Decimal(words[3] | words[4] << 16) / 10:.1f}",
                str(words[5] | words[6] << 16),
            ]
            for words in pzem
        ]
        assert seen and in_order(seen, told)
        seen = samples(rows, "incomer")
        assert seen
        registers = {}
        for address, words in answers(park, 1):
            for i, word in enumerate(words):
                registers.setdefault(address + i, []).append(word)
        for address, quantity, decimals in SDM630_FLOATS:
            factor = 1000 if quantity.endswith("_energy") else 1
            wanted = [
                float_text(high, low, decimals, factor) for high, low in zip(registers[address], registers[address + 1])
            ]
            assert in_order([sample[quantity] for sample in seen], wanted), quantity


def in_order(values, answered):
    """Whether `values` are among what was answered, in that order; an answer may have been asked for once more."""
    left = iter(answered)
    return all(value in left for value in values)


def kept_in_journal(park, copy):
    """What a stopped gateway's journal holds, as (instrument index, time, values) of every sample; read from a copy."""
    shutil.copyfile(park.folder / "gateway" / "journal.nor", copy)
    flash = unix_board("nor_flash").NorFlash(str(copy), 4096, 256, 256)
    journal = Journal(flash, lambda: bytes(16))
    journal.recover()
    found = []
    for record in journal.unsealed():
        if record.kind == journal.SAMPLE:
            instrument, time_ms, _, values, _ = reading.decode_sample(record.payload)
            found.append((instrument, time_ms, tuple(values)))
    for seq in journal.held():
        sealed = batch.Batch(bytes(journal.read_batch(seq)))
        for table in sealed.tables:
            columns = [table.column(i) for i in range(len(table.channels))]
            found += [
                (table.instrument, time_ms, tuple(column[row] for column in columns))
                for row, time_ms in enumerate(table.times(sealed.base_ms))
            ]
    flash.close()
    return found


def wait_for_write(park):
    """Return as soon as the journal's file changes: the gateway is writing now."""
    path = park.folder / "gateway" / "journal.nor"
    before = path.stat().st_mtime_ns
    deadline = time.monotonic() + 5
    while path.stat().st_mtime_ns == before and time.monotonic() < deadline:
        pass


def test_kills_lose_nothing_and_double_nothing(tmp_path):
    """Gateway (at random, and in the middle of writing), broker and hub are killed in turn while readings flow."""
    seed = int(os.environ.get("PARKGATE_SEED", "2"))
    print("seed", seed)
    draw = random.Random(seed)
    journalled = set()
    with Park(tmp_path, (PZEM,), period_ms=100) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("batches_verified", 0) >= 1, 40, "the first batch is verified")
        for victim in ("gateway", "broker", "writing", "hub", "writing", "gateway", "broker", "hub", "writing"):
            time.sleep(draw.uniform(0.3, 2.5))
            if victim in ("gateway", "writing"):
                if victim == "writing":
                    wait_for_write(park)
                park.gateway.kill()
                journalled.update(kept_in_journal(park, tmp_path / "copy.nor"))
                park.gateway.start()
            elif victim == "broker":
                park.broker.kill()
                time.sleep(draw.uniform(0.1, 1.0))
                park.broker.start()
            else:
                park.hub.kill()
                time.sleep(draw.uniform(0.1, 1.0))
                park.hub.start()
        park.wait(lambda: park.at_hub().get("batches_verified", 0) >= 5, 60, "batches are verified after the kills")
        park.drain()
        at_hub = park.at_hub()
        status = park.gateway.status
        rows = park.readings()
    assert status["dropped"] == 0
    assert status["sampled"] == status["acknowledged"] == len(rows) == at_hub["readings_stored"]
    assert (at_hub["gaps"], at_hub["forks"], at_hub["refused"]) == (0, 0, {})
    assert len(journalled) > 20
    stored = Counter()
    samples_by_time = {}
    for row in rows:
        stored[row["instrument"], row["quantity"], row["time_unix_ms"]] += 1
        samples_by_time.setdefault(int(row["time_unix_ms"]), []).append(row["value"])
    assert set(stored.values()) == {1}
    for _, time_ms, values in journalled:
        got = [None if text == "" else int(text.replace(".", "")) for text in samples_by_time[time_ms]]
        assert got == list(values), time_ms


def test_bad_input_is_said_counted_and_stops_nothing(tmp_path):
    """A corrupt settings file, an unknown profile, a forged receipt: a clear line each, and sampling goes on."""
    with Park(tmp_path, (PZEM,)) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("batches_verified", 0) >= 1, 40, "the first batch is verified")
        park.gateway.kill()
        (park.folder / "gateway" / "settings.json").write_text('{"broker": {"port": ')
        park.gateway.start()
        verified = park.at_hub()["batches_verified"]
        park.wait(lambda: park.at_hub().get("batches_verified", 0) > verified + 1, 40, "it goes on with the last good")
        assert any("settings.json" in line and "last good" in line for line in park.gateway.lines)

        park.gateway.kill()
        settings = park.settings()
        settings["instruments"].append(dict(settings["instruments"][0], name="odd", unit_id=9))
        park.gateway.configure(settings)
        settings["instruments"][1]["profile"] = "no-such-meter"
        (park.folder / "gateway" / "settings.json").write_text(json.dumps(settings))
        park.gateway.start()
        verified = park.at_hub()["batches_verified"]
        park.wait(lambda: park.at_hub().get("batches_verified", 0) > verified + 1, 40, "the good meter is sampled")
        assert any("no profile 'no-such-meter'" in line for line in park.gateway.lines)
        assert park.gateway.status["crashes"] == 0


def test_forged_receipts_free_nothing(tmp_path):
    """While the hub is away, a hostile broker answers for it: garbage, and receipts under a key of its own."""
    with Park(tmp_path, (PZEM,)) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("batches_verified", 0) >= 1, 40, "the first batch is verified")
        park.hub.kill()
        park.wait(lambda: park.gateway.status.get("held", 0) >= 2, 40, "batches wait")
        gateway_id, hub_id = bytes.fromhex(park.gateway_id), bytes.fromhex(park.hub.about["hub_id"])
        acknowledged = park.gateway.status["acknowledged"]
        forged = [b"", b"garbage", bytes(400), bytes(5000)]
        epoch = bytes(16)
        forged += [receipt.encode_receipt(bytes(32), hub_id, gateway_id, epoch, seq, bytes(32), 0) for seq in range(4)]
        port = int(park.broker.url.rsplit(":", 1)[1])
        for payload in forged:
            publish.single(f"cmd/{park.gateway_id[:32]}/receipt", payload, 1, hostname="127.0.0.1", port=port)
        park.wait(lambda: park.gateway.status.get("receipts_refused", 0) >= 7, 20, "forgeries are refused and counted")
        assert park.gateway.status["acknowledged"] == acknowledged
        assert any("receipt refused" in line for line in park.gateway.lines)
        park.hub.start()
        park.drain()
        assert park.at_hub()["readings_stored"] == park.gateway.status["sampled"]


def test_a_noisy_line_costs_quality_and_nothing_else(tmp_path):
    """Damaged, short, late and missing replies become quality codes; no value at the hub is one the meter never had."""
    faults = Faults(crc=0.1, cut=0.1, dropped=0.1, late=0.05, noise=0.1)
    with Park(tmp_path, (PZEM,), period_ms=150, faults=faults) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("readings_stored", 0) >= 300, 60, "300 readings are at the hub")
        park.drain()
        rows = park.readings()
        with open(park.folder / "meters.jsonl", encoding="utf-8") as file:
            held = {tuple(json.loads(line).get("words") or ()) for line in file}
        energies = {str(words[5] | words[6] << 16) for words in held if len(words) > 6}
        got = [row["value"] for row in rows if row["quantity"] == "import_active_energy" and row["value"]]
        assert got
        assert set(got) <= energies
        qualities = {row["quality"] for row in rows}
        assert "good" in qualities
        assert qualities & {"timeout", "bad reply"}
        assert park.gateway.status["sampled"] == len(rows)
        assert park.gateway.status["crashes"] == 0


def test_a_board_without_a_clock_learns_the_time_from_its_hub(tmp_path):
    """Until the first answer times are relative; from then on they are the hub's, and what lay unsealed is dated."""
    with Park(tmp_path, (PZEM,)) as park:
        started_ms = time.time() * 1000
        park.start_gateway({"PARKGATE_NO_CLOCK": "1"})
        park.wait(lambda: park.at_hub().get("batches_verified", 0) >= 3, 40, "three batches are verified")
        rows = park.readings()
        trust = [row["clock_trust"] for row in rows]
        assert trust[0] in ("relative only", "dated later")
        assert trust[-1] == "synchronised"
        for row in rows:
            if row["clock_trust"] == "relative only":
                assert int(row["time_since_boot_ms"]) < 60_000
            else:
                assert started_ms - 2000 < int(row["time_unix_ms"]) < time.time() * 1000 + 2000

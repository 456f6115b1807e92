"""The journal's figures: what a reading costs the flash, how long it lasts, what a start reads, what memory it takes.

The flash is tests/sim/flash_sim.py (400 µs a page of 256, 45 ms an erase, as W25Q16-class chips state). One reading is
one record of 48 bytes of payload here, 64 on flash; 240 readings are sealed into a batch of 500 bytes, and receipts
come one batch later. The peer is what a logger on a stock board does: littlefs, append 64 bytes, `flush()`, on the same
flash in the same run.
"""

import json
from hashlib import sha256
from pathlib import Path

from flash_sim import FlashSim
from host_tools.base.unix_port import ForkServer
from parkgate.journal.journal import Journal

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = Path(__file__).with_name("journal_device.py")
SEARCH_PATH = [ROOT / folder for folder in ("lib", "tests/sim", "firmware")]
UNITS = {256: 256, 32: 240}  # program unit → sectors
PAYLOAD = bytes(48)
CYCLES = 100_000
YEAR_S = 31_557_600


def figures(size: int = 1) -> list[dict]:
    """The figures; `size` multiplies the readings and batches of each run."""
    found = []
    with ForkServer() as server:
        for unit, sectors in UNITS.items():
            found += _of_geometry(server, unit, sectors, size)
    return found


def _of_geometry(server, unit, sectors, size):
    name = f"4096/{unit}"
    peer = _device(server, "littlefs", unit, 2000 * size)
    peer_count = 2000 * size
    found = []
    steady = _steady(unit, sectors, 50_000 * size)
    erases = steady["erases"] / steady["readings"]
    hot = _hottest(unit, sectors, 100_000)
    years = CYCLES * sectors / (erases * YEAR_S * hot["skew"])
    peer_years = CYCLES / (peer["hottest"] / peer_count * YEAR_S) * (sectors / peer["blocks"])

    def add(what, value, unit, peer_value=None, peer_name="littlefs, append and flush", more_is_better=False):
        ratio = None if peer_value is None else peer_value / value
        if more_is_better:
            ratio = value / peer_value
        found.append(
            {
                "name": f"{name}: {what}",
                "value": value,
                "unit": unit,
                "peer": None if peer_value is None else peer_name,
                "peer_value": peer_value,
                "ratio": ratio,
            }
        )

    add("erases a reading", erases, "", peer["erases"] / peer_count)
    add("written for each byte of whole units", steady["programmed"] / steady["units"], "")
    add(
        "written for each byte handed over",
        steady["programmed"] / steady["bytes"],
        "",
        peer["programmed"] / peer_count / 64,
    )
    add(
        "flash busy, mean a reading",
        steady["busy_us"] / steady["readings"] / 1000,
        "ms",
        peer["busy_us"] / peer_count / 1000,
    )
    add("flash busy, longest append without erase", steady["append_us"] / 1000, "ms")
    add("years to 100,000 cycles at 1 reading/s", years, "years", peer_years, more_is_better=True)
    add("hottest sector against the mean, online", steady["skew"], "")
    add("hottest sector against the mean, 100,000 batches with 50 outages", hot["skew"], "")
    add("hottest sector after 100,000 batches", hot["hottest"], "erases")
    found += _recovery(name, unit, sectors)
    files = _device(server, "segments", unit, 4800 * size)
    add(
        "segment files, sync every 10 s: erases a reading",
        files["erases"] / 4800 / size,
        "",
        peer["erases"] / peer_count,
    )
    held = _device(server, "memory", unit, sectors)
    add("heap on the Unix port (64-bit), without the sector buffer", held["bytes"] - held["sector"], "bytes")
    speed = _device(server, "speed", unit, 3000)
    add("CPU on the Unix port, one append", speed["append_ns"] / 1000, "µs")
    add("CPU on the Unix port, one record read for sealing", speed["read_ns"] / 1000, "µs")
    return found


def _device(server, what, unit, count):
    finished = server.run(
        SCRIPT, [what, str(unit), str(count)], path=SEARCH_PATH, heapsize="64M", timeout_s=280, cwd=ROOT
    )
    if finished.exit_code != 0:
        raise RuntimeError(f"the bench of the journal failed on the Unix port:\n{finished.output}")
    return json.loads(finished.output.splitlines()[-1])


def _journal(flash):
    journal = Journal(flash, lambda: bytes(16))
    journal.recover(1)
    while journal.maintain():
        pass
    return journal


def _steady(unit, sectors, readings):
    """A gateway that is online: seal, acknowledge, go on."""
    flash = FlashSim(4096, sectors, unit)
    journal = _journal(flash)
    before = flash.erases, flash.programmed_bytes, flash.busy_us
    handed = units = longest_us = 0
    for i in range(readings):
        began_us, erases = flash.busy_us, flash.erases
        position = journal.append(journal.SAMPLE, PAYLOAD, 1)
        if flash.erases == erases:
            longest_us = max(longest_us, flash.busy_us - began_us)
        handed += len(PAYLOAD)
        units += -(-(16 + len(PAYLOAD)) // unit) * unit
        if i % 240 == 239:
            sealed = bytes(500)
            list(journal.unsealed(1))
            journal.commit_batch(journal.next_seq, sealed, sha256(sealed).digest(), position, journal.unsealed_readings)
            handed += len(sealed)
            units += -(-(16 + len(sealed)) // unit) * unit
            for seq in list(journal.held())[:-1]:
                journal.acknowledge(seq)
        journal.maintain()
    return {
        "readings": readings,
        "erases": flash.erases - before[0],
        "programmed": flash.programmed_bytes - before[1],
        "busy_us": flash.busy_us - before[2],
        "append_us": longest_us,
        "skew": max(flash.erases_of) * sectors / sum(flash.erases_of),
        "bytes": handed,
        "units": units,
    }


def _hottest(unit, sectors, batches):
    """Many small batches, with weeks offline in between so that the pool is full and empty by turns."""
    flash = FlashSim(4096, sectors, unit)
    journal = _journal(flash)
    for i in range(batches):
        position = journal.append(journal.SAMPLE, PAYLOAD, 1)
        list(journal.unsealed(1))
        sealed = bytes(300)
        journal.commit_batch(journal.next_seq, sealed, sha256(sealed).digest(), position, journal.unsealed_readings)
        if i % 2000 > 800:
            for seq in list(journal.held())[:3]:
                journal.acknowledge(seq)
        journal.maintain()
    return {"hottest": max(flash.erases_of), "skew": max(flash.erases_of) * sectors / sum(flash.erases_of)}


def _recovery(name, unit, sectors):
    flash = FlashSim(4096, sectors, unit)
    journal = _journal(flash)
    for i in range(sectors * 60):
        position = journal.append(journal.SAMPLE, PAYLOAD, 1)
        if i % 30 == 29:
            list(journal.unsealed(1))
            sealed = bytes(3000)
            journal.commit_batch(journal.next_seq, sealed, sha256(sealed).digest(), position, journal.unsealed_readings)
        journal.maintain()
    sizes = []
    read = flash.read

    def counted(address, buffer):
        sizes.append(len(buffer))
        read(address, buffer)

    flash.read = counted
    journal = Journal(flash, lambda: bytes(16))
    journal.recover(1)
    headers, scans = sum(size <= 256 for size in sizes), sum(size == 4096 for size in sizes)
    row = {"unit": "reads", "peer": None, "peer_value": None, "ratio": None}
    return [
        {"name": f"{name}: start of a full journal, headers and small reads", "value": headers, **row},
        {"name": f"{name}: start of a full journal, whole sectors", "value": scans, **row},
    ]

"""A year of one gateway at a hub, and what exports of it cost: time, and peak memory of the process.

python -m tests.host.export_year FOLDER [HOURS]       20 channels a minute, a batch an hour; 8,760 hours are a year
"""

import subprocess
import sys
import time
from pathlib import Path

for folder in ("tests/host", "lib"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / folder))

from batches import START_MS, FakeGateway  # noqa: E402
from hub_rig import Rig  # noqa: E402

CHANNELS = [[f"quantity_{n}", "V", 1] for n in range(10)]
HOUR_MS = 3_600_000


def fill(folder: Path, hours: int) -> None:
    """Make the database."""
    rig = Rig(folder)
    gateway = FakeGateway(1, [["hall 1", "SDM630", CHANNELS], ["hall 2", "SDM630", CHANNELS]])
    rig.enrol(gateway)
    sealed = []
    for hour in range(hours):
        rows = [
            (START_MS + hour * HOUR_MS + minute * 60_000, 0, [2300 + (minute * 7 + c) % 50 for c in range(10)], None)
            for minute in range(60)
        ]
        sealed.append(gateway.batch(tables={0: rows, 1: rows}))
        if len(sealed) == 100 or hour == hours - 1:
            rig.batches(gateway, *sealed)
            sealed.clear()
    rig.store.close()


MEASURED = """
import sys
from host_tools.cli import main
code = main(sys.argv[1:])
print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")], file=sys.stderr)
sys.exit(code)
"""


def export(folder: Path, *options: str) -> str:
    """One export in a process of its own: seconds, megabytes of memory at most, size of the file."""
    out = folder / "out"
    out.unlink(missing_ok=True)
    began_s = time.monotonic()
    command = [sys.executable, "-c", MEASURED, "export", "--data", str(folder), "--out", str(out), *options]
    done = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    took_s, peak_kib = time.monotonic() - began_s, int(done.stderr.split()[-1])
    return f"{took_s:7.2f} s {peak_kib / 1024:7.1f} MiB at most {out.stat().st_size:>13,} bytes  {' '.join(options)}"


def main(folder: str, hours: str = "8760") -> None:
    """Fill where nothing is there yet, then export."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if not (path / "hub.sqlite").exists():
        fill(path, int(hours))
    hour = START_MS + HOUR_MS
    spans = {"a day": 24, "1.0 million readings": 833, "all": int(hours)}
    for name, length in spans.items():
        for form in (["csv"], ["csv", "--excel"], ["senml-json"], ["senml-cbor"]):
            span = [] if name == "all" else ["--from", str(hour), "--to", str(hour + length * HOUR_MS)]
            print(f"{name:20}", export(path, "--format", *form, *span), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

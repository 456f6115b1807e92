"""Columns: sizes beside the ideal adaptive coder, the sealed batch beside other formats, and how fast both ends are.

The files are those of the reference data where it lies beside the repository; the shapes (tests/sim) are always there.
A ratio above 1 says how many times larger the peer is; for speeds, how many times our figure is the wanted one.
"""

import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from host_tools.base.unix_port import ForkServer
from host_tools.bench import wire
from host_tools.bench.ideal import ideal_bytes
from host_tools.bench.table import read as read_csv
from host_tools.hub.reading import bulk
from host_tools.hub.reading.decode import decode_group
from parkgate.errors import FormatError
from parkgate.wire import batch, columns

ROOT = Path(__file__).resolve().parent.parent.parent
REFERENCE = ROOT.parent / "shared" / "reference"
DEVICE_SCRIPT = Path(__file__).with_name("columns_device.py")
FILES = ("steel_industry.csv", "machine_temperature.csv")
WANTED_STEEL_BYTES = 1.05
WANTED_TO_IDEAL = 1.16
WANTED_DECODED_A_S = 2000
WANTED_VERIFIED_A_S = 8000
ROWS = 240


def _figure(name, value, unit, peer=None, peer_value=None, ratio=None):
    if ratio is None and peer_value is not None:
        ratio = round(peer_value / value, 3)
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def _wire_figures(path: Path) -> list[dict]:
    report = wire.measure(str(path))
    ours = report["parkgate"]
    name = path.stem
    rows = [
        _figure(
            f"{name}: columns", round(ours["columns"], 3), "B a value", "ideal adaptive coder",
            round(ours["ideal_columns"], 3),
        ),
    ]  # fmt: skip
    size = round(ours["bytes_a_value"], 3)
    if path.name == FILES[0]:
        rows.append(_figure(f"{name}: whole batch, signed", size, "B a value", "wanted at most", WANTED_STEEL_BYTES))
    for peer in report["peers"]:
        for key, note in (("bytes_a_value", ""), ("zlib_bytes_a_value", " + zlib")):
            if peer[key] is not None:
                peer_size = round(peer[key], 3)
                rows.append(_figure(f"{name}: whole batch, signed", size, "B a value", peer["name"] + note, peer_size))
    return rows


def classic_bytes(values: list[int]) -> int:
    """Size of the best of {raw, delta, delta of delta} × {zero-run zigzag varint, Golomb-Rice}: the usual way."""

    def differences(xs):
        return xs[:1] + [b - a for a, b in pairwise(xs)]

    def varint(us):
        size = run = 0
        for u in [*us, -1]:
            if u == 0:
                run += 1
                continue
            if run:
                size += 1 + (run.bit_length() + 6) // 7
                run = 0
            size += (u.bit_length() + 6) // 7 if u > 0 else 0
        return size

    def golomb_rice(us):
        return min((sum((u >> k) + 1 + k for u in us) + 7) // 8 + 1 for k in range(40))

    once = differences(values)
    transformed = values, once, once[:1] + differences(once[1:])
    unsigned = [[x << 1 if x >= 0 else (-x << 1) - 1 for x in xs] for xs in transformed]
    return min(coder(us) for us in unsigned for coder in (varint, golomb_rice))


def _classic_figures(path: Path) -> list[dict]:
    """All columns of a file in batches spread over it, beside the classic coders."""
    ours = classic = smaller = count = 0
    for channel in read_csv(path).channels:
        values = [value for value in channel.values if value is not None]
        for start in range(0, len(values) - ROWS + 1, max(ROWS, len(values) // 24)):
            rows = values[start : start + ROWS]
            mine, theirs = len(columns.encode(rows)[1]), classic_bytes(rows)
            ours += mine
            classic += theirs
            smaller += theirs < mine
            count += 1
    name = path.stem
    return [
        _figure(f"{name}: columns, {count} of them", ours, "B", "varint or Golomb-Rice, the best of six", classic),
        _figure(f"… those for which the peer is smaller, of {count}", smaller, "columns"),
    ]


def _shape_figures() -> list[dict]:
    from column_shapes import shapes

    rows = []
    for count in (20, ROWS, 1000):
        ours, ideal, worst = 0, 0.0, (-9.0, "")
        for name, values in shapes(count).items():
            size, best = len(columns.encode(values)[1]), ideal_bytes(values)
            ours += size
            ideal += best
            worst = max(worst, (size - WANTED_TO_IDEAL * best - 4, name))
        rows.append(_figure(f"48 shapes of {count} rows", ours, "B", "ideal adaptive coder", round(ideal)))
        rows.append(_figure(f"… the worst ({worst[1]}) less 1.16 × ideal + 4 B", round(worst[0], 1), "B"))
    return rows


def _channels() -> list[list[int]]:
    """Columns of one batch: the steel works, or shapes like them."""
    from column_shapes import shapes

    if REFERENCE.is_dir():
        recording = wire.read(REFERENCE / FILES[0])
        return [[value or 0 for value in channel.values] for channel in recording.channels]
    made = shapes(ROWS * 20)
    return [made[name] for name in ("half_wave", "wave_noisy", "held", "rare_events", "bell_about_mean", "walk")]


def _device_figures(channels: list[list[int]], size: int) -> list[dict]:
    wanted = [channel[start : start + ROWS] for start in range(0, ROWS * 4 * size, ROWS) for channel in channels]
    with tempfile.TemporaryDirectory() as folder, ForkServer() as server:
        file = Path(folder) / "columns.json"
        file.write_text(json.dumps(wanted))
        finished = server.run(DEVICE_SCRIPT, [str(file)], path=[ROOT / "lib"], heapsize="16m", timeout_s=300)
    if finished.exit_code != 0:
        raise RuntimeError(f"columns_device.py failed:\n{finished.output}")
    took_us = sum(us for _, _, us in json.loads(finished.output))
    return [_figure("encode a column, Unix port", round(took_us / len(wanted) / ROWS, 2), "us a value")]


def _rate(work, count: int, turns: int = 3) -> float:
    """Times a second, by CPU time, the best of a few turns: the machine has other work."""
    best_s = float("inf")
    for _ in range(turns):
        began_s = time.process_time()
        work()
        best_s = min(best_s, time.process_time() - began_s)
    return count / best_s


def _sealed(channels: list[list[int]], count: int) -> tuple[list[bytes], ec.EllipticCurvePublicKey]:
    """Signed batches as a gateway sends them."""
    private = ec.derive_private_key(12345, ec.SECP256R1())
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    made = []
    for i in range(count):
        start = ROWS * (i % (len(channels[0]) // ROWS))
        part = [wire.Channel(f"c{c}", 0, channel[start : start + ROWS]) for c, channel in enumerate(channels)]
        data = wire.batch_bytes([1_700_000_000_000 + 900_000 * row for row in range(ROWS)], part, 1000 + i)
        digest = batch.Batch(data).sign1.digest()
        r, s = utils.decode_dss_signature(private.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
        made.append(data[:-64] + r.to_bytes(32, "big") + min(s, order - s).to_bytes(32, "big"))
    return made, private.public_key()


def _verify(data: bytes, public: ec.EllipticCurvePublicKey) -> batch.Batch:
    opened = batch.Batch(data)
    r, s = (int.from_bytes(data[end - 32 : end], "big") for end in (len(data) - 32, len(data)))
    der = utils.encode_dss_signature(r, s)
    public.verify(der, opened.sign1.digest(), ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    return opened


def _hub_figures(channels: list[list[int]], size: int) -> list[dict]:
    sealed, public = _sealed(channels, 146)
    sealed = sealed * (2 * size)

    def verify():
        for data in sealed:
            _verify(data, public)

    def decode():
        opened = [_verify(data, public) for data in sealed]
        items = []
        for one in opened:
            for table in one.tables:
                items.append((table.times_data[0], table.times_data[1:], table.rows))
                items += [(column[0], column[1:], table.rows) for column in table.channels]
        if any(isinstance(values, FormatError) for values in bulk.decode_columns(items)):
            raise RuntimeError("a column of the bench does not decode")

    def decode_by_hub():
        decode_group([_verify(data, public) for data in sealed])

    starts = range(0, ROWS * 16, ROWS)
    parts = [channel[start : start + ROWS] for start in starts for channel in channels]
    coded = [(*columns.encode(part), ROWS) for part in parts]
    items = coded * (40 * size)
    values = len(coded) * ROWS
    rows = []
    for name, work, count in (
        ("encode columns, CPython", lambda: [columns.encode(part) for part in parts], values),
        ("decode columns, plain", lambda: [columns.decode(coder, data, ROWS) for coder, data, _ in coded], values),
        ("decode columns, joined", lambda: bulk.decode_columns(items), values * 40 * size),
    ):
        rows.append(_figure(name, round(_rate(work, count)), "values/s"))
    for name, work, wanted in (
        ("open and verify a batch of 6 × 240 values, columns left encoded", verify, WANTED_VERIFIED_A_S),
        ("… and decode all columns, joined", decode, WANTED_DECODED_A_S),
        ("… and decode as the hub does, batches grouped", decode_by_hub, WANTED_DECODED_A_S),
    ):
        rate = round(_rate(work, len(sealed)))
        rows.append(_figure(name, rate, "batches/s/core", "wanted at least", wanted, round(rate / wanted, 2)))
    return rows


def figures(size: int = 1) -> list[dict]:
    """Measure; `size` multiplies the work of the speeds."""
    rows = []
    if REFERENCE.is_dir():
        for name in FILES:
            rows += _wire_figures(REFERENCE / name) + _classic_figures(REFERENCE / name)
    rows += _shape_figures()
    channels = _channels()
    return rows + _device_figures(channels, size) + _hub_figures(channels, size)

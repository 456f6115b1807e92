"""Signing on P-256: time against utinyec and starkbank-ecdsa in one run of the Unix port, operations, and
memory.

Both peers come from the bench environment (pyproject.toml, group `bench`). utinyec runs as it is; its part is
what a signature with it takes at least. starkbank-ecdsa does not import on MicroPython: a copy under build/
is patched here, without touching its arithmetic, and keeps its faster way (a table of 257 points on the
heap).
"""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from statistics import quantiles

from host_tools.base.unix_port import ForkServer
from parkgate.wire import p256
from tests.sim.counted_int import counting, longest_step_us

ROOT = Path(__file__).resolve().parent.parent.parent
DEVICE_SCRIPT = Path(__file__).with_name("sign_device.py")
PEERS = ROOT / "build" / "bench_sign"
ROUNDS = 60
HEAP = "512k"  # objects take twice the room there: a board with 256 kB

_MODULES = {  # what starkbank-ecdsa imports and MicroPython lacks, as far as signing uses it
    "hmac": """
from hashlib import sha256
class new:
    def __init__(self, key, message, hashfunc):
        inner = sha256(bytes([b ^ 0x36 for b in key]) + b"\\x36" * (64 - len(key)) + message).digest()
        self.tag = sha256(bytes([b ^ 0x5c for b in key]) + b"\\x5c" * (64 - len(key)) + inner).digest()
    def digest(self):
        return self.tag
""",
    "secrets": """
from os import urandom
def randbelow(n):
    return int.from_bytes(urandom(40), "big") % n
""",
    "base64": "b64encode = b64decode = None\n",
}

_PATCHES = (  # (file, pattern, replacement): each must fit
    ("curve.py", r"N\.bit_length\(\)", "256"),
    ("math.py", r"return pow\(x, -1, n\)", "raise ValueError"),  # gives 0 there without an error
    ("utils/integer.py", r"hashfunc\(\)\.digest_size", "32"),
    ("utils/integer.py", r"\.zfill\(orderByteLen \* 2\)", ""),
    ("utils/binary.py", r'"\{0:x\}"\.format\(number\)', '"{0:064x}".format(number)'),
    ("utils/compatibility.py", r"pyVersion\.major == 3", "True"),
    ("ecdsa.py", r"toBytes\(message\)", "message"),  # it is bytes already
    ("signature.py", r"(?m)^from \.utils\.(der|binary) .*$", ""),  # DER needs datetime; r and s are enough
)


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"the package {name} is missing: `make bench` installs it in its own environment")
    return Path(next(iter(found.submodule_search_locations)))


def prepare_peers() -> Path:
    """Copy both peers to build/bench_sign, patch starkbank-ecdsa for MicroPython, and give that folder."""
    shutil.rmtree(PEERS, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_package("utinyec"), PEERS / "utinyec", ignore=ignored)
    starkbank = PEERS / "starkbank_ecdsa"
    shutil.copytree(_package("ellipticcurve"), starkbank, ignore=ignored)
    for name, text in _MODULES.items():
        (PEERS / f"{name}.py").write_text(text)
    for name, pattern, replacement in _PATCHES:
        file = starkbank / name
        text, count = re.subn(pattern, replacement, file.read_text())
        if count == 0:
            raise ValueError(f"starkbank-ecdsa has changed: the patch for {name}, {pattern}, does not fit")
        file.write_text(text)
    (starkbank / "__init__.py").write_text("")
    return PEERS


def _run(server: ForkServer, *arguments: str, path: tuple[Path, ...] = ()) -> dict:
    search = [ROOT / "lib", *path]
    finished = server.run(DEVICE_SCRIPT, arguments, path=search, heapsize=HEAP, timeout_s=300)
    if finished.exit_code != 0:
        raise RuntimeError(f"sign_device.py {' '.join(arguments)} failed:\n{finished.output}")
    return json.loads(finished.output)


def peak_heap_bytes(server: ForkServer) -> dict[str, int]:
    """What `sign`, `verify` and `ecdh` need above the idle heap on the Unix port, in bytes."""
    return _run(server, "heap")


def _row(name, value, unit, peer=None, peer_value=None):
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "peer": peer,
        "peer_value": peer_value,
        "ratio": round(peer_value / value, 2) if peer_value is not None else None,
    }


def figures(size: int = 1) -> list[dict]:
    """Measure. A ratio says how many times longer the peer takes."""
    with ForkServer() as server:
        rounds_us = _run(server, "speed", str(ROUNDS * size), path=(prepare_peers(),))
        heap_bytes = peak_heap_bytes(server)
    # The lower quartile: what disturbs a turn makes it longer, and the luckiest nonce of a peer is not its speed.
    ms = {name: round(quantiles(turns, n=4)[0] / 1000, 3) for name, turns in rounds_us.items()}
    rows = [
        _row("P-256 sign, Unix port", ms["sign"], "ms", "utinyec 0.4.5", ms["utinyec_sign"]),
        _row("P-256 sign, Unix port", ms["sign"], "ms", "starkbank-ecdsa 2.3.1, table", ms["starkbank_sign"]),
        _row("P-256 verify, Unix port", ms["verify"], "ms"),
        _row("P-256 ECDH, Unix port", ms["ecdh"], "ms"),
    ]
    d32, digest = p256.key_from_entropy(bytes(range(40))), bytes(range(32))
    public, signature = p256.public_key(d32), p256.sign(d32, digest)
    for name, steps in (
        ("sign", p256.sign_steps(d32, digest)),
        ("verify", p256.verify_steps(public, digest, signature)),
        ("ECDH", p256.ecdh_steps(d32, public)),
    ):
        with counting(p256) as tally:
            _, longest_us = longest_step_us(tally, steps)
        rows += [
            _row(f"P-256 {name}, multiplications", tally.multiplications, "operations"),
            _row(f"P-256 {name}, reductions", tally.reductions, "operations"),
            _row(f"P-256 {name}, inversions", tally.inversions, "operations"),
            _row(f"P-256 {name}, RP2040 arithmetic by count", round(tally.rp2040_us() / 1000, 1), "ms"),
            _row(f"P-256 {name}, longest step by count", round(longest_us / 1000, 1), "ms"),
            _row(f"P-256 {name}, peak heap above idle", heap_bytes[name.lower()], "bytes"),
        ]
    return rows

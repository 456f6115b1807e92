"""Archives for tests: honest ones from fake gateways, and the parts to make crooked ones of them."""

import hashlib
import io
import zipfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from batches import START_MS, FakeGateway, sign
from host_tools.archive.writer import Archive, Chain, Coverage, Gateway
from host_tools.base.keys import public_xy
from parkgate.wire import cbor, cose

DAY_MS = 86_400_000
PLANT = [["press", "SDM630", [["active_power", "W", 1], ["import_active_energy", "kWh", 2]]]]


class HubKey:
    """A hub's log key for tests."""

    def __init__(self, number=1):
        self.private = ec.derive_private_key(int.from_bytes(b"hub!" + bytes([number]), "big"), ec.SECP256R1())
        self.xy = public_xy(self.private)
        self.id = cose.thumbprint(self.xy)

    def sign(self, digest):
        return sign(self.private, digest)


class Plant:
    """A gateway with its whole chain: batches a quarter of an hour apart, with a meter that counts."""

    def __init__(self, number, batches=12, every_ms=900_000, start_ms=START_MS, epoch=None):
        self.gateway = FakeGateway(number, PLANT, epoch)
        self.name = f"hall {number}"
        self.sealed, self.energy, self.time_ms = [], 100_000 * number, start_ms
        self.every_ms = every_ms
        for _ in range(batches):
            self.more()
        self.beats = [self.gateway.beat(time_ms=self.time_ms, buffered=0)]
        self.forks = []

    def more(self, **fields):
        rows = []
        for n in range(3):
            rows.append((self.time_ms + n * self.every_ms // 3, 0, [4000 + n, self.energy], None))
            self.energy += 17
        self.time_ms += self.every_ms
        self.sealed.append(self.gateway.batch(tables={0: rows}, with_schema=not self.sealed, **fields))

    def lose(self, batches=1):
        """Some batches that the hub never gets."""
        for _ in range(batches):
            self.more()
            del self.sealed[-1]
            del self.gateway.held[self.gateway.seq - 1]  # lost: not buffered any more


class Parts:
    """All that an archive is made of, to be changed before it is written."""

    def __init__(self, plants, key=None, from_ms=None, to_ms=None, **fields):
        self.key = key if key is not None else HubKey()
        self.extra: list = []
        self.gateways, self.members = [], {}
        self.coverage = Coverage(
            "hub", START_MS + 10 * DAY_MS, "tests", from_ms, to_ms, "UTC",
            [START_MS // DAY_MS * DAY_MS + n * DAY_MS for n in range(-1, 12)], [], [], ["what a meter did"],
        )._replace(**fields)  # fmt: skip
        for plant in plants:
            gateway, folder = plant.gateway, f"gateways/{plant.gateway.id.hex()}/"
            self.members[f"{folder}batches-{gateway.epoch.hex()}.cbor"] = list(plant.sealed)
            self.members[f"{folder}beats.cbor"] = list(plant.beats)
            self.members[f"{folder}forks.cbor"] = list(plant.forks)
            schema = cbor.encode([[name, profile, channels] for name, profile, channels in gateway.schema])
            self.members[f"{folder}schemas.cbor"] = [cbor.encode(schema)]
            self.gateways.append(Gateway(gateway.id, gateway.xy, plant.name, [(5, "enrolled", plant.name)], [
                Chain(gateway.epoch, runs(plant.sealed), [])]))  # fmt: skip

    def batches(self, place=0):
        """The list of batches of one gateway, to be changed."""
        return self.members[[name for name in self.members if "/batches-" in name][place]]

    def name(self, what, place=0):
        return [name for name in self.members if what in name][place]

    def write(self, key=...) -> bytes:
        """The archive, its statement made anew from the members as they are."""
        out = io.BytesIO()
        archive = Archive(out)
        archive.add("README.txt", [b"for people\n"])
        for name, parts in self.members.items():
            archive.add(name, [part for part in parts if part])
        archive.finish(self.coverage, self.gateways, self.key if key is ... else key)
        return out.getvalue()

    def rewrite(self, honest: bytes) -> bytes:
        """The archive with the members as they are, under the statement of an honest one: without the hub's key."""
        return rewritten(honest, {name: b"".join(parts) for name, parts in self.members.items()})


def seq_of(data):
    return cose.Sign1(data, 65101).seq


def runs(batches):
    found = []
    for seq in map(seq_of, batches):
        if found and found[-1][1] == seq - 1:
            found[-1] = found[-1][0], seq
        else:
            found.append((seq, seq))
    return found


def rewritten(archive: bytes, changed: dict) -> bytes:
    """An archive in right .zip form with some members changed (None: left out), and new ones behind."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        names = old.namelist()
        for name in [*names, *(name for name in changed if name not in names)]:
            data = changed[name] if name in changed else old.read(name)
            if data:
                new.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


def load_audit():
    """The module audit.py, as a stranger has it: one file."""
    import importlib.util

    path = Path(__file__).parent.parent.parent / "host_tools" / "archive" / "audit.py"
    spec = importlib.util.spec_from_file_location("audit_alone", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digest(data):
    return hashlib.sha256(data).digest()

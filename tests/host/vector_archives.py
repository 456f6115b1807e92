"""The vectors of tests/vectors as archives: each batch, beat and chain in an archive of its gateway, signed by nobody.
So the verifiers of archives are held to what every reader of Parkgate's formats must refuse (SPEC 5.6)."""

import io
import json
from pathlib import Path

from archives import DAY_MS
from batches import START_MS
from host_tools.archive.writer import Archive, Chain, Coverage, Gateway
from parkgate.wire import cose

FOLDER = Path(__file__).parent.parent / "vectors"
POSITION = bytes.fromhex("3a000100008250")  # in the protected header, before the epoch
MESSAGE = {"malformed", "misplaced", "signature", "columns"}  # reasons of SPEC 14.6 that one message alone can give
CHAIN = {"link", "counters", "order", "fork", "hole", "start_unproven"}  # those that its neighbours give
# The reasons that a step of SPEC 5.6 may give.
REASONS = {
    **{step: {"malformed"} for step in ("size", "cose", "cbor", "batch", "beat")},
    "foreign": {"misplaced"}, "signature": {"signature"}, "columns": {"columns"},
    "chain": CHAIN | {"misplaced"}, "good": set(),
}  # fmt: skip


def vectors(*kinds):
    """(name, vector) of each file of these kinds."""
    for path in sorted(FOLDER.glob("*.json")):
        vector = json.loads(path.read_text(encoding="utf-8"))
        if vector["kind"] in kinds:
            yield path.stem, vector


def archive_of(vector) -> bytes:
    """An archive of the messages of one vector, of kind batch, beat or chain."""
    messages = [bytes.fromhex(message) for message in vector["messages"]]
    xy = bytes.fromhex(vector["public_key"])
    # Of a message of another kind the epoch may be anything: it stands nowhere.
    gateway_id, epoch = cose.thumbprint(xy), messages[0].partition(POSITION)[2][:16].ljust(16, b"\0")
    folder, out = f"gateways/{gateway_id.hex()}/", io.BytesIO()
    archive, chains = Archive(out), []
    if vector["kind"] == "beat":
        archive.add(f"{folder}beats.cbor", messages)
    else:
        archive.add(f"{folder}batches-{epoch.hex()}.cbor", messages)
        chains = [Chain(epoch, [], [])]
    coverage = Coverage("gateway", START_MS + DAY_MS, "tests", None, None, "UTC", [], [], [], [])
    archive.finish(coverage, [Gateway(gateway_id, xy, "a hall", [], chains)], None)
    return out.getvalue()


def wrong(name, vector, verdict) -> list[str]:
    """Lines of what is wrong with the verdict on the archive of a vector."""
    looked_at = MESSAGE | CHAIN if vector["kind"] == "chain" else MESSAGE
    said = {reason["reason"] for reason in verdict["reasons"]} & looked_at
    may = REASONS[vector["layer"]]
    right = bool(said) and said <= may if may else not said
    return [] if right else [f"{name} ({vector['fact']}): {sorted(said)} instead of {sorted(may)}"]


def wrong_pieces(items, columns) -> list[str]:
    """Lines of what is wrong with what was said of the vectors of kind cbor and column: whether each was taken."""
    found = []
    for kind, taken in (("cbor", items), ("column", columns)):
        for (name, vector), was_taken in zip(vectors(kind), taken, strict=True):
            if was_taken != (vector["layer"] == "good"):
                found.append(f"{name} ({vector['fact']}): {'taken' if was_taken else 'refused'}")
    return found

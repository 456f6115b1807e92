"""The example of SPEC 14.8: the batch of section 1 as an archive that a gateway's own messages make."""

import io
import zipfile

from host_tools.archive.writer import Archive, Chain, Coverage, Gateway
from tests.vectors.generate import spec_example
from tests.vectors.generate.forms import GATEWAY

EPOCH = bytes.fromhex("1ddc5f89b8ab54ca448dfaba81d983f9")
BEGIN_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def archive() -> bytes:
    out = io.BytesIO()
    made = Archive(out)
    made.add(f"gateways/{GATEWAY.id.hex()}/batches-{EPOCH.hex()}.cbor", [spec_example.sealed()])
    coverage = Coverage(
        "gateway", BEGIN_MS + 60_000, "example", None, None, "UTC", [BEGIN_MS, BEGIN_MS + 86_400_000], [], [], []
    )
    chain = Chain(EPOCH, [(0, 0)], [])
    made.finish(coverage, [Gateway(GATEWAY.id, GATEWAY.xy, "mill hall", [], [chain])], None)
    return out.getvalue()


def text() -> str:
    """How SPEC shows it: the files, then the bytes of the statement."""
    with zipfile.ZipFile(io.BytesIO(archive())) as file:
        lines = [f"    {info.file_size:5} bytes at {info.header_offset:5}  {info.filename}" for info in file.infolist()]
        statement = file.read("statement.cbor").hex()
    lines += [f"    {len(archive()):5} bytes in all", "", "`statement.cbor`:", ""]
    lines += [f"    {statement[at : at + 96]}" for at in range(0, len(statement), 96)]
    return "\n".join(lines) + "\n"

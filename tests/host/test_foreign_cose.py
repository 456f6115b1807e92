"""Other people's COSE libraries verify what the device's code signs on MicroPython: 1,000 random batches.

cwt lives in an environment of its own, as it needs another cbor2; pycose is in ours. The second verifier and our hub's
own reading join in: all four must agree on every batch.
"""

import subprocess
from pathlib import Path

import cbor2
import pytest

import independent_verifier as second
from host_tools.base.keys import Verifier
from parkgate.wire import batch

HERE = Path(__file__).resolve().parent
LIB = HERE.parent.parent / "lib"
COUNT, SEED = 1000, 20260101


@pytest.fixture(scope="module")
def lines(unix_port):
    """What the device printed: keys, each followed by its batches."""
    finished = unix_port.run(HERE / "sealed_batches_device.py", [str(COUNT), str(SEED)], path=[LIB], timeout_s=240)
    assert finished.exit_code == 0, finished.output[-2000:]
    return finished.output.splitlines()


def keyed(lines):
    """(x ‖ y, batch) for each batch."""
    key = b""
    for line in lines:
        word, *parts = line.split()
        if word == "key":
            key = bytes.fromhex("".join(parts))
        else:
            yield key, bytes.fromhex(parts[0])


def test_pycose_verifies_them(lines):
    from pycose.keys.ec2 import EC2Key
    from pycose.messages.sign1message import Sign1Message

    count = 0
    for xy, data in keyed(lines):
        # pycose 1.1 wants a list and a dict where cbor2 6 gives what cannot be changed inside a tag.
        tag = cbor2.loads(data)
        assert tag.tag == Sign1Message.cbor_tag
        protected, unprotected, payload, signature = tag.value
        message = Sign1Message.from_cose_obj([protected, dict(unprotected), payload, signature], True)
        message.key = EC2Key(crv="P_256", x=xy[:32], y=xy[32:])
        assert message.verify_signature()
        count += 1
        if count % 50 == 0:
            message.payload += b"\x00"
            assert not message.verify_signature()
    assert count == COUNT


def test_cwt_verifies_them(lines, cwt_python):
    done = subprocess.run(
        [cwt_python, HERE / "check_with_cwt.py"], input="\n".join(lines), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == COUNT


def test_the_second_verifier_and_the_hub_read_the_same(lines):
    count = 0
    for xy, data in keyed(lines):
        theirs = second.read_batch(data, xy)
        ours = batch.Batch(data)
        Verifier(xy).check(ours.sign1.digest(), ours.sign1.signature)
        assert [ours.sign1.kid, ours.sign1.epoch, ours.sign1.seq] == [theirs[name] for name in ("kid", "epoch", "seq")]
        for name in ("prev", "boot", "cause", "sampled", "dropped", "receipt_seq", "events", "schema", "readings"):
            assert getattr(ours, name) == theirs[name], name
        for table, said in zip(ours.tables, theirs["tables"]):
            channels = [
                [list(codes or bytes(table.rows)), table.column(index)] for index, codes in enumerate(table.quality)
            ]
            assert [table.instrument, table.times(ours.base_ms), list(table.trust), channels] == said
        count += 1
    assert count == COUNT

"""Key rotation at the hub (SPEC 3.6): the next key takes over, a stolen current key does not."""

import argparse
import contextlib
import io
import os
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import independent_archive
from archives import load_audit
from batches import FakeGateway, sign
from host_tools.archive import command
from host_tools.base.keys import public_xy
from host_tools.hub.park import exchange
from host_tools.hub.receiving.verify import holds
from host_tools.hub.stores import gateway_keys
from host_tools.hub.stores.store import connect
from host_tools.log.log import Log
from host_tools.log.signer import Signer
from hub_rig import Rig
from key_chain import Keys
from parkgate.errors import IntegrityError, SettingsError
from parkgate.log import rotation, statement
from parkgate.wire import cose, receipt


@pytest.fixture
def keys(rig: Rig, gateway: FakeGateway) -> Keys:
    keys = Keys(gateway)
    with contextlib.closing(connect(rig.data_dir)) as db:
        exchange.enrol(db, gateway.xy, None, next_id=keys.ids[1])
    return keys


def kinds(rig: Rig, gateway: FakeGateway, *sealed: bytes) -> list[str]:
    return [outcome.kind + outcome.what.partition(":")[0] * (outcome.kind == "refused")
            for outcome in rig.take(*[(gateway.batch_topic(), data) for data in sealed])]  # fmt: skip


def test_the_next_key_goes_on_with_the_chain(rig, gateway, keys):
    assert kinds(rig, gateway, keys.batch(), keys.rotate()) == ["new", "new"]
    outcome = rig.take((gateway.batch_topic(), keys.batch()))[0]
    assert outcome.kind == "new"
    key = receipt.shared_key(
        keys.private[1].exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256R1(), b"\x04" + rig.key.xy)), gateway.id, rig.key.id)  # fmt: skip
    assert receipt.decode_receipt(key, rig.key.id, gateway.id, outcome.receipt)[1] == 2, "the new key reads receipts"
    rig.restart()
    assert kinds(rig, gateway, keys.rotate(), keys.batch()) == ["new", "refusedforeign"], "known after the commit"
    assert kinds(rig, gateway, gateway.held[4][0]) == ["new"]
    summary = rig.summary(gateway)
    assert summary["id"] == gateway.id.hex() and summary["batches_verified"] == 5 and not summary["alarms"]
    said = [statement.Statement(data) for (data,) in rig.rows(
        "SELECT bytes FROM statement JOIN leaf USING (leaf) WHERE kind = 4 ORDER BY leaf")]  # fmt: skip
    rotated = [one.facts for one in said if one.kind == statement.ROTATED]
    assert [facts["key"] for facts in rotated] == keys.xy[1:3]
    assert [facts["batch"][1] for facts in rotated] == [1, 3]
    with contextlib.closing(connect(rig.data_dir)) as db:
        assert gateway_keys.gateway_id_of(db, keys.xy[2]) == gateway.id
        assert exchange.enrol(db, keys.xy[2], None) == gateway.id, "provisioned again, it is the same gateway"


def test_an_old_key_signs_nothing_behind_its_last_batch(rig, gateway, keys):
    rig.batches(gateway, keys.batch())
    kinds(rig, gateway, keys.rotate())
    keys.at = 0
    fork = keys.batch()
    assert kinds(rig, gateway, fork) == ["refusedforeign"]
    elsewhere = FakeGateway.seal(gateway, gateway.payload(prev=None), seq=0, epoch=os.urandom(16))
    assert kinds(rig, gateway, elsewhere) == ["refusedforeign"], "no new chain either"
    assert kinds(rig, gateway, gateway.held[1][0]) == ["duplicate"], "what it signed before stays"


def test_what_comes_before_its_rotation_waits(rig, gateway, keys):
    first, last, new = keys.batch(), keys.rotate(), keys.batch()
    assert kinds(rig, gateway, new) == ["refusedforeign"]
    assert kinds(rig, gateway, last, first) == ["new", "late"]
    assert kinds(rig, gateway, new) == ["new"]


def test_a_stolen_current_key_rotates_nothing_in_1000_tries(rig, gateway, keys):
    """It knows the current key and all that is public: the hub's commitment, and every event that was ever sent."""
    chance = random.Random(15)
    thief = ec.derive_private_key(chance.getrandbits(250), ec.SECP256R1())
    thief_xy = public_xy(thief)
    own = cose.thumbprint(thief_xy)
    known = gateway_keys.GatewayKey(gateway.id, gateway.xy, keys.ids[1])
    honest = keys.event()
    took = 0
    for _ in range(1000):
        key = chance.choice([thief_xy, keys.xy[1], gateway.xy, chance.randbytes(64)])
        next_id = chance.choice([own, keys.ids[1], keys.ids[2], chance.randbytes(32)])
        signer = chance.choice([thief, gateway.private])
        digest = rotation.digest(gateway.id, chance.choice([gateway.id, own]), next_id)
        signature = chance.choice([sign(signer, digest), chance.randbytes(64), honest[3]])
        event = [34, key, next_id, signature]
        if event == honest:
            continue
        with contextlib.suppress(IntegrityError):
            rotation.check(event, gateway.id, known.kid, known.next, holds)
            took += 1
    assert took == 0
    event = [34, thief_xy, keys.ids[2], sign(thief, rotation.digest(gateway.id, gateway.id, keys.ids[2]))]
    assert kinds(rig, gateway, keys.batch(events=[event])) == ["new"], "the batch itself is signed as it must be"
    assert "not the one that was committed" in rig.summary(gateway)["alarms"][0]["what"]
    assert len(rig.store.by_topic[gateway.topic].keys) == 1
    assert kinds(rig, gateway, keys.rotate(), keys.batch())[0] == "new", "and the rightful one still can"
    assert len(rig.store.by_topic[gateway.topic].keys) == 2


def test_a_key_is_committed_once(rig, gateway, keys):
    with contextlib.closing(connect(rig.data_dir)) as db:
        exchange.enrol(db, gateway.xy, None, next_id=keys.ids[1])
        with pytest.raises(SettingsError, match="committed before"):
            exchange.enrol(db, gateway.xy, None, next_id=keys.ids[3])
        other = FakeGateway(9)
        exchange.enrol(db, other.xy, "other")
        with pytest.raises(SettingsError, match="in use"):
            exchange.enrol(db, other.xy, None, next_id=gateway.id)


def test_without_a_commitment_nothing_rotates(rig):
    other = FakeGateway(9)
    rig.enrol(other)
    assert kinds(rig, other, Keys(other).rotate()) == ["new"]
    assert "committed" in rig.summary(other)["alarms"][0]["what"]


def test_an_archive_follows_the_keys(rig, gateway, keys, tmp_path):
    """The hub's own archive of a gateway that rotated twice, and of its last days alone."""
    kinds(rig, gateway, keys.batch())
    for _ in range(2):
        kinds(rig, gateway, keys.rotate())
        kinds(rig, gateway, keys.batch())
    signer = Signer(rig.intake.leaves)
    signer.sign(rig.now_unix_ms)
    signer.close()
    for name, more in (("all", []), ("end", ["--zone", "UTC", "--from", "2023-11-14", "--to", "2023-11-16"])):
        out = tmp_path / f"{name}.zip"
        args = argparse.ArgumentParser()
        command.add_parser(args.add_subparsers())
        assert command.run(args.parse_args(["archive", "--data", str(rig.data_dir), "--out", str(out), *more])) == 0
        data = out.read_bytes()
        with Log.open(rig.data_dir) as log:
            trust = [cose.thumbprint(log.key_xy).hex()]
        said = load_audit().Audit(io.BytesIO(data), trust).verdict()
        assert said == independent_archive.verdict(data, trust)
        assert said["gateways"][0]["keys"] == [kid.hex() for kid in keys.ids[:3]]
        assert said["lines"]["authentic"]["state"] == said["lines"]["unaltered"]["state"] == "yes", said["reasons"]

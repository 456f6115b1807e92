"""Bad input at the hub: each kind is refused by its name, counted, kept as evidence, and stops nothing."""

import pytest

from batches import FakeGateway, sign
from host_tools.hub.stores import store as store_module
from parkgate.wire import batch as batch_format
from parkgate.wire import cose


def refused(rig, outcome, reason, gateway=None):
    """The outcome is a refusal of that reason, without receipt; it is counted and its bytes are kept."""
    assert outcome.kind == "refused" and outcome.what.startswith(reason + ":"), outcome
    assert outcome.receipt is None
    counts = rig.summary(gateway)["refused"] if gateway else rig.store.nobody
    assert counts.get(reason, 0) >= 1
    assert rig.rows("SELECT count(*) FROM evidence WHERE reason = ?", reason)[0][0] >= 1
    return True


def and_goes_on(rig, gateway):
    """After whatever came, the next honest batch is taken and answered."""
    data = gateway.batch()
    (outcome,) = rig.batches(gateway, data)
    return outcome.kind == "new" and outcome.receipt is not None


@pytest.mark.parametrize("data", [b"", b"\x00", b"garbage", b"\xd2\x84", b"\xff" * 1000, b"\xd2" + b"\x9f" * 5000])
def test_garbage(rig, gateway, data):
    refused(rig, rig.take((gateway.batch_topic(), data))[0], "malformed", gateway)
    refused(rig, rig.take((gateway.beat_topic(), data[:900]))[0], "malformed", gateway)
    assert and_goes_on(rig, gateway)


@pytest.mark.parametrize("topic", ["", "tele", "tele/x/y/batch", "cmd/x/batch", "tele/x/other", "x" * 60000])
def test_a_topic_that_is_not_ours(rig, gateway, topic):
    refused(rig, rig.take((topic, b"x"))[0], "topic")
    assert and_goes_on(rig, gateway)


def test_an_unknown_gateway(rig, gateway):
    stranger = FakeGateway(2)
    refused(rig, rig.take((stranger.batch_topic(), stranger.batch()))[0], "unknown gateway")
    assert and_goes_on(rig, gateway)


def test_a_revoked_gateway_and_its_return(rig, gateway):
    from host_tools.hub.verbs.enrol import revoke

    assert and_goes_on(rig, gateway)
    db = store_module.connect(rig.data_dir)
    revoke(db, "gateway 0")
    data = gateway.batch()
    refused(rig, rig.batches(gateway, data)[0], "revoked", gateway)
    assert rig.summary(gateway)["batches_verified"] == 1, "what it sent before stays"
    revoke(db, "gateway 0", undo=True)
    db.close()
    assert rig.batches(gateway, data)[0].kind == "new"


def test_an_oversized_message(rig, gateway):
    refused(rig, rig.take((gateway.batch_topic(), bytes(20000)))[0], "oversized", gateway)
    refused(rig, rig.take((gateway.beat_topic(), bytes(2000)))[0], "oversized", gateway)
    (size,) = rig.rows("SELECT length(bytes) FROM evidence WHERE reason = 'oversized' AND size = 20000")[0]
    assert size == store_module.EVIDENCE_BYTES, "evidence is bounded"
    assert and_goes_on(rig, gateway)


def test_a_wrong_signature(rig, gateway):
    sealed = bytearray(gateway.batch())
    sealed[-1] ^= 1
    refused(rig, rig.take((gateway.batch_topic(), bytes(sealed)))[0], "signature", gateway)


def test_a_changed_payload(rig, gateway):
    sealed = gateway.batch()
    at = sealed.index(b"meter 1")
    changed = sealed[:at] + b"meter 2" + sealed[at + 7 :]
    outcome = rig.take((gateway.batch_topic(), changed))[0]
    assert outcome.kind == "refused" and outcome.receipt is None


def test_another_key_in_the_name_of_this_gateway(rig, gateway):
    thief = FakeGateway(3)
    sealed = gateway.seal(gateway.payload(), private=thief.private)
    refused(rig, rig.take((gateway.batch_topic(), sealed))[0], "signature", gateway)
    assert and_goes_on(rig, gateway)


def test_a_high_s_signature_is_not_canonical(rig, gateway):
    sealed = gateway.seal(gateway.payload(), low_s=False)
    outcome = rig.take((gateway.batch_topic(), sealed))[0]
    refused(rig, outcome, "signature", gateway)
    assert "high s" in outcome.what


@pytest.mark.parametrize("r,s", [(0, 1), (1, 0), (2**256 - 1, 1)])
def test_a_signature_out_of_range(rig, gateway, r, s):
    payload = gateway.payload()
    protected = cose.sign1_protected(gateway.id, batch_format.CONTENT_TYPE, gateway.epoch, 0)
    sealed = cose.sign1_join(protected, payload, r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    refused(rig, rig.take((gateway.batch_topic(), sealed))[0], "signature", gateway)


def test_another_gateways_topic(rig, gateway):
    other = FakeGateway(2)
    other.name = "other"
    rig.enrol(gateway, other)
    refused(rig, rig.take((gateway.batch_topic(), other.batch()))[0], "foreign", gateway)
    assert "foreign" not in rig.summary(other)["refused"], "it is charged to the topic, not to the signer"


def test_a_batch_on_the_beat_topic_and_a_beat_on_the_batch_topic(rig, gateway):
    refused(rig, rig.take((gateway.beat_topic(), gateway.batch()))[0], "malformed", gateway)
    refused(rig, rig.take((gateway.batch_topic(), gateway.beat()))[0], "malformed", gateway)


def test_a_seq_beyond_any_real_counter(rig, gateway):
    sealed = gateway.seal(gateway.payload(prev=bytes(32)), seq=2**63)
    refused(rig, rig.take((gateway.batch_topic(), sealed))[0], "malformed", gateway)


def test_a_receipt_sent_back_to_the_hub(rig, gateway):
    (outcome,) = rig.batches(gateway, gateway.batch())
    refused(rig, rig.take((gateway.batch_topic(), outcome.receipt))[0], "malformed", gateway)


def test_evidence_is_bounded_and_counters_are_exact(rig, gateway):
    for n in range(store_module.EVIDENCE_KEPT + 40):
        rig.take((gateway.batch_topic(), b"garbage %d" % n), ("tele/nobody/batch", b"garbage %d" % n))
    assert rig.summary(gateway)["refused"]["malformed"] == store_module.EVIDENCE_KEPT + 40
    assert rig.store.nobody["unknown gateway"] == store_module.EVIDENCE_KEPT + 40
    kept = dict(rig.rows("SELECT reason, count(*) FROM evidence GROUP BY reason"))
    assert kept == {"malformed": store_module.EVIDENCE_KEPT, "unknown gateway": store_module.EVIDENCE_KEPT}
    rig.restart()
    assert rig.summary(gateway)["refused"]["malformed"] == store_module.EVIDENCE_KEPT + 40


def test_the_same_garbage_again_is_kept_once(rig, gateway):
    for _ in range(5):
        rig.take((gateway.batch_topic(), b"garbage"))
    assert rig.rows("SELECT count(*) FROM evidence") == [(1,)]
    assert rig.summary(gateway)["refused"]["malformed"] == 5


def test_a_flood_of_refusals_is_logged_sparsely(rig, gateway, caplog):
    for _ in range(100):
        rig.take((gateway.batch_topic(), b"garbage"))
    lines = [record for record in caplog.records if "refused (malformed)" in record.getMessage()]
    assert len(lines) == 7, "at 1, 2, 4, 8, 16, 32, 64"
    assert "gateway 0" in lines[0].getMessage()


def test_one_bad_message_in_a_group_harms_no_other(rig, gateway):
    first, second = gateway.batch(), gateway.batch()
    outcomes = rig.take(
        (gateway.batch_topic(), first),
        (gateway.batch_topic(), b"garbage"),
        ("nonsense", b""),
        (gateway.batch_topic(), second),
    )
    assert [outcome.kind for outcome in outcomes] == ["new", "refused", "refused", "new"]


def test_a_message_that_breaks_the_hub_itself_is_set_aside(rig, gateway, monkeypatch, caplog):
    first, poison, last = gateway.batch(), gateway.batch(), gateway.batch()
    keep = rig.store.add_events

    def break_on_poison(epoch, seq, events):
        if seq == 1:
            raise RuntimeError("a bug")
        keep(epoch, seq, events)

    monkeypatch.setattr(rig.store, "add_events", break_on_poison)
    outcomes = rig.batches(gateway, first, poison, last)
    assert [outcome.kind for outcome in outcomes] == ["new", "refused", "new"]
    refused(rig, outcomes[1], "internal", gateway)
    assert "a bug" in caplog.text
    monkeypatch.undo()
    assert rig.batches(gateway, poison)[0].kind == "late", "mended, the hub takes it"


def test_sign_makes_both_kinds_of_s():
    gateway = FakeGateway(1)
    assert sign(gateway.private, bytes(32))[32] < 0x80
    assert sign(gateway.private, bytes(32), low_s=False)[32] >= 0x7F

"""Each kind of crooked archive: KINDS maps its name to a function of a seed that gives the file, the ids that the
auditor trusts, and the reason for which it must be refused."""

import functools
import hashlib
import random

import crooked_keys
import crooked_lots
import crooked_places
import crooked_roots
import crooked_stamps
from archives import HubKey, Parts, Plant, digest, rewritten, runs
from batches import FakeGateway, sign
from crooked_log import with_log
from parkgate.wire import cbor, cose

KINDS = {}
BATCH = 65101


@functools.lru_cache(16)
def _plants(seed):
    return Plant(2 * seed + 1, 16), Plant(2 * seed + 2, 16)


def parts_of(seed, **fields):
    return Parts(_plants(seed % 8), HubKey(1 + seed % 5), **fields)


def kind(reason):
    """Register a function (random, parts, the honest archive) that gives a crooked one; reason is what it must get."""

    def register(function):
        def make(seed):
            parts = parts_of(seed)
            made = function(random.Random(seed), parts, parts.write())
            data, trust = made if isinstance(made, tuple) else (made, [parts.key.id.hex()])
            return data, trust, reason

        KINDS[function.__name__] = make
        return function

    return register


def flipped(data, at, bit=0):
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


@kind("not_an_archive")
def cut_off(rng, parts, honest):
    return honest[: rng.randrange(len(honest))]


@kind("statement_malformed")
def statement_of_another_form(rng, parts, honest):
    return rewritten(honest, {"statement.cbor": cbor.encode({"form": "parkgate archive 9"})})


@kind("statement_unsigned")
def statement_without_a_signature(rng, parts, honest):
    return parts.write(key=None)


@kind("statement_signature")
def statement_flipped(rng, parts, honest):
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(honest)) as file:
        statement = file.read("statement.cbor")
    return rewritten(honest, {"statement.cbor": flipped(statement, len(statement) - 1 - rng.randrange(60), 0)})


@kind("statement_signature")
def statement_resigned_by_somebody(rng, parts, honest):
    key = HubKey(99)
    key.xy, key.id = parts.key.xy, parts.key.id
    return parts.write(key)


@kind("no_trusted_id")
def nobody_trusted(rng, parts, honest):
    return honest, []


@kind("foreign_key")
def all_of_another_hub(rng, parts, honest):
    other = Parts([Plant(71), Plant(72)], HubKey(98))
    return other.write(), [parts.key.id.hex()]


@kind("foreign_key")
def a_gateway_s_key_exchanged(rng, parts, honest):
    """Made and signed by somebody with keys of his own, under the name of a gateway that the auditor knows."""
    real, other = _plants(rng.randrange(8))[0], Plant(73)
    other.name = real.name
    forged = Parts([other], HubKey(97))
    return forged.write(), [real.gateway.id.hex()]


@kind("member_missing")
def beats_left_out(rng, parts, honest):
    return rewritten(honest, {parts.name("beats", rng.randrange(2)): None})


@kind("member_missing")
def a_whole_gateway_left_out(rng, parts, honest):
    folder = parts.name("batches", rng.randrange(2)).rsplit("/", 1)[0]
    return rewritten(honest, {name: None for name in parts.members if name.startswith(folder)})


@kind("member_altered")
def verifier_exchanged(rng, parts, honest):
    return rewritten(honest, {"README.txt": b"All is well.\n"})


@kind("member_altered")
def gateways_exchanged(rng, parts, honest):
    """The files of two gateways under each other's name."""
    parts.batches(0)[:], parts.batches(1)[:] = list(parts.batches(1)), list(parts.batches(0))
    return parts.rewrite(honest)


@kind("member_not_listed")
def something_added(rng, parts, honest):
    return rewritten(honest, {f"gateways/{rng.randrange(1000)}.txt": b"more"})


@kind("malformed")
def head_flipped(rng, parts, honest):
    batches = parts.batches(rng.randrange(2))
    at = rng.randrange(len(batches))
    batches[at] = flipped(batches[at], rng.randrange(4), rng.randrange(8))
    return parts.rewrite(honest)


@kind("malformed")
def not_canonical(rng, parts, honest):
    """Signed by the gateway, but said in another way: version 1 in two bytes."""
    plant = _plants(rng.randrange(8))[0]
    parts = Parts([plant], parts.key)
    data = plant.sealed[-1]
    sign1 = cose.Sign1(data, BATCH)
    payload = sign1.payload[:1] + b"\x18\x01" + sign1.payload[2:]
    parts.batches()[-1] = plant.gateway.seal(payload, seq=sign1.seq)
    return parts.write(), [parts.key.id.hex()]


@kind("misplaced")
def a_batch_of_another_gateway(rng, parts, honest):
    parts.batches(0)[rng.randrange(16)] = parts.batches(1)[rng.randrange(16)]
    return parts.rewrite(honest)


@kind("misplaced")
def a_renamed_gateway(rng, parts, honest):
    """The hub itself gives one hall's readings to the other, and signs it."""
    names = [parts.name("batches", place) for place in range(2)]
    parts.members[names[0]], parts.members[names[1]] = parts.members[names[1]], parts.members[names[0]]
    return parts.write()


@kind("signature")
def signature_flipped(rng, parts, honest):
    batches = parts.batches(rng.randrange(2))
    at = rng.randrange(len(batches))
    batches[at] = flipped(batches[at], len(batches[at]) - 1 - rng.randrange(30), 0)
    return parts.rewrite(honest)


@kind("signature")
def a_reading_changed(rng, parts, honest):
    """A bit of the column of energies."""
    batches = parts.batches(rng.randrange(2))
    at = rng.randrange(len(batches))
    sign1 = cose.Sign1(batches[at], BATCH)
    fields = cbor.decode(sign1.payload)
    column = fields[10][0][5][1]
    fields[10][0][5][1] = flipped(column, rng.randrange(1, len(column)), rng.randrange(8))
    batches[at] = cose.sign1_join(sign1.protected, cbor.encode(fields), sign1.signature)
    return parts.rewrite(honest)


@kind("signature")
def resigned_by_a_stranger(rng, parts, honest):
    """A batch with another value, signed by a key that is not the gateway's, the hub in league."""
    place = rng.randrange(2)
    batches = parts.batches(place)
    at = rng.randrange(len(batches))
    sign1 = cose.Sign1(batches[at], BATCH)
    fields = cbor.decode(sign1.payload)
    fields[9] += 1000
    payload = cbor.encode(fields)
    signature = sign(FakeGateway(77).private, cose.sign1_digest(sign1.protected, payload))
    batches[at] = cose.sign1_join(sign1.protected, payload, signature)
    return parts.write()


@kind("signature")
def a_beat_flipped(rng, parts, honest):
    beats = parts.members[parts.name("beats", rng.randrange(2))]
    beats[0] = flipped(beats[0], len(beats[0]) - 1 - rng.randrange(30), 0)
    return parts.write()


@kind("signature")
def s_in_the_upper_half(rng, parts, honest):
    plant = _plants(rng.randrange(8))[0]
    parts = Parts([plant], parts.key)
    sign1 = cose.Sign1(plant.sealed[-1], BATCH)
    parts.batches()[-1] = plant.gateway.seal(sign1.payload, seq=sign1.seq, low_s=False)
    return parts.write(), [parts.key.id.hex()]


@kind("after_revocation")
def signed_after_the_key_was_revoked(rng, parts, honest):
    one = parts.gateways[0]
    when = _plants(0)[0].time_ms - 900_000 * rng.randrange(2, 9)
    parts.gateways[0] = one._replace(history=[*one.history, (when, "revoked", one.name)])
    return parts.write()


@kind("order")
def batches_swapped(rng, parts, honest):
    batches = parts.batches(rng.randrange(2))
    at = rng.randrange(len(batches) - 1)
    batches[at], batches[at + 1] = batches[at + 1], batches[at]
    return parts.rewrite(honest)


@kind("order")
def a_batch_repeated(rng, parts, honest):
    batches = parts.batches(rng.randrange(2))
    at = rng.randrange(len(batches))
    batches.insert(at, batches[at])
    return parts.write()


@kind("order")
def a_beat_repeated(rng, parts, honest):
    beats = parts.members[parts.name("beats", rng.randrange(2))]
    beats.append(beats[0])
    return parts.write()


@kind("order")
def reversed_(rng, parts, honest):
    parts.batches(rng.randrange(2)).reverse()
    return parts.rewrite(honest)


@kind("link")
def a_batch_that_continues_another(rng, parts, honest):
    """The gateway's key signs a batch that does not continue the one before."""
    plant = Plant(81, 8)
    sign1 = cose.Sign1(plant.sealed[-1], BATCH)
    fields = cbor.decode(sign1.payload)
    fields[1] = digest(b"%d" % rng.randrange(10**9))
    plant.sealed[-1] = plant.gateway.seal(cbor.encode(fields), seq=sign1.seq)
    plant.gateway.head = hashlib.sha256(plant.sealed[-1]).digest()
    plant.beats = [plant.gateway.beat(time_ms=plant.time_ms)]
    parts = Parts([plant], parts.key)
    return parts.write(), [parts.key.id.hex()]


@kind("fork")
def a_second_history(rng, parts, honest):
    """A batch of the same place with other content, signed by the same key, beside the first."""
    batches = parts.batches(0)
    batches.insert(9, _other(parts, batches[8]))
    return parts.write()


@kind("fork")
def a_second_history_as_evidence(rng, parts, honest):
    batches = parts.batches(0)
    parts.members[parts.name("forks", 0)] = [_other(parts, batches[rng.randrange(16)])]
    return parts.write()


@kind("fork")
def an_end_exchanged(rng, parts, honest):
    """The last batch is another one than the beat names."""
    batches = parts.batches(0)
    batches[-1] = _other(parts, batches[-1])
    return parts.write()


def _other(parts, data):
    gateway = next(p.gateway for seed in range(8) for p in _plants(seed) if p.gateway.id == parts.gateways[0].id)
    sign1 = cose.Sign1(data, BATCH)
    fields = cbor.decode(sign1.payload)
    fields[8] = bytes([7]) * 16
    return gateway.seal(cbor.encode(fields), seq=sign1.seq)


@kind("counters")
def counters_that_disagree(rng, parts, honest):
    plant = Plant(82, 6)
    plant.gateway.sampled += rng.randrange(1, 1000)
    plant.more()
    plant.beats = [plant.gateway.beat(time_ms=plant.time_ms)]
    parts = Parts([plant], parts.key)
    return parts.write(), [parts.key.id.hex()]


@kind("columns")
def a_column_that_does_not_decode(rng, parts, honest):
    plant = Plant(83, 6)
    payload = cbor.decode(plant.gateway.payload(rows=2))
    payload[10][0][5][0] = b"\x09" + bytes([rng.randrange(256)])
    plant.sealed.append(plant.gateway.seal(cbor.encode(payload)))
    plant.gateway.seq += 1
    plant.gateway.head = hashlib.sha256(plant.sealed[-1]).digest()
    plant.beats = [plant.gateway.beat(time_ms=plant.time_ms)]
    parts = Parts([plant], parts.key)
    return parts.write(), [parts.key.id.hex()]


@kind("too_many_faults")
def nothing_but_faults(rng, parts, honest):
    parts.batches(0)[:] = [parts.batches(1)[0]] * 150
    return parts.write()


@kind("batch_missing")
def a_batch_left_out(rng, parts, honest):
    del parts.batches(rng.randrange(2))[rng.randrange(1, 15)]
    return parts.rewrite(honest)


@kind("batch_missing")
def the_tail_cut(rng, parts, honest):
    del parts.batches(rng.randrange(2))[-rng.randrange(1, 15) :]
    return parts.rewrite(honest)


@kind("batch_missing")
def the_beginning_cut(rng, parts, honest):
    del parts.batches(rng.randrange(2))[: rng.randrange(1, 15)]
    return parts.rewrite(honest)


def _told_anew(parts):
    """The hub in league: its statement says what is there."""
    for place, one in enumerate(parts.gateways):
        chain = one.chains[0]._replace(runs=runs(parts.batches(place)))
        parts.gateways[place] = one._replace(chains=[chain])
    return parts.write()


@kind("set_aside")
def a_batch_set_aside(rng, parts, honest):
    at = rng.randrange(1, 15)
    del parts.batches(0)[at]
    one = parts.gateways[0]
    parts.gateways[0] = one._replace(chains=[one.chains[0]._replace(runs=runs(parts.batches(0)), set_aside=[at])])
    return parts.write()


@kind("hole")
def a_batch_left_out_by_the_hub(rng, parts, honest):
    del parts.batches(rng.randrange(2))[rng.randrange(1, 15)]
    return _told_anew(parts)


@kind("start_unproven")
def the_beginning_cut_by_the_hub(rng, parts, honest):
    del parts.batches(0)[: rng.randrange(1, 15)]
    return _told_anew(parts)


@kind("tail_missing")
def the_tail_cut_by_the_hub(rng, parts, honest):
    del parts.batches(rng.randrange(2))[-rng.randrange(1, 15) :]
    return _told_anew(parts)


@kind("tail_unproven")
def the_tail_and_its_beat_cut_by_the_hub(rng, parts, honest):
    del parts.batches(0)[-rng.randrange(1, 15) :]
    parts.members[parts.name("beats", 0)] = []
    return _told_anew(parts)


@kind("tail_missing")
def a_chain_left_out_by_the_hub(rng, parts, honest):
    """Only the beat of another chain of the gateway is there."""
    gateway = _plants(0)[0].gateway
    other = FakeGateway(1, epoch=bytes([rng.randrange(256)]) * 16)
    other.batch(rows=1)
    assert other.id == gateway.id
    parts = Parts(_plants(0), parts.key)
    parts.members[parts.name("beats", 0)].append(other.beat())
    return parts.write(), [parts.key.id.hex()]


@kind("gateway_absent")
def a_gateway_left_out_by_the_hub(rng, parts, honest):
    plants = _plants(rng.randrange(8))
    made = Parts(plants[:1], parts.key)
    return made.write(), [parts.key.id.hex(), *(plant.gateway.id.hex() for plant in plants)]


# The log.


@kind("log_malformed")
def entries_cut(rng, parts, honest):
    data, trust = with_log(rng, parts)
    return rewritten(data, {"log/checkpoint.cose": b"\xd2"}), trust


@kind("log_signature")
def a_checkpoint_of_somebody(rng, parts, honest):
    return with_log(rng, parts, signature=bytes(31) + b"\1" + bytes(31) + b"\1")


@kind("log_root")
def a_root_that_is_not_theirs(rng, parts, honest):
    return with_log(rng, parts, root=digest(b"%d" % rng.randrange(10**9)))


@kind("not_in_log")
def a_batch_that_the_log_lacks(rng, parts, honest):
    return with_log(rng, parts, change=lambda log: log.entries.__setitem__(rng.randrange(5, 11), bytes(32)))


@kind("claim_differs")
def a_gateway_saw_another_log(rng, parts, honest):
    return with_log(rng, parts, claimed=digest(b"%d" % rng.randrange(10**9)))


@kind("no_witness")
def nobody_confirmed_it(rng, parts, honest):
    return with_log(rng, parts, claim=False)


@kind("not_in_log")
def a_statement_that_the_log_lacks(rng, parts, honest):
    return with_log(rng, parts, change=lambda log: log.entries.__setitem__(-3, bytes(32)))


@kind("not_in_log")
def a_statement_of_another_place(rng, parts, honest):
    def change(log):
        log.say("hub stopped", {}, index=len(log.entries) + rng.choice((-1, 1, 1 << 40)))

    return with_log(rng, parts, change=change)


@kind("hub_statement_malformed")
def a_statement_of_another_form(rng, parts, honest):
    payloads = (
        [2, "hub stopped", 1, None, {}], [1, "", 1, None, {}], [1, "x" * 65, 1, None, {}], [1, "x", -1, None, {}],
        [1, "x", 1, b"ana", {}], [1, "x", 1, None, []], [1, "x", 1, None, {1: 2}], [1, "x", 1, None],
        [True, "x", 1, None, {}],
    )  # fmt: skip
    payload = cbor.encode(payloads[rng.randrange(len(payloads))])
    return with_log(rng, parts, change=lambda log: log.say("", {}, payload=payload))


@kind("hub_statement_malformed")
def a_statement_repeated(rng, parts, honest):
    return with_log(rng, parts, change=lambda log: log.statements.append(log.statements[0]))


@kind("hub_statement_signature")
def a_statement_flipped(rng, parts, honest):
    def change(log):
        at = rng.randrange(len(log.statements))
        log.statements[at] = flipped(log.statements[at], len(log.statements[at]) - 1 - rng.randrange(30))

    return with_log(rng, parts, change=change)


@kind("hub_statement_signature")
def a_statement_of_somebody(rng, parts, honest):
    return with_log(rng, parts, change=lambda log: log.say("hub stopped", {}, key=HubKey(96)))


crooked_keys.register(kind)
crooked_lots.register(kind)
crooked_places.register(kind)
crooked_roots.register(kind)
crooked_stamps.register(kind)

"""The envelope of a batch: COSE_Sign1 in the one form of SPEC 3.2 and 3.3. All are signed over what they say."""

from .forms import BEAT_TYPE, EPOCH, GATEWAY, POSITION, batch, dumps, fields, protected, sign1, to_be_signed
from .registry import vector

PAYLOAD = dumps(fields())


@vector("batch", "cose", "3.2", "no tag")
def untagged():
    return sign1(PAYLOAD, tag=None)


@vector("batch", "cose", "3.2", "the tag of COSE_Mac0")
def tag_of_mac0():
    return sign1(PAYLOAD, tag=17)


@vector("batch", "cose", "3.2", "the tag in two bytes")
def tag_not_minimal():
    return b"\xd8\x12" + batch()[1:]


@vector("batch", "cose", "3.2", "an array of five")
def array_of_five():
    header = protected()
    signature = GATEWAY.sign(to_be_signed(header, PAYLOAD))
    return sign1(PAYLOAD, array=[header, {}, PAYLOAD, signature, b""])


@vector("batch", "cose", "3.2", "the algorithm in the unprotected header instead of the protected one")
def alg_unprotected():
    return sign1(PAYLOAD, alg=None, unprotected={1: -7})


@vector("batch", "cose", "3.2", "the algorithm in the unprotected header as well")
def alg_in_both():
    return sign1(PAYLOAD, unprotected={1: -7})


@vector("batch", "cose", "3.2", "a kid in the unprotected header")
def kid_unprotected():
    return sign1(PAYLOAD, unprotected={4: GATEWAY.id})


@vector("batch", "cose", "3.2", "the payload detached")
def payload_detached():
    header = protected()
    return sign1(PAYLOAD, array=[header, {}, None, GATEWAY.sign(to_be_signed(header, PAYLOAD))])


@vector("batch", "cose", "3.2", "the payload as an array, not wrapped in a byte string")
def payload_not_wrapped():
    header = protected()
    return sign1(PAYLOAD, array=[header, {}, fields(), GATEWAY.sign(to_be_signed(header, PAYLOAD))])


@vector("batch", "cose", "3.2", "a byte behind the message")
def byte_behind():
    return batch() + b"\x00"


@vector("batch", "cose", "3.2", "the message cut off in its signature")
def cut_off():
    return batch()[:-1]


@vector("batch", "cose", "3.2", "the length of the payload in five bytes where two will do")
def payload_length_not_minimal():
    whole = batch()
    head = b"\xa0\x58" + bytes([len(PAYLOAD)])
    return whole.replace(head, b"\xa0\x5a" + len(PAYLOAD).to_bytes(4, "big"), 1)


@vector("batch", "cose", "3.2", "a signature in DER")
def signature_in_der():
    return sign1(PAYLOAD, signature=bytes.fromhex("3045022100") + GATEWAY.sign(b"")[:32] + b"\x02\x20" + bytes(32))


@vector("batch", "cose", "3.2", "a signature of 65 bytes")
def signature_of_65_bytes():
    return sign1(PAYLOAD, signature=GATEWAY.sign(to_be_signed(protected(), PAYLOAD)) + b"\x00")


@vector("batch", "cose", "3.3", "the algorithm is ES384")
def alg_es384():
    return sign1(PAYLOAD, alg=-35)


@vector("batch", "cose", "3.3", "the algorithm in words")
def alg_in_words():
    return sign1(PAYLOAD, alg="ES256")


@vector("batch", "cose", "3.3", "no kid")
def no_kid():
    return sign1(PAYLOAD, kid=None)


@vector("batch", "cose", "3.3", "a kid of 16 bytes")
def kid_of_16_bytes():
    return sign1(PAYLOAD, kid=GATEWAY.id[:16])


@vector("batch", "cose", "3.3", "the content type of a beat")
def type_of_a_beat():
    return sign1(PAYLOAD, type=BEAT_TYPE)


@vector("batch", "cose", "3.3", "the content type in words")
def type_in_words():
    return sign1(PAYLOAD, type="application/vnd.parkgate.batch")


@vector("batch", "cose", "3.3", "no position")
def no_position():
    return sign1(PAYLOAD, position=None)


@vector("batch", "cose", "3.3", "an epoch of 15 bytes")
def epoch_of_15_bytes():
    return sign1(PAYLOAD, position=[EPOCH[:15], 1])


@vector("batch", "cose", "3.3", "a seq below zero")
def seq_below_zero():
    return sign1(PAYLOAD, position=[EPOCH, -1])


@vector("batch", "cose", "3.3", "seq 2^62")
def seq_too_large():
    return sign1(PAYLOAD, position=[EPOCH, 2**62])


@vector("batch", "cose", "3.3", "seq true")
def seq_true():
    return sign1(PAYLOAD, position=[EPOCH, True])


@vector("batch", "cose", "3.3", "seq 1 in two bytes")
def seq_not_minimal():
    return sign1(PAYLOAD, protected()[:-1] + b"\x18\x01")


@vector("batch", "cose", "3.3", "a parameter more in the protected header")
def parameter_more():
    return sign1(PAYLOAD, dumps({1: -7, 3: 65101, 4: GATEWAY.id, 5: b"iv", POSITION: [EPOCH, 1]}))


@vector("batch", "cose", "3.3", "a critical parameter that nobody knows")
def critical_parameter():
    return sign1(PAYLOAD, dumps({1: -7, 2: [-70000], 3: 65101, 4: GATEWAY.id, -70000: 0, POSITION: [EPOCH, 1]}))


@vector("batch", "cose", "3.3", "parameters not in the order of their bytes")
def parameters_not_in_order():
    return sign1(PAYLOAD, b"\xa4" + protected()[3:7] + b"\x01\x26" + protected()[7:])


@vector("batch", "cose", "3.3", "one parameter twice")
def parameter_twice():
    return sign1(PAYLOAD, b"\xa5\x01\x26" + protected()[1:])


@vector("batch", "cose", "3.3", "an empty protected header")
def empty_header():
    return sign1(PAYLOAD, b"")


@vector("batch", "cose", "3.3", "a byte behind the protected header's map")
def byte_behind_header():
    return sign1(PAYLOAD, protected() + b"\x00")

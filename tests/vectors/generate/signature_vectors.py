"""Signatures: well-formed batches that were not signed as they must be (SPEC 3.4)."""

from .forms import GATEWAY, ORDER, OTHER, batch, dumps, fields, protected, sign1, to_be_signed
from .registry import vector

PAYLOAD = dumps(fields())
R, S = (GATEWAY.sign(to_be_signed(protected(), PAYLOAD))[at : at + 32] for at in (0, 32))


def number(n: int) -> bytes:
    return n.to_bytes(32, "big")


@vector("batch", "signature", "3.4", "one bit of the signature is wrong")
def bit_wrong():
    whole = bytearray(batch())
    whole[-40] ^= 1
    return bytes(whole)


@vector("batch", "signature", "3.4", "the high s: it holds, and is refused as a second form of the same signature")
def high_s():
    return sign1(PAYLOAD, signature=GATEWAY.sign(to_be_signed(protected(), PAYLOAD), low_s=False))


@vector("batch", "signature", "3.4", "r is 0")
def r_zero():
    return sign1(PAYLOAD, signature=number(0) + S)


@vector("batch", "signature", "3.4", "s is 0")
def s_zero():
    return sign1(PAYLOAD, signature=R + number(0))


@vector("batch", "signature", "3.4", "r and s are 0")
def both_zero():
    return sign1(PAYLOAD, signature=bytes(64))


@vector("batch", "signature", "3.4", "r is the order of the curve")
def r_is_the_order():
    return sign1(PAYLOAD, signature=number(ORDER) + S)


@vector("batch", "signature", "3.4", "s is the order of the curve")
def s_is_the_order():
    return sign1(PAYLOAD, signature=R + number(ORDER))


@vector("batch", "signature", "3.4", "r and s exchanged")
def exchanged():
    return sign1(PAYLOAD, signature=S + R)


@vector("batch", "signature", "3.4", "signed by another gateway under this gateway's kid")
def of_another_key():
    return sign1(PAYLOAD, key=OTHER)


@vector("batch", "foreign", "5.6", "the kid of another key: this signature is of the key that was asked for")
def kid_of_another_key():
    return sign1(PAYLOAD, kid=OTHER.id)


@vector("batch", "signature", "3.4", "signed in the context of a counter-signature")
def other_context():
    return sign1(PAYLOAD, signature=GATEWAY.sign(to_be_signed(protected(), PAYLOAD, "CounterSignature")))


@vector("batch", "signature", "3.4", "signed over the payload alone")
def over_the_payload_alone():
    return sign1(PAYLOAD, signature=GATEWAY.sign(PAYLOAD))


@vector("batch", "signature", "3.4", "signed with external data")
def with_external_data():
    message = dumps(["Signature1", protected(), b"external", PAYLOAD])
    return sign1(PAYLOAD, signature=GATEWAY.sign(message))


@vector("batch", "signature", "3.4", "the payload changed after it was signed")
def payload_changed():
    return sign1(dumps(fields(sampled=15)), signature=R + S)


@vector("batch", "signature", "3.4", "the seq changed after it was signed")
def seq_changed():
    return sign1(PAYLOAD, protected(position=[GATEWAY.id[:16], 2]), signature=R + S)

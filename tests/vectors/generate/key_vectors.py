"""Public keys: COSE_Key in the one form of SPEC 3.1, and its thumbprint, the gateway id."""

from .forms import GATEWAY, dumps
from .registry import GOOD, vector

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
X, Y = GATEWAY.xy[:32], GATEWAY.xy[32:]


@vector("key", GOOD, "3.1", "a key and its thumbprint")
def thumbprint():
    return GATEWAY.cose_key, {"xy": GATEWAY.xy, "thumbprint": GATEWAY.id}


@vector("key", GOOD, "3.1", "the example of RFC 9679 section 6 and its thumbprint there")
def thumbprint_of_rfc_9679():
    x = bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d")
    y = bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c")
    thumbprint = bytes.fromhex("496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec")
    return dumps({1: 2, -1: 1, -2: x, -3: y}), {"xy": x + y, "thumbprint": thumbprint}


@vector("key", "key", "3.1", "the curve is P-384")
def other_curve():
    return dumps({1: 2, -1: 2, -2: X, -3: Y})


@vector("key", "key", "3.1", "the key type is OKP")
def other_type():
    return dumps({1: 1, -1: 1, -2: X, -3: Y})


@vector("key", "key", "3.1", "y only as its sign")
def compressed():
    return dumps({1: 2, -1: 1, -2: X, -3: bool(Y[31] & 1)})


@vector("key", "key", "3.1", "the private part beside the public one")
def private_part():
    return dumps({1: 2, -1: 1, -2: X, -3: Y, -4: GATEWAY.d})


@vector("key", "key", "3.1", "a kid of its own choice")
def own_kid():
    return dumps({1: 2, 2: b"gateway", -1: 1, -2: X, -3: Y})


@vector("key", "key", "3.1", "x has 31 bytes")
def x_of_31_bytes():
    return dumps({1: 2, -1: 1, -2: X[1:], -3: Y})


@vector("key", "key", "3.1", "members not in the order of their bytes")
def members_not_in_order():
    return b"\xa4\x20\x01" + b"\x01\x02" + GATEWAY.cose_key[5:]


@vector("key", "key", "3.1", "a point that is not on the curve")
def not_on_the_curve():
    return dumps({1: 2, -1: 1, -2: X, -3: Y[:31] + bytes([Y[31] ^ 1])})


@vector("key", "key", "3.1", "x + p instead of x: the same point, not in its one form")
def x_not_below_p():
    # A small x with a point on the curve, so that x + p still has 256 bits.
    x = next(x for x in range(5, 100) if _root(x) is not None)
    return dumps({1: 2, -1: 1, -2: (x + P).to_bytes(32, "big"), -3: _root(x).to_bytes(32, "big")})


@vector("key", "key", "3.1", "the point at infinity written as zeros")
def infinity():
    return dumps({1: 2, -1: 1, -2: bytes(32), -3: bytes(32)})


def _root(x: int):
    """A y of P-256 for this x, None when there is none."""
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    square = (x**3 - 3 * x + b) % P
    y = pow(square, (P + 1) // 4, P)
    return y if y * y % P == square else None

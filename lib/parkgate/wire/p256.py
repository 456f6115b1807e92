"""ECDSA and ECDH on P-256 (secp256r1) with SHA-256 digests, in plain integers, quick enough for a
microcontroller.

Forms. A private key is 32 bytes big-endian, 1..n-1. A public key is 64 bytes, x || y. A signature is 64
bytes, r || s, as in COSE ES256 (RFC 9053), always with the lower of the two possible s. A digest is the 32
bytes of a SHA-256.

Steps. A signature takes about a tenth of a second on an RP2040, so everything long is a generator, `*_steps`:
it yields None between steps of a few milliseconds, and its return value is the result. `yield from` hands
that on; `steps.finish` drives a generator to its end at once. The step sizes are counted by a test, at 190
microseconds a modular multiplication and 56 a plain one.

Signing. The nonce k comes from the key and the digest by RFC 6979's HMAC-DRBG. Given `extra` entropy it is
mixed in as the RFC's additional data (k' of its variants): the nonce is then fresh for equal digests and its
security rests on the key or the entropy, whichever is good. Then r = x(kG) mod n, s = (z + rd) / k mod n
(FIPS 186-5, SEC 1 4.1.3).

kG by a fixed-pattern signed-odd comb. As n is odd, one of k and k - n is odd: call it K. Every odd |K| <
2^256 is a sum of 256 digits +1 or -1 times 2^i (bit i of (K + 2^256 - 1) / 2 says which), so no digit is ever
zero. Of these digits, 8 that stand 8 apart are one column; the table holds the point of each column for one
sign of its highest digit, the other sign is the negative point. With 4 tables, 64 digits apart, K is 32
additions and 7 doublings whatever its value. The table (p256_table.py, 32,768 bytes) is constant data that a
frozen module leaves in flash; only the two coordinates in use are copied.

Formulas, by their names in the Explicit-Formulas Database (short Weierstrass, XYZZ coordinates: x = X / ZZ,
y = Y / ZZZ, ZZ^3 = ZZZ^2): dbl-2008-s-1 with a = -3 factored, 3(X - ZZ)(X + ZZ); madd-2008-s; add-2008-s.
The first addition, of two affine points, is mmadd-2008-s with the blinding factor worked into it (each of X,
Y, ZZ, ZZZ comes out multiplied by its power of the factor); the last one leaves out Y and ZZZ, of which r has
no use. Sums of products are reduced once. Inverses are by the extended Euclidean algorithm, in portions of 64
divisions: `pow` with exponent p - 2 takes seven times as long, and MicroPython's `pow(a, -1, m)` gives 0
without an error. One signature is 374 multiplications, 332 reductions and 2 inversions (each begins with one
more reduction).

Blinding. All randomness is hashed from the DRBG's state after k and from `blind`, which changes the
intermediate values and never the signature (the state depends on the key, the digest and `extra`). (1)
Projective: the sum starts with a random factor of 255 bits, so no intermediate coordinate is predictable, and
the inverse of ZZ, whose time varies, works on a random number. (2) The scalar's sign: kG and (n - k)G have
the same x, a random bit chooses, and with it every digit and every sign of the comb. (3) Order: the four
additions of each column position come in one of 24 orders. (4) Multiplicative, in the scalar field: with a
random b of 255 bits, s = (bz + (bd)r) / (bk): neither does the known r ever meet the bare d, nor the
inversion the bare k. ECDH blinds the peer's point projectively and uses signed-odd digits of 4 bits in the
same way.

What still leaks. MicroPython's integers are not constant time: the length of a product's or remainder's top
digits, and thus the time of one operation, depends on (blinded) values. A table line's address depends on
secret digits and reaches the flash cache. Memory holds d, k and their traces until the collector reuses it;
nothing can be wiped. Power and electromagnetic traces of a few signatures may well show which table lines
were loaded: blinding makes averaging over many signatures useless, not a template attack on one. A fault
injected while signing is not detected (hedging takes the sting out of repeating it). And who can read the
flash of an RP2040 or of an ESP32 without flash encryption has the key. Timing from a distance finds little:
the pattern of operations is fixed, and the inversions, the only part whose length varies, work on blinded
numbers.

A secure element (ATECC608) keeps d in a chip that never gives it away, draws its own nonces, signs behind
hardware countermeasures, and can count or forbid uses. Its class takes the place of SoftwareSigner; nothing
else changes.
"""

from hashlib import sha256

from parkgate.errors import FormatError

from .mac import hmac_sha256
from .steps import finish

# SEC 2 (version 2) 2.4.2: the field, the order of the generator, b of y^2 = x^3 - 3x + b.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
GX = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
GY = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5

ENTROPY_BYTES_MIN = 40  # FIPS 186-5 A.2.1: 64 bits more than the order, so that the remainder's bias vanishes

_HALF_N = N >> 1
_ALL_DIGITS = 2**256 - 1
_INFINITY = (1, 1, 0, 0)
_DIVISIONS_A_STEP = 64
_TRANSPOSE = (  # (shift, mask) of the three stages, for four squares at once
    (7, 0x00AA00AA00AA00AA * (1 + 2**64 + 2**128 + 2**192)),
    (14, 0x0000CCCC0000CCCC * (1 + 2**64 + 2**128 + 2**192)),
    (28, 0x00000000F0F0F0F0 * (1 + 2**64 + 2**128 + 2**192)),
)
_PLAIN_ORDER = b"\x00\x01\x02\x03" * 8
_ORDERS = (  # the 24 orders of four tables
    b"\x00\x01\x02\x03\x00\x01\x03\x02\x00\x02\x01\x03\x00\x02\x03\x01\x00\x03\x01\x02\x00\x03\x02\x01"
    b"\x01\x00\x02\x03\x01\x00\x03\x02\x01\x02\x00\x03\x01\x02\x03\x00\x01\x03\x00\x02\x01\x03\x02\x00"
    b"\x02\x00\x01\x03\x02\x00\x03\x01\x02\x01\x00\x03\x02\x01\x03\x00\x02\x03\x00\x01\x02\x03\x01\x00"
    b"\x03\x00\x01\x02\x03\x00\x02\x01\x03\x01\x00\x02\x03\x01\x02\x00\x03\x02\x00\x01\x03\x02\x01\x00"
)


_tables = None  # of the module p256_table, once it is needed
_read_point = None


def use_table(read_point):
    """Take the comb's points from elsewhere than the module p256_table, whose 33 kB fill the heap unless frozen.

    `read_point(table, offset)` gives the 64 bytes at `offset` (0..8128) of table 0..3: mapped flash, or a file.
    """
    global _read_point
    _read_point = read_point


def _load_tables():
    global _tables
    from .p256_table import TABLES

    _tables = TABLES
    return TABLES


# Keys


def key_from_entropy(entropy: bytes) -> bytes:
    """A private key (32 bytes) from at least 40 bytes of full entropy, FIPS 186-5 A.2.1 (extra random bits).

    Raises FormatError if `entropy` is shorter. Where the source may be weak, condition it first
    (hkdf_sha256).
    """
    if len(entropy) < ENTROPY_BYTES_MIN:
        raise FormatError("a P-256 key needs %d bytes of entropy, not %d" % (ENTROPY_BYTES_MIN, len(entropy)))
    return (int.from_bytes(entropy, "big") % (N - 1) + 1).to_bytes(32, "big")


def on_curve(xy64: bytes) -> bool:
    """True if the 64 bytes x || y are a point of P-256: both below p and on the curve (SEC 1 3.2.2.1)."""
    if len(xy64) != 64:
        return False
    x = int.from_bytes(xy64[:32], "big")
    y = int.from_bytes(xy64[32:], "big")
    return x < P and y < P and (y * y - ((x * x - 3) % P) * x - B) % P == 0


def public_key_steps(d32: bytes, blind: bytes = b""):
    """Generator; returns the 64 bytes x || y of d * G. Raises FormatError if `d32` is no private key."""
    secret = _secret(d32)
    yield
    factor = _odd_number(hmac_sha256(d32, b"public key", blind))
    point = yield from _generator_multiple_steps(secret, factor)
    x, _, zz, zzz = point
    inverse = yield from _inverse_steps(zz * zzz, P)
    x = x * (inverse * zzz % P) % P
    y = point[1] * (inverse * zz % P) % P
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


def public_key(d32: bytes, blind: bytes = b"") -> bytes:
    """public_key_steps() driven to its end."""
    return finish(public_key_steps(d32, blind))


# ECDSA


def sign_steps(d32: bytes, digest32: bytes, extra: bytes = b"", blind: bytes = b""):
    """Generator; returns the 64 bytes r || s (low s) of the signature over a SHA-256 digest with private key
    `d32`.

    With empty `extra` the signature is RFC 6979's. `extra` (fresh entropy, any length) hedges the nonce as
    well as the blinding; `blind` changes the blinding only. Raises FormatError if `d32` is no private key or
    the digest not 32 bytes.
    """
    secret = _secret(d32)
    if len(digest32) != 32:
        raise FormatError("a SHA-256 digest has 32 bytes, not %d" % len(digest32))
    z = int.from_bytes(digest32, "big")
    if z >= N:
        z -= N
    seed = bytes(d32) + z.to_bytes(32, "big") + bytes(extra)
    value = b"\x01" * 32  # K and V of RFC 6979's generator are `key` and `value`
    key = hmac_sha256(bytes(32), value, b"\x00", seed)
    value = hmac_sha256(key, value)
    key = hmac_sha256(key, value, b"\x01", seed)
    value = hmac_sha256(key, value)
    yield
    while True:
        value = hmac_sha256(key, value)
        k = int.from_bytes(value, "big")
        if 1 <= k < N:
            masks = hmac_sha256(key, value, b"blinding", blind)
            signature = yield from _sign_with_steps(secret, z, k, masks)
            if signature:
                return signature
        key = hmac_sha256(key, value, b"\x00")
        value = hmac_sha256(key, value)


def sign(d32: bytes, digest32: bytes, extra: bytes = b"", blind: bytes = b"") -> bytes:
    """sign_steps() driven to its end."""
    return finish(sign_steps(d32, digest32, extra, blind))


def verify_steps(xy64: bytes, digest32: bytes, rs64: bytes, low_s: bool = True):
    """Generator; returns True if `rs64` is a signature over `digest32` by the owner of public key `xy64`.

    Strict: every wrong length, r or s outside 1..n-1, a key off the curve, and (unless `low_s` is false) the
    higher of the two possible s give False. All inputs are public: the time may depend on them.
    """
    if len(rs64) != 64 or len(digest32) != 32 or not on_curve(xy64):
        return False
    r = int.from_bytes(rs64[:32], "big")
    s = int.from_bytes(rs64[32:], "big")
    if not 1 <= r < N or not 1 <= s <= (_HALF_N if low_s else N - 1):
        return False
    yield
    inverse = yield from _inverse_steps(s, N)
    mine = yield from _generator_multiple_steps(int.from_bytes(digest32, "big") * inverse % N, 1)
    point = (int.from_bytes(xy64[:32], "big"), int.from_bytes(xy64[32:], "big"), 1, 1)
    theirs = yield from _multiple_steps(r * inverse % N, point)
    x, _, zz, _ = _add(mine, theirs)
    # x / zz = r (mod n) without another inversion: the field element is r, or r + n where that is below p.
    return zz != 0 and ((r * zz - x) % P == 0 or (r + N < P and ((r + N) * zz - x) % P == 0))


def verify(xy64: bytes, digest32: bytes, rs64: bytes, low_s: bool = True) -> bool:
    """verify_steps() driven to its end."""
    return finish(verify_steps(xy64, digest32, rs64, low_s))


# ECDH


def ecdh_steps(d32: bytes, xy64: bytes, blind: bytes = b""):
    """Generator; returns the shared secret, the 32-byte x of d * (the peer's public key), SEC 1 3.3.1.

    It is not uniform: derive keys from it (hkdf_sha256). `blind` adds entropy to the projective blinding and
    does not change the result. Raises FormatError if `d32` is no private key or `xy64` no point of the curve.
    """
    secret = _secret(d32)
    if not on_curve(xy64):
        raise FormatError("the peer's public key is not a point of P-256")
    yield
    factor = _odd_number(hmac_sha256(d32, b"ecdh", xy64, blind))
    square = factor * factor % P
    cube = factor * square % P
    x = int.from_bytes(xy64[:32], "big") * square % P
    y = int.from_bytes(xy64[32:], "big") * cube % P
    point = yield from _multiple_steps(secret, (x, y, square, cube))
    inverse = yield from _inverse_steps(point[2], P)
    return (point[0] * inverse % P).to_bytes(32, "big")


def ecdh(d32: bytes, xy64: bytes, blind: bytes = b"") -> bytes:
    """ecdh_steps() driven to its end."""
    return finish(ecdh_steps(d32, xy64, blind))


class SoftwareSigner:
    """The gateway's identity with its private key in memory. A secure element's class has these same members.

    `entropy(count)` gives `count` fresh random bytes (os.urandom on a board); without it signatures are
    deterministic. Making one takes as long as a signature. Raises FormatError if `d32` is no private key.
    """

    def __init__(self, d32: bytes, entropy=None):
        self._d32 = bytes(d32)
        self._entropy = entropy
        self.public_key = public_key(d32, self._fresh())

    def sign_steps(self, digest32: bytes):
        """Generator; returns the 64 bytes r || s over a SHA-256 digest."""
        return sign_steps(self._d32, digest32, self._fresh())

    def ecdh_steps(self, xy64: bytes):
        """Generator; returns the 32-byte ECDH secret with the peer's public key."""
        return ecdh_steps(self._d32, xy64, self._fresh())

    def _fresh(self):
        return self._entropy(32) if self._entropy else b""


# Scalars


def _secret(d32):
    secret = int.from_bytes(d32, "big")
    if len(d32) != 32 or not 1 <= secret < N:
        raise FormatError("a P-256 private key is 32 bytes from 1 to n - 1")
    return secret


def _odd_number(digest):
    """A 255-bit odd number: below p and n and never zero, so it can be inverted in both fields."""
    return int.from_bytes(digest, "big") >> 1 | 1


def _signed_odd_bits(k):
    """256 bits, of which bit i says whether digit i of the odd one of k and k - n is +1 or -1."""
    return (k if k & 1 else k - N) + _ALL_DIGITS >> 1


def _sign_with_steps(secret, z, k, masks):
    """Generator; returns the signature with nonce `k`, or None if this nonce cannot be used."""
    factor = _odd_number(sha256(masks + b"factor").digest())
    b = _odd_number(sha256(masks + b"scalar").digest())
    choices = sha256(masks + b"order").digest()
    order = b"".join([_ORDERS[c % 24 * 4 : c % 24 * 4 + 4] for c in choices[:8]])
    blinded_k = k * b
    k = (k, N - k)[choices[8] & 1]
    yield
    x1, y1, zz, zzz, x2, y2 = yield from _comb_steps(k, factor, order)
    # The last addition, without its Y and ZZZ.
    h = (x2 * zz - x1) % P
    r = (y2 * zzz - y1) % P
    hh = h * h % P
    x1 = (r * r - hh * (h + 2 * x1)) % P
    inverse = yield from _inverse_steps(zz * hh, P)
    r = x1 * inverse % P
    if r >= N:
        r -= N
    inverse = yield from _inverse_steps(blinded_k, N)
    s = (b * secret % N * r + b * z) % N * inverse % N
    # r = 0 or s = 0 (a chance of 2^-256 each) asks for the next nonce; so does a last addition of equal
    # points, no likelier, which shows as h = 0, inverse = 0 and so r = 0.
    if r == 0 or s == 0:
        return None
    if s > _HALF_N:
        s = N - s
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _inverse_steps(a, m):
    """Generator; returns 1 / a mod m (m prime) by the extended Euclidean algorithm, 0 if a is 0 mod m.

    Its time depends on `a`: give it blinded or public numbers only.
    """
    # Throughout: one = u * a and other = -v * a (mod m). No number is ever negative, which is slow on
    # MicroPython.
    one, other = a % m, m
    u, v = 1, 0
    if one == 0:
        return 0
    while True:
        for _ in range(_DIVISIONS_A_STEP // 2):
            if one == 1:
                return u
            quotient, other = divmod(other, one)
            v += quotient * u
            if other == 1:
                return m - v
            quotient, one = divmod(one, other)
            u += quotient * v
        yield


# Points. Tuples (X, Y, ZZ, ZZZ); infinity has ZZ = 0.


def _double(point):
    """2 * point: dbl-2008-s-1 for a = -3; 9 multiplications, 8 reductions."""
    x, y, zz, zzz = point
    u = 2 * y
    v = u * u % P
    w = u * v % P
    s = x * v % P
    m = 3 * (x - zz) * (x + zz) % P
    x = (m * m - 2 * s) % P
    return x, (m * (s - x) - w * y) % P, v * zz % P, w * zzz % P


def _add(one, other):
    """one + other, right for all points: add-2008-s; 14 multiplications, 12 reductions."""
    x1, y1, zz1, zzz1 = one
    x2, y2, zz2, zzz2 = other
    if not zz1:
        return other
    if not zz2:
        return one
    u = x1 * zz2 % P
    s = y1 * zzz2 % P
    h = (x2 * zz1 - u) % P
    r = (y2 * zzz1 - s) % P
    if not h:
        return _INFINITY if r else _double(one)
    hh = h * h % P
    hhh = h * hh % P
    v = u * hh % P
    x = (r * r - hhh - 2 * v) % P
    return x, (r * (v - x) - s * hhh) % P, zz1 * zz2 % P * hh % P, zzz1 * zzz2 % P * hhh % P


def _columns(k):
    """32 bytes: at 8 * j + i the digits of column i (0..7) in table j (0..3), bit t set where tooth t is +1."""
    bits = _signed_odd_bits(k)
    # Byte t of each 64 bits holds tooth t of columns 0..7: an 8 by 8 square of bits, transposed by swapping
    # single bits, then pairs, then fours (Hacker's Delight 7-3).
    for shift, mask in _TRANSPOSE:
        swapped = (bits >> shift ^ bits) & mask
        bits ^= swapped << shift ^ swapped
    return bits.to_bytes(32, "little")


def _table_point(columns, column, table):
    """The comb point (x, y) for `column` (0..7) in `table` (0..3)."""
    digits = columns[8 * table + column]
    negative = digits >> 7 ^ 1
    start = (digits ^ 255 * negative) * 64 - 128 * 64
    if _read_point:
        point, start = _read_point(table, start), 0
    else:
        point = (_tables or _load_tables())[table]
    y = int.from_bytes(point[start + 32 : start + 64], "big")
    return int.from_bytes(point[start : start + 32], "big"), (y, P - y)[negative]


def _comb_steps(k, factor, order):
    """Generator; returns X, Y, ZZ, ZZZ, x, y, points whose sum (X, Y, ZZ, ZZZ) + (x, y) is k * G.

    `factor` (1..p-1) blinds the coordinates; `order` names the table for each of the 32 additions. Only the
    last addition, left to the caller, can meet equal or opposite points: before it the digits +-1 taken so
    far, those of the table point with either sign, make no multiple of n (a test proves it).
    """
    columns = _columns(k)
    x1, y1 = _table_point(columns, 7, order[0])
    x2, y2 = _table_point(columns, 7, order[1])
    # mmadd-2008-s with h and r multiplied by the factor.
    h = factor * (x2 - x1) % P
    r = factor * (y2 - y1) % P
    zz = h * h % P
    v = x1 * zz % P
    x = (r * r - zz * (x2 + x1)) % P
    zzz = zz * h % P
    y = (r * (v - x) - y1 * zzz) % P
    for position in range(2, 31):
        if not position & 1:
            yield
            if not position & 3:
                x, y, zz, zzz = _double((x, y, zz, zzz))
        x2, y2 = _table_point(columns, 7 - (position >> 2), order[position])
        # madd-2008-s: 10 multiplications, 9 reductions.
        h = (x2 * zz - x) % P
        r = (y2 * zzz - y) % P
        hh = h * h % P
        v = x * hh % P
        h = h * hh % P
        x = (r * r - h - v - v) % P
        y = (r * (v - x) - y * h) % P
        zz = zz * hh % P
        zzz = zzz * h % P
    yield
    return (x, y, zz, zzz) + _table_point(columns, 0, order[31])


def _generator_multiple_steps(k, factor):
    """Generator; returns the point k * G for any k from 0 to n-1."""
    x, y, zz, zzz, x2, y2 = yield from _comb_steps(k, factor, _PLAIN_ORDER)
    return _add((x, y, zz, zzz), (x2, y2, 1, 1))


def _multiple_steps(k, point):
    """Generator; returns k * point, k from 0 to n-1, by 64 signed odd digits of 4 bits: a fixed pattern."""
    twice = _double(point)
    odd = [point]  # 1, 3, 5 ... 15 times the point
    while len(odd) < 8:
        if len(odd) & 1:
            yield
        odd.append(_add(odd[-1], twice))
    digits = _signed_odd_bits(k).to_bytes(32, "little")
    point = None
    for position in range(63, -1, -1):
        digit = digits[position >> 1] >> 4 * (position & 1) & 15
        negative = ~digit >> 3 & 1
        x, y, zz, zzz = odd[(digit ^ 15 * negative) - 8]
        addend = x, (y, P - y)[negative], zz, zzz
        if point is None:
            point = addend
            continue
        yield
        point = _double(_double(point))
        yield
        point = _add(_double(_double(point)), addend)
    yield
    assert point is not None
    return point

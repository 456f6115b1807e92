"""ECDSA and ECDH on P-256: published vectors, round trips, all that must be refused, steps and blinding."""

from binascii import hexlify, unhexlify
from hashlib import sha256

from check import equal, raises, true
from parkgate.errors import FormatError
from parkgate.wire import p256
from parkgate.wire.steps import finish

N = p256.N


def _hex(data):
    return hexlify(data).decode()


def _32(number):
    return number.to_bytes(32, "big")


def _random(seed):
    """An endless seeded stream of 32-byte strings, the same on every interpreter."""
    counter = 0
    while True:
        yield sha256(seed + bytes((counter >> 8, counter & 255))).digest()
        counter += 1


def _random_key(stream):
    return p256.key_from_entropy(next(stream) + next(stream))


def _inverse(number):
    return finish(p256._inverse_steps(number, N))


# RFC 6979 A.2.5, curve NIST P-256 with SHA-256: private key, public key, (message, r, s). s as printed, not
# yet low.
RFC_KEY = unhexlify("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
RFC_PUBLIC = unhexlify(
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
)
RFC_SIGNATURES = (
    (
        b"sample",
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    (
        b"test",
        "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
)

# ECDH: (private key, peer's public key, shared x).
ECDH = (
    # NIST CAVP, KAS_ECC_CDH_PrimitiveTest.txt, [P-256], COUNT = 0
    (
        "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534",
        "700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287"
        "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac",
        "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b",
    ),
    # RFC 5903, section 8.1: both sides
    (
        "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
        "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
        "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    ),
    (
        "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
        "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
        "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    ),
)

# The only two private keys for which the comb's last addition meets equal points: 2T mod n, where T is the
# multiple of G that the last table point stands for, and the digits of 2T ask for just this point. Found by
# trying all 256.
EQUAL_POINTS = (
    0xFDFDFDFD02020202FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    0x02020201FDFDFDFE000000000000000000000000000000000000000000000000,
)


def test_rfc_6979():
    equal(p256.public_key(RFC_KEY), RFC_PUBLIC)
    for message, r, s in RFC_SIGNATURES:
        signature = p256.sign(RFC_KEY, sha256(message).digest())
        equal(_hex(signature[:32]), r)
        equal(signature[32:], _32(min(s, N - s)))


def test_verify_rfc_6979():
    for message, r, s in RFC_SIGNATURES:
        digest = sha256(message).digest()
        low = unhexlify(r) + _32(min(s, N - s))
        high = unhexlify(r) + _32(max(s, N - s))
        true(p256.verify(RFC_PUBLIC, digest, low))
        true(p256.verify(RFC_PUBLIC, digest, low, low_s=False))
        true(not p256.verify(RFC_PUBLIC, digest, high), "high s is refused unless asked for")
        true(p256.verify(RFC_PUBLIC, digest, high, low_s=False))


def test_sign_and_verify_with_random_keys():
    stream = _random(b"round trips")
    for _ in range(12):
        key, other, digest = _random_key(stream), _random_key(stream), next(stream)
        public = p256.public_key(key)
        true(p256.on_curve(public))
        signature = p256.sign(key, digest, next(stream), next(stream))
        true(p256.verify(public, digest, signature))
        true(not p256.verify(p256.public_key(other), digest, signature), "another key")
        true(not p256.verify(public, next(stream), signature), "another digest")
        flipped = bytearray(signature)
        flipped[next(stream)[0] & 63] ^= 1
        true(not p256.verify(public, digest, flipped), "another signature")


def test_digests_at_the_edges():
    for number in (0, 1, N - 1, N, N + 1, 2**256 - 1):
        digest = _32(number)
        true(p256.verify(RFC_PUBLIC, digest, p256.sign(RFC_KEY, digest)), str(number))
    # Digests count modulo n.
    equal(p256.sign(RFC_KEY, _32(N + 5)), p256.sign(RFC_KEY, _32(5)))


def test_hedged_nonces():
    digest = sha256(b"sample").digest()
    plain = p256.sign(RFC_KEY, digest)
    one, two = p256.sign(RFC_KEY, digest, b"\x01" * 32), p256.sign(RFC_KEY, digest, b"\x02" * 32)
    true(one[:32] != two[:32] and one[:32] != plain[:32], "entropy gives another nonce")
    equal(p256.sign(RFC_KEY, digest, b"\x01" * 32), one)
    for signature in (one, two):
        true(p256.verify(RFC_PUBLIC, digest, signature))


def test_blinding_changes_every_intermediate_point_but_not_the_signature():
    digest = sha256(b"sample").digest()
    comb, double = p256._comb_steps, p256._double
    seen = set()

    def combing(k, factor, order):
        result = yield from comb(k, factor, order)
        seen.update(result[:4])
        return result

    def doubling(point):
        seen.update(point)
        return double(point)

    signatures, runs = [], []
    p256._comb_steps, p256._double = combing, doubling
    try:
        for blind in (b"", b"one", b"two"):
            seen.clear()
            signatures.append(p256.sign(RFC_KEY, digest, b"", blind))
            runs.append(set(seen))
    finally:
        p256._comb_steps, p256._double = comb, double
    equal(signatures, signatures[:1] * 3)
    for i in range(3):
        equal(len(runs[i]), 4 * (7 + 1), "coordinates before each doubling and before the last addition")
        for j in range(i):
            equal(runs[i] & runs[j], set(), "coordinates common to two runs")


def test_blinding_draws_both_signs_and_many_orders():
    comb = p256._comb_steps
    scalars, orders = set(), set()

    def recording(k, factor, order):
        scalars.add(k)
        orders.add(order)
        return comb(k, factor, order)

    p256._comb_steps = recording
    try:
        signatures = set([p256.sign(RFC_KEY, bytes(32), b"", bytes((blind,))) for blind in range(16)])
    finally:
        p256._comb_steps = comb
    equal(len(signatures), 1)
    equal(len(scalars), 2)
    equal(sum(scalars), N)
    equal(len(orders), 16)
    for order in orders:
        for start in range(0, 32, 4):
            equal(sorted(order[start : start + 4]), [0, 1, 2, 3])


def test_multiples_of_the_generator_by_special_scalars():
    # Each key's public key must be what the general multiplication gives, which shares nothing with the comb.
    generator = (p256.GX, p256.GY, 1, 1)
    for d in (1, 2, 3, 4, N - 1, N - 2, 1 << 32, 1 << 255, N >> 1) + EQUAL_POINTS:
        x, y, zz, zzz = finish(p256._multiple_steps(d, generator))
        public = p256.public_key(_32(d))
        true((int.from_bytes(public[:32], "big") * zz - x) % p256.P == 0, str(d))
        true((int.from_bytes(public[32:], "big") * zzz - y) % p256.P == 0, str(d))
    equal(p256.public_key(_32(1)), _32(p256.GX) + _32(p256.GY))
    equal(p256.public_key(_32(N - 1)), _32(p256.GX) + _32(p256.P - p256.GY))
    for d in EQUAL_POINTS:
        x, _, zz, _, x2, _ = finish(p256._comb_steps(d, 1, p256._PLAIN_ORDER))
        equal((x2 * zz - x) % p256.P, 0, "the case this test is about")
    for multiple in (p256._multiple_steps(0, generator), p256._generator_multiple_steps(0, 1)):
        equal(finish(multiple)[2], 0, "0 * G is infinity")


def test_a_nonce_whose_last_addition_fails_is_passed_over():
    passed_over = 0
    for k in EQUAL_POINTS:
        for i in range(24):  # it fails in about one order of four, and with one sign of the nonce
            masks = bytes((i,)) * 32
            signature = finish(p256._sign_with_steps(int.from_bytes(RFC_KEY, "big"), 7, k, masks))
            true(signature is None or p256.verify(RFC_PUBLIC, _32(7), signature))
            passed_over += signature is None
    true(0 < passed_over < 48, "%d passed over" % passed_over)


def test_verify_sums_of_equal_and_of_opposite_points():
    d = int.from_bytes(RFC_KEY, "big")
    point = p256.public_key(_32(12345))
    r = int.from_bytes(point[:32], "big") % N
    # z = rd makes u1 * G and u2 * Q equal: a valid signature, found only if the last addition can double.
    z = r * d % N
    s = (z + r * d) * _inverse(12345) % N
    true(p256.verify(RFC_PUBLIC, _32(z), _32(r) + _32(min(s, N - s))))
    # z = -rd makes them opposite: their sum is infinity, which verifies nothing.
    z = N - z
    for s in (1, 2, 12345):
        true(not p256.verify(RFC_PUBLIC, _32(z), _32(r) + _32(s)))


def test_verify_refuses_bad_signatures():
    digest = sha256(b"sample").digest()
    good = p256.sign(RFC_KEY, digest)
    r, s = good[:32], good[32:]
    zero, order = bytes(32), _32(N)
    top = b"\xff" * 32
    for bad in (
        zero + s,
        r + zero,
        zero + zero,
        order + s,
        r + order,
        order + order,
        top + s,
        r + top,
        r + _32(N - int.from_bytes(s, "big")),
        s + r,
        good[:63],
        good[1:],
        good + b"\x00",
        b"\x00" + good,
        b"",
        _32(1) + _32(1),
        _32(N - 1) + _32(1),
    ):
        true(not p256.verify(RFC_PUBLIC, digest, bad), _hex(bad))


def test_verify_refuses_the_same_numbers_in_other_lengths():
    d = int.from_bytes(RFC_KEY, "big")
    # A small s, and for it the digest; then a small digest. Without its zeros each number would be the same.
    r = int.from_bytes(p256.public_key(_32(12345))[:32], "big") % N
    z = (7 * 12345 - r * d) % N
    true(p256.verify(RFC_PUBLIC, _32(z), _32(r) + _32(7)))
    for s in (b"\x07", bytes(30) + b"\x07", bytes(32) + b"\x07", bytes(64) + b"\x07"):
        true(not p256.verify(RFC_PUBLIC, _32(z), _32(r) + s), _hex(s))
    good = p256.sign(RFC_KEY, _32(7))
    true(p256.verify(RFC_PUBLIC, _32(7), good))
    for digest in (b"", b"\x07", bytes(30) + b"\x07", bytes(32) + b"\x07"):
        true(not p256.verify(RFC_PUBLIC, digest, good), _hex(digest))


def _bad_public_keys():
    x, y = RFC_PUBLIC[:32], RFC_PUBLIC[32:]
    flipped = bytearray(RFC_PUBLIC)
    flipped[63] ^= 1
    p = _32(p256.P)
    # The curve's point (0, sqrt(b)) written with x = p: in the field the same, as bytes not canonical.
    root = _32(pow(p256.B, (p256.P + 1) // 4, p256.P))
    true(p256.on_curve(bytes(32) + root), "the canonical form of that point")
    return (
        bytes(flipped),
        y + x,
        bytes(64),
        p + root,
        x + p,
        b"\xff" * 64,
        RFC_PUBLIC[:63],
        RFC_PUBLIC + b"\x00",
        b"\x04" + RFC_PUBLIC,
        b"",
    )


def test_keys_off_the_curve_are_refused():
    digest = sha256(b"sample").digest()
    good = p256.sign(RFC_KEY, digest)
    for public in _bad_public_keys():
        true(not p256.on_curve(public), _hex(public))
        true(not p256.verify(public, digest, good), _hex(public))
        raises(FormatError, p256.ecdh, RFC_KEY, public)


def test_a_forgery_under_a_key_off_the_curve_is_refused():
    # For digest 0 and s = r the sum is the key itself, on whatever curve it lies: r = x would always verify.
    for x in (2, 3, 4, 5, 6, 7, 8, 9):
        forged = _32(x) + _32(x)
        true(not p256.verify(_32(x) + _32(1), bytes(32), forged), str(x))
    # On the curve this is a signature indeed, by a key nobody knows.
    y = pow(5 * 5 * 5 - 15 + p256.B, (p256.P + 1) // 4, p256.P)
    true(p256.on_curve(_32(5) + _32(y)))
    true(p256.verify(_32(5) + _32(y), bytes(32), _32(5) + _32(5)))
    true(not p256.verify(_32(p256.P + 5) + _32(y), bytes(32), _32(5) + _32(5)), "the same x, not below p")


def test_an_x_above_the_order_counts_modulo_the_order():
    # One nonce in 2^32 leads to such a point: here the comb is made to give one, as the sum of another and G.
    i = 0
    while True:
        x = N + i
        y = pow(x * x * x - 3 * x + p256.B, (p256.P + 1) // 4, p256.P)
        if p256.on_curve(_32(x) + _32(y)):
            break
        i += 1
    rest = p256._add((x, y, 1, 1), (p256.GX, p256.P - p256.GY, 1, 1))
    comb = p256._comb_steps

    def combing(k, factor, order):
        yield
        return rest + (p256.GX, p256.GY)

    p256._comb_steps = combing
    try:
        signature = p256.sign(RFC_KEY, _32(7))
    finally:
        p256._comb_steps = comb
    equal(signature[:32], _32(i))


def test_private_keys_out_of_range_are_refused():
    for key in (bytes(32), _32(N), b"\xff" * 32, RFC_KEY[:31], RFC_KEY + b"\x00", b"\x00" + RFC_KEY, b""):
        raises(FormatError, p256.sign, key, bytes(32))
        raises(FormatError, p256.public_key, key)
        raises(FormatError, p256.ecdh, key, RFC_PUBLIC)
        raises(FormatError, p256.SoftwareSigner, key)
    error = raises(FormatError, p256.sign, b"\xff" * 32, bytes(32))
    true("ff" * 4 not in str(error), "the key must not be in the message")
    for digest in (bytes(31), bytes(33), b""):
        raises(FormatError, p256.sign, RFC_KEY, digest)


def test_key_from_entropy():
    equal(p256.key_from_entropy(bytes(40)), _32(1))
    equal(p256.key_from_entropy(bytes(8) + _32(N - 2)), _32(N - 1))
    equal(p256.key_from_entropy(bytes(8) + _32(N - 1)), _32(1))
    equal(p256.key_from_entropy(b"\xff" * 40), _32((2**320 - 1) % (N - 1) + 1))
    raises(FormatError, p256.key_from_entropy, bytes(39))


def test_ecdh():
    for key, public, shared in ECDH:
        for blind in (b"", b"blind"):
            equal(_hex(p256.ecdh(unhexlify(key), unhexlify(public), blind)), shared)


def test_ecdh_agrees():
    stream = _random(b"agreement")
    for _ in range(3):
        one, two = _random_key(stream), _random_key(stream)
        equal(p256.ecdh(one, p256.public_key(two)), p256.ecdh(two, p256.public_key(one), next(stream)))
    for d in (1, 2, N - 1) + EQUAL_POINTS:
        equal(p256.ecdh(_32(d), RFC_PUBLIC), p256.ecdh(RFC_KEY, p256.public_key(_32(d))))


def test_steps_yield_nothing_and_return_the_result():
    digest = sha256(b"sample").digest()
    signature = p256.sign(RFC_KEY, digest)
    for steps, least, want in (
        (p256.sign_steps(RFC_KEY, digest), 20, signature),
        (p256.public_key_steps(RFC_KEY), 18, RFC_PUBLIC),
        (p256.verify_steps(RFC_PUBLIC, digest, signature), 140, True),
        (p256.ecdh_steps(RFC_KEY, RFC_PUBLIC), 125, p256.ecdh(RFC_KEY, RFC_PUBLIC)),
    ):
        count = 0
        try:
            while True:
                equal(next(steps), None)
                count += 1
        except StopIteration as end:
            equal(end.value, want)
        true(count >= least, "%d steps" % count)


def test_interleaved_signatures_do_not_disturb_each_other():
    digests = [sha256(bytes((i,))).digest() for i in range(3)]
    running = [p256.sign_steps(RFC_KEY, digest) for digest in digests]
    results = {}
    while len(results) < len(running):
        for i in range(len(running)):
            if i not in results:
                try:
                    next(running[i])
                except StopIteration as end:
                    results[i] = end.value
    for i in range(len(running)):
        equal(results[i], p256.sign(RFC_KEY, digests[i]))


def test_software_signer():
    digest = sha256(b"sample").digest()
    plain = p256.SoftwareSigner(RFC_KEY)
    equal(plain.public_key, RFC_PUBLIC)
    equal(finish(plain.sign_steps(digest)), p256.sign(RFC_KEY, digest))
    equal(finish(plain.ecdh_steps(RFC_PUBLIC)), p256.ecdh(RFC_KEY, RFC_PUBLIC))

    asked = []

    def entropy(count):
        asked.append(count)
        return bytes((len(asked),)) * count

    hedged = p256.SoftwareSigner(RFC_KEY, entropy)
    one, two = finish(hedged.sign_steps(digest)), p256.finish(hedged.sign_steps(digest))
    true(one != two and p256.verify(RFC_PUBLIC, digest, one) and p256.verify(RFC_PUBLIC, digest, two))
    equal(asked, [32, 32, 32], "fresh entropy for the public key and for each signature")

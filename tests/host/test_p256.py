"""P-256 and HMAC against other people's code and vectors; what a signature costs."""

import hashlib
import hmac
import itertools
import json
import random

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given
from hypothesis import strategies as st

from host_tools.image.app import make_p256_table
from parkgate.wire import mac, p256, p256_table
from tests.bench import sign as sign_bench
from tests.sim.counted_int import Counted, counting, longest_step_us

N = p256.N
SHA256_DONE = ec.ECDSA(utils.Prehashed(hashes.SHA256()))

MULTIPLICATIONS_MAX = 380
REDUCTIONS_MAX = 340
INVERSIONS_MAX = 2
STEP_US_MAX = 10_000
PEAK_HEAP_BYTES_MAX = 16 * 1024


def their_private_key(d32):
    return ec.derive_private_key(int.from_bytes(d32, "big"), ec.SECP256R1())


def their_public_key(xy64):
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + xy64)


def x_and_y(key):
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def random_cases(count, seed):
    source = random.Random(seed)
    for _ in range(count):
        yield p256.key_from_entropy(source.randbytes(40)), source.randbytes(32), source.randbytes(32)


# The table


def test_the_table_is_what_its_generator_makes():
    assert make_p256_table.main(["--check"]) == 0


def test_a_changed_table_is_noticed(tmp_path, monkeypatch, capsys):
    changed = tmp_path / "p256_table.py"
    changed.write_text(make_p256_table.TABLE_PATH.read_text().replace("\\x5a", "\\x5b", 1))
    monkeypatch.setattr(make_p256_table, "TABLE_PATH", changed)
    assert make_p256_table.main(["--check"]) == 1
    assert "not what its generator makes" in capsys.readouterr().err


def test_the_table_is_constant_bytes_of_at_most_32_kb():
    assert all(type(table) is bytes for table in p256_table.TABLES)
    assert sum(len(table) for table in p256_table.TABLES) <= 32 * 1024


def test_only_the_last_addition_of_the_comb_can_meet_equal_or_opposite_points():
    """An addition S + T fails if S - T or S + T is a multiple of n. Both are sums of +-2^i over the same set
    of places i; they are never 0, and below 2n in size, so the question is whether +-n is such a sum over
    these very places."""

    def places(column, tables):
        return [8 * tooth + 64 * table + column for tooth in range(8) for table in tables]

    failing = []
    for column in range(8):
        before = [place for later in range(column + 1, 8) for place in places(later, range(4))]
        for count in range(1, 5):
            for tables in itertools.combinations(range(4), count):
                # All are `column` doublings away from their last value.
                at = {place - column for place in before + places(column, tables)}
                for target in (N, -N):
                    # target = sum(2 * bit * 2^i) - sum(2^i)
                    twice = target + sum(1 << place for place in at)
                    bits = {place for place in range(300) if twice >> 1 + place & 1}
                    if twice >= 0 and twice % 2 == 0 and bits <= at:
                        failing.append((column, tables))
    assert failing == [(0, (0, 1, 2, 3))] * 2


# Cost


def test_operations_of_a_signature():
    for d32, digest, extra in random_cases(20, 1):
        for entropy in (b"", extra):
            want = p256.sign(d32, digest, entropy)
            with counting(p256) as tally:
                signature = p256.sign(d32, digest, entropy)
            assert signature == want
            assert tally.multiplications <= MULTIPLICATIONS_MAX
            assert tally.reductions <= REDUCTIONS_MAX
            assert tally.inversions <= INVERSIONS_MAX
            # The same for every key and digest: a fixed pattern.
            assert (tally.multiplications, tally.reductions, tally.inversions) == (374, 334, 2)


def test_the_counter_counts():
    with counting(p256) as tally:
        number = Counted.from_bytes(b"\xff" * 32, "big")
        _ = number * number % p256.P, 3 * number, number - 1, number % p256.N, p256.P % number
        _ = divmod(p256.P, number)
    assert (tally.multiplications, tally.reductions, tally.divisions) == (1, 3, 1)
    assert not hasattr(p256, "int")


def test_no_step_is_longer_than_10_ms():
    for d32, digest, extra in random_cases(5, 2):
        public, signature = p256.public_key(d32), p256.sign(d32, digest, extra)
        for steps in (
            lambda: p256.sign_steps(d32, digest, extra),  # noqa: B023
            lambda: p256.public_key_steps(d32, extra),  # noqa: B023
            lambda: p256.verify_steps(public, digest, signature),  # noqa: B023
            lambda: p256.ecdh_steps(d32, public, extra),  # noqa: B023
        ):
            with counting(p256) as tally:
                result, longest_us = longest_step_us(tally, steps())
            assert result in (signature, public, True, p256.ecdh(d32, public))
            # Interpreter overhead, flash cache misses and a slow board may add a third.
            assert longest_us * 4 // 3 <= STEP_US_MAX


def test_peak_heap_of_a_signature(unix_port):
    assert sign_bench.peak_heap_bytes(unix_port)["sign"] <= PEAK_HEAP_BYTES_MAX


# Other people's code


def test_signatures_and_keys_agree_with_cryptography():
    for d32, digest, extra in random_cases(200, 3):
        theirs = their_private_key(d32)
        public = p256.public_key(d32)
        assert public == x_and_y(theirs)
        ours = p256.sign(d32, digest, extra)
        r, s = int.from_bytes(ours[:32], "big"), int.from_bytes(ours[32:], "big")
        assert s <= N // 2
        theirs.public_key().verify(utils.encode_dss_signature(r, s), digest, SHA256_DONE)
        r, s = utils.decode_dss_signature(theirs.sign(digest, SHA256_DONE))
        assert p256.verify(public, digest, r.to_bytes(32, "big") + s.to_bytes(32, "big"), low_s=False)
        assert p256.verify(public, digest, r.to_bytes(32, "big") + min(s, N - s).to_bytes(32, "big"))


def test_ecdh_agrees_with_cryptography():
    cases = list(random_cases(100, 4))
    for (one, _, extra), (two, _, _) in zip(cases[::2], cases[1::2], strict=True):
        want = their_private_key(one).exchange(ec.ECDH(), their_public_key(p256.public_key(two)))
        assert p256.ecdh(one, p256.public_key(two), extra) == want
        assert p256.ecdh(two, p256.public_key(one)) == want


def rfc_6979_nonce(d32, digest, extra):
    """RFC 6979 3.2 with the additional data k' of 3.6, written down a second time."""
    seed = d32 + (int.from_bytes(digest, "big") % N).to_bytes(32, "big") + extra
    key, value = bytes(32), b"\x01" * 32
    for separator in (b"\x00", b"\x01"):
        key = hmac.digest(key, value + separator + seed, "sha256")
        value = hmac.digest(key, value, "sha256")
    return hmac.digest(key, value, "sha256")


def test_nonces_are_rfc_6979s_with_and_without_entropy():
    for d32, digest, extra in random_cases(50, 5):
        for entropy in (b"", extra, extra[:7]):
            k = rfc_6979_nonce(d32, digest, entropy)
            x = int.from_bytes(x_and_y(their_private_key(k))[:32], "big")
            assert p256.sign(d32, digest, entropy)[:32] == (x % N).to_bytes(32, "big")


def test_hmac_and_hkdf_agree_with_the_standard_library_and_cryptography():
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    source = random.Random(6)
    for _ in range(200):
        key, message, salt = (source.randbytes(source.randrange(200)) for _ in range(3))
        assert mac.hmac_sha256(key, message, salt) == hmac.digest(key, message + salt, "sha256")
        length = source.randrange(1, 300)
        want = HKDF(hashes.SHA256(), length, salt, message).derive(key)
        assert mac.hkdf_sha256(key, salt, message, length) == want


# Other people's vectors


def test_rfc_6979_reference(reference):
    vectors = json.loads((reference / "vectors" / "rfc6979_p256_sha256.json").read_text())
    d32 = bytes.fromhex(vectors["x"])
    assert p256.public_key(d32).hex() == (vectors["Ux"] + vectors["Uy"]).lower()
    for vector in vectors["tests"]:
        s = int(vector["s"], 16)
        want = bytes.fromhex(vector["r"]) + min(s, N - s).to_bytes(32, "big")
        assert p256.sign(d32, hashlib.sha256(vector["message"].encode()).digest()) == want


def wycheproof(reference, name):
    data = json.loads((reference / "vectors" / "wycheproof" / name).read_text())
    cases = [(group, case) for group in data["testGroups"] for case in group["tests"]]
    assert len(cases) == data["numberOfTests"]
    assert {case["result"] for _, case in cases} <= {"valid", "invalid"}
    return cases


def test_wycheproof_ecdsa(reference):
    cases = wycheproof(reference, "ecdsa_secp256r1_sha256_p1363_test.json")
    high = 0
    for group, case in cases:
        public = bytes.fromhex(group["publicKey"]["uncompressed"])[1:]
        digest = hashlib.sha256(bytes.fromhex(case["msg"])).digest()
        signature = bytes.fromhex(case["sig"])
        valid = case["result"] == "valid"
        assert p256.verify(public, digest, signature, low_s=False) is valid, case
        is_high = int.from_bytes(signature[32:], "big") > N // 2
        high += valid and is_high
        assert p256.verify(public, digest, signature) is (valid and not is_high), case
    assert high > 0


def test_wycheproof_hmac(reference):
    for group, case in wycheproof(reference, "hmac_sha256_test.json"):
        tag = mac.hmac_sha256(bytes.fromhex(case["key"]), bytes.fromhex(case["msg"]))[: group["tagSize"] // 8]
        assert mac.equal_ct(tag, bytes.fromhex(case["tag"])) is (case["result"] == "valid"), case


# Anything at all


PUBLIC = p256.public_key(bytes(31) + b"\x07")


@given(
    st.one_of(st.just(PUBLIC), st.binary(max_size=70)),
    st.one_of(st.binary(min_size=32, max_size=32), st.binary(max_size=40)),
    st.one_of(st.binary(min_size=64, max_size=64), st.binary(max_size=70)),
)
def test_verify_answers_as_cryptography_does_whatever_it_is_given(public, digest, signature):
    try:
        if len(digest) != 32 or len(signature) != 64:
            raise ValueError
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        their_public_key(public).verify(utils.encode_dss_signature(r, s), digest, SHA256_DONE)
        want = True
    except (ValueError, InvalidSignature):
        want = False
    assert p256.verify(public, digest, signature, low_s=False) is want

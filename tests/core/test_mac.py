"""HMAC and HKDF against the RFCs' own vectors."""

from binascii import hexlify, unhexlify

from check import equal, raises, true
from parkgate.errors import FormatError
from parkgate.wire.mac import equal_ct, hkdf_sha256, hmac_sha256


def _hex(data):
    return hexlify(data).decode()


# RFC 4231, section 4: (key, data, HMAC-SHA-256, of which case 5 prints the first 16 bytes only).
RFC_4231 = (
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)

# RFC 5869, appendix A.1 to A.3: (IKM, salt, info, OKM).
RFC_5869 = (
    (
        b"\x0b" * 22,
        bytes(range(13)),
        bytes(range(0xF0, 0xFA)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)),
        bytes(range(0x60, 0xB0)),
        bytes(range(0xB0, 0x100)),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
        "cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        b"\x0b" * 22,
        b"",
        b"",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
)


def test_hmac_rfc_4231():
    for key, data, tag in RFC_4231:
        equal(_hex(hmac_sha256(key, data))[: len(tag)], tag)


def test_hmac_of_parts_is_the_hmac_of_the_whole():
    key, data, tag = RFC_4231[1]
    equal(_hex(hmac_sha256(key, data[:3], b"", memoryview(data)[3:])), tag)


def test_hmac_key_of_one_block_and_beside():
    # Made with Python's hmac module: keys of 0, 63, 64 and 65 bytes 0x61, no data.
    tags = {
        0: "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
        63: "783cf4c2c285aa5f6de2e985a243347b9a78476a6747ca5b0f16e7c9e6ab6f6b",
        64: "b389ef8fc24e40e35b42b70221b466916836a241257699d090bc736b8ad21b98",
        65: "e400297d15af5719b8ef44afd790a1d705a4a36e4f49b69b4015c0ed86bf607f",
    }
    for size in tags:
        equal(_hex(hmac_sha256(b"a" * size)), tags[size], "%d bytes" % size)


def test_hkdf_rfc_5869():
    for ikm, salt, info, okm in RFC_5869:
        equal(_hex(hkdf_sha256(ikm, salt, info, len(okm) // 2)), okm)


def test_hkdf_lengths():
    whole = hkdf_sha256(b"input", b"salt", b"info", 8160)
    equal(len(whole), 8160)
    for length in (1, 31, 32, 33, 64):
        equal(hkdf_sha256(b"input", b"salt", b"info", length), whole[:length])
    raises(FormatError, hkdf_sha256, b"input", b"salt", b"info", 0)
    raises(FormatError, hkdf_sha256, b"input", b"salt", b"info", 8161)


def test_equal_ct():
    tag = unhexlify(RFC_4231[0][2])
    true(equal_ct(tag, bytes(tag)))
    true(equal_ct(b"", b""))
    for i in range(len(tag)):
        for bit in (1, 0x80):
            other = bytearray(tag)
            other[i] ^= bit
            true(not equal_ct(tag, bytes(other)), "byte %d" % i)
    true(not equal_ct(tag, tag[:-1]))
    true(not equal_ct(tag, tag + b"\x00"))
    true(not equal_ct(tag, b""))

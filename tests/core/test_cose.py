"""COSE envelopes: what is made opens again, and nothing else does."""

from check import equal, raises, true
from parkgate.errors import FormatError, IntegrityError, ParkgateError
from parkgate.wire import cbor, cose, receipt

KID = bytes(range(32))
EPOCH = bytes(range(16))
TYPE = cose.BATCH_TYPE
KEY = b"k" * 32

# RFC 9679 section 6: the example key and its SHA-256 thumbprint.
RFC9679_X = bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d")
RFC9679_Y = bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c")
RFC9679_THUMBPRINT = bytes.fromhex("496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec")


def sealed(payload=b"payload", seq=7):
    protected = cose.sign1_protected(KID, TYPE, EPOCH, seq)
    return cose.sign1_join(protected, payload, bytes(64))


def test_thumbprint_is_rfc_9679s():
    equal(cose.thumbprint(RFC9679_X + RFC9679_Y), RFC9679_THUMBPRINT)
    raises(FormatError, cose.thumbprint, RFC9679_X)


def test_key_roundtrip():
    key = RFC9679_X + RFC9679_Y
    equal(cose.decode_key(cose.encode_key(key)), key)
    equal(cbor.decode(cose.encode_key(key)), {1: 2, -1: 1, -2: RFC9679_X, -3: RFC9679_Y})
    raises(FormatError, cose.decode_key, cose.encode_key(key) + b"\x00")
    raises(FormatError, cose.decode_key, cose.encode_key(key)[:-1])


def test_sign1_opens():
    message = cose.Sign1(sealed(), TYPE)
    equal((message.kid, message.epoch, message.seq, message.payload), (KID, EPOCH, 7, b"payload"))
    equal(message.digest(), cose.sign1_digest(message.protected, b"payload"))


def test_sign1_refuses_every_prefix_tail_and_other_type():
    data = sealed()
    for end in range(len(data)):
        raises(FormatError, cose.Sign1, data[:end], TYPE)
    raises(FormatError, cose.Sign1, data + b"\x00", TYPE)
    raises(FormatError, cose.Sign1, data, cose.BEAT_TYPE)


def test_sign1_refuses_other_headers():
    good = {1: -7, 3: TYPE, 4: KID, cose.POSITION: [EPOCH, 0]}
    for change in (
        {1: -8},
        {3: "text/plain"},
        {3: 65000},
        {4: KID[:31]},
        {cose.POSITION: [EPOCH]},
        {cose.POSITION: [EPOCH, -1]},
        {cose.POSITION: [EPOCH[:15], 0]},
        {cose.POSITION: [EPOCH, True]},
        {5: b"iv"},
    ):
        header = dict(good)
        header.update(change)
        data = cose.sign1_join(cbor.encode(header), b"", bytes(64))
        raises(FormatError, cose.Sign1, data, TYPE)
    unprotected = sealed().replace(b"\xa0", b"\xa1\x01\x26", 1)
    raises(FormatError, cose.Sign1, unprotected, TYPE)


def test_receipt_opens_only_with_its_key_and_for_its_gateway():
    hub, gateway, batch_hash = b"h" * 32, b"g" * 32, b"b" * 32
    data = receipt.encode_receipt(KEY, hub, gateway, EPOCH, 9, batch_hash, 1793491200000)
    equal(receipt.decode_receipt(KEY, hub, gateway, data), (EPOCH, 9, batch_hash, 1793491200000))
    true(len(data) <= receipt.MAX_RECEIPT_BYTES, len(data))
    raises(IntegrityError, receipt.decode_receipt, b"x" * 32, hub, gateway, data)
    raises(FormatError, receipt.decode_receipt, KEY, b"x" * 32, gateway, data)
    raises(IntegrityError, receipt.decode_receipt, KEY, hub, b"x" * 32, data)
    for i in range(len(data)):
        for bit in (1, 128):
            damaged = bytearray(data)
            damaged[i] ^= bit
            raises(ParkgateError, receipt.decode_receipt, KEY, hub, gateway, bytes(damaged))

"""The hub that this gateway is enrolled at, and the key of its receipts and answers."""

from parkgate.wire import cose, receipt
from parkgate.wire.p256 import on_curve
from parkgate.wire.steps import finish


class EnrolledHub:
    """`id` is the hub's. The key is made when it is first wanted: it is 2 s of work for an RP2040, and no reading
    should wait for it."""

    def __init__(self, public_key: bytes, signer, gateway_id: bytes):
        self.id = cose.thumbprint(public_key)
        self._public_key = public_key
        self._signer = signer
        self._gateway_id = gateway_id
        self._key = None
        self.root_told = 0  # the newest root document that the chain was told of since the start

    def key_steps(self):
        """Generator that makes the key in short steps."""
        if self._key is None:
            secret = yield from self._signer.ecdh_steps(self._public_key)
            self._key = receipt.shared_key(secret, self._gateway_id, self.id)

    def open_receipt(self, message: bytes):
        """(epoch, seq, batch hash, commit time) of an authentic receipt. Raises FormatError, IntegrityError."""
        finish(self.key_steps())
        return receipt.decode_receipt(self._key, self.id, self._gateway_id, message)

    def open_message(self, message: bytes, content_type: int) -> bytes:
        """The payload of another authentic message of the hub. Raises FormatError, IntegrityError."""
        finish(self.key_steps())
        return cose.open_mac0(self._key, self.id, content_type, message)

    def open_answer(self, message: bytes):
        """(beat hash, the hub's time, ranges of seq that it lacks) of an authentic answer. Raises FormatError,
        IntegrityError."""
        finish(self.key_steps())
        return receipt.decode_answer(self._key, self.id, self._gateway_id, message)


def known_hub(public_key: str, signer, gateway_id: bytes, log):
    """The hub whose public key (hexadecimal) the settings have, None while not enrolled."""
    if not public_key:
        log.info("hub", "no hub key in the settings: readings are kept, none are sent")
        return None
    key = bytes.fromhex(public_key)
    if not on_curve(key):
        log.error("hub", "hub.public_key is not a P-256 point: readings are kept, none are sent")
        return None
    return EnrolledHub(key, signer, gateway_id)

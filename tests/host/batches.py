"""A gateway for tests of the hub: real keys and chains, made in memory, as honest or as crooked as a test
wants.

    gateway = FakeGateway(1)
    first = gateway.batch(rows=10)            # sealed bytes; the chain goes on by itself
    bad = gateway.seal(payload, seq=7)        # anything, signed by the gateway's own key
    beat = gateway.beat()

It signs with `cryptography`, not with our own p256: the hub must accept what a stranger signs.
"""

import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from host_tools.base.keys import public_xy
from parkgate.wire import batch as batch_format
from parkgate.wire import beat as beat_format
from parkgate.wire import cose, receipt
from parkgate.wire.steps import finish

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
START_MS = 1_700_000_000_000
METER = [
    "meter 1",
    "SDM630",
    [["voltage_l1", "V", 1], ["active_power", "W", 1], ["import_active_energy", "Wh", 0]],
]
ROOM = ["room", "SHT3x", [["temperature", "Cel", 2]]]


def sign(private, digest: bytes, low_s: bool = True) -> bytes:
    """r || s over a digest, with s in the lower half, or in the upper one."""
    r, s = utils.decode_dss_signature(private.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
    if (s > ORDER >> 1) == low_s:
        s = ORDER - s
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def default_rows(instrument: int, channels: int, first: int, count: int, start_ms: int = START_MS) -> list:
    """`count` samples [time_ms, trust, values, qualities] of an instrument, a second apart, from the number
    `first`."""
    return [
        (
            start_ms + 1000 * n,
            0,
            [2300 + (n * 7 + c * 13 + instrument) % 50 + 1000 * c for c in range(channels)],
            None,
        )
        for n in range(first, first + count)
    ]


class FakeGateway:
    """A gateway's key and its chain. `number` makes key and epoch, the same ones in each run."""

    def __init__(self, number: int, schema: list | None = None, epoch: bytes | None = None):
        self.private = ec.derive_private_key(int.from_bytes(b"test" + number.to_bytes(4, "big"), "big"), ec.SECP256R1())
        self.xy = public_xy(self.private)
        self.id = cose.thumbprint(self.xy)
        self.topic = self.id.hex()[:32]
        self.epoch = epoch or hashlib.sha256(b"epoch %d" % number).digest()[:16]
        self.schema = schema if schema is not None else [METER, ROOM]
        self.seq = self.sampled = self.dropped = 0
        self.head = None
        self.boot, self.cause = 1, 1
        self.receipt_seq = None
        self.rows_made = 0
        self.held: dict[int, tuple[bytes, int]] = {}  # seq → (sealed bytes, readings), until a receipt frees it

    # Topics.

    def batch_topic(self) -> str:
        return f"tele/{self.topic}/batch"

    def beat_topic(self) -> str:
        return f"tele/{self.topic}/beat"

    def receipt_topic(self) -> str:
        return f"cmd/{self.topic}/receipt"

    # Making.

    def payload(self, tables=None, rows=10, events=(), with_schema=None, prev=..., **header) -> bytes:
        """A batch's payload. `tables` maps instrument → list of (time_ms, trust, values, qualities); without
        it `rows` samples of each instrument are made up. Does not move the chain."""
        if tables is None:
            tables = {
                i: default_rows(i, len(part[2]), self.rows_made, rows) for i, part in enumerate(self.schema) if rows
            }
            self.rows_made += rows
        made = []
        for instrument, samples in sorted(tables.items()):
            table = batch_format.Table(instrument, len(self.schema[instrument][2]))
            for sample in samples:
                table.add(*sample)
            made.append(table)
        self.last_readings = sum(table.readings() for table in made)
        unsealed = sum(event[3] for event in events if event[0] == 5 and event[1] is None)
        fields = {
            "prev": self.head if prev is ... else prev,
            "boot": self.boot,
            "cause": self.cause,
            "sampled": self.sampled + self.last_readings + unsealed,
            "dropped": self.dropped + sum(event[3] for event in events if event[0] == 5),
            "receipt_seq": self.receipt_seq,
            "settings_id": bytes(16),
            "schema": batch_format.encode_schema(self.schema),
            "with_schema": self.seq == 0 if with_schema is None else with_schema,
            **header,
        }
        self.last_counters = fields["sampled"], fields["dropped"]
        return finish(
            batch_format.payload_steps(batch_format.Header(**fields), made, [list(event) for event in events])
        )

    def seal(
        self, payload: bytes, seq=None, epoch=None, kid=None, private=None, content_type=None, low_s=True
    ) -> bytes:
        """`payload` as COSE_Sign1. Does not move the chain."""
        protected = cose.sign1_protected(
            kid or self.id,
            content_type or batch_format.CONTENT_TYPE,
            epoch or self.epoch,
            self.seq if seq is None else seq,
        )
        signature = sign(private or self.private, cose.sign1_digest(protected, payload), low_s)
        return cose.sign1_join(protected, payload, signature)

    def batch(self, **fields) -> bytes:
        """The next batch of the chain; arguments as for `payload`."""
        sealed = self.seal(self.payload(**fields))
        self.sampled, self.dropped = self.last_counters
        self.held[self.seq] = sealed, self.last_readings
        self.head = hashlib.sha256(sealed).digest()
        self.seq += 1
        return sealed

    def beat(self, head=..., seq=None, health=None, **fields) -> bytes:
        """A beat about the chain as it stands."""
        buffered = fields.get("buffered", sum(readings for _, readings in self.held.values()))
        payload = beat_format.beat_payload(
            self.head if head is ... else head,
            fields.get("boot", self.boot),
            self.cause,
            (fields.get("sampled", self.sampled), fields.get("dropped", self.dropped), buffered),
            fields.get("receipt_seq", self.receipt_seq),
            fields.get("oldest_held", min(self.held, default=None)),
            fields.get("time_ms", START_MS + 1000 * self.rows_made),
            fields.get("trust", 0),
            health if health is not None else {"loss_in_s": 600_000},
        )
        return self.seal(payload, seq=seq, content_type=beat_format.CONTENT_TYPE)

    def new_epoch(self, epoch: bytes) -> None:
        """Begin another chain, as after a lost journal."""
        self.epoch, self.seq, self.head, self.sampled, self.dropped = epoch, 0, None, 0, 0
        self.receipt_seq = None
        self.held = {}

    # Receipts.

    def receipt_key(self, hub_xy: bytes) -> bytes:
        """The key this gateway derives for that hub."""
        hub_public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + hub_xy)
        return receipt.shared_key(self.private.exchange(ec.ECDH(), hub_public), self.id, cose.thumbprint(hub_xy))

    def take_receipt(self, data: bytes, hub_xy: bytes) -> int:
        """Free what an authentic receipt frees. Returns its seq; raises as `decode_receipt` does."""
        epoch, seq, batch_hash, _ = receipt.decode_receipt(
            self.receipt_key(hub_xy), cose.thumbprint(hub_xy), self.id, data
        )
        if epoch == self.epoch and seq in self.held and hashlib.sha256(self.held[seq][0]).digest() == batch_hash:
            del self.held[seq]
            self.receipt_seq = seq if self.receipt_seq is None else max(seq, self.receipt_seq)
        return seq

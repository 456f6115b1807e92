"""Runs on the board: what the public-key operations take."""

from measure import Steps, once_us, report

from hal.comb_table import CombTable
from parkgate.wire import mac, p256

KEY = p256.key_from_entropy(bytes(range(40)))
DIGEST = bytes(range(100, 132))


def told(name, steps):
    run = Steps(steps)
    report(name, run.total_us / 1000, "ms")
    report(name + ", longest step", run.longest_us / 1000, "ms")
    report(name + ", heap used up", run.churn_bytes, "bytes")
    return run.result


def table_in_memory():
    with open("p256.tbl", "rb") as file:
        points = file.read()
    return lambda table, offset: points[8192 * table + offset : 8192 * table + offset + 64]


p256.use_table(table_in_memory())
told("sign, table in memory", p256.sign_steps(KEY, DIGEST, b"entropy"))
p256.use_table(CombTable("p256.tbl").point)
PUBLIC = p256.public_key(KEY)
signature = told("sign", p256.sign_steps(KEY, DIGEST, b"entropy"))
if told("verify", p256.verify_steps(PUBLIC, DIGEST, signature)) is not True:
    raise ValueError("our own signature is refused")
told("ecdh", p256.ecdh_steps(KEY, PUBLIC))
told("public key", p256.public_key_steps(KEY))

taken_us, _ = once_us(mac.hmac_sha256, bytes(32), bytes(200))
report("hmac_sha256 of 200 bytes", taken_us / 1000, "ms")
taken_us, _ = once_us(mac.hkdf_sha256, bytes(32), bytes(32), b"info", 32)
report("hkdf_sha256 to 32 bytes", taken_us / 1000, "ms")

"""Time stamps, and when batches were signed, written from lib/SPEC.md 13.10 and 14.5 alone, with asn1crypto for CMS and
`cryptography` for signatures."""

import base64
import hashlib
from itertools import pairwise

from asn1crypto import cms, tsp, x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

GOOD = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
DAY = 86_400_000


class Wrong(Exception):
    pass


def must(holds, reason):
    if not holds:
        raise Wrong(reason)


def ms(moment):
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def signed_by(certificate, algorithm, fallback, message, signature):
    name = algorithm.native if isinstance(algorithm.native, str) else algorithm["algorithm"].native
    how = {"rsassa_pkcs1v15": fallback}.get(name, name.split("_")[0])
    must(how in GOOD and name.split("_")[-1] in ("rsa", "ecdsa", "pkcs1v15"), "stamp_algorithm")
    key = serialization.load_der_public_key(certificate.public_key.dump())
    try:
        if isinstance(key, rsa.RSAPublicKey):
            must(2048 <= key.key_size <= 8192 and not name.endswith("ecdsa"), "stamp_algorithm")
            key.verify(signature, message, padding.PKCS1v15(), GOOD[how])
        else:
            must(isinstance(key, ec.EllipticCurvePublicKey) and name.endswith("ecdsa"), "stamp_algorithm")
            assert isinstance(key, ec.EllipticCurvePublicKey)
            must(isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1), "stamp_algorithm")
            key.verify(signature, message, ec.ECDSA(GOOD[how]))
        return True
    except InvalidSignature:
        return False


def read(token, imprint):
    """(time, accuracy, ids from the signer's certificate up)."""
    try:
        outer = cms.ContentInfo.load(token, strict=True)
        must(outer["content_type"].native == "signed_data", "stamp_malformed")
        body = outer["content"]
        inner = body["encap_content_info"]
        must(inner["content_type"].native == "tst_info", "stamp_malformed")
        told = inner["content"].contents
        info = tsp.TSTInfo.load(told, strict=True)
        must(info["version"].native == "v1", "stamp_malformed")
        hashed, when = info["message_imprint"], info["gen_time"].native
        right = hashed["hash_algorithm"]["algorithm"].native == "sha256" and hashed["hashed_message"].native == imprint
        must(right, "stamp_imprint")
        accuracy = info["accuracy"].native or {}
        micros = accuracy.get("micros") or 0
        exact = 1000 * (accuracy.get("seconds") or 0) + (accuracy.get("millis") or 0) + -(-micros // 1000)
        must(len(body["signer_infos"]) == 1, "stamp_signers")
        signer = body["signer_infos"][0]
        digest = signer["digest_algorithm"]["algorithm"].native
        must(digest in GOOD, "stamp_algorithm")
        must(signer["signed_attrs"].native is not None, "stamp_attributes")
        found = {each["type"].native: each["values"] for each in signer["signed_attrs"]}
        must(len(found) == len(signer["signed_attrs"]) and all(len(v) == 1 for v in found.values()), "stamp_attributes")
        must("content_type" in found and found["content_type"][0].native == "tst_info", "stamp_attributes")
        must("message_digest" in found, "stamp_attributes")
        must(found["message_digest"][0].native == hashlib.new(digest, told).digest(), "stamp_digest")
        held = [each.chosen for each in body["certificates"] or []]
        must("signing_certificate_v2" in found or "signing_certificate" in found, "stamp_certificate")
        if "signing_certificate_v2" in found:
            line = found["signing_certificate_v2"][0]["certs"][0]
            how = line["hash_algorithm"]["algorithm"].native
        else:
            line, how = found["signing_certificate"][0]["certs"][0], "sha1"
        own = [c for c in held if hashlib.new(how, c.dump()).digest() == line["cert_hash"].native]
        must(own, "stamp_certificate")
        own, sid = own[0], signer["sid"].chosen
        if signer["sid"].name == "issuer_and_serial_number":
            must(sid["issuer"].dump() == own.issuer.dump(), "stamp_certificate")
            must(sid["serial_number"].native == own.serial_number, "stamp_certificate")
        use = next(
            (e for e in own["tbs_certificate"]["extensions"] if e["extn_id"].native == "extended_key_usage"), None
        )
        must(use and use["critical"].native and use["extn_value"].parsed.native == ["time_stamping"], "stamp_usage")
        must(own.not_valid_before <= when <= own.not_valid_after, "stamp_validity")
        message = signer["signed_attrs"].untag().dump()
        good = signed_by(own, signer["signature_algorithm"], digest, message, signer["signature"].native)
        must(good, "stamp_signature")
    except (ValueError, TypeError, KeyError, IndexError):
        raise Wrong("stamp_malformed") from None
    chain = [own]
    while len(chain) < 5:
        last = chain[-1]
        for above in held:
            if above.subject.dump() == last.issuer.dump() and above.dump() not in [c.dump() for c in chain]:
                try:
                    body_of = last["tbs_certificate"].dump()
                    if signed_by(above, last["signature_algorithm"], None, body_of, last["signature_value"].native):
                        chain.append(x509.Certificate.load(above.dump()))
                        break
                except (Wrong, ValueError):
                    pass
        else:
            break
    return ms(when), exact, [hashlib.sha256(c.dump()).hexdigest() for c in chain]


class Times:
    def __init__(self, is_named):
        self.is_named, self.stamps, self.signed, self.met = is_named, [], [], 0

    def take(self, number, said, facts, log_id):
        """The reason why this stamp is refused, if it is one."""
        if said["kind"] != "stamped" or said["log"] != log_id.hex():
            return
        self.met += 1
        try:
            kinds = {"log": bytes, "root": bytes, "size": int, "authority": str, "token": bytes}
            must(all(type(facts.get(name)) is kind for name, kind in kinds.items()), "stamp_malformed")
            must((len(facts["log"]), len(facts["root"])) == (16, 32) and 0 <= facts["size"] < 2**62, "stamp_malformed")
            root = base64.b64encode(facts["root"]).decode()
            lines = f"parkgate-log/{facts['log'].hex()}\n{facts['size']}\n{root}\n"
            when, exact, ids = read(facts["token"], hashlib.sha256(lines.encode()).digest())
            must(facts["log"].hex() == said["log"] and facts["size"] <= said["index"], "stamp_root")
            must(not self.stamps or self.stamps[-1]["gen_ms"] <= when, "stamp_order")
        except Wrong as error:
            yield str(error)
            return
        self.stamps.append({
            "index": said["index"], "size": facts["size"], "authority": facts["authority"], "ids": ids, "gen_ms": when,
            "accuracy_ms": exact, "named": any(map(self.is_named, ids)), "root": facts["root"], "number": number,
        })  # fmt: skip

    def finish(self, first, size, tree, entries, in_log, chains):
        """Yield (reason, statement) and (reason, chain, seq). `tree` gives the root of a size from `first` on."""
        for stamp in list(self.stamps):
            if first <= stamp["size"] <= size and stamp["size"] and tree(stamp["size"]) != stamp["root"]:
                self.stamps.remove(stamp)
                yield "stamp_root", f"statement #{stamp['number']}"
        named = any(stamp["named"] for stamp in self.stamps)
        used = [s for s in self.stamps if s["named"] == named and s["index"] in in_log]
        places = {entry: first + n for n, entry in reversed(list(enumerate(entries)))}
        for chain in chains if used else ():
            rows = []
            for batch in chain.batches:
                low = [
                    s["gen_ms"] - s["accuracy_ms"] for s in used for n, root in batch["claims"]
                    if first <= n <= size and n and tree(n) == root and n > s["index"]
                ]  # fmt: skip
                leaf = places.get(batch["hash"], size)
                high = [s["gen_ms"] + s["accuracy_ms"] for s in used if leaf < s["size"] and s["size"] >= first]
                dated = batch["base_ms"] if batch["base_ms"] >= 10**12 else None
                rows.append([batch["seq"], dated, max(low, default=None), min(high, default=None)])
            for before, row in pairwise(rows):
                if row[0] == before[0] + 1 and before[2] is not None:
                    row[2] = max(before[2], before[2] if row[2] is None else row[2])
            for row, after in reversed(list(pairwise(rows))):
                if after[0] == row[0] + 1 and after[3] is not None:
                    row[3] = min(after[3], after[3] if row[3] is None else row[3])
            for seq, dated, _, high in reversed(rows):
                if high is not None and dated is not None and dated > high + 60_000:
                    yield "post_dated", chain, seq
            runs, late = [], []
            for seq, dated, low, high in rows:
                if runs and runs[-1][1:] == [seq - 1, low, high]:
                    runs[-1][1] = seq
                else:
                    runs.append([seq, seq, low, high])
                if high is not None and dated is not None and high - dated > 180_000_000:
                    if late and late[-1][1] == seq - 1 and late[-1][3] == high:
                        late[-1] = [late[-1][0], seq, min(late[-1][2], dated), high]
                    else:
                        late.append([seq, seq, dated, high])
            ids = chain.gateway.told["id"].hex(), chain.told["epoch"].hex()
            self.signed.append({"gateway": ids[0], "epoch": ids[1], "runs": runs[:1000], "late": late[:1000]})

    def summary(self):
        names = ("index", "size", "authority", "ids", "gen_ms", "accuracy_ms", "named")
        return {"stamps": [{name: s[name] for name in names} for s in self.stamps], "signed": self.signed}

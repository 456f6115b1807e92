"""Root documents in an archive, for the second verifier: from lib/SPEC.md 3.7 and 14.4 alone."""

import cbor2

from independent_statement import holds, sha, thumbprint
from independent_verifier import UINT, Refused, canonical, is_a, need, read_key


def read(data):
    """(rows of those that passed, their log keys, (reason, place) or None) of root.cbor."""
    rows, keys, before, root = [], [], None, None
    try:
        documents = canonical(data)
        need(len(data) <= 1 << 20 and type(documents) is list and 0 < len(documents) < 1001, "", "")
        need(all(type(each) is bytes for each in documents), "", "")
    except Refused:
        return rows, keys, ("root_malformed", "")
    for place, each in enumerate(documents):
        try:
            payload, signatures = take_apart(each)
        except Refused:
            return rows, keys, ("root_malformed", f"#{place}")
        _, number, own, following, hub, log, made, prior = payload
        mine = sha(b"parkgate root v1", *own)
        if number != place + 1 or prior != before or root not in (None, mine):
            return rows, keys, ("root_order", f"#{place}")
        by_id = {thumbprint(key): key for key in own}
        signers = [kid for kid, _, _ in signatures]
        good = len(by_id) == 3 and len(set(signers)) == len(signers) and all(map(is_point, own))
        if not good or not all(kid in by_id and holds(by_id[kid], *signed) for kid, *signed in signatures):
            return rows, keys, ("root_signature", f"#{place}")
        before, root = sha(each), following
        keys.append(log)
        row = {"number": number, "root": mine.hex(), "log": thumbprint(log).hex(), "hub": thumbprint(hub).hex()}
        rows.append({**row, "made_ms": made})
    return rows, keys, None


def take_apart(data):
    """(fields of the payload, [(kid, what is signed, signature)]) or Refused."""
    need(len(data) <= 1024 and data[:2] == bytes.fromhex("d862"), "", "")
    parts = canonical(data[2:])
    need(is_a(parts, [5, dict, bytes, list]) and not parts[1] and 2 <= len(parts[3]) <= 3, "", "")
    need(canonical(parts[0]) == {3: 65108}, "", "")
    payload, signatures = canonical(parts[2]), []
    for each in parts[3]:
        need(is_a(each, [38, dict, 64]) and not each[1], "", "")
        header = canonical(each[0])
        need(type(header) is dict and header.keys() == {1, 4} and header[1] == -7 and is_a(header[4], 32), "", "")
        signed = cbor2.dumps(["Signature", parts[0], each[0], b"", parts[2]])
        signatures.append((header[4], signed, each[2]))
    forms = [range(1, 2), range(1, 1 << 30), [64, 64, 64], 32, 64, 64, UINT, (32, type(None))]
    need(is_a(payload, forms) and (payload[1] == 1) == (payload[7] is None) and is_point(payload[5]), "", "")
    return payload, signatures


def is_point(xy):
    try:
        read_key(cbor2.dumps({1: 2, -1: 1, -2: xy[:32], -3: xy[32:]}))
    except Refused:
        return False
    return True


def step(all_of_it, good):
    """What root.cbor says in step 2: whether a root that was named vouches for the hub. `good`: the statement's
    signature holds."""
    told = all_of_it.told
    all_of_it.log_keys = [told["key"]] if told["key"] else []
    if "root.cbor" not in all_of_it.files:
        return False
    all_of_it.roots, keys, fault = read(all_of_it.files["root.cbor"])
    all_of_it.log_keys += keys
    if not fault and keys[-1] != told["key"]:
        fault = "root_key", ""
    if fault:
        all_of_it.note(*fault)
        return False
    return good and any(all_of_it.is_named(bytes.fromhex(row["root"])) for row in all_of_it.roots)


def place_statements(all_of_it):
    """Whether each statement of the hub is the entry that it must be, or any."""
    for digest, said in all_of_it.hub_says:
        index = said["index"] - all_of_it.first
        if said["log"] != all_of_it.log_id.hex() or index < 0:
            said["in_log"] = digest in all_of_it.entries
        else:
            said["in_log"] = all_of_it.entries[index : index + 1] == [digest]
            if not said["in_log"]:
                all_of_it.note("not_in_log", f"statement {said['index']}")

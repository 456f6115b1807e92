"""The second verifier's reader of archives, written from lib/SPEC.md 14 alone: it imports nothing of Parkgate. It keeps
whole files in memory and works with lists where the others stream. `verdict(data, named)` is the JSON of 14.6."""

import re
from itertools import pairwise
from pathlib import Path

import cbor2

import independent_lots
import independent_roots
from independent_columns import Refused, need, read_table
from independent_energy import energy
from independent_places import Places, check_exchanges
from independent_rotations import Keys
from independent_stamps import Times
from independent_statement import (
    Stop,
    cut_apart,
    holds,
    hub_statement,
    members,
    read_statement,
    root_of,
    sha,
    shaped,
    thumbprint,
)
from independent_verifier import UINT, batch_alone, canonical, is_a, opened, read_beat, read_schema

SPEC = (Path(__file__).resolve().parent.parent.parent / "lib" / "SPEC.md").read_text(encoding="utf-8")
LINES = ("authentic", "unaltered", "complete", "witnessed")
ROWS = re.findall(rf"^\| `(\w+)` \| ({'|'.join(LINES)}) \| (no|not shown) \|$", SPEC, re.MULTILINE)  # the list of 14.6
CHECKS = (
    "form", "statement", "members", "keys", "signatures", "chain", "counters", "gaps", "beats", "forks", "columns",
    "energy", "log", "hub statements", "places", "time stamps",
)  # fmt: skip


class Verifier:
    def __init__(self, data, named):
        self.named, self.notes, self.skipped, self.told = [n.lower() for n in named], [], {}, None
        self.gateways, self.energy, self.claims, self.witnesses, self.logged, self.entries = [], [], [], [], [], None
        self.roots = self.lots = None
        self.hub_says, self.all_gateways, self.places, self.next_keys, self.log_keys = [], [], Places(), {}, []
        self.times = Times(lambda identity: any(len(n) > 15 and identity.startswith(n) for n in self.named))
        try:
            self.files = members(data)
        except Stop:
            self.note("not_an_archive", "")
            self.skipped = dict.fromkeys(CHECKS[1:], "the file is not an archive")
            return
        try:
            self.told, kid = read_statement(self.files["statement.cbor"])
        except Stop:
            self.note("statement_malformed", "")
            self.skipped = dict.fromkeys(CHECKS[2:], "the statement cannot be read")
            return
        self.everything(kid)

    def note(self, reason, where):
        self.notes.append((reason, where))

    def is_named(self, kid):
        return any(len(name) > 15 and kid.hex().startswith(name) for name in self.named)

    def everything(self, kid):
        told = self.told
        good = False
        if kid is None:
            self.note("statement_unsigned", "")
        else:
            parts = cbor2.loads(self.files["statement.cbor"][1:])
            good = thumbprint(told["key"]) == kid
            good = good and holds(told["key"], cbor2.dumps(["Signature1", parts[0], b"", parts[2]]), parts[3])
            if not good:
                self.note("statement_signature", "")
        for name, size, digest in told["members"]:
            if name not in self.files:
                self.note("member_missing", name)
            elif (len(self.files[name]), sha(self.files[name])) != (size, digest):
                self.note("member_altered", name)
        for name in self.files:
            if name not in ("statement.cbor", *(m[0] for m in told["members"])):
                self.note("member_not_listed", name)
        vouched = independent_roots.step(self, good)
        if any(name.startswith("log/") for name in self.files):
            self.read_log()
        else:
            self.note("no_log", "")
            for check in ("log", "hub statements", "places", "time stamps"):
                self.skipped[check] = "the archive carries no log"
        if "log" not in self.skipped and "log/statements.cbor" not in self.files:
            self.skipped["hub statements"] = "the archive carries none"
        if "places" not in self.skipped and not self.places.by_id:
            self.skipped["places"] = "the archive carries none"
        if "log" not in self.skipped and not self.times.met:
            self.skipped["time stamps"] = "the archive carries none"
        for gateway in told["gateways"]:
            label = gateway["id"].hex()[:16]
            if not self.named or kid is None and not self.is_named(gateway["id"]):
                self.note("no_trusted_id", label)
            elif not self.is_named(gateway["id"]) and not (vouched or good and self.is_named(kid)):
                self.note("foreign_key", label)
            self.all_gateways.append(Gateway(self, gateway, label))
        check_exchanges(self)
        if told["class"] == "lot":
            self.lots = independent_lots.check(self)
        there = [g["id"].hex() for g in told["gateways"]] + [thumbprint(told["key"]).hex() if told["key"] else ""]
        there += [row["root"] for row in self.roots or ()]
        there += [each for stamp in self.times.stamps for each in stamp["ids"]]
        for name in self.named:
            if not any(kid.startswith(name) for kid in there):
                self.note("gateway_absent", name[:64])
        if self.entries is not None:
            self.check_log()
        self.skipped["columns"] = "of batches that begin or end no day, gap or chain: the energy does not need them"

    def read_log(self):  # 14.5
        try:
            parts = canonical(self.files.get("log/checkpoint.cose", b"\0")[1:])
            need(self.files["log/checkpoint.cose"][:1] == b"\xd2" and is_a(parts, [bytes, dict, 32, 64]), "", "")
            need(not parts[1] and len(self.files["log/checkpoint.cose"]) <= 1024, "", "")
            head = canonical(parts[0])
            need(shaped(head, {1: range(-7, -6), 4: 32, 395: range(1, 2), -65537: [16, UINT]}), "", "")
            size, entries = head[-65537][1], self.files["log/entries.bin"]
            self.first = size - len(entries) // 32
            need(len(entries) % 32 == 0 and self.first >= 0, "", "")
            self.frontier = self.files["log/frontier.bin"] if self.first else b""
            need(len(self.frontier) == 32 * bin(self.first).count("1"), "", "")
        except (Refused, KeyError):
            self.note("log_malformed", "")
            return
        self.entries = [entries[at : at + 32] for at in range(0, len(entries), 32)]
        self.root = parts[2]
        key, message = self.told["key"], cbor2.dumps(["Signature1", parts[0], b"", parts[2]])
        if not key or thumbprint(key) != head[4] or not holds(key, message, parts[3]):
            self.note("log_signature", "")
        self.log_id, seen, faults = head[-65537][0], [], 0
        for place, message in enumerate(cut_apart(self.files.get("log/statements.cbor", b""))):
            said, facts = None, {}
            try:
                need(message is not None and message not in seen, "", "")
                said, facts, kid, signed, signature = hub_statement(message)
            except Refused:
                reason = "hub_statement_malformed"
            else:
                good = any(thumbprint(key) == kid and holds(key, signed, signature) for key in self.log_keys)
                reason = None if good else "hub_statement_signature"
            if reason is None:
                seen.append(message)
                self.hub_says.append((sha(message), said))
                if said["kind"] == "next key" and is_a([facts.get("gateway"), facts.get("next")], [32, 32]):
                    self.next_keys.setdefault(facts["gateway"], facts["next"])
                for fault in self.places.read(sha(message), place, said, facts):
                    self.note(fault, f"statement #{place}")
                for fault in self.times.take(place, said, facts, self.log_id):
                    self.note(fault, f"statement #{place}")
                continue
            self.note(reason, f"#{place}")
            faults += 1
            if faults == 100:
                self.note("too_many_faults", "hub statements")
                break

    def check_log(self):
        for digest, where in self.logged:
            if digest not in self.entries:
                self.note("not_in_log", where)
        independent_roots.place_statements(self)
        size = self.first + len(self.entries)
        if root_of(self, size) != self.root:
            self.note("log_root", "")
            for _, said in self.hub_says:
                said["in_log"] = False
            return
        here = {s["index"] for _, s in self.hub_says if s["in_log"] and s["log"] == self.log_id.hex()}
        chains = [chain for gateway in self.all_gateways for chain in gateway.chains]
        for reason, where, *seq in self.times.finish(
            self.first, size, lambda n: root_of(self, n), self.entries, here, chains
        ):
            where.note(reason, seq[0]) if seq else self.note(reason, where)
        newest = {}
        for kid, said, root in self.claims:
            if self.first <= said <= size and said:
                if root_of(self, said) == root:
                    newest[kid] = max(said, newest.get(kid, 0))
                else:
                    self.note("claim_differs", f"{kid.hex()[:16]} {said}")
        self.witnesses = [{"gateway": kid.hex(), "size": newest[kid]} for kid in sorted(newest)]
        if not newest:
            self.note("no_witness", "")

    def verdict(self):  # 14.6
        lines, reasons = {name: {"state": "yes"} for name in LINES}, []
        for reason, line, makes in ROWS:
            where = [place for noted, place in self.notes if noted == reason]
            if where:
                said = {"effect": "wrong" if makes == "no" else "not shown", "count": len(where), "where": where[:10]}
                reasons.append({"reason": reason, "line": line, **said})
                lines[line]["state"] = "no" if "no" in (makes, lines[line]["state"]) else "not shown"
        told = self.told or {"others": [], "days": [], "left_out": [], "cannot_show": []}
        for name in LINES:
            if not self.told and name != "unaltered":
                lines[name]["state"] = "not shown"
        states = {line["state"] for line in lines.values()}
        lines["complete"] |= {"from_ms": told.get("from_ms"), "to_ms": told.get("to_ms")}
        lines["witnessed"]["by"] = self.witnesses
        return {
            "form": "parkgate verdict 1", "class": told.get("class"), "lines": lines, "reasons": reasons,
            "overall": "failure" if "no" in states else "incomplete" if "not shown" in states else "success",
            "checks": {
                "executed": [c for c in CHECKS if c not in self.skipped or c == "columns" and self.told],
                "skipped": [{"check": c, "why": self.skipped[c]} for c in CHECKS if c in self.skipped],
            },
            "hub": thumbprint(told["key"]).hex() if told.get("key") else None, "made_ms": told.get("made_ms"),
            "zone": told.get("zone"), "days": told["days"], "left_out": told["left_out"],
            "cannot_show": told["cannot_show"], "others": [other.hex() for other in told["others"]],
            "gateways": self.gateways, "energy": self.energy,
            "hub_statements": [said for _, said in self.hub_says][:5000],
            "places": self.places.summary(), "time": self.times.summary(), "lots": self.lots,
            **({} if self.roots is None else {"root": self.roots}),
        }  # fmt: skip


class Gateway:
    def __init__(self, all_of_it, told, label):
        self.all, self.told, self.label = all_of_it, told, label
        self.schemas, self.registers, self.counter_events, self.readings = {}, {}, [], 0
        files, folder = all_of_it.files, f"gateways/{told['id'].hex()}/"
        self.keys = Keys(told, all_of_it.next_keys.get(told["id"]))
        for reason, place in self.keys.read(cut_apart(files.get(folder + "rotations.cbor", b""))):
            self.all.note(reason, f"{label} rotations #{place}")
        if folder + "schemas.cbor" in files:
            self.read_schemas(folder + "schemas.cbor")
        beats = self.messages(files.get(folder + "beats.cbor", b""), "beats", read_beat)
        for epoch in dict.fromkeys(beat["epoch"] for beat in beats):
            heads, top = {}, 0
            for beat in (beat for beat in beats if beat["epoch"] == epoch):
                if heads.setdefault(beat["seq"], beat["head"]) != beat["head"]:
                    where = f"{label} {epoch.hex()[:8]} {beat['seq'] - 1}: two beats name two batches"
                    self.all.note("fork", where)
                top = max(top, beat["seq"])
            if top and epoch not in [c["epoch"] for c in told["chains"]]:
                self.all.note("tail_missing", f"{label} {epoch.hex()[:8]} 0-{top - 1}")
        self.chains = chains = []
        for chain in told["chains"]:
            data = files.get(f"{folder}batches-{chain['epoch'].hex()}.cbor", b"")
            chains.append(Chain(self, chain, data, [b for b in beats if b["epoch"] == chain["epoch"]]))
        forks = self.messages(files.get(folder + "forks.cbor", b""), "forks", batch_alone)
        for fork in forks[:100]:
            self.all.note("fork", f"{label} {fork['epoch'].hex()[:8]} {fork['seq']}")
        if len(forks) >= 100:
            self.all.note("too_many_faults", f"{label} forks")
            forks = forks[:100]
        self.all.gateways.append({
            "id": told["id"].hex(), "name": told["name"], "keys": self.keys.ids(),
            "batches": sum(len(c.batches) for c in chains),
            "history": [{"unix_ms": h[0], "what": h[1], "name": h[2]} for h in told["history"]],
            "readings": sum(b["readings"] for c in chains for b in c.batches), "beats": len(beats),
            "forks": len(forks), "chains": [c.summary() for c in chains],
        })  # fmt: skip
        for (register, stay), read in self.registers.items():
            place = None if stay is None else all_of_it.places.stays[stay]["place"].hex()
            for row in energy(register, read, all_of_it.told["days"], self.counter_events):
                all_of_it.energy.append({"gateway": told["id"].hex(), "before": None, "place": place, **row})

    def read_schemas(self, name):
        rest = self.all.files[name]
        while rest:
            try:
                need(rest[0] in range(0x40, 0x5A), "", "")
                width = max(rest[0] - 0x57, 0)
                length = int.from_bytes(rest[1 : 1 + width], "big") if width else rest[0] - 0x40
                need(length >= (0, 24, 256)[width] and 1 + width + length <= len(rest), "", "")
            except Refused:
                self.all.note("malformed", name)
                return
            self.learn(rest[1 + width : 1 + width + length])
            rest = rest[1 + width + length :]

    def learn(self, document):
        try:
            self.schemas[sha(document)[:16]] = read_schema(document)
        except Refused:
            pass

    def look(self, data, read, epoch=None):
        """(what it says, None) or (None, reason)."""
        try:
            need(data is not None, "cose", "")
            return self.keys.look(data, read, epoch)
        except Refused:
            return None, "malformed"

    def messages(self, data, what, read):
        good, faults, seen = [], 0, []
        for place, message in enumerate(cut_apart(data)):
            found, reason = self.look(message, read)
            if message in seen and reason is None:
                reason = "order"
            seen.append(message)
            if reason is None:
                good.append(found)
                continue
            self.all.note(reason, f"{self.label} {what} #{place}")
            faults += 1
            if faults == 100:
                self.all.note("too_many_faults", f"{self.label} {what}")
                break
        return good


class Chain:  # 14.4, 5 to 9
    def __init__(self, gateway, told, data, beats):
        self.gateway, self.all, self.told, self.beats = gateway, gateway.all, told, beats
        self.label = f"{gateway.label} {told['epoch'].hex()[:8]}"
        self.batches, self.faults, self.gaps, self.signed, self.end, self.proven = [], 0, [], [], "unproven", None
        self.reached = self.start = self.last_row = None
        heads = {beat["seq"]: beat["head"] for beat in beats}
        before = None  # the message before, when it passed
        day, time = None, None
        for place, message in enumerate(cut_apart(data)):
            if self.faults >= 100:
                self.all.note("too_many_faults", self.label)
                break
            batch, reason = gateway.look(message, batch_alone, told["epoch"])
            if reason:
                self.note(reason, self.seq_of(message) if reason in ("signature", "wrong_key") else f"#{place}")
                before = None if message is not None else before
                continue
            newest = self.batches[-1] if self.batches else None
            if newest and batch["seq"] <= newest["seq"]:
                twice = batch["seq"] == newest["seq"] and batch["hash"] != newest["hash"]
                self.note("fork" if twice else "order", batch["seq"])
                continue
            if heads.get(batch["seq"] + 1, batch["hash"]) != batch["hash"]:
                self.note("fork", f"{batch['seq']}: a beat names another batch")
            self.all.logged.append((batch["hash"], f"{self.label} {batch['seq']}"))
            self.take(batch, before)
            time = batch["base_ms"] if batch["base_ms"] >= 10**12 else time
            edges = {*self.all.told["days"], *self.all.places.edges(gateway.told["id"])}
            now = None if time is None else sum(d <= time for d in edges)
            edge = not newest or batch["seq"] != newest["seq"] + 1 or now != day
            batch["edge"] = edge
            if edge:
                self.decode(newest)
                self.decode(batch)
            self.batches.append(batch)
            day, before = now, batch
        self.decode(self.batches[-1] if self.batches else None)
        self.completeness()

    def note(self, reason, where):
        self.all.note(reason, f"{self.label} {where}")
        self.faults += 1

    def seq_of(self, message):
        kinds = range(-7, -6), range(65101, 65102), 32, [16, UINT]
        return opened(message, b"\xd2", "Signature1", 64, *kinds)[0][-65537][1]

    def take(self, batch, before):
        follows = before and before["seq"] + 1 == batch["seq"]
        if follows and before["hash"] != batch["prev"]:
            self.note("link", batch["seq"])
        zero = {"sampled": 0, "dropped": 0, "boot": 0}
        base = before if follows else zero if batch["seq"] == 0 else self.batches[-1] if self.batches else None
        good = batch["readings"] + batch["dropped"] <= batch["sampled"]
        good = good and (batch["receipt_seq"] is None or batch["receipt_seq"] < batch["seq"])
        if base:
            grown, lost, boots = (batch[name] - base[name] for name in ("sampled", "dropped", "boot"))
            good = good and boots >= 0 and lost >= 0 and grown >= batch["readings"]
            if follows or batch["seq"] == 0:
                good = good and grown - batch["readings"] <= lost
            if follows and boots == 0:
                good = good and batch["cause"] in (0, before["cause"])
        if not good:
            self.note("counters", batch["seq"])
        if any(event[0] == 34 for event in batch["events"]) and batch["hash"] not in self.gateway.keys.brought:
            self.note("rotation", batch["seq"])
        batch["claims"] = []
        for event in batch["events"]:
            if is_a(event[:3], [range(5, 6), UINT, UINT]) and len(event) == 6 and event[1] <= event[2]:
                self.signed.append((event[1], event[2]))
            if len(event) == 7 and is_a(event[:3], [range(9, 10), str, str]):
                when = event[6]
                if type(when) is list and len(when) == 2 and is_a(when[0], UINT):
                    self.gateway.counter_events.append((event[1], event[2], when[0]))
            if is_a(event, [range(32, 33), UINT, 32]) and "log" not in self.all.skipped:
                self.all.claims.append((self.gateway.told["id"], event[1], event[2]))
                batch["claims"].append((event[1], event[2]))
        if batch["schema"] is not None:
            self.gateway.learn(batch["schema"])
        if batch["base_ms"] < 10**12:
            return
        history = self.gateway.told["history"]
        if history and history[-1][1] == "revoked" and batch["base_ms"] > history[-1][0]:
            self.note("after_revocation", batch["seq"])
        self.start = batch["base_ms"] if self.start is None else self.start
        self.reached = max(batch["base_ms"], self.reached or 0)

    def decode(self, batch):
        if batch is None or "done" in batch:
            return
        batch["done"] = True
        schema = self.gateway.schemas.get(batch["schema_id"])
        try:
            tables = [read_table(table, batch["base_ms"]) for table in batch["coded"]]
            need(not tables or min(min(table[1]) for table in tables) == batch["base_ms"], "", "")
            for table in batch["coded"] if schema is not None else ():
                need(table[0] < len(schema) and len(table[5]) == len(schema[table[0]][2]), "", "")
        except Refused:
            self.note("columns", batch["seq"])
            return
        for instrument, times, trust, channels in tables:
            dated = [t for t, how in zip(times, trust) if how < 3]
            self.last_row = max([*dated, *([] if self.last_row is None else [self.last_row])], default=None)
            if schema is None:
                continue
            for (quantity, unit, scale), (marks, values) in zip(schema[instrument][2], channels):
                known = quantity in ("import_active_energy", "export_active_energy") and unit in ("Wh", "kWh", "MWh")
                good = [(t, v) for t, how, m, v in zip(times, trust, marks, values) if how < 3 and m == 0]
                for when, value in good if known else ():
                    stay = self.all.places.where(self.gateway.told["id"], when)
                    key = (schema[instrument][0], quantity, unit, scale), stay
                    self.gateway.registers.setdefault(key, []).append((when, value))

    def completeness(self):
        seqs = [batch["seq"] for batch in self.batches]
        for a, b in pairwise(seqs):
            self.explain(range(a + 1, b))
        listed = [range(first, last + 1) for first, last in self.told["runs"]]
        for run in listed:
            ends = (run,) if not seqs else (run[: max(seqs[0] - run[0], 0)], run[max(seqs[-1] + 1 - run[0], 0) :])
            for part in ends:
                if part:
                    self.missing(part[0], part[-1])
        told = self.all.told
        if not seqs or told["class"] == "lot":
            self.end = "lot"
            return
        begun = told["from_ms"] is not None and self.start is not None and self.start <= told["from_ms"]
        if seqs[0] and not begun:
            self.note("start_unproven", seqs[0])
        top = max(self.beats, default=None, key=lambda b: (b["boot"], b["seq"], b["sampled"]))
        if top and top["seq"] == seqs[-1] + 1:
            self.end = "beat"
            self.proven = top["time_ms"] if top["trust"] < 3 and top["time_ms"] >= 10**12 else None
        elif told["to_ms"] is not None and (self.reached or 0) >= told["to_ms"]:
            self.end, self.proven = "goes on", told["to_ms"]
        elif top and top["seq"] > seqs[-1] + 1:
            rest = [s for s in range(seqs[-1] + 1, top["seq"]) if not any(a <= s <= b for a, b in self.signed)]
            self.end = "missing" if rest else "beat"
            if rest:
                self.note("tail_missing", f"{seqs[-1] + 1}-{top['seq'] - 1}")
            self.gaps.append([seqs[-1] + 1, top["seq"] - 1, "tail"])
        else:
            beat = top["time_ms"] if top and top["trust"] < 3 and top["time_ms"] >= 10**12 else 0
            self.proven = max(beat, self.last_row or 0) or None
            end = told["made_ms"] if told["to_ms"] is None else told["to_ms"]
            if self.proven and end - self.proven <= 3_600_000:
                self.end = "open"
            else:
                self.note("tail_unproven", f"after {seqs[-1]}")

    def missing(self, first, last):
        self.note("batch_missing", f"{first}-{last}" if last > first else first)
        self.gaps.append([first, last, "not in the archive"])

    def explain(self, hole):
        parts = []
        for seq in hole:
            if any(a <= seq <= b for a, b in self.told["runs"]):
                why = "not in the archive"
            elif any(a <= seq <= b for a, b in self.signed):
                why = "signed"
            else:
                free = "other lots" if self.all.told["class"] == "lot" else "unexplained"
                why = "set aside" if seq in self.told["set_aside"] else free
            if parts and parts[-1][2] == why:
                parts[-1][1] = seq
            else:
                parts.append([seq, seq, why])
        reasons = {"not in the archive": "batch_missing", "set aside": "set_aside", "unexplained": "hole"}
        for first, last, why in parts:
            if why in reasons:
                self.note(reasons[why], f"{first}-{last}" if last > first else first)
            self.gaps.append([first, last, why])

    def summary(self):
        seqs = [batch["seq"] for batch in self.batches] or [None]
        return {
            "epoch": self.told["epoch"].hex(), "first_seq": seqs[0], "last_seq": seqs[-1], "batches": len(self.batches),
            "from_ms": self.start, "to_ms": self.last_row, "end": self.end if self.batches else "empty",
            "proven_ms": self.proven, "gaps": self.gaps[:1000],
        }  # fmt: skip


def verdict(data, named=()):
    return Verifier(data, named).verdict()

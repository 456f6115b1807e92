"""The second verifier's reader of lots, written from lib/SPEC.md 15.3 alone: it imports nothing of Parkgate. It keeps a
table of facts about each entry, where audit.py keeps objects that change."""

from decimal import Decimal

from independent_columns import Refused, need
from independent_statement import shaped
from independent_verifier import UINT, canonical, is_a

WORDS = ("by hand", "shift ended", "idle", "journal lost")
COUNTERS = ("piece_count", "cycle_count", "pulse_count")


def read(data):
    try:
        need(data is not None and len(data) <= 2 << 20, "", "")
        said = canonical(data)
        need(shaped(said, {"lot": str, "form": str, "jobs": list, "outside": list}), "", "")
        need(said["form"] == "parkgate lots 1" and len(said["jobs"]) <= 1000, "", "")
        need(all(type(lot) is str for lot in said["outside"]), "", "")
        for job in said["jobs"]:
            need(is_a(job, [str, 32, 16, UINT, UINT, UINT, job[6:7] and type(job[6]), list, list]), "", "")
            need(job[4] <= job[5] and type(job[6]) in (int, type(None)), "", "")
            need(all(is_a(pair, [int, int]) for pair in job[7]), "", "")
            for figure in job[8]:
                need(type(figure) is list and len(figure) == 4 and is_a(figure[:3], [str, str, str]), "", "")
                need(type(figure[3]) in (str, type(None)), "", "")
        places = [tuple(job[1:4]) for job in said["jobs"]]
        need(len(places) == len(set(places)), "", "")
    except (Refused, TypeError, IndexError):
        return None
    return said


def entry_of(event):
    """The entry that an event is, as a map; None for any other."""
    if len(event) < 9 or event[0] != 33 or any(type(n) is not int for n in event[1:6]):
        return None
    names = ("what", "station", "number", "time", "trust", "job", "detail", "age")
    entry = {**dict(zip(names, event[1:9])), "registers": event[9:]}
    what, detail = entry["what"], entry["detail"]
    if not 0 <= what <= 9 or entry["number"] < 1:
        return None
    if any(type(n) not in (int, type(None)) for n in [entry["age"], *entry["registers"]]):
        return None
    if type(entry["job"]) is not (str if what == 1 else int):
        return None
    if what == 0:
        good = is_a(detail, [str, list]) and all(type(name) is str for name in detail[1])
    elif what == 4:
        good = is_a(detail, [int, int])
    elif what == 9:
        good = type(detail) is list and type(detail[:1] and detail[0]) is int
        good = good and is_a(detail[1:], {0: [], 1: [int], 2: [str], 3: [int]}.get(detail[0], [None]))
    else:
        good = type(detail) is (str if what in (5, 6, 7) else int)
    return entry if good else None


def split_name(name):
    head, dot, tail = name.rpartition(".")
    return (head, tail) if dot else ("", name)


def rising(found, newest):
    """The entries of which each has a higher number than the one before."""
    for entry in found:
        if entry is not None and entry["number"] > newest:
            newest = entry["number"]
            yield entry


def corrections_of(batches):
    """(number, what) → value, over all batches of a chain."""
    made = {}
    for entry in rising((entry_of(e) for batch in batches for e in batch["events"]), 0):
        if entry["what"] == 9:
            made[entry["job"], entry["detail"][0]] = entry["detail"][1] if len(entry["detail"]) > 1 else True
    return made


class Told:
    """A window as a list of rows; each row is an entry with what was known behind it."""

    def __init__(self, batches, fixes):
        self.fixes, self.rows, self.jobs, self.names = fixes, [], {}, {}
        named, is_open, newest, self.whole = {}, [], None, True
        pending = []  # events of counters since the last row
        for batch in batches:
            for event in batch["events"]:
                if event[0] == 9 and len(event) == 7 and is_a(event[1:3], [str, str]):
                    pending.append((event[1], event[2]))
                    continue
                entry = entry_of(event)
                if entry is None or newest is not None and entry["number"] <= newest:
                    continue
                self.whole = self.whole and newest in (None, entry["number"] - 1)
                newest = entry["number"]
                if entry["what"] == 0:
                    self.names[entry["station"]] = entry["detail"][0]
                    named[entry["station"]] = [split_name(name) for name in entry["detail"][1]]
                else:
                    self.change(entry, is_open)
                self.rows.append({
                    **entry, "named": named.get(entry["station"], []), "open": sorted(is_open), "counters": pending,
                    "schema": batch["schema_id"],
                })  # fmt: skip
                pending = []

    def void(self, number):
        return (number, 0) in self.fixes

    def fixed(self, number):
        return {what: value for (about, what), value in self.fixes.items() if about == number}

    def new(self, number, station, lot, **more):
        self.jobs[number] = {
            "number": number, "station": station, "lot": lot, "start": None, "row": None, "end": None, "stop": None,
            "last": None, "machine": False, "corrected": False, "estimated": False, "pieces": 0, "scrap": {},
            "took": [], "gave": [], **more,
        }  # fmt: skip

    def change(self, entry, is_open):
        number, what, detail = entry["number"], entry["what"], entry["detail"]
        if what in (7, 8, 9) or self.void(number):
            return
        fix = self.fixed(number)
        if what == 1:
            self.new(number, entry["station"], fix.get(2, entry["job"]), start=fix.get(3, entry["time"]),
                     row=len(self.rows), machine=detail == 1, corrected=bool(fix), estimated=3 in fix)  # fmt: skip
            if number not in is_open:
                is_open.append(number)
            return
        about = entry["job"]
        if self.void(about):
            return
        if about not in self.jobs:
            self.new(about, entry["station"], None)
            is_open.append(about)
        if about not in is_open:
            return
        job = self.jobs[about]
        job["corrected"] |= bool(fix)
        if what == 2:
            is_open.remove(about)
            why = detail if detail in range(4) else 0
            job.update(
                stop=why, end=fix.get(3, entry["time"]), last=len(self.rows), estimated=job["estimated"] or 3 in fix
            )
        elif what == 3 and not job["machine"]:
            job["pieces"] += fix.get(1, detail)
        elif what == 4:
            job["scrap"][detail[0]] = job["scrap"].get(detail[0], 0) + fix.get(1, detail[1])
        elif what in (5, 6):
            job["took" if what == 5 else "gave"].append(fix.get(2, detail))

    def grown(self, job, register):
        """(steps or None, shared)."""
        bound = {row["station"] for row in self.rows if register in row["named"]}
        held, shared, total, jumped, at = None, False, 0, False, None
        for row in self.rows[job["row"] : job["last"] + 1]:
            jumped = jumped or register in row["counters"]
            here = [n for n in row["open"] if self.jobs[n]["station"] in bound]
            value = None
            if register in row["named"] and row["what"] in range(1, 9):
                value = ([*row["registers"], *[None] * 99])[row["named"].index(register)]
            if value is None:
                if held is None or here != held[1]:
                    return None, shared
                continue
            if held is not None:
                step, who = value - held[0], held[1]
                if step < 0 or jumped or None in [self.jobs[n]["lot"] for n in who]:
                    return None, shared
                whole, rest = divmod(step, len(who))
                total += whole + (1 if who.index(job["number"]) < rest else 0)
                shared |= len(who) > 1
            held, jumped, at = (value, here), False, row["number"]
        return (total if held and at == self.rows[job["last"]]["number"] else None), shared


def digits(steps, scale):
    return None if steps is None else format(Decimal(steps).scaleb(-scale), "f")


def check(all_of_it):
    """The map `lots` of the verdict, with the faults noted."""
    said = read(all_of_it.files.get("lots.cbor"))
    if said is None:
        all_of_it.note("lot_malformed", "")
        return {"lot": "", "rule": "equal", "jobs": [], "outside": [], "made_of": [], "totals": []}
    chains = {(g.told["id"], c.told["epoch"]): c for g in all_of_it.all_gateways for c in g.chains}
    rows, pairs, own = [], set(), []
    for listed in said["jobs"]:
        row = one(all_of_it, chains.get((listed[1], listed[2])), listed, pairs, own)
        rows += [row] if row else []
    jobs = {row["lot"] for row in rows}
    reached = {said["lot"]}
    while more := {source for target, source in pairs if target in reached} - reached:
        reached |= more
    made = jobs | {target for target, source in pairs if source in jobs}
    for lot in sorted((jobs - reached) | ({said["lot"]} - made)):
        all_of_it.note("lot_differs", lot)
    for lot in sorted(reached - made - set(said["outside"]) - {said["lot"]}):
        all_of_it.note("lot_genealogy", lot)
    sums = {}
    for lot, quantity, unit, scale, steps in own:
        if lot == said["lot"]:
            sums.setdefault((quantity, unit, scale), []).append(steps)
    totals = [
        {"quantity": quantity, "unit": unit, "amount": None if None in parts else digits(sum(parts), scale)}
        for (quantity, unit, scale), parts in sums.items()
    ]
    return {
        "lot": said["lot"], "rule": "equal", "jobs": rows, "outside": said["outside"], "totals": totals,
        "made_of": [list(pair) for pair in sorted(pairs) if pair[0] in reached],
    }  # fmt: skip


def one(all_of_it, chain, listed, pairs, own):
    lot, gateway, epoch, number, first, last, pieces, scrap, figures = listed
    where = f"{gateway.hex()[:16]} {epoch.hex()[:8]} entry {number}"
    batches = [b for b in chain.batches if b["seq"] in range(first, last + 1)] if chain else []
    told = Told(batches, corrections_of(chain.batches) if chain else {})
    job = told.jobs.get(number)
    if job is None or job["row"] is None or job["station"] not in told.names:
        all_of_it.note("lot_entry_missing", where)
        return None
    whole = told.whole and len(batches) == last + 1 - first
    for reason, fault in (("lot_gap", not whole), ("lot_open", job["stop"] is None)):
        if fault:
            all_of_it.note(reason, where)
    over = job["row"] if job["last"] is None else job["last"]
    shown, counted = [], {}
    for register in told.rows[job["row"]]["named"]:
        units = []
        for row in told.rows[job["row"] : over + 1]:
            channels = [
                (name, *c)
                for name, _, all_channels in chain.gateway.schemas.get(row["schema"], ())
                for c in all_channels
            ]
            units.append(next((c[2:] for c in channels if c[:2] == register), None))
        steps, shared = told.grown(job, register) if whole and job["stop"] is not None else (None, False)
        steps = None if units[0] is None or len(set(units)) > 1 else steps
        unit, scale = units[0] or ("", 0)
        counted.setdefault(register[1], steps)
        own.append((job["lot"], register[1], unit, scale, steps))
        shown.append({
            "instrument": register[0], "quantity": register[1], "unit": unit, "amount": digits(steps, scale),
            "shared": shared, "basis": "estimated" if job["estimated"] else "measured",
        })  # fmt: skip
    if job["machine"]:
        job["pieces"] = next((counted[name] for name in COUNTERS if name in counted), None)
    waste = [[reason, job["scrap"][reason]] for reason in sorted(job["scrap"])]
    untold = not whole or job["stop"] is None
    for reason, same in (
        ("lot_differs", job["lot"] == lot), ("lot_counts", untold or [job["pieces"], waste] == [pieces, scrap]),
        ("lot_figures", untold or figures == [[s["instrument"], s["quantity"], s["unit"], s["amount"]] for s in shown]),
    ):  # fmt: skip
        if not same:
            all_of_it.note(reason, where)
    pairs |= {(job["lot"], source) for source in job["took"]} | {(target, job["lot"]) for target in job["gave"]}
    marks = (
        ("forgotten", job["stop"] not in (None, 0)),
        ("corrected", job["corrected"]),
        ("estimated", job["estimated"]),
    )
    return {
        "lot": job["lot"], "gateway": gateway.hex(), "epoch": epoch.hex(), "number": number,
        "station": told.names[job["station"]], "start_ms": job["start"], "end_ms": job["end"],
        "stop": None if job["stop"] is None else WORDS[job["stop"]], "flags": [name for name, holds in marks if holds],
        "counted_by": "machine" if job["machine"] else "hand", "pieces": job["pieces"], "scrap": waste, "whole": whole,
        "first_seq": first, "last_seq": last, "figures": shown,
    }  # fmt: skip

"""Places and exchanges, from the statements of a hub, written from lib/SPEC.md 13.9 and 14.5 alone."""

from independent_energy import between

TABLE = {
    "place added": "name", "place renamed": "before=name name", "place closed": "", "gateway placed": "gateway from_ms",
    "gateway taken away": "gateway to_ms", "replaced": "before gateway at_ms registers",
    "exchange read": "before gateway at_ms registers",
}  # fmt: skip


def number(item):
    return type(item) is int and 0 <= item < 2**62


def octets(item, size):
    return type(item) is bytes and len(item) == size


def text(item):
    return type(item) is str


def registers(item):
    def good(line):
        if type(line) is not list or len(line) != 8 or not all(map(text, line[:3])):
            return False
        if type(line[3]) is not int or not number(line[4]) or type(line[5]) is not int:
            return False
        return line[6:] == [None, None] or (number(line[6]) and type(line[7]) is int)

    return type(item) is list and all(map(good, item))


FORMS = {"name": text, "before=name": text, "registers": registers, "from_ms": number, "to_ms": number, "at_ms": number}


class Places:
    def __init__(self):
        self.by_id, self.stays, self.exchanges = {}, [], []

    def read(self, digest, place_in_file, said, facts):
        """The faults of one statement of the hub, as 14.6 calls them."""
        kind = said["kind"]
        if kind not in TABLE:
            return
        wanted = TABLE[kind].split()
        if kind == "place added" and "gateway" in facts:
            wanted += ["gateway", "from_ms"]
        good = octets(facts.get("place"), 16)
        good = good and "prior" in facts and (facts["prior"] is None or octets(facts["prior"], 32))
        for name in wanted:
            form = FORMS.get(name, lambda fact: octets(fact, 32))
            good = good and form(facts.get(name.partition("=")[0]))
        if not good:
            yield "place_conflict"
            return
        place = facts["place"]
        fresh = place not in self.by_id
        mine = self.by_id.setdefault(place, {"id": place, "names": [], "last": None})
        if kind == "place added" and not fresh:
            yield "place_conflict"
        elif (kind == "place added") != fresh or facts["prior"] != mine["last"]:
            yield "place_unlinked"
        mine["last"] = digest
        if "name" in facts:
            mine["names"].append({"unix_ms": said["unix_ms"], "name": facts["name"]})
        if kind == "gateway taken away":
            yield from self.leave(place, facts["gateway"], facts["to_ms"])
        if kind == "replaced":
            yield from self.leave(place, facts["before"], facts["at_ms"])
            yield from self.come(place, facts["gateway"], facts["at_ms"])
        if kind in ("place added", "gateway placed") and "from_ms" in wanted:
            yield from self.come(place, facts["gateway"], facts["from_ms"])
        if "registers" in wanted:
            self.exchanges.append({**facts, "kind": kind, "number": place_in_file})

    def leave(self, place, gateway, moment):
        for stay in self.stays:
            if (stay["place"], stay["gateway"], stay["to_ms"]) == (place, gateway, None) and stay["from_ms"] <= moment:
                stay["to_ms"] = moment
                return
        yield "place_conflict"

    def come(self, place, gateway, moment):
        here = [stay["to_ms"] for stay in self.stays if stay["place"] == place]
        elsewhere = [stay for stay in self.stays if stay["gateway"] == gateway and stay["to_ms"] is None]
        if elsewhere or any(end is None or end > moment for end in here):
            yield "place_conflict"
        else:
            self.stays.append({"place": place, "gateway": gateway, "from_ms": moment, "to_ms": None})

    def edges(self, gateway):
        mine = [stay for stay in self.stays if stay["gateway"] == gateway]
        return {stay[end] for stay in mine for end in ("from_ms", "to_ms")} - {None}

    def where(self, gateway, moment):
        for n, stay in enumerate(self.stays):
            if (
                stay["gateway"] == gateway
                and stay["from_ms"] <= moment
                and (stay["to_ms"] is None or moment < stay["to_ms"])
            ):
                return n
        return None

    def summary(self):
        def some(item, names):
            return {name: item[name].hex() if type(item[name]) is bytes else item[name] for name in names}

        return [
            {
                "id": place.hex(), "names": mine["names"],
                "stays": [some(s, ("gateway", "from_ms", "to_ms")) for s in self.stays if s["place"] == place],
                "exchanges": [
                    some(e, ("before", "gateway", "at_ms"))
                    for e in self.exchanges if e["place"] == place and e["kind"] == "replaced"
                ],
            }
            for place, mine in self.by_id.items()
        ]  # fmt: skip


def check_exchanges(all_of_it):  # 13.9, 14.5
    by_id = {gateway.told["id"]: gateway for gateway in all_of_it.all_gateways}
    for change in all_of_it.places.exchanges:
        sides = []
        for name, edge in (("before", "to_ms"), ("gateway", "from_ms")):
            gateway, registers = by_id.get(change[name]), {}
            for (register, stay), read in gateway.registers.items() if gateway else ():
                stood = None if stay is None else all_of_it.places.stays[stay]
                if stood and stood["place"] == change["place"] and stood[edge] == change["at_ms"]:
                    registers[register] = read
            sides.append((gateway, registers))
        (old, left), (new, came) = sides
        for line in change["registers"]:
            register = tuple(line[:4])
            last, first = (side.get(register, []) for side in (left, came))
            wrong = last and (max(r[0] for r in last) == line[4]) and last_of(last)[1] != line[5]
            least = min(first, key=lambda r: r[0]) if first else None
            if wrong or (least and least[0] == line[6] and least[1] != line[7]):
                all_of_it.note("exchange_differs", f"statement #{change['number']} {line[0]} {line[1]}")
        for register, read in left.items() if change["kind"] == "replaced" else ():
            if register in came:
                a, b = last_of(read), min(came[register], key=lambda r: r[0])
                if b[0] > a[0]:
                    row = between(register, a, b, old.counter_events + new.counter_events)
                    ids = {name: change[name].hex() for name in ("gateway", "before", "place")}
                    all_of_it.energy.append({**ids, **row})


def last_of(read):
    top = max(r[0] for r in read)
    return [r for r in read if r[0] == top][-1]

"""Meter profiles: checked data in, a compact plan of reads out.

A profile is one JSON file a meter, in the words of its manual; SPEC, "Meter profiles" has the schema. `load`
checks all that can be wrong in it and keeps only what the wanted channels need: the file can be dropped.

    profile = load(json.load(file), "eastron-sdm630", channels=("voltage_l1", "import_active_energy"))
    profile.channels            Channel objects in the order of the sample's readings
    profile.plan.blocks         the reads to make, each with function, address, count
    profile.plan.decode(i, reply.data, values, qualities)   fills the readings that block i holds
    profile.plan.refused(i)     after an exception reply "illegal address": splits or drops block i
    profile.plan.finish(values, qualities)                  the channels, once all blocks were tried

Two sources may disagree about a meter. Then the file describes one reading of the facts and offers the
others as variants; a variant is chosen as "name+variant".

A channel's scale is the meter's own resolution where registers are whole numbers, so every value is kept
to its last digit; for floats it is the quantity's usual scale, or `scales` in the file says another.
"""

from parkgate.errors import ProfileError

from .profile import rows as _rows

CHANNELS_MAX = 64
ADDRESS_MAX = _rows.ADDRESS_MAX
_AUXILIARIES_MAX = 24
_WRITES_MAX = 4
_PAGES_MAX = 6
_BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
PROTOCOLS = ("modbus", "dlt645")
_ABOVE_MAX = ("refusal", "silence", "nonsense")

# name → (type, needed). A row of `registers` is [quantity, address, type, decimals, unit, manual's words, {options}].
_FIELDS = {
    "meter": (str, True),
    "manual": (str, True),
    "sources": (list, True),
    "licences": (list, True),
    "single_source": (bool, False),
    "notes": (list, False),
    "protocol": (str, False),
    "line": (dict, False),
    "function": (int, True),
    "order": (str, True),
    "registers_max": (int, False),
    "above_max": (str, False),
    "gap_max": (int, False),
    "forbidden": (list, False),
    "not_available": (dict, False),
    "side": (str, False),
    "ratio": (dict, False),
    "auxiliary": (list, False),
    "unlock": (list, False),
    "pages": (dict, False),
    "sunspec": (dict, False),
    "usual": (list, True),
    "scales": (dict, False),
    "rollover": (None, False),
    "ratings": (dict, False),
    "registers": (list, True),
    "variants": (dict, False),
}
_VARIANT_FIELDS = (
    "why", "function", "order", "line", "registers_max", "above_max", "gap_max", "not_available", "side", "ratio",
    "auxiliary", "unlock", "pages", "scales", "rollover", "registers", "without", "usual",
)  # fmt: skip
_NOT_FOR_DLT645 = ("function", "order", "registers_max", "above_max", "gap_max", "forbidden", "not_available")
_NOT_FOR_DLT645 += ("unlock", "pages", "auxiliary", "sunspec")
_LINE = {
    "baud": _BAUDS,
    "parity": ("N", "E", "O"),
    "stop_bits": (1, 2),
    "reply_timeout_ms": (20, 5000),
    "rest_ms": (0, 5000),
}
_RANGES = ("reply_timeout_ms", "rest_ms")


class Profile:
    """A meter as the gateway reads it.

    `name`, `meter`, `protocol`, `channels` and `plan`; `line` (baud, parity, stop_bits, reply_timeout_ms, rest_ms
    where known), `rest_ms` and `reply_timeout_ms` (0: unknown), `registers_max`, `above_max` (what a larger read gets:
    "refusal", "silence" or "nonsense"), `ratings`; `content_id`: 32 hexadecimal digits that name what is applied."""

    def __init__(self, name, document, channels, plan):
        self.name = name
        self.meter = document["meter"]
        self.protocol = document.get("protocol", PROTOCOLS[0])
        self.line = document.get("line", {})
        self.rest_ms = self.line.get("rest_ms", 0)
        self.reply_timeout_ms = self.line.get("reply_timeout_ms", 0)
        self.registers_max = document.get("registers_max", _rows.REGISTERS_A_REQUEST_MAX)
        self.above_max = document.get("above_max", _ABOVE_MAX[0])
        self.ratings = document.get("ratings", {})
        self.channels = channels
        self.plan = plan
        self.content_id = self.ratio_words = ""

    def schema(self):
        """[[quantity, unit, scale], …] of the channels, as a batch's schema wants it."""
        return [[channel.quantity, channel.unit, channel.scale] for channel in self.channels]

    def words(self):
        """What the schema says of it: name, id of the content, and the transformer ratios that were applied."""
        return "%s %s%s" % (self.name, self.content_id, self.ratio_words)


def split_name(name):
    """("file", "variant") of a profile's name; the variant is "" without a plus sign."""
    at = name.find("+")
    return (name, "") if at < 0 else (name[:at], name[at + 1 :])


def load(document, name, channels=(), ct_ratio="", vt_ratio=""):
    """Check a parsed profile file and compile it for the wanted channels (empty: the file's usual ones).

    `name` is the file's name without .json, with "+variant" where one is wanted. `ct_ratio` and `vt_ratio` are those
    of the settings, "100:5" or "20" ("": not set). Raises ProfileError that names the file, the entry and what to do.
    """
    file_name, variant = split_name(name)
    usual = document.get("usual", ()) if type(document) is dict else ()
    found = check(document, file_name, () if variant else channels or usual)
    if variant:
        if variant not in document.get("variants", {}):
            raise ProfileError(
                "%s: there is no variant %r; there are: %s"
                % (file_name, variant, ", ".join(sorted(document.get("variants", {}))) or "none")
            )
        document = with_variant(document, variant)
        found = _check_rows(document, name, channels or document["usual"])
    wanted = list(channels) or document["usual"]
    by_name = {row.quantity: row for row in found}
    del found
    for quantity in wanted:
        if quantity not in by_name:
            raise ProfileError(
                "%s: it has no %r; choose among: %s"
                % (name, quantity, ", ".join([row[0] for row in document["registers"]]))
            )
    if len(wanted) > CHANNELS_MAX or len(set(wanted)) != len(wanted):
        raise ProfileError("%s: want at most %d channels, each once" % (name, CHANNELS_MAX))
    chosen = [by_name[quantity] for quantity in wanted]
    del by_name
    return _compile(document, name, chosen, ct_ratio, vt_ratio)


def _compile(document, name, chosen, ct_ratio, vt_ratio):
    from .profile import compiling

    given = {}
    for ratio, text in (("ct", ct_ratio), ("vt", vt_ratio)):
        pair = compiling.ratio_of(text, "%s: %s_ratio" % (name, ratio))
        if pair:
            given[ratio] = pair
            if not any([ratio in compiling.ratio_sources(document, channel, given) for channel in chosen]):
                raise ProfileError(
                    "%s: %s_ratio: none of its channels takes one (their values are primary-side); remove it"
                    % (name, ratio)
                )
    names = compiling.auxiliaries_of(document, chosen, given)
    more = [_rows.check_row(document, name, row, True) for row in document.get("auxiliary", ()) if row[0] in names]
    places = {channel.quantity: len(chosen) + i for i, channel in enumerate(more)}
    by_place, entries, sources, shown = {}, [], {}, {}
    for channel in chosen + more:
        rule, code = compiling.rule_of(document, channel, places, given)
        if rule:
            by_place[len(entries)] = rule
        entries.append((channel.address, code, channel.exponent or 0))
    for channel in chosen:
        for ratio, source in compiling.ratio_sources(document, channel, given).items():
            shown[ratio] = source
            if type(source) is not tuple and source != compiling.SET:
                sides = source if type(source) is list else [source, 1]
                sources[ratio] = tuple([(1, s) if type(s) is int else (0, places[s]) for s in sides])
    profile = Profile(name, document, chosen, _plan(document, entries, len(chosen), by_place, sources))
    digest = compiling.ContentHash()
    digest.put(document, chosen, more, given)
    profile.content_id = digest.text()
    for ratio in sorted(shown):
        source = shown[ratio]
        words = "not set, secondary side" if source == compiling.SET else "from registers"
        profile.ratio_words += ", %s %s" % (ratio, "%d:%d" % source if type(source) is tuple else words)
    for channel in chosen:
        channel.row = None  # the file can go
    return profile


def _plan(document, entries, channels, by_place, sources):
    if document.get("protocol") == "dlt645":
        from .dlt645.plan import Dlt645Plan

        return Dlt645Plan(entries, channels, _rules(by_place, channels, sources))
    from .read_plan import ReadPlan

    pages = document.get("pages", {})
    return ReadPlan(
        entries,
        document.get("registers_max", _rows.REGISTERS_A_REQUEST_MAX),
        document.get("gap_max", 0),
        document.get("forbidden", ()),
        channels,
        _rules(by_place, channels, sources),
        tuple([_pairs(pages[page]) for page in sorted(pages)]),
        _pairs(document.get("unlock", ())),
    )


def _rules(by_place, channels, sources):
    if not by_place:
        return None
    from .profile.rules import Rules

    return Rules(by_place, channels, sources)


def _pairs(writes):
    return tuple([tuple(write) for write in writes])


def check(document, name, wanted=None):
    """Check a whole profile file with all its variants; the rows as Channel objects (those of `wanted` quantities where
    given: a board has no room for all). Raises ProfileError."""
    if not isinstance(document, dict):
        raise ProfileError("%s: must be one JSON object" % name)
    for field in document:
        if field not in _FIELDS:
            raise ProfileError("%s: unknown field %r; remove it" % (name, field))
    protocol = document.get("protocol", PROTOCOLS[0])
    if protocol not in PROTOCOLS:
        raise ProfileError("%s: protocol: %r; it is one of %s" % (name, protocol, ", ".join(PROTOCOLS)))
    dlt645 = protocol == "dlt645"
    for field, (kind, needed) in _FIELDS.items():
        if dlt645 and field in _NOT_FOR_DLT645:
            if field in document:
                raise ProfileError("%s: field %r is for Modbus; remove it" % (name, field))
            continue
        if needed and field not in document:
            raise ProfileError("%s: field %r is missing" % (name, field))
        if kind and field in document and type(document[field]) is not kind:
            raise ProfileError("%s: field %r must be of type %s" % (name, field, kind.__name__))
    for field in ("sources", "licences"):
        if not document[field]:
            raise ProfileError("%s: %s is empty; say where each fact is from" % (name, field))
    for field, kind in (("sources", str), ("licences", str), ("notes", str), ("usual", str), ("forbidden", list)):
        if any(type(item) is not kind for item in document.get(field, ())):
            raise ProfileError("%s: %s: each item must be of type %s" % (name, field, kind.__name__))
    for key in document.get("ratings", ()):
        if key != "power_max_w" or type(document["ratings"][key]) is not int or document["ratings"][key] <= 0:
            raise ProfileError("%s: ratings: unknown %r; there is power_max_w, a whole number above 0" % (name, key))
    found = _check_rows(document, name, wanted)
    for variant, change in document.get("variants", {}).items():
        where = "%s+%s" % (name, variant)
        if type(change) is not dict or type(change.get("why")) is not str:
            raise ProfileError('%s: a variant is an object that says why in "why"' % where)
        for field in change:
            if field not in _VARIANT_FIELDS:
                raise ProfileError(
                    "%s: unknown field %r; a variant may change: %s" % (where, field, ", ".join(_VARIANT_FIELDS))
                )
            kind = list if field == "without" else str if field == "why" else _FIELDS[field][0]
            if kind and type(change[field]) is not kind:
                raise ProfileError("%s: field %r must be of type %s" % (where, field, kind.__name__))
        for field in ("usual", "without"):
            if any(type(item) is not str for item in change.get(field, ())):
                raise ProfileError("%s: %s: each item must be of type str" % (where, field))
        _check_rows(with_variant(document, variant), where, ())
    _check_sunspec(document, name)
    return found


def with_variant(document, variant):
    """The profile as the variant has it: its fields and rows take the place of those of the same name."""
    change = document["variants"][variant]
    changed = dict(document)
    for field in change:
        if field not in ("why", "without", "registers", "auxiliary"):
            changed[field] = change[field]
    without = change.get("without", ())
    changed["registers"] = _replaced(document["registers"], change.get("registers", ()), without)
    if "auxiliary" in change:
        changed["auxiliary"] = _replaced(document.get("auxiliary", ()), change["auxiliary"], ())
    changed["usual"] = [name for name in changed["usual"] if name not in without]
    for field in ("scales", "rollover"):
        if without and field not in change and type(changed.get(field)) is dict:
            changed[field] = {key: changed[field][key] for key in changed[field] if key not in without}
    return changed


def _replaced(before, offered, without):
    """The rows before with those offered in the place of their like, and the others behind."""
    replaced = {row[0]: row for row in offered if type(row) is list and row and type(row[0]) is str}
    kept = [
        replaced.pop(row[0], row) if type(row) is list and row and type(row[0]) is str else row
        for row in before
        if not (type(row) is list and row and row[0] in without)
    ]
    return kept + [row for row in offered if row not in kept]


def _check_rows(document, name, wanted):
    _check_fields(document, name)
    seen_auxiliaries = {}
    auxiliaries = document.get("auxiliary", ())
    if len(auxiliaries) > _AUXILIARIES_MAX:
        raise ProfileError("%s: auxiliary: at most %d" % (name, _AUXILIARIES_MAX))
    for index, row in enumerate(auxiliaries):
        where = "%s: auxiliary entry %d" % (name, index + 1)
        made = _rows.check_row(document, where, row, True)
        if made.quantity in seen_auxiliaries:
            raise ProfileError(
                "%s (%s): entry %d has the same name" % (where, made.quantity, seen_auxiliaries[made.quantity])
            )
        seen_auxiliaries[made.quantity] = index + 1
    _check_ratio(document, name, seen_auxiliaries)
    found = []
    seen = {}
    for index, row in enumerate(document["registers"]):
        entry = _rows.check_row(document, "%s: registers entry %d" % (name, index + 1), row)
        if entry.quantity in seen:
            raise ProfileError(
                "%s: registers entry %d (%s): entry %d is the same quantity; offer one of them as a variant"
                % (name, index + 1, entry.quantity, seen[entry.quantity] + 1)
            )
        seen[entry.quantity] = index
        if wanted is None or entry.quantity in wanted:
            found.append(entry)
    if not seen:
        raise ProfileError("%s: registers is empty" % name)
    for field in ("usual", "scales", "rollover"):
        items = document.get(field, ())
        for quantity in items if type(items) is not int else ():
            if quantity not in seen:
                raise ProfileError("%s: %s: %r is not among the registers" % (name, field, quantity))
    if not 0 < len(document["usual"]) <= CHANNELS_MAX or len(set(document["usual"])) != len(document["usual"]):
        raise ProfileError("%s: usual must name 1 to %d quantities, each once" % (name, CHANNELS_MAX))
    return found


def _check_fields(document, name):
    """What stands beside the rows."""
    if document.get("protocol", PROTOCOLS[0]) == PROTOCOLS[0]:
        _rows.check_function(name, document["function"])
        _rows.check_order(name, document["order"])
    for field, low, high in (("registers_max", 1, 125), ("gap_max", 0, 125)):
        if not low <= document.get(field, 1) <= high:
            raise ProfileError("%s: %s must be %d to %d" % (name, field, low, high))
    if document.get("above_max", "silence") not in _ABOVE_MAX:
        raise ProfileError("%s: above_max: %r; it is one of %s" % (name, document["above_max"], ", ".join(_ABOVE_MAX)))
    if document.get("side", _rows.SIDES[0]) not in _rows.SIDES:
        raise ProfileError("%s: side: %r; it is one of %s" % (name, document["side"], ", ".join(_rows.SIDES)))
    for pair in document.get("forbidden", ()):
        if not _is_pair(pair, 0, _rows.ADDRESS_MAX) or pair[0] > pair[1]:
            raise ProfileError("%s: forbidden: %r is not [first address, last address]" % (name, pair))
    line = document.get("line", {})
    for key in line:
        if key not in _LINE:
            raise ProfileError("%s: line: unknown %r; there are %s" % (name, key, ", ".join(sorted(_LINE))))
        allowed, value = _LINE[key], line[key]
        good = type(value) is type(allowed[0])
        if key in _RANGES:
            if not good or not allowed[0] <= value <= allowed[1]:
                raise ProfileError("%s: %s: %r; it is %d to %d" % (name, key, value, allowed[0], allowed[1]))
        elif not good or value not in allowed:
            raise ProfileError("%s: %s: %r; it is one of %s" % (name, key, value, ", ".join([str(a) for a in allowed])))
    _check_writes(name, "unlock", document.get("unlock", ()))
    pages = document.get("pages", {})
    if len(pages) > _PAGES_MAX:
        raise ProfileError("%s: pages: at most %d" % (name, _PAGES_MAX))
    for page in pages:
        if type(pages[page]) is not list or not pages[page]:
            raise ProfileError("%s: pages: %r is a list of [address, value]" % (name, page))
        _check_writes(name, "pages", pages[page])
    names = _rows.registers.type_names()
    for type_name in document.get("not_available", ()):
        if type_name not in names:
            raise ProfileError("%s: not_available: unknown type %r" % (name, type_name))
        patterns = _rows.not_available(document, "%s: %s" % (name, type_name), type_name, {})
        digits = 4 * _rows.registers.width(_rows.registers.layout(type_name))
        _rows.pattern_numbers(patterns or (), "%s: %s" % (name, type_name), type_name, digits)


def _is_pair(pair, low, high):
    return type(pair) is list and len(pair) == 2 and all([type(part) is int and low <= part <= high for part in pair])


def _check_writes(name, field, writes):
    if len(writes) > _WRITES_MAX:
        raise ProfileError("%s: %s: at most %d writes" % (name, field, _WRITES_MAX))
    for write in writes:
        if not _is_pair(write, 0, 0xFFFF):
            raise ProfileError("%s: %s: %r is not [holding register's address, value]" % (name, field, write))


def _check_ratio(document, name, auxiliaries):
    ratio = document.get("ratio", {})
    for key in ratio:
        if key not in ("ct", "vt"):
            raise ProfileError('%s: ratio: unknown %r; there are "ct" and "vt"' % (name, key))
        source = ratio[key]
        if source == "set":
            continue
        sides = source if type(source) is list else [source, 1]
        good = len(sides) == 2
        for side in sides:
            good = good and ((type(side) is int and side > 0) or (type(side) is str and side in auxiliaries))
        if not good or (type(sides[0]) is int and type(sides[1]) is int):
            raise ProfileError(
                '%s: ratio: %r is not "set", an auxiliary, or [primary, secondary] of auxiliaries and numbers'
                % (name, source)
            )
    secondary = document.get("side") == "secondary"
    for row in document["registers"]:
        secondary = secondary or (
            type(row) is list and len(row) > 6 and type(row[6]) is dict and row[6].get("side") == "secondary"
        )
    if ratio and not secondary:
        raise ProfileError("%s: ratio: no row is secondary-side; say side" % name)


def _check_sunspec(document, name):
    models = document.get("sunspec", {})
    for model in models:
        if not model.isdigit() or (models[model] != "" and models[model] not in document.get("variants", {})):
            raise ProfileError('%s: sunspec: %r is not a model\'s number with a variant (or "")' % (name, model))

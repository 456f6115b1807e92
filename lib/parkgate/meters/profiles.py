"""Meter profiles: checked data in, a compact plan of reads out.

A profile is one JSON file a meter, in the words of its manual; SPEC, "Meter profiles" has the schema. `load`
checks all that can be wrong in it and keeps only what the wanted channels need: the file can be dropped.

    profile = load(json.load(file), "eastron-sdm630", channels=("voltage_l1", "import_active_energy"))
    profile.channels            Channel objects in the order of the sample's readings
    profile.plan.blocks         the reads to make, each with function, address, count
    profile.plan.decode(i, reply.data, values, qualities)   fills the readings that block i holds
    profile.plan.refused(i)     after an exception reply "illegal address": splits or drops block i

Two sources may disagree about a meter. Then the file describes one reading of the facts and offers the
others as variants; a variant is chosen as "name+variant".

A channel's scale is the meter's own resolution where registers are whole numbers, so every value is kept
to its last digit; for floats it is the quantity's usual scale, or `scales` in the file says another.
"""

from parkgate import quantities
from parkgate.errors import ProfileError

from . import registers
from .read_plan import ReadPlan

CHANNELS_MAX = 64
SCALE_MIN, SCALE_MAX = -9, 9
ADDRESS_MAX = 0xFFFF
_READ_BITS, _READ_REGISTERS = (1, 2), (3, 4)
_REGISTERS_A_REQUEST_MAX = 125

# name → (type, needed). A row of `registers` is [quantity, address, type, decimals, unit, manual's words].
_FIELDS = {
    "meter": (str, True),
    "manual": (str, True),
    "sources": (list, True),
    "licences": (list, True),
    "notes": (list, False),
    "line": (dict, False),
    "function": (int, True),
    "order": (str, True),
    "registers_max": (int, False),
    "gap_max": (int, False),
    "forbidden": (list, False),
    "turnaround_ms": (int, False),
    "sentinel": (bool, False),
    "usual": (list, True),
    "scales": (dict, False),
    "rollover": (dict, False),
    "ratings": (dict, False),
    "registers": (list, True),
    "variants": (dict, False),
}
_VARIANT_FIELDS = (
    "why",
    "function",
    "order",
    "registers_max",
    "gap_max",
    "sentinel",
    "registers",
    "without",
    "usual",
)


class Channel:
    """One reading of a sample: value × 10^-scale in `unit`."""

    __slots__ = ("address", "code", "exponent", "quantity", "rollover", "scale", "unit", "wide")

    def __init__(self, quantity, scale, address, code, exponent, rollover):
        self.quantity = quantity.name
        self.unit = quantity.unit
        self.scale = scale
        self.address = address
        self.code = code
        self.exponent = exponent
        self.rollover = rollover
        self.wide = registers.width(code)


class Profile:
    """A meter as the gateway reads it: name, meter, line, turnaround_ms, ratings, channels and plan."""

    def __init__(self, name, document, channels, plan):
        self.name = name
        self.meter = document["meter"]
        self.line = document.get("line", {})
        self.turnaround_ms = document.get("turnaround_ms", 0)
        self.ratings = document.get("ratings", {})
        self.channels = channels
        self.plan = plan

    def schema(self):
        """[[quantity, unit, scale], …] of the channels, as a batch's schema wants it."""
        return [[channel.quantity, channel.unit, channel.scale] for channel in self.channels]


def split_name(name):
    """("file", "variant") of a profile's name; the variant is "" without a plus sign."""
    at = name.find("+")
    return (name, "") if at < 0 else (name[:at], name[at + 1 :])


def load(document, name, channels=()):
    """Check a parsed profile file and compile it for the wanted channels (empty: the file's usual ones).

    `name` is the file's name without .json, with "+variant" where one is wanted. Raises ProfileError that
    names the file, the entry and what to do.
    """
    file_name, variant = split_name(name)
    rows = check(document, file_name)
    if variant:
        if variant not in document.get("variants", {}):
            raise ProfileError(
                "%s: there is no variant %r; there are: %s"
                % (file_name, variant, ", ".join(sorted(document.get("variants", {}))) or "none")
            )
        document = with_variant(document, variant)
        rows = _check_rows(document, name)
    wanted = list(channels) or document["usual"]
    by_name = {row.quantity: row for row in rows}
    for quantity in wanted:
        if quantity not in by_name:
            raise ProfileError(
                "%s: it has no %r; choose among: %s" % (name, quantity, ", ".join(row.quantity for row in rows))
            )
    if len(wanted) > CHANNELS_MAX or len(set(wanted)) != len(wanted):
        raise ProfileError("%s: want at most %d channels, each once" % (name, CHANNELS_MAX))
    chosen = [by_name[quantity] for quantity in wanted]
    plan = ReadPlan(
        document["function"],
        [(row.address, row.code, row.exponent) for row in chosen],
        document.get("registers_max", _REGISTERS_A_REQUEST_MAX),
        document.get("gap_max", 0),
        document.get("forbidden", ()),
    )
    return Profile(name, document, chosen, plan)


def check(document, name):
    """Check a whole profile file with all its variants; the rows as Channel objects. Raises ProfileError."""
    if not isinstance(document, dict):
        raise ProfileError("%s: must be one JSON object" % name)
    for field in document:
        if field not in _FIELDS:
            raise ProfileError("%s: unknown field %r; remove it" % (name, field))
    for field, (kind, needed) in _FIELDS.items():
        if needed and field not in document:
            raise ProfileError("%s: field %r is missing" % (name, field))
        if field in document and type(document[field]) is not kind:
            raise ProfileError("%s: field %r must be of type %s" % (name, field, kind.__name__))
    for field in ("sources", "licences"):
        if not document[field]:
            raise ProfileError("%s: %s is empty; say where each fact is from" % (name, field))
    for field, kind in (("sources", str), ("licences", str), ("notes", str), ("usual", str), ("forbidden", list)):
        if any(type(item) is not kind for item in document.get(field, ())):
            raise ProfileError("%s: %s: each item must be of type %s" % (name, field, kind.__name__))
    for field, known in (("line", ("baud", "parity", "stop_bits")), ("ratings", ("power_max_w",))):
        for key in document.get(field, ()):
            if key not in known:
                raise ProfileError("%s: %s: unknown %r; there are %s" % (name, field, key, ", ".join(known)))
    rows = _check_rows(document, name)
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
            if type(change[field]) is not kind:
                raise ProfileError("%s: field %r must be of type %s" % (where, field, kind.__name__))
        if any(type(item) is not str for item in change.get("usual", ())):
            raise ProfileError("%s: usual: each item must be of type str" % where)
        _check_rows(with_variant(document, variant), where)
    return rows


def with_variant(document, variant):
    """The profile as the variant has it: its fields and rows take the place of those of the same name."""
    change = document["variants"][variant]
    changed = dict(document)
    for field in change:
        if field not in ("why", "without", "registers"):
            changed[field] = change[field]
    offered = change.get("registers", ())
    replaced = {row[0]: row for row in offered if type(row) is list and row and type(row[0]) is str}
    without = change.get("without", ())
    rows = [replaced.pop(row[0], row) for row in document["registers"] if row[0] not in without]
    changed["registers"] = rows + [row for row in offered if row not in rows]
    changed["usual"] = [name for name in changed["usual"] if name not in without]
    return changed


def _check_rows(document, name):
    function = document["function"]
    if function not in _READ_BITS + _READ_REGISTERS:
        raise ProfileError("%s: function: %r; registers are read with 3 or 4, bits with 1 or 2" % (name, function))
    if document["order"] not in registers.ORDERS:
        raise ProfileError("%s: order: %r; it is one of %s" % (name, document["order"], ", ".join(registers.ORDERS)))
    if not 1 <= document.get("registers_max", 1) <= _REGISTERS_A_REQUEST_MAX:
        raise ProfileError("%s: registers_max must be 1 to %d" % (name, _REGISTERS_A_REQUEST_MAX))
    if not 0 <= document.get("gap_max", 0) <= _REGISTERS_A_REQUEST_MAX:
        raise ProfileError("%s: gap_max must be 0 to %d registers" % (name, _REGISTERS_A_REQUEST_MAX))
    for pair in document.get("forbidden", ()):
        if (
            len(pair) != 2
            or type(pair[0]) is not int
            or type(pair[1]) is not int
            or not 0 <= pair[0] <= pair[1] <= ADDRESS_MAX
        ):
            raise ProfileError("%s: forbidden: %r is not [first address, last address]" % (name, pair))
    rows = []
    seen = {}
    for index, row in enumerate(document["registers"]):
        entry = _check_row(document, "%s: registers entry %d" % (name, index + 1), row)
        if entry.quantity in seen:
            raise ProfileError(
                "%s: registers entry %d (%s): entry %d is the same quantity; offer one of them as a variant"
                % (name, index + 1, entry.quantity, seen[entry.quantity] + 1)
            )
        seen[entry.quantity] = index
        rows.append(entry)
    if not rows:
        raise ProfileError("%s: registers is empty" % name)
    for field in ("usual", "scales", "rollover"):
        for quantity in document.get(field, ()):
            if quantity not in seen:
                raise ProfileError("%s: %s: %r is not among the registers" % (name, field, quantity))
    if not 0 < len(document["usual"]) <= CHANNELS_MAX or len(set(document["usual"])) != len(document["usual"]):
        raise ProfileError("%s: usual must name 1 to %d quantities, each once" % (name, CHANNELS_MAX))
    return rows


def _check_row(document, where, row):
    if type(row) is not list or len(row) != 6:
        raise ProfileError("%s: a row is [quantity, address, type, decimals, unit, manual's words]" % where)
    quantity_name, address, type_name, decimals, unit, words = row
    quantity = quantities.find(quantity_name) if type(quantity_name) is str else None
    if quantity is None:
        raise ProfileError("%s: unknown quantity %r; the names are in parkgate/quantities.py" % (where, quantity_name))
    where = "%s (%s)" % (where, quantity_name)
    if type(type_name) is not str:
        type_name = "%r" % (type_name,)
    code = registers.layout(type_name, document["order"], document.get("sentinel", False))
    if code is None:
        raise ProfileError("%s: unknown type %r; it is one of %s" % (where, type_name, ", ".join(registers.TYPE_NAMES)))
    if (registers.kind(code) == registers.BIT) != (document["function"] in _READ_BITS):
        raise ProfileError("%s: functions 1 and 2 read type bit and nothing else does" % where)
    if type(address) is not int or not 0 <= address <= ADDRESS_MAX + 1 - registers.width(code):
        raise ProfileError(
            "%s: impossible address %r; it is 0-based as on the wire, 0 to %d for this type"
            % (where, address, ADDRESS_MAX + 1 - registers.width(code))
        )
    for first, last in document.get("forbidden", ()):
        if address <= last and address + registers.width(code) > first:
            raise ProfileError("%s: address %d is in the forbidden range %d to %d" % (where, address, first, last))
    if registers.width(code) > document.get("registers_max", _REGISTERS_A_REQUEST_MAX):
        raise ProfileError("%s: it does not fit into registers_max" % where)
    if type(words) is not str:
        raise ProfileError("%s: the manual's words must be text" % where)
    unit_exponent = quantities.unit_exponent(unit, quantity.unit) if type(unit) is str else None
    if unit_exponent is None:
        raise ProfileError(
            "%s: wrong unit %r; this quantity is in %s (or k, M, m of it)" % (where, unit, quantity.unit)
        )
    if type(decimals) is not int or not SCALE_MIN <= decimals <= SCALE_MAX:
        raise ProfileError(
            "%s: wrong scale: decimals %r; value = register × 10^-decimals, %d to %d"
            % (where, decimals, SCALE_MIN, SCALE_MAX)
        )
    natural = decimals - unit_exponent
    scale = quantity.scale if registers.kind(code) == registers.FLOAT else natural
    scale = document.get("scales", {}).get(quantity_name, scale)
    if type(scale) is not int or not SCALE_MIN <= scale <= SCALE_MAX:
        raise ProfileError("%s: wrong scale %r; it is %d to %d" % (where, scale, SCALE_MIN, SCALE_MAX))
    if registers.kind(code) != registers.FLOAT and scale < natural:
        raise ProfileError("%s: wrong scale %d loses digits; the meter's own is %d" % (where, scale, natural))
    rollover = document.get("rollover", {}).get(quantity_name)
    if rollover is not None and (type(rollover) is not int or rollover <= 0 or not quantity.cumulative):
        raise ProfileError("%s: rollover is the register count at which a counter begins again" % where)
    if rollover is None and quantity.cumulative and registers.kind(code) in (registers.UNSIGNED, registers.BCD):
        bits = 16 * registers.width(code)
        rollover = 10 ** (bits // 4) if registers.kind(code) == registers.BCD else 1 << bits
    if rollover is not None:
        rollover = registers.times_power_of_ten(rollover, scale - natural)
    return Channel(quantity, scale, address, code, scale - natural, rollover)

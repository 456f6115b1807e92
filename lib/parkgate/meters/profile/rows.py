"""One row of a meter profile: checked, and compiled to what a read plan needs (SPEC 11.3)."""

from parkgate import quantities
from parkgate.errors import ProfileError
from parkgate.meters import registers

SCALE_MIN, SCALE_MAX = -9, 9
ADDRESS_MAX = 0xFFFF
REGISTERS_A_REQUEST_MAX = 125
READ_BITS, READ_REGISTERS = (1, 2), (3, 4)
SIDES = ("primary", "secondary")
_WHOLE_MAX = 10**12
_NAMES_MAX = 3
_PATTERNS_MAX = 8
_RATIOS = ("", "ct", "vt", "ct vt")
_RATIO_OF_UNIT = {
    "A": "ct", "V": "vt", "W": "ct vt", "var": "ct vt", "VA": "ct vt", "Wh": "ct vt", "varh": "ct vt", "VAh": "ct vt",
}  # fmt: skip
CODINGS = ("", "schneider_pf", "schneider_quadrant")  # places as rules.NO_CODING, PF, QUADRANT
DEPENDENCIES = ("plus", "times", "divided_by", "power_of_ten", "decimals_from")
_OF_ROWS = DEPENDENCIES + (
    "function", "order", "not_available", "factor", "offset", "bits", "coding", "page", "side", "ratio", "rollover",
)  # fmt: skip
_NOT_ALONE = DEPENDENCIES + ("factor", "offset", "bits", "coding", "page")
_OF_AUXILIARIES = ("function", "order", "not_available", "factor", "bits", "page", "map", "absent")
_ONLY_MODBUS = ("function", "order", "not_available", "bits", "coding", "page") + DEPENDENCIES
_NAN = {
    "float32": ("7F800001-7FFFFFFF", "FF800001-FFFFFFFF"),
    "float64": ("7FF0000000000001-7FFFFFFFFFFFFFFF", "FFF0000000000001-FFFFFFFFFFFFFFFF"),
}


class Channel:
    """One reading of a sample: value × 10^-scale in `unit`.

    `function`, `address`, `wide` (registers), `code` and `exponent` say how it is read; `alone`: code and exponent are
    enough to know it. `cumulative`: whether it is a counter; `rollover`: the value at which that begins again, None if
    unknown (`count`: the same in contents of its register); `step`: the least by which it can grow; `multiple`: the
    transformer ratio that it was multiplied by, (numerator, denominator), None where registers say it. `ratio`: names
    of the transformer ratios that apply ("", "ct", "vt", "ct vt"), `side`: "primary", "secondary" or "". `row` is the
    row of the profile."""

    __slots__ = (
        "address", "alone", "code", "count", "cumulative", "decimals", "exponent", "function", "multiple", "quantity",
        "ratio", "rollover", "row", "scale", "side", "step", "unit", "wide",
    )  # fmt: skip


def _dlt645():
    """The module of values of the other protocol, loaded only with a profile that speaks it."""
    from parkgate.meters.dlt645 import values

    return values


def options_of(row):
    """The options of a row, its seventh item."""
    return row[6] if len(row) > 6 else {}


def check_row(document, where, row, auxiliary=False):
    """The Channel of a row of `registers` (or of `auxiliary`). Raises ProfileError that begins with `where`."""
    if type(row) is not list or len(row) not in (6, 7):
        raise ProfileError(
            "%s: a row is [quantity, address, type, decimals, unit, manual's words], then {options} if needed" % where
        )
    name, address, type_name, decimals, unit, words = row[:6]
    if auxiliary:
        quantity = None
        if type(name) is not str or not name or not all([c in "abcdefghijklmnopqrstuvwxyz0123456789_" for c in name]):
            raise ProfileError("%s: name %r; an auxiliary's name is lower-case letters, digits and _" % (where, name))
    else:
        quantity = quantities.find(name) if type(name) is str else None
        if quantity is None:
            raise ProfileError("%s: unknown quantity %r; the names are in parkgate/quantities.py" % (where, name))
    where = "%s (%s)" % (where, name)
    options = options_of(row)
    modbus = document.get("protocol", "modbus") == "modbus"
    _check_options(document, where, options, auxiliary, modbus)
    made = Channel()
    made.row = row
    made.alone = not any([field in options for field in _NOT_ALONE])
    made.code = _layout(document, where, type_name, quantity, options)
    made.wide = registers.width(made.code)
    made.address, made.function = address, registers.function(made.code)
    if modbus:
        _check_address(document, where, made, address)
    else:
        made.address = _dlt645().check_identifier(where, address, made.code)
    if type(words) is not str:
        raise ProfileError("%s: the manual's words must be text" % where)
    base_unit = quantity.unit if quantity else "1"
    unit_exponent = quantities.unit_exponent(unit, base_unit) if type(unit) is str else None
    if unit_exponent is None:
        raise ProfileError("%s: wrong unit %r; this is in %s (or k, M, m of it)" % (where, unit, base_unit))
    if type(decimals) is not int or not SCALE_MIN <= decimals <= SCALE_MAX:
        raise ProfileError(
            "%s: wrong scale: decimals %r; value = register × 10^-decimals, %d to %d"
            % (where, decimals, SCALE_MIN, SCALE_MAX)
        )
    made.decimals = decimals
    made.quantity, made.unit = name, base_unit
    made.side = made.ratio = ""
    made.scale = made.exponent = made.count = made.rollover = None
    made.step, made.multiple, made.cumulative = 1, (1, 1), False
    if quantity:
        made.cumulative = quantity.cumulative
        _set_scale(document, where, made, quantity, decimals - unit_exponent, options)
        made.side = options.get("side", document.get("side", ""))
        made.ratio = options.get("ratio", _RATIO_OF_UNIT.get(base_unit, ""))
    return made


def _set_scale(document, where, made, quantity, natural, options):
    """Scale, exponent, rollover and step. `natural` is the scale in which a whole register loses nothing."""
    kind = registers.kind(made.code)
    exact = kind != registers.FLOAT or document.get("protocol") == "dlt645"
    moves = [field for field in ("factor", "power_of_ten", "decimals_from", "divided_by", "coding") if field in options]
    scale = quantity.scale if not exact or moves else natural
    scale = document.get("scales", {}).get(quantity.name, scale)
    if type(scale) is not int or not SCALE_MIN <= scale <= SCALE_MAX:
        raise ProfileError("%s: wrong scale %r; it is %d to %d" % (where, scale, SCALE_MIN, SCALE_MAX))
    if exact and not moves and scale < natural:
        raise ProfileError("%s: wrong scale %d loses digits; the meter's own is %d" % (where, scale, natural))
    made.scale, made.exponent = scale, scale - natural
    count = _rollover(document, where, quantity, options)
    if count is None and quantity.cumulative and made.function and not options.get("bits"):
        bits = 16 * made.wide
        if kind == registers.UNSIGNED and bits < 64:
            count = 1 << bits
        elif kind == registers.BCD or kind == registers.MODULO_10000:
            count = 10 ** (bits // 4)
    if count is None and quantity.cumulative and kind == registers.BCD and not made.function:
        count = _dlt645().rollover(made.code)
    made.count = count  # in contents; compiling makes the value's rollover of it


def _rollover(document, where, quantity, options):
    """The count that a row or the file names, None when neither does."""
    of_file = document.get("rollover", {})
    if "rollover" in options:
        count = options["rollover"]
    elif type(of_file) is dict:
        count = of_file.get(quantity.name)
    else:
        count = of_file if quantity.cumulative else None
    if count is not None and (type(count) is not int or count <= 0 or not quantity.cumulative):
        raise ProfileError("%s: rollover is the register count at which a counter begins again" % where)
    return count


def _check_options(document, where, options, auxiliary, modbus):
    if type(options) is not dict:
        raise ProfileError('%s: options are an object, such as {"order": "CDAB"}' % where)
    known = _OF_AUXILIARIES if auxiliary else _OF_ROWS
    for option in options:
        if option not in known:
            raise ProfileError("%s: unknown option %r; there are: %s" % (where, option, ", ".join(sorted(known))))
        if not modbus and option in _ONLY_MODBUS:
            raise ProfileError("%s: option %r is for Modbus" % (where, option))
        value = options[option]
        if option in DEPENDENCIES:
            names = value if type(value) is list else [value]
            if not 0 < len(names) <= (1 if option == "plus" else _NAMES_MAX):
                raise ProfileError("%s: %s: name 1 to %d auxiliaries" % (where, option, _NAMES_MAX))
            given = [row[0] for row in document.get("auxiliary", ()) if type(row) is list and row]
            for name in names:
                if name not in given:
                    raise ProfileError("%s: %s: %r is not among the auxiliaries" % (where, option, name))
        elif option in ("factor", "offset"):
            fraction(value, "%s: %s" % (where, option), option == "offset")
        elif option == "bits":
            if type(value) is not list or len(value) != 2 or type(value[0]) is not int or type(value[1]) is not int:
                raise ProfileError("%s: bits is [first, last]; bit 0 is the least significant" % where)
        elif option == "coding":
            if value not in CODINGS[1:]:
                raise ProfileError("%s: coding %r; it is one of %s" % (where, value, ", ".join(CODINGS[1:])))
        elif option == "page":
            if value not in document.get("pages", {}):
                raise ProfileError("%s: page %r is not among the pages" % (where, value))
        elif option == "side":
            if value not in SIDES:
                raise ProfileError("%s: side %r; it is one of %s" % (where, value, ", ".join(SIDES)))
        elif option == "ratio":
            if value not in _RATIOS:
                raise ProfileError('%s: ratio %r; it is "ct", "vt", "ct vt" or "" for none' % (where, value))
        elif option == "map":
            numbers_of(value, where)
        elif option == "absent" and (type(value) is not int or abs(value) > _WHOLE_MAX):
            raise ProfileError("%s: absent is the whole number that holds where the meter has no such register" % where)
    if "coding" in options:
        for option in options:
            if option in DEPENDENCIES or option in ("factor", "offset", "bits"):
                raise ProfileError("%s: coding takes no %s" % (where, option))


def fraction(value, where, signed=False):
    """(numerator, denominator) of a whole number or [numerator, denominator]. Raises ProfileError."""
    pair = value if type(value) is list else [value, 1]
    for i, part in enumerate(pair):
        least = 1 if i or not signed else -_WHOLE_MAX
        if len(pair) != 2 or type(part) is not int or not least <= part <= _WHOLE_MAX:
            raise ProfileError(
                "%s: %r is not a whole number or [numerator, denominator]%s"
                % (where, value, "" if signed else ", both above 0")
            )
    return pair[0], pair[1]


def numbers_of(value, where):
    """{contents: number} of a `map`. Raises ProfileError."""
    found = {}
    for key in value if type(value) is dict else ():
        if not key.isdigit() or len(key) > 10 or type(value[key]) is not int or abs(value[key]) > _WHOLE_MAX:
            found = None
            break
        found[int(key)] = value[key]
    if not found or len(found) > 32:
        raise ProfileError('%s: map is {"contents": number, …}, all whole numbers, at most 32' % where)
    return found


def _layout(document, where, type_name, quantity, options):
    """The layout code of a row. Raises ProfileError."""
    if document.get("protocol") == "dlt645":
        code = _dlt645().layout(type_name if type(type_name) is str else "")
        if code is None:
            raise ProfileError(
                "%s: unknown type %r; it is bcd8 … bcd64, sbcd8 … sbcd64 (in steps of 8) or time40" % (where, type_name)
            )
        return code
    function, order = options.get("function", document["function"]), options.get("order", document["order"])
    check_function(where, function)
    check_order(where, order)
    shown = type_name if type(type_name) is str else "%r" % (type_name,)
    patterns = not_available(document, where, shown, options)
    state = quantity is not None and quantity.kind == "state" and quantity.name != "serial_number"
    code = registers.layout(shown, order, not state and patterns is not None, function)
    if code is None:
        known = ", ".join(sorted(registers.type_names()))
        raise ProfileError("%s: unknown type %r; it is one of %s" % (where, shown, known))
    if (registers.kind(code) == registers.BIT) != (function in READ_BITS):
        raise ProfileError("%s: functions 1 and 2 read type bit and nothing else does" % where)
    if patterns:
        pattern_numbers(patterns, where, shown, 4 * registers.width(code))
    if "bits" in options:
        first, last = options["bits"]
        top = 16 * registers.width(code) - 1
        if registers.kind(code) > registers.SIGNED or not 0 <= first <= last <= top:
            raise ProfileError("%s: bits %d to %d; they are 0 to %d of a uint or int" % (where, first, last, top))
    page = options.get("page")
    if page is not None:
        code |= 1 + sorted(document["pages"]).index(page) << registers.PAGE_SHIFT
    return code


def check_function(where, function):
    """Raise ProfileError unless it is a function code that reads."""
    if function not in READ_BITS + READ_REGISTERS or type(function) is not int:
        raise ProfileError("%s: function: %r; registers are read with 3 or 4, bits with 1 or 2" % (where, function))


def check_order(where, order):
    """Raise ProfileError unless it is one of the orders."""
    if order not in registers.ORDERS:
        raise ProfileError("%s: order: %r; it is one of %s" % (where, order, ", ".join(registers.ORDERS)))


def not_available(document, where, type_name, options):
    """The patterns of a row as text; None when it says that there are none, not even the type's ends."""
    patterns = options.get("not_available")
    if patterns is None:
        patterns = document.get("not_available", {}).get(type_name)
        if patterns is None:
            return ()
    if type(patterns) is not list or len(patterns) > _PATTERNS_MAX:
        raise ProfileError("%s: not_available is a list of at most %d hexadecimal texts" % (where, _PATTERNS_MAX))
    return patterns or None


def pattern_numbers(patterns, where, type_name, digits):
    """Numbers and (first, last) pairs of the patterns of a type that has so many hexadecimal digits."""
    found = []
    for pattern in patterns:
        if pattern == "nan" and type_name in _NAN:
            found.extend(pattern_numbers(_NAN[type_name], where, type_name, digits))
            continue
        ends = pattern.split("-") if type(pattern) is str else ()
        if len(ends) not in (1, 2) or any([len(e) != digits or e.strip("0123456789ABCDEF") for e in ends]):
            raise ProfileError(
                "%s: not_available: %r is not %d hexadecimal digits in capitals (or FIRST-LAST%s)"
                % (where, pattern, digits, ', or "nan"' if type_name in _NAN else "")
            )
        numbers = [int(e, 16) for e in ends]
        if numbers[0] > numbers[-1]:
            raise ProfileError("%s: not_available: %r goes backwards" % (where, pattern))
        found.append(numbers[0] if len(numbers) == 1 else tuple(numbers))
    return found


def _check_address(document, where, made, address):
    highest = ADDRESS_MAX + 1 - made.wide
    if type(address) is not int or not 0 <= address <= highest:
        raise ProfileError(
            "%s: impossible address %r; it is 0-based as on the wire, 0 to %d for this type" % (where, address, highest)
        )
    for first, last in document.get("forbidden", ()):
        if address <= last and address + made.wide > first:
            raise ProfileError("%s: address %d is in the forbidden range %d to %d" % (where, address, first, last))
    if made.wide > document.get("registers_max", REGISTERS_A_REQUEST_MAX):
        raise ProfileError("%s: it does not fit into registers_max" % where)

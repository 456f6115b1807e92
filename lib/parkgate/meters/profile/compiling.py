"""From checked rows to a plan's entries and rules, and the id of what was applied (SPEC 11.3). Needed at the start
only."""

import hashlib

from parkgate.errors import ProfileError
from parkgate.meters import registers
from parkgate.wire import cbor

from . import rows

CONTENT_VERSION = 1
RATIO_NAMES = ("ct", "vt")
SET = "set"
_RATIO_PART_MAX = 10**7


def ratio_of(text, where):
    """(numerator, denominator) of a ratio as settings give it, "100:5" or "20"; None for "". Raises ProfileError."""
    if not text:
        return None
    parts = text.replace("/", ":").split(":")
    for part in parts:
        if len(parts) > 2 or not part.isdigit() or len(part) > 8 or not 0 < int(part) <= _RATIO_PART_MAX:
            raise ProfileError(
                '%s: %r is not a ratio; write "100:5" (primary:secondary) or "20", whole numbers of at most %d'
                % (where, text, _RATIO_PART_MAX)
            )
    from .rules import reduced

    return reduced(int(parts[0]), int(parts[1]) if len(parts) > 1 else 1)


def ratio_sources(document, channel, given):
    """{"ct": source, "vt": source} of the ratios that a channel takes: a pair that was set, the profile's words for
    registers, or SET where it must be set and is not."""
    found = {}
    if channel.side == "primary":
        return found
    registers_of = document.get("ratio", {"ct": SET}) if channel.side == "secondary" else {}
    for name in channel.ratio.split(" "):
        if name in given:
            found[name] = given[name]
        elif name in registers_of:
            found[name] = registers_of[name]
    return found


def auxiliaries_of(document, channels, given):
    """Names of the auxiliaries that these channels need, in the order of the file."""
    names = []
    for channel in channels:
        options = rows.options_of(channel.row)
        for field in rows.DEPENDENCIES:
            names += _listed(options.get(field, ()))
        for source in ratio_sources(document, channel, given).values():
            if type(source) is not tuple:
                names += _listed(source)
    return [row[0] for row in document.get("auxiliary", ()) if row[0] in names]


def _listed(value):
    return value if type(value) in (list, tuple) else [value]


def rule_of(document, channel, places, given):
    """(rule or None, layout code) of a channel or auxiliary. `places`: auxiliary → place of its entry. Sets the
    channel's rollover and step, in units of its value."""
    from . import rules

    options, code = rows.options_of(channel.row), channel.code
    made = rules.Rule()
    if channel.function:
        made.patterns = _patterns(document, channel, options)
    made.decimals = channel.decimals
    if "bits" in options:
        made.first_bit, made.bits = options["bits"][0], options["bits"][1] - options["bits"][0] + 1
    made.coding = rows.CODINGS.index(options.get("coding", ""))
    made.numerator, made.denominator = rows.fraction(options.get("factor", 1), "")
    if channel.scale is None:  # an auxiliary: its own number, whatever is made of it
        made.numbers = rows.numbers_of(options["map"], "") if "map" in options else None
        made.absent = options.get("absent")
        return made, code | registers.RULED
    shift = channel.exponent + channel.decimals
    _set_dependencies(made, options, places)
    unknown = False
    for name, source in sorted(ratio_sources(document, channel, given).items()):
        if source == SET:
            unknown = True
        elif type(source) is tuple:
            made.numerator, made.denominator = made.numerator * source[0], made.denominator * source[1]
            channel.multiple = rules.reduced(channel.multiple[0] * source[0], channel.multiple[1] * source[1])
        else:
            made.ratio |= rules.CT if name == "ct" else rules.VT
    made.numerator, made.denominator = _shifted(made.numerator, made.denominator, shift)
    if "offset" in options:
        offset = rows.fraction(options["offset"], "", True)
        made.offset = _shifted(offset[0], offset[1], shift)
    if unknown:
        code |= registers.SECONDARY_SIDE
    _set_counter(channel, made)
    simple = (10**channel.exponent, 1) if channel.exponent >= 0 else (1, 10**-channel.exponent)
    needed = made.patterns or made.bits or made.coding or made.offset or made.depends()
    n, d = _shifted(made.numerator, made.denominator, -channel.decimals)
    if not needed and n * simple[1] == d * simple[0]:
        return None, code
    return made, code | registers.RULED


def _set_dependencies(made, options, places):
    if "plus" in options:
        made.plus = places[_listed(options["plus"])[0]]
    made.times = tuple([places[name] for name in _listed(options.get("times", ()))])
    made.divided_by = tuple([places[name] for name in _listed(options.get("divided_by", ()))])
    powers = [(places[name], 1) for name in _listed(options.get("power_of_ten", ()))]
    powers += [(places[name], -1) for name in _listed(options.get("decimals_from", ()))]
    made.powers = tuple(powers)


def _set_counter(channel, made):
    """Rollover and step in units of the value; what depends on registers is known only with a sample."""
    count = channel.count
    if made.depends():
        made.rollover, made.counts, made.multiple = count, channel.cumulative, channel.multiple
        channel.multiple = None  # known with a sample only
        return
    n, d = _shifted(made.numerator, made.denominator, -channel.decimals)
    channel.step = max(1, registers.divide_rounded(n, d))
    if count is not None:
        channel.rollover = registers.divide_rounded(count * n, d)


def _patterns(document, channel, options):
    """What means "not available" besides the ends of the type, where the layout covers these."""
    type_name = channel.row[2]
    patterns = rows.not_available(document, "", type_name, options)
    found = rows.pattern_numbers(patterns or (), "", type_name, 4 * channel.wide)
    if channel.code & registers.ENDS:
        top = 1 << 16 * channel.wide
        signed = registers.kind(channel.code) == registers.SIGNED
        ends = (top // 2 - 1, top // 2) if signed else (top - 1,)
        if registers.kind(channel.code) <= registers.BCD:
            found = [pattern for pattern in found if pattern not in ends]
    return tuple(found)


def _shifted(numerator, denominator, exponent):
    if exponent >= 0:
        return numerator * 10**exponent, denominator
    return numerator, denominator * 10**-exponent


class ContentHash:
    """SHA-256 over a sequence of CBOR items that say what was applied; see SPEC 11.3."""

    def __init__(self):
        self._hash = hashlib.sha256()

    def put(self, document, channels, auxiliaries, given):
        """Add the channels and auxiliaries that are read under a profile (with its variant in place)."""
        pages = {}
        for channel in channels + auxiliaries:
            page = rows.options_of(channel.row).get("page")
            if page is not None:
                pages[page] = document["pages"][page]
        protocol = document.get("protocol", "modbus")
        self._add([CONTENT_VERSION, protocol, document.get("unlock", []), pages, len(channels), len(auxiliaries)])
        for channel in channels + auxiliaries:
            self._add(_content_of(document, channel, given))

    def _add(self, item):
        self._hash.update(cbor.encode(item))

    def text(self):
        """The first 16 bytes in hexadecimal."""
        return self._hash.digest()[:16].hex()


def _content_of(document, channel, given):
    row = channel.row
    options = rows.options_of(row)
    patterns = rows.not_available(document, "", row[2], options) if channel.function else ()
    others = {}
    for option in options:
        if option not in ("function", "order", "not_available", "side", "ratio", "rollover"):
            others[option] = options[option]
    ratios = {}
    if channel.scale is not None:
        for name, source in ratio_sources(document, channel, given).items():
            ratios[name] = list(source) if type(source) is tuple else source
    return [
        channel.quantity, channel.unit, channel.scale, channel.function, row[1], row[2],
        options.get("order", document.get("order")), channel.decimals, row[4],
        None if patterns is None else list(patterns), channel.side, ratios, channel.count, others,
    ]  # fmt: skip

"""What the checks found, in words: pure functions for the console, doctor, the hub and `parkgate meters test`."""

from .check import (
    FROZEN,
    IMPOSSIBLE,
    LEFT_OUT,
    MISSING,
    OTHER_WAY,
    REVERSED,
    SIGN,
    SUM,
    SWAPPED,
    TOO_HIGH,
    TOO_LOW,
    wiring,
)

# Primary currents of usual transformers; secondary 5 or 1 A.
_PRIMARIES = (50, 60, 75, 100, 125, 150, 200, 250, 300, 400, 500, 600, 750, 800, 1000, 1200, 1500, 1600, 2000, 2500)


def sentence(check, code, stated, expected, scale):
    """The likely cause of one disagreement. `stated` and `expected` are value × 10^-scale of the check."""
    phase = " of " + check[-2:].upper() if check[-3:-1] == "_l" else ""
    if code in (TOO_HIGH, TOO_LOW):
        given, wanted = _text(stated, scale), _text(expected, scale)
        if check == "energy and power":
            return "wrong ratio or decimals: energy grew by %s Wh where the power gives %s Wh%s" % (
                given, wanted, _factor(stated, expected),
            )  # fmt: skip
        if check[:8] == "apparent":
            return "wrong ratio: apparent power%s is %s VA, voltage x current is %s VA%s" % (
                phase, given, wanted, _factor(stated, expected),
            )  # fmt: skip
        return "wrong ratio: power%s is %s W, voltage x current x power factor is %s W%s" % (
            phase, given, wanted, _factor(stated, expected),
        )  # fmt: skip
    if code == OTHER_WAY:
        return "power is imported, but the export counter runs: import and export are exchanged"
    if SIGN < code < SIGN + 4:
        return "the sign of L%d is wrong: the phases add up to %s W, the total is %s W" % (
            code - SIGN, _text(expected, scale), _text(stated, scale),
        )  # fmt: skip
    if LEFT_OUT < code < LEFT_OUT + 4:
        return "the total %s W does not contain L%d" % (_text(stated, scale), code - LEFT_OUT)
    if code == SUM:
        return "the phases add up to %s W, the total is %s W%s" % (
            _text(expected, scale), _text(stated, scale), _factor(stated, expected),
        )  # fmt: skip
    if REVERSED < code < REVERSED + 8:
        names = [name for n, name in enumerate(("L1", "L2", "L3")) if (code - REVERSED) >> n & 1]
        many = len(names) > 1
        return "current transformer%s of %s reversed: power is negative there, with as much current as elsewhere" % (
            "s" if many else "", " and ".join(names),
        )  # fmt: skip
    if SWAPPED < code < SWAPPED + 4:
        pair = ["L%d" % n for n in (1, 2, 3) if n != code - SWAPPED]
        return "%s and %s are swapped between voltage and current: the powers of the phases cancel out" % tuple(pair)
    if code == FROZEN:
        return "frozen register: %s stands at %s while its neighbour moves" % (check[7:], _text(stated, scale))
    if code == IMPOSSIBLE:
        if check == "frequency":
            return "no mains frequency: %s Hz" % _text(stated, scale)
        if check == "voltages between phases":
            return "wrong ratio of the voltage transformers: %s V between phases, %s V to neutral" % (
                _text(stated, scale), _text(expected, scale),
            )  # fmt: skip
        return "power%s is larger than apparent power: %s W against %s VA" % (
            phase, _text(stated, scale), _text(expected, scale),
        )  # fmt: skip
    return "%s: code %d, %s against %s" % (check, code, _text(stated, scale), _text(expected, scale))


def _factor(stated, expected):
    """The factor between two numbers, with the transformer or the decimal point that it looks like."""
    stated, expected = abs(stated), abs(expected)
    if not stated or not expected:
        return ""
    more = stated > expected
    thousandths = (stated * 1000 + expected // 2) // expected if more else (expected * 1000 + stated // 2) // stated
    for power in (10, 100, 1000, 10000, 100000, 1000000):
        if abs(thousandths - power * 1000) * 25 <= power * 1000:
            looks = "the decimal point, or a transformer %d/5" % (5 * power) if power < 1000 else "the decimal point"
            return ": %s %d, %s" % ("x" if more else "1 /", power, looks)
    for primary in _PRIMARIES:
        for secondary in (5, 1):
            ratio = primary * 1000 // secondary
            if abs(thousandths - ratio) * 25 <= ratio:
                return ": %s %s, a transformer %d/%d" % (
                    "x" if more else "1 /", _text(ratio, 3).rstrip("0").rstrip("."), primary, secondary,
                )  # fmt: skip
    return ": %s %s" % ("x" if more else "1 /", _text(thousandths, 3))


def first_look(quantities):
    """What one sample lets a person suspect who stands before the meter, in sentences. `quantities`: name → (value,
    scale). None of it is certain: a phase may export."""
    said = []
    cosines, powers = [], []
    for phase in ("_l1", "_l2", "_l3"):
        found = [quantities.get(name + phase) for name in ("voltage", "current", "active_power")]
        if None in found or MISSING in [row[0] for row in found]:
            return said
        (v, v_scale), (i, i_scale), (p, p_scale) = found
        size = v * abs(i) * 10 ** max(0, p_scale - v_scale - i_scale)
        if not size:
            said.append("no voltage or no current at " + phase[1:].upper())
            continue
        cosines.append(p * 10 ** max(0, v_scale + i_scale - p_scale) * 1000 // size)
        powers.append(p)
    if len(cosines) < 3:
        return said
    code = wiring(cosines, (False, False, False), [0, 0])
    if code:
        said.append(sentence("wiring", code, 0, 0, 3))
    elif 0 < len([p for p in powers if p < 0]) < 3:
        names = ["L%d" % (n + 1) for n in range(3) if powers[n] < 0]
        said.append(
            "power is negative at %s only: a current transformer is reversed there, or that phase exports"
            % " and ".join(names)
        )
    elif powers and max(powers) < 0:
        said.append("power is negative at all phases: the hall exports, or all current transformers are reversed")
    return said


def _text(value, scale):
    """`value` × 10^-scale as text, with no more than four digits behind the point."""
    while scale > 4:
        value, scale = value // 10, scale - 1
    if scale <= 0:
        return str(value * 10**-scale)
    text = str(abs(value))
    text = "0" * (scale + 1 - len(text)) + text
    text = text[:-scale] + "." + text[-scale:]
    return ("-" if value < 0 else "") + text

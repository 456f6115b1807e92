"""How often an instrument gives a row, in the words that its schema carries (SPEC 11.10), and back from the words.

    PROFILE "; every " SECONDS " s" [ "; " REDUCTIONS " of " SAMPLES [ ", on change or every " SECONDS " s" ] ]

The words are under the signature, as the schema is. Without a cadence nobody could tell an outage from an instrument
that is read once an hour.
"""

_EVERY = "; every "
_OR_EVERY = ", on change or every "


def words(profile: str, period_ms: int, report) -> str:
    """The profile as the schema names it; `report` is that of the settings, complete or empty."""
    text = profile + _EVERY + _seconds(period_ms) + " s"
    if report:
        text += "; %s of %d" % ("+".join(report["reductions"]), report["every"])
        if report["heartbeat_s"]:
            text += _OR_EVERY + "%d s" % report["heartbeat_s"]
    return text


def row_ms(profile: str):
    """The longest time from one row to the next when nothing is missing, in ms; None where the words do not tell it."""
    at = profile.rfind(_EVERY)
    if at < 0:
        return None
    parts = profile[at + len(_EVERY) :].split("; ")
    period_ms = _milliseconds(parts[0])
    if not period_ms:
        return None
    if len(parts) == 1:
        return period_ms
    window, _, heartbeat = parts[1].partition(_OR_EVERY)
    samples = window.split(" ")[-1]
    if not samples.isdigit():
        return period_ms
    rows_ms = period_ms * max(1, int(samples))
    return rows_ms + (_milliseconds(heartbeat) or 0)


def without(profile: str) -> str:
    """The profile without its cadence."""
    at = profile.rfind(_EVERY)
    return profile if at < 0 else profile[:at]


def _seconds(period_ms):
    text = "%d.%03d" % (period_ms // 1000, period_ms % 1000)
    return text.rstrip("0").rstrip(".")


def _milliseconds(text):
    """Of "0.25 s"; 0 where that is no time."""
    if not text.endswith(" s"):
        return 0
    whole, _, part = text[:-2].partition(".")
    if not whole.isdigit() or part and not part.isdigit() or len(part) > 3 or len(whole) > 9:
        return 0
    return int(whole) * 1000 + int((part + "000")[:3])

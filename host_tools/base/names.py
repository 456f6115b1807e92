"""What gateways and places may be called: one rule for settings, hub, label, console; and when two names look alike.

`look` and `rough_look` follow the idea of Unicode Technical Standard 39 (skeletons of confusable text). The table has
the letters of other scripts that look like Latin ones in ordinary fonts.
"""

from __future__ import annotations

import unicodedata

from parkgate.errors import SettingsError
from parkgate.settings import NAME
from parkgate.settings.schema import GATEWAY, TABLE

_, _, _, LENGTH_MIN, LENGTH_MAX, _, _ = next(field for field in TABLE[GATEWAY] if field[NAME] == "name")


def check_gateway_name(name: str) -> str:
    """`name` itself. Raises SettingsError saying what a name may be."""
    if not LENGTH_MIN <= len(name) <= LENGTH_MAX:
        raise SettingsError(
            f"the name {name[:40]!r} has {len(name)} characters; {LENGTH_MIN} to {LENGTH_MAX} are possible"
        )
    if not name.isprintable() or name != name.strip() or name in ('""', "''"):
        raise SettingsError(f"the name {name!r} is not possible: printable characters, no space at its ends")
    return name


PLACE_LENGTH_MAX = 64  # characters

_LATIN = "ABCEHIJKMOPSTXYQWABEZHIKMNOPTYXacehijopsyxvdqwlaovpikounhgjiga"
_OTHERS = (
    "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425\u0423\u051a\u051c"  # Cyrillic
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"  # Greek
    "\u0430\u0441\u0435\u04bb\u0456\u0458\u043e\u0440\u0455\u0443\u0445\u0475\u0501\u051b\u051d\u04cf"
    "\u03b1\u03bf\u03bd\u03c1\u03b9\u03ba"
    "\u0585\u057d\u0578\u0570\u0581\u0575"  # Armenian
    "\u0131\u0261\u0251"  # Latin letters of their own
)
_ALIKE = {ord(other): latin for other, latin in zip(_OTHERS, _LATIN, strict=True)}
_ALIKE |= dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-") | dict.fromkeys((0x2018, 0x2019, 0x02BC), "'")
_UNSEEN = (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10))
_ALIKE |= dict.fromkeys(_UNSEEN, "")
_ROUGH = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", " ": "", "-": "", "_": "", ".": "", "'": ""})
_ACCENTS = dict.fromkeys(range(0x0300, 0x0370), "")


def place_name(text: str) -> str:
    """The name of a place as it is kept: NFC, no space at its ends, one between words. Raises SettingsError."""
    name = unicodedata.normalize("NFC", " ".join(part for part in text.strip().split(" ") if part))
    if not 1 <= len(name) <= PLACE_LENGTH_MAX:
        raise SettingsError(f"a place's name has 1 to {PLACE_LENGTH_MAX} characters, this one {len(name)}")
    if not name.isprintable():
        raise SettingsError(f"the name {name!r} has a character that cannot be seen; type it anew without it")
    if not any(unicodedata.category(c)[0] in "LN" for c in look(name)):
        raise SettingsError(f"the name {name!r} has no letter and no digit")
    return name


def look(name: str) -> str:
    """What a name looks like: two names with one look cannot be told apart, and only one of them is taken."""
    name = unicodedata.normalize("NFKC", name).translate(_ALIKE).casefold().translate(_ALIKE)
    return " ".join(unicodedata.normalize("NFKC", name).split())


def rough_look(name: str) -> str:
    """What a name looks like at a glance: two names with one rough look are easily taken for each other."""
    name = unicodedata.normalize("NFD", look(name)).translate(_ACCENTS).translate(_ROUGH)
    return name.replace("rn", "m").replace("vv", "w")

"""Travellers and tags to print: one HTML page with a QR code, the code in letters, and lines to fill in by hand.

Nothing comes from another host, so a page prints the same on a computer without a network. Paper is A4 or a roll of
58 mm. The QR code is in alphanumeric mode, which every scanner module reads.
"""

from __future__ import annotations

import io
from html import escape

import segno

from parkgate.errors import SettingsError
from parkgate.sensing import scans

LANGUAGES = ("en", "km")
PAPERS = {"a4": "210mm 297mm", "58": "58mm 90mm"}
KINDS = {**scans.WORDS, "station": scans.STATION}
_WORDS = {
    "lot": ("Lot", "ឡូតិ៍"), "count": ("Pieces", "ចំនួន"), "scrap": ("Scrap, reason", "ខូច មូលហេតុ"),
    "in": ("Material in", "វត្ថុធាតុចូល"), "out": ("Material out", "វត្ថុធាតុចេញ"), "operator": ("Operator", "អ្នកបញ្ជា"),
    "station": ("Machine", "ម៉ាស៊ីន"),
    "use": (
        "Scan at the machine when work begins, and again when it ends.",
        "ស្កេនពេលចាប់ផ្តើមការងារ ហើយស្កេនម្តងទៀតពេលបញ្ចប់។",
    ),
    "machine": ("machine", "ម៉ាស៊ីន"), "begin": ("begin", "ចាប់ផ្តើម"), "end": ("end", "បញ្ចប់"),
    "pieces": ("pieces", "ចំនួន"), "waste": ("scrap", "ខូច"), "sign": ("sign", "ហត្ថលេខា"),
}  # fmt: skip
_COLUMNS = ("machine", "begin", "end", "pieces", "waste", "sign")
_STYLE = """@page{size:%s;margin:%s}body{margin:0;
font-family:'Noto Sans','Noto Sans Khmer','Khmer OS',Helvetica,sans-serif;color:#000;background:#fff}
h1{font-size:%s;margin:0 0 2mm;overflow-wrap:anywhere}p{margin:1mm 0;font-size:%s}
.code{font-family:monospace;overflow-wrap:anywhere}svg{display:block;width:%s;height:auto}
table{border-collapse:collapse;width:100%%;margin-top:6mm}th,td{border:1px solid #000;height:10mm;font-size:10pt;
font-weight:normal;width:16%%}th{height:6mm}"""


def code(kind: str, text: str) -> str:
    """The code (SPEC 15.1) for a kind in words and its text. Raises SettingsError."""
    letter = KINDS.get(kind)
    if letter is None:
        raise SettingsError(f"a tag is for one of {', '.join(sorted(KINDS))}, not {kind!r}")
    body = text.upper() if letter == scans.STATION else text
    if not scans.is_body(letter, body):
        raise SettingsError(
            f"{text!r} cannot stand on a tag: a name has 1 to {scans.BODY_MAX} of A-Z, 0-9, - . /; "
            f"a count is 1 to {scans.QUANTITY_MAX}; scrap is REASON or REASON/COUNT, the reason 1 to {scans.REASON_MAX}"
        )
    before = f"PG{letter}{body}"
    return f"{before}*{scans.check_of(before)}"


def page(kind: str, text: str, language: str = "en", paper: str = "a4") -> str:
    """The HTML page of a traveller (kind "lot") or tag. Raises SettingsError."""
    made = code(kind, text)
    at = LANGUAGES.index(language)
    small = paper == "58"
    svg = io.BytesIO()
    segno.make(made, error="q", micro=False).save(svg, kind="svg", xmldecl=False, svgns=True, border=4, omitsize=True)
    style = _STYLE % (
        PAPERS[paper], "3mm" if small else "15mm", "14pt" if small else "28pt", "8pt" if small else "12pt",
        "44mm" if small else "60mm",
    )  # fmt: skip
    words = {name: pair[at] for name, pair in _WORDS.items()}
    table = ""
    if kind == "lot" and not small:
        head = "".join(f"<th>{escape(words[name])}</th>" for name in _COLUMNS)
        table = f"<table><tr>{head}</tr>{('<tr>' + '<td></td>' * len(_COLUMNS) + '</tr>') * 8}</table>"
    use = f"<p>{escape(words['use'])}</p>" if kind == "lot" else ""
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{escape(text)}</title>'
        f"<style>{style}</style></head><body>\n<p>{escape(words[kind])}</p><h1>{escape(text)}</h1>\n"
        f'{svg.getvalue().decode()}<p class="code">{escape(made)}</p>\n{use}{table}</body></html>\n'
    )

"""The page of a commissioning: one HTML file that needs nothing else, made to be printed and signed by hand."""

from __future__ import annotations

import base64
import time
from html import escape
from pathlib import Path

_PHOTO_BYTES_MAX = 3_000_000
_KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}
_STYLE = """
body { font: 11pt/1.4 system-ui, sans-serif; color: #111; margin: 2rem auto; max-width: 50rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; border-bottom: 1px solid #999; padding-bottom: .2rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { border: 1px solid #bbb; padding: .25rem .5rem; text-align: left; vertical-align: top; }
th { background: #f0f0f0; font-weight: 600; }
.good { color: #06632a; } .bad { color: #a40000; font-weight: 600; } code { font-size: .85em; word-break: break-all; }
section { break-inside: avoid; margin-top: 1.5rem; } img { max-width: 100%; max-height: 9cm; display: block; }
.sign { margin-top: 3rem; display: flex; gap: 3rem; }
.sign div { flex: 1; border-top: 1px solid #111; padding-top: .3rem; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } @page { margin: 18mm; } }
"""


_HEADS = "<tr><th>Value</th><th>Display</th><th>Gateway</th><th></th></tr>"


def page(state: dict, names: list[str]) -> str:
    """The whole page for the answers of `commission`."""
    sections = "".join(_meter(name, state["instruments"][name]) for name in names)
    when = _time(state["finished_unix_ms"])
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Commissioning of {escape(state['name'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Commissioning report: {escape(state['name'])}</h1>"
        f"<p>Gateway <code>{escape(state['gateway'])}</code><br>Done by {escape(state['by'])}, {when}</p>"
        f"{_summary(state, names)}{sections}"
        "<p>The record of each meter, and the SHA-256 of this page, are signed in the chain of the gateway.</p>"
        '<div class="sign"><div>Date, technician</div><div>Date, operator of the hall</div></div></body></html>\n'
    )


def _summary(state, names):
    rows = ""
    for name in names:
        record = state["instruments"][name]
        compared = record.get("compared", {}).values()
        agree = f"{sum(bool(c[3]) for c in compared)} of {len(compared)}"
        rows += (
            f"<tr><td>{escape(name)}</td><td>{escape(record['answers'].get('serial', ''))}</td>"
            f"<td>{_mark(record.get('answers_now'), 'answers', 'does not answer')}</td>"
            f"<td>{_mark(all(c[3] for c in compared), agree, agree)}</td>"
            f"<td>{_mark(not record.get('findings'), 'in order', 'to be looked at')}</td></tr>"
        )
    heads = ("Meter", "Serial number", "On the bus", "Display agrees", "Phases")
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{rows}</table>"


def _mark(good, yes, no):
    return f'<span class="{"good" if good else "bad"}">{escape(yes if good else no)}</span>'


def _meter(name, record):
    answers = record["answers"]
    facts = [
        ("What it is", escape(record.get("about", ""))),
        ("Serial number", _text(answers, "serial", "not read") + _differs(record.get("serial_differs"), "meter")),
        ("Transformers", _text(answers, "ratio", "none") + _differs(record.get("ratio_differs"), "setting")),
        ("Phases", "<br>".join(map(escape, record.get("findings", ()))) or "nothing looks wrong"),
        ("Note", _text(answers, "note", "none")),
        ("Signed", f"{_time(record['signed_unix_ms'])}, in batch {record['batch']} or the next of the gateway's chain"),
    ]
    text = "".join(f"<tr><th>{head}</th><td>{value}</td></tr>" for head, value in facts)
    rows = "".join(
        f"<tr><td>{escape(quantity.replace('_', ' '))}</td><td>{escape(c[0])}</td>"
        f"<td>{escape(c[1])} {escape(c[2])}</td><td>{_mark(c[3], 'agrees', c[4])}</td></tr>"
        for quantity, c in record.get("compared", {}).items()
    )
    bad = "".join(f"<li>{escape(q or name)}: {escape(why)}</li>" for q, why in record.get("bad", {}).items())
    return (
        f"<section><h2>{escape(name)}</h2><table>{text}</table>"
        + (f"<p>Without a good value:</p><ul>{bad}</ul>" if bad else "")
        + (f"<table>{_HEADS}{rows}</table>" if rows else "")
        + "".join(_photo(photo) for photo in record.get("photos", ()))
        + "</section>"
    )


def _text(answers, key, otherwise):
    return escape(answers.get(key) or otherwise)


def _differs(other, what):
    return "" if other is None else f'<br><span class="bad">the {what} says {escape(other or "none")}</span>'


def _photo(photo):
    """A photograph with its hash; in the page itself when it is not too large and still the same."""
    name = escape(Path(photo["file"]).name)
    text = f"<p>Photograph {name}, SHA-256 <code>{photo['sha256']}</code></p>"
    try:
        data = Path(photo["file"]).read_bytes()
    except OSError:
        return text
    kind = next((kind for head, kind in _KINDS.items() if data.startswith(head)), None)
    if kind is None or len(data) > _PHOTO_BYTES_MAX:
        return text
    return text + f'<img alt="{name}" src="data:{kind};base64,{base64.b64encode(data).decode()}">'


def _time(unix_ms):
    return time.strftime("%Y-%m-%d %H:%M %z", time.localtime(unix_ms / 1000))

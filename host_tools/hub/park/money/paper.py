"""A bill for people and for spreadsheets: a page to print, its lines and its register readings as CSV."""

from __future__ import annotations

import csv
import io
from html import escape
from pathlib import Path
from string import Template

HEADINGS = (
    "kind", "name", "quantity_least", "quantity_most", "unit", "price", "exact_least", "exact_most", "amount_least",
    "amount_most",
)  # fmt: skip
READINGS = (
    "line", "instrument", "edge", "at", "reading", "time_unix_ms", "value", "scale", "epoch", "seq", "row",
    "batch_sha256", "log_leaf",
)  # fmt: skip


def lines_csv(bill: dict) -> str:
    """One row a line, and the total. What nobody can say is empty."""
    rows: list[tuple] = [HEADINGS]
    for line in bill["lines"]:
        pairs = [line[key][end] for key in ("quantity", "exact", "amount") for end in ("least", "most")]
        rows.append((line["kind"], line["name"], *pairs[:2], line["unit"], line["price"], *pairs[2:]))
    total = bill["total"]
    rows.append(("total", "Total", "", "", bill["currency"], "", "", "", total["least"], total["most"]))
    return _csv(rows)


def registers_csv(bill: dict) -> str:
    """One row a register reading that a line rests on: which batch signed it, and where the log has that."""
    rows: list[tuple] = [READINGS]
    for line in bill["lines"]:
        for one in line["registers"]:
            for edge in ("begin", "end"):
                for which in ("before", "behind"):
                    found = one[edge][which]
                    if found:
                        rows.append((
                            line["name"], one["instrument"], edge, one[edge]["at_ms"], which, found["time_ms"],
                            found["value"], one["scale"], found["epoch"], found["seq"], found["row"], found["hash"],
                            found["leaf"],
                        ))  # fmt: skip
    return _csv(rows)


def _cell(cell):
    """A spreadsheet must not take a name for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _csv(rows) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for row in rows:
        writer.writerow([_cell(cell) for cell in row])
    return out.getvalue()


_HERE = Path(__file__).parent
_STYLE = _HERE.parents[1] / "web" / "static" / "bill.css"


def page(bill: dict, style_address: str | None = None) -> str:
    """The bill as one page of HTML that needs nothing else; or with its style from an address of the hub."""
    if style_address is None:
        style = f"<style>{_STYLE.read_text(encoding='utf-8')}</style>"
    else:
        style = f'<link rel="stylesheet" href="{escape(style_address)}"><link rel="icon" href="static/icon.svg">'
    tariff = bill["tariff"]
    words = {
        **{name: bill[name] for name in ("gateway", "month", "id", "from", "to", "zone", "currency", "sha256")},
        "percent": bill["percent_of_time_read"] or "0", "meters": ", ".join(bill["meters"]) or "none",
        "tariff": tariff["name"], "tariff_from": tariff["from"], "about": tariff["about"],
        "source": tariff["source"] or "not given", "tariff_sha256": tariff["sha256"],
    }  # fmt: skip
    parts = {
        "style": style, "state": _state(bill), "lines": "".join(map(_line, bill["lines"])),
        "total": _between(bill["total"]), "not_counted": _not_counted(bill) + _register(bill), "jumps": _jumps(bill),
        "registers": _registers(bill),
    }  # fmt: skip
    template = Template((_HERE / "bill.html").read_text(encoding="utf-8"))
    return template.substitute({name: escape(text) for name, text in words.items()} | parts)


def _line(line: dict) -> str:
    return (
        f"<tr><td>{escape(line['name'])}</td><td class=num>{_between(line['quantity'])} {escape(line['unit'])}</td>"
        f"<td class=num>{escape(line['price'])}</td><td class=num>{_between(line['amount'])}</td></tr>"
    )


def _state(bill: dict) -> str:
    if bill["complete"]:
        words = "The registers are known at both ends, and every step between is explained."
        return f"<p class=state><b>Complete.</b> {words}</p>"
    notes = "".join(f"<li>{escape(note)}</li>" for note in bill["notes"])
    return f'<div class="state open"><b>Not complete: this is no final bill.</b><ul>{notes}</ul></div>'


def _not_counted(bill: dict) -> str:
    if not bill["not_counted"]:
        return ""
    names = [(escape(each["instrument"]), escape(each["behind"])) for each in bill["not_counted"]]
    rows = "".join(f"<li>{name}, behind {main}</li>" for name, main in names)
    return f"<p>Not counted, because they would count twice:</p><ul>{rows}</ul>"


def _register(bill: dict) -> str:
    """What the meter register says of the meters: a reader must see it beside the meters' names."""
    rows = ""
    for one in bill["register"]:
        if one["serial"]:
            words = [f"serial number {one['serial']}", *(f"class {one['class']}" for _ in (1,) if one["class"])]
            if one["due_on"]:
                words.append(f"calibrated on {one['calibrated_on']}, due on {one['due_on']}")
            rows += f"<li>{escape(one['instrument'])}: {escape(', '.join(words))}</li>"
        for each in one["remarks"]:
            rows += f"<li><b>{escape(one['instrument'])}: {escape(each['kind'])}.</b> {escape(each['text'])}.</li>"
    return f"<p>The meters, as the meter register has them:</p><ul>{rows}</ul>" if rows else ""


def _between(pair: dict) -> str:
    if pair["most"] is None:
        return f"at least {escape(pair['least'])}"
    return escape(pair["least"] if pair["least"] == pair["most"] else f"{pair['least']} to {pair['most']}")


def _jumps(bill: dict) -> str:
    if not bill["jumps"]:
        return ""
    rows = "".join(f"<li>{escape(_jump(each))}</li>" for each in bill["jumps"])
    return f"<h2>Jumps of the registers, as the gateway signed them</h2><ul>{rows}</ul>"


def _jump(each: dict) -> str:
    counted = "unknown" if each["grown"] is None else each["grown"]
    where = f"batch {each['seq']} of {each['epoch'][:8]}…"
    return f"{each['instrument']}: {each['what']}, {each['before']} to {each['value']}, counted as {counted}; {where}"


def _registers(bill: dict) -> str:
    rows = "".join(
        f"<tr><td>{escape(line['name'])}<br><small>{escape(one['instrument'])}</small></td>{_reading(one, 'begin')}"
        f"{_reading(one, 'end')}<td class=num>{_between(one['wh'])}</td></tr>"
        for line in bill["lines"] for one in line["registers"]
    )  # fmt: skip
    if not rows:
        return ""
    return (
        "<h2>The registers that the lines rest on</h2><div class=wide><table><thead><tr><th scope=col>Line</th>"
        "<th scope=col>At the begin</th><th scope=col>At the end</th><th scope=col class=num>Wh</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _reading(one: dict, edge: str) -> str:
    parts = []
    for which in ("before", "behind"):
        found = one[edge][which]
        if found:
            leaf = "not in the log yet" if found["leaf"] is None else f"leaf {found['leaf']}"
            parts.append(
                f"{found['value']} <small>({which}) batch {found['seq']} of {escape(found['epoch'][:8])}…, row"
                f" {found['row'] + 1}, {leaf}</small>"
            )
    return f"<td>{'<br>'.join(parts) or 'no reading'}</td>"

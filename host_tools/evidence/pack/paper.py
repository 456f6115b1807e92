"""The pack's report as one page of HTML to read and to print, in English and Khmer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

LANGUAGES = ("en", "km")
_WORDS = {
    "title": ("Energy evidence", "ភស្តុតាងថាមពល"),
    "place": ("Place", "ទីកន្លែង"),
    "period": ("Period", "រយៈពេល"),
    "months": ("Energy by month", "ថាមពលតាមខែ"),
    "month": ("Month", "ខែ"),
    "kwh": ("kWh", "kWh"),
    "complete": ("Days known, %", "ថ្ងៃដែលដឹង, %"),
    "imputed": ("Imputed, %", "ប៉ាន់ស្មាន, %"),
    "uncertain": ("Uncertainty (k = 2), kWh", "ភាពមិនប្រាកដ (k = 2), kWh"),
    "unknown": ("not known", "មិនដឹង"),
    "carbon": ("CO2e, scope 2", "CO2e វិសាលភាព 2"),
    "location": ("location-based, kg", "តាមទីតាំង, kg"),
    "market": ("market-based, kg", "តាមទីផ្សារ, kg"),
    "factors": ("Emission factors", "កត្តាបំភាយ"),
    "no_factor": ("no factor is given for these days", "គ្មានកត្តាសម្រាប់ថ្ងៃទាំងនេះ"),
    "meters": ("Meters", "កុងទ័រ"),
    "baseline": ("Against the baseline", "ប្រៀបធៀបនឹងមូលដ្ឋាន"),
    "left_out": ("What is not in this pack", "អ្វីដែលមិនមានក្នុងឯកសារនេះ"),
    "legal": (
        "Parkgate on a pulse or Modbus meter is not a legal meter.",
        "Parkgate លើកុងទ័រ pulse ឬ Modbus មិនមែនជាកុងទ័រផ្លូវច្បាប់ទេ។",
    ),
    "check": (
        "Each figure is a row of figures.csv. Drop proofs/archive.zip on verify.html to check what it rests on.",
        "តួលេខនីមួយៗជាជួរក្នុង figures.csv។ ទម្លាក់ proofs/archive.zip លើ verify.html ដើម្បីពិនិត្យហត្ថលេខា។",
    ),
}  # fmt: skip
_STYLE = (
    "body{font:15px/1.45 system-ui,'Noto Sans Khmer',sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}td,th{border-bottom:1px solid #bbb;padding:.3rem"
    " .5rem;text-align:left}.n{text-align:right}.w{overflow-x:auto}@media print{body{margin:0;font-size:11pt}}"
)


def page(
    about: dict, rows: Sequence[tuple], meters: Sequence[tuple], factors: Sequence[dict], enpi: dict | None
) -> str:
    """`about` has place, from, to, zone, left_out; `rows` are those of figures.csv, `meters` of meters.csv."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(about['place'])}</title><style>{_STYLE}</style>"
        + "<hr>".join(_part(i, language, about, rows, meters, factors, enpi) for i, language in enumerate(LANGUAGES))
        + "</html>\n"
    )


def _part(i: int, language: str, about, rows, meters, factors, enpi) -> str:
    def word(name: str) -> str:
        return escape(_WORDS[name][i])

    made = [
        f"<section lang={language}><h1>{word('title')}</h1>",
        f"<p>{word('place')}: <b>{escape(about['place'])}</b>. {word('period')}: {about['from']} – {about['to']}"
        f" ({escape(about['zone'])}).</p><p>{word('legal')} {word('check')}</p>",
        f"<h2>{word('months')}</h2>", _table(
            [word(name) for name in ("month", "kwh", "uncertain", "complete", "imputed")],
            [(str(row[3])[:7], row[5] if row[5] != "not known" else word("unknown"), row[9], row[10], row[11])
             for row in rows if row[6] == "kWh"], 1),
        f"<h2>{word('carbon')}</h2>", _carbon(word, rows),
        f"<h2>{word('factors')}</h2>", _table(
            ["", "kg CO2e/kWh", "", "", "SHA-256"],
            [(one["id"], one["value"], str(one["year"]), one["source"], one["sha256"]) for one in factors], 9,
        ) if factors else f"<p>{word('no_factor')}</p>",
        f"<h2>{word('meters')}</h2>", _table(
            ["", "", "", "", ""], [(row[0], row[1], row[5], row[-2][:16], row[-1]) for row in meters], 9),
    ]  # fmt: skip
    if enpi is not None:
        unsure = f"{enpi['difference_kwh']} ± {enpi['uncertainty']['expanded_kwh']} kWh"
        made.append(
            f"<h2>{word('baseline')}</h2><p>{escape(enpi['baseline']['name'])}: {escape(enpi['verdict'])};"
            f" {unsure}.</p><p>{escape('; '.join(enpi['failed']))}</p>"
        )
    left = "".join(f"<li>{escape(line)}</li>" for line in about["left_out"])
    return "".join([*made, f"<h2>{word('left_out')}</h2><ul>{left}</ul></section>"])


def _carbon(word, rows: Sequence[tuple]) -> str:
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row[6] == "kg CO2e":
            found.setdefault(str(row[3])[:7], {})[row[12].split()[2].partition("-")[0]] = row[5]
    if not found:
        return f"<p>{word('no_factor')}</p>"
    lines = [(month, each.get("location", "–"), each.get("market", "–")) for month, each in found.items()]
    return _table([word("month"), word("location"), word("market")], lines, 1)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int) -> str:
    """`head` is HTML already."""

    def cells(row):
        return "".join(
            f"<td{' class=n' if i >= numbers_from else ''}>{escape(str(cell))}</td>" for i, cell in enumerate(row)
        )

    top = "".join(f"<th scope=col>{one}</th>" for one in head)
    return f"<div class=w><table><tr>{top}</tr>{''.join(f'<tr>{cells(row)}</tr>' for row in rows)}</table></div>"

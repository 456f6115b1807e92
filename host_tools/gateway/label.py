"""The label of a gateway: its name so large that it is read from the ground, place, short id, and a QR code.

It is 100 mm long and 62 mm high, for continuous tape of 62 mm: as SVG (the program that prints it draws the text, in
any script) or as PDF (Helvetica, which every PDF reader has; letters of Western Europe only). The QR code holds
`parkgate:GATEWAY:NAME`. The console's code is not on it: a person who sees the label must not get in with it.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from parkgate.errors import SettingsError

WIDTH_MM, HEIGHT_MM = 100.0, 62.0
FORMATS = (".svg", ".pdf")
PLACE_LENGTH_MAX = 80
_MARGIN_MM = 4.0
_QR_MM = 31.0
_NAME_MM = (WIDTH_MM - 2 * _MARGIN_MM, 21.0)  # the box that the name fills
_NAME_SIZE_MAX, _PLACE_SIZE_MAX = 24.0, 7.0
_LEADING = 1.12
_CAPITAL = 0.76  # height of a capital letter, of its size
_WIDER = 1.24  # so much wider than Helvetica a printer's computer may draw the text of an SVG (DejaVu Sans does)

# Advance widths of Helvetica-Bold in 1/1000 of its size, characters 32 to 126 (Adobe's core 14 font metrics).
_WIDTHS = (
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611,
    975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556,
    333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611,
    611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
)  # fmt: skip


class Text(NamedTuple):
    """One line: left end and base line in mm from the upper left corner, size in mm."""

    x: float
    y: float
    size: float
    text: str

    @property
    def width(self) -> float:
        return width_of(self.text) * self.size


class Label(NamedTuple):
    """What is printed: texts, and the squares of the QR code (column, row) with their size and corner in mm."""

    texts: list[Text]
    dark: list[tuple[int, int]]
    module_mm: float
    qr_x: float
    qr_y: float


def width_of(text: str) -> float:
    """Width of a line in parts of its size; what Helvetica has not counts as a wide letter."""
    return sum(_WIDTHS[ord(c) - 32] if " " <= c <= "~" else 722 if ord(c) < 0x300 else 1000 for c in text) / 1000


def qr_text(gateway: str, name: str) -> str:
    """What the QR code says."""
    return f"parkgate:{gateway}:{name}"


def matrix(text: str) -> list[list[bool]]:
    """The QR code's rows, True where dark, without the light border."""
    import segno

    return [[bool(module) for module in row] for row in segno.make(text, error="m", micro=False).matrix]


def check(path: Path, name: str, place: str) -> None:
    """Before anything is changed: raise SettingsError for a label that cannot be made."""
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"--label {path}: a label is FILE.svg or FILE.pdf")
    if len(place) > PLACE_LENGTH_MAX or not (place.isprintable() or not place):
        raise SettingsError(f"--place: at most {PLACE_LENGTH_MAX} printable characters")
    if path.suffix.lower() == ".pdf":
        try:
            (name + place).encode("cp1252")
        except UnicodeEncodeError as error:
            letter = error.object[error.start]
            raise SettingsError(
                f"--label {path}: a PDF label has no letter {letter!r}; take FILE.svg, which has all"
            ) from None


def content(path: Path, gateway: str, name: str, place: str = "") -> bytes:
    """The file for `path`, by its suffix."""
    made = layout(gateway, name, place)
    return _pdf(made) if path.suffix.lower() == ".pdf" else _svg(made, name).encode()


def layout(gateway: str, name: str, place: str = "") -> Label:
    """Where everything stands."""
    modules = matrix(qr_text(gateway, name))
    qr_y = HEIGHT_MM - _MARGIN_MM - _QR_MM
    texts = _fitted(name, _MARGIN_MM, _MARGIN_MM, *_NAME_MM, _NAME_SIZE_MAX)
    left = _MARGIN_MM + _QR_MM + 5
    room = WIDTH_MM - _MARGIN_MM - left
    texts += _fitted(place, left, qr_y, room, 15.5, _PLACE_SIZE_MAX) if place else []
    texts.append(Text(left, qr_y + _QR_MM - 5.5, 8.5, f"{gateway[:4]} {gateway[4:8]}"))
    texts.append(Text(left, qr_y + _QR_MM - 0.3, 2.1, f"Parkgate {gateway}"))
    dark = [(column, row) for row, line in enumerate(modules) for column, is_dark in enumerate(line) if is_dark]
    return Label(texts, dark, _QR_MM / len(modules), _MARGIN_MM, qr_y)


def _fitted(text: str, x: float, y: float, width: float, height: float, size_max: float) -> list[Text]:
    """`text` in the number of lines in which it is largest, from the top of its box."""
    best: tuple[float, list[str]] = (0.0, [text])
    for count in (1, 2, 3):
        lines = _broken(text, count)
        size = min(size_max, height / (_CAPITAL + 0.22 + _LEADING * (len(lines) - 1)))
        size = min(size, width / _WIDER / max(width_of(line) or 0.3 for line in lines))
        if size > best[0] * 1.05:  # one line more must be worth it
            best = size, lines
    size, lines = best
    return [Text(x, y + size * (_CAPITAL + i * _LEADING), size, line) for i, line in enumerate(lines)]


def _broken(text: str, count: int) -> list[str]:
    """`text` in at most `count` lines, as even as its spaces and hyphens allow; by force where it has none."""
    lines = []
    for left in range(count, 1, -1):
        wanted = width_of(text) / left
        ends = [i + 1 for i, c in enumerate(text[:-1]) if c in " -_./,"] or list(range(1, len(text)))
        if not ends:
            break
        end = min(ends, key=lambda end: abs(width_of(text[:end].rstrip()) - wanted))
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [line for line in (*lines, text) if line]


def _svg(made: Label, title: str) -> str:
    squares = "".join(f"M{column} {row}h1v1h-1z" for column, row in made.dark)
    texts = "".join(
        f'<text x="{text.x:.2f}" y="{text.y:.2f}" font-size="{text.size:.2f}" textLength="{text.width:.2f}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(text.text)}</text>\n'
        for text in made.texts
    )
    scale = made.module_mm
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_MM:g}mm" height="{HEIGHT_MM:g}mm" '
        f'viewBox="0 0 {WIDTH_MM:g} {HEIGHT_MM:g}">\n<title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH_MM:g}" height="{HEIGHT_MM:g}" fill="#fff"/>\n'
        f'<path transform="translate({made.qr_x:.3f} {made.qr_y:.3f}) scale({scale:.5f})" d="{squares}"/>\n'
        "<g font-family=\"Helvetica, Arial, 'Liberation Sans', 'Noto Sans', sans-serif\" font-weight=\"bold\" "
        f'xml:space="preserve">\n{texts}</g>\n</svg>\n'
    )


_POINTS = 72 / 25.4


def _pdf(made: Label) -> bytes:
    def y(mm: float) -> float:
        return (HEIGHT_MM - mm) * _POINTS

    size = made.module_mm * _POINTS
    draw = ["0 g"]
    for column, row in made.dark:
        left, top = made.qr_x * _POINTS + column * size, y(made.qr_y) - (row + 1) * size
        draw.append(f"{left:.3f} {top:.3f} {size:.3f} {size:.3f} re")
    draw.append("f")
    for text in made.texts:
        raw = text.text.encode("cp1252")
        shown = b"".join(b"\\" + bytes([byte]) if byte in b"()\\" else bytes([byte]) for byte in raw).decode("cp1252")
        draw.append(f"BT /F1 {text.size * _POINTS:.2f} Tf {text.x * _POINTS:.2f} {y(text.y):.2f} Td ({shown}) Tj ET")
    stream = zlib.compress("\n".join(draw).encode("cp1252"), 9)
    box = f"[0 0 {WIDTH_MM * _POINTS:.2f} {HEIGHT_MM * _POINTS:.2f}]"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R "
        f"/Resources << /Font << /F1 5 0 R >> >> >>".encode(),
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def terminal_lines(text: str, blocks: bool, columns: int) -> list[str]:
    """The QR code for a terminal: `blocks` are half-block characters, else two # a module; light is what is drawn.
    Too narrow a terminal gets a sentence instead."""
    rows = matrix(text)
    size = len(rows) + 4
    light = [[True] * size] * 2 + [[True] * 2 + [not d for d in row] + [True] * 2 for row in rows] + [[True] * size] * 2
    if (size if blocks else 2 * size) > columns:
        return [f"(the QR code is wider than this terminal's {columns} columns: --label FILE.svg writes it to a file)"]
    if not blocks:
        return ["".join("##" if module else "  " for module in row) for row in light]
    light = light + [[False] * size] * (len(light) % 2)
    signs = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
    return ["".join(signs[pair] for pair in zip(light[at], light[at + 1])) for at in range(0, len(light), 2)]

"""CSV: for programs exact to the last digit (UTF-8, comma, decimal point, Unix ms), and for spreadsheets.

For a spreadsheet the file begins with a byte order mark, so that Khmer names are read as such; each reading has its
local time; a decimal comma comes with semicolons between the cells. A text that the spreadsheet would compute, or take
for a number or a date, gets an apostrophe in front: a name such as `=1+1` or `1-2` is shown and does nothing. Numbers
of readings are never changed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.hub.export.rows import Rows, Tally
from host_tools.hub.reading.summary import decimal_text
from parkgate.reading import QUALITY_NAMES, RELATIVE_ONLY, TRUST_NAMES

HEADER = ("gateway", "gateway_id", "place", "epoch", "seq", "instrument", "quantity", "unit", "time_unix_ms",
          "time_since_boot_ms", "clock_trust", "value", "quality")  # fmt: skip
EXCEL_HEADER = ("place", "gateway", "instrument", "quantity", "unit", "time_local", "value", "quality", "clock_trust",
                "time_unix_ms", "time_since_boot_ms", "offset", "gateway_id", "epoch", "seq")  # fmt: skip
SHEET_ROWS_MAX = 1_048_576  # of a spreadsheet
PIECE_BYTES = 64 * 1024
_COMPUTED = re.compile(r"[=+\-@\t\r\n＝＋－＠]|[\d.,:/eE+\- ]+$")  # a formula; a number or a date
_MINUTE_MS = 60_000
_MINUTES_KNOWN = 4096


class Style(NamedTuple):
    """How a spreadsheet of the park's people wants it."""

    zone: ZoneInfo
    decimal_comma: bool = False


def harmless(text: str) -> str:
    """`text` as a cell that a spreadsheet shows as it is, and neither computes nor takes for a number."""
    return f"'{text}" if _COMPUTED.match(text) else text


def line(cells: Iterable, style: Style | None = None) -> str:
    """One line with its end. For a spreadsheet each text is made harmless."""
    out = io.StringIO()
    delimiter = ";" if style and style.decimal_comma else ","
    if style:
        cells = [harmless(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(out, lineterminator="\r\n" if style else "\n", delimiter=delimiter).writerow(cells)
    return out.getvalue()


def pieces(lines: Iterable[str], style: Style | None) -> Iterator[bytes]:
    """Lines as pieces of a file, the byte order mark first where a spreadsheet reads it."""
    held, size = (["\ufeff"], 1) if style else ([], 0)
    for one in lines:
        held.append(one)
        size += len(one)
        if size >= PIECE_BYTES:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()


def answer(parts: Iterator[Rows], tally: Tally, style: Style | None = None) -> Iterator[bytes]:
    """Readings as CSV. A damaged batch is one line without a reading, whose quality says what is wrong."""
    return pieces(_excel(parts, tally, style) if style else _plain(parts, tally), style)


def _plain(parts: Iterator[Rows], tally: Tally) -> Iterator[str]:
    yield line(HEADER)
    for part in parts:
        gateway, channel = part.gateway, part.channel
        start = (gateway.name, gateway.id.hex(), part.place, part.epoch.hex(), part.seq)
        if channel is None:
            yield line((*start, *[""] * 7, f"damaged: {part.fault}"))
            continue
        begin = line((*start, *channel[:3]))[:-1]
        scale = channel.scale
        for time_ms, trust, value, quality in zip(part.times, part.trust, part.values, part.quality):
            when = f",{time_ms}" if trust == RELATIVE_ONLY else f"{time_ms},"
            number = "" if value is None else decimal_text(value, scale)
            yield f"{begin},{when},{TRUST_NAMES[trust]},{number},{quality_name(quality)}\n"
        tally.written += len(part.times)


def _excel(parts: Iterator[Rows], tally: Tally, style: Style) -> Iterator[str]:
    yield line(EXCEL_HEADER, style)
    sign, point = (";", ",") if style.decimal_comma else (",", ".")
    clock = _Clock(style.zone, point)
    for part in parts:
        gateway, channel = part.gateway, part.channel
        end = line((gateway.id.hex(), part.epoch.hex(), part.seq), style)
        if channel is None:
            yield (
                line((part.place, gateway.name, *[""] * 5, f"damaged: {part.fault}", *[""] * 4), style)[:-2]
                + sign
                + end
            )
            continue
        begin = line((part.place, gateway.name, *channel[:3]), style)[:-2]
        for time_ms, trust, value, quality in zip(part.times, part.trust, part.values, part.quality):
            number = "" if value is None else (decimal_text(value, channel.scale) or "").replace(".", point)
            wall, offset = ("", "") if trust == RELATIVE_ONLY else clock.local(time_ms)
            when = f"{sign}{time_ms}" if trust == RELATIVE_ONLY else f"{time_ms}{sign}"
            words = quality_name(quality), TRUST_NAMES[trust], when, offset, end
            yield sign.join((begin, wall, number, *words))
        tally.written += len(part.times)


def quality_name(code: int) -> str:
    """How good a reading is, in words."""
    return QUALITY_NAMES.get(code) or f"code {code}"


class _Clock:
    """Local times as a spreadsheet reads them: 2026-11-01 08:30:05.250. The channels of a batch have
    the same times, so the zone is asked once for each minute of a batch."""

    def __init__(self, zone: ZoneInfo, point: str):
        self._zone, self._point = zone, point
        self._known: dict[int, tuple[str, str]] = {}  # minute → how its times begin, offset

    def local(self, time_ms: int) -> tuple[str, str]:
        """(local time, offset such as UTC+07:00)."""
        minute, rest = divmod(time_ms, _MINUTE_MS)
        known = self._known.get(minute)
        if known is None:
            moment = datetime.fromtimestamp(minute * 60, self._zone)
            hours, minutes = divmod(abs(moment.utcoffset() or timedelta(0)) // timedelta(minutes=1), 60)
            behind = (moment.utcoffset() or timedelta(0)) < timedelta(0)
            if len(self._known) >= _MINUTES_KNOWN:
                self._known.clear()
            known = f"{moment:%Y-%m-%d %H:%M:}", f"UTC{'-' if behind else '+'}{hours:02}:{minutes:02}"
            self._known[minute] = known
        return f"{known[0]}{rest // 1000:02}{self._point}{rest % 1000:03}", known[1]

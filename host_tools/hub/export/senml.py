"""SenML (RFC 8428), JSON or CBOR, exact to the last digit.

Numbers are written from integers and scales, never through a float: 2305 at scale 1 is 230.5 in JSON, and in
CBOR the decimal fraction 4([-1, 2305]). SenML units are those of the IANA registry, by the table of
quantities; a quantity or unit that has none there goes out with the unit its schema declares. SenML has no
word for quality: only readings that carry a value are in it, and one that is not good says so in the field
"quality" (readers that do not know it pass over it). Readings that could never be dated have no place in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import cbor2

from host_tools.hub.export.csv_text import PIECE_BYTES, quality_name
from host_tools.hub.export.rows import Channel, Rows, Tally
from host_tools.hub.reading.summary import decimal_text
from parkgate import quantities
from parkgate.reading import GOOD, RELATIVE_ONLY

# Labels of RFC 8428 table 4 and CBOR labels of section 6.
_BASE_NAME, _BASE_TIME, _BASE_UNIT = -2, -3, -4
_VALUE, _TIME = 2, 6
_BREAK = b"\xff"


def answer(form: str, parts: Iterator[Rows], tally: Tally) -> Iterator[bytes]:
    """Readings as "senml-json" or "senml-cbor"."""
    return _pieces(_json(parts, tally) if form == "senml-json" else _cbor(parts, tally))


def unit(channel: Channel) -> tuple[str, int]:
    """(unit, power of ten) for SenML: a value of `channel` is its integer × 10^power in that unit of the
    registry, or in its own unit where the registry has none."""
    known = quantities.find(channel.quantity)
    if known is not None and known.senml is not None:
        exponent = quantities.unit_exponent(channel.unit, known.unit)
        if exponent is not None:
            return known.senml, exponent + known.senml_exponent - channel.scale
    return channel.unit, -channel.scale


def name_part(text: str) -> str:
    """`text` as a part of a SenML name (RFC 8428 section 4.5.1): letters and digits of ASCII, "-", "." and "_" stay;
    each byte of all else is "/" and two hex digits, as in a URL with "/" for "%". No two texts become the same part."""
    return quote(text, safe="").replace("~", "%7E").replace("%", "/")


def name(gateway_id: bytes, channel: Channel) -> str:
    """The SenML name of a channel; no two channels of any gateways have the same."""
    return f"parkgate:{gateway_id.hex()}:{name_part(channel.instrument)}:{name_part(channel.quantity)}"


def _packs(parts: Iterator[Rows], tally: Tally):
    """(name, unit, power of ten, [(time in ms, value, quality)]) of each part that has any."""
    for part in parts:
        if part.channel is None:
            continue
        senml_unit, exponent = unit(part.channel)
        found = [
            (time_ms, value, quality)
            for time_ms, trust, value, quality in zip(part.times, part.trust, part.values, part.quality)
            if value is not None and trust != RELATIVE_ONLY
        ]
        tally.written += len(found)
        tally.left_out += len(part.times) - len(found)
        if found:
            yield name(part.gateway.id, part.channel), senml_unit, exponent, found


def _json(parts, tally) -> Iterator[bytes]:
    before = "["
    for base_name, base_unit, exponent, found in _packs(parts, tally):
        base_ms = found[0][0]
        # The base name is the whole name: no record needs one of its own.
        base = f'"bn":{_text(base_name)},"bt":{decimal_text(base_ms, 3)},"bu":{_text(base_unit)},'
        for time_ms, value, quality in found:
            when = f'"t":{decimal_text(time_ms - base_ms, 3)},' if time_ms != base_ms else ""
            how = "" if quality == GOOD else f',"quality":{_text(quality_name(quality))}'
            yield f'{before}{{{base}{when}"v":{decimal_text(value, -exponent)}{how}}}'.encode()
            base, before = "", ",\n"
    yield b"[]\n" if before == "[" else b"]\n"


def _text(text):
    return json.dumps(text, ensure_ascii=False)


def _cbor(parts, tally) -> Iterator[bytes]:
    yield b"\x9f"  # an array without a length: how many there are is known at the end
    for base_name, base_unit, exponent, found in _packs(parts, tally):
        base_ms = found[0][0]
        record: dict = {_BASE_NAME: base_name, _BASE_TIME: _decimal(base_ms, -3), _BASE_UNIT: base_unit}
        for time_ms, value, quality in found:
            record[_VALUE] = _decimal(value, exponent)
            if time_ms != base_ms:
                record[_TIME] = _decimal(time_ms - base_ms, -3)
            if quality != GOOD:
                record["quality"] = quality_name(quality)
            yield cbor2.dumps(record)
            record = {}
    yield _BREAK


def _decimal(value, exponent):
    """An integer where there are no decimals, else the decimal fraction of RFC 8949 section 3.4.4."""
    return value * 10**exponent if exponent >= 0 else cbor2.CBORTag(4, [exponent, value])


def _pieces(items: Iterator[bytes]) -> Iterator[bytes]:
    held, size = [], 0
    for item in items:
        held.append(item)
        size += len(item)
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)

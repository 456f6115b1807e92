"""Reads a flash image by SPEC 9 alone: nothing of the firmware is imported, so that the specification is tested too."""

import hashlib
import struct
import zlib
from typing import Any, NamedTuple

from cbor2 import dumps

LEDGER_FIELDS = (
    *("serial", "boot", "n", "position", "sampled", "consumed", "consumed_sampled", "next_seq", "sealed", "low"),
    *("low_sealed", "acknowledged", "dropped", "receipt", "unreported", "unstored", "head"),
)


class Record(NamedTuple):
    """One record as it stands on flash."""

    offset: int
    kind: int
    number: int
    boot: int
    a: int
    b: int
    content: bytes


class Sector(NamedTuple):
    """One sector of the journal."""

    place: int
    stream: int
    inside: bool
    reason: int
    epoch: bytes
    ledger: dict[str, Any]
    records: list[Record]


def ledger(data: bytes) -> tuple[dict[str, Any], int]:
    """9.3; and the bytes it takes."""
    values = dict(zip(LEDGER_FIELDS, struct.unpack_from("<QIIQQQQQQQQQQQII32s", data)))
    values["unnamed"], values["n"] = values["n"] >> 8, values["n"] & 255
    ranges = []
    for i in range(values["n"]):
        first, batches, before, readings = struct.unpack_from("<IIII", data, 144 + 16 * i)
        ranges.append((values["low"] + first, values["low"] + first + batches, values["low_sealed"] + before, readings))
    return {**values, "ranges": ranges}, 144 + 16 * values["n"]


def sectors(image: list[bytes], unit: int) -> list[Sector]:
    """9.2: the sectors of the newest epoch, by generation."""
    found = []
    for index, data in enumerate(image):
        crc = zlib.crc32(data[:252], zlib.crc32(struct.pack("<H", index)))
        if data[:4] != b"PkJ1" or data[4] != 1 or data[5] not in (1, 2) or struct.pack("<I", crc) != data[252:256]:
            continue
        state, _ = ledger(data[24:])
        found.append(
            Sector(index, data[5], bool(data[6]), data[7], data[8:24], state, records(data, index, state, unit))
        )
    found.sort(key=lambda sector: sector.ledger["serial"])
    return [sector for sector in found if sector.epoch == found[-1].epoch]


def records(data: bytes, index: int, state: dict[str, Any], unit: int) -> list[Record]:
    """9.4: the records of one sector whose CRC is right."""
    epoch, step = data[8:24], max(unit, 16)
    seed = zlib.crc32(struct.pack("<QH", state["serial"], index), zlib.crc32(epoch))
    kinds = range(1, 6) if data[5] == 1 else range(16, 18)
    found, offset = [], max(256, unit)
    while offset + 16 <= len(data):
        crc, tag, kind, count, length, boot, a, b = struct.unpack_from("<I2sBBHHHH", data, offset)
        end = offset + 16 + length
        if tag == epoch[:2] and kind in kinds and end <= len(data) and crc == zlib.crc32(data[offset + 4 : end], seed):
            found.append(Record(offset, kind, count, boot, a, b, data[offset + 16 : end]))
            offset = -(-end // step) * step
        else:
            offset += step
    return [record for record in found if not any(since <= record.offset < until for since, until in void(found, step))]


def void(found: list[Record], step: int) -> list[tuple[int, int]]:
    """9.5: the bytes that BOOTs declare to be nothing, the last BOOT first."""
    declared: list[tuple[int, int]] = []
    for record in reversed(found):
        if record.kind != 4 or any(since <= record.offset < until for since, until in declared):
            continue
        extra = record.content[ledger(record.content)[1] :]
        if extra:
            declared.append((int.from_bytes(extra, "little") * step, record.offset))
    return declared


class Journal:
    """What a start would find in `image` (a list of sectors): `state`, `unsealed` and `batches`."""

    def __init__(self, image: list[bytes], unit: int):
        self.sectors = sectors(image, unit)
        self.raw = [sector for sector in self.sectors if sector.stream == 1]
        self.sealed = [sector for sector in self.sectors if sector.stream == 2]
        self.state = dict(max((s.ledger for s in self.sectors), key=lambda state: state["serial"]))
        for sector in (*self.sealed[-1:], *self.raw[-1:]):
            for record in sector.records:
                if record.kind in (3, 4, 5, 17):
                    state = ledger(record.content[44:] if record.kind == 17 else record.content)[0]
                    if (state["serial"], state["position"]) >= (self.state["serial"], self.state["position"]):
                        self.state = dict(state)
        for record in self.raw[-1].records if self.raw else ():
            position, sampled, _ = full(record, self.raw[-1])
            if record.kind in (1, 2) and position >= self.state["position"]:
                self.state["position"], self.state["sampled"] = position + 1, sampled + record.number

    @property
    def counters(self) -> tuple[int, int, int, int]:
        """(sampled, acknowledged, buffered, dropped)."""
        state = self.state
        sampled = state["sampled"] + state["unstored"]
        return (
            sampled, state["acknowledged"], sampled - state["acknowledged"] - state["dropped"], state["dropped"],
        )  # fmt: skip

    def held(self) -> list[int]:
        """Batches that are not settled."""
        return [
            seq
            for seq in range(self.state["low"], self.state["next_seq"])
            if not any(first <= seq < end for first, end, _, _ in self.state["ranges"])
        ]

    def unsealed(self) -> list[tuple[int, bytes, int, int, int]]:
        """9.5: (kind, payload, boot, readings, position) of samples and events not in a batch."""
        result: list[tuple[int, bytes, int, int, int]] = []
        position, sampled = self.state["consumed"], self.state["consumed_sampled"]
        for sector, following in zip(self.raw, [*self.raw[1:], None]):
            end = following.ledger["position"] if following else self.state["position"]
            for record, behind in zip(sector.records, [*sector.records[1:], None]):
                at, before, boot = full(record, sector)
                if record.kind == 5 or (record.kind == 4 and not record.number):
                    continue
                if record.kind == 4:
                    at -= 1
                if at < position or at >= end:
                    continue
                if behind and behind.kind == 4 and behind.number & 1 and behind.a == (at + 1) & 0xFFFF:
                    continue
                if at > position:
                    result.append((2, b"lost", boot, before - sampled, at - 1))
                payload, readings = record.content, record.number if record.kind == 1 else 0
                if record.kind == 4:
                    payload = dumps([6, 1] if record.number & 1 else [2, sector.reason])
                if record.kind == 3:
                    payload = told(record.content)
                result.append((1 if record.kind == 1 else 2, payload, boot, readings, at))
                position, sampled = at + 1, before + readings
        return result

    def batch(self, seq: int) -> bytes | None:
        """9.6: the bytes of one batch."""
        last = [sector for sector in self.sealed if sector.ledger["next_seq"] <= seq]
        parts: list[bytes] = []
        whole = None
        for sector in last:
            for record in sector.records:
                if record.a | record.b << 16 != seq & 0xFFFFFFFF:
                    continue
                if record.kind == 16:
                    parts = [*parts, record.content] if record.number == len(parts) else parts
                    parts = [record.content] if record.number == 0 else parts
                elif sector is last[-1]:
                    whole = record.content[:44]
        if whole is None:
            return None
        length, _, count, _, _, digest = struct.unpack("<IIBBH32s", whole)
        batch = b"".join(parts)
        good = len(parts) == count and len(batch) == length and hashlib.sha256(batch).digest() == digest
        return batch if good else None


def full(record: Record, sector: Sector) -> tuple[int, int, int]:
    """Position, readings before, and boot, from their low bits."""
    state = sector.ledger
    return tuple(  # type: ignore[return-value]
        base + ((low - base) & 0xFFFF)
        for base, low in ((state["position"], record.a), (state["sampled"], record.b), (state["boot"], record.boot))
    )


def told(content: bytes) -> bytes:
    """9.5: the event of a gap statement."""
    _, size = ledger(content)
    numbers = struct.unpack_from("<BBBBIIIIQQQQ", content, size)
    why, known, first_bytes, last_bytes, batches, raw, events, earlier, readings, first, last, dropped = numbers
    first_meta, last_meta = content[size + 52 :][:first_bytes], content[size + 52 + first_bytes :][:last_bytes]
    seqs = (first, last) if known else (None, None)
    return dumps([5, *seqs, readings, why, [batches, raw, events, earlier, dropped, first_meta, last_meta]])

"""How each gateway fares, as plain dictionaries for the page and for other programs.

The writer thread makes a gateway's dictionary anew after a commit that concerned it and puts it on the board;
it is never changed afterwards, so any thread may read it. Each has the number `rev` at which it was made: who
knows up to which number he has seen, gets only what is new.
"""

import threading

from host_tools.hub.reading import availability
from host_tools.hub.receiving import present
from host_tools.hub.receiving.accept import size, without
from host_tools.hub.receiving.state import Epoch, Gateway
from parkgate.reading import RELATIVE_ONLY, TRUST_NAMES

HOLES_SHOWN = 50
FIRMWARE_KEY = "firmware"  # in a beat's health: the gateway's version as one number (SPEC 7)
ERASES_KEY, ERASES_RATED = "erases_max", 100_000  # of the most used sector; what makers of NOR flash promise
DAY_MS, YEAR_MS = 86_400_000, 31_557_600_000
LOSS_KEY = "loss_in_s"  # in a beat's health: seconds until the first reading is lost, if nothing gets through


def chain_summary(gateway: Gateway, epoch: Epoch, is_current: bool) -> dict:
    """What is held of one chain and what became of the rest: holes awaited, told by a signed gap, lost,
    unexplained."""
    beat = epoch.beat
    head = epoch.held.head()
    end = max(-1 if head is None else head, beat.sign1.seq - 1 if beat else -1) + 1
    oldest_held = end
    if is_current:
        oldest_held = 0 if beat is None else end if beat.oldest_held is None else beat.oldest_held
        if beat and head is not None and head >= beat.sign1.seq:
            oldest_held = min(oldest_held, beat.sign1.seq)  # sealed after that beat: it cannot speak of them
    holes = epoch.held.holes(end)
    untold = without(holes, epoch.missing["gap"].ranges())
    unexplained = without(untold, epoch.missing["lost"].ranges())
    gone = without(unexplained, [(oldest_held, end)])
    sampled, dropped = epoch.sampled, epoch.dropped
    if beat is not None and (beat.sampled, beat.dropped) > (sampled, dropped):
        sampled, dropped = beat.sampled, beat.dropped
    return {
        "epoch": epoch.epoch.hex(),
        "batches": epoch.batches,
        "readings": epoch.readings,
        "head_seq": head,
        "sealed": end,
        "sampled": sampled,
        "dropped": dropped,
        "gap_events": epoch.gap_events,
        "gap_readings": epoch.gap_readings,
        "forks": len(epoch.forks),
        "holes": len(holes),
        "hole_ranges": holes[:HOLES_SHOWN],
        "gap_batches": size(holes) - size(untold),
        "lost_batches": size(untold) - size(unexplained),
        "awaited_batches": size(unexplained) - size(gone),
        "unexplained_batches": size(gone),
    }


def gateway_summary(gateway: Gateway) -> dict:
    """Everything about one gateway except its channels. Sums are over all its epochs."""
    current = gateway.current()
    chains = [chain_summary(gateway, epoch, epoch is current) for epoch in gateway.epochs.values()]

    def total(name):
        return sum(chain[name] for chain in chains)

    beat = gateway.beat
    headline = gateway.headline
    instruments = availability.instruments(gateway)
    return {
        "id": gateway.kid.hex(),
        "topic": gateway.topic_name(),
        "name": gateway.name,
        "place": gateway.place and {"id": gateway.place[0].hex(), "name": gateway.place[1]},
        "enrolled_unix_ms": gateway.enrolled_unix_ms,
        "revoked_unix_ms": gateway.revoked_unix_ms,
        "last_seen_unix_ms": gateway.last_seen_unix_ms,
        "signed_ms": _signed_ms(gateway),
        "last_reading_ms": gateway.last_reading_ms,
        "clock_trust": _trust(gateway.last_trust),
        "batches_verified": total("batches"),
        "readings_stored": total("readings"),
        "duplicates": gateway.duplicates,
        "forks": gateway.refused.get("fork", 0),
        "refused": dict(gateway.refused),
        "undecoded": gateway.undecoded,
        "undecodable": gateway.undecodable,
        "epochs": len(chains),
        "epoch": current.epoch.hex() if current else None,
        "head_seq": current.held.head() if current else None,
        "sampled": total("sampled"),
        "dropped": total("dropped"),
        "backlog": max(0, total("sampled") - total("dropped") - total("readings")),
        "buffered": beat.buffered if beat else None,
        "gaps": total("gap_events") + total("unexplained_batches") + total("lost_batches"),
        "gap_readings": total("gap_readings"),
        "awaited_batches": total("awaited_batches"),
        "lost_batches": total("lost_batches"),
        "unexplained_batches": total("unexplained_batches"),
        "until_ms": availability.until_ms(gateway) or None,
        "instruments": instruments,
        "instruments_not_good": [one["instrument"] for one in instruments if one["state"] in availability.NOT_GOOD],
        "loss_in_s": beat.health.get(LOSS_KEY) if beat else None,
        "firmware": _version(beat.health.get(FIRMWARE_KEY)) if beat else None,
        "beat": _beat_summary(gateway),
        "alarms": list(gateway.alarms.values()),
        "spark": list(gateway.spark),
        "headline": {"quantity": headline.quantity, "unit": headline.unit, **_shown(headline)} if headline else None,
    }


def _version(number: int | None) -> str | None:
    """0.1.0 for 1000; None from a gateway older than the number."""
    if number is None or number < 0:
        return None
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _signed_ms(gateway: Gateway) -> int | None:
    """The newest time that the gateway itself has signed by a clock that it trusts; None where it has none."""
    beat = gateway.beat
    times = [availability.until_ms(gateway)]
    if beat is not None and beat.trust != RELATIVE_ONLY:
        times.append(beat.time_ms)
    return max(times) or None


def _trust(code: int | None) -> str | None:
    return None if code is None else TRUST_NAMES[code]


def _beat_summary(gateway):
    beat = gateway.beat
    if beat is None:
        return None
    return {
        "epoch": beat.sign1.epoch.hex(),
        "next_seq": beat.sign1.seq,
        "received_unix_ms": gateway.beat_unix_ms,
        "boot": beat.boot,
        "cause": beat.cause,
        "sampled": beat.sampled,
        "dropped": beat.dropped,
        "buffered": beat.buffered,
        "receipt_seq": beat.receipt_seq,
        "oldest_held": beat.oldest_held,
        "time_ms": beat.time_ms,
        "clock_trust": _trust(beat.trust),
        "clock_apart_ms": present.clock_apart_ms(beat, gateway.beat_unix_ms),
        "age_ms_max": present.age_ms_max(beat, gateway.beat_unix_ms),
        "flash_years": _flash_years(beat, gateway),
        "health": beat.health,
    }


def _flash_years(beat, gateway):
    """How many years the flash lasts if its most used sector goes on as since the enrolment; None before a day."""
    erases, age_ms = beat.health.get(ERASES_KEY), gateway.beat_unix_ms - gateway.enrolled_unix_ms
    if not erases or age_ms < DAY_MS:
        return None
    return max(0, ERASES_RATED - erases) * age_ms // erases // YEAR_MS


def _shown(series):
    return {"value": decimal_text(series.last_value, series.scale), "scale": series.scale}


def decimal_text(value: int | None, scale: int) -> str | None:
    """`value` × 10^-scale written out exactly, with the declared number of decimals: never through a
    float."""
    if value is None:
        return None
    if scale <= 0:
        return str(value * 10**-scale)
    digits = str(abs(value)).rjust(scale + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


class Board:
    """The newest dictionaries of all gateways, by id. Written by one thread, read by any."""

    def __init__(self, first_rev: int):
        """`first_rev` must be higher than any number of an earlier run: the Unix time in ms is."""
        self._lock = threading.Lock()
        self._rev = first_rev
        self._by_id: dict[str, dict] = {}
        self._nobody: dict[str, int] = {}

    def put(self, gateways: list[Gateway], nobody: dict[str, int]) -> None:
        made = [gateway_summary(gateway) for gateway in gateways]
        with self._lock:
            self._rev += 1
            self._nobody = dict(nobody)
            for item in made:
                item["rev"] = self._rev
                self._by_id[item["id"]] = item

    def since(self, rev: int) -> tuple[int, list[dict]]:
        """(newest rev, what is newer than `rev`)."""
        with self._lock:
            return self._rev, [item for item in self._by_id.values() if item["rev"] > rev]

    def get(self, gateway_id: str) -> dict | None:
        with self._lock:
            return self._by_id.get(gateway_id)

    def nobody(self) -> dict[str, int]:
        """Refusals that name no enrolled gateway, by reason."""
        with self._lock:
            return dict(self._nobody)

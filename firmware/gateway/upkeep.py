"""How the gateway is, in numbers, and what keeps it so: flash is erased in quiet moments, the clock is kept, and the
state is printed. `gateway` is the App."""

import asyncio
import json

from gateway.loaded import drop
from gateway.waiting import flush_is_due, quiet_ms
from parkgate import VERSION_NUMBER

MAINTAIN_MS = 100
STATUS_MS = 1000
SAY_MS = 200
CLOCK_MS = 60000


def health(gateway) -> dict:
    """Small numbers that travel in every beat."""
    sender, heap = gateway.sender, gateway.board.heap
    numbers = {
        "firmware": VERSION_NUMBER,
        "heap_peak": heap.peak_bytes,
        "heap_limit": heap.limit_bytes(),
        "crashes": gateway.supervisor.crashes,
        "stalls": gateway.supervisor.stalls,
        "errors": gateway.log.errors,
        "receipts_refused": sender.refused if sender else 0,
        "repeats": sender.outbox.repeats if sender else 0,
    }
    if sender and sender.answered_unix_ms is not None:
        numbers["answered_ms"] = sender.answered_unix_ms
    mono_ms = numbers["uptime_ms"] = gateway.mono_ms()
    board, sectors = gateway.board, gateway.journal.sectors
    numbers["erases_max"] = sectors.wear_base + max(sectors.wear)
    if getattr(board, "link_resets", 0):
        numbers["link_resets"] = board.link_resets
    radio = getattr(board, "link", None)
    signal_dbm = radio.signal_dbm() if hasattr(radio, "signal_dbm") else None
    if signal_dbm is not None:
        numbers["signal_dbm"] = signal_dbm
    error_ms = gateway.clock.uncertainty_ms(mono_ms)
    if error_ms is not None:
        numbers["clock_error_ms"] = error_ms
    gateway.account.add_health(numbers)
    seconds = gateway.journal.seconds_to_loss(mono_ms)
    if seconds is not None:
        numbers["loss_in_s"] = seconds
    return numbers


def status(gateway) -> dict:
    """The state for people and programs on the console, `health` included."""
    journal = gateway.journal
    counters = journal.counters
    numbers = {
        "gateway": gateway.topic_id,
        "name": gateway.settings["gateway"]["name"],
        "sampled": counters.sampled,
        "acknowledged": counters.acked,
        "buffered": counters.buffered,
        "dropped": counters.dropped,
        "journalled": journal.ledger.sampled,
        "sealed": journal.ledger.sealed,
        "batches": journal.next_seq,
        "held": len(journal.held()),
        "connected": gateway.sender.connected if gateway.sender else False,
        "boot": journal.boot,
        "storage": gateway.board.journal_kind,
        "heap_used": gateway.board.heap.used_bytes,
    }
    if hasattr(gateway.board, "code_in_place"):
        numbers["code_in_place"] = gateway.board.code_in_place()
    numbers.update(health(gateway))
    return numbers


class Upkeep:
    """`gateway` is the App."""

    def __init__(self, gateway):
        self._gateway = gateway

    async def run(self):
        """Erase flash while every bus is quiet, keep the clock, say how things are."""
        gateway = self._gateway
        board, sampling, journal = gateway.board, gateway.sampling, gateway.journal
        board.heap.look()
        clock_due = status_due = flush_due = account_due = 0
        flush_ms = gateway.settings["journal"]["flush_interval_s"] * 1000
        while True:
            if gateway.supervisor.look() and board.watchdog:
                board.watchdog.feed()
            pause_ms = quiet_ms(sampling)
            journal.maintain(pause_ms)
            now = gateway.mono_ms()
            if flush_is_due(now, flush_due, flush_ms, pause_ms, MAINTAIN_MS):
                gateway.flash.sync()  # on a file system this is what makes readings durable
                flush_due = now + flush_ms
            # To look and to say takes 50 ms of an RP2040: not just before a sample.
            if now >= status_due and (quiet_ms(sampling) >= SAY_MS or now >= status_due + STATUS_MS):
                board.heap.look()
                gateway.log.raw("status " + json.dumps(status(gateway)))
                status_due = now + STATUS_MS
            if sampling and now >= account_due:
                gateway.account.look()
                account_due = now + STATUS_MS
            gateway.trial.look(now)
            if now >= clock_due:
                gateway.timekeeper.ask_board()
                clock_due = now + CLOCK_MS
                if not gateway.can_sign:
                    self._look_for_key()
            await asyncio.sleep_ms(MAINTAIN_MS)

    def _look_for_key(self):
        """Start again as soon as the key can be read."""
        from gateway.identity import read_key

        key = read_key(self._gateway.board.files)
        drop(("gateway.identity",))
        if key:
            self._gateway.restart()

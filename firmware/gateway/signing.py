"""Batches and beats, signed at the next place of the gateway's chain."""

from gateway.waiting import in_steps, until_quiet
from parkgate.wire import batch, beat


class Signing:
    """`sampling` are the samplers that run, empty until sampling begins; `look` measures the heap; `health()` gives
    the numbers of a beat."""

    def __init__(self, signer, kid: bytes, journal, cause: int, clock, totals, sampling, look, health, mono_ms):
        self.signer = signer
        self.kid = kid  # the id of the key
        self._journal = journal
        self._cause = cause
        self._clock = clock
        self._totals = totals
        self._sampling = sampling
        self._look = look
        self._health = health
        self._mono_ms = mono_ms

    async def seal(self, payload: bytes, content_type: str) -> bytes:
        """`payload` signed at the journal's next place in the chain."""
        is_batch = content_type == batch.CONTENT_TYPE
        if is_batch:
            await until_quiet(self._sampling)
            self._totals.write(self._mono_ms())  # its samples may leave the journal
        journal = self._journal
        steps = batch.seal_steps(self.signer, self.kid, journal.epoch, journal.next_seq, payload, content_type)
        sealed = await in_steps(steps)
        if is_batch:
            await until_quiet(self._sampling)  # what is given will be written to flash at once
        self._look()  # here most is in use
        return sealed

    async def make_beat(self) -> bytes:
        """A signed heartbeat for the state as it is now."""
        journal = self._journal
        counters = journal.counters
        held = journal.held()
        time_ms, trust = self._clock.date(self._mono_ms())
        payload = beat.beat_payload(
            journal.head_hash if journal.next_seq else None, journal.boot, self._cause,
            (counters.sampled, counters.dropped, counters.buffered), journal.receipt_seq, held[0] if held else None,
            time_ms, trust, self._health(),
        )  # fmt: skip
        return await self.seal(payload, beat.CONTENT_TYPE)

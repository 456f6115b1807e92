"""Sending: sealed batches to the broker, receipts back from the hub. Only a receipt frees anything."""

import asyncio

from parkgate.errors import FormatError, IntegrityError, LinkError, SettingsError
from parkgate.outbox import Outbox

POLL_MS = 100
BACK_OFF_MS = (500, 1000, 2000, 5000, 10000, 30000)
CLOCK_GRAIN_MS = 200  # what a hub may take between reading its clock and sending
CLOCK_ROUND_TRIP_MS = 2000  # a receipt that came sooner than this after its batch may set the clock


class Sender:
    """Keeps a broker session, sends what the outbox chooses, and takes in receipts.

    `make_session(on_message)` gives a session to open; `open_receipt(message)` gives (epoch, seq, batch hash, commit
    time) or raises; `make_beat()` is a coroutine that gives a signed heartbeat."""

    def __init__(self, journal, make_session, topic_id, open_receipt, make_beat, sending, synchronise, mono_ms, log):
        self._journal = journal
        self._make_session = make_session
        self._open_receipt = open_receipt
        self._make_beat = make_beat
        self._beat_period_ms = sending["beat_period_s"] * 1000
        self._synchronise = synchronise
        self._mono_ms = mono_ms
        self._log = log
        self._up = "tele/%s/" % topic_id
        self._receipt_topic = "cmd/%s/receipt" % topic_id
        self.outbox = Outbox(sending["window"], sending["receipt_timeout_s"] * 1000, sending["backlog_interval_ms"])
        self.refused = 0
        self.connected = False

    async def run(self):
        """Stay connected for ever; after each failure wait a little longer, up to half a minute."""
        failures = 0
        while True:
            session = self._make_session(self._on_message)
            try:
                await session.open([self._receipt_topic])
                self.connected = True
                self._log.info("send", "connected to the broker")
                failures = 0
                await self._converse(session)
            except LinkError as e:
                self._log.error("send", str(e))
            finally:
                self.connected = False
                self.outbox.connection_lost()
                await session.close()
            await asyncio.sleep_ms(BACK_OFF_MS[min(failures, len(BACK_OFF_MS) - 1)])
            failures += 1

    async def _converse(self, session):
        """Send while receiving; ends with the LinkError of whichever fails first."""
        failed = []

        async def receive():
            try:
                await session.run()
            except Exception as e:  # whatever it is must end the conversation, not only the receiving half
                failed.append(e)

        receiver = asyncio.create_task(receive())
        beat_due = self._mono_ms()
        try:
            while not failed:
                now = self._mono_ms()
                if now >= beat_due:
                    message = await self._make_beat()
                    await session.publish(self._up + "beat", message)
                    beat_due = now + self._beat_period_ms
                held = self._journal.held()
                seq = self.outbox.choose(held, now)
                if seq is None:
                    await asyncio.sleep_ms(POLL_MS)
                    continue
                sealed = self._journal.read_batch(seq)
                if sealed is None:
                    await asyncio.sleep_ms(POLL_MS)  # it is read again; damaged, the journal drops, counts and tells it
                    continue
                await session.publish(self._up + "batch", sealed)
                self.outbox.sent(seq, held[-1], self._mono_ms())
            raise failed[0]
        finally:
            receiver.cancel()

    def _on_message(self, topic, message):
        """A message from the broker: nothing in it is believed before its MAC holds."""
        try:
            self._accept(*self._open_receipt(message))
        except (FormatError, IntegrityError) as e:
            self.refused += 1
            self._log.error("send", "receipt refused: %s" % e)

    def _accept(self, epoch, seq, batch_hash, committed):
        if epoch != self._journal.epoch:
            return  # of the chain before this one; there is nothing left to free
        if seq not in self._journal.held():
            return  # a second receipt for the same batch
        if self._journal.batch_hash(seq) not in (batch_hash, None):
            raise IntegrityError("receipt for batch %d names another content" % seq)
        round_trip = self.outbox.round_trip_ms(seq, self._mono_ms())
        self._journal.acknowledge(seq)
        if round_trip is not None and round_trip <= CLOCK_ROUND_TRIP_MS:
            try:
                self._synchronise(committed + round_trip // 2, round_trip // 2 + CLOCK_GRAIN_MS)
            except SettingsError as e:
                self._log.error("clock", str(e))


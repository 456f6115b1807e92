"""Sending: sealed batches and beats to the broker, receipts and answers back from the hub. Only a receipt frees
anything. Only an answer to the newest beat tells the time: nothing else proves that it was made just now."""

import asyncio
from hashlib import sha256

from parkgate.errors import FormatError, IntegrityError, JournalError, LinkError
from parkgate.journal.outbox import BackOff, Outbox

POLL_MS = 100
RECONNECT_MS, RECONNECT_MS_MAX = 2000, 60000  # the first wait and the longest; each is between half of it and all
BEAT_MS_MIN = 10000  # between beats, however often a connection is made
CLOCK_GRAIN_MS = 200  # what a hub may take between reading its clock and sending
CLOCK_ROUND_TRIP_MS = 2000  # an answer that came sooner than this after its beat may set the clock


class Sender:
    """Keeps a broker session, sends what the outbox chooses, and takes in receipts.

    `make_session(on_message)` gives a session to open; `take_receipt(message)` settles a batch or raises; `hub` opens
    answers; `take_log(message)` looks into what the hub says of its log; `say_schema()` has the next batch say it, for
    a hub that lost the batch that did; `make_beat()` is a coroutine that gives a signed heartbeat; `random(n)` is a
    whole number below n."""

    def __init__(
        self,
        journal,
        make_session,
        topic_id,
        take_receipt,
        hub,
        make_beat,
        sending,
        take_time,
        take_log,
        say_schema,
        random,
        mono_ms,
        log,
    ):
        self._journal = journal
        self._make_session = make_session
        self._take_receipt = take_receipt
        self._hub = hub
        self._make_beat = make_beat
        self._beat_period_ms = sending["beat_period_s"] * 1000
        self._take_time = take_time
        self._take_log = take_log
        self._say_schema = say_schema
        self._mono_ms = mono_ms
        self._log = log
        self._up = "tele/%s/" % topic_id
        self._down = "cmd/%s/" % topic_id
        self._asked = None  # (SHA-256 of the newest beat, when it left), until it is answered
        self._wanted = []  # ranges [first, last] that the hub lacks and has given receipts for
        self.answered_unix_ms = None  # the hub's time in the newest answer
        self._back_off = BackOff(RECONNECT_MS, RECONNECT_MS_MAX, random)
        self._pace_ms = sending["backlog_interval_ms"]
        self._beat_ms = None  # when the newest beat was made
        self.outbox = Outbox(
            sending["window"], sending["receipt_timeout_s"] * 1000, sending["backlog_interval_ms"], random
        )
        self.refused = 0
        self.turned_ms = 0
        self.connected = False

    async def run(self):
        """Keep the connection; after each failure wait longer, up to a minute, until the hub itself is heard: a
        broker that accepts a connection proves nothing."""
        while True:
            self.turned_ms = self._mono_ms()
            session = self._make_session(self._on_message)
            try:
                await session.open([self._down + "receipt", self._down + "answer", self._down + "log"])
                self.connected = True
                self._log.info("send", "connected to the broker")
                await self._converse(session)
            except LinkError as e:
                self._log.error("send", str(e))
            finally:
                self.connected = False
                self.outbox.connection_lost(self._mono_ms())
                await session.close()
            await asyncio.sleep_ms(self._back_off.wait_ms())

    async def _converse(self, session):
        """Send while receiving; ends with the LinkError of whichever fails first."""
        failed = []

        async def receive():
            try:
                await session.run()
            except Exception as e:  # whatever it is must end the conversation, not only the receiving half
                failed.append(e)

        receiver = asyncio.create_task(receive())
        beat_due = 0 if self._beat_ms is None else self._beat_ms + min(BEAT_MS_MIN, self._beat_period_ms)
        try:
            while not failed:
                now = self.turned_ms = self._mono_ms()
                if now >= beat_due:
                    message = await self._make_beat()
                    self._beat_ms = self._mono_ms()
                    self._asked = sha256(message).digest(), self._beat_ms
                    await session.publish(self._up + "beat", message)
                    beat_due = now + self._beat_period_ms
                held = self._journal.held()
                seq = self.outbox.choose(held, now)
                if seq is None:
                    await self._send_again(session, held)
                    await asyncio.sleep_ms(max(POLL_MS, self._pace_ms) if self._wanted else POLL_MS)
                    continue
                sealed = self._journal.read_batch(seq)
                if sealed is None:
                    await asyncio.sleep_ms(POLL_MS)  # it is read again; damaged, the journal drops, counts and tells it
                    continue
                await session.publish(self._up + "batch", sealed)
                self.outbox.sent(seq, self._mono_ms())
            raise failed[0]
        finally:
            receiver.cancel()

    async def _send_again(self, session, held):
        """Send one batch that the hub gave a receipt for and has lost: as long as its sector is not used again, it can
        be read. Nobody waits for its receipt: the hub names in its next answer what it still lacks."""
        while self._wanted:
            seq, last = self._wanted[0]
            seq = max(seq, self._journal.oldest_on_flash)
            if seq > last or seq >= self._journal.next_seq:
                self._wanted.pop(0)
                continue
            self._wanted[0][0] = seq + 1
            sealed = None if seq in held else self._journal.read_batch(seq)
            if sealed is not None:
                await session.publish(self._up + "batch", sealed)
                self.outbox.repeats += 1
            return

    def _on_message(self, topic, message):
        """A message from the broker: nothing in it is believed before its MAC holds."""
        try:
            if topic == (self._down + "answer").encode():
                self._take_answer(*self._hub.open_answer(message))
            elif topic == (self._down + "log").encode():
                self._take_log(message)
            elif self._take_receipt(message):
                self._heard()
        except (FormatError, IntegrityError) as e:
            self.refused += 1
            self._log.error("send", "receipt refused: %s" % e)
        except JournalError as e:
            self._log.error("send", str(e))

    def _heard(self):
        """Something came from the hub that was made just now."""
        self._back_off.failures = 0
        self.outbox.heard(self._mono_ms())

    def _take_answer(self, beat_hash, hub_unix_ms, wanted):
        """Between its beat and now the hub's clock showed this time, so half of the way is how far it may be off."""
        asked, self._asked = self._asked, None
        if asked is None or asked[0] != beat_hash:
            self._asked = asked
            return  # of an older beat: who knows when it was made
        round_trip_ms = self._mono_ms() - asked[1]
        self.answered_unix_ms = hub_unix_ms
        self._wanted = wanted
        if wanted:
            self._say_schema()
        self._heard()
        if round_trip_ms <= CLOCK_ROUND_TRIP_MS:
            self._take_time(hub_unix_ms + round_trip_ms // 2, round_trip_ms // 2 + CLOCK_GRAIN_MS)

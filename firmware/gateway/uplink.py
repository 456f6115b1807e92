"""The way to the hub and back. Loaded only on a board that has a network."""

import asyncio

from gateway.waiting import in_steps, until_quiet

TLS_PAUSE_MS = 700  # the longest step of a TLS handshake on an RP2040, and some
DOWNS_MAX = 5  # a network that passes nothing though it was brought down so often: the board is restarted
CONSOLE_S_MAX = 300  # a word of the hub about its log waits no longer for who uses the console
FIRST_SAMPLE_MS = 3000  # then the network is brought up whether there is a sample or not


class Uplink:
    """`gateway` is the App."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._witness = None  # the task that looks into a message of the hub's log

    def make_sender(self, kind):
        """What sends batches and beats, of the class `kind`."""
        gateway = self._gateway
        return kind(
            gateway.journal, self.make_session, gateway.topic_id, gateway.take_receipt, gateway.hub,
            gateway.signing.make_beat, gateway.settings["sending"], gateway.timekeeper.take_hub_time, self.take_log,
            gateway.say_schema, self.random, gateway.mono_ms, gateway.log,
        )  # fmt: skip

    def make_session(self, on_message, suffix=""):
        """A broker session, not yet open."""
        from mqtt import Session  # after the first sample: to load it takes a while

        gateway = self._gateway

        async def connect(*where):
            board = gateway.board
            try:
                return await board.connect(*where, self._pause)
            finally:
                if getattr(board, "link_downs", 0) >= DOWNS_MAX:
                    gateway.supervisor.give_up("network", gateway.mono_ms() - board.link_up_ms)

        def not_before():
            return gateway.clock.not_before(gateway.mono_ms())

        name = "parkgate-" + gateway.topic_id + suffix
        return Session(connect, name, gateway.settings["broker"], on_message, not_before)

    def random(self, limit: int) -> int:
        """A whole number below `limit`, for waiting times."""
        return int.from_bytes(self._gateway.board.entropy(4), "big") % limit

    async def _pause(self):
        """Until the buses leave time for a step of TLS."""
        await until_quiet(self._gateway.sampling, TLS_PAUSE_MS, 10, False)

    async def first_samples(self):
        """Until each bus has tried one: loading what sends, the network and the key take their time."""
        gateway = self._gateway
        until = gateway.mono_ms() + FIRST_SAMPLE_MS
        while gateway.mono_ms() < until and not all([sampler.begun for sampler in gateway.samplers]):
            await asyncio.sleep_ms(10)

    async def run(self):
        """Keep the connection to the hub."""
        gateway = self._gateway
        await in_steps(gateway.hub.key_steps())
        await gateway.sender.run()

    def take_log(self, message):
        """A word of the hub about its log: one at a time is looked into, beside everything else."""
        if self._witness is None:
            self._witness = asyncio.create_task(self._look_into(bytes(message)))

    async def _look_into(self, message):
        gateway = self._gateway
        try:
            for _ in range(CONSOLE_S_MAX):  # both at once take 13 kB
                if not gateway.console or not gateway.console.is_open():
                    break
                await asyncio.sleep_ms(1000)
            await gateway.look_into_log(message)
        except Exception as e:  # of a hostile broker's message, of flash, of memory: nothing else may suffer
            gateway.log.error("witness", str(e) or "failed: %s" % type(e).__name__)
        finally:
            self._witness = None

"""A gateway for tests of the tools, in this process: the firmware's own console commands over files in memory.

What a command does to settings, code and identity is the firmware's code; only network, meters and journal are absent.
A restart is what `wait_restart` sees of one. A cut of the cable is an exception of `read` or `write`.
"""

import os
import types

from cryptography.hazmat.primitives.asymmetric import ec

import tasks.console_change
import tasks.console_look
from host_tools.base import keys
from parkgate.console.access import Access
from parkgate.console.line import Console
from parkgate.errors import ParkgateError
from parkgate.settings.schema import validate
from parkgate.settings.slots import Slots
from parkgate.wire import cose


class Files:
    """A board's files."""

    def __init__(self):
        self.kept = {}

    def names(self):
        return list(self.kept)

    def read(self, name, _limit=32768):
        return self.kept.get(name)

    def write(self, name, data):
        self.kept[name] = bytes(data)

    def remove(self, name):
        self.kept.pop(name, None)


class Gateway:
    """The board; `port` is a line to it."""

    def __init__(self, read_profile=lambda _name: None):
        self.files = Files()
        self.board = types.SimpleNamespace(name="unix", files=self.files, entropy=os.urandom, hush=lambda _ms: None)
        self.read_profile = read_profile
        self.boot = 0
        self.make_key(b"")
        self.journal = types.SimpleNamespace(
            epoch=bytes(16), boot=0, next_seq=0, receipt_seq=None, unsealed_records=0, held=list,
            counters=types.SimpleNamespace(sampled=0, acked=0, buffered=0, dropped=0),
            space=types.SimpleNamespace(total=9, free=9), seconds_to_loss=lambda _now: None,
        )  # fmt: skip
        self.clock = types.SimpleNamespace(offset_ms=None, date=lambda now: (now, 0), uncertainty_ms=lambda _now: None)
        self.restart()

    def make_key(self, _entropy):
        public = keys.public_xy(ec.generate_private_key(ec.SECP256R1()))
        self.files.write("public.key", public)

    def restart(self):
        self.boot += 1
        self.journal.boot = self.boot
        slots = Slots(self.files, validate)
        self.settings = slots.load(None)
        self.trial = slots  # has the generation, on_trial and the problem, as gateway.trial.Trial has
        public = self.files.read("public.key")
        self.can_sign = True
        self.supervisor = types.SimpleNamespace(crashes=0)
        self.signer = types.SimpleNamespace(public_key=public)
        self.gateway_id = cose.thumbprint(public)
        self.topic_id = self.gateway_id[:16].hex()
        key = self.settings["hub"]["public_key"]
        self.hub = types.SimpleNamespace(id=cose.thumbprint(bytes.fromhex(key))) if key else None
        self.settings_id = bytes(16)
        self.access = Access(self.files.read("access.code"), lambda data: self.files.write("access.code", data))
        self.console = Console(lambda *_: False, lambda *_: ())

    def mono_ms(self):
        return 1000

    def take(self, data: bytes) -> bytes:
        """What the line carries back for `data`."""
        out = b""
        for item in self.console.feed(data):
            if isinstance(item, bytes):
                out += item
                continue
            lines, error, after = [], None, None
            try:
                if item.needs_unlock and not self.access.open(self.mono_ms()):
                    error = "locked: unlock CODE first"
                else:
                    after = self._carry_out(item, lines)
            except ParkgateError as e:
                error = str(e)
            console = self.console
            out += b"".join([console.line(item, line) for line in lines]) + console.end(item, error)
            if after is not None:
                after()
        return out

    def _carry_out(self, request, lines):
        tasks.console_change.drop = lambda _names: None  # pyright: ignore[reportAttributeAccessIssue]
        tasks.console_change.gc = types.SimpleNamespace(collect=int)  # pyright: ignore[reportAttributeAccessIssue]
        tasks.console_look.status = lambda _gateway: {"crashes": 0, "connected": False}
        name = request.name.replace(" ", "_")
        change = tasks.console_change.Change(self, self.access)
        owner = change if hasattr(change, name) else tasks.console_look.Look(self, self.access)

        async def say(text):
            lines.append(text)

        handler = getattr(owner, name, None)
        if handler is None:
            raise ParkgateError("not in this test's gateway")
        coroutine = handler(request, say)
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError(f"{request.name} waits for something that this gateway has not")


class Port:
    """What serial.serial_for_url would give. `on_call(kind)` may raise before each operation."""

    def __init__(self, gateway, on_call=lambda _kind: None):
        self._gateway = gateway
        self._on_call = on_call
        self._waiting = b""

    @property
    def in_waiting(self):
        return len(self._waiting)

    def write(self, data):
        self._on_call("serial write")
        self._waiting += self._gateway.take(data)

    def read(self, count):
        self._on_call("serial read")
        found, self._waiting = self._waiting[:count], self._waiting[count:]
        return found

    def close(self):
        pass

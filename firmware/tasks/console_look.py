"""Console commands that show things. Each is a coroutine of (request, say) and may give what to do after its reply."""

import asyncio
from binascii import a2b_base64, b2a_base64

from gateway.upkeep import status
from parkgate import MAJOR, MINOR, PATCH
from parkgate.errors import FormatError, SettingsError
from parkgate.reading import TRUST_NAMES

_PIECE_BYTES = 180  # 240 characters of base64
_SEAL_POLLS, _SEAL_POLL_MS = 200, 100


def whole_number(text: str, what: str, low: int = 0, high: int = 1 << 52) -> int:
    """The number that `text` writes in digits. Raises SettingsError."""
    if not text.isdigit() or len(text) > 16 or not low <= int(text) <= high:
        raise SettingsError("%s is a whole number from %d to %d" % (what, low, high))
    return int(text)


class Look:
    """`gateway` is the App, `access` the Access of this console."""

    def __init__(self, gateway, access):
        self._gateway = gateway
        self._access = access

    async def help(self, request, say):
        from parkgate.console.line import find, help_lines

        prefix = request.args[0].strip() if request.args else ""
        if prefix:
            try:
                prefix = find(prefix.split())[0][0]
            except Exception:  # a group such as `settings`: its words are the prefix
                pass
        found = False
        for line in help_lines(prefix):
            found = True
            await say(line)
        if not found:
            raise SettingsError("there is no such command: type help")

    async def identity(self, _request, say):
        gateway, access = self._gateway, self._access
        await say("gateway = " + gateway.topic_id)
        await say("id = " + gateway.gateway_id.hex())
        await say("public_key = " + gateway.signer.public_key.hex())
        if not gateway.can_sign:
            await say("key = cannot be read: readings are kept, none are signed or sent")
        await say("name = " + gateway.settings["gateway"]["name"])
        await say("firmware = %d.%d.%d" % (MAJOR, MINOR, PATCH))
        await say("board = " + gateway.board.name)
        await say("hub = " + (gateway.hub.id.hex() if gateway.hub else "none"))
        code = "set" if access.has_code else "on trial" if access.on_trial else "not set"
        await say("code = " + ("damaged" if access.damaged else code))
        await say("unlocked = " + ("yes" if access.open(gateway.mono_ms()) else "no"))
        await say("settings = %d%s" % (gateway.trial.generation, ", on trial" if gateway.trial.on_trial else ""))
        await say("settings_id = " + gateway.settings_id.hex())

    async def status(self, _request, say):
        numbers = status(self._gateway)
        for name in sorted(numbers):
            await say("%s = %s" % (name, numbers[name]))
        if self._gateway.trial.problem:
            await say("problem = " + self._gateway.trial.problem)

    async def journal_status(self, _request, say):
        journal = self._gateway.journal
        await say("epoch = " + journal.epoch.hex())
        await say("boot = %d" % journal.boot)
        await say("next_batch = %d" % journal.next_seq)
        await say("highest_receipt = %s" % ("none" if journal.receipt_seq is None else journal.receipt_seq))
        await say("held = %d" % len(journal.held()))
        counters, space = journal.counters, journal.space
        await say("sampled = %d" % counters.sampled)
        await say("acknowledged = %d" % counters.acked)
        await say("buffered = %d" % counters.buffered)
        await say("dropped = %d" % counters.dropped)
        await say("unsealed_records = %d" % journal.unsealed_records)
        await say("sectors = %d" % space.total)
        await say("sectors_free = %d" % space.free)
        seconds = journal.seconds_to_loss(self._gateway.mono_ms())
        await say("seconds_to_loss = %s" % ("not known yet" if seconds is None else seconds))

    async def time(self, _request, say):
        gateway = self._gateway
        time_ms, trust = gateway.clock.date(gateway.mono_ms())
        await say("%s = %d" % ("since_start_ms" if gateway.clock.offset_ms is None else "unix_ms", time_ms))
        await say("trust = " + TRUST_NAMES[trust])
        error_ms = gateway.clock.uncertainty_ms(gateway.mono_ms())
        await say("uncertainty_ms = %s" % ("not known" if error_ms is None else error_ms))

    async def time_set(self, request, say):
        self._gateway.timekeeper.synchronise(whole_number(request.args[0], "UNIX_MS"))
        await self.time(request, say)

    async def log(self, _request, say):
        for line in self._gateway.log.recent():
            for part in line.split("\n"):
                await say(part)

    async def update(self, _request, _say):
        raise SettingsError("reserved: not in this firmware; flash a new one by cable")

    # Sealed batches by cable.

    async def export_list(self, _request, say):
        journal = self._gateway.journal
        await say("epoch = " + journal.epoch.hex())
        for seq in journal.held():
            await say("batch = %d" % seq)

    async def export_seal(self, _request, say):
        journal, sealer = self._gateway.journal, self._gateway.sealer
        before = journal.next_seq
        sealer.hurry = True
        try:
            for _ in range(_SEAL_POLLS):
                if not journal.unsealed_records or journal.next_seq != before:
                    break
                await asyncio.sleep_ms(_SEAL_POLL_MS)
        finally:
            sealer.hurry = False
        await say("sealed = %d" % (journal.next_seq - before))

    async def _pieces(self, data, say):
        await say("bytes = %d" % len(data))
        data = memoryview(data)
        for at in range(0, len(data), _PIECE_BYTES):
            await say(str(b2a_base64(data[at : at + _PIECE_BYTES]), "utf-8").strip())

    async def export_batch(self, request, say):
        journal = self._gateway.journal
        seq = whole_number(request.args[0], "SEQ")
        sealed = journal.read_batch(seq) if seq in journal.held() else None
        if sealed is None:
            raise SettingsError("that batch is not held: export list tells which are")
        await self._pieces(sealed, say)

    async def export_beat(self, _request, say):
        await self._pieces(await self._gateway.signing.make_beat(), say)

    async def export_receipt(self, request, say):
        gateway = self._gateway
        if not gateway.hub:
            raise SettingsError("no hub is set: this gateway cannot tell whose receipt that is")
        try:
            message = a2b_base64(request.args[0].encode())
        except ValueError:
            raise FormatError("not base64") from None
        await say("receipt = %s" % ("taken" if gateway.take_receipt(message) else "nothing to free"))

"""Console commands that change things: settings, identity, code, restart, factory reset."""

import asyncio
import gc
import json

from gateway.loaded import drop
from parkgate.errors import SettingsError
from parkgate.events import SETTINGS

_SHOWN_CHARACTERS = 64  # to a person; a program gets all
_SEAL_TRIES = 8  # a batch that was too large holds half the readings at the next
_FACTORY_RESET = 2  # index into events.EPOCH_REASONS
_SETTINGS = ("parkgate.settings.schema", "parkgate.settings.edit", "parkgate.settings.slots")
_SETTINGS += ("parkgate.settings.sensors", "parkgate.settings.stations")
_PROFILES = ("parkgate.meters.profile.staging", "parkgate.meters.profile.lines")
_PROFILES += ("parkgate.meters.profiles", "parkgate.meters.profile.rows", "parkgate.meters.profile.compiling")
_PROFILES += ("parkgate.quantities",)


class Change:
    """`gateway` is the App, `access` the Access of this console."""

    def __init__(self, gateway, access):
        self._gateway = gateway
        self._access = access

    # Settings.

    def _slots(self, loaded=True):
        """The slots; not `loaded` does for what is staged, and takes less memory."""
        from parkgate.settings.slots import Slots

        files = self._gateway.board.files
        if not loaded:
            return Slots(files, None)
        from parkgate.settings.schema import validate

        slots = Slots(files, validate)
        slots.load(None, False)
        return slots

    async def settings_show(self, request, say):
        from parkgate.settings import KIND, MEANING, UNIT, edit

        found = False
        prefix = request.args[0] if request.args else ""
        for path, field, value in edit.entries(self._gateway.settings, prefix):
            found = True
            if len(str(value)) > _SHOWN_CHARACTERS and request.seq is None:
                value = "%s… (%d characters)" % (str(value)[:_SHOWN_CHARACTERS], len(str(value)))
            unit = " " + field[UNIT] if field[KIND] == "int" and field[UNIT] else ""
            text = "%s = %s" % (path, edit.shown(field, value))
            await say(text if request.seq is not None else "%s%s    (%s)" % (text, unit, field[MEANING]))
        if not found and prefix:
            edit.field_of(prefix)
            await say("nothing is set there")

    async def settings_help(self, request, say):
        from parkgate.settings import edit

        for path, text in edit.help_entries(request.args[0] if request.args else ""):
            await say("%s: %s" % (path, text))

    async def _stage(self, say, change, *args):
        """Apply the function `change` of settings.edit to a copy of what is staged; only what is allowed is kept.
        In steps, with as little in memory at once as can be: a Pico W with its links up has 60 kB."""
        from parkgate.settings import edit
        from parkgate.settings.slots import STAGED, pack

        staged = self._slots(False).staged()
        if staged is None:
            staged = _copy(self._gateway.settings)
        known = _profiles(staged)
        getattr(edit, change)(staged, *args)
        wanted = _profiles(staged)
        packed = pack(staged)
        del edit, pack, staged
        self._check_profiles(wanted, known)
        self._gateway.board.files.write(STAGED, packed)
        await say("staged; settings commit makes it active")

    def _check_profiles(self, wanted, known):
        """Refuse what could not be sampled: a profile that is not there or has a fault, a quantity it has not."""
        if all([each in known for each in wanted]):
            return
        drop(_SETTINGS)
        gc.collect()
        from parkgate.meters.profile.staging import check

        check(self._gateway.read_profile, json.loads, wanted, known)
        del check
        drop(_PROFILES)
        gc.collect()

    async def settings_set(self, request, say):
        path, value = request.args
        await self._stage(say, "put", path, value, json.loads)

    async def settings_append(self, request, say):
        from tasks.console_look import whole_number

        path, at, value = request.args
        await self._stage(say, "append", path, whole_number(at, "AT", 0, 65535), value)

    async def settings_add(self, request, say):
        section, values = request.args
        await self._stage(say, "add", section, values, json.loads)

    async def settings_remove(self, request, say):
        await self._stage(say, "remove", request.args[0])

    async def settings_diff(self, _request, say):
        from parkgate.settings import edit

        staged = self._slots(False).staged()
        if staged is None:
            await say("nothing is staged")
            return
        for line in edit.differences(self._gateway.settings, staged):
            await say(line)

    async def settings_discard(self, _request, say):
        self._slots(False).discard()
        await say("discarded: nothing is staged now")

    async def settings_commit(self, _request, say):
        staged = self._slots(False).staged()
        if staged is None:
            raise SettingsError("nothing is staged: settings set PATH VALUE")
        wanted = _profiles(staged)
        del staged
        self._check_profiles(wanted, _profiles(self._gateway.settings))
        slots = self._slots()
        staged = slots.staged()
        generation = slots.commit(staged)
        slots.discard()
        await say("settings = %d, on trial until the hub accepts a batch" % generation)
        await say("restarting")
        return self._gateway.restart

    async def settings_confirm(self, _request, say):
        self._gateway.trial.confirm()
        await say("settings = %d, confirmed" % self._gateway.trial.generation)

    async def settings_revert(self, _request, say):
        self._slots().revert("by hand")
        await say("restarting with the settings before")
        return self._gateway.restart

    # Identity and access.

    async def identity_new(self, request, say):
        gateway = self._gateway
        self._mixed(request.args[0])
        if gateway.journal.next_seq or gateway.journal.counters.sampled:
            raise SettingsError("this key has signed or taken readings: factory reset first")
        from gateway.identity import make_key

        make_key(gateway.board, bytes.fromhex(request.args[0]))
        drop(("gateway.identity",))
        await say("a new key was made; restarting")
        return gateway.restart

    def _mixed(self, text):
        """48 bytes of this board's randomness and of what the host adds."""
        if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
            raise SettingsError("HOST_ENTROPY is 32 bytes in lower-case hexadecimal")
        from parkgate.wire.mac import hkdf_sha256

        return hkdf_sha256(self._gateway.board.entropy(48) + bytes.fromhex(text), b"", b"parkgate identity v1", 48)

    async def identity_next(self, request, say):
        board, entropy = self._gateway.board, self._mixed(request.args[0])
        from parkgate.log.rotation import prepare

        next_id = prepare(board.files, entropy, board.entropy)
        drop(("parkgate.log.rotation",))
        await say("next = " + next_id.hex())

    async def identity_rotate(self, request, say):
        gateway = self._gateway
        entropy, sealer, journal = self._mixed(request.args[0]), gateway.sealer, gateway.journal
        if sealer is None or not gateway.can_sign:
            raise SettingsError("there is nothing to rotate: this gateway signs nothing now")
        from gateway.identity import put_key
        from gateway.waiting import in_steps
        from parkgate.log import rotation

        board = gateway.board
        files = board.files
        done = False
        turned_ms, sealer.hurry = sealer.turned_ms, None  # the old key must sign nothing behind its last batch
        try:
            while sealer.turned_ms == turned_ms:  # until no batch is under way
                await asyncio.sleep_ms(100)
            if not journal.unsealed_records:
                gateway.note([SETTINGS, gateway.settings_id, None])  # so that there is a batch to be sealed
            seq = journal.next_seq
            steps = rotation.begin(files, gateway.gateway_id, gateway.signing.kid, seq, entropy, board.entropy)
            event = await in_steps(steps)
            for _ in range(_SEAL_TRIES):
                if journal.next_seq == seq:
                    await sealer.seal_one(event)
            done = rotation.settle(files, journal.next_seq, gateway.gateway_id, lambda *args: put_key(files, *args))
            if not done:
                raise SettingsError("the batch that says so could not be sealed: nothing has changed; see log")
        finally:
            if not done:
                sealer.hurry = False
            drop(("parkgate.log.rotation", "gateway.identity"))
        await say("batch %d is the last one of the old key; restarting with the new one" % seq)
        return gateway.restart

    async def code(self, request, say):
        self._access.set_code(request.args[0], self._gateway.board.entropy(16))
        await say("the code is set; this console is locked now")

    async def code_try(self, request, say):
        self._access.set_code(request.args[0], self._gateway.board.entropy(16), True)
        await say("the code is on trial; code keep locks this console with it, and so does its first unlock")

    async def code_keep(self, _request, say):
        self._access.keep()
        await say("the code is set; this console is locked now")

    async def unlock(self, request, say):
        if not self._access.unlock(request.args[0], self._gateway.mono_ms()):
            wait_s = (self._access.wait_ms(self._gateway.mono_ms()) + 999) // 1000
            raise SettingsError("wrong code" + ("; the next try is possible in %d s" % wait_s if wait_s else ""))
        await say("unlocked for ten minutes after the last command")

    async def lock(self, _request, say):
        self._access.lock()
        await say("locked" if self._access.has_code else "there is no code: code CODE")

    # Starting again.

    async def restart(self, _request, say):
        await say("restarting")
        return self._gateway.restart

    async def repl(self, _request, say):
        self._gateway.board.leave_to_prompt()
        await say("restarting into MicroPython's prompt; the start after that is the gateway's again")
        return self._gateway.restart

    async def factory_reset(self, request, say):
        if request.args[0] != "ERASE":
            raise SettingsError("type: factory reset ERASE")
        await say("erasing key, settings, code and readings; restarts when nothing is left of them (up to a minute)")
        return self._erase

    def _erase(self):
        """All at once: no other task may write meanwhile."""
        gateway = self._gateway
        board, journal = gateway.board, gateway.journal
        feed = board.watchdog.feed if board.watchdog else int
        journal.wipe(_FACTORY_RESET)
        for name in board.files.names():
            board.files.remove(name)
        while journal.scrub_next():
            feed()
        board.scrub_files(feed)
        gateway.restart()


def _profiles(settings):
    """What profile.staging looks at of each instrument."""
    names = ("profile", "address", "channels", "report", "ct_ratio", "vt_ratio")
    return [{name: item[name] for name in names if name in item} for item in settings.get("instruments", ())]


def _copy(settings):
    copy = {}
    for name, section in settings.items():
        copy[name] = [dict(item) for item in section] if isinstance(section, list) else dict(section)
    return copy

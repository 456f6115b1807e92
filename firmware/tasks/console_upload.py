"""Console commands that take something into the gateway or its chain: a meter profile into service, a commissioning
record and entries of the floor into the chain.

`upload AT BASE64` stages bytes in a file, piece by piece; `meters keep` and `commission sign` use what is staged when
its SHA-256 is what the host says, and forget it. Until then nothing has changed.
"""

import hashlib
import json
from binascii import a2b_base64

from parkgate.errors import FormatError, SettingsError
from tasks.console_look import whole_number

_STAGED = "upload.staged"
_BYTES_MAX = 24576
_NAME_MAX = 40


class Upload:
    """`gateway` is the App."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._files = gateway.board.files

    async def upload(self, request, say):
        at = whole_number(request.args[0], "AT", 0, _BYTES_MAX)
        try:
            data = a2b_base64(request.args[1].encode())
        except ValueError:
            raise FormatError("not base64") from None
        staged = (self._files.read(_STAGED) or b"") if at else b""
        if at > len(staged) or at + len(data) > _BYTES_MAX:
            raise SettingsError("%d bytes are staged; the next piece goes behind them" % len(staged))
        self._files.write(_STAGED, staged[:at] + data)
        await say("staged = %d" % (at + len(data)))

    def _staged(self, wanted):
        """What is staged, whole. Raises SettingsError."""
        data = self._files.read(_STAGED)
        if data is None:
            raise SettingsError("nothing is staged: upload 0 BASE64")
        if hashlib.sha256(data).digest().hex() != wanted:
            raise SettingsError("what is staged is not what was sent: send it again from the beginning")
        return data

    async def meters_keep(self, request, say):
        """Take the staged profile in under its name; refused with name, line and reason when it has a fault."""
        name, wanted = request.args
        if not _is_name(name):
            raise SettingsError("NAME is maker and model in lower case with hyphens, such as acme-m100")
        data = self._staged(wanted)
        path = "meters/%s.json" % name
        if self._gateway.read_profile(name) == data:
            self._files.remove(_STAGED)
            await say("profile = %s, was here already" % name)
            return
        users = [
            item["name"] for item in self._gateway.settings["instruments"] if item["profile"].split("+")[0] == name
        ]
        if users:
            raise SettingsError(
                "%s is in use by %s: give the changed profile another name, then change the instrument's setting"
                % (name, ", ".join(users))
            )
        from parkgate.meters.profile.staging import check

        check(lambda _name: data, json.loads, [{"profile": name}])
        self._files.write(path, data)
        self._files.remove(_STAGED)
        await say("profile = %s, taken in" % name)

    async def commission_sign(self, request, say):
        """Make the staged record an event of the chain."""
        from parkgate import events
        from parkgate.wire import cbor

        data = self._staged(request.args[0])
        if len(data) > events.COMMISSIONING_BYTES_MAX:
            raise SettingsError("a record has at most %d bytes" % events.COMMISSIONING_BYTES_MAX)
        record = cbor.decode(data)
        events.check_commissioning(record)
        gateway = self._gateway
        gateway.note([events.COMMISSIONED, list(gateway.clock.date(gateway.mono_ms()))] + record)
        self._files.remove(_STAGED)
        await say("signed = %s" % record[0])

    # The floor. Its modules are there only where the settings have stations.

    def _floor(self):
        floor = self._gateway.floor
        if floor is None:
            raise SettingsError("this gateway has no stations: settings add stations name=…")
        return floor

    async def floor_show(self, _request, say):
        for line in self._floor().lines():
            await say(line)

    async def floor_enter(self, request, say):
        from parkgate.sensing.scans import WORDS

        floor = self._floor()
        name, word, body = request.args
        station = floor.station(name)
        if station is None:
            raise SettingsError("there is no such station: floor show")
        if word not in WORDS:
            raise SettingsError("KIND is one of " + ", ".join(sorted(WORDS)))
        await say(floor.enter(station, WORDS[word], body) or "nothing: the same was entered just now")

    async def floor_correct(self, request, say):
        floor = self._floor()
        number = whole_number(request.args[0], "NUMBER", 1)
        await say(floor.correct(number, *floor.meant(request.args[1], request.args[2:])))


def _is_name(name):
    if not 0 < len(name) <= _NAME_MAX or name[0] == "-":
        return False
    return all(["a" <= c <= "z" or "0" <= c <= "9" or c == "-" for c in name])

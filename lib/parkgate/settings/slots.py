"""Where settings are kept: two slots, a trial before they count, and an automatic way back.

    slots = Slots(files, validate, parse)   files.read(name) → bytes or None, files.write(name, data)
    settings = slots.load(imported)         the active ones; `imported` is settings.json as bytes, or None
    slots.generation, slots.on_trial, slots.problem, slots.can_revert()
    slots.commit(settings) → generation     stored; active from the next start, on trial
    slots.confirm(), slots.revert(why)
    slots.staged(), slots.stage(settings), slots.discard()

A slot is a file with a generation, the settings in CBOR and a CRC-32. A commit never touches the slot that was
confirmed last. The active slot is the whole one with the highest generation that was not rejected; it is *on trial*
until `confirm`, which the gateway calls when the hub has accepted a batch taken under it. After STARTS_MAX starts, or
TRIAL_MS of one start, without that, settings on trial are rejected, if there are others to go back to.
The automatic way back must not help an attacker who blocks connections: it never leads from TLS to none or to another
hub's key.

A cut or a torn write at any point leaves the old settings or the new ones: what does not check is not there, and the
mark (which generation is confirmed, which rejected) can be lost without harm: then the highest is on trial again.

A file settings.json is the simple way in, for a file system that one can write to: when its content is new it becomes
the next generation, confirmed at once, because the person who put it there does not wait at a console.
"""

from binascii import crc32
from hashlib import sha256

from parkgate.errors import FormatError, SettingsError
from parkgate.wire import cbor

NAMES = ("settings.a", "settings.b")
MARK, STAGED = "settings.mark", "settings.staged"
BYTES_MAX = 12288
STARTS_MAX = 5
TRIAL_MS = 900000
_MAGIC = b"PGS1"
_VERSION = 1


def _wrap(item) -> bytes:
    data = _MAGIC + cbor.encode(item)
    if len(data) > BYTES_MAX:
        raise SettingsError("the settings take %d bytes, %d are allowed" % (len(data), BYTES_MAX))
    return data + (crc32(data) & 0xFFFFFFFF).to_bytes(4, "big")


def _unwrap(data, length):
    """The list of `length` that `_wrap` was given; None when it does not check."""
    if data is None or len(data) < 9 or data[:4] != _MAGIC:
        return None
    if crc32(data[:-4]) & 0xFFFFFFFF != int.from_bytes(data[-4:], "big"):
        return None
    try:
        item = cbor.decode(data[4:-4])
    except FormatError:
        return None
    return item if type(item) is list and len(item) == length and item[0] == _VERSION else None


def pack(settings: dict) -> bytes:
    """Settings as the file STAGED holds them. Raises SettingsError when they are too large."""
    return _wrap([_VERSION, settings])


def _is_weaker(before: dict, now: dict) -> bool:
    """Whether to go back from `now` to `before` would be what somebody wants who blocks the new connections."""
    hub = now["hub"]["public_key"]
    return now["broker"]["tls"] == "on" != before["broker"]["tls"] or bool(hub) and before["hub"]["public_key"] != hub


class Slots:
    """See the module. `validate(given)` gives complete settings or raises SettingsError; `parse(text)` reads the text
    of settings.json or raises ValueError."""

    def __init__(self, files, validate, parse=None):
        self._files = files
        self._validate = validate
        self._parse = parse
        self._newest = 0
        self.generation = 0  # of the active settings; 0: defaults, nothing is stored
        self.on_trial = False
        self.problem = None
        self._active = None  # name of the active slot
        self._weaker = False  # the automatic way back must not lead to the other slot
        self._other = 0  # generation of the other slot, 0 when there is nothing to go back to
        self._confirmed = self._rejected = self._starts = 0
        self._imported = None

    def load(self, imported=None, starting=True) -> dict:
        """The active settings, complete. Never fails: `problem` says what is wrong. A start on trial counts."""
        self._read_mark()
        settings = self._choose()
        if imported is not None:
            settings = self._import(imported, settings)
        if settings is None:
            self.generation, self.on_trial, self._active, self._other = 0, False, None, 0
            settings = self._validate({})
        if starting and self.on_trial and self._other and self._starts < STARTS_MAX:
            self._starts += 1
            self._write_mark()
        return settings

    def _read_mark(self):
        mark = _unwrap(self._files.read(MARK), 5)
        if mark is not None:
            self._confirmed, self._rejected, self._starts, self._imported = mark[1:]

    def _write_mark(self):
        self._files.write(MARK, _wrap([_VERSION, self._confirmed, self._rejected, self._starts, self._imported]))

    def _choose(self):
        """Settings of the slot to use, None when there is none; sets what is known of it."""
        found = []
        for name in NAMES:
            slot = _unwrap(self._files.read(name), 3)
            if slot is None:
                continue
            try:
                found.append((slot[1], name, self._validate(slot[2])))
            except SettingsError as e:  # an older firmware's: this one has other limits
                self.problem = "stored settings %d: %s" % (slot[1], e)
        found.sort(key=lambda slot: -slot[0])
        if len(found) > 1:
            self._weaker = _is_weaker(found[1][2], found[0][2])
            over = self._starts >= STARTS_MAX and not self._weaker
            if found[0][0] not in (self._confirmed, self._rejected) and over:
                self._reject(found[0][0], "the hub accepted nothing in %d starts" % self._starts)
            if found[0][0] == self._rejected:
                found.reverse()
        if not found:
            return None
        self.generation, self._active, settings = found[0]
        self._other = found[1][0] if len(found) > 1 and found[1][0] != self._rejected else 0
        self.on_trial = self.generation not in (self._confirmed, self._rejected)
        return settings

    def _reject(self, generation, why):
        self._rejected = generation
        if self._confirmed == generation:
            self._confirmed = self._other
        self._starts = 0
        self.problem = "settings %d reverted: %s" % (generation, why)
        self._write_mark()

    def _import(self, data, current):
        """Take settings.json into a slot if its content is new; the settings to use."""
        digest = sha256(data).digest()[:8]
        if digest == self._imported and current is not None:
            return current
        assert self._parse is not None
        try:
            settings = self._validate(self._parse(str(data, "utf-8")))
        except (SettingsError, ValueError) as e:
            self.problem = "settings.json: %s" % e
            return current
        name = self._free_slot()
        self._imported = digest
        self.commit(settings)
        self._active = name
        self.generation = max(self.generation, self._newest)
        self.confirm()
        return settings

    def _free_slot(self):
        return NAMES[1] if self._keep() == NAMES[0] else NAMES[0]

    def _keep(self):
        """The slot that must not be touched: the confirmed one, or else the active one."""
        for name in NAMES:
            slot = _unwrap(self._files.read(name), 3)
            if slot is not None and slot[1] == self._confirmed:
                return name
        return self._active

    def commit(self, settings: dict) -> int:
        """Store settings, validated as a whole; active from the next start. Raises SettingsError, nothing stored."""
        settings = self._validate(settings)
        self._newest = max(self.generation, self._other, self._confirmed, self._rejected)
        for name in NAMES:
            slot = _unwrap(self._files.read(name), 3)
            if slot is not None:
                self._newest = max(self._newest, slot[1])
        self._newest += 1
        data = _wrap([_VERSION, self._newest, settings])
        if self._starts:
            self._starts = 0
            self._write_mark()
        self._files.write(self._free_slot(), data)
        return self._newest

    def confirm(self):
        """The active settings are good for all time."""
        if self.generation:
            self._confirmed = self.generation
            self._starts = 0
            self.on_trial = False
            self._write_mark()

    def revert(self, why: str):
        """Go back to the other slot from the next start. Raises SettingsError when there is nothing to go back to."""
        if not self._other or self._other > self.generation:
            raise SettingsError("there are no settings to go back to")
        self._reject(self.generation, why)

    def can_revert(self) -> bool:
        """Whether the gateway may go back automatically."""
        return 0 < self._other < self.generation and not self._weaker

    # What is being prepared lies on flash too: it outlives a cable that comes loose, and takes no memory.

    def staged(self):
        """The staged settings, not validated; None when nothing is staged."""
        item = _unwrap(self._files.read(STAGED), 2)
        return None if item is None else item[1]

    def stage(self, settings: dict):
        """Replace what is staged. Raises SettingsError when it is too large."""
        self._files.write(STAGED, pack(settings))

    def discard(self):
        """Forget what is staged."""
        self._files.write(STAGED, b"")

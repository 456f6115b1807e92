"""Who may change things at the console: a code for each gateway, guesses slowed down, also over restarts.

    access = Access(stored, write)          `stored` as read from flash, None at the factory: everything is open
    access.wait_ms(mono_ms)                 how long no guess is taken
    access.unlock(code, mono_ms)            True when it was the code; counts the guess on flash before it looks
    access.open(mono_ms), access.lock(), access.set_code(code, salt)
    access.set_code(code, salt, True)       on trial: all stays open until access.keep(), or the first right unlock

The code is stored as salt and iterated HMAC-SHA-256. After three wrong guesses each further one doubles the delay, from
two seconds to an hour. The count of wrong guesses is written before a guess is looked at, so pulling the plug gains
nothing; a start with wrong guesses on record begins with the whole delay, because no clock can be trusted there.
A record that is damaged is closed: only erasing the board opens it.

A code on trial locks nobody out: the program that set it may have failed to show it to a person. It is kept after
`code keep`, or when somebody unlocks with it.
"""

from binascii import crc32

from parkgate.errors import SettingsError
from parkgate.wire.mac import equal_ct, hmac_sha256

OPEN_MS = 600000
FREE_GUESSES = 3
DELAY_MS_MAX = 3600000
ITERATIONS = 200  # a fifth of a second on RP2040
CODE_MIN, CODE_MAX = 6, 64
SALT_BYTES = 16
_MAGIC, _ON_TRIAL = b"PGA1", b"PGA2"
_SIZE = 4 + SALT_BYTES + 32 + 2 + 4


def _hash(salt, code):
    digest = salt
    key = code.encode()
    for _ in range(ITERATIONS):
        digest = hmac_sha256(key, salt, digest)
    return digest


class Access:
    """See the module. `write(data)` replaces the record on flash."""

    def __init__(self, stored, write):
        self._write = write
        self._salt = self._digest = b""  # while there is no code
        self.failures = 0
        self.damaged = False
        self.on_trial = False
        self._open_until_ms = None
        self._closed_until_ms = 0
        if stored is not None:
            self.on_trial = stored[:4] == _ON_TRIAL
            good = len(stored) == _SIZE and (self.on_trial or stored[:4] == _MAGIC)
            if good and crc32(stored[:-4]) & 0xFFFFFFFF == int.from_bytes(stored[-4:], "big"):
                self._salt = stored[4 : 4 + SALT_BYTES]
                self._digest = stored[4 + SALT_BYTES : 36 + SALT_BYTES]
                self.failures = int.from_bytes(stored[-6:-4], "big")
            else:
                self.damaged = True
                self.on_trial = False
        self._closed_until_ms = self._delay_ms()

    @property
    def has_code(self) -> bool:
        """Whether a code is in force."""
        return bool(self._digest) and not self.on_trial or self.damaged

    def _delay_ms(self):
        over = self.failures - FREE_GUESSES
        return 0 if over < 0 else min(DELAY_MS_MAX, 2000 << min(over, 11))

    def _store(self):
        data = (_ON_TRIAL if self.on_trial else _MAGIC) + self._salt + self._digest + self.failures.to_bytes(2, "big")
        self._write(data + (crc32(data) & 0xFFFFFFFF).to_bytes(4, "big"))

    def open(self, mono_ms: int) -> bool:
        """Whether everything is allowed now; being asked keeps it open."""
        if not self.has_code:
            return True
        if self._open_until_ms is None or mono_ms >= self._open_until_ms:
            self._open_until_ms = None
            return False
        self._open_until_ms = mono_ms + OPEN_MS
        return True

    def wait_ms(self, mono_ms: int) -> int:
        return max(0, self._closed_until_ms - mono_ms)

    def unlock(self, code: str, mono_ms: int) -> bool:
        """Try `code`. Raises SettingsError while guesses must wait, and when the record is damaged."""
        if self.damaged:
            raise SettingsError("the stored code is damaged: only erasing the board opens it")
        if not self._digest:
            return True
        if self.on_trial:
            if not equal_ct(_hash(self._salt, code), self._digest):
                return False  # nothing is locked: there is nothing to guess
            self.keep()
            self._open_until_ms = mono_ms + OPEN_MS
            return True
        wait_ms = self.wait_ms(mono_ms)
        if wait_ms:
            raise SettingsError("too many wrong codes: wait %d s" % ((wait_ms + 999) // 1000))
        self.failures = min(self.failures + 1, 65535)
        self._store()
        if not equal_ct(_hash(self._salt, code), self._digest):
            self._closed_until_ms = mono_ms + self._delay_ms()
            return False
        self.failures = 0
        self._store()
        self._open_until_ms = mono_ms + OPEN_MS
        return True

    def lock(self):
        self._open_until_ms = None

    def keep(self):
        """Have the code on trial in force, and lock. Twice does no harm. Raises SettingsError when there is no code."""
        if not self._digest:
            raise SettingsError("there is no code to keep")
        if self.on_trial:
            self.on_trial = False
            self._store()
            self._open_until_ms = None

    def set_code(self, code: str, salt: bytes, on_trial: bool = False):
        """A new code with 16 fresh random bytes. Raises SettingsError for one that is too short or long."""
        if not CODE_MIN <= len(code) <= CODE_MAX:
            raise SettingsError("a code has %d to %d characters" % (CODE_MIN, CODE_MAX))
        self._salt = bytes(salt)
        self._digest = _hash(self._salt, code)
        self.failures = 0
        self.damaged = False
        self.on_trial = on_trial
        self._store()
        self._open_until_ms = None

"""The code of the console: guesses are counted before they are looked at, and waiting survives restarts."""

from check import equal, raises, true
from parkgate.console.access import DELAY_MS_MAX, FREE_GUESSES, OPEN_MS, Access
from parkgate.errors import SettingsError

SALT = bytes(range(16))


class Kept:
    """The record on flash."""

    def __init__(self):
        self.data = None

    def write(self, data):
        self.data = data

    def access(self):
        return Access(self.data, self.write)


def test_open_at_the_factory():
    access = Kept().access()
    true(access.open(0) and not access.has_code)
    true(access.unlock("whatever", 0))


def locked():
    kept = Kept()
    kept.access().set_code("right-code", SALT)
    return kept


def test_locked_until_the_code_and_again_after_a_while():
    access = locked().access()
    true(not access.open(0))
    true(not access.unlock("wrong", 0))
    true(access.unlock("right-code", 1))
    true(access.open(2))
    true(access.open(OPEN_MS))
    true(not access.open(2 * OPEN_MS + 1))
    true(access.unlock("right-code", 3 * OPEN_MS))
    access.lock()
    true(not access.open(3 * OPEN_MS))


def test_the_code_is_not_on_flash():
    kept = locked()
    true(b"right-code" not in kept.data)
    raises(SettingsError, kept.access().set_code, "short", SALT)


def test_the_delay_grows_and_survives_a_restart():
    kept = locked()
    access = kept.access()
    now = 0
    delays = []
    for _ in range(18):
        now += access.wait_ms(now)
        true(not access.unlock("wrong", now))
        delays.append(access.wait_ms(now))
    equal(delays[: FREE_GUESSES - 1], [0] * (FREE_GUESSES - 1))
    equal(delays[FREE_GUESSES - 1 : FREE_GUESSES + 2], [2000, 4000, 8000])
    equal(delays[-1], DELAY_MS_MAX)
    raises(SettingsError, access.unlock, "right-code", now)
    again = kept.access()
    equal(again.wait_ms(0), DELAY_MS_MAX, "pulling the plug gains nothing")
    raises(SettingsError, again.unlock, "right-code", DELAY_MS_MAX - 1)
    true(again.unlock("right-code", DELAY_MS_MAX))
    equal(kept.access().wait_ms(0), 0)


def test_a_guess_is_counted_before_it_is_looked_at():
    kept = locked()
    access = kept.access()

    def cut(data):
        kept.data = data
        raise OSError("the plug was pulled")

    access._write = cut
    raises(OSError, access.unlock, "wrong", 0)
    equal(kept.access().failures, 1)


def test_a_damaged_record_is_closed():
    kept = locked()
    for data in (b"", kept.data[:-1], kept.data[:10] + b"\0" + kept.data[11:]):
        access = Access(data, kept.write)
        true(not access.open(0))
        raises(SettingsError, access.unlock, "right-code", 0)


def test_a_code_on_trial_locks_nobody_out():
    kept = Kept()
    access = kept.access()
    access.set_code("right-code", SALT, True)
    for each in (access, kept.access()):  # also after a restart
        true(each.open(0) and each.on_trial and not each.has_code)
        true(not each.unlock("wrong-code", 0))
        equal(each.wait_ms(0), 0)
        true(each.open(0), "a wrong one locks nothing")
    access.set_code("next-code", SALT, True)
    true(not access.unlock("right-code", 0), "another takes its place")
    access.keep()
    for each in (access, kept.access()):
        true(each.has_code and not each.on_trial and not each.open(0))
    access.keep()  # twice does no harm
    true(not access.unlock("right-code", 0))
    true(access.unlock("next-code", 0))
    raises(SettingsError, Kept().access().keep)


def test_the_first_unlock_keeps_a_code_on_trial():
    kept = Kept()
    kept.access().set_code("right-code", SALT, True)
    access = kept.access()
    true(access.unlock("right-code", 5))
    true(access.open(6) and access.has_code and not access.on_trial)
    true(not kept.access().open(0))


def test_a_damaged_record_on_trial_is_closed():
    kept = Kept()
    kept.access().set_code("right-code", SALT, True)
    access = Access(kept.data[:10] + b"\0" + kept.data[11:], kept.write)
    true(access.damaged and not access.on_trial and not access.open(0))

"""Two slots: a cut at every write, torn or clean, leaves the old settings or the new ones; trials end by themselves."""

import json

from check import equal, raises, true
from parkgate.errors import SettingsError
from parkgate.settings.schema import validate
from parkgate.settings.slots import BYTES_MAX, MARK, NAMES, STARTS_MAX, Slots
from small_files import SmallFiles


class Cut(Exception):
    """The power went."""


class CutFiles(SmallFiles):
    """Files of a store that may lose power in write number `cut_at`: before it, after it, or with `torn` bytes done."""

    def __init__(self):
        SmallFiles.__init__(self)
        self.cut_at = None
        self.torn = None
        self.writes = 0

    def cut(self, at, torn):
        """Lose power in write number `at`, with `torn` bytes of it done (None: none)."""
        self.cut_at, self.torn = at, torn

    def write(self, name, data):
        if self.writes == self.cut_at:
            if self.torn is not None:
                self.content[name] = data[: self.torn]
            raise Cut()
        self.writes += 1
        SmallFiles.write(self, name, data)


def start(files, imported=None):
    slots = Slots(files, validate, json.loads)
    return slots, slots.load(imported)


def port(n):
    return validate({"broker": {"port": n}})


def committed(*ports):
    """Files in which each of these was committed and confirmed."""
    files = CutFiles()
    for n in ports:
        slots, _ = start(files)
        slots.commit(port(n))
        start(files)[0].confirm()
    return files


def test_defaults_without_any():
    slots, settings = start(CutFiles())
    equal((slots.generation, slots.on_trial, slots.problem), (0, False, None))
    equal(settings, validate({}))
    raises(SettingsError, slots.revert, "")


def test_a_commit_is_on_trial_until_confirmed():
    files = committed(1001)
    slots, _ = start(files)
    slots.commit(port(1002))
    slots, settings = start(files)
    equal((settings["broker"]["port"], slots.on_trial, slots.generation), (1002, True, 2))
    slots.confirm()
    slots, settings = start(files)
    equal((settings["broker"]["port"], slots.on_trial), (1002, False))


def test_what_is_never_confirmed_reverts_by_itself():
    files = committed(1001)
    start(files)[0].commit(port(1002))
    for _ in range(STARTS_MAX):
        equal(start(files)[1]["broker"]["port"], 1002)
    slots, settings = start(files)
    equal(settings["broker"]["port"], 1001)
    true("reverted" in slots.problem, slots.problem)
    slots, settings = start(files)
    equal((settings["broker"]["port"], slots.on_trial, slots.problem), (1001, False, None))
    slots.commit(port(1003))
    equal(start(files)[1]["broker"]["port"], 1003)


def test_the_first_settings_have_nothing_to_go_back_to():
    files = CutFiles()
    start(files)[0].commit(port(1001))
    for _ in range(3 * STARTS_MAX):
        equal(start(files)[1]["broker"]["port"], 1001)
    true(not start(files)[0].can_revert())


def test_revert_by_hand_also_after_confirmation():
    files = committed(1001, 1002)
    slots, _ = start(files)
    slots.revert("by hand")
    slots, settings = start(files)
    equal((settings["broker"]["port"], slots.on_trial), (1001, False))
    raises(SettingsError, slots.revert, "twice")


def test_last_good_after_corruption_of_any_byte():
    whole = committed(1001, 1002)
    slot = NAMES[b"\x19\x03\xea" in whole.content[NAMES[1]]]  # 1002 in CBOR
    size = len(whole.content[slot])
    files = CutFiles()
    for at in range(0, size, 7):
        files.content = dict(whole.content)
        damaged = bytearray(files.content[slot])
        damaged[at] ^= 0x10
        files.content[slot] = bytes(damaged)
        equal(start(files)[1]["broker"]["port"], 1001, at)
    for keep in range(0, size, 11):
        files.content[slot] = whole.content[slot][:keep]
        equal(start(files)[1]["broker"]["port"], 1001, keep)


def test_a_lost_mark_harms_nothing():
    files = committed(1001, 1002)
    for mark in (None, b"", b"PGS1", files.content[MARK][:-1]):
        files.content[MARK] = mark
        slots, settings = start(files)
        equal((settings["broker"]["port"], slots.on_trial), (1002, True))


def life(files):
    """Everything that writes, once."""
    slots, _ = start(files)
    slots.commit(port(1003))
    slots, _ = start(files)
    slots.confirm()
    start(files, b'{"broker": {"port": 1004}}')
    start(files)[0].revert("by hand")
    start(files)


def test_a_cut_at_every_write_leaves_old_or_new():
    whole = committed(1001, 1002)
    counted = CutFiles()
    counted.content = dict(whole.content)
    life(counted)
    true(counted.writes >= 5, counted.writes)
    cases = 0
    for cut_at in range(counted.writes):
        for torn in (None, 0, 1, 5, 30, 200, 9999):
            files = CutFiles()
            files.content = dict(whole.content)
            files.cut(cut_at, torn)
            raises(Cut, life, files)
            files.cut_at = None
            slots, settings = start(files)
            n = settings["broker"]["port"]
            true(n in (1002, 1003, 1004), (cut_at, torn, n))
            equal(settings, port(n), "never a mixture")
            slots.commit(port(1005))
            equal(start(files)[1], port(1005), "and it goes on")
            cases += 1
    true(cases >= 35, cases)


def test_settings_json_is_taken_once_and_confirmed():
    files = committed(1001)
    text = b'{"broker": {"port": 1009}}'
    slots, settings = start(files, text)
    equal((settings["broker"]["port"], slots.on_trial, slots.problem), (1009, False, None))
    slots.commit(port(1010))
    slots, settings = start(files, text)
    equal((settings["broker"]["port"], slots.on_trial), (1010, True), "the file is not new")
    slots, settings = start(files, b'{"broker": {"port": 0}}')
    equal(settings["broker"]["port"], 1010)
    true("settings.json: broker.port: 0" in slots.problem, slots.problem)
    slots, settings = start(files, b'{"broker"')
    true("settings.json" in slots.problem, slots.problem)


def test_staging():
    files = CutFiles()
    slots, _ = start(files)
    equal(slots.staged(), None)
    slots.stage(port(7))
    equal(start(files)[0].staged()["broker"]["port"], 7)
    slots.discard()
    equal(slots.staged(), None)
    raises(SettingsError, slots.stage, {"x": "y" * BYTES_MAX})


HUB_A, HUB_B = "aa" * 64, "bb" * 64


def on_trial(before, now):
    """Files where `before` is confirmed and `now` on trial."""
    files = CutFiles()
    slots, _ = start(files)
    slots.commit(validate(before))
    slots, _ = start(files)
    slots.confirm()
    slots.commit(validate(now))
    return files


def test_who_blocks_connections_gets_neither_tls_off_nor_an_older_hub():
    plain, tls = {"broker": {"tls": "off"}}, {"broker": {"tls": "on", "ca": "AAAA"}}
    for before, now in (
        (plain, tls),
        ({"hub": {"public_key": HUB_A}}, {"hub": {"public_key": HUB_B}}),
        ({}, {"hub": {"public_key": HUB_A}}),
    ):
        files = on_trial(before, now)
        slots, _ = start(files)
        for _ in range(3 * STARTS_MAX):
            slots, settings = start(files)
            equal(settings, validate(now))
            equal((slots.on_trial, slots.can_revert()), (True, False))
        slots.revert("a person says so")
        equal(start(files)[1], validate(before), "a person may go back")


def test_what_is_no_step_down_still_goes_back_by_itself():
    plain, tls = {"broker": {"tls": "off"}}, {"broker": {"tls": "on", "ca": "AAAA"}}
    other = {"broker": {"tls": "on", "ca": "AAAA", "port": 1001}}
    key = {"hub": {"public_key": HUB_A}}
    for before, now in ((tls, plain), (tls, other), (key, dict(key, broker={"port": 1001}))):
        files = on_trial(before, now)
        for _ in range(STARTS_MAX):
            equal(start(files)[0].can_revert(), True)
        equal(start(files)[1], validate(before))

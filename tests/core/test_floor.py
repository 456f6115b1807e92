"""The floor: codes out of noise, jobs from entries, and entries that no power cut loses or doubles."""

from check import equal, raises, true
from flash_sim import Chance, FlashSim, PowerCut, ways
from parkgate import events
from parkgate.clock import Clock
from parkgate.journal.journal import Journal
from parkgate.sensing import jobs, scans
from parkgate.wire import batch, cbor
from sensors.floor import Floor
from small_files import SmallFiles

T_MS = 1800000000000
LONGEST = "LOT-2026.11/0147-AB-"


def code(kind, body):
    text = "PG" + kind + body
    return (text + "*" + scans.check_of(text)).encode() + b"\r\n"


def test_the_example_of_spec():
    equal(code("L", "LOT-0147"), b"PGLLOT-0147*2UUH5R\r\n")
    equal(scans.Scans().feed(b"PGLLOT-0147*2UUH5R\r"), [("L", "LOT-0147")])


def test_codes_come_in_pieces_and_in_a_row():
    stream = code("L", LONGEST) + b"\n\r" + code("S", "3/12") + code("C", "1000000")
    for size in (1, 7, 200):
        reader, found = scans.Scans(), []
        for at in range(0, len(stream), size):
            found += reader.feed(stream[at : at + size])
        equal(found, [("L", LONGEST), ("S", "3/12"), ("C", "1000000")], size)
        equal(reader.refused, 0)


def test_what_is_no_code_is_refused():
    good = code("L", "LOT-0147")[:-2]
    wrong = [
        good[:-1], good[1:], good + b"A", b" " + good, good + good, good.lower(), b"PG", b"PGL*" + good[-6:],
        code("L", "lot")[:-2], code("L", "A" * 21)[:-2], code("L", "")[:-2], code("X", "A")[:-2], code("C", "0")[:-2],
        code("C", "1000001")[:-2], code("C", "-1")[:-2], code("S", "0")[:-2], code("S", "3/")[:-2],
        code("S", "100")[:-2], code("L", "A*B")[:-2], code("L", "A B")[:-2], bytes([0xC3, 0x28]) * 12,
    ]  # fmt: skip
    for line in wrong:
        reader = scans.Scans()
        equal(reader.feed(line + b"\r"), [], line)
        equal(reader.refused, 1, line)
        equal(reader.feed(good + b"\r"), [("L", "LOT-0147")], "the next one is read")


def test_every_damage_of_one_or_two_characters_is_noticed():
    good = bytearray(code("L", "LOT-0147")[:-2])
    chance = Chance(5)
    for at in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            equal(scans.Scans().feed(bytes(bad) + b"\r"), [], (at, bit))
    for _ in range(300):
        bad = bytearray(good)
        bad[chance.below(len(bad))] ^= 1 + chance.below(255)
        bad[chance.below(len(bad))] ^= 1 + chance.below(255)
        if bad != good:
            true(("L", "LOT-0147") not in scans.Scans().feed(bytes(bad) + b"\r"), bad)


def test_noise_enters_nothing():
    """20,000 bytes here; tests/host/test_floor_noise.py sends a million, at both speeds' error rates."""
    chance, reader = Chance(7), scans.Scans()
    for _ in range(1000):
        equal(reader.feed(chance.data(20)), [])


STATIONS = [
    {"name": "press", "registers": ["m.import_active_energy", "s.cycle_count"], "counts": "hand", "idle_min": 30},
    {"name": "oven", "registers": [], "counts": "machine", "idle_min": 0},
]
for _item in STATIONS:
    _item.update({"scanner": "", "baud": 9600, "shift_ends": "", "utc_offset_min": 0})
SCHEMA = [["m", "p", [["voltage", "V", 1], ["import_active_energy", "Wh", 0]]], ["s", "p", [["cycle_count", "1", 0]]]]


class Board:
    def __init__(self, files):
        self.files = files


class Records:
    heard = None


class Log:
    def __init__(self):
        self.said = []

    def error(self, who, text):
        self.said.append(text)

    info = error


class Gateway:
    """As much of the App as a Floor asks for."""

    def __init__(self, flash=None, files=None, stations=STATIONS):
        self.now_ms = 5000
        self.board = Board(files or SmallFiles())
        self.journal = Journal(flash or FlashSim(4096, 24, 32), lambda: bytes(16))
        self.journal.recover(1)
        self.clock = Clock(T_MS - 86400000)
        self.clock.synchronise(5000, T_MS)
        self.settings = {"stations": stations}
        self.schema = batch.encode_schema(SCHEMA)
        self.records = Records()
        self.log = Log()

    def mono_ms(self):
        return self.now_ms

    def note(self, event):
        self.journal.append(self.journal.EVENT, cbor.encode(event), 0)

    def events(self):
        found = [cbor.decode(record.payload) for record in self.journal.unsealed() if record.kind == self.journal.EVENT]
        return [event for event in found if event[0] == events.PRODUCTION]


class Instrument:
    def __init__(self, index):
        self.index = index


def test_an_entry_holds_the_registers_of_that_instant():
    gateway = Gateway()
    floor = Floor(gateway)
    equal(floor.enter(0, "L", "LOT-1"), "1 start LOT-1")
    equal(gateway.events()[-1], [33, 1, 0, 1, T_MS, 0, "LOT-1", 0, None, None, None])
    gateway.records.heard(Instrument(0), [2300, 90017], None, 5000)
    gateway.records.heard(Instrument(1), [7], None, 5900)
    gateway.records.heard(Instrument(0), [None, None], bytes([8, 8]), 6000)  # no answer: the last good one is older
    gateway.now_ms = 9050
    equal(floor.enter(0, "C", "25"), "2 count 25")
    equal(gateway.events()[-1], [33, 3, 0, 2, T_MS + 4050, 0, 1, 25, 41, 90017, 7])
    equal(floor.enter(0, "S", "3"), "3 scrap 3")
    equal(floor.enter(0, "S", "3/2"), "4 scrap 3/2")
    equal(floor.enter(0, "I", "CLOTH-9"), "5 in CLOTH-9")
    equal(floor.enter(0, "O", "LOT-1A"), "6 out LOT-1A")
    equal(floor.enter(0, "P", "K7F2"), "7 operator K7F2")
    equal(floor.correct(2, jobs.QUANTITY, 24), "8 corrects 2")
    gateway.now_ms = 20000
    equal(floor.enter(0, "L", "LOT-1"), "9 stop LOT-1")
    equal([e[1] for e in gateway.events()], [1, 3, 4, 4, 5, 6, 7, 9, 2])
    equal([e[7] for e in gateway.events()[2:]], [[3, 1], [3, 2], "CLOTH-9", "LOT-1A", "K7F2", [1, 24], 0])
    equal(floor.jobs.open, [])
    equal(floor.lines().__next__(), "press: m.import_active_energy = 90017, s.cycle_count = 7, read 15000 ms ago")


def test_what_cannot_be_entered_changes_nothing():
    gateway = Gateway()
    floor = Floor(gateway)
    for station, kind, body in ((0, "C", "5"), (0, "L", "lot"), (0, "C", "0"), (0, "M", "PRESS"), (0, "X", "A")):
        raises(jobs.EntryError, floor.enter, station, kind, body)
    floor.enter(1, "L", "A")
    raises(jobs.EntryError, floor.enter, 1, "C", "5")  # the machine counts there
    raises(jobs.EntryError, floor.enter, 1, "I", "A")  # into itself
    raises(jobs.EntryError, floor.correct, 9, jobs.VOID, None)
    raises(jobs.EntryError, floor.correct, 1, jobs.QUANTITY, 0)
    raises(jobs.EntryError, floor.correct, 1, jobs.LOT, "a b")
    for words in (("void", ["1"]), ("lots", ["A"]), ("quantity", ["x"]), ("time", [])):
        raises(jobs.EntryError, floor.meant, *words)
    equal(len(gateway.events()), 1)
    for i in range(7):
        floor.enter(1, "L", "B%d" % i)
    raises(jobs.EntryError, floor.enter, 1, "L", "C")


def test_a_code_that_the_scanner_sends_twice_is_one_scan():
    gateway = Gateway()
    floor = Floor(gateway)
    floor.enter(0, "L", "A")
    gateway.now_ms += 2999
    equal(floor.enter(0, "L", "A"), "")
    gateway.now_ms += 3000
    equal(floor.enter(0, "L", "A"), "2 stop A")


def test_entries_are_small():
    """SPEC 15.2: at most 60 bytes."""
    sizes = []
    for what, job, detail in (
        (jobs.START, LONGEST, 1), (jobs.STOP, 65535, 2), (jobs.COUNT, 65535, 1000000),
        (jobs.SCRAP, 65535, [99, 1000000]),
        (jobs.MATERIAL_IN, 65535, LONGEST), (jobs.MATERIAL_OUT, 65535, LONGEST), (jobs.OPERATOR, 0, LONGEST),
        (jobs.SHIFT, 0, 65535), (jobs.CORRECTION, 65535, [jobs.LOT, LONGEST]),
        (jobs.CORRECTION, 65535, [jobs.TIME, T_MS]),
    ):  # fmt: skip
        registers = [] if what == jobs.CORRECTION else [(1 << 32) - 1] * 3
        age_ms = None if what == jobs.CORRECTION else 1 << 40
        row = jobs.event(events.PRODUCTION, what, 3, 65535, (T_MS, 3), job, detail, age_ms, registers)
        sizes.append(len(cbor.encode(row)))
    equal(max(sizes), 60)
    true(sum(sizes) < 50 * len(sizes), sizes)


def test_rules_close_what_was_forgotten():
    gateway = Gateway(stations=[dict(STATIONS[0], shift_ends="06:00 14:00 22:00", utc_offset_min=420), STATIONS[1]])
    floor = Floor(gateway)
    floor._look(0)
    first = gateway.events()[-1]
    equal(first[1], jobs.SHIFT)
    floor.enter(0, "L", "A")
    gateway.records.heard(Instrument(1), [7], None, 5000)
    gateway.now_ms += 29 * 60000
    gateway.records.heard(Instrument(1), [8], None, gateway.now_ms)  # the machine works on
    gateway.now_ms += 29 * 60000
    floor._look(0)
    equal(len(floor.jobs.open), 1)
    gateway.now_ms += 60000
    floor._look(0)
    equal(gateway.events()[-1][1:8], [2, 0, 3, T_MS + 59 * 60000, 0, 2, jobs.IDLE])
    floor.enter(0, "L", "B")
    hours = 0
    while gateway.events()[-1][1] != jobs.SHIFT:
        gateway.now_ms += 600000
        floor._worked[0] = gateway.now_ms
        floor._look(0)
        hours += 1
        true(hours < 60)
    equal([e[1] for e in gateway.events()[-2:]], [jobs.STOP, jobs.SHIFT])
    equal(gateway.events()[-2][7], jobs.SHIFT_ENDED)
    equal(gateway.events()[-1][7], first[7] + 1)
    gateway.now_ms += 3600000 * 24  # the gateway was away over three ends of shifts, or its clock was set
    before = len(gateway.events())
    floor._look(0)
    equal(len(gateway.events()), before + 1, "one more shift entry, nothing was open")


def test_shift_ends():
    equal(jobs.shift_ends("06:00 14:00 22:00"), [360, 840, 1320])
    equal(jobs.shift_ends(""), [])
    for text in ("6:00", "06:00 06:00", "14:00 06:00", "24:00", "06-00", "06:61x", "ab:cd"):
        raises(ValueError, jobs.shift_ends, text)
    equal(jobs.shift_of([], 0, 0), None)
    day = 86400000
    equal([jobs.shift_of([360], ms, 0) for ms in (0, 6 * 3600000 - 1, 6 * 3600000, day)], [0, 0, 1, 1])
    equal(jobs.shift_of([360], 0, 420), 1)


def test_another_journal_begins_without_open_jobs():
    files = SmallFiles()
    Floor(Gateway(files=files)).enter(0, "L", "A")
    other = Gateway(files=files)
    other.journal.wipe(2)
    while other.journal.scrub_next():
        pass
    other.journal = Journal(FlashSim(4096, 24, 32), lambda: bytes([7] * 16))
    other.journal.recover(1)
    floor = Floor(other)
    equal((floor.jobs.open, floor.jobs.next_number), ([], 1))
    true("no longer open: A" in other.log.said[-1], other.log.said)
    files.content["floor.last"] = b"rotten"
    damaged = Gateway(files=files)
    Floor(damaged)
    true("floor.last" in damaged.log.said[-1], damaged.log.said)


class CutFiles(SmallFiles):
    """Power may go before a file is written: in the moment when the journal has the entry and the file does not."""

    def __init__(self, chance):
        SmallFiles.__init__(self)
        self._chance = chance
        self.armed = False

    def write(self, name, data):
        if self.armed and self._chance.below(3) == 0:
            raise PowerCut()
        SmallFiles.write(self, name, data)


class CutFlash(FlashSim):
    """Power goes in the middle of an operation, in one of the ways of flash_sim."""

    chance = Chance(1)

    def _power(self, place, data):
        if self.cut_in == 0:
            self.apply_cut((place, data), self.chance.below(ways((place, data))))
        FlashSim._power(self, place, data)


def live(seed, cuts):
    """Entries with power cuts in flash programs and between journal and file; the events that came of it."""
    chance = Chance(seed)
    flash, files = CutFlash(4096, 24, 32), CutFiles(chance)
    promised, tried, done = [], None, 0
    while done < cuts:
        gateway = Gateway(flash, files)
        floor = Floor(gateway)
        numbers = [e[3] for e in gateway.events()]
        equal(numbers, list(range(1, len(numbers) + 1)))
        equal(floor.jobs.next_number, len(numbers) + 1)
        found = [(e[3], e[1]) for e in gateway.events() if e[1] != jobs.STATION]
        true(found in (promised, promised + [tried]), (seed, done))
        promised = found
        files.armed = True
        try:
            while True:
                flash.cut_in = chance.below(4)
                gateway.now_ms += 5000
                lot = "L%d" % chance.below(4)
                tried = (floor.jobs.next_number, 2 if [job for job in floor.jobs.at(0) if job.lot == lot] else 1)
                floor.enter(0, "L", lot)
                promised.append(tried)
        except PowerCut:
            done += 1
        files.armed = False
        flash.cut_in = -1
    return done


def test_power_cuts_lose_nothing_and_double_nothing():
    """Cuts inside flash operations and between journal and file; `make lives` is the journal's own campaign."""
    for seed in range(3):
        equal(live(seed, 40), 40)

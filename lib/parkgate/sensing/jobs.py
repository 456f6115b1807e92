"""The jobs of a workshop floor: which entries are allowed, which events they become, which jobs are open (SPEC 15.2).

A *station* is a machine or workplace, a *lot* is what is made there, a *job* is one lot at one station from its start
to its stop. Jobs are known by the number of the event that started them, so that every other event is short.

The state follows from the events alone (`apply`), in the same way while they are made and when they are read again
after a power cut. Nothing here knows flash, registers or a clock: times are given, and events come out as
(what, job, detail); the caller makes them durable and then calls `apply`.
"""

from parkgate.errors import ParkgateError

from . import scans

STATION, START, STOP, COUNT, SCRAP, MATERIAL_IN, MATERIAL_OUT, OPERATOR, SHIFT, CORRECTION = range(10)
BY_HAND, SHIFT_ENDED, IDLE, JOURNAL_LOST = 0, 1, 2, 3  # why a job stopped; all but the first are a rule's doing
HAND, MACHINE = 0, 1  # who counts the pieces of a job
VOID, QUANTITY, LOT, TIME = 0, 1, 2, 3  # what a correction corrects
JOBS_MAX = 8  # open at once at one station
SAME_MS = 3000  # the same code again within this time is one scan that the scanner sent twice
_DAY_MS = 86400000


class EntryError(ParkgateError):
    """An entry that cannot be made here and now; nothing is changed."""


class Job:
    """One open job: `number` of its start event, `station`, `lot`, `counts` (HAND or MACHINE)."""

    def __init__(self, number, station, lot, counts):
        self.number = number
        self.station = station
        self.lot = lot
        self.counts = counts


class Jobs:
    """`stations` are the entries of the settings section of that name, in their order."""

    def __init__(self, stations: list):
        self.stations = stations
        self.next_number = 1
        self.open = []  # of all stations, in the order of their starts or of what was scanned last
        self.shifts = [None] * len(stations)  # the shift that the newest event of each station knew
        self._last = None  # (station, kind, body, mono_ms) of the newest scan

    def at(self, station: int) -> list:
        """The open jobs of one station; the last one is the one that counts and materials belong to."""
        return [job for job in self.open if job.station == station]

    def scan(self, station: int, kind: str, body: str, mono_ms: int):
        """The (what, job, detail) that a scanned or typed code stands for; None for the second copy of one scan.
        Raises EntryError, in words for the person at the machine."""
        last, self._last = self._last, (station, kind, body, mono_ms)
        if last and last[:3] == self._last[:3] and mono_ms - last[3] < SAME_MS:
            return None
        if kind == scans.STATION or not scans.is_body(kind, body):
            raise EntryError("%s is nothing that can be entered here" % body)
        if kind == scans.OPERATOR:
            return OPERATOR, 0, body
        if kind == scans.LOT:
            return self._lot(station, body)
        job = self._current(station)
        if kind == scans.COUNT:
            return COUNT, self._counted_by_hand(job).number, int(body)
        if kind == scans.SCRAP:
            reason, _, count = body.partition("/")
            return SCRAP, job.number, [int(reason), int(count or "1")]
        if body == job.lot:
            raise EntryError("%s cannot go into or come out of itself" % body)
        return MATERIAL_IN if kind == scans.MATERIAL_IN else MATERIAL_OUT, job.number, body

    def _lot(self, station, lot):
        for job in self.at(station):
            if job.lot == lot:
                return STOP, job.number, BY_HAND
        if len(self.at(station)) >= JOBS_MAX:
            raise EntryError("%d lots are open here: scan one of them to stop it" % JOBS_MAX)
        return START, lot, MACHINE if self.stations[station]["counts"] == "machine" else HAND

    def _current(self, station):
        jobs = self.at(station)
        if not jobs:
            raise EntryError("no lot is open here: scan its traveller first")
        return jobs[-1]

    def _counted_by_hand(self, job):
        if job.counts == MACHINE:
            raise EntryError("the machine counts here: a count by hand would count the pieces twice")
        return job

    def correction(self, number: int, what: int, value):
        """The (CORRECTION, number, detail) that replaces what event `number` said. Raises EntryError."""
        if what == QUANTITY and not scans.is_body(scans.COUNT, str(value)):
            raise EntryError("a quantity is a whole number from 1 to %d" % scans.QUANTITY_MAX)
        if what == LOT and not scans.is_body(scans.LOT, value):
            raise EntryError("a lot has up to %d of A-Z, 0-9, - . /" % scans.BODY_MAX)
        if not 0 < number < self.next_number:
            raise EntryError("there is no entry %d; the newest is %d" % (number, self.next_number - 1))
        if what == VOID:
            return CORRECTION, number, [VOID]
        return CORRECTION, number, [what, value]

    def meant(self, word: str, values: list):
        """(what, value) of a correction as a person types it. Raises EntryError."""
        value = values[0] if values else ""
        if word == "void" and not values:
            return VOID, None
        if word == "lot":
            return LOT, value
        if word in ("quantity", "time") and value.isdigit() and len(value) < 17:
            return (QUANTITY if word == "quantity" else TIME), int(value)
        raise EntryError("type void, quantity N, lot LOT or time UNIX_MS")

    def due(self, station: int, shift, idle_ms) -> list:
        """What the rules of a station ask for now, as [(what, job, detail), …]: `shift` is shift_of() or None,
        `idle_ms(job)` the time since anything was entered for a job or counted by its machine."""
        found = []
        why = None
        if shift is not None and shift != self.shifts[station]:
            if self.shifts[station] is not None:
                why = SHIFT_ENDED
            found.append((SHIFT, 0, shift))
        limit_ms = self.stations[station]["idle_min"] * 60000
        stops = []
        for job in self.at(station):
            if why is not None:
                stops.append((STOP, job.number, why))
            elif limit_ms and idle_ms(job) >= limit_ms:
                stops.append((STOP, job.number, IDLE))
        return stops + found

    def apply(self, number: int, station: int, what: int, job, detail):
        """Take up an event that is in the journal."""
        self.next_number = max(self.next_number, number + 1)
        if what == START:
            self.open.append(Job(number, station, job, detail))
        elif what == STOP or (what == CORRECTION and detail[0] == VOID):
            self.open = [each for each in self.open if each.number != job]
        elif what == CORRECTION and detail[0] == LOT:
            for each in self.open:
                if each.number == job:
                    each.lot = detail[1]
        elif what == SHIFT and station < len(self.shifts):
            self.shifts[station] = detail

    def state(self) -> list:
        """What `restore` takes, to be kept over a restart."""
        rows = [[job.number, job.station, job.lot, job.counts] for job in self.open]
        return [self.next_number, rows, self.shifts]

    def restore(self, state: list):
        """Go on from what state() gave in an earlier run. Raises ValueError, TypeError, IndexError."""
        self.next_number, rows, shifts = state
        self.open = [Job(*row) for row in rows]
        for i in range(min(len(shifts), len(self.shifts))):
            self.shifts[i] = shifts[i]


def shift_ends(text: str) -> list:
    """Minutes of the day of "06:00 14:00 22:00", rising. Raises ValueError."""
    ends = []
    for part in text.split():
        hours, colon, minutes = part.partition(":")
        if not colon or len(hours) != 2 or len(minutes) != 2 or not (hours + minutes).isdigit():
            raise ValueError(part)
        ends.append(int(hours) * 60 + int(minutes))
    if any([end >= 1440 for end in ends]) or ends != sorted(set(ends)):
        raise ValueError(text)
    return ends


def shift_of(ends: list, unix_ms: int, utc_offset_min: int):
    """The running number of the shift at a time: it grows by one at each of `ends`; None where there are none."""
    if not ends:
        return None
    local_ms = unix_ms + utc_offset_min * 60000
    day, minute = local_ms // _DAY_MS, local_ms % _DAY_MS // 60000
    return day * len(ends) + len([end for end in ends if end <= minute])


def event(kind, what, station, number, when, job, detail, age_ms, registers) -> list:
    """The event of SPEC 15.2: `registers` are the station's values in the order of its newest STATION event, None for
    one that is not known; `age_ms` how old the oldest of them is."""
    age = None if age_ms is None else min((age_ms + 99) // 100, 65535)
    return [kind, what, station, number, when[0], when[1], job, detail, age] + registers

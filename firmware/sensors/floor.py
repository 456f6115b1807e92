"""The floor: what people enter at the machines becomes signed events of the chain (SPEC 15). Loaded only by a gateway
whose settings have `stations`.

Each event holds the registers of its station as they were read last, and how old the oldest of them is. An event is in
the journal before anybody sees that it was taken; the open jobs are written to a small file behind it. After a power
cut between the two, the event is among those that are not sealed yet and is taken up from there: nothing is lost and
nothing is entered twice.
"""

import asyncio

from parkgate import events
from parkgate.errors import FormatError, ParkgateError
from parkgate.reading import COUNTER_GLITCH, RELATIVE_ONLY, has_value
from parkgate.sensing import jobs
from parkgate.wire import batch, cbor

FILE = "floor.last"  # [epoch, state of jobs.Jobs]
STATEMENT_EVERY = 32  # events: what a station's registers are is stated again, also after each start
_LOOK_MS = 1000
_LOOK_MS_MAX = 180000
# What an event did, in a word for displays, by its number in sensing.jobs.
_DONE = ("", "start", "stop", "count", "scrap", "in", "out", "operator")
_WORK = ("run_time", "cycle_count", "piece_count", "pulse_count")  # registers that a machine counts while it works


class Floor:
    """`gateway` is the App; its journal is recovered."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._mono_ms, self._log = gateway.mono_ms, gateway.log
        self._stations = gateway.settings["stations"]
        self._ends = [jobs.shift_ends(item["shift_ends"]) for item in self._stations]
        self.jobs = jobs.Jobs(self._stations)
        self._newest = {}  # (instrument, channel) → [value or None, mono_ms]
        self._registers = [self._find(item) for item in self._stations]  # of each: [(name, place), …]
        now_ms = self._mono_ms()
        self._started_ms = now_ms
        self._touched = {}  # number of a job → when something was entered for it
        self._worked = [now_ms] * len(self._stations)  # when a register of the machine's work changed
        self.turned_ms = 0
        self.entries = 0
        self._load()
        gateway.records.heard = self.hear

    def start(self):
        """State what the stations are, and start the tasks."""
        for station in range(len(self._stations)):
            self._state(station)
        gateway = self._gateway
        supervise = gateway.supervisor.start
        supervise("floor", self.run, self, _LOOK_MS_MAX)
        ports = []
        for item in self._stations:
            if item["scanner"] and item["scanner"] not in [port for port, _ in ports]:
                ports.append((item["scanner"], item["baud"]))
        for port, baud in ports:
            from sensors.scanner import Scanner

            here = [i for i, item in enumerate(self._stations) if item["scanner"] == port]
            line = gateway.board.serial({"device": port, "baud": baud, "parity": "N", "stop_bits": 1})
            scanner = Scanner(line, self, here, self._log)
            supervise("scanner", scanner.run)

    def _find(self, item):
        found = []
        schema = batch.decode_schema(self._gateway.schema)
        for path in item["registers"]:
            name, _, quantity = path.rpartition(".")
            place = None
            for i, row in enumerate(schema):
                for k, channel in enumerate(row[2]):
                    if row[0] == name and channel[0] == quantity:
                        place = (i, k)
            if place is None:  # such as an instrument that could not be built: the entry says that it is not known
                self._log.error("floor", "%s: no instrument gives %s" % (item["name"], path))
            else:
                self._newest[place] = [None, 0, quantity in _WORK]
            found.append((path, place))
        return found

    def hear(self, instrument, values, qualities, taken_ms):
        """A sample is durable: keep what a station's registers are now."""
        for place, newest in self._newest.items():
            if place[0] != instrument.index:
                continue
            i = place[1]
            quality = qualities[i] if qualities and i < len(qualities) else 0
            if i >= len(values) or values[i] is None or not has_value(quality) or quality == COUNTER_GLITCH:
                continue  # the last good one is older, and its age says so
            if newest[2] and newest[0] is not None and newest[0] != values[i]:
                for station, rows in enumerate(self._registers):
                    if place in [row[1] for row in rows]:
                        self._worked[station] = taken_ms
            newest[0], newest[1] = values[i], taken_ms

    def _load(self):
        """The open jobs as the last run left them."""
        gateway = self._gateway
        journal = gateway.journal
        data = gateway.board.files.read(FILE)
        state = None
        if data:
            try:
                epoch, state = cbor.decode(data)
                if epoch == journal.epoch:
                    self.jobs.restore(state)
                elif state[1]:
                    lots = ", ".join([row[2] for row in state[1]])
                    self._log.error("floor", "the journal is another one: these lots are no longer open: " + lots)
            except (FormatError, ValueError, TypeError, IndexError) as e:
                self._log.error("floor", "%s: %s; only entries that are not sealed yet are known" % (FILE, e))
        for record in journal.unsealed():
            if record.kind == journal.EVENT:
                event = cbor.decode(record.payload)
                if event[0] == events.PRODUCTION and event[3] >= self.jobs.next_number:
                    self.jobs.apply(event[3], event[2], event[1], event[6], event[7])

    def _when(self):
        return self._gateway.clock.date(self._mono_ms())

    def _state(self, station):
        names = [path for path, _ in self._registers[station]]
        self._append(station, jobs.STATION, 0, [self._stations[station]["name"], names])

    def _append(self, station, what, job, detail):
        """Make one event durable, then take it up. The number of the event."""
        number = self.jobs.next_number
        age_ms, registers = self._read(station)
        if what in (jobs.STATION, jobs.CORRECTION):  # neither is about this instant
            age_ms, registers = None, []
        when = self._when()
        self._gateway.note(jobs.event(events.PRODUCTION, what, station, number, when, job, detail, age_ms, registers))
        self.jobs.apply(number, station, what, job, detail)
        epoch = self._gateway.journal.epoch
        self._gateway.board.files.write(FILE, cbor.encode([epoch, self.jobs.state()]))
        return number

    def _read(self, station):
        """(age in ms of the oldest register or None, values) of a station now."""
        now_ms = self._mono_ms()
        oldest_ms = None
        values = []
        for _, place in self._registers[station]:
            newest = self._newest.get(place)
            values.append(newest[0] if newest else None)
            if newest and newest[0] is not None:
                age_ms = now_ms - newest[1]
                oldest_ms = age_ms if oldest_ms is None else max(age_ms, oldest_ms)
        return oldest_ms, values

    def _enter(self, station, what, job, detail):
        number = self._append(station, what, job, detail)
        self.entries += 1
        if what == jobs.START:
            self._touched[number] = self._mono_ms()
        elif what == jobs.STOP or detail == [jobs.VOID]:
            self._touched.pop(job, None)
        elif job and what != jobs.CORRECTION:
            self._touched[job] = self._mono_ms()
        if number % STATEMENT_EVERY == 0:
            for each in range(len(self._stations)):
                self._state(each)
        return number

    def enter(self, station: int, kind: str, body: str) -> str:
        """Enter what a code says; what was done, in words, "" for a scan that was sent twice. Raises EntryError."""
        row = self.jobs.scan(station, kind, body, self._mono_ms())
        if row is None:
            return ""
        number = self._enter(station, *row)
        return "%d %s %s" % (number, _DONE[row[0]], body)

    def meant(self, word: str, values: list):
        """See jobs.Jobs.meant."""
        return self.jobs.meant(word, values)

    def correct(self, number: int, what: int, value) -> str:
        """Enter a correction of entry `number`. Raises EntryError."""
        what, job, detail = self.jobs.correction(number, what, value)
        return "%d corrects %d" % (self._enter(0, what, job, detail), job)

    def station(self, name: str):
        """The place of the station of that name, None where there is none."""
        for i, item in enumerate(self._stations):
            if item["name"].upper() == name.upper():
                return i
        return None

    async def run(self):
        """Look every second whether a rule closes a job."""
        while True:
            self.turned_ms = self._mono_ms()
            for station in range(len(self._stations)):
                try:
                    self._look(station)
                except ParkgateError as e:  # a journal that fails now is tried again in a second
                    self._log.error("floor", str(e))
            await asyncio.sleep_ms(_LOOK_MS)

    def _look(self, station):
        now_ms = self._mono_ms()
        time_ms, trust = self._when()
        shift = None
        if trust != RELATIVE_ONLY:
            shift = jobs.shift_of(self._ends[station], time_ms, self._stations[station]["utc_offset_min"])

        def idle_ms(job):
            return now_ms - max(self._worked[station], self._touched.get(job.number, self._started_ms))

        for row in self.jobs.due(station, shift, idle_ms):
            self._append(station, *row)
            if row[0] == jobs.STOP:
                self._touched.pop(row[1], None)
                self._log.error("floor", "%s: job %d was closed by rule" % (self._stations[station]["name"], row[1]))

    def lines(self):
        """Generator: the stations and what is open there, for people."""
        for i, item in enumerate(self._stations):
            age_ms, values = self._read(i)
            shown = ["%s = %s" % (path, value) for (path, _), value in zip(self._registers[i], values)]
            yield "%s: %s%s" % (item["name"], ", ".join(shown) or "no registers", _aged(age_ms))
            for job in self.jobs.at(i):
                yield "  job %d: lot %s" % (job.number, job.lot)


def _aged(age_ms):
    return "" if age_ms is None else ", read %d ms ago" % age_ms

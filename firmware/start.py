"""What only a start needs: the settings are read and checked, meters and sensors are made of them.

This comes before the rest of the gateway is loaded, and is forgotten as a whole before that (`Start.forget`). The table
of settings, the parser of meter profiles and what compiles them take more memory than any other part: whatever is
loaded later takes their place. So nothing here needs the journal, the key or the network. `Start.finish`, the last
step, hands the journal's newest totals to the instruments.
"""

import asyncio
import json

from gateway.loaded import drop
from gateway.records import MeterNotes
from gateway.totals import Totals, age_ms
from log import Log
from parkgate.errors import FormatError, ParkgateError, SettingsError
from parkgate.reading import SYNCHRONISED
from parkgate.wire import batch

_SETTINGS = ("parkgate.settings.schema", "parkgate.settings.slots", "parkgate.settings.sensors")
_SETTINGS += ("parkgate.settings.stations",)
_PROFILES = ("parkgate.meters.profiles", "parkgate.meters.profile.staging", "parkgate.meters.profile.lines")
_PROFILES += ("parkgate.meters.profile.rows", "parkgate.meters.profile.compiling", "parkgate.quantities")
_BUILDERS = ("sensors.build", "parkgate.meters.counters", "parkgate.meters.consistency.compiling")
_BUILDERS += ("parkgate.sensing.reduction", "parkgate.sensing.cadence", "parkgate.sensing.counting")


class Start:
    """Of the gateway on `board`:

    settings, settings_id, generation, problem (text or None), on_trial, trial_ms (until when, or None)
    buses         name → bus
    groups        [(instruments that take turns, whether on a shared bus, what looks at the idle line or None), …]
    left_out      [(name, period_ms, error), …] of what cannot be built
    schema        the instruments as batches describe them, encoded
    log, totals, notes"""

    def __init__(self, board):
        self._board = board
        self._mono_ms = board.clock.mono_ms
        self.log = Log(board.write_console, self._mono_ms)
        self.settings = self._load_settings()
        drop(_SETTINGS)
        self.totals = Totals(board.files, self.log)
        self.notes = MeterNotes(self.log, self._mono_ms)
        self.left_out = []
        self.buses = {}
        self._schema = []
        self.groups = self._build_meters() + self._build_sensors()
        self.schema = batch.encode_schema(self._schema)
        drop(_PROFILES + _BUILDERS)

    def _load_settings(self) -> dict:
        """The active settings of the two slots, a new settings.json first, or the defaults: never a stop."""
        from parkgate.settings.schema import settings_id, validate
        from parkgate.settings.slots import TRIAL_MS, Slots

        files = self._board.files
        slots = Slots(files, validate, self._parse_settings)
        try:
            imported = files.read("settings.json")
        except SettingsError as e:
            imported = None
            slots.problem = str(e)
        settings = slots.load(imported)
        self.problem = slots.problem
        if self.problem:
            self.log.error("settings", self.problem + "; using the last good ones")
        if not slots.generation:
            self.log.info("settings", "none yet: using defaults, nothing is sampled")
        self.generation, self.on_trial = slots.generation, slots.on_trial
        self.trial_ms = self._mono_ms() + TRIAL_MS if slots.on_trial and slots.can_revert() else None
        self.settings_id = settings_id(settings)
        return settings

    def _parse_settings(self, text: str) -> dict:
        """What a new settings.json says. Raises ValueError; SettingsError also for a profile that it names."""
        from parkgate.meters.profile.staging import check
        from parkgate.settings.schema import validate

        given = json.loads(text)
        check(self._read_profile, json.loads, validate(given)["instruments"])
        return given

    def _read_profile(self, name: str):
        return self._board.files.read("meters/%s.json" % name)

    def _build_meters(self) -> list:
        """A group for each bus; a meter that cannot be built is left out and said, the others run."""
        if not self.settings["buses"]:
            return []
        from sensors import build

        buses = self.buses
        for item in self.settings["buses"]:
            buses[item["name"]] = build.bus(item, self._board)
        by_bus = {name: [] for name in buses}
        for item in self.settings["instruments"]:
            try:
                made = build.meter(item, buses[item["bus"]], self._read_profile, self._mono_ms, self.notes)
                self._place(made[0], item, made[2], made[1])
            except (ParkgateError, ValueError, ImportError) as e:
                self.left_out.append((item["name"], item["period_ms"], e))
                continue
            by_bus[item["bus"]].append(made[0])
        return [(meters, True, buses[name].idle) for name, meters in by_bus.items() if meters]

    def _build_sensors(self) -> list:
        """A group for each port; sensors that never wait share one."""
        by_port = {}
        for item in self.settings["sensors"]:
            drop(_PROFILES[:-1])  # of the meters: sensors want the table of quantities only
            from sensors.build import build

            try:
                sensor = build(item, self._board, asyncio.sleep_ms)
                self._place(sensor, item, sensor.profile, sensor.schema())
            except (ParkgateError, ValueError, OSError, ImportError) as e:
                self.left_out.append((item["name"], item["period_ms"], e))
                continue
            by_port.setdefault(item["port"] if sensor.waits else "", []).append(sensor)
        return [(sensors, False, None) for sensors in by_port.values()]

    def _place(self, instrument, item, profile, channels):
        """Put an instrument into the schema, its samples reduced where that is wanted. Raises SettingsError."""
        if item["report"]:
            from sensors.build import reporter

            instrument.report, channels = reporter(channels, item["report"])
        from parkgate.sensing.cadence import words

        profile = words(profile, item["period_ms"], item["report"])
        instrument.index = len(self._schema)  # tables name instruments by their place in the schema
        self._schema.append([instrument.name, profile, channels])
        self.totals.watch(instrument.name, channels, hasattr(instrument, "memory"))

    def finish(self, journal, clock, account):
        """Give every counter what it had in its newest journalled sample."""
        from gateway.meaning import taken_under

        try:
            before = taken_under(self._board.files)
        except FormatError:
            before = None  # the journal gets an event of it before anything is sealed
        schema = batch.decode_schema(before[1] if before else self.schema)
        samples = (record.payload for record in journal.unsealed() if record.kind == journal.SAMPLE)
        last = self.totals.load(samples, schema)
        newest = account.last = self.totals.newest
        if newest and newest[1] == SYNCHRONISED:
            clock.newest_unix_ms = newest[0]
        now_ms = self._mono_ms()
        instruments = [instrument for group in self.groups for instrument in group[0]]
        for instrument in instruments:
            if instrument.name in last and hasattr(instrument, "restore"):
                time_ms, trust, values = last[instrument.name]
                instrument.restore(values, age_ms(time_ms, trust, clock, now_ms))
        self.totals.remember(instruments, clock, now_ms)
        drop(("parkgate.journal.recovery", "parkgate.journal.survey", "gateway.identity", "gateway.meaning", "start"))

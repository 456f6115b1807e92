"""What happens to a gateway besides readings, as signed records in the chain (SPEC 5.4). An event is a list of
integers, byte strings and text that begins with its kind; times are [time_ms, trust]."""

RESET = 1  # [1, boot, cause]: the gateway started; cause as in CAUSES
EPOCH_BORN = 2  # [2, reason]: a new chain begins; reason as in EPOCH_REASONS
CLOCK_SET = 3  # [3, mono_ms, step_ms or null]: wall time was set; the step when it had been set before
SETTINGS = 4  # [4, settings_id, problem or null]: settings taken into use; why the file's own were refused
GAP = 5  # [5, first_seq or null, last_seq or null, readings, why, details]: readings lost, sealed ones with their seqs
TORN = 6  # [6, count]: records cut short by a power cut, never acknowledged to the sampler
CORRUPT = 7  # [7, sector, offset, count]: journal records that no longer check
FLASH_FAULT = 8  # [8, sector, operation]: a sector was given up
COUNTER = 9  # [9, instrument, quantity, what, before, value, [time_ms, trust]]: what a meter's counter did
RATIO = 10  # [10, instrument, "ct" or "vt", before or null, now, [time_ms, trust]]: the transformer ratio a meter says
PERIODS = 11  # [11, instrument, [time_ms, trust], period_ms, counts]: what became of the periods of a span, by outcome
OFF = 12  # [12, last_ms or null, first_ms]: nothing was sampled in between, because the gateway did not run
COMMISSIONED = 13  # [13, [time_ms, trust], instrument, by, facts]: what a technician found when putting it into service
# [14, instrument, check, what (1 begins, 2 ends), code, stated, expected, scale, when]: numbers that disagree
CONSISTENCY = 14
CLOCK_DISPUTED = 15  # [15, source, unix_ms, [time_ms, trust]]: a source names a time that cannot be, or differs
TASK_STALLED = 16  # [16, task, what (0 begun anew, 1 restarts), ms]: a task made no progress for so long
CRASH = 17  # [17, task, text, mono_ms]: a fault of the program, the end of what it said
HUB, NTP, PERSON, CHIP = 0, 1, 2, 3  # sources of time

CHECKPOINT_HELD = 32  # [32, size, root]: the newest checkpoint of the hub's log that this gateway verified
# [33, what, station, number, time_ms, trust, job, detail, age, *registers]: an entry of the floor (sensing/jobs.py)
PRODUCTION = 33
KEY_ROTATED = 34  # [34, new key, id of the key after it, signature by the new key]: this is the old key's last batch
HUB_KEY_TAKEN = 35  # [35, number, id of the hub's key]: the newest root document that this gateway goes by

NAMES = {
    RESET: "reset",
    EPOCH_BORN: "epoch born",
    CLOCK_SET: "clock set",
    SETTINGS: "settings",
    GAP: "gap",
    TORN: "torn record",
    CORRUPT: "corrupt record",
    FLASH_FAULT: "flash fault",
    COUNTER: "counter",
    CONSISTENCY: "consistency",
    RATIO: "ratio",
    PERIODS: "periods",
    OFF: "off",
    COMMISSIONED: "commissioned",
    CHECKPOINT_HELD: "checkpoint held",
    PRODUCTION: "production",
    KEY_ROTATED: "key rotated",
    HUB_KEY_TAKEN: "hub key taken",
    CLOCK_DISPUTED: "clock disputed",
    TASK_STALLED: "task stalled",
    CRASH: "crash",
}

# Reset causes, by the order every board maps its own to.
CAUSES = ("unknown", "power on", "hard reset", "watchdog", "deep sleep", "soft reset", "brown-out")
EPOCH_REASONS = ("first start", "journal lost", "factory reset", "re-flash")
GAP_REASONS = ("overflow", "corrupt", "flash fault")
COUNTER_EVENTS = ("none", "rollover", "exchange", "glitch", "came back", "exchange undone", "reset", "rescaled")
PERIOD_OUTCOMES = ("taken", "no answer", "backed off", "bus busy", "not built", "failed")

COMMISSIONING_BYTES_MAX = 1536  # of a record in the chain


def check_commissioning(record):
    """Return if `record` is [instrument, by, facts], facts a map of names to items. Raises FormatError."""
    from .errors import FormatError

    if type(record) is not list or len(record) != 3:
        raise FormatError("a commissioning record is [instrument, by, facts]")
    instrument, by, facts = record
    if type(instrument) is not str or type(by) is not str or len(instrument) > 64 or not 0 < len(by) <= 64:
        raise FormatError("a commissioning record names its instrument and who made it, in up to 64 characters")
    if type(facts) is not dict or any([type(name) is not str for name in facts]):
        raise FormatError("the facts of a commissioning record have names")

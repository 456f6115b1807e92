"""Bugs for the journal: each is a small edit of its source, and each must be found by cutting the power.

`load` makes the journal's package anew with the edit in it; the text to replace must stand there exactly once, so that
an edit cannot rot unseen when the journal changes.
"""

import sys
import types
from pathlib import Path

from parkgate.journal import single_bit

JOURNAL = Path(__file__).resolve().parent.parent.parent / "lib" / "parkgate" / "journal"
# Earlier ones first.
MODULES = (*("format", "loaded", "sectors", "lookup", "space", "unsealed", "batches", "survey", "recovery", "journal"),)

# name → what it does wrong, and the edits: (module, text, text instead)
BUGS = {
    "no CRC": (
        "whatever looks like a record is one",
        ("loaded", "if end <= size and crc == crc32(whole[offset + 4 : end], self.seed):", "if end <= size:"),
    ),
    "CRC of the head only": (
        "the CRC leaves out what stands behind the head",
        ("loaded", "crc32(whole[offset + 4 : end], self.seed)", "crc32(whole[offset + 4 : offset + 16], self.seed)"),
        (
            "loaded",
            "crc32(self.whole[offset + 4 : end], self.seed)",
            "crc32(self.whole[offset + 4 : offset + 16], self.seed)",
        ),
        ("sectors", "            crc = crc32(piece, crc)\n", "            pass\n"),
    ),
    "free before commit": (
        "raw sectors are freed, and said to be, before the batch is whole",
        (
            "batches",
            "        try:\n            count = self._put_parts(",
            "        self.ledger.consumed = position + 1\n        self.free_raw()\n"
            "        try:\n            count = self._put_parts(",
        ),
    ),
    "erase before the receipt is kept": (
        "a sector is freed by acknowledgements that only memory knows",
        (
            "space",
            "if self._unsaved:\n            tight, self._tight",
            "if False:\n            tight, self._tight",
        ),
    ),
    "state from headers": (
        "the start looks for the newest ledger in sector headers only",
        (
            "recovery",
            "    if (ledger.serial, ledger.position) >= (",
            "    if False and (ledger.serial, ledger.position) >= (",
        ),
    ),
    "seq from memory": (
        "the next seq is counted on in memory, and only headers tell it after a start",
        (
            "recovery",
            "        ledger.unpack(content, at)\n",
            "        ledger.unpack(content, at)\n        ledger.next_seq = journal.ledger.next_seq\n",
        ),
    ),
    "first header wins": (
        "the start believes the first sector it finds, not the newest",
        ("survey", "                if header.serial > newest_serial:\n", "                if newest < 0:\n"),
    ),
    "head pointer in a file": (
        "where the next record goes is kept beside the journal, and is not always the newest",
        ("sectors", "FAULTS_MAX = 2  # failed", "HEADS = {}\nFAULTS_MAX = 2  # failed"),
        (
            "sectors",
            "        tail.offset = self.first\n        tail.faults = 0\n",
            "        tail.offset = HEADS[ledger.serial] = self.first\n        tail.faults = 0\n",
        ),
        (
            "sectors",
            "        tail.offset = max(used, behind)\n",
            "        tail.offset = HEADS.get(self.top.serial, max(used, behind))\n",
        ),
    ),
    "off by one in the gap": (
        "a gap record tells of one batch too many",
        ("space", "gap.first_seq, gap.last_seq = ledger.low, end - 1", "gap.first_seq, gap.last_seq = ledger.low, end"),
    ),
    "a piece left behind": (
        "a batch with a piece in the next sector is not dropped with its first sector",
        ("space", "return first + 1 if sectors.begun_inside() and first < next_seq else first", "return first"),
    ),
    "silent drop": (
        "what is dropped is counted, but no gap record is written",
        ("space", "            if gap.batches or gap.records or gap.readings:\n", "            if False:\n"),
    ),
    "acknowledged twice over": (
        "a drop counts readings that were acknowledged in between",
        ("space", " - ledger.settled_in(ledger.low, end)", ""),
    ),
    "receipt for all before": (
        "a receipt for the newest batch settles everything older",
        (
            "batches",
            "        if not ledger.settle(seq, seq + 1, before, after):\n            return False\n",
            "        ledger.raise_low(seq + 1, after)\n",
        ),
    ),
    "ranges forgotten": (
        "a start remembers the oldest batch held, not those settled above it",
        ("format", "            self.ranges.append([first, first + length, before, before + readings])\n", ""),
    ),
    "half erased is erased": (
        "a free sector whose header is blank is used without an erase",
        (
            "sectors",
            "        if not self._erase(sector):\n",
            "        self.read_bytes(sector * self.size, self.view[:HEADER_BYTES])\n"
            "        if self.view[:HEADER_BYTES] != BLANK and not self._erase(sector):\n",
        ),
    ),
    "flipped newest record is torn": (
        "a bit that flips in the newest record takes its readings out of all counts",
        ("recovery", "    sectors.give_hurt = True\n", ""),
    ),
    "boot from memory": (
        "the boot number is not made durable",
        (
            "recovery",
            "        _write_boot(journal, (TORN if report.torn else 0) if ledger.position else BORN, void)\n",
            "",
        ),
    ),
    "pieces of two attempts": (
        "a batch that was cut short is not told from the one sealed after it",
        (
            "batches",
            "                    at = count = 0  # what was before had been cut short\n",
            "                    pass\n",
        ),
    ),
    "loss not moved on": (
        "dropping raw records forgets their readings in the count of those consumed",
        (
            "space",
            "            ledger.consumed, ledger.consumed_sampled = end, sampled\n",
            "            ledger.consumed = end\n",
        ),
    ),
    "newest dropped": (
        "when space runs out, the raw records go before the batches that are older",
        (
            "space",
            "            return SEALED\n"
            "        if len(sectors.raw) > 1 and not self._keep_raw:\n            return RAW\n",
            "            return RAW if len(sectors.raw) > 1 and not self._keep_raw else SEALED\n"
            "        if len(sectors.raw) > 1 and not self._keep_raw:\n            return RAW\n",
        ),
    ),
    "a new epoch each time": (
        "the epoch is born anew at each start",
        (
            "recovery",
            "        journal.epoch = sectors.header.epoch\n",
            "        journal.epoch = bytes(journal.new_epoch())\n",
        ),
    ),
    "debt not paid at a start": (
        "readings that were dropped before they were told stay untold",
        ("recovery", "        journal.tell_owed()\n", ""),
        ("space", "        else:\n            self.tell_owed()\n", ""),
        (
            "space",
            "            self._open(stream, size)\n            self.tell_owed()\n",
            "            self._open(stream, size)\n",
        ),
        ("journal", "        self.tell_owed()\n        full =", "        full ="),
    ),
    "one field for two debts": (
        "a gap record pays all that is owed, whatever it tells",
        ("space", "fresh.unreported -= told", "fresh.unreported = 0"),
    ),
    "dropped gap not told again": (
        "a gap record that is dropped takes what it told with it",
        ("space", "            gap.readings += earlier.readings\n", ""),
    ),
    "range not moved": (
        "a settled range that grows at its lower end forgets how many readings lie before it",
        ("format", "            self.ranges[at][2] = before\n", ""),
    ),
    "nothing made sure of": (
        "what the power cut left is built on as it reads once",
        ("survey", "    if sectors.verified:\n        return True\n", "    return True\n"),
    ),
    "header believed at once": (
        "a header that reads wrong once is no header",
        (
            "loaded",
            "        before = -1\n        for _ in range(READ_TRIES):\n",
            "        before = -1\n        for _ in range(1):\n",
        ),
        ("survey", "_PASSES = 3", "_PASSES = 1"),
    ),
    "batch read once": (
        "a batch that cannot be read once is damaged",
        (
            "batches",
            "        for _ in range(READ_TRIES):\n            batch = self._gather(seq)\n",
            "        for _ in range(1):\n            batch = self._gather(seq)\n",
        ),
        ("batches", "            if self._doubted == seq:\n", "            if True:\n"),
    ),
    "no way on": (
        "when no sector can be written to, nothing goes to make room",
        ("space", "            self._force_one()\n", '            raise JournalFull("no sector")\n'),
    ),
}


def load(name: str):
    """The class Journal with the bug `name` in it."""
    edits = BUGS[name][1:]
    package = types.ModuleType("planted_journal")
    package.__path__ = []
    for module in list(sys.modules):
        if module.split(".")[0] == "planted_journal":
            del sys.modules[module]
    sys.modules["planted_journal"] = package
    sys.modules["planted_journal.single_bit"] = single_bit
    for part in MODULES:
        text = (JOURNAL / (part + ".py")).read_text(encoding="utf-8")
        for where, old, new in edits:
            if where == part:
                if text.count(old) != 1:
                    raise LookupError(f"bug {name!r}: its text stands {text.count(old)} times in {part}.py")
                text = text.replace(old, new)
        module = types.ModuleType("planted_journal." + part)
        module.__package__ = "planted_journal"
        sys.modules[module.__name__] = module
        exec(compile(text, f"{part}.py with {name}", "exec"), module.__dict__)
    return sys.modules["planted_journal.journal"].Journal

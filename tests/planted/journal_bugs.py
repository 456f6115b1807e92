"""Bugs for the journal: each is a small edit of its source, and each must be found.

Most are found by one short life of a few operations: `LIVES` names the test in tests/core that has it, and that a sound
journal passes. The others are found by random lives and by cuts. `load` makes the journal's package anew with the edit
in it; the text to replace must stand there exactly once, so that an edit cannot rot unseen when the journal changes.
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
        (
            "space",
            "gap.last_seq = ledger.low - ledger.unnamed, end - 1\n",
            "gap.last_seq = ledger.low - ledger.unnamed, end\n",
        ),
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
    "acknowledge before program": (
        "append returns while the record waits in memory for the next one",
        (
            "journal",
            "        if not self.sectors.write(RAW, self.epoch, kind, readings,",
            "        kept = kind, readings, bytes(payload)\n"
            "        kind, readings, payload = getattr(self, '_late', kept)\n        self._late = kept\n"
            "        if not self.sectors.write(RAW, self.epoch, kind, readings,",
        ),
    ),
    "writing over a torn record": (
        "after a start, writing goes on in the page that was torn",
        (
            "loaded",
            "        return self._aligned(end)\n\n    def _aligned",
            "        return end // 256 * 256\n\n    def _aligned",
        ),
        ("loaded", "for step in (HEADER_BYTES, min(self.unit, HEADER_BYTES)):", "for step in (HEADER_BYTES, 16):"),
    ),
    "flipped header is strange": (
        "a bit that flips in the header of the open sector takes all its readings out of all counts",
        ("format", " and not (search and _mend_header(buffer, sector)):", ":"),
    ),
    "torn number used again": (
        "a torn record's position is given to the next record, and nothing tells of it",
        ("recovery", "(TORN if report.torn else 0) if", "0 if"),
    ),
    "torn record completed": (
        "a start goes on writing within the length that a torn record claims",
        ("sectors", "tail.offset = max(tail.offset, min(self._aligned(claimed), self.size))", "pass"),
    ),
    "no witness": (
        "a batch is shown while one torn page alone says that it exists",
        (
            "batches",
            "        self.room_for_state()\n        self.put_state(STATE)\n",
            "",
        ),
    ),
    "unstored forgotten": (
        "a ledger does not say how many readings never were in a raw record",
        ("format", "            min(self.unstored, _U32),\n", "            0,\n"),
    ),
    "damaged gap not read": (
        "what a gap record told is told nowhere once one bit of it has flipped",
        (
            "loaded",
            "        if buffer[offset + 6] in (SAMPLE, EVENT):\n",
            "        if buffer[offset + 6] in (SAMPLE, EVENT, 3):\n",
        ),
    ),
    "serial not raised": (
        "a start goes on with the serial of the last ledger it read",
        ("recovery", "        ledger.serial += 2 + 8 * report.strange\n", ""),
    ),
    "commit not taken": (
        "a start does not look for a ledger in the open sealed sector",
        (
            "recovery",
            "            _take_ledger(journal, sectors.content(record), COMMIT_BYTES)\n",
            "            pass\n",
        ),
    ),
    "sealed tail not resumed": (
        "each start begins another sealed sector",
        ("recovery", "    sectors.resume(SEALED, sector, offset)\n", "    pass\n"),
    ),
    "half erased sector resumed": (
        "a start goes on writing to a sealed sector that was given up before",
        ("recovery", "            sectors.tails[SEALED].close()  # it may", "            pass  # it may"),
    ),
    "torn stays where it was": (
        "a start does not say from where on there is nothing",
        ("space", 'struct.pack("<H", void[1] // sectors.unit) if here else b""', 'b""'),
    ),
    "an earlier start decides": (
        "of two starts that declare bytes to be nothing the earlier is believed as well",
        ("loaded", "                        offset = since\n", ""),
    ),
    "torn header left": (
        "a sector whose header was torn is left as it is",
        ("recovery", "        survey.erase_begun(sectors)\n", ""),
        ("recovery", "2 + 8 * report.strange", "2"),
    ),
    "boots of records not counted": (
        "the boot number is in the BOOT alone",
        ("recovery", "    journal.ledger.boot = max(journal.ledger.boot,", "    max(journal.ledger.boot,"),
    ),
    "wiped before it is begun": (
        "the sectors of the old epoch are free before the new one stands",
        (
            "recovery",
            "    epoch = bytes(journal.new_epoch())\n    ledger",
            "    epoch = bytes(journal.new_epoch())\n    sectors.abandon()\n    ledger",
        ),
    ),
    "torn at one reading": (
        "the open sector is read once, and what does not check then is torn",
        ("survey", "_READINGS = 5\n", "_READINGS = 0\n"),
    ),
    "room for the gap not kept": (
        "the last room of a full journal goes to a sample",
        (
            "space",
            "            while sectors.free < 2 and sectors.room(RAW) - size < self._gap_room:\n",
            "            while False:\n",
        ),
    ),
    "erased and not missed": (
        "a start does not look for what had to be erased before it was told",
        ("recovery", "        journal.owe_missing(report.strange > 0)\n", ""),
    ),
    "position from memory lost": (
        "after a failure of a file, what memory knows of the lost readings is not used",
        ("recovery", "            _keep_known(ledger, known)\n", "            pass\n"),
    ),
    "debt left to the next call": (
        "readings that had to go while a sector was begun ahead stay untold until something else is written",
        ("journal", "            self._open(RAW)\n            self.tell_owed()\n", "            self._open(RAW)\n"),
    ),
    "failed flush taken for a failed erase": (
        "a sync that fails before an erase is the sector's fault, and what had waited is counted by nobody",
        (
            "sectors",
            "        self.flash.sync()  # where writes wait in a cache, none may be overtaken by an erase\n"
            "        try:\n",
            "        try:\n            self.flash.sync()\n",
        ),
    ),
    "names lost with their batch": (
        "a gap record that goes with the batch that carries it is not told again",
        ("lookup", "        ledger.unnamed = max(ledger.unnamed, ledger.low - first)\n", ""),
    ),
    "names of the newest gap only": (
        "a batch does not say how far back its gap records name",
        ("batches", "            told = min(self.told_back, TOLD_MAX)\n", "            told = 0\n"),
    ),
    "debt without names": (
        "a ledger tells how many readings are owed, but not which batches",
        ("format", "            self.unnamed = count >> 8\n", ""),
    ),
    "damaged batch takes names with it": (
        "what the gap records of a damaged batch named is named by nothing any more",
        ("batches", "            self.owe_told(lost, self.commit_of(lost))\n", "            pass\n"),
    ),
    "names of another epoch": (
        "what gap records of the epoch before named goes into the first batch of the next",
        ("journal", "        self.told_back = 0\n        try:\n", "        try:\n"),
    ),
    "damaged newest forgotten by the next sector": (
        "a damaged newest record without room for a BOOT behind it may come back",
        ("recovery", "        _owe_newest(journal, record)\n", "        pass\n"),
    ),
    "torn newest takes the one before": (
        "where a torn record leaves no room for a BOOT, the stored record before it is called lost",
        (
            "recovery",
            "    if newest in hurt and sectors.room(RAW) <",
            "    if (newest in hurt or report.torn and record.kind < 3) and sectors.room(RAW) <",
        ),
    ),
    "torn newest is counted": (
        "where a torn record leaves no room for a BOOT, its readings are counted as stored and lost",
        (
            "recovery",
            "    if newest in hurt and sectors.room(RAW) <",
            "    if newest not in hurt and report.torn and sectors.room(RAW) < journal.state_size(VOID_EXTRA):\n"
            "        kind, count = sectors.buffer[void[1] + 6 : void[1] + 8]\n"
            "        if kind == 1:\n"
            "            record.count = count\n"
            "            ledger.position += 1\n"
            "            ledger.sampled += count\n"
            "            _owe_newest(journal, record)\n"
            "    if newest in hurt and sectors.room(RAW) <",
        ),
    ),
    "stray sector believed": (
        "one sector with a higher serial, of another gateway, ends the epoch",
        ("survey", "        while self.alone:\n", "        while False:\n"),
    ),
    "first sector of an epoch taken for a stray": (
        "a new epoch that a wipe has begun is passed over at the next start",
        ("survey", "                    late = header.position + header.next_seq\n", "                    late = 1\n"),
    ),
}

# name → the test in tests/core that finds it
LIVES = {
    "acknowledge before program": "test_journal_decided.test_a_torn_record_never_comes_back",
    "boots of records not counted": "test_journal_decided.test_the_boot_number_is_in_every_record",
    "flipped header is strange": "test_journal_faults.test_no_flipped_bit_takes_readings_with_it_uncounted",
    "no witness": "test_journal_faults.test_the_newest_batch_damaged_frees_no_number",
    "unstored forgotten": "test_journal_faults.test_a_loss_told_in_a_damaged_record_is_told_again",
    "damaged gap not read": "test_journal_faults.test_a_loss_told_in_a_damaged_record_is_told_again",
    "writing over a torn record": "test_journal_needs.test_a_record_called_torn_stays_so_behind_a_start_that_was_cut",
    "torn stays where it was": "test_journal_needs.test_a_record_called_torn_stays_so_behind_a_start_that_was_cut",
    "torn number used again": "test_journal_needs.test_a_torn_record_is_told_at_its_position",
    "torn record completed": "test_journal_needs.test_a_torn_piece_of_a_batch_is_never_completed",
    "serial not raised": "test_journal_needs.test_a_torn_header_that_cannot_be_erased_is_not_the_newest",
    "commit not taken": "test_journal_needs.test_a_witness_beyond_repair_frees_no_number",
    "sealed tail not resumed": "test_journal_needs.test_batches_of_several_starts_share_a_sector",
    "half erased sector resumed":
        "test_journal_needs.test_nothing_is_written_to_a_sealed_sector_that_may_be_half_erased",
    "an earlier start decides": "test_journal_needs.test_the_newest_start_decides",
    "torn header left": "test_journal_needs.test_a_torn_header_is_gone_before_anything_else_is_written",
    "wiped before it is begun": "test_journal_needs.test_a_wipe_touches_nothing_before_the_new_epoch_stands",
    "torn at one reading":
        "test_journal_needs.test_the_open_sector_is_read_twice_before_its_newest_record_is_called_torn",
    "room for the gap not kept": "test_journal_needs.test_one_sector_fails_and_the_power_goes",
    "erased and not missed": "test_journal_needs.test_what_was_erased_before_it_was_told_is_missed",
    "position from memory lost": "test_journal_flush.test_what_a_failed_flush_took_is_counted_by_what_memory_knows",
    "off by one in the gap": "test_journal_needs.test_a_gap_tells_exactly_the_batches_that_went",
    "newest dropped": "test_journal_needs.test_batches_go_before_the_records_that_are_newer",
    "half erased is erased": "test_journal_needs.test_a_sector_with_a_blank_header_is_erased_before_it_is_used",
    "acknowledged twice over": "test_journal_needs.test_a_range_that_grows_downward_keeps_its_count",
    "flipped newest record is torn": "test_journal_faults.test_no_flipped_bit_takes_readings_with_it_uncounted",
    "erase before the receipt is kept": "test_journal_needs.test_a_receipt_is_kept_before_its_sector_is_erased",
    "batch read once": "test_journal_needs.test_a_batch_is_not_given_up_for_one_wrong_read",
    "range not moved": "test_journal_needs.test_a_range_that_grows_downward_keeps_its_count",
    "pieces of two attempts":
        "test_journal_needs.test_a_batch_is_read_without_the_pieces_of_one_that_was_cut_short",
    "nothing made sure of": "test_journal_decided.test_what_is_built_on_a_marginal_header_stays",
    "silent drop": "test_journal_faults.test_what_gap_records_tell_can_be_merged_by_the_caller",
    "debt not paid at a start": "test_journal_flush.test_what_a_failed_flush_took_is_counted_by_what_memory_knows",
    "one field for two debts": "test_journal_flush.test_what_a_failed_flush_took_is_counted_by_what_memory_knows",
    "dropped gap not told again": "test_journal_faults.test_what_gap_records_tell_can_be_merged_by_the_caller",
    "header believed at once": "test_journal_decided.test_work_goes_on_while_reads_go_wrong",
    "debt left to the next call": "test_journal_needs.test_a_call_that_drops_tells_before_it_returns",
    "failed flush taken for a failed erase": "test_journal_flush.test_an_erase_does_not_hide_a_failed_flush",
    "damaged newest forgotten by the next sector":
        "test_journal_needs.test_a_damaged_newest_record_stays_so_when_its_sector_is_full",
    "torn newest takes the one before":
        "test_journal_needs.test_a_torn_record_at_the_end_of_a_sector_counts_nothing_and_takes_nothing_with_it",
    "torn newest is counted":
        "test_journal_needs.test_a_torn_record_at_the_end_of_a_sector_counts_nothing_and_takes_nothing_with_it",
    "stray sector believed":
        "test_journal_epochs.test_one_sector_of_another_gateway_or_of_an_older_image_changes_nothing",
    "first sector of an epoch taken for a stray": "test_journal_epochs.test_a_factory_reset_begins_anew_and_erases",
    "names lost with their batch": "test_journal_names.test_what_names_a_lost_batch_outlives_the_batch_that_it_is_in",
    "names of the newest gap only": "test_journal_names.test_what_names_a_lost_batch_outlives_the_batch_that_it_is_in",
    "debt without names": "test_journal_names.test_the_debt_of_names_outlives_a_cut",
    "damaged batch takes names with it": "test_journal_names.test_a_damaged_batch_leaves_its_names",
    "names of another epoch": "test_journal_names.test_no_statement_names_a_batch_of_an_epoch_before",
}  # fmt: skip


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

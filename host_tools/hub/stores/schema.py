"""The hub's database: what each table is for. SQLite in WAL mode with synchronous=FULL.

FULL, because a receipt makes the gateway erase the only other copy: what is committed must survive the hub's
own power cut. The cost of one fsync is shared by all messages that are waiting.

Readings are not stored a second time. The signed bytes of each batch are the data (about one byte a reading);
`block` indexes them by series and time, with what a plot needs from afar. So a reading is there exactly once,
by the primary key of its batch, and what is shown, exported and audited cannot differ.
"""

FORMAT = 9

DECODED, WAITS_FOR_SCHEMA, UNDECODABLE = 0, 1, 2  # batch.state
REMOVED = -1  # … by an operator (`retention`): its bytes are empty, its hash stays

TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Enrolled gateways: written by `parkgate enrol`, read by the hub.
CREATE TABLE gateway (
    gw INTEGER PRIMARY KEY,
    kid BLOB NOT NULL UNIQUE,           -- 32 bytes: thumbprint of the public key
    public_key BLOB NOT NULL,           -- x || y, 64 bytes
    name TEXT NOT NULL UNIQUE,
    enrolled_unix_ms INTEGER NOT NULL,
    revoked_unix_ms INTEGER             -- null while it is welcome
);

-- What became of each gateway's key: one row for each change, never changed and never deleted. `name` is the name from
-- then on.
CREATE TABLE gateway_history (
    gw INTEGER NOT NULL REFERENCES gateway,
    unix_ms INTEGER NOT NULL,
    what TEXT NOT NULL,                 -- enrolled, renamed, revoked, restored
    name TEXT NOT NULL
);
CREATE INDEX gateway_history_of ON gateway_history (gw);

-- The keys of a gateway, one after the other (`gateway_keys`): rows only where the next key is committed.
CREATE TABLE gateway_key (
    gw INTEGER NOT NULL REFERENCES gateway,
    number INTEGER NOT NULL,            -- 0: the key that it was enrolled with
    kid BLOB NOT NULL UNIQUE,           -- thumbprint of the key
    public_key BLOB NOT NULL,
    next_id BLOB NOT NULL,              -- thumbprint of the key after it, committed before that one was ever used
    ep INTEGER,                         -- chain and seq of the last batch that it signed; null while it is in use
    seq INTEGER,
    unix_ms INTEGER NOT NULL,           -- when the hub learnt of it
    PRIMARY KEY (gw, number)
) WITHOUT ROWID;

-- Beats as signed: the newest of each chain and day of arrival (UTC). The last one of a chain says where it ended and
-- what was still owed then, also after another chain has begun; the daily ones prove the end of any month.
CREATE TABLE beats (
    ep INTEGER NOT NULL REFERENCES epoch,
    day INTEGER NOT NULL,               -- received_unix_ms / 86400000
    boot INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    sampled INTEGER NOT NULL,
    received_unix_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (ep, day)
) WITHOUT ROWID;

-- What the hub counts of each gateway.
CREATE TABLE standing (
    gw INTEGER PRIMARY KEY REFERENCES gateway,
    last_seen_unix_ms INTEGER,
    duplicates INTEGER NOT NULL,
    stale_beats INTEGER NOT NULL,
    beat BLOB,                          -- the newest verified beat, as signed
    beat_unix_ms INTEGER                -- when it came
);

CREATE TABLE epoch (
    ep INTEGER PRIMARY KEY,
    gw INTEGER NOT NULL REFERENCES gateway,
    epoch BLOB NOT NULL,                -- 16 bytes
    seen_unix_ms INTEGER NOT NULL,
    batches INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    sampled INTEGER NOT NULL,           -- counters of the highest batch held
    dropped INTEGER NOT NULL,
    gap_events INTEGER NOT NULL,
    gap_readings INTEGER NOT NULL,
    UNIQUE (gw, epoch)
);

-- Which seqs are held, as ranges: one row a hole, however long the chain.
CREATE TABLE held (
    ep INTEGER NOT NULL REFERENCES epoch,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (ep, first_seq)
) WITHOUT ROWID;

-- Seqs that will not come, as they were noticed: a signed gap says so, or this hub acknowledged them and lost them
-- (restored from a backup). A row alone explains nothing: a gap counts only as long as the signed batch that tells
-- it is here (`kept.signed_gaps`).
CREATE TABLE missing (
    ep INTEGER NOT NULL REFERENCES epoch,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    why TEXT NOT NULL,
    noticed_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (ep, first_seq, last_seq, why)
) WITHOUT ROWID;

CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    ep INTEGER NOT NULL REFERENCES epoch,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,                 -- SHA-256 of bytes
    prev BLOB,
    received_unix_ms INTEGER NOT NULL,
    sampled INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    dropped INTEGER NOT NULL,           -- its counter of readings lost, as sampled is of those taken
    schema_id BLOB NOT NULL,
    state INTEGER NOT NULL,             -- 0 decoded, 1 waits for its schema, 2 signed but not decodable, -1 removed
    bytes BLOB NOT NULL,
    UNIQUE (ep, seq)
);
CREATE INDEX batch_undecoded ON batch (state, schema_id) WHERE state > 0;

CREATE TABLE schema (
    gw INTEGER NOT NULL REFERENCES gateway,
    schema_id BLOB NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (gw, schema_id)
) WITHOUT ROWID;

-- One channel of one instrument of one gateway, whatever its place in the schemas that name it.
CREATE TABLE series (
    series INTEGER PRIMARY KEY,
    gw INTEGER NOT NULL REFERENCES gateway,
    instrument TEXT NOT NULL,
    quantity TEXT NOT NULL,
    unit TEXT NOT NULL,
    scale INTEGER NOT NULL,
    profile TEXT NOT NULL,
    readings INTEGER NOT NULL,
    undated INTEGER NOT NULL,           -- readings whose time is only relative to a boot
    span_ms INTEGER NOT NULL,           -- longest block: bounds the search for blocks around a time
    qualities TEXT NOT NULL,            -- JSON: quality code → readings
    last_ep INTEGER,                    -- the newest reading, by place in the chain
    last_seq INTEGER,
    last_ms INTEGER,
    last_trust INTEGER,
    last_quality INTEGER,
    last_value INTEGER,
    good_ms INTEGER,                    -- time of the newest good reading
    row_ms INTEGER,                     -- cadence of its rows as its newest schema declares it
    UNIQUE (gw, instrument, quantity, unit, scale)
);

-- The readings of one series in one batch.
CREATE TABLE block (
    series INTEGER NOT NULL REFERENCES series,
    last_ms INTEGER NOT NULL,           -- of the dated rows; -1 when there is none
    ep INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    instrument INTEGER NOT NULL,        -- table and column in the batch
    channel INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    least INTEGER,                      -- of the values, null when there is none
    most INTEGER,
    good_ms INTEGER NOT NULL DEFAULT -1,    -- time of the last good row, -1 when there is none
    covered_ms INTEGER NOT NULL DEFAULT 0,  -- time that good rows cover, from the first row to the last
    tail_ms INTEGER NOT NULL DEFAULT 0,     -- what the last row covers at most, 0 when it is not good
    PRIMARY KEY (series, last_ms, ep, seq)
) WITHOUT ROWID;

-- What a gateway signed of the periods of its instruments (SPEC 5.7): one row a statement.
CREATE TABLE periods (
    ep INTEGER NOT NULL REFERENCES epoch,
    seq INTEGER NOT NULL,
    place INTEGER NOT NULL,
    gw INTEGER NOT NULL,
    instrument TEXT NOT NULL,
    begin_ms INTEGER,                   -- null when it is only relative to a start
    end_ms INTEGER,
    period_ms INTEGER NOT NULL,
    taken INTEGER NOT NULL,
    no_answer INTEGER NOT NULL,
    backed_off INTEGER NOT NULL,
    bus_busy INTEGER NOT NULL,
    not_built INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (ep, seq, place)
) WITHOUT ROWID;
CREATE INDEX periods_of ON periods (gw, instrument, end_ms);

CREATE TABLE event (
    ep INTEGER NOT NULL REFERENCES epoch,
    seq INTEGER NOT NULL,
    place INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    event BLOB NOT NULL,                -- as in the batch, CBOR
    PRIMARY KEY (ep, seq, place)
) WITHOUT ROWID;

-- Sums of each series over pieces of 15 minutes (park/book): made from the signed bytes, and made anew when what they
-- are made of changes. `fields` are those of park.sums.Piece behind its edges, as JSON.
CREATE TABLE sums (
    series INTEGER NOT NULL REFERENCES series,
    piece INTEGER NOT NULL,             -- begin in ms / 900000
    fields TEXT NOT NULL,
    PRIMARY KEY (series, piece)
) WITHOUT ROWID;

-- Pieces of a series that are to be made: from the first to the last.
CREATE TABLE sums_due (
    series INTEGER PRIMARY KEY REFERENCES series,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
);

-- What the hub itself found wrong with a gateway that proved to be one of ours: one row a kind, with the
-- newest words.
CREATE TABLE alarm (
    gw INTEGER NOT NULL REFERENCES gateway,
    kind TEXT NOT NULL,
    what TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_unix_ms INTEGER NOT NULL,
    last_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (gw, kind)
) WITHOUT ROWID;

-- Messages that did not become data, counted; gw 0 where no enrolled gateway is named.
CREATE TABLE refused (
    gw INTEGER NOT NULL,
    reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    last_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (gw, reason)
) WITHOUT ROWID;

-- The first of them, kept as evidence: never more than EVIDENCE_KEPT a gateway and reason.
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY,
    gw INTEGER NOT NULL,
    reason TEXT NOT NULL,
    what TEXT NOT NULL,
    topic TEXT NOT NULL,
    received_unix_ms INTEGER NOT NULL,
    size INTEGER NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL,                -- the first EVIDENCE_BYTES of it
    UNIQUE (gw, reason, hash)
);

-- Hashes of forked batches, so that what continues one is known as well.
CREATE TABLE fork (
    ep INTEGER NOT NULL REFERENCES epoch,
    hash BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (ep, hash)
) WITHOUT ROWID;
"""

PLACES = """
-- Places (metering points): they outlive boards and keys.
CREATE TABLE place (
    pl INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,            -- 16 random bytes: how statements and archives call it
    name TEXT NOT NULL,                 -- unique by look among those that are open (`places`)
    closed_unix_ms INTEGER              -- null while it is in use
);

-- Which gateway stands where: its readings dated from_ms or later, and before to_ms, belong to the place. A gateway
-- stands at one place at a time, and at a place stands one gateway.
CREATE TABLE place_stay (
    pl INTEGER NOT NULL REFERENCES place,
    gw INTEGER NOT NULL REFERENCES gateway,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER                       -- null while it stands there
);
CREATE INDEX place_stay_of ON place_stay (gw);
CREATE INDEX place_stay_at ON place_stay (pl);

-- Each change of a place: one row for each statement in the log. Only `entry` is written later: it is null until the
-- statement is in the log.
CREATE TABLE place_history (
    pl INTEGER NOT NULL REFERENCES place,
    unix_ms INTEGER NOT NULL,
    what TEXT NOT NULL,                 -- kind of the statement (SPEC 13.5)
    by TEXT,
    facts BLOB NOT NULL,                -- of the statement, CBOR, without `prior`
    entry BLOB                          -- SHA-256 of the statement
);
CREATE INDEX place_history_of ON place_history (pl);

-- Exchanges of gateways of which the new one's first registers are not known yet.
CREATE TABLE exchange (
    pl INTEGER NOT NULL REFERENCES place,
    old_gw INTEGER NOT NULL,
    new_gw INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
);
"""

LOTS = """
-- The entries of the floor (SPEC 15) that a chain's events hold. With the three tables below it is an index, made from
-- `event` alone (production/index).
CREATE TABLE lot_entry (
    ep INTEGER NOT NULL REFERENCES epoch,
    seq INTEGER NOT NULL,
    place INTEGER NOT NULL,
    number INTEGER NOT NULL,            -- of the entry, counted by its gateway
    what INTEGER NOT NULL,
    about INTEGER NOT NULL,             -- number of the job; of a correction, of what it corrects; 0: of none
    PRIMARY KEY (ep, seq, place)
);
CREATE INDEX lot_entry_of ON lot_entry (ep, about);
CREATE INDEX lot_entry_at ON lot_entry (ep, number);

-- Jobs whose lot is known, corrections applied.
CREATE TABLE lot_job (
    ep INTEGER NOT NULL REFERENCES epoch,
    job INTEGER NOT NULL,
    lot TEXT NOT NULL,
    station INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    PRIMARY KEY (ep, job)
);
CREATE INDEX lot_job_of ON lot_job (lot);

-- `source` went into `target`, as a job's entries say.
CREATE TABLE lot_link (
    ep INTEGER NOT NULL REFERENCES epoch,
    job INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL
);
CREATE INDEX lot_link_of ON lot_link (ep, job);
CREATE INDEX lot_link_from ON lot_link (source);
CREATE INDEX lot_link_to ON lot_link (target);

-- The name of each station, as the newest statement of its chain says.
CREATE TABLE lot_station (
    ep INTEGER NOT NULL REFERENCES epoch,
    station INTEGER NOT NULL,
    number INTEGER NOT NULL,            -- of the entry that says so
    name TEXT NOT NULL,
    PRIMARY KEY (ep, station)
);
"""

ALARMS = """
-- Alarms (alarms/ledger): one row for each, open or over. `causes` is JSON.
CREATE TABLE raised (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    what TEXT NOT NULL,                 -- in words
    urgent INTEGER NOT NULL,            -- 1: more urgent than its kind
    causes TEXT NOT NULL,
    ever INTEGER NOT NULL,              -- how many causes it has had
    count INTEGER NOT NULL,
    begun_unix_ms INTEGER NOT NULL,
    opened_unix_ms INTEGER NOT NULL,
    changed_unix_ms INTEGER NOT NULL,
    closed_unix_ms INTEGER,             -- null while it is open
    acknowledged_unix_ms INTEGER,
    acknowledged_by TEXT,
    word TEXT
);
CREATE INDEX raised_closed ON raised (closed_unix_ms);

-- Messages about alarms that are still to be sent.
CREATE TABLE alarm_message (
    id INTEGER PRIMARY KEY,
    alarm INTEGER NOT NULL,
    event TEXT NOT NULL,                -- opened, closed
    address TEXT NOT NULL,              -- name in the file of addresses
    due_unix_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL
);
"""

HOLDS = """
-- Readings that must not be removed (retention): those of a place in a span of time.
CREATE TABLE legal_hold (
    number INTEGER PRIMARY KEY,
    pl INTEGER NOT NULL REFERENCES place,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER,                      -- null: no end
    why TEXT NOT NULL,
    by TEXT,
    set_unix_ms INTEGER NOT NULL,
    released_unix_ms INTEGER            -- null while it is in force
);
"""

TABLES += PLACES + LOTS + ALARMS + HOLDS

# From format 1 to 2: what is new is filled from the signed bytes afterwards (`derived.Derived.account_anew`).
TO_FORMAT_2 = """
ALTER TABLE series ADD COLUMN good_ms INTEGER;
ALTER TABLE series ADD COLUMN row_ms INTEGER;
ALTER TABLE block ADD COLUMN good_ms INTEGER NOT NULL DEFAULT -1;
ALTER TABLE block ADD COLUMN covered_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE block ADD COLUMN tail_ms INTEGER NOT NULL DEFAULT 0;
INSERT INTO about VALUES ('account', 'anew');
"""

# From format 2 to 3: the history begins with what is known now; the beats with those of `standing` (`database`).
TO_FORMAT_3 = """
INSERT INTO gateway_history SELECT gw, enrolled_unix_ms, 'enrolled', name FROM gateway ORDER BY gw;
INSERT INTO gateway_history SELECT gw, revoked_unix_ms, 'revoked', name FROM gateway WHERE revoked_unix_ms NOT NULL
"""

# From format 3 to 4: all sums are due.
TO_FORMAT_4 = """
INSERT INTO sums_due SELECT series, min(first_ms) / 900000 - 1, min(max(last_ms), 1 << 53) / 900000 + 1 FROM block
WHERE last_ms >= 0 GROUP BY series
"""

"""What the hub's database holds of the log. Made where they are missing, so that an older database gets them too.

`leaf` is the truth: rows are added in the transaction that stores what they are of, numbered without a hole, and never
changed. Tiles, checkpoints and proofs follow from it.
"""

from host_tools.log.database.seam import Database

REMOVED = -1  # batch.state of one whose bytes an operator has removed
BATCH, BEAT, FORK, STATEMENT = 1, 2, 3, 4  # leaf.kind: where the signed bytes are

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS leaf (
        leaf INTEGER PRIMARY KEY,           -- from 0
        kind INTEGER NOT NULL,              -- 1 batch, 2 beat, 3 batch refused as a fork, 4 statement of the hub
        entry BLOB NOT NULL,                -- SHA-256 of the signed bytes
        ep INTEGER,                         -- of a batch: its chain and place
        seq INTEGER
    )""",
    "CREATE UNIQUE INDEX IF NOT EXISTS leaf_of_batch ON leaf (ep, seq) WHERE kind = 1",
    """
    CREATE TABLE IF NOT EXISTS statement (
        leaf INTEGER PRIMARY KEY,
        bytes BLOB NOT NULL                 -- signed bytes of what is no batch
    )""",
    """
    CREATE TABLE IF NOT EXISTS checkpoint (
        log_id BLOB NOT NULL,
        size INTEGER NOT NULL,
        root BLOB NOT NULL,
        signature BLOB NOT NULL,            -- of its receipts, r || s
        note TEXT NOT NULL,
        signed_unix_ms INTEGER NOT NULL,
        keep INTEGER NOT NULL,              -- 1: a gateway, an archive or a stamp rests on it
        sum BLOB NOT NULL,                  -- SHA-256 over all before, so that a flipped bit shows
        PRIMARY KEY (log_id, size)
    ) WITHOUT ROWID""",
)


def make(db: Database) -> None:
    """Make the tables where they are missing."""
    if not db.has_table("checkpoint"):
        for statement in TABLES:
            db.make(statement)


def size(db: Database) -> int:
    """How many leaves are in the database."""
    row = db.execute("SELECT max(leaf) FROM leaf").fetchone()
    return 0 if row[0] is None else row[0] + 1

"""A hub without broker and page, for tests: messages go in by hand, the clock stands still unless told."""

import contextlib
import json
from collections.abc import Callable

from host_tools.base.keys import hub_key
from host_tools.hub.reading.summary import gateway_summary
from host_tools.hub.receiving.intake import Intake, Message, Outcome
from host_tools.hub.stores.store import Store, connect
from host_tools.hub.verbs.enrol import enrol
from host_tools.log.database import opening
from host_tools.log.record import open_recorder

NOW_MS = 1_800_000_000_000
MINUTE, HOUR_MS = 60_000, 3_600_000


new_server_database: Callable[[], str] | None = None  # where the fixture `store` wants new hubs; None: in a file


class Rig:
    """One hub on a directory. `take` gives it messages as one group."""

    def __init__(self, data_dir):
        self.data_dir = data_dir
        if new_server_database is not None and not opening.is_there(data_dir):
            opening.choose(data_dir, new_server_database())
        self.key = hub_key(data_dir)
        self.now_unix_ms = NOW_MS
        self.open()

    def open(self) -> None:
        self.store = Store(self.data_dir)
        try:
            self.intake = Intake(self.store, self.key, open_recorder(self.store.db))
        except BaseException:
            self.store.close()
            raise

    def restart(self) -> None:
        """As after a kill: everything comes from the database."""
        self.store.close()
        self.open()

    def enrol(self, *gateways) -> None:
        with contextlib.closing(connect(self.data_dir)) as db:
            for number, gateway in enumerate(gateways):
                enrol(db, gateway.xy, getattr(gateway, "name", f"gateway {number}"))

    def take(self, *messages) -> list[Outcome]:
        """Messages are (topic, data)."""
        return self.intake.take([Message(*message) for message in messages], self.now_unix_ms)

    def batches(self, gateway, *sealed) -> list[Outcome]:
        """Batches of one gateway in one group; it takes the receipts."""
        outcomes = self.take(*[(gateway.batch_topic(), data) for data in sealed])
        for outcome in outcomes:
            if outcome.receipt is not None:
                gateway.take_receipt(outcome.receipt, self.key.xy)
        return outcomes

    def beat(self, gateway, data=None, **fields) -> Outcome:
        return self.take((gateway.beat_topic(), gateway.beat(**fields) if data is None else data))[0]

    def summary(self, gateway) -> dict:
        return gateway_summary(self.store.by_topic[gateway.topic])

    def rows(self, question: str, *values) -> list:
        with contextlib.closing(connect(self.data_dir, read_only=True)) as db:
            return db.execute(question, values).fetchall()

    def everything(self) -> dict:
        """What the database says, in a form that can be compared: batches, blocks and sums."""
        return {
            "batch": self.rows("SELECT epoch, seq, hash, state FROM batch JOIN epoch USING (ep) ORDER BY 1, 2"),
            "block": self.rows(
                "SELECT quantity, block.last_ms, block.first_ms, seq, block.readings, least, most FROM block"
                " JOIN series USING (series) ORDER BY 1, 2, 4"
            ),
            "series": [
                (*row[:-1], json.loads(row[-1]))
                for row in self.rows(
                    "SELECT instrument, quantity, readings, last_seq, last_ms, last_value, last_quality, qualities"
                    " FROM series ORDER BY 1, 2"
                )
            ],
            "epoch": self.rows("SELECT epoch, batches, readings, sampled, dropped FROM epoch ORDER BY 1"),
            "held": self.rows("SELECT first_seq, last_seq FROM held ORDER BY ep, 1"),
        }


TABLES_SINCE = {  # format → tables that came with it
    2: ("periods",),
    3: ("beats", "gateway_history"),
    4: ("sums", "sums_due"),
    5: ("place_stay", "place_history", "exchange", "place"),
    6: ("lot_entry", "lot_job", "lot_link", "lot_station"),
    7: ("raised", "alarm_message"),
    8: ("gateway_key",),
    9: ("legal_hold",),
}


def make_older(db, older) -> None:
    """Bring a database back to this format, as far as tables go."""
    for since, tables in TABLES_SINCE.items():
        for table in tables if since > older else ():
            db.execute(f"DROP TABLE {table}")
    db.execute(f"PRAGMA user_version = {older}")


def meters_schema(names):
    """A schema of meters with these names."""
    return [
        [name, "SDM630; every 60 s", [["active_power", "W", 1], ["import_active_energy", "Wh", 0]]] for name in names
    ]


def fill_meters(rig, gateway, watts, from_ms, to_ms, steps=1, counted_from_ms=None):
    """Meters that count `watts` exactly, a row a minute, an hour a batch; `steps` of the register are one Wh, and it
    stood at 0 at `counted_from_ms` (or from_ms)."""
    zero_ms = from_ms if counted_from_ms is None else counted_from_ms
    for at in range(from_ms, to_ms, HOUR_MS):
        times = range(at, min(at + HOUR_MS, to_ms), MINUTE)
        tables = {
            i: [(ms, 0, [watt * 10, (ms - zero_ms) // MINUTE * watt * steps // 60], [0, 0]) for ms in times]
            for i, watt in enumerate(watts)
        }
        rig.now_unix_ms = times[-1] + 1000
        new = at == from_ms
        assert rig.take((gateway.batch_topic(), gateway.batch(tables=tables, with_schema=new)))[0].receipt

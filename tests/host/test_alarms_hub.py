"""Alarms of a hub with a real database: found in what gateways send, stored, acknowledged, told to people."""

import contextlib
import http.server
import json
import logging
import os
import threading
from datetime import datetime

import pytest

from batches import FakeGateway
from host_tools import cli
from host_tools.hub.alarms import addresses, ledger, limits, rules, send
from host_tools.hub.alarms.watch import Sources, Watch
from host_tools.hub.park import zone
from host_tools.hub.stores.store import connect
from hub_rig import HOUR_MS, MINUTE, NOW_MS, Rig, fill_meters, meters_schema
from parkgate.errors import SettingsError
from parkgate.log import statement

PHNOM_PENH = zone.zone("Asia/Phnom_Penh")
GAP = [5, None, None, 8, 0, []]
FLASH = [8, 3, 1]


class Looker:
    """A hub's watch on a rig, without threads: `look` is one look, `now_ms` the time of it."""

    def __init__(self, rig):
        self.rig = rig
        self.now_ms = rig.now_unix_ms
        self.connected = True
        self.published = []
        self.began_s = 0.0
        self.begin()

    def begin(self):
        """As after a start of the hub."""
        sources = Sources(
            lambda: [self.rig.summary(each) for each in self.gateways], lambda: self.connected, lambda: None,
            lambda: None, list, lambda *message: self.published.append(message), lambda: PHNOM_PENH,
        )  # fmt: skip
        self.watch = Watch(self.rig.data_dir, sources, lambda: connect(self.rig.data_dir))

    gateways = ()

    def look(self, after_ms=0):
        self.now_ms += after_ms
        with contextlib.closing(connect(self.rig.data_dir)) as db:
            return self.watch.look(db, self.now_ms, self.now_ms / 1000)

    def looks(self, ms, every_ms=MINUTE):
        return [change for _ in range(ms // every_ms) for change in self.look(every_ms)]

    def open(self):
        with contextlib.closing(connect(self.rig.data_dir, read_only=True)) as db:
            return ledger.listed(db)

    def ended(self):
        with contextlib.closing(connect(self.rig.data_dir, read_only=True)) as db:
            return ledger.listed(db, ended=True)

    def acknowledge(self, number, by="Sok", word="seen"):
        with contextlib.closing(connect(self.rig.data_dir)) as db:
            return ledger.acknowledge(db, number, by, word, self.now_ms)

    def send(self, after_ms=0):
        self.now_ms += after_ms
        with contextlib.closing(connect(self.rig.data_dir)) as db:
            self.watch.sender.turn(db, self.now_ms)


@pytest.fixture
def hall(tmp_path):
    gateway = FakeGateway(1, meters_schema(["main", "press"]))
    gateway.name = "hall 3"
    return gateway


@pytest.fixture
def looker(tmp_path, hall):
    rig = Rig(tmp_path)
    rig.enrol(hall)
    fill_meters(rig, hall, [6000, 1000], NOW_MS - HOUR_MS, NOW_MS)
    looker = Looker(rig)
    looker.gateways = [hall]
    looker.look()
    yield looker
    rig.store.close()


def speak(looker, hall, away=False, **fields):
    """A batch of this minute."""
    looker.rig.now_unix_ms = looker.now_ms
    wh = looker.now_ms // MINUTE * 100
    rows = {i: [(looker.now_ms - 1000, 0, [60000, wh], [0, 0])] for i in range(2)}
    if away:
        rows[1] = [(looker.now_ms - 1000, 0, [None, None], [8, 8])]
    assert looker.rig.take((hall.batch_topic(), hall.batch(tables=rows, **fields)))[0].receipt


def test_silence_opens_one_alarm_over_restarts_and_the_return_ends_it(looker, hall):
    looker.looks(20 * MINUTE)
    (alarm,) = looker.open()
    assert (alarm["kind"], alarm["urgent"], alarm["gateways"][0]["name"]) == ("silent", True, "hall 3")
    assert alarm["begun_unix_ms"] == looker.rig.summary(hall)["last_seen_unix_ms"]
    looker.begin()
    looker.looks(HOUR_MS)
    assert [each["id"] for each in looker.open()] == [alarm["id"]], "the same after a restart"
    speak(looker, hall)
    looker.looks(3 * MINUTE)
    assert looker.open() == []
    (over,) = looker.ended()
    assert over["id"] == alarm["id"] and over["closed_unix_ms"] > over["opened_unix_ms"]


def test_what_was_lost_before_the_first_look_is_no_news_and_a_gap_behind_it_is(looker, hall):
    rig = Rig(looker.rig.data_dir)
    rig.store.close()
    speak(looker, hall, events=[GAP])
    looker.look(MINUTE)
    speak(looker, hall, events=[GAP, FLASH])
    looker.look(MINUTE)
    found = {alarm["kind"]: alarm for alarm in looker.open()}
    assert found.keys() == {"gap", "flash"}
    assert "2 times" in found["gap"]["what"] and "8 readings lost" in found["gap"]["what"]
    assert found["gap"]["returns"] is False
    looker.begin()
    speak(looker, hall)
    looker.look(MINUTE)
    assert len(looker.open()) == 2, "a restart tells nothing twice"
    looker.acknowledge(found["gap"]["id"], word="a power cut")
    assert [alarm["kind"] for alarm in looker.open()] == ["flash"]
    speak(looker, hall, events=[GAP])
    looker.look(MINUTE)
    assert sorted(alarm["kind"] for alarm in looker.open()) == ["flash", "gap"], "a new loss is a new alarm"


def test_an_old_database_has_no_news(tmp_path, hall):
    rig = Rig(tmp_path)
    rig.enrol(hall)
    fill_meters(rig, hall, [6000, 1000], NOW_MS - HOUR_MS, NOW_MS)
    looker = Looker(rig)
    looker.gateways = [hall]
    speak(looker, hall, events=[GAP])
    for _ in range(30):
        looker.look(MINUTE)
        speak(looker, hall)
    assert looker.open() == []
    rig.store.close()


def test_a_meter_away_and_its_return(looker, hall):
    for _ in range(12):
        speak(looker, hall, away=True)
        looker.look(MINUTE)
    assert [(alarm["kind"], alarm["concerned"]) for alarm in looker.open()] == [("away", 1)]
    assert looker.open()[0]["what"] == "press is away: no answer"
    for _ in range(4):
        speak(looker, hall)
        looker.look(MINUTE)
    assert looker.open() == []


def test_a_fork_is_an_alarm_until_it_is_acknowledged_and_the_log_says_who_did(looker, hall):
    looker.rig.now_unix_ms = looker.now_ms
    looker.rig.take((hall.batch_topic(), hall.seal(hall.payload(rows=1, prev=None), seq=0)))
    looker.look(MINUTE)
    (alarm,) = looker.open()
    assert alarm["kind"] == "fork" and alarm["urgent"]
    looker.acknowledge(alarm["id"], "Sok Dara", "found both boards")
    looker.rig.store.refresh()
    assert looker.rig.summary(hall)["alarms"] == [], "and the gateway's own list is clear too"
    looker.looks(5 * MINUTE)
    assert "fork" not in [each["kind"] for each in looker.open()]
    (over,) = [each for each in looker.ended() if each["id"] == alarm["id"]]
    assert over["acknowledged"]["word"] == "found both boards"
    with contextlib.closing(connect(looker.rig.data_dir, read_only=True)) as db:
        said = [
            statement.Statement(row[0])
            for row in db.execute("SELECT bytes FROM statement JOIN leaf USING (leaf) WHERE kind = 4")
        ]
        said = [each for each in said if each.kind == "alarm acknowledged"]
    assert [(each.by, each.facts["word"]) for each in said] == [("Sok Dara", "found both boards")]


def test_an_acknowledged_state_stays_open_until_it_ends(looker, hall):
    looker.looks(20 * MINUTE)
    (alarm,) = looker.open()
    looker.acknowledge(alarm["id"], word="fuse blown, electrician called")
    looker.looks(20 * MINUTE)
    (alarm,) = looker.open()
    assert alarm["acknowledged"]["word"] == "fuse blown, electrician called"
    with pytest.raises(SettingsError, match="printable"):
        looker.acknowledge(alarm["id"], word=" ")
    with pytest.raises(SettingsError, match="no alarm 99"):
        looker.acknowledge(99)
    speak(looker, hall)
    looker.looks(3 * MINUTE)
    with pytest.raises(SettingsError, match="over since"):
        looker.acknowledge(alarm["id"])


def test_a_clock_that_is_right_again_ends_its_alarm(looker, hall):
    looker.rig.now_unix_ms = looker.now_ms
    looker.rig.beat(hall, time_ms=looker.now_ms + 600_000, health={"uptime_ms": 1})
    looker.look(1000)
    assert [alarm["kind"] for alarm in looker.open()] == ["clock"]
    looker.rig.now_unix_ms = looker.now_ms
    looker.rig.beat(hall, time_ms=looker.now_ms, health={"uptime_ms": 2})
    assert looker.rig.summary(hall)["alarms"] == []
    looker.looks(3 * MINUTE)
    assert "clock" not in [alarm["kind"] for alarm in looker.open()]


def test_a_limit_on_a_channel(looker, hall):
    with contextlib.closing(connect(looker.rig.data_dir)) as db:
        channel = "hall 3", "main", "active_power"
        limit = limits.add(db, channel, "5500.5", None, 0, "Sok")
        for bad, why in (
            (("hall 3", "main", "voltage"), "no channel"), (("hall 4", "main", "active_power"), "no gateway"),
        ):  # fmt: skip
            with pytest.raises(SettingsError, match=why):
                limits.add(db, bad, "1", None, 0, "Sok")
        for above, below in ((None, None), ("x", None), ("1", "2"), ("nan", None), ("1e99", None)):
            with pytest.raises(SettingsError):
                limits.add(db, channel, above, below, 0, "Sok")
    speak(looker, hall)
    looker.look(MINUTE)
    assert [alarm["what"] for alarm in looker.open()] == ["main: active power 6000.0 W is above the limit 5500.5"]
    with contextlib.closing(connect(looker.rig.data_dir)) as db:
        limits.remove(db, limit.number, "Sok")
        with pytest.raises(SettingsError, match="no limit 1"):
            limits.remove(db, limit.number, "Sok")
    looker.looks(3 * MINUTE)
    assert looker.open() == []


# Telling people.


class Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses:
            self.send_error(503)
        else:
            self.server.taken.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

    def log_message(self, format, *args):
        pass


@pytest.fixture
def taker():
    """A webhook: a stranger's server for apprise's own client."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    server.taken, server.refuses = [], False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def tell(looker, text):
    path = looker.rig.data_dir / addresses.FILE
    path.write_text(text)
    os.chmod(path, 0o600)


def test_a_webhook_is_told_of_begin_and_end(looker, hall, taker):
    pytest.importorskip("apprise")
    port = taker.server_address[1]
    tell(
        looker,
        f'[[address]]\nname = "a"\nurl = "json://127.0.0.1:{port}/x"\n[[address]]\nname = "b"\nmqtt = "park/alarms"\n',
    )
    looker.looks(20 * MINUTE)
    looker.send()
    (told,) = taker.taken
    assert told["title"] == "Parkgate: hall 3: it has signed nothing new" and "check its power" in told["message"]
    topic, data = looker.published[0]
    assert topic == "park/alarms" and json.loads(data)["alarms"][0]["kind"] == "silent"
    looker.send(HOUR_MS)
    assert len(taker.taken) == 1, "once"
    speak(looker, hall)
    looker.looks(3 * MINUTE)
    looker.send(MINUTE)
    assert taker.taken[1]["title"].startswith("Parkgate: over: hall 3")


def test_what_cannot_be_sent_is_tried_again_with_bounds_and_is_an_alarm(looker, hall, taker, monkeypatch, caplog):
    pytest.importorskip("apprise")
    port = taker.server_address[1]
    tell(looker, f'[[address]]\nname = "a"\nurl = "json://user:secret@127.0.0.1:{port}/x"\n')
    taker.refuses = True
    looker.looks(20 * MINUTE)
    caplog.set_level(logging.WARNING)
    looker.send()
    assert "did not reach a" in caplog.text and "secret" not in caplog.text
    looker.send(1000)
    assert caplog.text.count("did not reach a") == 1, "not before its time"
    looker.look(MINUTE)
    assert "undelivered" in [alarm["kind"] for alarm in looker.open()]
    taker.refuses = False
    looker.send(HOUR_MS)
    assert len(taker.taken) == 1
    looker.looks(3 * MINUTE)
    assert "undelivered" not in [alarm["kind"] for alarm in looker.open()]
    taker.refuses = True
    speak(looker, hall)
    looker.looks(3 * MINUTE)
    for _ in range(send.TRIES_MAX + 2):
        looker.send(3 * HOUR_MS)
    assert looker.watch.sender.given_up >= 1
    with contextlib.closing(connect(looker.rig.data_dir)) as db:
        assert ledger.due_messages(db, 1 << 60, 10) == []


def test_quiet_hours_hold_back_what_is_not_urgent():
    (address,) = addresses.read({"address": [{"name": "a", "mqtt": "t", "quiet": "22:00-06:30"}]})
    for at, due in (
        ("23:10", "+1 06:30"),
        ("05:00", "06:30"),
        ("12:00", "12:00"),
        ("06:30", "06:30"),
        ("22:00", "+1 06:30"),
    ):
        day, _, hour = due.rpartition(" ")
        moment = datetime(2026, 11, 2, *map(int, at.split(":")), tzinfo=PHNOM_PENH)
        wanted = datetime(2026, 11, 2 + (day == "+1"), *map(int, hour.split(":")), tzinfo=PHNOM_PENH)
        now_ms = int(moment.timestamp() * 1000)
        assert address.due_ms(now_ms, False, PHNOM_PENH) == int(wanted.timestamp() * 1000), at
        assert address.due_ms(now_ms, True, PHNOM_PENH) == now_ms


def test_what_came_and_went_in_the_quiet_hours_is_not_told(tmp_path):
    Rig(tmp_path).store.close()
    with contextlib.closing(connect(tmp_path)) as db, ledger.writing(db):
        alarm = rules.Alarm("away", NOW_MS, NOW_MS)
        ledger.write(db, [(rules.OPENED, alarm)], NOW_MS)
        ledger.add_message(db, alarm.id, rules.OPENED, "a", NOW_MS + HOUR_MS)
        ledger.write(db, [(rules.CLOSED, alarm)], NOW_MS + MINUTE)
        ledger.add_message(db, alarm.id, rules.CLOSED, "a", NOW_MS + HOUR_MS)
        assert ledger.due_messages(db, 1 << 60, 10) == []


ONE = '[[address]]\nname = "a"\n'
FAULTS = [
    ("x", "Expected"),
    (ONE, "either url or mqtt"),
    ('name = "a"', "sections"),
    ('[[address]]\nname = ""\nmqtt = "t"', "printable"),
    (ONE + 'url = "mail"', "scheme"),
    (ONE + 'mqtt = "t/#"', "wildcards"),
    (ONE + 'mqtt = "t"\nquiet = "22-6"', "22:00"),
    (ONE + 'mqtt = "t"\nkinds = ["fire"]', "kinds are"),
    (ONE + "mqtt = 5", "type"),
    (ONE + 'mqtt = "t"\npassword = "x"', "keys are"),
    (ONE + 'mqtt = "t"\n' + ONE + 'mqtt = "u"', "one name"),
]


@pytest.mark.parametrize("text, why", FAULTS)
def test_a_fault_in_the_file_of_addresses_is_named(tmp_path, text, why):
    path = tmp_path / addresses.FILE
    assert addresses.load(tmp_path) == []
    path.write_text(text)
    os.chmod(path, 0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        addresses.load(tmp_path)
    os.chmod(path, 0o600)
    with pytest.raises(SettingsError, match=why):
        addresses.load(tmp_path)


def test_a_fault_in_the_file_is_an_alarm_and_the_old_addresses_stay(looker, hall):
    tell(looker, '[[address]]\nname = "b"\nmqtt = "park/alarms"\n')
    looker.look()
    tell(looker, "[[address]\n")
    looker.looks(20 * MINUTE)
    looker.send()
    assert looker.published and {alarm["kind"] for alarm in looker.open()} == {"silent", "undelivered"}


def test_the_verbs(looker, hall, taker, capsys):
    pytest.importorskip("apprise")
    data = str(looker.rig.data_dir)

    def run(*words):
        code = cli.main(["alarm", *words, "--data", data, "--json"])
        return code, json.loads(capsys.readouterr().out)

    looker.looks(20 * MINUTE)
    (alarm,) = run("list")[1]["alarms"]
    assert run("show", str(alarm["id"]))[1]["alarm"] == alarm
    assert run("acknowledge", str(alarm["id"]))[0] == 2
    seen = run("acknowledge", str(alarm["id"]), "--word", "on my way", "--by", "Dara")[1]["alarm"]["acknowledged"]
    assert (seen["by"], seen["word"]) == ("Dara", "on my way")
    assert run("test")[0] == 2, "no address yet"
    port = taker.server_address[1]
    tell(
        looker,
        f'[[address]]\nname = "a"\nurl = "json://127.0.0.1:{port}/x"\n[[address]]\nname = "b"\nurl = "nonsense://x"\n',
    )
    code, found = run("test")
    assert code == 1 and [each["sent"] for each in found["addresses"]] == [True, False]
    assert run("test", "--address", "a")[0] == 0 and len(taker.taken) == 2
    limit = run("limit", "--channel", "hall 3", "main", "active_power", "--above", "9", "--for", "5")[1]["limit"]
    assert limit["minutes"] == 5 and run("limits")[1]["limits"] == [limit]
    assert run("limits", "--remove", "1")[1]["limits"] == []
    assert run("list", "7")[0] == 2 and run("show")[0] == 2
    assert run("list", "--ended")[1]["alarms"] == []

"""What strangers may cost the hub: connections, time, memory, lines of log. Nothing here waits for a clock's limit."""

import asyncio
import io
import logging
import socket
import tracemalloc

import httpx
import pytest

from batches import START_MS, FakeGateway
from host_tools.base import output
from host_tools.hub import logs
from host_tools.hub.reading import window
from host_tools.hub.web import connections, guards
from hub_rig import Rig
from test_hub_web import Server

EVIL = "hall\x1b]0;gone\x07\r\n2026-11-27 ERROR the database is lost\x9b2J\u202e"


@pytest.fixture
def server(tmp_path):
    rig = Rig(tmp_path)
    gateway = FakeGateway(1)
    rig.enrol(gateway)
    rig.batches(gateway, gateway.batch(rows=20))
    rig.store.close()
    with Server(tmp_path) as server:
        yield server


def closed(line) -> bool:
    line.settimeout(20)
    try:
        while line.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_idle_connections_leave_room_for_those_who_ask(server, monkeypatch):
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 8)
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
    try:
        for _ in range(3):
            assert httpx.get(server.url + "/api/summary").status_code == 200
        assert len(server.server.server_state.connections) <= 9
        assert closed(idle[0]), "the one that was idle longest went first"
    finally:
        for line in idle:
            line.close()


def test_a_connection_that_is_being_answered_is_not_the_one_that_goes(server, monkeypatch):
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 4)
    head = b"POST /api/gateways HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as asked:
        asked.sendall(head)
        assert httpx.get(server.url + "/api/summary").status_code == 200, "by now the head has arrived"
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
        assert httpx.get(server.url + "/api/summary").status_code == 200
        asked.sendall(b"{}")
        asked.settimeout(20)
        assert asked.recv(4096).startswith(b"HTTP/1.1 401")
        for line in idle:
            line.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_a_request_that_never_ends_is_ended(server, monkeypatch, sent):
    monkeypatch.setattr(connections, "REQUEST_S", 0.1)
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(sent)
        assert closed(line)


def test_a_body_that_never_comes_is_ended(server, monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_S", 0.1)
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"POST /api/gateways HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000\r\n\r\n{")
        assert closed(line)


def test_a_head_without_end_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (2 * connections.HEAD_BYTES_MAX))
        assert closed(line)


def test_many_questions_wait_and_too_many_are_told_to_come_again():
    async def ask():
        questions, most, running = guards.Questions(), 0, 0

        async def one():
            nonlocal most, running
            async with questions:
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1

        found = await asyncio.gather(*(one() for _ in range(100)), return_exceptions=True)
        return most, [type(each) for each in found if each is not None]

    most, refused = asyncio.run(ask())
    assert most == guards.QUESTIONS_AT_ONCE
    assert set(refused) == {guards.Busy} and len(refused) == 100 - guards.QUESTIONS_AT_ONCE - guards.QUESTIONS_WAITING


@pytest.mark.parametrize("host,fits", [
    ("127.0.0.1:8080", True), ("localhost", True), ("[::1]:8080", True), ("192.168.1.7:80", True), ("::1", True),
    ("hub.park.example", True), ("HUB.park.example.", True), ("hub.park.example:8080", True),
    ("evil.example", False), ("127.0.0.1.evil.example", False), ("", False), ("[evil]", False),
])  # fmt: skip
def test_only_its_own_names_are_answered_wherever_it_listens(host, fits):
    assert guards.OwnHost(None, ["hub.park.example"]).is_ours(host) is fits


def test_a_page_of_a_strangers_name_gets_nothing(server):
    answer = httpx.get(server.url + "/api/summary", headers={"Host": "evil.example"})
    assert answer.status_code == 400 and "gateways" not in answer.text


# Memory.


def blocks(rig, gateway, count):
    rig.store.db.execute("DELETE FROM block")
    series = rig.rows("SELECT series FROM series")
    rig.store.db.execute("BEGIN")
    rig.store.db.executemany(
        "INSERT INTO block VALUES (?, ?, 1, ?, ?, 0, 0, 60, ?, ?, 0, 60000, 1000)",
        [
            (one, START_MS + 60_000 * n + 59_000, n, START_MS + 60_000 * n, n % 100, 1000 + n % 100)
            for (one,) in series for n in range(count) if n % 1000 != 7
        ],
    )  # fmt: skip
    rig.store.db.execute("COMMIT")


def asked(rig, wanted, to_ms):
    tracemalloc.start()
    found = window.window(rig.store.db, 1, wanted, None, to_ms, None, 20_000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, most


def test_a_question_costs_memory_by_its_answer_and_not_by_the_data(rig, gateway):
    rig.batches(gateway, gateway.batch(rows=2))
    wanted = [one for (one,) in rig.rows("SELECT series FROM series")]
    costs = []
    for count in (2_000, 8_000):
        blocks(rig, gateway, count)
        rig.store.db.execute("UPDATE series SET row_ms = 1000, span_ms = 59000")
        found, most = asked(rig, wanted, START_MS + 60_000 * count)
        costs.append(most)
        assert sum(len(item["times"]) for item in found["series"]) <= 2 * window.POINTS_MAX
        for item in found["series"]:
            values = [value for value in item["values"] if value is not None]
            assert min(values) == 0 and max(values) == 1099, "no peak is lost"
            assert len(item["gaps"]) == count // 1000, "nor a gap"
            assert item["times"] == sorted(item["times"])
    assert costs[1] < 12_000_000 and costs[1] < 1.6 * costs[0], costs


# The log.


@pytest.fixture
def log():
    out, now = io.StringIO(), [0.0]
    handler = logging.StreamHandler(out)
    handler.setFormatter(logs.SafeFormatter("%(levelname)s %(message)s"))
    handler.addFilter(logs.KindLimit(lambda: now[0]))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, out, now


def test_a_program_around_the_hub_gets_its_own_log_back(capsys):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with pytest.raises(ZeroDivisionError), logs.prepared(logging.INFO):
        logging.getLogger("parkgate.test").info("while the hub runs")
        raise ZeroDivisionError
    assert (root.handlers, root.level) == before
    assert "while the hub runs" in capsys.readouterr().err


def test_what_repeats_is_counted_and_not_written(log):
    logger, out, now = log
    for minute in range(3):
        for n in range(1000):
            logger.error("cannot store %d", n)
            logger.warning("another kind %d", n)
        now[0] += logs.PERIOD_S
        assert len(out.getvalue().splitlines()) == 2 * logs.BURST * (minute + 1)
    assert out.getvalue().count("(990 more of this kind were not written)") == 4


def test_a_strangers_text_stays_one_line_and_commands_nothing(log):
    logger, out, _ = log
    logger.warning("refused, %s", EVIL)
    try:
        raise ValueError(EVIL)
    except ValueError:
        logger.exception("failed")
    text = out.getvalue()
    assert all(c.isprintable() or c == "\n" for c in text)
    assert not any(line.startswith("2026-11-27 ERROR") for line in text.splitlines())
    assert "Traceback" in text and "\\x1b]0;gone\\x07" in text


def test_the_terminal_gets_no_commands_either(capsys):
    class Args:
        json, verb = None, "export"

    output.show(Args, {}, [f"{EVIL} ភាសាខ្មែរ"])
    printed = capsys.readouterr().out
    assert printed.endswith("ភាសាខ្មែរ\n") and all(c.isprintable() for c in printed[:-1])

"""GET /api/export: the same file as `parkgate export` writes, streamed, and no reader can hold up the others."""

import socket
import time

import httpx
import pytest

from host_tools.cli import main
from host_tools.hub.web import connections
from host_tools.hub.web.park import export_pages
from test_hub_web import WAIT_S, Server, filled, server  # noqa: F401


@pytest.mark.parametrize(
    "query, options, ending",
    [
        ("format=csv", ["--format", "csv"], "csv"),
        ("excel=1&decimal-comma=1&zone=UTC", ["--excel", "--decimal-comma", "--zone", "UTC"], "csv"),
        ("format=senml-json&gateway=paint%20shop", ["--format", "senml-json", "--gateway", "paint shop"], "senml"),
        ("format=senml-cbor&quantity=active_power", ["--format", "senml-cbor", "--quantity", "active_power"], "senmlc"),
        ("format=events", ["--format", "events"], "csv"),
        ("format=csv&from=1700000010000&to=1700000020000&place=paint%20shop",
         ["--format", "csv", "--from", "1700000010000", "--to", "1700000020000", "--place", "paint shop"], "csv"),
    ],
)  # fmt: skip
def test_a_download_is_the_file_of_the_verb(server, filled, tmp_path, query, options, ending):  # noqa: F811
    out = tmp_path / "out"
    assert main(["export", "--data", str(filled[0]), "--out", str(out), *options]) == 0
    for accepted in ("gzip", "identity"):
        answer = httpx.get(f"{server.url}/api/export?{query}", headers={"Accept-Encoding": accepted})
        assert answer.status_code == 200 and answer.content == out.read_bytes()
        assert answer.headers.get("content-encoding", "identity") == accepted
        assert answer.headers["content-disposition"].endswith(f'.{ending}"')


@pytest.mark.parametrize(
    "query", ["", "format=xml", "format=csv&day=x", "format=csv&gateway=nobody", "format=csv&form=2", "excel=0",
              "format=csv&from=2026-11-02&to=2026-11-01", "format=csv&zone=../etc", "format=csv&day=%00"],
)  # fmt: skip
def test_what_cannot_be_answered_says_why(server, query):  # noqa: F811
    for _ in range(export_pages.EXPORTS_AT_ONCE + 1):
        answer = httpx.get(f"{server.url}/api/export?{query}")
        assert answer.status_code == 400 and answer.json()["error"]


def endless(parts, tally, style=None):
    """More than any buffer between two programs holds."""
    for _ in range(1000):
        yield b"x" * 100_000


def stuck(server) -> list[socket.socket]:  # noqa: F811
    """As many readers as there are turns. Each has got the first bytes of its answer and reads no more."""
    readers = []
    for _ in range(export_pages.EXPORTS_AT_ONCE):
        one = socket.create_connection(("127.0.0.1", server.port))
        one.sendall(b"GET /api/export?format=csv HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one.recv(12) == b"HTTP/1.1 200"
        readers.append(one)
    return readers


def wait_for_a_turn(server) -> None:  # noqa: F811
    deadline = time.monotonic() + WAIT_S
    while (status := httpx.get(f"{server.url}/api/export?format=csv").status_code) != 200:
        assert status == 503 and time.monotonic() < deadline
        time.sleep(0.1)


def test_who_reads_nothing_takes_no_more_than_his_turn(server, monkeypatch):  # noqa: F811
    with monkeypatch.context() as patch:
        patch.setattr("host_tools.hub.export.csv_text.answer", endless)
        readers = stuck(server)
        assert httpx.get(f"{server.url}/api/export?format=csv").status_code == 503
        assert httpx.get(f"{server.url}/api/gateways").status_code == 200
    for one in readers:
        one.close()
    wait_for_a_turn(server)


def test_who_reads_nothing_is_sent_away_and_frees_its_turn(server, monkeypatch):  # noqa: F811
    monkeypatch.setattr(connections, "ANSWER_S", 1.0)
    with monkeypatch.context() as patch:
        patch.setattr("host_tools.hub.export.csv_text.answer", endless)
        readers = stuck(server)
    wait_for_a_turn(server)
    for one in readers:
        one.close()


def test_what_fails_on_the_way_is_no_whole_file(server, monkeypatch):  # noqa: F811
    def failing(parts, tally, style=None):
        yield b"half"
        raise RuntimeError("planted")

    monkeypatch.setattr("host_tools.hub.export.csv_text.answer", failing)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{server.url}/api/export?format=csv")
    monkeypatch.undo()
    assert httpx.get(f"{server.url}/api/export?format=csv").status_code == 200


def test_a_damaged_batch_is_a_line_of_the_file_and_an_alarm(server, filled):  # noqa: F811
    server.hub.store.db.execute("UPDATE batch SET bytes = zeroblob(9) WHERE id = 2")
    lines = httpx.get(f"{server.url}/api/export?format=csv").text.splitlines()
    start = f"paint shop,{filled[1].id.hex()},,{filled[1].epoch.hex()},1,,,,,,,,damaged: "
    assert [line for line in lines if "damaged" in line] == [start + "its bytes are not those that were stored"]
    deadline = time.monotonic() + WAIT_S
    while not httpx.get(f"{server.url}/api/gateways/{filled[1].id.hex()}").json()["alarms"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)

"""The hub as a service: metrics, TLS, a path behind a proxy, a log for programs, files for systemd."""

import io
import json
import logging
import re
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
import uvicorn

from host_tools.broker import certificates
from host_tools.cli import main
from host_tools.hub import logs
from host_tools.hub.web import connections, html_pages
from host_tools.hub.web.server import make_app
from parkgate import VERSION
from test_hub_web import Server, filled, server  # noqa: F401

prometheus_parser = pytest.importorskip("prometheus_client.parser", reason="make setup installs it")
FILES = Path(__file__).resolve().parents[2] / "host_tools/hub/verbs/service_files"


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in prometheus_parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_say_what_the_summary_says(server, filled):  # noqa: F811
    answer = httpx.get(server.url + "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = samples(answer.text)
    totals = httpx.get(server.url + "/api/summary").json()["totals"]
    assert found["parkgate_readings_total", ()] == totals["readings_stored"] == 980
    assert found["parkgate_batches_total", ()] == totals["batches_verified"]
    for reason, count in totals["refused"].items():
        assert found["parkgate_refused_messages_total", (("reason", reason),)] == count
    assert found["parkgate_hub_info", (("id", server.hub.key.id.hex()), ("version", VERSION))] == 1
    assert found["parkgate_hub_broker_connected", ()] == 0 and found["parkgate_hub_storage_ok", ()] == 1
    for gateway in filled[1:]:
        labels = (("gateway", gateway.name), ("id", gateway.id.hex()))
        seen = found.get(("parkgate_gateway_last_seen_timestamp_seconds", labels))
        assert (seen is None) == (gateway.name == "cold store")


def test_metrics_follow_a_fault(server):  # noqa: F811
    server.hub.storage_fault = "disk full"
    assert samples(httpx.get(server.url + "/metrics").text)["parkgate_hub_storage_ok", ()] == 0


class Behind(Server):
    """The same, with another application or configuration."""

    def __init__(self, data_dir, base_path="", tls=None):
        super().__init__(data_dir)
        app = make_app(self.hub, base_path=base_path)
        self.server = uvicorn.Server(connections.config(app, tls=tls))
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],), daemon=True)


def test_a_path_behind_a_proxy_that_keeps_it_or_takes_it_away(filled):  # noqa: F811
    with Behind(filled[0], base_path="/energy/park") as server:  # noqa: F811
        for start in ("", "/energy/park"):
            for path in (
                "/",
                "/api/park",
                "/static/main.js",
                "/static/openapi.json",
                "/log/checkpoint",
                "/metrics",
                "/place",
            ):
                assert httpx.get(server.url + start + path).status_code == 200, start + path
        answer = httpx.get(server.url + "/energy/park")
        assert (answer.status_code, answer.headers["location"]) == (308, "/energy/park/")
        assert httpx.get(server.url + "/energy/parking/").status_code == 404
        assert httpx.get(server.url + "/energy/park/", headers={"Host": "evil.example"}).status_code == 400


def test_every_html_file_has_an_address_and_takes_the_common_head():
    files = {path.stem for path in html_pages.FILES.glob("*.html")} - {"head"}
    assert files == set(html_pages.ADDRESSES.values())
    for name in files:
        text = html_pages.page_text(name)
        for once in ("<!doctype html>", "<html", "<head>", "</head>", "<title>", 'charset="utf-8"', "static/hub.css"):
            assert text.count(once) == 1, (name, once)


def test_no_address_of_the_page_begins_at_the_root():
    """Else it would lead beside a path behind a proxy."""
    web = FILES.parent / "web"
    for path in [*web.glob("html/*.html"), *web.glob("static/*.js")]:
        if not path.name.startswith("uPlot"):
            text = path.read_text(encoding="utf-8")
            for quote in "\"'`":
                for start in ("/api/", "/static/", "/log/", "/place?", "/lots"):
                    assert quote + start not in text, (path.name, quote + start)


def test_the_page_by_tls(filled, tmp_path):  # noqa: F811
    authority = certificates.Authority.at(tmp_path / "tls")
    cert, key = map(str, authority.issue(tmp_path / "tls", ["127.0.0.1"]))
    connections.check_tls(cert, key)
    with Behind(filled[0], tls=(cert, key)) as server:  # noqa: F811
        context = ssl.create_default_context(cafile=str(authority.path))
        with httpx.Client(verify=context) as client:
            assert client.get(f"https://127.0.0.1:{server.port}/healthz").json() == {"ok": True}
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not plain.recv(12).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "words, why",
    [
        (["--http-cert", "hub.pem"], "belong together"),
        (["--http-cert", "hub.pem", "--http-key", "other.key"], "not a certificate and its key"),
        (["--http-cert", "hub.pem", "--http-key", "not there"], "cannot be read"),
        (["--base-path", "parkgate"], "it looks like /parkgate"),
        (["--base-path", "/a/../b//"], "it looks like /parkgate"),
    ],
)
def test_a_wrong_start_says_why_and_makes_nothing(tmp_path, monkeypatch, capsys, words, why):
    monkeypatch.chdir(tmp_path)
    authority = certificates.Authority.at(tmp_path / "tls")
    for name in ("hub", "other"):
        (tmp_path / name).mkdir()
        cert, key = authority.issue(tmp_path / name, [name])
        shutil.copy(cert, tmp_path / f"{name}.pem")
        shutil.copy(key, tmp_path / f"{name}.key")
    assert main(["hub", "--data", str(tmp_path / "data"), *words]) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_log_for_programs_is_one_object_a_line_with_the_same_limit():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    clock = [0.0]
    handler.addFilter(logs.KindLimit(lambda: clock[0]))
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.Logger("parkgate.test")
    logger.addHandler(handler)
    for n in range(2 * logs.BURST + 1):
        if n == 2 * logs.BURST:
            clock[0] += logs.PERIOD_S
        logger.warning("refused \x1b[2J %d\n2026 ERROR planted", n)
    try:
        raise ValueError("រោង\x07")
    except ValueError:
        logger.exception("failed")
    entries = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(entries) == logs.BURST + 2
    assert entries[logs.BURST]["kept_back"] == logs.BURST and "kept_back" not in entries[0]
    assert entries[0]["level"] == "WARNING" and entries[0]["message"] == "refused \\x1b[2J 0\\n2026 ERROR planted"
    assert "ValueError" in entries[-1]["exception"] and out.getvalue().isascii()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
def test_systemd_reads_its_file(tmp_path):
    text = (FILES / "parkgate-hub.service").read_text().replace("/opt/parkgate/bin/parkgate", shutil.which("true"))
    path = tmp_path / "parkgate-hub.service"
    path.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if "parkgate" in line] == []


def test_every_option_of_the_service_files_exists(capsys):
    with pytest.raises(SystemExit):
        main(["hub", "--help"])
    known = capsys.readouterr().out
    for name in ("parkgate-hub.service", "Containerfile"):
        text = (FILES / name).read_text().replace("\\\n", " ")
        commands = re.findall(r"(?:ExecStart=|ENTRYPOINT )(.*)", text)
        options = re.findall(r"--[a-z-]+", " ".join(commands))
        assert len(options) >= 3
        assert [option for option in options if option not in known] == []

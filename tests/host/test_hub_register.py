"""Enrolment over HTTP: by an operator's token only, slowed down, and by `parkgate provision --hub URL`."""

import http.server
import json
import re
import threading

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from host_tools import cli
from host_tools.base import keys
from host_tools.base.secret import secret
from host_tools.broker.certificates import Authority
from host_tools.hub.people import operators, register
from host_tools.hub.receiving.receive import AddressError, Receiver, parse_address
from host_tools.hub.stores import places
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs import hub_client
from parkgate.errors import LinkError, SettingsError
from parkgate.wire import cose
from test_hub_web import Server


def new_key() -> bytes:
    return keys.public_xy(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def server(tmp_path):
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def token(tmp_path):
    return operators.add(tmp_path, "anna")


def post(server, token=None, **body):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.post(server.url + "/api/gateways", json=body, headers=headers)


def test_an_operator_enrols_a_gateway(server, token, tmp_path):
    xy = new_key()
    answer = post(server, token, public_key=xy.hex(), name="hall-3")
    assert answer.status_code == 201
    found = answer.json()
    assert found["id"] == cose.thumbprint(xy).hex() and found["name"] == "hall-3"
    assert found["hub_public_key"] == server.hub.key.xy.hex()
    assert found["broker"] == {"host": "127.0.0.1", "port": 1, "tls": False, "ca": None}
    with connect(tmp_path) as db:
        assert db.execute("SELECT name, public_key FROM gateway").fetchall() == [("hall-3", xy)]
    assert post(server, token, public_key=xy.hex(), name="hall-3").status_code == 200, "again: no harm"
    assert post(server, token, public_key=new_key().hex(), name="hall-3").status_code == 409, "the name is taken"
    with connect(tmp_path) as db:
        db.execute("UPDATE gateway SET revoked_unix_ms = 1")
    assert post(server, token, public_key=xy.hex()).status_code == 409, "revoked stays revoked"


def test_a_place_and_who_stood_there(server, token, tmp_path):
    old, fresh = new_key(), new_key()
    assert post(server, token, public_key=old.hex(), name="board 1", place="Hall 3").status_code == 201
    assert post(server, token, public_key=fresh.hex(), name="board 2", place="Hall 3").status_code == 409
    assert post(server, token, public_key=fresh.hex(), name="board 2", place=3).status_code == 400
    for check in (True, False):
        answer = post(server, token, public_key=fresh.hex(), name="board 2", replaces="board 1", check=check)
        assert answer.status_code == (200 if check else 201), answer.text
    with connect(tmp_path) as db:
        assert [(place.name, place.gateway) for place in places.listed(db)] == [("Hall 3", "board 2")]
        assert [stay.gateway for stay in places.stays(db, places.find(db, "Hall 3").pl)] == ["board 1", "board 2"]
    assert post(server, token, public_key=fresh.hex(), name="board 2", replaces="nobody").status_code == 409


def test_nobody_else_does(server, token, tmp_path):
    xy = new_key().hex()
    for wrong in (None, token[:-1], token + "x", token.upper(), "pgop_", "ä".encode().decode("latin-1")):
        answer = httpx.post(
            server.url + "/api/gateways",
            json={"public_key": xy},
            headers={} if wrong is None else {"Authorization": b"Bearer " + wrong.encode()},
        )
        assert answer.status_code == 401 and "www-authenticate" in answer.headers, wrong
    basic = httpx.post(server.url + "/api/gateways", json={"public_key": xy}, headers={"Authorization": token})
    assert basic.status_code == 401
    assert httpx.put(server.url + "/api/gateways", json={}).status_code == 405
    operators.remove(tmp_path, "anna")
    assert post(server, token, public_key=xy).status_code == 401, "removed: at once"
    with connect(tmp_path) as db:
        assert db.execute("SELECT count(*) FROM gateway").fetchone()[0] == 0


def test_what_is_no_request_is_refused(server, token):
    assert post(server, token, public_key="00" * 64).status_code == 400, "not on the curve"
    assert post(server, token, public_key=5).status_code == 400
    assert post(server, token, name="x").status_code == 400
    assert post(server, token, public_key=new_key().hex(), name="").status_code == 201, "named by its id"
    assert post(server, token, public_key=new_key().hex(), name="a\nb").status_code == 409
    for body, status in ((b"", 400), (b"[]", 400), (b"\xff", 400), (b'"x"', 400), (b"x" * 5000, 413)):
        answer = httpx.post(server.url + "/api/gateways", content=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, body[:10]
    assert httpx.get(server.url + "/api/gateways").status_code == 200, "looking needs no token"


def test_requests_are_slowed_down(server, token):
    codes = [post(server, "pgop_wrong", public_key="x").status_code for _ in range(register.REQUESTS_MAX)]
    assert codes == [401] * register.REQUESTS_MAX
    answer = post(server, token, public_key=new_key().hex())
    assert answer.status_code == 429 and 50 <= int(answer.headers["Retry-After"]) <= 60
    assert httpx.get(server.url + "/api/gateways").status_code == 200


def test_the_limit_counts_each_address_and_forgets():
    now = [0.0]
    limit = register.Limit(lambda: now[0])
    assert all(limit.wait_s("a") == 0 for _ in range(register.REQUESTS_MAX))
    assert limit.wait_s("a") == register.PERIOD_S and limit.wait_s("b") == 0
    now[0] = register.PERIOD_S
    assert limit.wait_s("a") == 0
    for number in range(3 * register.ADDRESSES_MAX):
        limit.wait_s(str(number))
    assert len(limit._seen) == register.ADDRESSES_MAX


def test_the_file_has_no_token_and_is_ours_alone(tmp_path, capsys):
    assert cli.main(["operator", "anna", "--data", str(tmp_path / "typo")]) == 2
    assert "there is no hub in" in capsys.readouterr().err and not (tmp_path / "typo").exists()
    connect(tmp_path).close()
    assert cli.main(["operator", "anna", "--data", str(tmp_path)]) == 0
    token = capsys.readouterr().out.strip()
    assert re.fullmatch(r"pgop_[-\w]{43}", token)
    file = tmp_path / operators.FILE
    assert token not in file.read_text() and token[5:] not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert operators.who(tmp_path, token).name == "anna" and operators.who(tmp_path, token[:-1]) is None
    assert cli.main(["operator", "anna", "--data", str(tmp_path)]) == 2
    assert cli.main(["operator", "--data", str(tmp_path)]) == 0
    assert re.fullmatch(r"anna +may enrol until \d{4}-\d\d-\d\d\n", capsys.readouterr().out)
    assert cli.main(["operator", "--remove", "anna", "--data", str(tmp_path)]) == 0
    assert operators.who(tmp_path, token) is None
    file.write_text('{"x": 5}')
    with pytest.raises(SettingsError):
        operators.load(tmp_path)


def test_the_client_says_what_is_wrong(server, token, monkeypatch, capsys):
    xy = new_key()
    monkeypatch.delenv("PARKGATE_TOKEN", raising=False)
    with pytest.raises(SettingsError, match="--token"):
        hub_client.enrol(server.url, None, xy, "a")
    with pytest.raises(SettingsError, match="must not travel in the open"):
        hub_client.enrol("http://hub.example:8080", token, xy, "a")
    with pytest.raises(SettingsError, match="no operator has this token"):
        hub_client.enrol(server.url, "pgop_wrong", xy, "a")
    with pytest.raises(LinkError):
        hub_client.enrol("http://127.0.0.1:9", token, xy, "a")
    monkeypatch.setenv("PARKGATE_TOKEN", token)
    found = hub_client.enrol(server.url + "/", None, xy, "a")
    assert found == (server.hub.key.xy, "127.0.0.1", 1, False, "", None, False, ("", 0))


def test_a_server_that_is_no_hub_is_noticed(token):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"hello": 1}).encode())

        def log_message(self, format, *args):
            pass

    other = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=other.handle_request, daemon=True).start()
    with pytest.raises(LinkError, match="not as a hub does"):
        hub_client.enrol(f"http://127.0.0.1:{other.server_port}", token, new_key(), "a")
    other.server_close()


def test_a_check_changes_nothing(server, token, tmp_path):
    xy = new_key()
    answer = post(server, token, public_key=xy.hex(), name="hall-3", check=True)
    assert answer.status_code == 200 and answer.json()["known"] is False
    with connect(tmp_path) as db:
        assert db.execute("SELECT count(*) FROM gateway").fetchone() == (0,)
    assert post(server, token, public_key=xy.hex(), name="x" * 33, check=True).status_code == 409, "as settings have it"
    assert post(server, token, public_key=xy.hex(), name="x" * 33).status_code == 409
    assert post(server, token, public_key=xy.hex(), name="hall-3").status_code == 201
    assert post(server, token, public_key=xy.hex(), name="hall-3", check=True).json()["known"] is True
    assert post(server, token, public_key=xy.hex(), name="hall-4", check=True).status_code == 403
    with connect(tmp_path) as db:
        assert db.execute("SELECT name FROM gateway").fetchall() == [("hall-3",)], "and not renamed"
    assert post(server, token, public_key=xy.hex(), name="hall-3", check="yes").status_code == 400


def test_a_token_ends_and_is_for_what_it_says(server, tmp_path):
    shown = []
    operators.add(tmp_path, "bert", shown.append, days=1, scopes=["rename"])
    made = operators.load(tmp_path)["bert"]["made_unix_ms"]
    assert operators.who(tmp_path, shown[0], made + operators.DAY_MS - 1).name == "bert"
    assert operators.who(tmp_path, shown[0], made + operators.DAY_MS) is None
    xy = new_key()
    assert post(server, shown[0], public_key=xy.hex(), name="hall-3").status_code == 403, "new gateways: not he"
    enroller = operators.add(tmp_path, "anna")
    assert post(server, enroller, public_key=xy.hex(), name="hall-3").status_code == 201
    assert post(server, enroller, public_key=xy.hex(), name="hall-3").status_code == 200
    assert post(server, enroller, public_key=xy.hex(), name="hall-4").status_code == 403, "another name: not she"
    assert post(server, shown[0], public_key=xy.hex(), name="hall-4").status_code == 200
    with connect(tmp_path) as db:
        history = db.execute("SELECT what, name FROM gateway_history").fetchall()
    assert history == [("enrolled", "hall-3"), ("renamed", "hall-4")]


def test_a_token_from_before_they_ended_ends_too(tmp_path):
    token = operators.add(tmp_path, "anna")
    file = tmp_path / operators.FILE
    entry = json.loads(file.read_text())["anna"]
    old = {"anna": {"sha256": entry["sha256"], "made_unix_ms": entry["made_unix_ms"]}}
    file.write_text(json.dumps(old))
    last_ms = entry["made_unix_ms"] + operators.DAYS * operators.DAY_MS
    assert operators.who(tmp_path, token, last_ms - 1).may(operators.ENROL)
    assert operators.who(tmp_path, token, last_ms) is None
    for days, scopes in ((0, ["enrol"]), (400, ["enrol"]), (1, []), (1, ["all"])):
        with pytest.raises(SettingsError):
            operators.add(tmp_path, "x", days=days, scopes=scopes)


def serve_once(answer):
    """An HTTP server elsewhere; gives its address and the tokens that it was sent."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(self.headers.get("Authorization"))
            answer(self)

        do_GET = do_POST

        def log_message(self, format, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}", seen


def test_the_token_goes_to_the_hub_that_was_named_and_to_nobody_else(token, monkeypatch):
    def good(handler):
        handler.send_response(200)
        handler.end_headers()

    other, other_url, other_seen = serve_once(good)

    def away(handler):
        handler.send_response(307 if handler.command == "POST" else 302)
        handler.send_header("Location", other_url + "/api/gateways")
        handler.end_headers()

    named, url, seen = serve_once(away)
    try:
        with pytest.raises(SettingsError, match=r"it points to http://127\.0\.0\.1"):
            hub_client.enrol(url, token, new_key(), "a")
        assert len(seen) == 1 and other_seen == []
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, other_url)
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(SettingsError, match="it points to"):
            hub_client.enrol(url, token, new_key(), "a")
        assert len(seen) == 2 and other_seen == []
    finally:
        named.shutdown()
        other.shutdown()


def test_tls_and_its_authority_reach_the_gateway(tmp_path, token):
    authority = Authority.at(tmp_path / "tls")
    with Server(tmp_path) as server:
        server.hub.use_broker("mqtts://broker.example", authority.path)
        found = hub_client.enrol(server.url, token, new_key(), "a", only_check=True)
    assert (found.broker_host, found.broker_port, found.broker_tls) == ("broker.example", 8883, True)
    assert found.broker_ca == authority.setting


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_a_gateway_is_given_an_address_that_it_can_call(tmp_path, token, host):
    with Server(tmp_path) as server:
        server.hub.use_broker(f"mqtt://{host}:1884")
        found = hub_client.enrol(server.url, token, new_key(), "a", only_check=True)
    assert (found.broker_host, found.broker_port) == ("127.0.0.1", 1884), "that by which the question came"


def test_a_header_does_not_lift_the_limit(server):
    codes = [
        httpx.post(server.url + "/api/gateways", json={}, headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code
        for n in range(register.REQUESTS_MAX + 1)
    ]
    assert codes == [401] * register.REQUESTS_MAX + [429]


def test_secrets_come_from_files_and_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "password"
    file.write_text("a b\r\nrest")
    monkeypatch.setenv("X_PASSWORD", "from the environment")
    assert secret("it", file, "X_PASSWORD") == "a b"
    assert secret("it", None, "X_PASSWORD") == "from the environment"
    assert secret("it", None, "X_OTHER") is None
    file.write_text("")
    monkeypatch.setenv("X_PASSWORD", "")
    for each in (file, None):
        with pytest.raises(SettingsError, match=r"it: .* empty"):
            secret("it", each, "X_PASSWORD")
    assert parse_address("mqtt://hub@broker")[3:] == ("hub", None)
    with pytest.raises(AddressError, match="no user"):
        Receiver("mqtt://broker", "x", password="a")


def test_the_hubs_session_at_the_broker_has_a_name_that_nobody_can_compute(tmp_path):
    key = keys.hub_key(tmp_path)
    assert key.client_id() == keys.hub_key(tmp_path).client_id()
    assert key.id.hex()[:8] not in key.client_id() and key.xy.hex()[:8] not in key.client_id()

"""TLS from the gateway to the broker: the firmware under MicroPython against nats-server and mosquitto."""

import asyncio
import contextlib
import datetime
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hal import handshake, memory
from host_tools.base import unix_port
from host_tools.base.paths import SOURCES
from host_tools.broker import broker, certificates
from host_tools.broker.broker import Broker
from host_tools.broker.certificates import NOT_BEFORE, Authority
from host_tools.gateway.link import Link
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs.enrol import enrol
from host_tools.image import device_libraries
from host_tools.meters.meter_simulator import MeterBus, SimulatedMeter
from host_tools.sim.demo import Hub, gateway_settings
from host_tools.sim.simulate import SimulatedGateway
from parkgate.errors import SettingsError
from test_broker import available

# On MicroPython: one session by what argv names; prints how it went.
SESSION = """
import asyncio, gc, os, sys
from hal import net
from mqtt import Session
host, port, ca = sys.argv[1], int(sys.argv[2]), os.getenv("CA")

async def main():
    settings = {"host": host, "port": port, "user": "", "password": "", "keepalive_s": 30, "connect_timeout_s": 5}
    found = []
    settings.update(tls="on", ca=ca)
    session = Session(lambda *a: net.connect(*a[:4]), "test", settings, lambda *m: found.append(m), lambda: 0)
    try:
        await session.open(["cmd/x/receipt"])
        await session.publish("cmd/x/receipt", b"hello" * 200)
        task = asyncio.create_task(session.run())
        while not found:
            await asyncio.sleep_ms(10)
        print("ok", len(found[0][1]))
    except Exception as e:
        print(type(e).__name__, e)
    await session.close()

asyncio.run(main())
gc.collect()  # this port falls over a closed TLS socket that it finds at its own end
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.at(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "session.py"
    path.write_text(SESSION)
    return path


def session(script, host, port, ca, libraries=device_libraries.FOLDER):
    """What a gateway's session with this broker comes to."""
    root = SOURCES
    process = unix_port.start(
        script, [host, str(port)], path=[root / "firmware", root / "lib", libraries], env={"CA": ca},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return process.communicate(timeout=300)[0].strip()


@contextlib.contextmanager
def tls_broker(kind, folder, authority, hosts=("127.0.0.1",), **valid):
    certificate, key = authority.issue(folder, list(hosts), **valid)
    with Broker(available(kind), folder / "broker", tls=(certificate, key, authority.path)) as running:
        yield running


def test_a_session_by_a_newer_umqtt(tmp_path, authority, script):
    """micropython-lib's own (1.7) sets a timeout; a MicroPython built with our board folders freezes that one."""
    text = (device_libraries.FOLDER / "umqtt" / "simple.py").read_text()
    for old, new in (
        ("clean_session=True):", "clean_session=True, timeout=None):"),
        ("self.sock = socket.socket()", "self.sock = socket.socket(); self.sock.settimeout(timeout)"),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "umqtt").mkdir()
    (tmp_path / "umqtt" / "simple.py").write_text(text)
    with tls_broker("nats", tmp_path / "broker", authority) as running:
        assert session(script, "127.0.0.1", running.port, authority.setting, tmp_path) == "ok 1000"


@pytest.mark.parametrize("kind", broker.KINDS)
def test_a_session_over_tls(kind, tmp_path, authority, script):
    with tls_broker(kind, tmp_path, authority) as running:
        assert session(script, "127.0.0.1", running.port, authority.setting) == "ok 1000"


def serve_tls(certificate, key):
    """A server that does no more than the handshake; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    line = socket.create_server(("127.0.0.1", 0))
    return line, context


WRONG = {
    "another authority": ("127.0.0.1", {}, "does not come from broker.ca"),
    "another name": ("127.0.0.1", {"hosts": ["elsewhere.example"]}, "is not for the name 127.0.0.1"),
    "not valid yet": ("127.0.0.1", {"begin": datetime.datetime(2040, 1, 1)}, "not valid yet by this gateway's clock"),
    "expired": ("127.0.0.1", {"begin": datetime.datetime(2020, 1, 1), "days": 9}, "has expired, by this gateway's"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_broker_that_is_not_ours_is_refused_in_words(case, tmp_path, authority, script):
    host, change, says = WRONG[case]
    signer = Authority.at(tmp_path / "other") if case == "another authority" else authority
    certificate, key = signer.issue(tmp_path, change.pop("hosts", [host]), **change)
    line, context = serve_tls(certificate, key)

    async def shake_hands():
        async def serve(reader, writer):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                assert not await reader.read(1), "nothing may be sent to it"
                writer.close()

        async with await asyncio.start_server(serve, sock=line, ssl=context):
            return await asyncio.to_thread(session, script, host, line.getsockname()[1], authority.setting)

    said = asyncio.run(shake_hands())
    assert said.startswith("TlsError TLS: ") and says in said


def test_a_broker_without_tls_is_told(tmp_path, authority, script):
    with Broker(available("nats"), tmp_path) as running:
        said = session(script, "127.0.0.1", running.port, authority.setting)
    assert said.startswith("TlsError TLS: ") and "does it talk TLS?" in said


def test_a_broker_that_says_nothing_is_given_up_in_time(authority, script):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        said = session(script, "127.0.0.1", silent.getsockname()[1], authority.setting)
    assert said.startswith("NoAnswer ") and time.monotonic() - begun < 100


def test_a_certificate_that_is_none_is_told(tmp_path, script):
    said = session(script, "127.0.0.1", 1, "AAAA")
    assert said.startswith("TlsError broker.ca is not a certificate")
    wrong = tmp_path / "x.pem"
    wrong.write_text("nothing")
    with pytest.raises(SettingsError, match="no certificate"):
        certificates.read(wrong)


def test_an_authority_stays_the_same(tmp_path, authority):
    first = Authority.at(tmp_path / "a")
    assert Authority.at(tmp_path / "a").setting == first.setting != authority.setting
    assert certificates.read(first.path) == first.setting and len(first.setting) < 2048
    assert (tmp_path / "a" / "ca.key").stat().st_mode & 0o077 == 0
    assert first.certificate.not_valid_before_utc == NOT_BEFORE


def test_readings_reach_the_hub_over_tls(tmp_path, authority):
    gateway = SimulatedGateway(tmp_path / "gateway")
    bus = MeterBus([SimulatedMeter("eastron-sdm120", 1)])
    with tls_broker("nats", tmp_path, authority) as running:
        hub = Hub(tmp_path / "hub", running.url, "127.0.0.1:0", ca=authority.path)
        try:
            hub.start()
            meters = [("m", "eastron-sdm120", 1)]
            settings = gateway_settings("tls", bus.start(), running.port, hub.about["public_key"], meters)
            settings["broker"].update(tls="on", ca=authority.setting)
            settings["sealing"]["period_s"] = 2
            gateway.configure(settings)
            gateway.start()
            database = connect(hub.folder)
            enrol(database, gateway.public_key(), "tls")
            database.close()
            deadline = time.monotonic() + 300
            while not gateway.status.get("acknowledged"):
                assert time.monotonic() < deadline, gateway.lines
                time.sleep(0.1)
            with Link(str(tmp_path / "gateway")) as link:
                said = link.ask("link test", 30.0)
                boot = link.boot()
                link.ask("restart", repeat=False)
                link.wait_restart(boot)
            assert any(line.startswith("tls: ok") for line in said) and not [s for s in said if "FAILED" in s], said
            found = next(iter(hub.gateways().values()))
            assert found["batches_verified"] > 0
        finally:
            gateway.kill()
            hub.stop()
            bus.stop()


# On MicroPython: how often a handshake asks for a pause, and in how many pieces the broker's words come.
PAUSES = """
import asyncio, os, sys
from binascii import a2b_base64
from hal import net
pauses = []

async def pause():
    pauses.append(1)
    await asyncio.sleep_ms(5)

async def main():
    ca = a2b_base64(os.getenv("CA"))
    reader, writer = await net.connect(sys.argv[1], int(sys.argv[2]), 5000, ca, pause)
    print("pauses", len(pauses))
    writer.write(b"x" * 9000)
    await writer.drain()
    got = await reader.readexactly(9000)
    print("back", got == b"x" * 9000, await reader.read(10))
    writer.close()

asyncio.run(main())
"""


def echo_once(line, context):
    """Serve one connection: 9,000 bytes back, then the end."""
    connection = context.wrap_socket(line.accept()[0], server_side=True)
    data = b""
    while len(data) < 9000:
        data += connection.recv(9000)
    connection.sendall(data)
    with contextlib.suppress(OSError):  # it does not say goodbye
        connection.unwrap()


KINDS = {"rsa": certificates.rsa.generate_private_key, "ec": certificates.ec.generate_private_key}


@pytest.mark.parametrize("kind", KINDS)
def test_each_costly_step_of_a_handshake_waits_for_a_pause(kind, tmp_path, monkeypatch):
    if kind == "ec":
        monkeypatch.setattr(certificates, "_new_key", lambda: KINDS["ec"](certificates.ec.SECP256R1()))
    authority = Authority.at(tmp_path)
    line, context = serve_tls(*authority.issue(tmp_path, ["127.0.0.1"]))
    script = tmp_path / "pauses.py"
    script.write_text(PAUSES)
    with line, ThreadPoolExecutor(1) as pool:
        served = pool.submit(echo_once, line, context)
        said = session(script, "127.0.0.1", line.getsockname()[1], authority.setting)
        served.result(10)
    # To make ready; the certificate; the key exchange's signature; the exchange.
    assert said.splitlines() == ["pauses 4", "back True b''"]


def test_messages_of_a_handshake_in_one_record_are_taken_one_by_one():
    certificate, exchange, done = b"\x0b\0\1\x2c" + bytes(300), b"\x0c\0\0\2ab", b"\x0e\0\0\0"

    def record(body, kind=22):
        return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body

    whole = record(certificate + exchange + done)
    assert list(handshake.messages(whole)) == [record(certificate), record(exchange), record(done)]
    for as_it_is in (record(done), record(certificate[:-1]), record(done + b"\x0b\0"), record(done, 21), record(b"")):
        assert b"".join(handshake.messages(as_it_is)) == as_it_is


def test_an_authority_of_an_earlier_version_is_still_good(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "_new_key", lambda: KINDS["ec"](certificates.ec.SECP256R1()))
    made = Authority.at(tmp_path)
    monkeypatch.undo()
    assert Authority.at(tmp_path).setting == made.setting
    assert Authority.at(tmp_path).issue(tmp_path, ["a.example"])[0].exists()


def test_room_for_tls_is_kept_while_nobody_needs_it():
    room = memory.Room()
    room.take()
    room.keep(64)
    assert room._kept is None
    room.take()
    room.give_back()
    assert room._kept is None, "one still needs it"
    room.give_back()
    assert len(room._kept) == 64
    room.keep(0)
    assert room._kept is None

"""The brokers that `parkgate demo` and the tests start: ready when told so, durable enough, gone when
stopped."""

import os
import socket
import threading

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from host_tools.broker import broker as broker_module
from host_tools.broker.broker import Broker, BrokerError, mosquitto_program, nats_program

WAIT_S = 100


def available(kind):
    """Skip, with the reason, where that broker is not installed."""
    if (nats_program() if kind == "nats" else mosquitto_program()) is None:
        pytest.skip(f"{kind} is not installed")
    return kind


@pytest.fixture(params=broker_module.KINDS)
def broker(request, tmp_path):
    with Broker(available(request.param), tmp_path) as broker:
        yield broker


def client(broker, name, clean=True):
    found = Client(CallbackAPIVersion.VERSION2, name, clean_session=clean)
    connected = threading.Event()
    found.on_connect = lambda *_: connected.set()
    found.connect(broker.host, broker.port)
    found.loop_start()
    assert connected.wait(WAIT_S)
    return found


def leave(found):
    found.disconnect()
    found.loop_stop()


def subscribe(found, topic):
    done = threading.Event()
    found.on_subscribe = lambda *_: done.set()
    found.subscribe(topic, 1)
    assert done.wait(WAIT_S)


def test_it_carries_messages(broker):
    got, arrived = [], threading.Event()
    reader = client(broker, "reader")
    reader.on_message = lambda _c, _u, message: (got.append((message.topic, message.payload)), arrived.set())
    subscribe(reader, "tele/+/batch")
    writer = client(broker, "writer")
    writer.publish("tele/x/batch", b"hello", qos=1).wait_for_publish(WAIT_S)
    assert arrived.wait(WAIT_S)
    assert got == [("tele/x/batch", b"hello")]
    leave(reader)
    leave(writer)


def test_it_listens_on_loopback_only(broker):
    for address in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}:
        if not address.startswith("127."):
            with pytest.raises(OSError):
                socket.create_connection((address, broker.port), timeout=2)


def test_stop_and_start_again_on_the_same_port_with_the_same_sessions(broker):
    reader = client(broker, "reader", clean=False)
    subscribe(reader, "tele/+/batch")
    leave(reader)
    writer = client(broker, "writer")
    writer.publish("tele/x/batch", b"kept", qos=1).wait_for_publish(WAIT_S)
    leave(writer)
    port, pid = broker.port, broker.pid
    broker.stop()
    assert broker.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    broker.start()
    assert broker.port == port and broker.pid != pid
    arrived = threading.Event()
    reader = Client(CallbackAPIVersion.VERSION2, "reader", clean_session=False)
    reader.on_message = lambda _c, _u, message: message.payload == b"kept" and arrived.set()
    reader.connect(broker.host, broker.port)
    reader.loop_start()
    assert arrived.wait(WAIT_S), "what came while nobody read"
    leave(reader)


def test_kill_and_start_again(broker):
    broker.kill()
    assert broker.pid is None
    broker.start()
    leave(client(broker, "after"))


def test_one_left_behind_by_a_killed_program_is_ended_first(broker, tmp_path):
    orphan = broker.pid
    broker._free_folder()  # as when its program is killed
    other = Broker(broker.kind, tmp_path).start()
    try:
        broker._process.wait(WAIT_S)
        assert other.pid not in (None, orphan)
        leave(client(other, "after"))
    finally:
        other.stop()


def test_the_broker_of_a_program_that_lives_is_left_alone(broker, tmp_path):
    with pytest.raises(BrokerError, match="another program runs a broker"):
        Broker(broker.kind, tmp_path).start()
    assert broker.pid
    leave(client(broker, "still there"))


def test_a_number_in_the_pid_file_that_is_another_process_is_left_alone(broker, tmp_path):
    broker.stop()
    (tmp_path / broker_module.PID_FILE).write_text(f"{os.getpid()}\n")
    broker.start()
    assert broker.pid


def test_stopping_twice_is_no_error(broker):
    broker.stop()
    broker.stop()


def test_a_port_that_is_taken_is_said_so(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        broker = Broker(available("nats"), tmp_path, port=taken.getsockname()[1])
        with pytest.raises(BrokerError, match="cannot be used"):
            broker.start()
        assert broker.pid is None


def test_another_broker_on_the_port_is_not_taken_for_ours(broker, tmp_path):
    with pytest.raises(BrokerError, match="cannot be used"):
        Broker(broker.kind, tmp_path / "second", port=broker.port).start()


def test_a_broker_that_is_not_installed_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(broker_module, "mosquitto_program", lambda: None)
    with pytest.raises(BrokerError, match="not installed"):
        Broker("mosquitto", tmp_path).start()
    with pytest.raises(BrokerError, match="one of nats, mosquitto"):
        Broker("rabbit", tmp_path)

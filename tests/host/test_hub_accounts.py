"""The hub's own broker with accounts: strangers stay out, gateways stay on their topics, enrolment opens the door."""

import contextlib
import threading
import time

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from batches import FakeGateway
from host_tools.broker.broker import Account, Broker, BrokerError
from host_tools.hub import service
from host_tools.hub.stores.gateways import enrol, revoke
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs import hub as hub_verb
from host_tools.hub.verbs import own_broker
from parkgate.errors import SettingsError
from test_hub_start import arguments

WAIT_S = 100


def until(fits):
    deadline = time.monotonic() + WAIT_S
    while not fits():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Caller:
    """An MQTT client with a name and a password, or none. `refused` is why it did not come in."""

    def __init__(self, broker, user=None, password=None):
        self.came, self.subscribed, self.refused = threading.Event(), [], None
        self.got = []
        self.client = client = Client(CallbackAPIVersion.VERSION2, f"{user or 'nobody'}-{id(self)}")
        if user:
            client.username_pw_set(user, password)
        client.on_connect = self._connected
        client.on_message = lambda _c, _u, message: self.got.append((message.topic, bytes(message.payload)))
        client.on_subscribe = lambda _c, _u, _m, reasons, _p: self.subscribed.extend(r.is_failure for r in reasons)
        client.connect(broker.host, broker.port)
        client.loop_start()
        assert self.came.wait(WAIT_S)

    def _connected(self, _client, _userdata, _flags, reason, _properties):
        self.refused = str(reason) if reason.is_failure else None
        self.came.set()

    def subscribe(self, topic) -> bool:
        """Whether the broker lets it hear that."""
        before = len(self.subscribed)
        self.client.subscribe(topic, 1)
        until(lambda: len(self.subscribed) > before)
        return not self.subscribed[-1]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def park(tmp_path, monkeypatch):
    monkeypatch.setattr(own_broker, "LOOK_S", 0.05)
    gateway = FakeGateway(1)
    service.Hub(tmp_path).stop()
    with contextlib.closing(connect(tmp_path)) as db:
        enrol(db, gateway.xy, "paint shop")
    hub = service.Hub(tmp_path)
    hub.show_all()
    broker = Broker("nats", tmp_path / "broker", accounts=own_broker.accounts(hub))
    with broker, own_broker.Doorkeeper(hub, broker):
        hub.use_broker(f"mqtt://hub@127.0.0.1:{broker.port}", password=hub.key.broker_password("hub"))
        hub.start()
        yield hub, broker, gateway
        hub.stop()


def test_only_the_hub_and_its_gateways_come_in(park):
    hub, broker, gateway = park
    for user, password in ((None, None), (gateway.topic, "guessed"), ("hub", "guessed"), ("other", "x")):
        stranger = Caller(broker, user, password)
        assert stranger.refused, user
        stranger.close()
    until(lambda: hub.receiver.connected_unix_ms)
    known = Caller(broker, gateway.topic, hub.key.broker_password(gateway.topic))
    assert known.refused is None and known.subscribe(gateway.receipt_topic())
    known.client.publish(gateway.batch_topic(), gateway.batch(), qos=1)
    until(lambda: known.got)
    gateway.take_receipt(known.got[0][1], hub.key.xy)
    assert not gateway.held, "the receipt came through"
    for topic in ("tele/+/batch", "#", "cmd/0123456789abcdef0123456789abcdef/receipt", "$SYS/#"):
        assert not known.subscribe(topic), topic
    before = hub.messages
    known.client.publish("tele/0123456789abcdef0123456789abcdef/batch", b"in another's name", qos=1)
    known.client.publish(gateway.batch_topic(), b"x", qos=1)
    until(lambda: hub.messages > before)
    assert "unknown gateway" not in hub.board.nobody(), "what is not its own went nowhere"
    known.close()


def test_enrolment_opens_the_door_and_revocation_shuts_it(park, tmp_path):
    hub, broker, _ = park
    new = FakeGateway(2)
    password = hub.key.broker_password(new.topic)
    early = Caller(broker, new.topic, password)
    assert early.refused
    early.close()
    with contextlib.closing(connect(tmp_path)) as db:
        enrol(db, new.xy, "new")
        until(lambda: any(account.user == new.topic for account in broker._accounts))

        def comes_in():
            caller = Caller(broker, new.topic, password)
            caller.close()
            return caller.refused is None

        until(comes_in)
        revoke(db, "new")
        until(lambda: not comes_in())


def test_the_configuration_with_passwords_is_ours_alone(park, tmp_path):
    assert (tmp_path / "broker" / "nats.conf").stat().st_mode & 0o077 == 0


def test_without_accounts_a_broker_of_ones_own_stays_on_this_computer(tmp_path):
    for host in ("0.0.0.0", "192.168.1.5", "broker.example", "[::]"):
        with pytest.raises(SettingsError, match="--accounts"):
            hub_verb.run(arguments(tmp_path / "new", own_broker=f"{host}:1883"))
    with pytest.raises(SettingsError, match="needs --own-broker"):
        hub_verb.run(arguments(tmp_path / "new", accounts=True))
    assert not (tmp_path / "new").exists()
    with pytest.raises(BrokerError):
        Broker("mosquitto", tmp_path, accounts=[Account("a", "b", (), ())])

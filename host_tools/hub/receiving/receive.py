"""The hub's end of the broker: a persistent MQTT session that acknowledges only what is committed.

    tele/<gateway>/batch, tele/<gateway>/beat   ──▶ bounded queue ──▶ the caller of `group`
    cmd/<gateway>/receipt                       ◀── `publish`

Messages are acknowledged by hand (`done`), after the commit: what a killed hub had received but not stored is
sent again by the broker at once, and the broker's own window of unacknowledged messages is the flow control.
The connection is kept by paho's thread: it reconnects with a delay that doubles from RECONNECT_S_MIN to
RECONNECT_S_MAX.
"""

import logging
import queue
import threading
import time
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from parkgate.errors import SettingsError

log = logging.getLogger("parkgate.hub")

TOPICS = (("tele/+/batch", 1), ("tele/+/beat", 1))
QUEUE_MESSAGES = 4096
QUEUE_WAIT_S = 1.0  # how long the network thread may stand still before a message is dropped (and not acknowledged)
GROUP_MESSAGES = 256  # in one transaction
GROUP_BYTES = 2 << 20
OUTGOING_MESSAGES = 16384
INFLIGHT_MESSAGES = 256
KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
RECONNECT_S_MIN, RECONNECT_S_MAX = 1, 30
STOP_TIMEOUT_S = 5.0
SUBSCRIBE_AGAIN_S = 10.0
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


class AddressError(SettingsError):
    """A broker address that cannot be used."""


def parse_address(url: str):
    """(tls, host, port, user or None, password or None) of mqtt://[user:password@]host[:port], or
    mqtts://…"""
    try:
        parts = urlsplit(url if "//" in url else "mqtt://" + url)
        port = parts.port
    except ValueError as error:
        raise AddressError(f"{url!r} is not a broker address: {error}") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise AddressError(f"{url!r} is not a broker address: it looks like mqtt://127.0.0.1:1883")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return parts.scheme == "mqtts", parts.hostname, port or DEFAULT_PORTS[parts.scheme], user, password


class Receiver:
    """One MQTT session. `group` and `done` are called by one thread, the rest by any."""

    def __init__(
        self, url: str, client_id: str, ca_file=None, cert_file=None, key_file=None, password: str | None = None
    ):
        """`password` takes the place of the URL's. Raises AddressError."""
        tls, self.host, self.port, user, in_url = parse_address(url)
        password = in_url if password is None else password
        if password is not None and user is None:
            raise AddressError("there is a password for the broker and no user: mqtt://USER@HOST:PORT")
        self.url = f"mqtt{'s' if tls else ''}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        self.ca_file, self.cert_file = (ca_file, cert_file) if tls else (None, None)
        self.connects = self.overflows = self.unsent = 0
        self.connected_unix_ms: int | None = None
        self._queue: queue.Queue[tuple[int, MQTTMessage]] = queue.Queue(QUEUE_MESSAGES)
        self._session = (
            0  # an acknowledgement must not reach another connection, where its number means another message
        )
        self._lock = threading.Lock()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=False,
            manual_ack=True,
            reconnect_on_failure=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.reconnect_delay_set(RECONNECT_S_MIN, RECONNECT_S_MAX)
        client.max_queued_messages_set(OUTGOING_MESSAGES)
        client.max_inflight_messages_set(INFLIGHT_MESSAGES)
        if user is not None:
            client.username_pw_set(user, password)
        if tls:
            client.tls_set(ca_file, cert_file, key_file)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def start(self) -> None:
        """Begin to connect, and to connect again whenever that ends. Returns at once."""
        self._client.connect_async(self.host, self.port, KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """End the connection; the broker keeps the session and what arrives meanwhile."""
        self._client.disconnect()
        stopper = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopper.start()
        stopper.join(STOP_TIMEOUT_S)

    def group(self, wait_s: float) -> list[tuple[int, MQTTMessage]]:
        """The messages that are waiting, at least one unless none comes within `wait_s`."""
        try:
            first = self._queue.get(timeout=wait_s)
        except queue.Empty:
            return []
        found, size = [first], len(first[1].payload)
        while len(found) < GROUP_MESSAGES and size < GROUP_BYTES:
            try:
                found.append(self._queue.get_nowait())
            except queue.Empty:
                break
            size += len(found[-1][1].payload)
        return found

    def done(self, group: list[tuple[int, MQTTMessage]]) -> None:
        """Acknowledge these to the broker: they are committed, or counted as refused."""
        with self._lock:
            for session, message in group:
                if session == self._session:
                    self._client.ack(message.mid, message.qos)

    def publish(self, topic: str, data: bytes) -> None:
        """Send at QoS 1. What cannot be sent is counted: the gateway asks again by sending its batch
        again."""
        sent = self._client.publish(topic, data, qos=1)
        if sent.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            self.unsent += 1

    # What paho's thread calls.

    def _on_connect(self, client, _userdata, flags, reason, _properties):
        if reason.is_failure:
            log.error("broker %s refuses the hub: %s", self.url, reason)
            return
        with self._lock:
            self._session += 1
        self.connects += 1
        log.info("connected to broker %s (%s session)", self.url, "kept" if flags.session_present else "new")
        client.subscribe(list(TOPICS))

    def _on_subscribe(self, _client, _userdata, _mid, reasons, _properties):
        if any(reason.is_failure for reason in reasons):
            log.error("broker %s refuses the subscription: %s", self.url, ", ".join(map(str, reasons)))
            again = threading.Timer(SUBSCRIBE_AGAIN_S, self._subscribe_again, (self._session,))
            again.daemon = True
            again.start()
            return
        self.connected_unix_ms = int(time.time() * 1000)

    def _subscribe_again(self, session):
        """A broker that refused once may have been starting: without a subscription the hub would never hear
        anything."""
        if session == self._session:
            self._client.subscribe(list(TOPICS))

    def _on_connect_fail(self, _client, _userdata):
        self.connected_unix_ms = None
        log.warning("broker %s cannot be reached; trying again", self.url)

    def _on_disconnect(self, _client, _userdata, _flags, reason, _properties):
        self.connected_unix_ms = None
        with self._lock:
            self._session += 1
        if reason.is_failure:
            log.warning("connection to broker %s lost (%s); connecting again", self.url, reason)

    def _on_message(self, _client, _userdata, message):
        try:
            self._queue.put((self._session, message), timeout=QUEUE_WAIT_S)
        except queue.Full:
            self.overflows += 1
            if self.overflows & (self.overflows - 1) == 0:
                log.error("messages come faster than they can be stored: %d left to the broker", self.overflows)

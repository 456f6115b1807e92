"""MQTT 3.1.1 without ever blocking: umqtt.simple makes and reads the packets in memory, asyncio moves the bytes.

umqtt's own socket calls wait without an end, so it never gets a socket. Its client writes into `_Buffer.tx`, which is
sent in one piece, and reads from `_Buffer.rx`, which holds one whole packet. Where it would wait for an answer before
it returns (connect, QoS 1 publish, subscribe) it is handed the answer it waits for; the broker's real answer is read
here, with a deadline.
"""

import asyncio
import struct
from binascii import a2b_base64

import umqtt.simple as umqtt

from parkgate.errors import LinkError

for _unused in ("set_last_will", "check_msg", "disconnect"):
    delattr(umqtt.MQTTClient, _unused)  # what is not there takes no memory
MAX_PACKET_BYTES = 2048  # what a hub sends is far smaller; a larger packet is drained, counted and dropped
_CONNACK, _PUBLISH, _PUBACK, _SUBACK = 0x20, 0x30, 0x40, 0x90
_REFUSED = 111  # ECONNREFUSED, which shows at the first read
_PID_LIMIT = 65000  # umqtt would wrap to packet id 0, which the standard forbids


class _Buffer:
    """Stands where umqtt expects a socket; also where it expects the socket module."""

    def __init__(self):
        self.rx = b""
        self.tx = bytearray()

    def socket(self):
        return self

    def settimeout(self, _seconds):  # newer ones of umqtt, which a MicroPython of one's own freezes
        pass

    def getaddrinfo(self, _host, _port):
        return ((None,),)

    def connect(self, _address):
        pass

    def setblocking(self, _blocking):
        pass

    def write(self, data, length=None):
        self.tx.extend(data if length is None else memoryview(data)[:length])

    def read(self, count):
        data, self.rx = self.rx[:count], self.rx[count:]
        return data

    def taken(self):
        data, self.tx = self.tx, bytearray()
        return data


class _Codec(umqtt.MQTTClient):
    """umqtt's client over a buffer; `canned` is the packet type it believes to have been answered with."""

    canned = None

    def wait_msg(self):
        if self.canned is None:
            return umqtt.MQTTClient.wait_msg(self)
        op, self.canned = self.canned, None
        return op


class Session:
    """One connection to a broker. After LinkError it is closed; make another.

    `connect(host, port, timeout_ms, ca, unix_ms)` gives (reader, writer); `broker` is that section of the settings;
    `unix_ms()` the best guess of the time, by which TLS checks the dates of certificates."""

    def __init__(self, connect, client_id: str, broker: dict, on_message, unix_ms):
        self._connect = connect
        self._unix_ms = unix_ms
        self._client_id = client_id
        self._broker = broker
        self._timeout_ms = broker["connect_timeout_s"] * 1000
        self._on_message = on_message
        self._buffer = _Buffer()
        self._reader = self._writer = None
        self._message: "tuple | None" = None
        self._lock = asyncio.Lock()
        self.oversized = 0
        self.malformed = 0
        self.pubacks = 0

    async def open(self, topics: list):
        """Connect and subscribe. Raises LinkError."""
        broker, buffer = self._broker, self._buffer
        ca = a2b_base64(broker["ca"]) if broker["tls"] == "on" else b""
        self._reader, self._writer = await self._connect(
            broker["host"], broker["port"], self._timeout_ms, ca, self._unix_ms()
        )
        try:
            user = broker["user"] or None
            self._codec = _Codec(
                self._client_id, broker["host"], broker["port"], user, broker["password"], broker["keepalive_s"]
            )
            self._codec.set_callback(self._keep)
            umqtt.socket = buffer
            buffer.rx = b"\x20\x02\x00\x00"
            self._codec.connect(clean_session=True)
            try:
                await self._flush()
                packet = await self._packet(self._timeout_ms)
            except LinkError as e:
                raise LinkError("%s:%d: %s: is an MQTT broker there?" % (broker["host"], broker["port"], e)) from None
            if len(packet) != 4 or packet[0] != _CONNACK:
                raise LinkError("the broker answered CONNECT with something else: not an MQTT broker?")
            if packet[3]:
                raise LinkError("the broker refuses the connection, MQTT return code %d" % packet[3])
            for topic in topics:
                await self._subscribe(topic)
        except BaseException:
            await self.close()
            raise

    async def _subscribe(self, topic):
        codec = self._codec
        codec.canned = _SUBACK
        pid = codec.pid + 1
        self._buffer.rx = b"\x03" + struct.pack("!HB", pid, 1)
        codec.subscribe(topic, 1)
        await self._flush()
        for _ in range(16):  # retained or queued messages may come before the SUBACK
            packet = await self._packet(self._timeout_ms)
            if packet and packet[0] == _SUBACK:
                if packet[-1] == 0x80:
                    raise LinkError("the broker does not let this gateway subscribe to " + topic)
                return
            await self._handle(packet)
        raise LinkError("the broker does not acknowledge the subscription")

    async def publish(self, topic: str, message: bytes):
        """Send one message at QoS 1. Returns when it left; the broker's PUBACK proves nothing and is only counted."""
        async with self._lock:
            codec = self._codec
            if codec.pid > _PID_LIMIT:
                codec.pid = 0
            codec.canned = _PUBACK
            self._buffer.rx = b"\x02" + struct.pack("!H", codec.pid + 1)
            codec.publish(topic, message, False, 1)
            await self._send(self._buffer.taken())

    async def ping(self):
        async with self._lock:
            self._codec.ping()
            await self._send(self._buffer.taken())

    async def run(self):
        """Take in what the broker sends, until the connection ends. Raises LinkError."""
        keepalive_ms = self._broker["keepalive_s"] * 1000
        waiting = False
        while True:
            try:
                packet = await self._packet(keepalive_ms // 2)
            except _Silence:
                if waiting:
                    raise LinkError("the broker no longer answers") from None
                waiting = True
                await self.ping()
                continue
            waiting = False
            await self._handle(packet)

    async def _handle(self, packet):
        if not packet:
            return
        if packet[0] & 0xF0 == _PUBACK:
            self.pubacks += 1
            return
        if packet[0] & 0xF0 != _PUBLISH:
            return
        async with self._lock:
            self._buffer.rx = packet
            self._message = None
            try:
                self._codec.wait_msg()
            except (IndexError, ValueError, TypeError, OSError):  # lengths inside the packet that do not fit
                self.malformed += 1
                self._message = None
            self._buffer.rx = b""
            if self._buffer.tx:
                await self._send(self._buffer.taken())
        if self._message:
            # Out here: what it raises is no fault of the packet.
            self._on_message(*self._message)  # pyright: ignore[reportGeneralTypeIssues]  # wait_msg has called _keep

    def _keep(self, topic, message):
        self._message = topic, message

    async def _packet(self, timeout_ms):
        """One whole packet (bytes), b"" for one too large, which is drained. Raises _Silence, LinkError."""
        first = await self._exactly(1, timeout_ms, _Silence)
        length = shift = 0
        head = bytearray(first)
        while True:
            byte = (await self._exactly(1, self._timeout_ms))[0]
            head.append(byte)
            length |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 21:
                raise LinkError("the broker sent a packet of impossible length")
        if length > MAX_PACKET_BYTES:
            self.oversized += 1
            while length:
                length -= len(await self._exactly(min(length, 512), self._timeout_ms))
            return b""
        return bytes(head) + await self._exactly(length, self._timeout_ms)

    async def _exactly(self, count, timeout_ms, error=LinkError):
        if not count:
            return b""
        try:
            return await asyncio.wait_for_ms(self._reader.readexactly(count), timeout_ms)
        except asyncio.TimeoutError:
            raise error("nothing from the broker for %d ms" % timeout_ms) from None
        except (OSError, EOFError) as e:
            refused = getattr(e, "errno", 0) == _REFUSED
            raise LinkError("connection refused" if refused else "the broker closed the connection") from None

    async def _flush(self):
        async with self._lock:
            await self._send(self._buffer.taken())

    async def _send(self, data):
        try:
            self._writer.write(data)
            await asyncio.wait_for_ms(self._writer.drain(), self._timeout_ms)
        except asyncio.TimeoutError:
            raise LinkError("the broker takes nothing for %d ms" % self._timeout_ms) from None
        except OSError:
            raise LinkError("the broker closed the connection") from None

    async def close(self):
        """Drop the connection; never raises."""
        if self._writer:
            try:
                self._writer.close()
                await asyncio.wait_for_ms(self._writer.wait_closed(), 1000)
            except (OSError, asyncio.TimeoutError):
                pass  # it is gone either way
        self._reader = self._writer = None


class _Silence(LinkError):
    """No packet began within the time given."""

"""Everything that can be wrong with the way from a gateway to its broker, one fault each, as servers on this machine.

    with Faults(folder) as faults:
        where = faults.start("drip")       # what the gateway's settings say of its broker: host, port, tls, ca
        faults.counts["drip"]              # connections and messages that came so far

`PLAIN`, `NAMES` and `TLS` list the faults; each is one function or a few bytes. A server knows MQTT 3.1.1 just far
enough to be wrong at a chosen place.
"""

import asyncio
import contextlib
import datetime
import socket
import ssl
import struct
import threading

from host_tools.broker.broker import Broker, free_port, mosquitto_program
from host_tools.broker.certificates import Authority
from test_resolver import BEHAVIOURS

CONNACK = b"\x20\x02\x00\x00"
CONNECT, PUBLISH, SUBSCRIBE, PING = 1, 3, 8, 12
TOPIC = b"\x00\x05cmd/x"
KILL_S = 3.0  # between two kills of the broker
SUBSCRIPTIONS = 3  # of a gateway; then it is ready
DRIP_S = 0.5  # between two bytes
TLS_DRIP_S = 0.02


class Count:
    """What came to one faulty server."""

    def __init__(self):
        self.connections = 0
        self.messages = 0


class Over(Exception):
    """This connection is at its end."""


def reset(writer) -> None:
    """End a connection with RST instead of FIN."""
    line = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    raise Over


async def packet(reader) -> tuple[int, bytes]:
    """(type, content) of the next MQTT packet."""
    kind = (await reader.readexactly(1))[0] >> 4
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind, await reader.readexactly(length)


class Mqtt:
    """A broker that is right but for what it is told to do at one moment. `at` maps a moment ("accept", "connect",
    "connack", "subscribe", "ready", "publish") to bytes that are sent instead of the right answer or after the
    moment, or to a coroutine function of (reader, writer)."""

    def __init__(self, **at):
        self.at = at

    async def serve(self, reader, writer, count) -> None:
        await self._moment("accept", reader, writer)
        subscriptions = 0
        while True:
            kind, content = await packet(reader)
            if kind == CONNECT:
                await self._moment("connect", reader, writer, CONNACK)
                await self._moment("connack", reader, writer)
            elif kind == SUBSCRIBE:
                await self._moment("subscribe", reader, writer, b"\x90\x03" + content[:2] + b"\x01")
                subscriptions += 1
                if subscriptions == SUBSCRIPTIONS:
                    await self._moment("ready", reader, writer)
            elif kind == PUBLISH:
                count.messages += 1
                topic = struct.unpack_from("!H", content)[0]
                await self._moment("publish", reader, writer, b"\x40\x02" + content[2 + topic : 4 + topic])
            elif kind == PING:
                writer.write(b"\xd0\x00")

    async def _moment(self, name, reader, writer, right=b"") -> None:
        does = self.at.get(name)
        if callable(does):
            await does(reader, writer)
            return
        writer.write(right if does is None else does)
        await writer.drain()


async def rst(_reader, writer):
    reset(writer)


async def close(_reader, _writer):
    raise Over


async def silent(reader, _writer):
    """Read on and say nothing."""
    while await reader.read(4096):
        pass
    raise Over


async def deaf(_reader, writer):
    """Neither read nor write: the window fills."""
    writer.transport.pause_reading()
    await asyncio.sleep(36000)


async def half_a_packet(_reader, writer):
    writer.write(b"\x30\x40" + TOPIC)
    await writer.drain()
    reset(writer)


def dripping(data: bytes, pause_s: float = DRIP_S):
    """Send a byte at a time, then zeros without an end."""

    async def drip(_reader, writer):
        for byte in data:
            if writer.transport.is_closing():
                raise Over
            writer.write(bytes([byte]))
            await asyncio.sleep(pause_s)
        while not writer.transport.is_closing():
            writer.write(b"\0")
            await writer.drain()
            await asyncio.sleep(pause_s or DRIP_S)
        raise Over

    return drip


def flood(data: bytes):
    """The same packet as fast as it is taken."""

    async def pour(_reader, writer):
        while not writer.transport.is_closing():
            writer.write(data)
            await writer.drain()
        raise Over

    return pour


def message(size: int) -> bytes:
    """A PUBLISH at QoS 0 with a message of so many bytes."""
    length, head = size + len(TOPIC), bytearray(b"\x30")
    while True:
        length, low = length >> 7, length & 127
        head.append(low | (128 if length else 0))
        if not length:
            return bytes(head) + TOPIC + bytes(size)


PLAIN = {
    "accept, then close": Mqtt(accept=close),
    "RST at accept": Mqtt(accept=rst),
    "RST after CONNECT": Mqtt(connect=rst),
    "RST after CONNACK": Mqtt(connack=rst),
    "RST after SUBSCRIBE": Mqtt(subscribe=rst),
    "RST after SUBACK": Mqtt(ready=rst),
    "RST after PUBLISH": Mqtt(publish=rst),
    "RST within a packet": Mqtt(ready=half_a_packet),
    "black hole": None,
    "half-open, reads on": Mqtt(ready=silent),
    "half-open, reads nothing": Mqtt(ready=deaf),
    "drip": Mqtt(connect=dripping(CONNACK)),
    "CONNACK never": Mqtt(connect=silent),
    "CONNACK is another packet": Mqtt(connect=b"\xd0\x00"),
    "CONNACK refuses": Mqtt(connect=b"\x20\x02\x00\x05"),
    "CONNACK too long": Mqtt(connect=b"\x20\x05\x00\x00\x00\x00\x00"),
    "SUBACK never": Mqtt(subscribe=silent),
    "SUBACK refuses": Mqtt(subscribe=b"\x90\x03\x00\x01\x80"),
    "SUBACK of another question": Mqtt(subscribe=b"\x90\x03\x7f\x7f\x01"),
    "SUBACK is empty": Mqtt(subscribe=b"\x90\x00"),
    "PUBACK never": Mqtt(publish=b""),
    "PUBACK of another message": Mqtt(publish=b"\x40\x02\x7f\x7f"),
    "PUBACK is empty": Mqtt(publish=b"\x40\x00"),
    "length that cannot be": Mqtt(ready=b"\x30\xff\xff\xff\xff\xff"),
    "packet types that are none": Mqtt(ready=b"\x00\x00\xf0\x00\x06\x01\x00"),
    "PUBLISH shorter than its topic": Mqtt(ready=b"\x30\x04\xff\xffab"),
    "PUBLISH of QoS 3": Mqtt(ready=b"\x36\x09\x00\x05cmd/x\x00\x01"),
    "PUBLISH of 200 MB, dripped": Mqtt(ready=dripping(b"\x30\x80\x84\xaf\x5f")),
    "PUBLISH of 300 kB without an end": Mqtt(ready=flood(message(300_000))),
    "PUBLISH of 2 kB without an end": Mqtt(ready=flood(message(2000))),
    "PUBLISH of nothing without an end": Mqtt(ready=flood(message(0))),
    "broker killed in a loop": None,
    "nothing listens": None,
}
NAMES = {"name server silent": "silent", "name server lies": "liar", "name server knows no such name": "no such name",
         "name server fails": "fails", "name of a computer without a broker": "good"}  # fmt: skip
ALERT = b"\x15\x03\x01\x00\x02\x02\x46"  # fatal: this version of TLS is not spoken
TLS = {
    "TLS: plain text": dripping(b"HTTP/1.1 400 Bad Request\r\n\r\n", 0),
    "TLS: closed at ClientHello": close,
    "TLS: RST at ClientHello": rst,
    "TLS: silent after ClientHello": silent,
    "TLS: version refused": ALERT,
    "TLS: record of 64 kB": b"\x16\x03\x03\xff\xff" + bytes(2000),
    "TLS: another authority": {"authority": "other"},
    "TLS: expired": {"begin": datetime.datetime(2020, 1, 1), "days": 9},
    "TLS: not valid yet": {"begin": datetime.datetime(2040, 1, 1)},
    "TLS: another name": {"hosts": ["elsewhere.example"]},
    "TLS: handshake dripped": {"drip_s": TLS_DRIP_S},
    "TLS: handshake damaged": {"damage": True},
    "TLS: RST in the handshake": {"rst_at": 700},
}


class Faults:
    """The servers of all faults that were started, on one thread of their own. A context manager."""

    def __init__(self, folder):
        self.folder = folder
        self.counts: dict[str, Count] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open = contextlib.ExitStack()
        self._authority = None

    def __enter__(self) -> "Faults":
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._open.close()

        async def leave():
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(leave(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def start(self, name: str) -> tuple[dict, dict]:
        """(section broker of the settings, environment) of a gateway that is to meet this fault."""
        count = self.counts[name] = Count()
        if name in NAMES:
            return self._with_name_server(NAMES[name], count)
        if name in TLS:
            return self._with_tls(TLS[name], count), {}
        if name == "nothing listens":
            return {"host": "127.0.0.1", "port": free_port()}, {}
        if name == "black hole":
            return {"host": "127.0.0.1", "port": self._black_hole()}, {}
        if name == "broker killed in a loop":
            return {"host": "127.0.0.1", "port": self._killed_in_a_loop(count)}, {}
        return {"host": "127.0.0.1", "port": self._listen(PLAIN[name].serve, count)}, {}

    def _listen(self, serve, count) -> int:
        """A server on a port of its own."""

        async def one(reader, writer):
            count.connections += 1
            with contextlib.suppress(Over, OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
                await serve(reader, writer, count)
            writer.close()

        async def begin():
            return (await asyncio.start_server(one, "127.0.0.1", 0)).sockets[0].getsockname()[1]

        return asyncio.run_coroutine_threadsafe(begin(), self._loop).result(60)

    def _black_hole(self) -> int:
        """A port whose queue of connections is full: what asks for one more hears nothing."""
        line = self._open.enter_context(socket.socket())
        line.bind(("127.0.0.1", 0))
        line.listen(0)
        for _ in range(4):
            full = self._open.enter_context(socket.socket())
            full.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                full.connect(line.getsockname())
        return line.getsockname()[1]

    def _killed_in_a_loop(self, count) -> int:
        """A real broker behind a relay that counts; it is killed every few seconds."""
        broker = Broker("mosquitto" if mosquitto_program() else "nats", self.folder / "killed")
        broker.start()
        over = threading.Event()

        def kill():
            while not over.wait(KILL_S):
                broker.kill()
                over.wait(KILL_S / 2)
                broker.start()

        worker = threading.Thread(target=kill, daemon=True)
        worker.start()
        self._open.callback(broker.stop)
        self._open.callback(worker.join, 60)
        self._open.callback(over.set)

        async def relay(reader, writer, count):
            try:
                behind, ahead = await asyncio.open_connection("127.0.0.1", broker.port)
            except OSError:
                reset(writer)
                return
            back = asyncio.create_task(_pass_on(behind, writer))
            try:
                while True:
                    kind, content = await packet(reader)
                    count.messages += kind == PUBLISH
                    ahead.write(_framed(kind, content))
            finally:
                back.cancel()
                ahead.close()

        return self._listen(relay, count)

    def _with_name_server(self, behaviour, count) -> tuple[dict, dict]:
        line = self._open.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        line.bind(("127.0.0.1", 0))

        def serve():
            while True:
                try:
                    asked, where = line.recvfrom(600)
                except OSError:
                    return
                count.messages += 1
                for answer in BEHAVIOURS[behaviour](asked):
                    line.sendto(answer, where)

        threading.Thread(target=serve, daemon=True).start()
        server = f"127.0.0.1:{line.getsockname()[1]}"
        return {"host": "broker.example", "port": 1883}, {"PARKGATE_DNS": server}

    def _with_tls(self, fault, count) -> dict:
        if self._authority is None:
            self._authority = Authority.at(self.folder / "ca"), Authority.at(self.folder / "other")
        ours, other = self._authority
        if isinstance(fault, dict):
            port = self._tls_server(dict(fault), ours, other, count)
        else:
            port = self._listen(_after_hello(fault), count)
        return {"host": "127.0.0.1", "port": port, "tls": "on", "ca": ours.setting}

    def _tls_server(self, fault, ours, other, count) -> int:
        """A server whose certificate is wrong, or whose words are changed on their way."""
        signer = other if fault.pop("authority", None) else ours
        change = {key: fault.pop(key) for key in ("drip_s", "damage", "rst_at") if key in fault}
        hosts = fault.pop("hosts", ["127.0.0.1"])
        folder = self.folder / f"tls-{len(self.counts)}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*signer.issue(folder, hosts, **fault))

        async def serve(reader, writer, _count):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_side=True)
            sent = 0
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
                    raise Over
                sent = await _changed(outgoing.read(), sent, writer, **change)
                data = await reader.read(4096)
                if not data:
                    raise Over
                incoming.write(data)

        return self._listen(serve, count)


def _after_hello(does):
    async def serve(reader, writer, _count):
        await reader.readexactly(5)
        if callable(does):
            await does(reader, writer)
        writer.write(does)
        await writer.drain()
        await silent(reader, writer)

    return serve


async def _changed(data, sent, writer, drip_s=0.0, damage=False, rst_at=0) -> int:
    """Send a piece of a handshake, changed as wanted; how much was sent in all."""
    if damage and sent == 0 and len(data) > 200:
        data = data[:150] + bytes([data[150] ^ 0x40]) + data[151:]
    if rst_at:
        writer.write(data[:rst_at])
        await writer.drain()
        reset(writer)
    if drip_s:
        for byte in data:
            if writer.transport.is_closing():
                raise Over
            writer.write(bytes([byte]))
            await asyncio.sleep(drip_s)
    else:
        writer.write(data)
        await writer.drain()
    return sent + len(data)


async def _pass_on(reader, writer) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    writer.close()


_FLAGS = {SUBSCRIBE: 2, PUBLISH: 2}  # a gateway publishes at QoS 1


def _framed(kind, content) -> bytes:
    length, head = len(content), bytearray([kind << 4 | _FLAGS.get(kind, 0)])
    while True:
        length, low = length >> 7, length & 127
        head.append(low | (128 if length else 0))
        if not length:
            return bytes(head) + content

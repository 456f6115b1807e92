"""Names to addresses by our own questions over UDP (RFC 1035): the port's own look-up stops every other task while it
waits, longer than a watchdog does.

A question goes to each name server in turn, again every second, until the deadline. Only an answer of the server that
was asked, with our number and our question in it, counts. The last good address of a name is kept: when no server
answers, or says that it fails, it is used. Names that end in `.local` are asked of everybody at once (RFC 6762, 5.1).
"""

import asyncio
import os
import socket
import time

from parkgate.errors import LinkError, NoAnswer

PORT, LOCAL = 53, ("224.0.0.251", 5353)
_AGAIN_MS = 1000
_LOOK_MS = 10
_KEPT = 8  # names
_SILENCE = "no name server answers"
_known = {}  # name → address


def question(host: str, mark: bytes) -> bytes:
    """The question for the IPv4 addresses of `host`; `mark` are two bytes. Raises LinkError."""
    out = bytearray(mark + b"\x01\x00\x00\x01" + bytes(6))
    for label in host.rstrip(".").split("."):
        data = label.encode()
        if not 0 < len(data) < 64:
            raise LinkError("%r is not a name of a computer" % host)
        out.append(len(data))
        out.extend(data)
    return bytes(out + b"\x00\x00\x01\x00\x01")


def answer(packet: bytes, asked: bytes):
    """The first address (text) in an answer to the question `asked`; None when it answers something else, or is cut
    short. Raises LinkError when the server says that there is none."""
    if len(packet) < len(asked) or packet[:2] != asked[:2] or not packet[2] & 0x80:
        return None
    if packet[4:6] == b"\x00\x01":
        if packet[12 : len(asked)].lower() != asked[12:].lower():
            return None
        at = len(asked)
    else:
        at = 12  # an answer of multicast repeats no question
    code = packet[3] & 15
    if code:
        raise LinkError("the name server says: %s" % ("there is no such name" if code == 3 else "error %d" % code))
    try:
        for _ in range(packet[6] << 8 | packet[7]):
            while packet[at]:
                if packet[at] & 0xC0:
                    at += 1
                    break
                at += 1 + packet[at]
            at += 1
            kind, size = packet[at] << 8 | packet[at + 1], packet[at + 8] << 8 | packet[at + 9]
            at += 10
            if kind == 1 and size == 4 and at + 4 <= len(packet):
                return "%d.%d.%d.%d" % tuple(packet[at : at + 4])
            at += size
    except IndexError:
        return None
    if packet[2] & 2:
        return None  # cut short
    raise LinkError("the name server knows no IPv4 address")


async def address(host: str, servers, timeout_ms: int) -> str:
    """The address of `host` as text, within `timeout_ms`. `servers` are addresses of name servers, each with a port
    behind a colon if it is not 53. Raises LinkError."""
    why = "no name server is known"
    asked = question(host, os.urandom(2))
    start = time.ticks_ms()
    if host.rstrip(".")[-6:] == ".local":
        servers = ("%s:%d" % LOCAL,)
    turn = 0
    while servers and time.ticks_diff(time.ticks_ms(), start) < timeout_ms:
        server = servers[turn % len(servers)]
        turn += 1
        left_ms = timeout_ms - time.ticks_diff(time.ticks_ms(), start)
        try:
            found = await _ask(server, asked, min(_AGAIN_MS, left_ms))
        except (LinkError, OSError) as e:
            why = str(e)
            if "no such name" in why or turn >= 2 * len(servers):
                break
            continue
        if found:
            if host not in _known and len(_known) >= _KEPT:
                _known.pop(next(iter(_known)))
            _known[host] = found
            return found
        why = _SILENCE
    if host in _known and "no such name" not in why:
        return _known[host]
    raise (NoAnswer if why == _SILENCE else LinkError)("no address for %s: %s" % (host, why))


async def is_silent(server: str, timeout_ms: int) -> bool:
    """Whether a name server, asked for anything, says nothing at all: then the network itself passes nothing."""
    try:
        return await _ask(server, question("parkgate.invalid", os.urandom(2)), timeout_ms) is None
    except LinkError:
        return False  # that there is no such name is an answer
    except OSError:
        return True


async def _ask(server, asked, timeout_ms):
    """The address, None when no answer comes in time. Raises LinkError, OSError."""
    host, _, port = server.partition(":")
    where = socket.getaddrinfo(host, int(port or PORT))[0][-1]  # digits: nothing is looked up
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        line.setblocking(False)
        if host != LOCAL[0]:
            line.connect(where)  # then only what this server sends arrives
            line.send(asked)
        else:
            line.sendto(asked, where)
        start = time.ticks_ms()
        while time.ticks_diff(time.ticks_ms(), start) < timeout_ms:
            await asyncio.sleep_ms(_LOOK_MS)
            try:
                packet = line.recv(512)
            except OSError as e:
                if e.errno != 11:  # EAGAIN: nothing there yet
                    raise
                continue
            found = answer(packet, asked) if packet else None
            if found:
                return found
        return None
    finally:
        line.close()

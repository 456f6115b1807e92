"""Wall time by SNTP (RFC 4330, RFC 5905 section 14), asked without stopping the other tasks."""

import asyncio
import os
import socket
import time

from parkgate.errors import LinkError

_PORT = 123
_LOOK_MS = 5
_UNIX_OFFSET_S = 2208988800  # from 1900 to 1970
_ERA_S = 1 << 32  # an era ends in 2036


def unix_ms_of(packet: bytes, sent: bytes) -> int:
    """The transmit time of a server's answer to the request with transmit field `sent`. Raises LinkError."""
    if len(packet) < 48 or packet[0] & 7 != 4:
        raise LinkError("NTP: not an answer of a server")
    if packet[24:32] != sent:
        raise LinkError("NTP: the answer to another question")
    if packet[0] >> 6 == 3 or not 1 <= packet[1] <= 15:
        raise LinkError("NTP: the server itself has no time")
    seconds = int.from_bytes(packet[40:44], "big")
    if not seconds >> 31:
        seconds += _ERA_S
    return (seconds - _UNIX_OFFSET_S) * 1000 + (int.from_bytes(packet[44:48], "big") * 1000 >> 32)


async def ask(host: str, timeout_ms: int):
    """(unix_ms, how many ms it took to hear) from one server. Raises LinkError. A name is looked up by a call that
    waits; give an address where that matters."""
    sent = os.urandom(8)  # no time of ours, only a mark to know the answer by
    try:
        address = socket.getaddrinfo(host, _PORT)[0][-1]
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as e:
        raise LinkError("NTP %s: %s" % (host, e))
    try:
        line.setblocking(False)
        begun = time.ticks_ms()
        line.sendto(b"\x23" + bytes(39) + sent, address)  # version 4, client
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            taken_ms = time.ticks_diff(time.ticks_ms(), begun)
            try:
                packet = line.recv(90)
            except OSError:  # nothing there yet
                packet = None
            if packet:
                return unix_ms_of(packet, sent) + taken_ms // 2, taken_ms
            if taken_ms > timeout_ms:
                raise LinkError("NTP %s: no answer within %d ms" % (host, timeout_ms))
    except OSError as e:
        raise LinkError("NTP %s: %s" % (host, e))
    finally:
        line.close()

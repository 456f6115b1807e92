"""Wall time by SNTP (RFC 5905 section 14), asked without stopping the other tasks, and judged before it is believed."""

import asyncio
import os
import socket
import time

from parkgate.errors import LinkError

_PORT = 123
_LOOK_MS = 5
_UNIX_OFFSET_S = 2208988800  # from 1900 to 1970
_ERA_S = 1 << 32  # an era ends in 2036
_DISTANCE_MS_MAX = 1500  # RFC 5905 MAXDIST: a server further from its clock is none
SERVERS_MAX = 5
CLOCK_MS = 20  # of a server itself, whatever it says


def unix_ms_of(packet: bytes, sent: bytes):
    """(transmit time, how far off it may be), in ms, of a server's answer to the request with transmit field `sent`;
    None for a packet that is no answer to it: it may be anybody's. Raises LinkError for an answer that is no use."""
    if len(packet) < 48 or packet[0] & 7 != 4 or packet[24:32] != sent:
        return None
    if packet[0] >> 6 == 3 or not 1 <= packet[1] <= 15:
        raise LinkError("NTP: the server itself has no time")
    if not any(packet[32:40]) or not any(packet[40:48]):
        raise LinkError("NTP: the server says no time")
    # Root delay and dispersion are seconds in 16.16 bits.
    delay, dispersion = [int.from_bytes(packet[at : at + 4], "big") * 1000 >> 16 for at in (4, 8)]
    distance_ms = delay // 2 + dispersion
    if distance_ms > _DISTANCE_MS_MAX:
        raise LinkError("NTP: the server is %d ms off by its own word" % distance_ms)
    seconds = int.from_bytes(packet[40:44], "big")
    if not seconds >> 31:
        seconds += _ERA_S
    unix_ms = (seconds - _UNIX_OFFSET_S) * 1000 + (int.from_bytes(packet[44:48], "big") * 1000 >> 32)
    return unix_ms, CLOCK_MS + distance_ms


def choose(found: list):
    """Of what servers said of one moment, [(unix_ms, error_ms), …], the best of those that most agree with. Raises
    LinkError when there is nothing, or fewer than more than half agree."""
    best = None
    for unix_ms, error_ms in found:
        agree = len([1 for other, its in found if abs(other - unix_ms) <= error_ms + its])
        if best is None or (agree, -error_ms) > best[0]:
            best = (agree, -error_ms), (unix_ms, error_ms)
    if best is None:
        raise LinkError("NTP: no server answers")
    if 2 * best[0][0] <= len(found):
        raise LinkError("NTP: the servers disagree")
    return best[1]


async def ask(address: str, timeout_ms: int):
    """(unix_ms now, how far off it may be) from one server, by its address in digits. Raises LinkError."""
    sent = os.urandom(8)  # no time of ours, only a mark to know the answer by
    try:
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as e:
        raise LinkError("NTP %s: %s" % (address, e))
    try:
        line.setblocking(False)
        begun = time.ticks_ms()
        line.sendto(b"\x23" + bytes(39) + sent, socket.getaddrinfo(address, _PORT)[0][-1])  # version 4, client
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            taken_ms = time.ticks_diff(time.ticks_ms(), begun)
            try:
                packet = line.recv(90)
            except OSError:  # nothing there yet
                packet = None
            found = unix_ms_of(packet, sent) if packet else None
            if found:
                return found[0] + taken_ms // 2, found[1] + taken_ms // 2
            if taken_ms > timeout_ms:
                raise LinkError("NTP %s: no answer within %d ms" % (address, timeout_ms))
    except OSError as e:
        raise LinkError("NTP %s: %s" % (address, e))
    finally:
        line.close()

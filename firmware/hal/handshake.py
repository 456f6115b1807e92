"""The handshake of TLS, step by step: loaded for each connection and forgotten again.

It takes an RP2040 a whole second or two: the signature of the certificate, that of the key exchange, and the exchange
itself, which alone is half a second. mbedTLS goes on in one call for as long as it has bytes. So it gets one message
at a time, and before each that costs so much the caller is asked to wait for a pause of its buses.
"""

import asyncio
import gc
import time

from parkgate.errors import TlsError

_CHANGE_CIPHER, _HANDSHAKE, _APPLICATION = 20, 22, 23  # types of records
_COSTLY = (11, 12, 14)  # messages of a handshake: Certificate, ServerKeyExchange, ServerHelloDone


def begin(memory, host, ca):
    """TLS of MicroPython's own over `memory`. Raises TlsError, MemoryError."""
    import tls

    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    try:
        context.load_verify_locations(ca)
    except (OSError, ValueError) as e:
        raise TlsError("broker.ca is not a certificate in DER: %s" % e) from None
    return context.wrap_socket(memory, server_hostname=host, do_handshake_on_connect=False)


async def shake_hands(secured, timeout_ms, pause):
    """Do the handshake of a net.TlsStream; the broker may take `timeout_ms` for each record. Raises TlsError,
    asyncio.TimeoutError."""
    changed = over = False
    await _step(secured, b"", False)
    while not over:
        try:
            record = await asyncio.wait_for_ms(_record(secured.stream), timeout_ms)
        except (OSError, EOFError) as e:
            raise secured.error(e) from None
        over = changed
        changed = changed or record[0] == _CHANGE_CIPHER
        for message in (record,) if changed else messages(record):
            costly = message[0] == _HANDSHAKE and not changed and message[5] in _COSTLY  # later ones are encrypted
            if costly and pause:
                await pause()
            await _step(secured, message, costly)


async def _record(stream):
    head = await stream.readexactly(5)
    if not _CHANGE_CIPHER <= head[0] <= _APPLICATION or head[1] != 3:
        return head  # no TLS at all: mbedTLS will say so
    return head + await stream.readexactly(head[3] << 8 | head[4])


async def _step(secured, data, costly):
    """Let the handshake go as far as `data` leads."""
    memory = secured.memory
    memory.rx = memoryview(data)
    threshold = gc.threshold()
    if costly:
        gc.collect()  # mbedTLS takes and gives back a thousand small pieces: quickest where the heap begins, and
        gc.threshold(-1)  # there is nothing to collect in between
    try:
        secured.tls.readinto(bytearray(1))
    except (OSError, ValueError) as e:
        secured.stream.write(memory.tx)  # the alert that tells the broker why
        raise secured.error(e) from None
    finally:
        gc.threshold(threshold)
    await secured.drain()


def messages(record):
    """A record that is not encrypted, as one record for each message of the handshake in it."""
    at = 5
    found = []
    while record[0] == _HANDSHAKE and at + 4 <= len(record):
        size = 4 + (record[at + 1] << 16 | record[at + 2] << 8 | record[at + 3])
        if at + size > len(record):
            break
        found.append(record[:3] + bytes((size >> 8, size & 255)) + record[at : at + size])
        at += size
    return found if at == len(record) and found else (record,)


def in_words(error, host, port):
    """What an error of the handshake means."""
    text = str(error)
    if "starts in the future" in text:
        why = "the broker's certificate is not valid yet by this gateway's clock (%s): set network.ntp, or type "
        return (why + "`time set`") % _today()
    if "has expired" in text:
        return "the broker's certificate has expired, by this gateway's clock (%s)" % _today()
    if "Common Name" in text:
        return "the broker's certificate is not for the name %s (broker.host)" % host
    if "not correctly signed" in text:
        return "the broker's certificate does not come from broker.ca"
    if "ECONNREFUSED" in text:
        return "%s:%d refuses the connection: nothing listens there" % (host, port)
    if isinstance(error, ValueError):
        return text.strip()
    return "%s:%d ends the handshake; does it talk TLS? (%s)" % (host, port, text or "closed")


def _today():
    return "%d-%02d-%02d" % time.gmtime()[:3]

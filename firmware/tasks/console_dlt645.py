"""The console's `meters scan` on a bus of DL/T 645 meters."""

from parkgate.errors import Dlt645Refusal, ModbusError, ModbusTimeout
from parkgate.meters.dlt645.frame import ANY, READ, READ_ADDRESS, identifier_bytes, text_of

_TRIES = ((READ_ADDRESS, "", 6), (READ, "00010000", 4))


async def scan(bus, say):
    """Ask everybody for the address. One meter alone answers; where several do, a search by pairs takes minutes and is
    left to the host."""
    client = bus.client
    known = list(client.units)
    heard, crowded = set(), False
    client.collect(heard)
    try:
        for function, identifier, content in _TRIES:
            try:
                await bus.exchange(ANY, function, identifier_bytes(identifier) if identifier else b"", content)
            except (Dlt645Refusal, ModbusTimeout):
                pass
            except ModbusError:
                crowded = True
    finally:
        client.collect(None)
        for unit_id in list(client.units):
            if unit_id not in known:
                client.units.pop(unit_id, None)
    for address in sorted(heard):
        await say("meter %s answers" % text_of(address))
    if crowded or len(heard) > 1:
        await say("several meters answer at once; `parkgate meters scan --protocol dlt645` at a computer finds each")
    elif not heard:
        await say("no meter answers: check A and B, baud (2400 or 9600) and parity (E)")
    await say("%d meters answered" % len(heard))

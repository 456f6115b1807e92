"""The gateway as a witness of the hub's log (SPEC 13.6): loaded for one message of the log, and forgotten after it."""

from gateway.loaded import drop
from gateway.waiting import in_steps, until_quiet
from parkgate import events
from parkgate.errors import FormatError
from parkgate.log.witness import INTRODUCTION_TYPE, Witness
from parkgate.wire import cose
from parkgate.wire.p256 import verify_steps

FILE = "witness"


async def take(message, files, hub, gateway_id, note, buses, log):
    """Verify what the hub says of its log; on flash first, then as an event in the chain. Raises FormatError,
    IntegrityError, JournalError; then nothing was claimed."""
    try:
        witness = Witness(files.read(FILE))
    except FormatError as e:
        log.error("witness", "%s; starting again" % e)
        witness = Witness()
    if message[:1] == b"\xd1":
        payload = hub.open_message(message, INTRODUCTION_TYPE)
        new = await in_steps(witness.introduced_steps(payload, gateway_id, cose.thumbprint, verify_steps))
    else:
        new = await in_steps(witness.accept_steps(message, cose.thumbprint, verify_steps))
    if new:
        await until_quiet(buses)
        files.write(FILE, witness.encode())
        note([events.CHECKPOINT_HELD, witness.size, witness.root])
        log.info("witness", "verified the hub's log up to %d entries" % witness.size)


def forget():
    """Give the memory back until the next message."""
    drop(("parkgate.log.witness", "parkgate.log.receipt", "parkgate.log.tree", "tasks.witness"))

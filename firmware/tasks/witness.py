"""What the hub says of its log (SPEC 13.6) and of its key (3.7): loaded for one message, and forgotten after it."""

from gateway.loaded import drop
from gateway.waiting import in_steps, until_quiet
from parkgate import events
from parkgate.errors import FormatError
from parkgate.log.witness import INTRODUCTION_TYPE, Witness
from parkgate.wire import cose
from parkgate.wire.p256 import on_curve, verify_steps

FILE = "witness"


async def take(message, gateway):
    """Verify what the hub says of its log; on flash first, then as an event in the chain. A root document goes its own
    way. `gateway` is the App. Raises FormatError, IntegrityError, JournalError; then nothing was claimed."""
    if message[:1] == b"\xd8":
        await _take_root(message, gateway)
        return
    files, log = gateway.board.files, gateway.log
    try:
        witness = Witness(files.read(FILE))
    except FormatError as e:
        log.error("witness", "%s; starting again" % e)
        witness = Witness()
    if message[:1] == b"\xd1":
        payload = gateway.hub.open_message(message, INTRODUCTION_TYPE)
        new = await in_steps(witness.introduced_steps(payload, gateway.gateway_id, cose.thumbprint, verify_steps))
    else:
        new = await in_steps(witness.accept_steps(message, cose.thumbprint, verify_steps))
    if new:
        await until_quiet(gateway.sampling)
        files.write(FILE, witness.encode())
        gateway.note([events.CHECKPOINT_HELD, witness.size, witness.root])
        log.info("witness", "verified the hub's log up to %d entries" % witness.size)


async def _take_root(message, gateway):
    """The park's root names the hub's key: into the settings first, then as an event, once a start."""
    from parkgate.log import root
    from parkgate.settings.slots import Slots

    settings = dict(gateway.settings)
    hub = settings["hub"] = dict(settings["hub"])
    known = hub["root_serial"]
    serial, key = await in_steps(root.take_steps(message, settings, verify_steps, on_curve))
    is_new = serial != known
    if is_new:
        slots = Slots(gateway.board.files, dict)  # they were checked when they were taken into use
        slots.load(None, False)
        await until_quiet(gateway.sampling)
        slots.commit(settings)
        slots.discard()  # what a person prepared has the key before in it
    if is_new or gateway.hub.root_told != serial:
        gateway.note([events.HUB_KEY_TAKEN, serial, cose.thumbprint(key)])
        gateway.hub.root_told = serial
    if is_new:
        gateway.log.info("hub", "root document %d names its key; restarting with it" % serial)
        gateway.restart()


def forget():
    """Give the memory back until the next message."""
    drop(("parkgate.log.witness", "parkgate.log.receipt", "parkgate.log.tree", "parkgate.log.root", "tasks.witness"))
    drop(("parkgate.settings.slots",))

"""What the samples mean that are not sealed yet: settings id and schema under which they were taken. Loaded when
it is wanted."""

from parkgate.errors import FormatError
from parkgate.events import SETTINGS
from parkgate.settings import kept_twice
from parkgate.wire import batch, cbor

TAKEN_UNDER = "taken.under"


def taken_under(files):
    """[settings id, schema] of the samples that may still be unsealed, None when nothing was ever sampled here. Raises
    FormatError when what is there cannot be read."""
    data = kept_twice.read(files, TAKEN_UNDER)
    if data is None:
        return None
    try:
        found = cbor.decode(data[4:-4] if data else files.read(TAKEN_UNDER))  # an older firmware's has no check
        batch.decode_schema(found[1])
        return found
    except (FormatError, TypeError, IndexError):
        why = "%s is damaged: samples from before this start are read by the settings of now" % TAKEN_UNDER
        raise FormatError(why) from None


def keep(files, meaning: list):
    """Make it durable."""
    kept_twice.write(files, TAKEN_UNDER, kept_twice.sealed(b"PGT1", cbor.encode(meaning)))


async def settle(gateway) -> bool:
    """Samples left from before a change of settings mean what the old schema says: seal them under it first. False
    when that cannot be done; then nothing may be sampled, for nobody could tell these from those. `gateway` is the
    App."""
    files, now = gateway.board.files, [gateway.settings_id, gateway.schema]
    try:
        before = taken_under(files)
    except FormatError as e:
        before = None
        gateway.log.error("settings", str(e))
        gateway.note([SETTINGS, gateway.settings_id, str(e)])
    if before == now:
        return True
    if before:
        if not gateway.can_sign and gateway.journal.unsealed_readings:
            gateway.log.error("settings", "nothing is sampled: older samples cannot be sealed without the key")
            return False
        await gateway.make_sealer(*before).seal_older_boots()
    keep(files, now)
    return True

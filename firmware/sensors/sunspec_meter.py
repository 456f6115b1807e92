"""A SunSpec meter: its model is looked for before the first sample (SPEC 11.3)."""

from parkgate.errors import ModbusError, ModbusExceptionReply, ProfileError
from parkgate.meters.profile.sunspec import Discovery
from parkgate.reading import NOT_CONFIGURED, TIMEOUT

from .modbus_meter import ModbusMeter


def load_plans(document, profile, item):
    """(model → plan, words of the schema) of a profile with `sunspec`; `profile` is its plain one, `item` the entry of
    the settings. Raises ProfileError."""
    from parkgate.meters import profiles

    by_variant = {"": profile}
    words = profile.words()
    for variant in sorted(set(document["sunspec"].values())):
        if variant:
            name = "%s+%s" % (profile.name, variant)
            made = profiles.load(document, name, item["channels"], item["ct_ratio"], item["vt_ratio"])
            if made.schema() != profile.schema():
                raise ProfileError("%s: its channels differ from those of %s" % (name, profile.name))
            by_variant[variant] = made
            words += ", +%s %s" % (variant, made.content_id)
    return {model: by_variant[variant].plan for model, variant in document["sunspec"].items()}, words


class SunSpecMeter(ModbusMeter):
    """`plans`: number of a model as text → its plan, whose addresses count from the model's first register. All have
    the same channels."""

    def __init__(self, name, unit_id, period_ms, plans, bus, unit=None):
        ModbusMeter.__init__(self, name, unit_id, period_ms, plans[sorted(plans)[0]], bus, unit)
        self._plans = plans
        self._discovery = None

    async def read(self):
        """As ModbusMeter.read; without a value until the meter's model is found."""
        if self._plans and not await self._discover():
            missing = TIMEOUT if self._discovery else NOT_CONFIGURED
            return [None] * self.channels, bytearray([missing] * self.channels)
        return await ModbusMeter.read(self)

    async def _discover(self):
        """Whether the model is known now. A walk that silence breaks off goes on with the next sample."""
        assert self._plans is not None
        discovery = self._discovery = self._discovery or Discovery(self._plans)
        while True:
            request = discovery.request()
            if not request:
                break
            try:
                reply = await self._bus.exchange(self._unit_id, *request)
                discovery.take(reply.data)
            except ModbusExceptionReply:
                discovery.take(None)
            except ModbusError:
                return False
        if discovery.found is None:
            self._discovery = None  # said as not configured; looked for again with the next sample
            return False
        number, address = discovery.found
        self._plan = self._plans[str(number)]
        self._plan.move(address)
        self._plans = self._discovery = None
        return True

"""A SunSpec meter from its chain of models to its readings."""

from check import equal, true
from parkgate.errors import ModbusExceptionReply, ModbusTimeout
from parkgate.meters import profiles
from parkgate.reading import NOT_CONFIGURED, TIMEOUT
from sensor_fakes import run
from sensors.sunspec_meter import SunSpecMeter, load_plans
from test_sunspec import chain

DOCUMENT = {
    "meter": "m", "manual": "m", "sources": ["s"], "licences": ["l"], "function": 3, "order": "ABCD",
    "sunspec": {"203": "", "213": "float"}, "usual": ["active_power"],
    "auxiliary": [["w_sf", 22, "int16", 0, "1", "W_SF"]],
    "registers": [["active_power", 18, "int16", 0, "W", "W", {"power_of_ten": "w_sf"}]],
    "variants": {"float": {"why": "floats", "registers": [["active_power", 28, "float32", 0, "W", "W"]]}},
}  # fmt: skip
ITEM = {"channels": [], "ct_ratio": "", "vt_ratio": ""}


class Reply:
    again = False

    def __init__(self, data):
        self.data = data


class Bus:
    """A meter that holds `held` and refuses the rest; `silent` answers nothing."""

    def __init__(self, held):
        self.held = held
        self.silent = False

    async def exchange(self, _unit, _function, address, count):
        if self.silent:
            raise ModbusTimeout("no answer")
        if any([a not in self.held for a in range(address, address + count)]):
            raise ModbusExceptionReply(2)
        return Reply(b"".join([self.held[a].to_bytes(2, "big") for a in range(address, address + count)]))

    async def confirm(self, *_):
        return True


def meter(held):
    profile = profiles.load(DOCUMENT, "sunspec")
    plans, words = load_plans(DOCUMENT, profile, ITEM)
    true(", +float " in words, words)
    bus = Bus(held)
    return SunSpecMeter("m", 1, 1000, plans, bus), bus


def test_integers_with_a_scale_factor_and_floats():
    held = chain(40000, (1, 66), (203, 105))
    held[40070 + 18], held[40070 + 22] = 1234, 1
    made, _ = meter(held)
    equal(run(made.read()), ([123400], None))
    held = chain(0, (213, 124), (0xFFFF, 0))
    held[2 + 28], held[2 + 29] = 0x449A, 0x4000
    made, _ = meter(held)
    equal(run(made.read()), ([12340], None))


def test_nothing_is_read_before_the_model_is_known():
    held = chain(50000, (203, 105))
    held[50002 + 18], held[50002 + 22] = 5, 0
    made, bus = meter(held)
    bus.silent = True
    equal([list(part) for part in run(made.read())], [[None], [TIMEOUT]])
    bus.silent = False
    equal(run(made.read()), ([50], None))
    made, bus = meter(chain(40000, (103, 50), (0xFFFF, 0)))
    equal([list(part) for part in run(made.read())], [[None], [NOT_CONFIGURED]])

"""Reading across silence: what a meter leaves unanswered costs little, hides nothing else, and is learnt."""

from check import equal, true
from parkgate.errors import ModbusCrcError, ModbusExceptionReply, ModbusOwed, ModbusTimeout
from parkgate.meters.modbus.debts import Unit
from parkgate.meters.read_plan import ReadPlan
from parkgate.meters.registers import layout
from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, TIMEOUT
from sensor_fakes import run
from sensors.modbus_meter import ModbusMeter

UINT16 = layout("uint16", function=4)


class Reply:
    function = 4

    def __init__(self, data, address, count, again):
        self.data, self.address, self.count, self.again = data, address, count, again


class Bus:
    """A meter whose registers hold their address; `silent(address, count)` and `refused` say what it leaves out."""

    def __init__(self, silent=None, refused=None):
        self.silent = silent or (lambda address, count: False)
        self.refused = refused or (lambda address, count: False)
        self.asked = []
        self.confirmed = 0
        self.unit = Unit(300000)
        self.copy_at = None
        self.again = ()  # addresses whose answer has the bytes of an earlier one

    async def exchange(self, _unit_id, _function, address, count):
        self.asked.append((address, count))
        statistics = self.unit.statistics
        statistics.requests += 1
        if self.copy_at == address:
            self.unit.doubles += 1
        error = self.silent(address, count)
        if error:
            raise error if isinstance(error, Exception) else ModbusTimeout("no answer")
        if self.refused(address, count):
            statistics.refused += 1
            raise ModbusExceptionReply(2)
        statistics.ok += 1
        data = b"".join([bytes((i >> 8, i & 255)) for i in range(address, address + count)])
        return Reply(data, address, count, address in self.again)

    async def confirm(self, _doubtful, _period_ms):
        self.confirmed += 1
        return True


def meter(bus, addresses, registers_max=125, gap_max=0):
    plan = ReadPlan([(address, UINT16, 0) for address in addresses], registers_max, gap_max)
    return ModbusMeter("m", 1, 1000, plan, bus, bus.unit)


def sample(made, bus):
    """(values, qualities, exchanges) of one sample."""
    before = len(bus.asked)
    values, qualities = run(made.read())
    return values, list(qualities) if qualities else [GOOD] * len(values), len(bus.asked) - before


def test_a_read_that_is_too_large_for_the_meter_is_split_and_that_is_learnt():
    bus = Bus(lambda address, count: count > 60)
    addresses = list(range(76))
    made = meter(bus, addresses)
    equal(sample(made, bus)[1:], ([TIMEOUT] * 76, 2), "one silence, and a small read to see that it is there")
    values, qualities, _ = sample(made, bus)
    equal((values, qualities), (addresses, [GOOD] * 76))
    equal(sample(made, bus)[2], 2, "two blocks from now on")
    equal(dict(made.silence.lines())["largest read answered"], 38)
    equal(dict(made.silence.lines())["smallest read left unanswered"], 76)


def test_it_is_split_at_its_widest_gap():
    bus = Bus(lambda address, count: count > 60)
    made = meter(bus, list(range(10)) + list(range(30, 80)), gap_max=20)
    sample(made, bus)
    sample(made, bus)
    equal([(b.address, b.count) for b in made._plan.blocks], [(0, 10), (30, 50)])


def test_one_lost_reply_splits_nothing():
    lost = [True]
    bus = Bus(lambda address, count: count == 30 and lost.pop() if lost else False)
    made = meter(bus, list(range(30)) + [100])
    for _ in range(3):
        sample(made, bus)
    equal(len(made._plan.blocks), 2)


def test_a_silent_block_hides_no_other():
    bus = Bus(lambda address, count: address < 10 and count > 1)
    made = meter(bus, [0, 1, 50, 51, 100, 101])
    values, qualities, _ = sample(made, bus)
    equal(qualities, [TIMEOUT] * 2 + [GOOD] * 4)
    equal(values[2:], [50, 51, 100, 101])
    sample(made, bus)
    equal(sample(made, bus)[1], [GOOD] * 6)


def test_a_value_that_stays_silent_is_asked_for_seldom():
    bus = Bus(lambda address, count: address <= 5 < address + count)
    made = meter(bus, list(range(10)))
    for _ in range(40):
        sample(made, bus)
    qualities = sample(made, bus)[1]
    equal(qualities, [GOOD] * 5 + [TIMEOUT] + [GOOD] * 4)
    before = len([1 for a in bus.asked if a == (5, 1)])
    for _ in range(64):
        sample(made, bus)
    true(1 <= len([1 for a in bus.asked if a == (5, 1)]) - before <= 3)


def test_a_dead_meter_costs_one_reply_time_out_a_sample_and_two_when_it_dies():
    dead = [False]
    bus = Bus(lambda address, count: dead[0])
    made = meter(bus, list(range(40)) + list(range(50, 90)) + [100, 110])
    equal(sample(made, bus)[1], [GOOD] * 82)
    dead[0] = True
    equal([sample(made, bus)[2] for _ in range(4)], [2, 1, 1, 1])
    dead[0] = False
    equal(sample(made, bus)[1:], ([GOOD] * 82, 5))
    # A meter of single values is asked for the first of them.
    made = meter(bus, [0, 10, 20])
    dead[0] = True
    equal([sample(made, bus)[2] for _ in range(3)], [2, 1, 1])


def test_what_a_restart_forgets_costs_a_bounded_number_of_samples():
    """The figures of DESIGN 7: samples of 125 registers that lack something until it is learnt again."""
    for largest, samples in ((60, 2), (40, 2), (10, 7), (1, 45)):
        bus = Bus(lambda address, count, largest=largest: count > largest)
        made = meter(bus, list(range(125)))
        lost = []
        for _ in range(60):
            bus.asked = []  # thousands would need one large piece of the heap
            lost.append(any(sample(made, bus)[1]))
        equal((sum(lost), any(lost[samples:])), (samples, False), str(largest))


def test_what_is_not_asked_is_no_silence_of_the_meter():
    bus = Bus(lambda address, count: ModbusOwed("not asked") if count == 20 else False)
    made = meter(bus, list(range(20)) + [50])
    for _ in range(5):
        equal(sample(made, bus)[1], [TIMEOUT] * 20 + [GOOD])
    equal(len(made._plan.blocks), 2)


def test_a_damaged_block_hides_no_other_and_a_bad_line_ends_the_sample():
    bus = Bus(lambda address, count: ModbusCrcError("damaged") if address == 0 else False)
    made = meter(bus, [0, 10, 20])
    equal(sample(made, bus)[1], [BAD_REPLY, GOOD, GOOD])
    bus.silent = lambda address, count: ModbusCrcError("damaged")
    made = meter(bus, [0, 10, 20, 30, 40, 50])
    equal(sample(made, bus)[1:], ([BAD_REPLY] * 6, 3))


def test_a_meter_that_leaves_out_the_first_value_of_everything_is_read_all_the_same():
    bus = Bus(lambda address, count: address <= 0 or address <= 20 < address + count)
    made = meter(bus, list(range(10)) + list(range(20, 30)))
    for _ in range(40):
        sample(made, bus)
    qualities = sample(made, bus)[1]
    equal(qualities, [TIMEOUT] + [GOOD] * 9 + [TIMEOUT] + [GOOD] * 9)


def test_refusal_and_silence_do_not_mix():
    bus = Bus(lambda address, count: count > 60, lambda address, count: address <= 70 < address + count)
    made = meter(bus, list(range(76)))
    for _ in range(2):
        sample(made, bus)
    qualities = sample(made, bus)[1]
    equal(qualities, [GOOD] * 70 + [NOT_CONFIGURED] + [GOOD] * 5)


def test_a_reply_that_nobody_asked_for_spoils_the_sample():
    bus = Bus()
    made = meter(bus, [0, 1, 10, 11])
    equal(sample(made, bus)[1], [GOOD] * 4)
    bus.copy_at = 10
    equal(sample(made, bus)[:2], ([None] * 4, [BAD_REPLY] * 4))


def test_an_answer_with_the_bytes_of_an_earlier_one_must_be_confirmed():
    bus = Bus()
    made = meter(bus, [0, 1, 10, 11, 20])
    equal((sample(made, bus)[1], bus.confirmed), ([GOOD] * 5, 0), "answers that differ are no copies")
    bus.again = (10,)
    equal((sample(made, bus)[1], bus.confirmed), ([GOOD] * 5, 1), "a read of another shape shows a copy")
    bus.silent = lambda address, count: address == 20
    equal(sample(made, bus)[1], [BAD_REPLY] * 5, "what was not answered may have destroyed the true reply")
    bus.silent = lambda address, count: ModbusCrcError("damaged") if address == 20 else False
    equal(sample(made, bus)[1], [BAD_REPLY] * 5, "and so may what came damaged")
    bus.again = ()
    equal(sample(made, bus)[1], [GOOD] * 4 + [BAD_REPLY])

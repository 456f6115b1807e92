"""Pulses, contacts and machine time: wraps, bounces, glitches, edges to the millisecond."""

from check import equal, raises, true
from parkgate.errors import SettingsError
from parkgate.reading import COUNTER_GLITCH, GOOD
from parkgate.sensing.debounce import Debounce
from parkgate.sensing.machine_state import ALARM, IDLE, OFF, RUN, MachineTime, state_of
from parkgate.sensing.pulses import PulseTotal, scaled
from parkgate.settings.schema import validate
from sensor_fakes import Dice, FakeCounter, FakePin, World, run
from sensors.edges import EdgeCounter, Edges
from sensors.machine_inputs import MachineInputs
from sensors.pulse_input import PulseInput


def test_a_total_passes_the_end_of_its_counter():
    total = PulseTotal(1 << 16, 100)
    raw = 0
    for i in range(3000):
        raw = (raw + 50) % (1 << 16)
        equal(total.take(raw, 1000 * i), GOOD)
    equal(total.total, 150000)


def test_more_pulses_than_can_be_are_flagged_and_counted():
    total = PulseTotal(1 << 16, 16)
    equal(total.take(500, 0), GOOD, "what came before the first read, whenever the board started")
    equal(total.take(516, 1000), GOOD)
    equal(total.take(1516, 2000), COUNTER_GLITCH)
    equal(total.take(1520, 3000), GOOD)
    equal(total.total, 1520)


def test_a_restart_goes_on_from_the_last_total():
    total = PulseTotal(256)
    total.restore(10**12)
    total.take(5, 0)
    equal(total.total, 10**12 + 5)


def test_what_pulses_stand_for_is_exact_for_ever():
    equal(scaled(800, 1000, 800), 1000)
    equal([scaled(n, 1000, 3000) for n in (1, 2, 3, 3 * 10**9)], [0, 0, 1, 10**9])


def test_a_pulse_input_gives_both_and_never_waits():
    world = World()
    pulses = PulseInput(
        "s0", 1000, FakeCounter(lambda t: 2.5 * t, world.now_us, 64), world.mono_ms, 16,
        "import_active_energy", 0, 1000, 800, 7000,
    )  # fmt: skip
    equal(pulses.schema(), [["pulse_count", "1", 0], ["import_active_energy", "Wh", 0]])
    pulses.restore({"pulse_count": 1000}, None)
    equal(run(pulses.read()), ([1002, 7000 + 1252], None))
    values = None
    for _ in range(100):
        world.to(world.us + 10000000)
        values, qualities = run(pulses.read())
        equal(qualities, None)
    equal(values[0], 1000 + int(2.5 * 1001))
    equal(world.slept_ms, 0)


def bounce(world, pin, dice, at_us, level):
    """Bounces for up to 3 ms, then rests at `level`."""
    t = at_us
    for _ in range(2 * dice.below(4)):
        t += 50 + dice.below(350)
        world.at(t, lambda: pin.set(1 - pin.value()))
    world.at(at_us, lambda: pin.set(level))
    world.at(t + 100, lambda: pin.set(level))


def test_a_bouncing_contact_counts_once():
    world, pin, dice = World(), FakePin(), Dice(7)
    counter = EdgeCounter(pin, world.ticks_us, 5000)
    equal(counter.value(), 0)
    for _ in range(400):
        began = world.us
        bounce(world, pin, dice, began, 1)
        bounce(world, pin, dice, began + 30000, 0)
        while world.us < began + 80000:
            world.to(world.us + 1000 + dice.below(20000))
            counter.value()
    equal(counter.value(), 400)


def test_spikes_are_no_pulses_and_polls_do_not_matter():
    world, pin = World(), FakePin()
    counter = EdgeCounter(pin, world.ticks_us, 5000)
    counter.value()
    for _ in range(1000):
        world.to(world.us + 20000)
        pin.set(1)
        world.to(world.us + 4000)
        pin.set(0)
    world.to(world.us + 20000)
    equal(counter.value(), 0)
    for _ in range(100):
        pin.set(1)
        world.to(world.us + 30000)
        pin.set(0)
        world.to(world.us + 30000)
    equal(counter.value(), 100, "nobody asked in between")


def played(steps, debounce_us, looks_us=7000):
    """What an EdgeCounter counts of a contact that stands at each level of `steps` (ms, level) for its time."""
    world, pin = World(), FakePin()
    counter = EdgeCounter(pin, world.ticks_us, debounce_us)
    counter.value()
    at = world.us + 50000
    for ms, level in steps:
        world.at(at, lambda level=level: pin.set(level))
        at += int(ms * 1000)
    while world.us < at + 100000:
        world.to(world.us + looks_us)
        if looks_us < 1000000:
            counter.value()
    return counter.value()


# Issue arendst/Tasmota 7488: bounces of up to 18 ms; pulses are 30 ms or more (EN 62053-31).
BOUNCING = (
    ("after the pulse", [(40, 1), (15, 0), (18, 1), (60, 0)]),
    ("alone", [(40, 1), (40, 0), (18, 1), (40, 0), (30, 1), (60, 0)]),
    ("before the pulse", [(3, 1), (18, 0), (30, 1), (60, 0)]),
    ("within the pulse", [(20, 1), (18, 0), (30, 1), (60, 0)]),
    ("most of the shortest pulse", [(2, 1), (4, 0), (3, 1), (5, 0), (2, 1), (2, 0), (12, 1), (60, 0)]),
    ("most of the shortest pause", [(30, 1), (2, 0), (4, 1), (3, 0), (5, 1), (2, 0), (2, 1), (12, 0)]),
)


def test_w12_bounces_of_18_ms_are_no_pulses():
    for name, steps in BOUNCING:
        pulses = 2 if name == "alone" else 1
        for looks_us in (1000, 7000, 10000000):
            equal(played(steps * 3 + [(60, 0)], 20000, looks_us), 3 * pulses, "%s, look every %d" % (name, looks_us))
    # With the 5 ms that were the default before, the same contact counted more.
    true(played(BOUNCING[0][1] * 3, 5000) > 3)


def test_any_bounce_of_18_ms_in_the_shortest_pulses_counts_once():
    dice = Dice(11)
    for trial in range(200):
        steps = []
        for level in (1, 0) * 3:
            left = 18
            at = level
            while left > 0:
                ms = 1 + dice.below(min(left, 8))
                steps.append((ms, at))
                left -= ms
                at = 1 - at
            steps.append((12 + dice.below(3) * 20, level))
        equal(played(steps + [(60, 0)], 20000, 3000 + dice.below(40000)), 3, "trial %d: %s" % (trial, steps))


def test_the_settings_follow_the_length_of_a_pulse():
    def debounce_us(**given):
        entry = dict(name="s0", family="pulses", port="s0", options=given)
        return validate({"sensors": [entry]})["sensors"][0]["options"]["debounce_us"]

    equal(debounce_us(), 20000)
    equal(debounce_us(pulse_min_us=90000, rate_max_hz=5), 60000)
    equal(debounce_us(rate_max_hz=100), 3333, "100 pulses a second are 5 ms long")
    equal(debounce_us(debounce_us=5000), 5000)
    text = str(raises(SettingsError, lambda: debounce_us(pulse_min_us=100000)))
    true("100000 us each cannot come 16 times a second" in text, text)


def test_an_interrupt_within_a_look_counts_nothing_twice():
    world, pin = World(), FakePin()
    counter = EdgeCounter(pin, world.ticks_us, 5000)
    counter.value()
    pin.set(1)
    world.to(world.us + 10000)
    look = counter._debounce.settle

    def interrupted(time):
        changed = look(time)
        pin.set(0)  # the handler runs now
        return changed

    counter._debounce.settle = interrupted
    equal(counter.value(), 1)
    counter._debounce.settle = look
    world.to(world.us + 10000)
    equal(counter.value(), 1)
    pin.set(1)
    world.to(world.us + 10000)
    equal(counter.value(), 2)


def test_a_change_is_dated_to_the_first_edge_of_its_burst():
    contact = Debounce(0, 20)
    equal([contact.edge(t, level) for t, level in ((100, 1), (105, 0), (111, 1))], [False, False, False])
    equal(contact.settle(130), False)
    equal(contact.settle(131), True)
    equal((contact.level, contact.changed_at), (1, 100))
    contact.edge(200, 0)
    contact.edge(210, 1)
    equal(contact.settle(500), False, "a spike")
    contact.edge(600, 0)
    true(contact.settle(620))
    equal(contact.changed_at, 600)


def test_time_is_credited_to_the_state_that_held():
    time = MachineTime(IDLE, 1000)
    time.change(RUN, 3500)
    time.change(ALARM, 10000)
    time.change(RUN, 9000)
    time.change(OFF, 12000)
    equal([time.seconds(s, 12500) for s in (OFF, IDLE, RUN, ALARM)], [0, 2, 8, 0])
    equal(time.cycles, 2)
    equal([state_of(*inputs) for inputs in ((1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1))], [IDLE, RUN, ALARM, OFF])


def machine(world):
    pins = [FakePin(), FakePin(), FakePin(1)]
    inputs = MachineInputs("press", 1000, pins[0], pins[1], pins[2], 20, world.mono_ms, world.ticks_ms)
    return inputs, pins


def test_a_machine_is_timed_by_its_edges_not_by_polls():
    world = World(start_us=((1 << 30) - 5000) * 1000)  # ticks wrap in the middle
    inputs, (run_pin, alarm, power) = machine(world)
    equal(run(inputs.read()), ([IDLE, 0, 0, 0, 0], None))
    began = world.us
    world.at(began + 92000000, lambda: alarm.set(1))
    world.at(began + 93000000, lambda: alarm.set(0))
    for i in range(10):  # 10 s each: 7.003 s of run, one second of alarm within the last of them
        bounce(world, run_pin, Dice(i), began + 10000000 * i, 1)
        bounce(world, run_pin, Dice(i), began + 10000000 * i + 7003000, 0)
        world.to(began + 10000000 * (i + 1))
        if i < 9:
            equal(run(inputs.read())[1], None)
    equal(run(inputs.read()), ([IDLE, 69, 29, 1, 11], None))
    power.set(0)
    world.to(world.us + 60000000)
    equal(run(inputs.read())[0], [OFF, 69, 29, 1, 11])


def test_machine_totals_go_on_after_a_restart():
    world = World()
    inputs, (run_pin, _, _) = machine(world)
    run_pin.set(1)
    inputs.restore({"run_time": 100, "idle_time": 50, "alarm_time": 7, "cycle_count": 9, "machine_state": 2}, None)
    run(inputs.read())
    world.to(world.us + 5999000)
    equal(run(inputs.read()), ([RUN, 105, 50, 7, 9], None))


def test_a_storm_of_edges_is_said_and_the_level_is_right_afterwards():
    world = World()
    inputs, (run_pin, _, _) = machine(world)
    run(inputs.read())
    for _ in range(101):
        world.to(world.us + 30000)
        run_pin.set(1 - run_pin.value())
    world.to(world.us + 100000)
    values, qualities = run(inputs.read())
    equal(qualities, bytes([3] * 5))
    world.to(world.us + 100000)
    values, qualities = run(inputs.read())
    equal((values[0], qualities), (RUN, None))


def test_an_edge_ring_keeps_order_and_counts_what_does_not_fit():
    world, pin = World(), FakePin()
    edges = Edges(pin, world.ticks_ms, 4)
    edges.start()
    for _ in range(5):
        world.to(world.us + 1000)
        pin.set(1 - pin.value())
    equal([edges.next() for _ in range(4)], [(1001, 1), (1002, 0), (1003, 1), None])
    equal(edges.overflows, 2)

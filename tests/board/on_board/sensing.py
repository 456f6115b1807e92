"""Runs on the board: what sensing costs a second, apart from journal and seal.

A poll is request, reply in two pieces and decoding of ten floats of 32 bit, as a meter with ten channels gives them.
Twenty channels at 1 Hz are two such polls and two encoded samples a second.
"""

from array import array

from measure import Steps, once_us, report

from parkgate.meters import registers
from parkgate.meters.modbus.client import Client
from parkgate.meters.modbus.frame import frame
from parkgate.meters.read_plan import ReadPlan
from parkgate.reading import encode_sample
from parkgate.sensing.reduction import Reporter
from parkgate.sensing.true_rms import burst_steps
from parkgate.sensing.vibration import Analyser

POLLS = 20


def told(name, steps):
    run = Steps(steps)
    report(name, run.total_us / 1000, "ms")
    report(name + ", longest step", run.longest_us / 1000, "ms")
    report(name + ", heap used up", run.churn_bytes, "bytes")


def poll(client, plan, answer, t_us):
    """One poll; the time after it."""
    values, qualities = plan.empty()
    t_us += 10000 + client.wait_us(1, t_us % (1 << 30))
    block = plan.blocks[0]
    client.request(1, block.function, block.address, block.count, t_us % (1 << 30))
    client.receive(answer[:20], (t_us + 20000) % (1 << 30))
    event = client.receive(answer[20:], (t_us + 30000) % (1 << 30))
    plan.decode(0, event.data, values, qualities)
    return t_us + 40000, values


code = registers.layout("float32", "ABCD", False, 4)
plan = ReadPlan([(2 * i, code, 1) for i in range(10)], 125)
answer = frame(bytes((1, 4, 40)) + b"\x43\x60\x25\x88" * 10)
client = Client(9600)
t_us, values = poll(client, plan, answer, 0)


def polls():
    t = t_us
    for _ in range(POLLS):
        t, _ = poll(client, plan, answer, t)


taken_us, _ = once_us(polls)
report("poll of a meter, 10 channels", taken_us / 1000 / POLLS, "ms")
taken_us, _ = once_us(encode_sample, 3, 1800000000000, 0, values)
report("encode a sample, 10 channels", taken_us / 1000, "ms")
reporter = Reporter([["voltage", "V", 1]] * 10, ("mean", "max"), 10)
taken_us, _ = once_us(reporter.add, 1000, values)
report("take a sample into a reduction, 10 channels", taken_us / 1000, "ms")

samples = array("H", bytes(1000))
for i in range(500):
    samples[i] = 32000 + 400 * ((i % 100) - 50 if i % 100 < 50 else 50 - i % 100)
told("true RMS of 500 samples", burst_steps(samples, 5000, 50))

for count, rate_hz in ((512, 1344), (1024, 3200)):
    analyser = Analyser(count)
    for axis in analyser.axes:
        for i in range(count):
            axis[i] = (i * 37 % 211) - 100
    told("vibration, 3 x %d samples" % count, analyser.steps(rate_hz, 38307))
    analyser = None

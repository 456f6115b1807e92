"""What tests/bench/modbus.py runs on MicroPython's Unix port; prints one line of JSON.

Memory is what the heap holds after a collection, time is for the Modbus room alone: request, reply in two
pieces, decoding to integers. `garbage` is what one poll leaves behind for the collector, `growth` what 1,000
polls leave for ever.
"""

import gc
import json
import sys
import time

from parkgate.meters import profiles
from parkgate.meters.modbus.client import Client
from parkgate.meters.modbus.frame import frame

POLLS = 1000


def held(build):
    """(result, bytes that it keeps)."""
    gc.collect()
    before = gc.mem_alloc()
    result = build()
    gc.collect()
    return result, gc.mem_alloc() - before


def load(path, name):
    """A profile from its file, for its usual channels."""
    with open(path) as file:
        return profiles.load(json.load(file), name)


def poll(client, plan, answers, t_us):
    """Read every block of a plan once; the time after it."""
    values, qualities = plan.empty()
    for i, block in enumerate(plan.blocks):
        t_us += 10000 + client.wait_us(1, t_us % (1 << 30))
        client.request(1, block.function, block.address, block.count, t_us % (1 << 30))
        answer = answers[i]
        client.receive(answer[:20], (t_us + 20000) % (1 << 30))
        event = client.receive(answer[20:], (t_us + 30000) % (1 << 30))
        plan.decode(i, event.data, values, qualities)
        t_us += 40000
    return t_us


def main(meters_folder):
    """Measure and print."""
    gc.collect()
    figures = {}
    client, figures["client_bytes"] = held(lambda: Client(9600))
    _, figures["unit_bytes"] = held(lambda: client.unit(1))
    before = gc.mem_alloc()
    with open(meters_folder + "/eastron-sdm630.json") as file:
        document = json.load(file)
    profile = profiles.load(document, "eastron-sdm630")
    figures["profile_load_bytes"] = gc.mem_alloc() - before
    document = None
    profile, figures["profile_bytes"] = held(lambda: load(meters_folder + "/eastron-sdm630.json", "eastron-sdm630"))
    figures["channels"] = len(profile.channels)
    answers = []
    for block in profile.plan.blocks:
        answers.append(frame(bytes((1, block.function, 2 * block.count)) + b"\x43\x60\x25\x88" * (block.count // 2)))
    t_us = poll(client, profile.plan, answers, 0)
    gc.collect()
    before = gc.mem_alloc()
    t_us = poll(client, profile.plan, answers, t_us)
    figures["garbage_bytes"] = gc.mem_alloc() - before
    gc.collect()
    before = gc.mem_alloc()
    started = time.ticks_us()
    for _ in range(POLLS):
        t_us = poll(client, profile.plan, answers, t_us)
    taken_us = time.ticks_diff(time.ticks_us(), started)
    gc.collect()
    figures["growth_bytes"] = gc.mem_alloc() - before
    figures["poll_us"] = taken_us / POLLS
    print(json.dumps(figures))


main(sys.argv[1])

"""Profiles: what is refused and how it is said, the reads that are planned, and a vector for every meter."""

import json
import os

from check import equal, raises, true
from parkgate import quantities
from parkgate.errors import ProfileError
from parkgate.meters import profiles
from parkgate.meters.dlt645.frame import text_of
from parkgate.meters.modbus.client import Client, Reply
from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, TIMEOUT

ROOT = __file__.rsplit("/", 3)[0]
METERS = ROOT + "/lib/meters/"
VECTORS = ROOT + "/tests/vectors/"


def document(**changes):
    base = {
        "meter": "Test meter",
        "manual": "none",
        "sources": ["here"],
        "licences": ["ours"],
        "function": 4,
        "order": "ABCD",
        "usual": ["voltage", "active_power"],
        "registers": [
            ["voltage", 0, "uint16", 1, "V", "Volts"],
            ["active_power", 2, "float32", 0, "kW", "Power"],
            ["import_active_energy", 10, "uint32", 2, "kWh", "Energy"],
        ],
    }
    base.update(changes)
    return base


def refused(words, **changes):
    """The profile is refused, and the message has all these words."""
    error = raises(ProfileError, profiles.load, document(**changes), "test")
    for word in words:
        true(word in str(error), "%r in %r" % (word, str(error)))


def rows(*changed):
    return [list(row) for row in changed]


def load_file(name):
    file_name, _ = profiles.split_name(name)
    with open(METERS + file_name + ".json") as file:
        return json.load(file)


def test_a_good_profile():
    profile = profiles.load(document(), "test")
    equal(profile.schema(), [["voltage", "V", 1], ["active_power", "W", 1]])
    equal([(b.function, b.address, b.count) for b in profile.plan.blocks], [(4, 0, 1), (4, 2, 2)])
    chosen = profiles.load(document(), "test", ("import_active_energy", "voltage"))
    equal(chosen.schema(), [["import_active_energy", "Wh", -1], ["voltage", "V", 1]])


def test_faults_are_named_with_file_entry_and_what_to_do():
    good = document()["registers"]
    refused(
        ["test", "entry 2", "current_l9", "quantities"],
        registers=rows(good[0], ["current_l9", 2, "float32", 0, "A", ""]),
    )
    refused(
        ["test", "entry 1", "voltage", "impossible address 65536"],
        registers=rows(["voltage", 65536, "uint16", 0, "V", ""], good[1]),
    )
    refused(["impossible address 65535"], registers=rows(["voltage", 65535, "uint32", 0, "V", ""], good[1]))
    refused(["impossible address -1"], registers=rows(["voltage", -1, "uint16", 0, "V", ""], good[1]))
    refused(["impossible address '0x10'"], registers=rows(["voltage", "0x10", "uint16", 0, "V", ""], good[1]))
    refused(["entry 1", "wrong scale", "decimals 0.1"], registers=rows(["voltage", 0, "uint16", 0.1, "V", ""], good[1]))
    refused(["wrong scale", "decimals 12"], registers=rows(["voltage", 0, "uint16", 12, "V", ""], good[1]))
    refused(
        ["entry 1 (voltage)", "wrong unit 'Hz'", "in V"], registers=rows(["voltage", 0, "uint16", 1, "Hz", ""], good[1])
    )
    refused(["unknown type 'uint24'", "uint16"], registers=rows(["voltage", 0, "uint24", 1, "V", ""], good[1]))
    refused(["a row is"], registers=rows(["voltage", 0], good[1]))
    refused(["entry 3", "entry 1", "same quantity", "variant"], registers=rows(good[0], good[1], good[0]))
    refused(["wrong scale 0 loses digits", "own is 1"], scales={"voltage": 0})
    refused(["functions 1 and 2 read type bit"], function=2)
    refused(["function: 7"], function=7)
    refused(["order: 'DCAB'"], order="DCAB")
    refused(["unknown field 'colour'"], colour="red")
    refused(["'meter'", "type str"], meter=5)
    refused(["sources is empty"], sources=[])
    refused(["usual", "frequency"], usual=["frequency"])
    refused(["usual"], usual=[])
    refused(["registers_max"], registers_max=126)
    refused(["forbidden", "entry 2", "address 2"], forbidden=[[3, 9]])
    refused(["forbidden", "[5]"], forbidden=[[5]])
    refused(["rollover"], rollover={"voltage": 100})
    refused(["says why"], variants={"other": {"function": 3}})
    refused(["test+other", "unknown field 'meter'"], variants={"other": {"why": "x", "meter": "y"}})
    refused(
        ["test+other", "impossible address"],
        variants={"other": {"why": "x", "registers": rows(["voltage", 65536, "uint16", 0, "V", ""])}},
    )
    missing = document()
    del missing["order"]
    true("'order' is missing" in str(raises(ProfileError, profiles.load, missing, "test")))
    raises(ProfileError, profiles.load, [], "test")
    raises(ProfileError, profiles.load, document(), "test", ("frequency",))
    raises(ProfileError, profiles.load, document(), "test", ("voltage", "voltage"))
    true("there are: none" in str(raises(ProfileError, profiles.load, document(), "test+fc3")))


def test_variants():
    varied = document(
        variants={
            "fc3": {"why": "another source", "function": 3},
            "low": {
                "why": "yet another",
                "order": "CDAB",
                "without": ["voltage"],
                "registers": [["active_power", 6, "uint32", 0, "W", ""], ["frequency", 8, "uint16", 2, "Hz", ""]],
            },
        }
    )
    equal(profiles.load(varied, "test+fc3").plan.blocks[0].function, 3)
    low = profiles.load(varied, "test+low", ("active_power", "frequency"))
    equal(low.schema(), [["active_power", "W", 0], ["frequency", "Hz", 2]])
    equal([(b.address, b.count) for b in low.plan.blocks], [(6, 3)])
    equal(profiles.load(varied, "test+low").schema(), [["active_power", "W", 0]])
    equal(profiles.load(varied, "test").plan.blocks[0].function, 4, "the document itself is not changed")


def planned(addresses, **limits):
    """Blocks for uint16 values at these addresses."""
    quantity_names = [q.name for q in quantities.everything() if q.unit == "V"][: len(addresses)]
    profile = profiles.load(
        document(
            usual=quantity_names,
            registers=[[q, a, "uint16", 0, "V", ""] for q, a in zip(quantity_names, addresses)],
            **limits,
        ),
        "test",
    )
    return profile.plan


def blocks(plan):
    return [(block.address, block.count) for block in plan.blocks]


def test_neighbours_are_read_together_within_the_limits():
    equal(blocks(planned((4, 0, 1, 2, 5))), [(0, 3), (4, 2)])
    equal(blocks(planned((0, 1, 2, 4, 5), gap_max=1)), [(0, 6)])
    equal(blocks(planned((0, 1, 2, 3, 4), registers_max=2)), [(0, 2), (2, 2), (4, 1)])
    equal(blocks(planned((0, 2, 6, 8), gap_max=9, forbidden=[[4, 4]])), [(0, 3), (6, 3)])


def test_a_refused_block_is_split_until_every_readable_value_is_read():
    plan = planned((0, 1, 4, 6, 7), gap_max=9)
    equal(blocks(plan), [(0, 8)])
    readable = (0, 1, 6, 7)
    asked = 0
    i = 0
    values, qualities = plan.empty()
    while i < len(plan.blocks):
        block = plan.blocks[i]
        asked += 1
        if (
            block.address + block.count - 1 in readable
            and block.address in readable
            and 4 not in range(block.address, block.address + block.count)
        ):
            plan.decode(i, bytes(range(2 * block.count)), values, qualities)
            i += 1
        else:
            plan.refused(i)
    equal(blocks(plan), [(0, 2), (6, 2)])
    equal(list(qualities), [GOOD, GOOD, NOT_CONFIGURED, GOOD, GOOD])
    true(plan.refusals <= 2 * 5 - 1 and asked <= 12)
    plan.ask_again()
    equal(blocks(plan), [(0, 2), (6, 2), (4, 1)])


def test_a_meter_that_refuses_everything_ends():
    plan = planned((0, 1, 2, 3, 4))
    while plan.blocks:
        plan.refused(0)
    equal(plan.refusals, 9)


def test_failures_and_wrong_sizes_have_no_value():
    plan = planned((0, 1))
    values, qualities = plan.empty()
    plan.decode(0, b"\0\1\0\2", values, qualities)
    equal((values, list(qualities)), ([1, 2], [GOOD, GOOD]))
    plan.decode(0, b"\0\1", values, qualities)
    equal((values, list(qualities)), ([None, None], [BAD_REPLY, BAD_REPLY]))
    plan.failed(0, TIMEOUT, values, qualities)
    equal(list(qualities), [TIMEOUT, TIMEOUT])


def test_bits_as_machine_states():
    inputs = document(
        function=2,
        usual=["machine_state", "input_state"],
        registers=[["machine_state", 3, "bit", 0, "1", "Run"], ["input_state", 12, "bit", 0, "1", "Door"]],
        gap_max=10,
    )
    plan = profiles.load(inputs, "io").plan
    equal(blocks(plan), [(3, 10)])
    values, qualities = plan.empty()
    plan.decode(0, b"\x01\x02", values, qualities)
    equal(values, [1, 1])


def items_of(held, block):
    """What a DL/T 645 meter says to an identifier: of a block (…FF…) all items in order, 0 for those it lacks."""
    wanted = text_of(block.address)
    if wanted in held:
        return bytes.fromhex(held[wanted])
    of_block = sorted([name for name in held if name[:4] == wanted[:4] and name[6:] == wanted[6:]])
    step = len(held[of_block[0]]) // 2
    data = b""
    place = 0 if wanted[:2] != "02" or wanted[2:4] in ("03", "04", "05", "06") else 1
    while True:
        name = "%s%02X%s" % (wanted[:4], place, wanted[6:])
        data += bytes.fromhex(held[name]) if name in held else bytes(step)
        if name == of_block[-1]:
            return data
        place += 1


def test_every_profile_has_a_vector_and_reads_as_it_says():
    names = sorted(name[:-5] for name in os.listdir(METERS))
    vectors = sorted(name[:-5] for name in os.listdir(VECTORS + "meters"))
    true(len(names) >= 30)
    for name in names:
        true(name in vectors, "%s has no vector" % name)
    for name in vectors:
        with open(VECTORS + "meters/" + name + ".json") as file:
            vector = json.load(file)
        wanted = vector["readings"]
        profile = profiles.load(load_file(name), name, tuple(wanted))
        words = {}
        if profile.protocol == "modbus":
            for address in vector["registers"]:
                for i, word in enumerate(vector["registers"][address]):
                    words[int(address) + i] = word
        values, qualities = profile.plan.empty()
        for i, block in enumerate(profile.plan.blocks):
            data = bytearray()
            if profile.protocol == "dlt645":
                data = items_of(vector["registers"], block)
            for address in range(block.address, block.address + block.count) if words else ():
                word = words.get(address, 0)
                data.append(word >> 8)
                data.append(word & 0xFF)
            profile.plan.decode(i, bytes(data), values, qualities)
        values, qualities = profile.plan.finish(values, qualities)
        for channel, value, quality in zip(profile.channels, values, qualities):
            equal([value, channel.unit, channel.scale], wanted[channel.quantity], name + " " + channel.quantity)
            equal(quality, GOOD)


def test_captured_exchanges():
    with open(VECTORS + "modbus/captured.json") as file:
        exchanges = json.load(file)["exchanges"]
    for exchange in exchanges:
        what = exchange["id"]
        request = bytes.fromhex(exchange["request"])
        client = Client(9600)
        count = request[4] << 8 | request[5]
        equal(client.request(request[0], request[1], request[2] << 8 | request[3], count, 0), request, what)
        event = client.receive(bytes.fromhex(exchange["received"]), 30000) or client.poll(800000)
        statistics = client.unit(request[0]).statistics
        outcome = exchange["outcome"]
        if outcome == "reply":
            true(isinstance(event, Reply), what)
        elif outcome[:7] == "refused":
            equal(event.code, int(outcome[8:]), what)
        else:
            equal(getattr(statistics, outcome), 1, what)
        if "data" in exchange:
            equal(event.data, bytes.fromhex(exchange["data"]), what)
        if "profile" in exchange:
            _read_back(exchange, event, what)


def _read_back(exchange, event, what):
    wanted = exchange["readings"]
    profile = profiles.load(load_file(exchange["profile"]), exchange["profile"], tuple(wanted))
    values, qualities = profile.plan.empty()
    for i, block in enumerate(profile.plan.blocks):
        start = 2 * (block.address - event.address)
        profile.plan.decode(i, event.data[start : start + 2 * block.count], values, qualities)
    values, qualities = profile.plan.finish(values, qualities)
    for channel, value in zip(profile.channels, values):
        equal([value, channel.unit, channel.scale], wanted[channel.quantity], what)


def test_the_quantity_table():
    everything = quantities.everything()
    equal(len({q.id for q in everything}), len(everything))
    equal(len({q.name for q in everything}), len(everything))
    for q in everything:
        true(0 < q.id < 1000)
        true(q.kind in ("now", "sum", "state"), q.name)
        equal(quantities.find(q.name).id, q.id)
        true("consumption" not in q.name and "usage" not in q.name and "total" not in q.name)
    for no_name in ("", "V", "now", "volt", "12.7.0", " voltage"):
        equal(quantities.find(no_name), None)
    equal(quantities.find("import_active_energy").obis, "1.8.0")
    equal(quantities.find("export_active_energy").obis, "2.8.0")
    equal(quantities.find("import_active_energy_l2").obis, "41.8.0")
    for name, number, obis in (
        ("import_active_energy_t2", 105, "1.8.2"), ("import_active_energy_t3", 300, "1.8.3"),
        ("import_active_energy_t8", 305, "1.8.8"), ("reactive_energy_q4_t1", 366, "8.8.1"),
        ("absolute_reactive_energy_t5", 332, None), ("active_power_demand_max_t7", 388, "1.6.7"),
    ):  # fmt: skip
        found = quantities.find(name)
        equal((found.name, found.id, found.obis), (name, number, obis))
    for no_tariff in ("import_active_energy_t0", "import_active_energy_t9", "voltage_t3", "import_active_energy_t3-8"):
        equal(quantities.find(no_tariff), None, no_tariff)
    equal(quantities.unit_exponent("kWh", "Wh"), 3)
    equal(quantities.unit_exponent("mA", "A"), -3)
    equal(quantities.unit_exponent("A", "mA"), 3)
    equal(quantities.unit_exponent("W", "V"), None)
    equal(quantities.unit_exponent("", "V"), None)

"""Names are looked up without stopping the loop: servers that are silent, lie, or answer somebody else."""

import json
import socket
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ADDRESS = bytes([10, 1, 2, 3])


def reply(asked, address=ADDRESS, code=0, alias=False):
    """A name server's answer, the address behind an alias if so wanted."""
    records = []
    if alias:
        records.append(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03two\xc0\x10")
    if address:
        records.append(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + address)
    head = asked[:2] + bytes([0x81, 0x80 | code]) + b"\x00\x01" + len(records).to_bytes(2, "big") + bytes(4)
    return head + asked[12:] + b"".join(records)


def other_number(asked):
    return bytes([asked[0] ^ 1]) + asked[1:]


def other_name(asked):
    return asked[:13] + b"x" + asked[14:]


BEHAVIOURS = {
    "good": lambda asked: [reply(asked)],
    "alias": lambda asked: [reply(asked, alias=True)],
    "silent": lambda asked: [],
    "liar": lambda asked: [b"\x00", bytes(600), reply(other_number(asked)), reply(other_name(asked))],
    "liar then good": lambda asked: [b"junk", reply(other_number(asked), b"\x06\x06\x06\x06"), reply(asked)],
    "no such name": lambda asked: [reply(asked, b"", 3)],
    "fails": lambda asked: [reply(asked, b"", 2)],
    "cut": lambda asked: [reply(asked)[:-3]],
}


class NameServer:
    """A name server on a port of its own; `behaviour` as in BEHAVIOURS, `first` for the first question only."""

    def __init__(self, behaviour, first=None):
        self.line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.line.bind(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self.line.getsockname()[1]}"
        self.behaviour, self.first = behaviour, first
        self.questions = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                asked, where = self.line.recvfrom(600)
            except OSError:
                return
            self.questions += 1
            behaviour = self.first if self.first and self.questions == 1 else self.behaviour
            for packet in BEHAVIOURS[behaviour](asked):
                self.line.sendto(packet, where)


@pytest.fixture
def link(unix_port):
    """What board_link_device.py tells, where the network's name server is this one."""

    def link(server):
        script = Path(__file__).with_name("board_link_device.py")
        finished = unix_port.run(script, [server], path=[ROOT / "lib", ROOT / "firmware"], heapsize="1M", timeout_s=60)
        assert finished.exit_code == 0, finished.output
        return json.loads(finished.output.splitlines()[-1])

    return link


@pytest.fixture
def ask(unix_port):
    def ask(timeout_ms, *pairs):
        path = [ROOT / "lib", ROOT / "firmware"]
        script = Path(__file__).with_name("resolver_device.py")
        finished = unix_port.run(script, [str(timeout_ms), *pairs], path=path, heapsize="1M", timeout_s=120)
        assert finished.exit_code == 0, finished.output
        return json.loads(finished.output.splitlines()[-1])

    return ask


def test_names_are_found_whatever_the_first_server_does(ask):
    servers = {name: NameServer(name) for name in BEHAVIOURS}
    named = {name: server.name for name, server in servers.items()}
    pairs = []
    for name in ("good", "alias", "liar then good"):
        pairs += [f"{name.split()[0]}.park.example", named[name]]
    for name in ("silent", "fails", "cut"):
        pairs += [f"{name}.park.example", f"{named[name]},{named['good']}"]
    pairs += ["192.0.2.7", named["silent"]]
    found = ask(3000, *pairs)["found"]
    assert [said for said, _ in found] == ["10.1.2.3"] * 6 + ["192.0.2.7"]


def test_a_silent_server_stops_nothing_and_ends_in_time(ask):
    """The loop went on; measured loosely, for a busy machine: the port's own look-up would have stopped it for 10 s."""
    said = ask(1500, "a.example", NameServer("silent").name, "b.example", NameServer("liar").name)
    for (text, ms), name in zip(said["found"], ("a.example", "b.example")):
        assert text == f"no address for {name}: no name server answers"
        assert ms >= 1400
    assert said["gap_ms"] < 1400


def test_the_last_good_address_is_kept_but_not_over_a_name_that_is_gone(ask):
    later_silent = NameServer("silent", first="good")
    gone = NameServer("no such name", first="good")
    pairs = ["x.example", later_silent.name] * 2 + ["y.example", gone.name] * 2
    found = [said for said, _ in ask(1100, *pairs)["found"]]
    assert found[:3] == ["10.1.2.3", "10.1.2.3", "10.1.2.3"]
    assert found[3] == "no address for y.example: the name server says: there is no such name"


def test_what_is_no_name_is_not_asked(ask):
    server = NameServer("good")
    found = [said for said, _ in ask(1000, "a..b", server.name, "x" * 64 + ".example", server.name)["found"]]
    assert all("is not a name of a computer" in said for said in found)
    assert server.questions == 0


def test_a_network_that_is_connected_and_passes_nothing_is_brought_down(link):
    said = link(NameServer("silent").name)
    assert said["signal"] == [-61, None]
    assert said["resets"] == [0, 0, 1], "after three in a row without any answer"
    assert said["radio"] == ["disconnect", False]


def test_a_network_that_answers_is_left_alone_though_the_broker_is_away(link):
    said = link(NameServer("no such name").name)
    assert said["resets"] == [0, 0, 0] and said["radio"] == []


def test_no_network_heard_is_not_waited_out(link):
    said = link(NameServer("good").name)
    assert said["reason"] == "Wi-Fi 'park': no such network is heard here"
    assert said["waited_ms"] < 30_000, "of 60 s that it might have waited"


def test_networks_are_tried_in_their_order(link):
    said = link(NameServer("good").name)["networks"]
    park, yard, gate = ["park", None], ["yard", "y"], ["gate", None]
    assert said["tried"] == [
        [park, yard, gate],  # only the last is heard
        [park],  # the connection was lost: from the first on again
        [park, yard],
        [gate],  # the one before passed nothing: the next, though it is heard
    ]
    assert said["words"][:3] == [
        "Wi-Fi 'park': no such network is heard here",
        "Wi-Fi 'yard': no such network is heard here",
        "on 'gate' as 10.0.0.2",
    ]

"""An emulated Pico W behaves as one: it joins the access point and reaches this machine; its flash and UART are real.

These need a firmware image: PICO_IMAGE. They take a minute or two.
"""

import socket

import pytest

from tests.board.emulated_pico import EmulatedPico
from tests.board.flash_image import missing_for

MISSING = missing_for("pico_w")
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(600)]

JOIN = """
import gc, network, socket, time
radio = network.WLAN(network.STA_IF)
radio.active(True)
radio.connect('RP2040PY-GUEST', '')
while not radio.isconnected():
    time.sleep_ms(50)
gc.collect()
print(radio.ifconfig()[0], gc.mem_free())
"""


@pytest.fixture(scope="module")
def pico():
    with EmulatedPico(board="pico_w", files={"hello.py": b"greeting = 'hello'\n"}) as board:
        yield board


def test_it_runs_micropython_with_our_files(pico):
    assert pico.run("import hello\nprint(hello.greeting)", 300) == "hello\n"


def test_it_reaches_this_machine_by_radio(pico):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(300)
        address, free_bytes = pico.run(JOIN, 300).split()
        assert address == "10.0.0.2"
        assert int(free_bytes) > 180_000
        pico.enter_raw_repl()
        pico.start_script(
            f"s = socket.socket()\ns.connect(('10.0.0.1', {server.getsockname()[1]}))\n"
            "s.send(b'ask')\nprint(s.recv(20))\ns.close()"
        )
        connection, _ = server.accept()
        with connection:
            connection.settimeout(300)
            assert connection.recv(20) == b"ask"
            connection.sendall(b"answer")
            assert pico.console.read_until(b"\x04", 300) == b"b'answer'\r\n\x04"


def test_the_uart_carries_bytes_both_ways(pico):
    with pico.uart(1) as wire:
        wire.settimeout(120)
        pico.run("from machine import Pin, UART\nu = UART(1, 9600, tx=Pin(4), rx=Pin(5))\nu.write(b'ask')\nu.flush()")
        received = b""
        while len(received) < 3:
            received += wire.recv(3)
        assert received == b"ask"
        wire.sendall(b"answer")
        assert pico.run("import time\ntime.sleep_ms(100)\nprint(u.read())", 120) == "b'answer'\n"


def test_what_was_written_survives_a_cut(tmp_path):
    flash = tmp_path / "flash.bin"
    with EmulatedPico(board="pico_w", flash=flash, files={"kept": b"still here"}) as board:
        board.run("f = open('whole', 'w')\nf.write('x' * 5000)\nf.close()")
        board.enter_raw_repl()
        board.cut_after(5)
        board.console.write(b"while True:\n with open('torn', 'w') as f:\n  f.write('y' * 9000)\n\x04")
        board.wait_for_event("power_cut", 300)
        board.power_on()
        assert board.run("print(open('kept').read(), len(open('whole').read()))", 300) == "still here 5000\n"
        assert board.stats()["flash"]["not_erased"] == 0


def test_it_resets_itself(pico):
    pico.enter_raw_repl()
    pico.start_script("import machine\nmachine.reset()")
    pico.wait_for_event("reset", 300)
    assert pico.run("print(1)", 300) == "1\n"

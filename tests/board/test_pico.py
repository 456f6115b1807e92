"""An emulated plain Pico behaves as one: flash that takes its time and may be cut, a UART that can lose bytes, resets.

If these fail, figures and promises from the board mean nothing. They need a firmware image: PICO_IMAGE.
"""

import re
import socket
import subprocess
import sys
import time

import pytest

from tests.board.emulated_pico import BoardError, EmulatedPico, EmulatorError
from tests.board.flash_image import find_firmware, flash_bytes, missing_for

MISSING = missing_for("pico")
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(300)]

SETUP_UART = "from machine import Pin, UART\nu = UART(1, 9600, tx=Pin(4), rx=Pin(5), rxbuf=256)\n"


def receive(wire, count):
    """So many bytes from the wires of a UART."""
    wire.settimeout(20)
    received = b""
    while len(received) < count:
        received += wire.recv(count - len(received))
    return received


@pytest.fixture(scope="module")
def pico():
    with EmulatedPico(files={"hello.py": b"greeting = 'hello'\n"}) as board:
        yield board


def test_it_runs_micropython_with_our_files(pico):
    output = pico.run(
        "import sys, machine, hello\nprint(sys.implementation.version[:2] >= (1, 24), machine.freq())\n"
        "print(hello.greeting)"
    )
    assert output == "True 125000000\nhello\n"


def test_an_exception_on_the_board_is_told(pico):
    with pytest.raises(BoardError, match="ZeroDivisionError"):
        pico.run("1 / 0")


def test_time_is_counted_in_cycles(pico):
    script = (
        "import time\ndef f():\n t = time.ticks_us()\n for i in range(10000): pass\n"
        " return time.ticks_diff(time.ticks_us(), t)\nprint(f())"
    )
    took_us = int(pico.run(script))
    assert 20_000 < took_us < 60_000
    assert abs(int(pico.run(script)) - took_us) < 200


ERASE_UNDER_A_TIMER = """
import rp2, time
from machine import Timer
ticks = 0
def tick(_):
    global ticks
    ticks += 1
flash = rp2.Flash()
last = flash.ioctl(4, 0) - 1
timer = Timer(freq=1000, mode=Timer.PERIODIC, callback=tick)
begun = time.ticks_us()
flash.ioctl(6, last)
taken = time.ticks_diff(time.ticks_us(), begun)
during = ticks
time.sleep_ms(50)
timer.deinit()
print(taken, during, ticks - during)
"""


def test_an_erase_takes_its_time_and_stops_interrupts(pico):
    before = pico.stats()["flash"]
    output = pico.run(ERASE_UNDER_A_TIMER)
    erase_us, during, after = map(int, output.split())
    flash = pico.stats()["flash"]
    assert 45_000 < erase_us < 60_000
    assert during <= 3
    assert after >= 30
    assert flash["erases"] == before["erases"] + 1
    assert flash["not_erased"] == 0


def test_the_uart_keeps_its_baud_rate(pico):
    with pico.uart(1) as wire:
        script = SETUP_UART + (
            "import time\nt = time.ticks_us()\nu.write(b'x' * 96)\nu.flush()\n"
            "print(time.ticks_diff(time.ticks_us(), t))"
        )
        took_us = int(pico.run(script))
        assert receive(wire, 96) == b"x" * 96
    assert 99_000 < took_us < 103_000


def test_a_file_written_during_a_reply_loses_bytes(pico):
    """What firmware must never do: the FIFO holds 33 ms at 9,600 baud, an erase takes 45."""
    pico.run(SETUP_UART)
    before = pico.stats()["uart"][1]
    with pico.uart(1) as wire:
        pico.enter_raw_repl()
        pico.start_script(
            "import rp2, time\nflash = rp2.Flash()\nwhile not u.any(): pass\n"
            "flash.ioctl(6, flash.ioctl(4, 0) - 1)\ntime.sleep_ms(200)\nprint(u.any())"
        )
        wire.sendall(bytes(range(120)))
        output = pico.console.read_until(b"\x04", 60)
    overruns = pico.stats()["uart"][1]["overruns"] - before["overruns"]
    assert overruns > 0
    assert int(output[:-1]) + overruns == 120


def test_without_its_driver_nothing_leaves_the_board():
    with EmulatedPico(driver_enable={"1": 2}) as board, board.uart(1) as wire:
        board.run(SETUP_UART + "u.write(b'lost')\nu.flush()")
        board.run("d = Pin(2, Pin.OUT, value=1)\nu.write(b'sent')\nu.flush()\nd.value(0)")
        assert receive(wire, 4) == b"sent"
        assert board.stats()["uart"][1]["sent_without_driver"] == 4


def test_resets_have_their_causes(pico):
    pico.enter_raw_repl()
    pico.start_script("import machine\nmachine.WDT(timeout=1000)\nwhile True: pass")
    assert pico.wait_for_event("reset")["reason"] == "watchdog"
    assert pico.run("import machine\nprint(machine.reset_cause() == machine.WDT_RESET)") == "True\n"
    pico.power_on()
    assert pico.run("import machine\nprint(machine.reset_cause() == machine.PWRON_RESET)") == "True\n"


WRITER = """
import os
n = 0
while True:
    n += 1
    with open('data', 'wb') as f:
        f.write(b'%06d' % n * 700)
    os.rename('data', 'whole')
    print('wrote', n)
"""


def cut(board, operations, torn):
    """Write files until the power is cut, and give the number of the last one that was told to be whole."""
    board.enter_raw_repl()
    board.cut_after(operations, torn)
    board.console.write(WRITER.encode() + b"\x04")
    board.wait_for_event("power_cut")
    told = board.console.everything().decode(errors="replace")
    return max(map(int, re.findall(r"wrote (\d+)\r\n", told)), default=0)


@pytest.mark.parametrize("torn", [False, True], ids=["clean", "torn"])
def test_the_file_system_survives_cuts(torn, tmp_path):
    flash = tmp_path / "flash.bin"
    with EmulatedPico(files={"kept": b"still here"}, flash=flash, seed=7) as board:
        for operations in (3, 17, 40):
            last = cut(board, operations, torn)
            board.power_on()
            content = board.run(
                "import os\nprint(open('kept').read())\nprint(open('whole').read() if 'whole' in os.listdir() else '')"
            ).split("\n")
            assert content[0] == "still here"
            if last:
                number = int(content[1][:6])
                assert number in (last, last + 1)
                assert content[1] == f"{number:06d}" * 700
            board.run("import os\nfor name in ('whole', 'data'):\n if name in os.listdir(): os.remove(name)")


def test_killing_the_emulator_is_a_power_cut(tmp_path):
    flash = tmp_path / "flash.bin"
    board = EmulatedPico(flash=flash)
    board.power_on()
    board.enter_raw_repl()
    board.start_script(WRITER)
    board.console.read_until(b"wrote 3", 60)
    board.kill()
    with EmulatedPico(flash=flash) as again:
        assert int(again.run("print(open('whole').read(6))")) >= 3


def test_a_broken_file_system_is_noticed(tmp_path):
    """Stock firmware formats what it cannot mount: files are gone, and nothing else tells."""
    flash = tmp_path / "flash.bin"
    image = bytearray(flash_bytes(find_firmware("pico")[0], {"kept": b"x"}))
    start = len(image) - 1408 * 1024
    image[start : start + 8192] = b"\0" * 8192
    flash.write_bytes(image)
    with EmulatedPico(flash=flash) as board:
        assert board.run("import os\nprint(os.listdir())") == "[]\n"


def test_mpremote_works_over_the_console(pico, tmp_path):
    pytest.importorskip("mpremote", reason="the package mpremote is not installed")
    file = tmp_path / "sent.txt"
    file.write_text("by mpremote")
    port = f"socket://127.0.0.1:{pico.ports['console']}"
    command = [sys.executable, "-m", "mpremote", "connect", port, "resume"]
    for arguments in (["fs", "cp", str(file), ":sent.txt"], ["exec", "print(open('sent.txt').read())"]):
        result = subprocess.run(command + arguments, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip() == "by mpremote"


def test_a_sleeping_board_does_not_outrun_the_wall_clock(pico):
    began = time.monotonic()
    pico.run("import time\ntime.sleep(1)")
    assert time.monotonic() - began > 0.9


def test_a_wrong_command_is_refused(pico):
    with pytest.raises(EmulatorError, match="no command"):
        pico.command("fly")


def test_the_wire_may_lead_to_a_server_of_ours():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        with EmulatedPico(connect={"1": f"127.0.0.1:{server.getsockname()[1]}"}) as board:
            wire, _ = server.accept()
            with wire:
                board.run(SETUP_UART + "u.write(b'ask')\nu.flush()")
                assert receive(wire, 3) == b"ask"
                wire.sendall(b"answer")
                assert board.run("import time\ntime.sleep_ms(50)\nprint(u.read())") == "b'answer'\n"

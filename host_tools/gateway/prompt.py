"""To MicroPython's prompt on a board where the gateway runs: by the console's own command, with the code if one is set.

The gateway takes no Ctrl-C; what works through the prompt (mpremote, `parkgate flash --app-only`) comes by here first.
"""

from __future__ import annotations

import time

import serial

from host_tools.gateway.link import BAUD, Link, find_port
from parkgate.errors import LinkError

ANSWER_S = 1.5
START_S = 60.0
_LOOK_S = 2.0


def to_prompt(port: str, code: str | None = None, answer_s: float = ANSWER_S) -> None:
    """Have the prompt on the line: a gateway that answers is asked for it, any other program is interrupted. Raises
    GatewayRefused, SettingsError for a wrong or missing code, LinkError when neither answers."""
    place = find_port(port)
    with Link(place, answer_s) as link:
        try:
            link.facts("identity")
        except LinkError:
            pass
        else:
            link.unlock(code)
            link.ask("repl", 10.0, repeat=False)
            answer_s = START_S
    wait_prompt(place, 2 * answer_s)


def wait_prompt(port: str, timeout_s: float) -> None:
    """Wait until MicroPython's prompt answers; a board on USB is gone for a moment. Raises LinkError."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            with serial.serial_for_url(port, BAUD, timeout=_LOOK_S, write_timeout=_LOOK_S) as line:
                line.write(b"\r\x03\x02")  # interrupt what runs, leave the raw prompt
                if line.read_until(b">>> ").endswith(b">>> "):
                    line.reset_input_buffer()
                    return
        except (serial.SerialException, OSError):
            pass
        time.sleep(0.3)
    raise LinkError(f"{port}: neither a gateway nor MicroPython's prompt answers")

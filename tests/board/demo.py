"""The gateway on an emulated Pico W, from a bare chip to verified readings at the hub, for people: `make demo-board`.

MicroPython's own image, our firmware as `parkgate flash` writes it, a pymodbus meter at the board's UART, and by the
emulated Wi-Fi nats-server with TLS and the hub. Each step is said as it happens. Goes on until Ctrl-C, or for so many
seconds behind the first receipt as --duration says, then tells what the hub has verified.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from host_tools.base.folder_lock import hold
from host_tools.gateway.link import PATIENCE
from host_tools.image import boards
from host_tools.image.flash import cache_folder
from parkgate.errors import ParkgateError
from tests.board.emulated_pico import EmulatorError
from tests.board.flash_image import REPOSITORY, find_firmware, firmware_bytes, missing_for
from tests.board.whole_park import PROFILE, WholePark

BOARD = "pico_w"
FOLDER = REPOSITORY / "build" / "demo-board"
VERSION = "1.28.0"  # of MicroPython, where the image is fetched
FIRST_RECEIPT_S = 55  # board time from power on, provisioning included
LOOK_S, LINES_MAX = 0.5, 100
STEP_S = 180  # of board time that no step needs
MEASURE_S = 8  # of wall time, until the speed of this machine is told
SAY_S = 20  # between two lines of progress where they cannot be overwritten
SHOWN_LINES = ("journal:", "identity:", "settings:", "hub:", "wifi:", "clock:", "error")
ROWS_SHOWN = 8
ON_A_TERMINAL = sys.stdout.isatty()


class DemoBoardError(ParkgateError):
    """It cannot begin or go on. The text says what to do."""


def image() -> Path:
    """MicroPython's image for a Pico W: named by PICO_IMAGE, kept by `parkgate flash`, or fetched. Raises
    DemoBoardError."""
    if os.environ.get("PICO_IMAGE"):
        firmware, why = find_firmware(BOARD)
        if firmware is None:
            raise DemoBoardError(f"{why}. {_where()}")
        names = map(Path, os.environ["PICO_IMAGE"].split(os.pathsep))
        return next(file for file in names if firmware_bytes(file) == firmware)
    kept = sorted(cache_folder(boards.load(BOARD)).glob("*.uf2"), key=lambda path: path.stat().st_mtime)
    if kept:
        return kept[-1]
    from rp2040py.utils.firmware_retrieve import MICROPYTHON, retrieve

    print(f"fetching MicroPython {VERSION} for the Pico W from micropython.org (once)", flush=True)
    try:
        found = retrieve(MICROPYTHON, VERSION, board="pico_w")
    except OSError as error:
        raise DemoBoardError(f"MicroPython's image cannot be fetched: {error}. {_where()}") from None
    if found is None:
        raise DemoBoardError(f"MicroPython's image cannot be fetched. {_where()}")
    return found


def _where() -> str:
    mp = boards.load(BOARD).data["micropython"]
    return (
        f"Download the newest release {mp['board']}-*.uf2 from {mp['page']} on a computer that is online, then: "
        "make demo-board PICO_IMAGE=FILE.uf2"
    )


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Demo:
    """One run of it: what the board says and what is said of it."""

    def __init__(self, park: WholePark):
        self.park = park
        self.began_s = time.monotonic()
        self.on_s = 0.0  # when the power came on
        self.status: dict = {}
        self.log = park.folder / "board.log"  # all that the board says
        self._said_s = 0.0
        self._estimated = False

    def say(self, text: str) -> None:
        """One line with the time since the start."""
        clear = "\r\x1b[K" if ON_A_TERMINAL else ""
        print(f"{clear}{clock(time.monotonic() - self.began_s):>6}  {text}", flush=True)

    def board_s(self) -> float:
        """How long the board has been on, in its own time."""
        return self.park.pico.board_ms() / 1000 if self.park.pico else 0.0

    def slower(self) -> float:
        """Seconds here for one of the board."""
        return (time.monotonic() - self.on_s) / max(self.board_s(), 0.001)

    def look(self, waiting_for: str) -> None:
        """Take in what the board says within a moment, show it, and how far things are."""
        assert self.park.pico is not None
        with contextlib.suppress(TimeoutError):
            for _ in range(LINES_MAX):
                line = self.park.pico.console.read_until(b"\n", LOOK_S)
                with self.log.open("ab") as log:
                    log.write(line)
                self._take(line.decode(errors="replace").strip())
        if not self._estimated and time.monotonic() - self.on_s > MEASURE_S:
            self._estimated = True
            minutes = FIRST_RECEIPT_S * self.slower() / 60
            self.say(
                f"   so far {self.slower():.0f} s here for a second of the board; at this pace the first receipt "
                f"takes {minutes:.0f} minutes, but its start is the slowest: mostly it is a fraction of that"
            )
        self._progress(waiting_for)

    def _take(self, line: str) -> None:
        at = line.find("status {")
        if at >= 0:
            with contextlib.suppress(ValueError):
                self.status = json.loads(line[at + 7 :])
        elif line and "@" not in line[:3] and any(word in line for word in SHOWN_LINES):
            self.say(f"   the board says: {line[:140]}")

    def _progress(self, waiting_for: str) -> None:
        now_s = time.monotonic()
        status = self.status
        names = [name for name in ("sampled", "acknowledged", "buffered") if name in status]
        counts = ", ".join(f"{status[name]} {name}" for name in names)
        text = f"… {self.board_s():.1f} s of the board; waiting for {waiting_for}" + (f"; {counts}" if counts else "")
        if ON_A_TERMINAL:
            print(f"\r\x1b[K{clock(now_s - self.began_s):>6}  {text[:110]}", end="", flush=True)
        elif now_s - self._said_s >= SAY_S:
            self._said_s = now_s
            self.say(text)

    def wait(self, waiting_for: str, done, limit_s: float = STEP_S) -> None:
        """Look until `done()`. Raises DemoBoardError when `limit_s` of the board did not suffice."""
        until_s = self.board_s() + limit_s
        while not done():
            self.look(waiting_for)
            if self.board_s() > until_s:
                raise DemoBoardError(
                    f"{waiting_for}: not within {limit_s:.0f} s of the board. All that it said is in {self.log}"
                )

    # The steps.

    def flash(self, firmware: Path) -> None:
        self.say(f"1. flash: parkgate flash --board {BOARD} --firmware {firmware.name} --meters {PROFILE}")
        for line in self.park.write_flash().splitlines():
            if line.strip().startswith(("0x", "RPI")):
                self.say(f"   {' '.join(line.split())}")
        self.say("   into the chip's 2 MiB, as the boot loader does")

    def power_on(self) -> None:
        self.park.on()
        self.on_s = time.monotonic()
        self.say("2. power on: MicroPython starts, then the gateway makes its key and its journal")
        self.wait("its first words", lambda: self.status)
        self.say(
            f"   it runs after {self.board_s():.1f} s of the board: boot {self.status['boot']}, journal in "
            f"{self.status['storage']}, {self.status['heap_limit'] - self.status['heap_used']:,} bytes of heap free"
        )

    def provision(self) -> None:
        words, more = self.park.provisioning()
        shown = " ".join(str(word) for word in words).replace(str(REPOSITORY) + "/", "")
        self.say(f"3. provision by USB serial: parkgate {shown}")
        command = [sys.executable, "-m", "host_tools.cli", *map(str, words)]
        environment = {**os.environ, PATIENCE: f"{3 + 2 * self.slower():.0f}", **more}
        with open(self.park.folder / "provision.log", "w+", encoding="utf-8") as said:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True
            )
            try:
                self.wait("provisioning; the board starts anew twice", lambda: process.poll() is not None)
            finally:
                process.kill()
                process.wait()
            said.seek(0)
            text = said.read()
        if process.returncode:
            raise DemoBoardError(f"parkgate provision failed: {text}")
        self.say("   " + text.strip().splitlines()[-1])
        self.status = {}

    def first_readings(self) -> None:
        self.say("4. it samples, joins the Wi-Fi, opens TLS to the broker")
        self.wait("the first sample", lambda: self.status.get("sampled"))
        self.say(f"   the first sample is on flash: {self.status['sampled']} readings")
        self.wait("the first batch at the hub", lambda: self.park.at_hub().get("batches_verified"))
        self.say(f"   the first batch is verified at the hub and stored: see {self.park.hub.page}")
        self.wait("the first receipt", lambda: self.status.get("acknowledged"))
        self.say(
            f"   the first receipt: {self.status['acknowledged']} readings are acknowledged, their space is free again"
        )

    def go_on(self, duration_s: float | None) -> None:
        until = "Ctrl-C" if duration_s is None else f"{duration_s:.0f} s have gone by here"
        self.say(f"5. it goes on until {until}")
        began_s = time.monotonic()
        self.wait("more", lambda: duration_s is not None and time.monotonic() - began_s >= duration_s, float("inf"))

    # The end.

    def summary(self) -> list[str]:
        """Print it on one screen; what is not as promised, in words."""
        park, status, hub = self.park, self.status, self.park.at_hub()
        rows = park.exported() if hub.get("batches_verified") else []
        facts = []
        if park.pico is not None:
            stats = park.pico.stats()
            line, flash = stats["uart"][1], stats["flash"]
            facts += [
                ("time", f"{self.board_s():.0f} s of the board in {clock(time.monotonic() - self.on_s)} here"),
                ("flash", "{programs} programs, {erases} erases, {not_erased} where not erased".format(**flash)),
                ("meter's line", "{sent} bytes asked, {received} answered, {overruns} lost".format(**line)),
            ]
        if "heap_limit" in status:
            free, least = (status["heap_limit"] - status[name] for name in ("heap_used", "heap_peak"))
            facts += [
                ("heap free", f"{free:,} bytes; at the worst moment {least:,}"),
                ("readings", "{sampled} sampled = {acknowledged} acknowledged + {buffered} buffered + {dropped} dropped"
                 .format(**status)),
            ]  # fmt: skip
        counts = "{batches_verified} verified batches; {gaps} gaps, {forks} forks"
        if hub:
            facts.append(("at the hub", f"{len(rows)} readings in {counts.format(**hub)}"))
        newest = max((row["time_unix_ms"] for row in rows), default="")
        facts += [("", self._reading(row)) for row in rows if row["time_unix_ms"] == newest][:ROWS_SHOWN]
        data = os.path.relpath(park.hub.folder)
        facts.append(("all of it", f"build/venv/bin/parkgate export --data {data} --format csv"))
        print("\n" if ON_A_TERMINAL else "")
        for name, text in facts:
            print(f"{name:>14}  {text}")
        return self._problems(hub, rows)

    @staticmethod
    def _reading(row: dict) -> str:
        ms = row["time_unix_ms"]
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(ms) / 1000)) if ms else "not dated yet"
        return f"{when}  {row['instrument']} {row['quantity']} = {row['value']} {row['unit']} ({row['quality']})"

    def _problems(self, hub: dict, rows: list) -> list[str]:
        found = [f"the hub says: {alarm}" for alarm in hub.get("alarms", ())]
        if not rows:
            found.append(f"stopped before a reading was verified: that takes {FIRST_RECEIPT_S} s of the board's time")
        for name in ("gaps", "forks", "lost_batches"):
            if hub.get(name):
                found.append(f"{hub[name]} {name} at the hub")
        for name in ("dropped", "crashes"):
            if self.status.get(name):
                found.append(f"{self.status[name]} {name} on the board")
        if len(rows) < self.status.get("acknowledged", 0):
            found.append("the hub has fewer readings than were acknowledged")
        return found


def run(duration_s: float | None) -> int:
    """Exit code 0 when readings were verified and nothing went wrong. Raises DemoBoardError."""
    firmware = image()
    os.environ["PICO_IMAGE"] = str(firmware)
    missing = missing_for(BOARD)
    if missing:
        raise DemoBoardError(f"{missing}. {_where()}")
    FOLDER.parent.mkdir(exist_ok=True)
    try:
        lock = hold(FOLDER.with_suffix(".lock"))
    except BlockingIOError:
        raise DemoBoardError("a demo-board runs here already: stop it first, or take another clone") from None
    if FOLDER.exists():
        print("What the last run left in build/demo-board is replaced.")
        shutil.rmtree(FOLDER, ignore_errors=True)
    print(
        "An emulated Pico W, with the meter at its UART, its Wi-Fi, a broker with TLS and the hub on this machine.\n"
        f"The emulation is slower than a board: {FIRST_RECEIPT_S} s of the board until the first receipt take 5 to 30 "
        "minutes.\nCtrl-C ends it at any time; all of it lies in build/demo-board.\n"
    )
    with contextlib.closing(os.fdopen(lock)), WholePark(BOARD, FOLDER) as park:
        demo = Demo(park)
        demo.say(f"meter, broker and hub are there; the hub's page: {park.hub.page}")
        with contextlib.suppress(KeyboardInterrupt):
            demo.flash(firmware)
            demo.power_on()
            demo.provision()
            demo.first_readings()
            demo.go_on(duration_s)
        problems = demo.summary()
    for problem in problems:
        print(f"NOT WELL: {problem}")
    if not problems:
        print("All is well: everything that was acknowledged is verified at the hub. All processes are stopped.")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo-board", description=__doc__)
    parser.add_argument("--duration", type=float, metavar="S", help="end so many seconds behind the first receipt")
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell that started us lets Ctrl-C be ignored
        signal.signal(number, signal.default_int_handler)
    try:
        return run(args.duration)
    except (ParkgateError, EmulatorError) as error:
        print(f"demo-board: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

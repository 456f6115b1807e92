"""`parkgate meters scan --protocol dlt645`: which DL/T 645 meters are on a bus, by their addresses.

A meter has an address of 12 digits, so nobody can be asked one by one. First everybody is asked for the address
(AAAAAAAAAAAA). One meter alone answers cleanly. Several answer at the same time and spoil each other's bytes; then,
and also with `--all`, the address is narrowed down pair by pair from its end, with the pairs before it left open: 00,
01 … 99, and below each pair that is answered the next pair, until one meter alone answers. Every open address is asked
twice. Only reads are sent; nothing on the bus is changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from host_tools.meters.dlt645.line import REPLY_TIMEOUT_MS, Dlt645Bus
from parkgate.errors import Dlt645Refusal, LinkError, ModbusError, ModbusTimeout, SettingsError
from parkgate.meters.dlt645 import values
from parkgate.meters.dlt645.frame import ANY, fits, identifier_bytes, text_of
from parkgate.reading import GOOD

LINES = ("2400E", "9600E", "1200E", "4800E", "9600N")  # the usual ones first
_TRIES = 2
_PAIRS = 6
_VOLTAGE, _ENERGY, _OWN_ADDRESS = "02010100", "00010000", "04000401"
_SHOWN = (
    (_VOLTAGE, "bcd16", 1, "V"),
    ("02010300", "bcd16", 1, "V"),
    (_ENERGY, "bcd32", 2, "kWh"),
    ("02800002", "bcd16", 2, "Hz"),
)


@dataclass
class Found:
    """A meter that answered, and what it says (identifier → number in words)."""

    address: str
    baud: int
    parity: str
    says: dict[str, str] = field(default_factory=dict)

    @property
    def profile(self) -> str:
        """The profile that fits: by whether there is a third phase."""
        volts = self.says.get("02010300", "0")
        return "dlt645-2007" if float(volts.split(" ")[0]) > 0 else "dlt645-2007-1p"


def find(bus: Dlt645Bus, everyone: bool = False, say=lambda text: None) -> list[str]:
    """The addresses of all meters that answer on the bus. `everyone`: look pair by pair even when one meter seems to be
    alone; `say` gets a line about what is being looked for."""
    alone, crowded = _ask(bus, ANY)
    if crowded or (everyone and alone):
        say("several meters answer at once: looking for them pair by pair, which takes minutes")
        _narrow(bus, b"", say)
    return sorted(text_of(address) for address in bus.heard)


def _ask(bus: Dlt645Bus, address: bytes) -> tuple[bool, bool]:
    """(whether one meter answered cleanly, whether several did or may have)."""
    before = set(bus.heard)
    alone = crowded = False
    identifiers = ("", _ENERGY) if address == ANY else (_ENERGY, _OWN_ADDRESS)
    for identifier in identifiers[:_TRIES]:
        damaged = _noise(bus)
        try:
            bus.ask(address, identifier_bytes(identifier) if identifier else b"")
            alone = True
        except Dlt645Refusal:
            alone = True
        except ModbusTimeout:
            continue
        except ModbusError:
            crowded = True
        bus.listen(bus.meters.reply_timeout_us / 1e6)  # a slower one may answer as well
        crowded = crowded or _noise(bus) != damaged
    bus.meters.units.pop(address, None)
    answered = [each for each in bus.heard - before if fits(address, each)]
    return alone, crowded or len(answered) > 1


def _noise(bus: Dlt645Bus) -> int:
    statistics = [unit.statistics for unit in bus.meters.units.values()] + [bus.meters.line]
    return sum(each.noise_bytes for each in statistics)


def _narrow(bus: Dlt645Bus, end: bytes, say) -> None:
    """Ask for every pair before the given end of an address (low pair first); where several answer, go on before it."""
    for pair in range(100):
        known = end + bytes((pair // 10 << 4 | pair % 10,))
        alone, crowded = _ask(bus, known + ANY[len(known) :])
        if crowded and len(known) < _PAIRS:
            say(f"more than one address ends in {text_of(known)}")
            _narrow(bus, known, say)
        elif alone and len(known) == 1:
            say(f"an address ends in {text_of(known)}")


def look_at(bus: Dlt645Bus, address: str) -> dict[str, str]:
    """What a meter says of a few identifiers that nearly all have."""
    wire = bytes.fromhex(address)[::-1]
    says = {}
    for identifier, type_name, decimals, unit in _SHOWN:
        name, code = identifier_bytes(identifier), values.layout(type_name)
        for _ in range(_TRIES):
            try:
                data = bus.ask(wire, name).data
            except ModbusError:
                continue
            if len(data) == values.item_bytes(name, code):
                number, quality = values.number(data, 0, name, code)
                if quality == GOOD:
                    says[identifier] = f"{number / 10**decimals:.{decimals}f} {unit}"
            break
    return says


def scan(port: str, lines: list[tuple[int, str]], everyone: bool, timeout_ms: int) -> list[Found]:
    """Print what is found on each line. Raises LinkError."""
    found: list[Found] = []
    for baud, parity in lines:
        print(f"{baud} baud, parity {parity}", flush=True)
        try:
            bus = Dlt645Bus(port, baud, parity, max(timeout_ms, REPLY_TIMEOUT_MS))
        except SettingsError as error:
            print(f"  left out: {error}")
            continue
        with bus:
            for address in find(bus, everyone, lambda text: print(f"  {text}", flush=True)):
                item = Found(address, baud, parity, look_at(bus, address))
                says = ", ".join(item.says.values()) or "none of the values that were asked"
                print(f"  meter {address}: {says}", flush=True)
                print(
                    f"    settings add instruments name=meter{address[-4:]} profile={item.profile} bus=rs485 "
                    f"address={address}"
                )
                found.append(item)
        if found and not everyone:
            break  # meters of one bus speak at one speed
    return found


def glance(port: str) -> list[tuple[str, int, str]]:
    """(address, baud, parity) of one DL/T 645 meter or more that answers at a usual speed: for a bus on which nobody
    answers Modbus. Asks everybody once a speed."""
    for baud, parity in ((2400, "E"), (9600, "E")):
        try:
            with Dlt645Bus(port, baud, parity) as bus:
                try:
                    bus.ask(ANY)
                except ModbusError:
                    pass
                if bus.heard:
                    return [(text_of(address), baud, parity) for address in sorted(bus.heard)]
        except (SettingsError, LinkError):
            continue
    return []


def run(args, lines: list[tuple[int, str]]) -> int:
    """Print what is found; 0 when something answered."""
    began_s = time.monotonic()
    found = scan(args.port, lines, args.all, args.timeout_ms)
    print(f"{len(found)} meters answered, in {time.monotonic() - began_s:.0f} s")
    if found:
        item = found[0]
        print(f"the bus: settings add buses name=rs485 device=… protocol=dlt645 baud={item.baud} parity={item.parity}")
        return 0
    print("what to do: swap wires A and B; check ground and the meter's supply; or it speaks Modbus (no --protocol)")
    return 1

"""A board's board.py, made from its board.json: pins, ports and storage are stated once.

`parkgate boards NAME --module boards/NAME/board.py` writes it. The firmware runs the module, so a board never reads
JSON for its pins. The simulated board has a module of its own.
"""

from __future__ import annotations

_TLS_ROOM_BYTES = 32768  # what an RP2 keeps free for a TLS handshake near the heap's beginning (DESIGN 5)

_WHOLE = '''"""{title}. board.json beside it has the wiring."""

{imports}


class Board({base}):
    """See boards/unix/board.py for what every board has."""

    name = "{name}"
{storage}    ports = {{
{ports}    }}
    pins = {{
{pins}    }}
{link}

def this_board() -> Board:
    """The board that the firmware runs on."""
    return Board()
'''
_LINK = """
    def __init__(self):
        super().__init__()
        self.link = {link}
"""


BASES = {"rp2": "Rp2Board", "esp32": "Esp32Board"}  # port of MicroPython → the class of its boards


def text(name: str, port: str, data: dict) -> str:
    """The source of board.py for a board of a port in BASES. `data`: its board.json."""
    base = BASES[port]
    from_hal = [base]
    imports = []
    link = ""
    if "wifi" in data["links"]:
        imports.append("from hal.device.wifi import Wifi")
        link = _LINK.format(link="Wifi(self.network, MODE_PM)" if port == "rp2" else "Wifi(self.network)")
        from_hal[:0] = ["MODE_PM"] if port == "rp2" else []
    imports.append(f"from hal.{port}.board import {', '.join(from_hal)}")
    if "ethernet" in data["links"]:
        imports.append(f"from hal.{port}.ethernet import Ethernet")
        wires = data["ethernet"]
        pins = ", ".join(f"{role}={wires[role]}" for role in ("mdc", "mdio", "power", "clock"))
        link = _LINK.format(link=f'Ethernet("{wires["phy"]}", {wires["phy_addr"]}, {pins})')
    storage = ""
    if port == "rp2":
        storage = f"    tls_room_bytes = {_TLS_ROOM_BYTES}\n" if data["links"] else ""
        storage += f"    segments = {data['stock_build']['segments']}\n"
    ports = {one: tuple(wires[role] for role in ("uart", "tx", "rx", "de")) for one, wires in data["ports"].items()}
    return _WHOLE.format(
        title=data["title"], imports="\n".join(imports), base=base, name=name, storage=storage, link=link,
        ports=_rows(ports), pins=_rows(data["pins"]),
    )  # fmt: skip


def _rows(table: dict) -> str:
    return "".join(f'        "{name}": {value},\n' for name, value in table.items())

"""Wireless-Tag WT32-ETH01 (ESP32, Ethernet, header for RS-485). board.json beside it has the wiring."""

from hal.esp32.board import Esp32Board
from hal.esp32.ethernet import Ethernet


class Board(Esp32Board):
    """See boards/unix/board.py for what every board has."""

    name = "esp32_wt32_eth01"
    ports = {
        "rs485": (2, 17, 5, 33),
    }
    pins = {
        "i2c_sda": 14,
        "i2c_scl": 15,
        "onewire": 4,
        "s0_1": 35,
        "s0_2": 36,
        "input_1": 32,
        "adc": 39,
    }

    def __init__(self):
        super().__init__()
        self.link = Ethernet("PHY_LAN8720", 1, mdc=23, mdio=18, power=16, clock=0)


def this_board() -> Board:
    """The board that the firmware runs on."""
    return Board()

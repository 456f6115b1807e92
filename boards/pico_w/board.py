"""Raspberry Pi Pico W. board.json beside it has the wiring."""

from hal.device.wifi import Wifi
from hal.rp2.board import MODE_PM, Rp2Board


class Board(Rp2Board):
    """See boards/unix/board.py for what every board has."""

    name = "pico_w"
    tls_room_bytes = 32768
    segments = 96
    ports = {
        "rs485": (1, 4, 5, 2),
        "rs485_b": (0, 0, 1, 3),
    }
    pins = {
        "i2c_sda": 8,
        "i2c_scl": 9,
        "onewire": 22,
        "s0_1": 14,
        "s0_2": 15,
        "input_1": 18,
        "input_2": 19,
        "adc": 26,
    }

    def __init__(self):
        super().__init__()
        self.link = Wifi(self.network, MODE_PM)


def this_board() -> Board:
    """The board that the firmware runs on."""
    return Board()

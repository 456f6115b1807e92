"""ESP32 development board with 4 MB of flash. board.json beside it has the wiring."""

from hal.device.wifi import Wifi
from hal.esp32.board import Esp32Board


class Board(Esp32Board):
    """See boards/unix/board.py for what every board has."""

    name = "esp32_generic"
    ports = {
        "rs485": (2, 27, 26, 25),
    }
    pins = {
        "i2c_sda": 21,
        "i2c_scl": 22,
        "onewire": 4,
        "s0_1": 32,
        "s0_2": 33,
        "input_1": 18,
        "input_2": 19,
        "adc": 34,
    }

    def __init__(self):
        super().__init__()
        self.link = Wifi(self.network)


def this_board() -> Board:
    """The board that the firmware runs on."""
    return Board()

"""ESP32-S3 development board with 4 MB of flash or more. board.json beside it has the wiring."""

from hal.device.wifi import Wifi
from hal.esp32.board import Esp32Board


class Board(Esp32Board):
    """See boards/unix/board.py for what every board has."""

    name = "esp32_s3"
    ports = {
        "rs485": (1, 17, 18, 16),
    }
    pins = {
        "i2c_sda": 8,
        "i2c_scl": 9,
        "onewire": 4,
        "s0_1": 5,
        "s0_2": 6,
        "input_1": 10,
        "input_2": 11,
        "adc": 1,
    }

    def __init__(self):
        super().__init__()
        self.link = Wifi(self.network)


def this_board() -> Board:
    """The board that the firmware runs on."""
    return Board()

"""ESP32-S3 development board with 4 MB of flash or more. board.json beside it has the wiring."""

from hal.device.wifi import Wifi
from hal.esp32.board import Esp32Board


class Board(Esp32Board):
    """See boards/unix/board.py for what every board has."""

    name = "esp32_s3"
    ports = {
        "rs485": (1, 17, 18, 16),
    }

    def __init__(self):
        super().__init__()
        self.link = Wifi(self.network)


def this_board() -> Board:
    """The board that the firmware runs on."""
    return Board()

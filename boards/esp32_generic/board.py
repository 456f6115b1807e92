"""ESP32 development board with 4 MB of flash. board.json beside it has the wiring."""

from hal.device.wifi import Wifi
from hal.esp32.board import Esp32Board


class Board(Esp32Board):
    """See boards/unix/board.py for what every board has."""

    name = "esp32_generic"
    ports = {
        "rs485": (2, 27, 26, 25),
    }

    def __init__(self):
        super().__init__()
        self.link = Wifi(self.network)


def this_board() -> Board:
    """The board that the firmware runs on."""
    return Board()

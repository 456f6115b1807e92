"""Raspberry Pi Pico. board.json beside it has the wiring."""

from hal.rp2.board import Rp2Board


class Board(Rp2Board):
    """See boards/unix/board.py for what every board has."""

    name = "pico"
    segments = 160
    ports = {
        "rs485": (1, 4, 5, 2),
        "rs485_b": (0, 0, 1, 3),
    }


def this_board() -> Board:
    """The board that the firmware runs on."""
    return Board()

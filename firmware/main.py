"""The start: this board's parts, the gateway made of them, run."""

from app import App
from board import this_board

App(this_board()).run()

"""The whole system in one process and in virtual time, all chance from one seed: `make sim SEEDS=100`.

Real, unchanged: the gateway from firmware/start.py and firmware/app.py down (tasks, sensors, mqtt, files, the library,
all signatures), each gateway with modules of its own, loaded anew at each start; the hub's intake and its database.
Made up: time, the scheduler, flash, file system, serial line and meter, network, broker. See world.py for what goes
wrong, and checker.py for what must hold.

Not run here: TLS, the resolver, NTP and Wi-Fi of the boards (they are in C or need sockets; tests/host and tests/board
run them), the hub's connection to its broker (paho and its thread), its page and its log's signer. One thing of the
gateway is set otherwise than on a board: how often its loops look round (world.PACES); `--fine` leaves that, too.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent
for _folder in (".", "lib", "tests/sim", "tests/host"):
    if str(ROOT / _folder) not in sys.path:
        sys.path.append(str(ROOT / _folder))

"""Runs on MicroPython: a board's network by hal.device, with a radio and a network that are made up. Prints JSON."""

# pyright: reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false

import asyncio
import json
import sys


class Machine:
    """What hal.device takes from machine; nothing of it is used here."""

    UART = Pin = WDT = RTC = I2C = SPI = ADC = Timer = unique_id = None


class Radio:
    """A radio of which a test says the state."""

    def __init__(self, _interface):
        self.up = False
        self.said = 0
        self.log = []
        self.tried = []
        self.heard = ()

    def active(self, on):
        self.log.append(on)

    def connect(self, name, password):
        self.log.append("connect")
        self.tried.append((name, password))
        self.up = name in self.heard

    def disconnect(self):
        self.log.append("disconnect")
        self.up = False

    def isconnected(self):
        return self.up

    def status(self, what=None):
        return -61 if what == "rssi" else self.said

    def ifconfig(self):
        return ("10.0.0.2", "255.255.255.0", "10.0.0.1", NAME_SERVER)


class Network:
    STA_IF = 0
    STAT_NO_AP_FOUND = -2
    WLAN = Radio


NAME_SERVER = sys.argv[1]
sys.modules["machine"] = Machine
sys.modules["network"] = Network

from hal import net  # noqa: E402
from hal.device import board as boards  # noqa: E402
from hal.device.wifi import Wifi  # noqa: E402
from parkgate.errors import LinkError, NoAnswer  # noqa: E402

boards.DNS_TIMEOUT_MS = 300


class Board(boards.DeviceBoard):
    def _prepare_files(self):
        pass


def board(more=()):
    made = Board()
    made.link = Wifi(made.network)
    made.use_network({"network": {"ssid": "park"}, "networks": more, "broker": {"tls": "off"}})
    return made


async def connects(made, errors):
    for error in errors:

        async def connect(*_, error=error):
            if error:
                raise error
            return "reader", "writer"

        net.connect = connect
        if made.link._radio:
            made.link._radio.up = True
        try:
            await made.connect("10.0.0.9", 1883, 100)
        except LinkError:
            pass
    return made.link_resets


async def networks():
    """Three networks: which is tried when, and how it stands in words."""
    made = board([{"name": "yard", "password": "y"}, {"name": "gate", "password": ""}])
    link, tried, words = made.link, [], []
    radio = link._radio = Radio(0)
    radio.said = Network.STAT_NO_AP_FOUND

    async def up(*heard):
        radio.heard, radio.tried = heard, []
        radio.up = False
        for _ in range(4):
            try:
                await link.up(100)
                words.append(link.state())
                break
            except LinkError as e:
                words.append(str(e))
        tried.append(radio.tried)

    await up("gate")
    await up("park", "gate")  # the connection was lost
    await up("yard")
    link.down()  # it passes nothing
    await up("yard", "gate")
    radio.up = True
    await link.up(100)  # it is there: nothing is tried
    return {"tried": tried, "words": words}


async def main():
    made = board()
    radio = made.link._radio = Radio(0)
    made.link._start = lambda *_: radio
    silent = NoAnswer("within 100 ms")
    found = {
        "resets": [
            await connects(made, [silent, silent]),
            await connects(made, [LinkError("connection refused"), silent, silent, None, silent, silent]),
            await connects(made, [silent]),
        ],
        "radio": list(radio.log),
    }
    radio.up = True
    found["signal"] = [made.link.signal_dbm()]
    radio.up = False
    found["signal"].append(made.link.signal_dbm())
    radio.said = Network.STAT_NO_AP_FOUND
    import time

    before = time.ticks_ms()
    try:
        await made.link.up(60000)
    except LinkError as e:
        found["reason"] = str(e)
    found["waited_ms"] = time.ticks_diff(time.ticks_ms(), before)
    found["networks"] = await networks()
    print(json.dumps(found))


asyncio.run(main())

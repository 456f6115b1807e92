"""A wired network by ESP32's own Ethernet controller and a PHY chip beside it."""

import asyncio
import time

import network
from machine import Pin

from parkgate.errors import LinkError

_LOOK_MS = 100


class Ethernet:
    """`phy` names the type as module network does ("PHY_LAN8720"); pins by number, `power` None where there is none.
    The clock of 50 MHz comes from outside into `clock`."""

    def __init__(self, phy: str, phy_addr: int, mdc: int, mdio: int, power: int, clock: int):
        self._phy = phy
        self._phy_addr = phy_addr
        self._pins = mdc, mdio, power, clock
        self._lan = None

    async def up(self, timeout_ms: int):
        """Return when the network is there. Raises LinkError that says why it is not."""
        if self._lan is None:
            try:
                self._start()
            except (OSError, ValueError) as e:
                raise LinkError("Ethernet: %s" % e)
        lan = self._lan
        deadline = time.ticks_add(time.ticks_ms(), timeout_ms)
        while not lan.isconnected():
            if time.ticks_diff(deadline, time.ticks_ms()) <= 0:
                linked = lan.status() == getattr(network, "ETH_CONNECTED", None)
                reason = "no address by DHCP" if linked else "no cable, or nothing at its end"
                raise LinkError("Ethernet: " + reason)
            await asyncio.sleep_ms(_LOOK_MS)

    def address(self) -> str:
        """The board's own IPv4 address."""
        return self._lan.ifconfig()[0] if self._lan else "0.0.0.0"

    def name_server(self) -> str:
        """The name server that the network named."""
        return self._lan.ifconfig()[3] if self._lan else "0.0.0.0"

    def _start(self):
        mdc, mdio, power, clock = self._pins
        wiring = {
            "mdc": Pin(mdc),
            "mdio": Pin(mdio),
            "power": None if power is None else Pin(power),
            "phy_type": getattr(network, self._phy),
            "phy_addr": self._phy_addr,
            "ref_clk": Pin(clock),
            "ref_clk_mode": Pin.IN,
        }
        lan = network.LAN(**wiring)
        lan.active(True)
        self._lan = lan

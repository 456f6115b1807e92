"""The board's Wi-Fi as a client of the workshop's network."""

import asyncio
import time

import network

from parkgate.errors import LinkError

_LOOK_MS = 100
_SURE_LOOKS = 30  # drivers say so for a moment while they still try
_REASONS = {
    "STAT_WRONG_PASSWORD": "the password is refused",
    "STAT_NO_AP_FOUND": "no such network is heard here",
    "STAT_CONNECT_FAIL": "the access point refuses",
    "STAT_ASSOC_FAIL": "the access point refuses",
    "STAT_BEACON_TIMEOUT": "the signal was lost",
    "STAT_HANDSHAKE_TIMEOUT": "the access point does not finish; the password may be wrong",
}


class Wifi:
    """`credentials()` gives a dict with ssid, password and perhaps country, hostname and `more` networks (dicts with
    name and password), or None. Each try is of one network: after a failure the next of the list, after a connection
    that was lost the first again. `mode_pm` is the power mode that keeps answers quick, where the driver has one."""

    def __init__(self, credentials, mode_pm: int = -1):
        self._credentials = credentials
        self._pm = mode_pm
        self._radio = None
        self._at = 0  # of the networks in their order
        self._was_up = False

    async def up(self, timeout_ms: int):
        """Return when the network is there. Raises LinkError that says why it is not."""
        radio = self._radio
        if radio is not None and radio.isconnected():
            return
        if self._was_up:
            self._was_up, self._at = False, 0
        name, password = self._wanted()
        self._at += 1  # until it is connected, a failure leads to the next
        try:
            radio = self._start(name, password)
        except (OSError, ValueError) as e:
            raise LinkError("Wi-Fi %r: %s" % (name, e))
        deadline = time.ticks_add(time.ticks_ms(), timeout_ms)
        looks = 0  # in a row at which the driver named a reason why there is no connection
        while not radio.isconnected():
            looks = looks + 1 if self._reason(radio.status()) else 0
            if time.ticks_diff(deadline, time.ticks_ms()) <= 0 or looks >= _SURE_LOOKS:
                reason = self._in_words(radio.status())
                radio.disconnect()  # a half-made connection would refuse the next try
                raise LinkError("Wi-Fi %r: %s" % (name, reason))
            await asyncio.sleep_ms(_LOOK_MS)
        self._at -= 1
        self._was_up = True

    def _wanted(self):
        """(name, password) of the network that is tried now, or used. Raises LinkError when none is set."""
        wanted = self._credentials() or {}
        networks = [(wanted["ssid"], wanted.get("password"))] if wanted.get("ssid") else []
        networks += [(each["name"], each["password"]) for each in wanted.get("more", ())]
        if not networks:
            raise LinkError("no Wi-Fi network is set on this gateway")
        return networks[self._at % len(networks)]

    def state(self) -> str:
        """How it stands, in words. Raises LinkError when there is no connection."""
        name = self._wanted()[0]
        radio = self._radio
        if radio is None or not radio.isconnected():
            raise LinkError("Wi-Fi %r: %s" % (name, self._in_words(radio.status()) if radio else "not tried"))
        return "on %r as %s" % (name, self.address())

    def signal_dbm(self):
        """Strength of the signal in dBm, None while there is no connection or the driver does not know it."""
        radio = self._radio
        try:
            return radio.status("rssi") if radio is not None and radio.isconnected() else None
        except (OSError, ValueError):
            return None

    def address(self) -> str:
        """The board's own IPv4 address."""
        return self._radio.ifconfig()[0] if self._radio else "0.0.0.0"

    def down(self):
        """Turn the radio off, of a network that passes nothing: up() tries the next one."""
        self._at += 1
        self._was_up = False
        if self._radio is not None:
            self._radio.disconnect()
            self._radio.active(False)

    def name_server(self) -> str:
        """The name server that the network named."""
        return self._radio.ifconfig()[3] if self._radio else "0.0.0.0"

    def _start(self, name, password):
        if self._radio is None:
            wanted = self._credentials()
            if wanted.get("country"):
                network.country(wanted["country"])
            if wanted.get("hostname"):
                network.hostname(wanted["hostname"])
            self._radio = network.WLAN(network.STA_IF)
        radio = self._radio
        radio.active(True)
        if self._pm >= 0:
            radio.config(pm=self._pm)
        radio.connect(name, password or None)
        return radio

    def _reason(self, status):
        """Why the driver says that there is no connection; None where it names no reason."""
        for name, text in _REASONS.items():
            if getattr(network, name, None) == status:
                return text
        return None

    def _in_words(self, status):
        return self._reason(status) or "no connection in time (status %s)" % status

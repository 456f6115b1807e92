"""The hub's own broker with an account for each gateway: who may come in, and what each may say and hear.

A gateway may publish its own batches and beats and hear what is for it; the hub may do all. Passwords are made from the
hub's private key and the name, so there is no list of them to keep or to lose. Enrolled and revoked gateways are
looked for once a second.
"""

from __future__ import annotations

import threading

from host_tools.base.keys import HubKey
from host_tools.broker.broker import Account, Broker
from host_tools.hub.service import Hub

HUB = "hub"
LOOK_S = 1.0


def account(key: HubKey, topic_name: str) -> Account:
    """The account of the gateway whose topics have this name."""
    publish = f"tele.{topic_name}.batch", f"tele.{topic_name}.beat"
    # An MQTT client of NATS hears what it subscribed to with QoS 1 through the last of these.
    subscribe = f"cmd.{topic_name}", f"cmd.{topic_name}.>", "$MQTT.sub.>"
    return Account(topic_name, key.broker_password(topic_name), publish, subscribe)


def accounts(hub: Hub) -> list[Account]:
    """All accounts as the hub knows its gateways now: the hub's own, and one for each that is not revoked."""
    welcome = [each for each in hub.board.since(0)[1] if not each["revoked_unix_ms"]]
    own = Account(HUB, hub.key.broker_password(HUB), (), ())
    return [own, *(account(hub.key, each["topic"]) for each in sorted(welcome, key=lambda each: each["topic"]))]


class Doorkeeper:
    """Keeps the accounts of a running broker as the hub's gateways are."""

    def __init__(self, hub: Hub, broker: Broker):
        self.hub, self.broker = hub, broker
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub-accounts", daemon=True)

    def __enter__(self) -> Doorkeeper:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join(10 * LOOK_S)

    def _run(self) -> None:
        while not self._end.wait(LOOK_S):
            self.broker.set_accounts(accounts(self.hub))

"""Enrol a gateway at a hub elsewhere, over HTTP with an operator's token."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from typing import NamedTuple
from urllib.parse import urlsplit

from host_tools.base.keys import parse_public
from parkgate.errors import LinkError, SettingsError

TIMEOUT_S = 15.0
TRIES = 3
WAIT_S_MAX = 60
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Enrolled(NamedTuple):
    """What the hub answered: its public key (x || y), its own broker, whether it had the gateway already."""

    hub_xy: bytes
    broker_host: str
    broker_port: int
    broker_tls: bool
    broker_ca: str  # what its certificate comes from, as a gateway's setting; empty where the hub does not say
    broker_account: tuple[str, str] | None  # (user, password) where the hub's broker asks for them
    known: bool
    hub_root: tuple[str, int]  # id of the root that may change the hub's key, number of its document; "", 0: none


def is_address(text: str) -> bool:
    """Whether --hub names a hub by its address, not a folder."""
    return text.startswith(("http://", "https://"))


def enrol(
    url: str, token: str | None, public_key: bytes, name: str, only_check: bool = False, place: str | None = None,
    replaces: str | None = None, next_key: str | None = None,
) -> Enrolled:  # fmt: skip
    """`place` is where it stands, `replaces` the gateway whose place it takes, `next_key` the id of the key that will
    follow its own, in hexadecimal. `only_check`: ask whether the hub would
    take it, and change nothing there. Raises SettingsError when the hub refuses, LinkError when it cannot be asked."""
    token = token or os.environ.get("PARKGATE_TOKEN")
    if not token:
        raise SettingsError("--token-file or PARKGATE_TOKEN must give a token: `parkgate operator NAME` makes one")
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise SettingsError(
            f"{url}: the token and the hub's key must not travel in the open: take https, "
            "or a tunnel (ssh -L 8080:127.0.0.1:8080 HUB) and http://127.0.0.1:8080"
        )
    asked = {
        "public_key": public_key.hex(), "name": name, "check": only_check, "place": place, "replaces": replaces,
        "next_key": next_key,
    }  # fmt: skip
    request = urllib.request.Request(
        url.rstrip("/") + "/api/gateways",
        json.dumps({key: value for key, value in asked.items() if value}).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    for turn in range(TRIES):
        try:
            with _straight().open(request, timeout=TIMEOUT_S) as answer:
                return _read(url, answer.read(65536))
        except urllib.error.HTTPError as error:
            wait = error.headers.get("Retry-After", "")
            if error.code == 429 and wait.isdigit() and turn + 1 < TRIES:
                print(f"the hub asks us to wait {wait} s")
                time.sleep(min(int(wait), WAIT_S_MAX))
                continue
            raise SettingsError(f"the hub refuses: {_reason(error)}") from None
        except (OSError, http.client.HTTPException) as error:
            raise LinkError(f"{url}: {getattr(error, 'reason', None) or error}") from None
    raise LinkError(f"{url}: too many requests")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None  # the token is for the hub that was named, and for nobody it points to


def _straight() -> urllib.request.OpenerDirector:
    """Opens the address that was named: no redirect is followed, no proxy of the environment used."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(65536))["error"])
    except (OSError, ValueError, KeyError, TypeError):
        if 300 <= error.code < 400:
            where = error.headers.get("Location", "elsewhere")
            return f"it points to {where[:200]}: name that address if it is the hub's"
        return f"status {error.code}"


def _read(url: str, data: bytes) -> Enrolled:
    try:
        answer = json.loads(data)
        broker = answer["broker"]
        hub_xy = parse_public(answer["hub_public_key"])
        host, port, tls = broker["host"], broker["port"], broker["tls"]
        if not isinstance(host, str) or type(port) is not int or not 0 < port < 65536 or not isinstance(tls, bool):
            raise ValueError("the broker")
        ca = broker.get("ca") or ""
        if not isinstance(ca, str):
            raise ValueError("the broker's authority")
        account = None if broker.get("user") is None else (broker["user"], broker["password"])
        if account is not None and not all(isinstance(part, str) for part in account):
            raise ValueError("the broker's account")
        root = answer.get("hub_root") or {"id": "", "serial": 0}
        hub_root = root["id"], root["serial"]
        if [type(part) for part in hub_root] != [str, int] or len(hub_root[0]) not in (0, 64):
            raise ValueError("the root")
        return Enrolled(hub_xy, host, port, tls, ca, account, answer.get("known") is True, hub_root)
    except (ValueError, KeyError, TypeError):
        raise LinkError(f"{url} answers, but not as a hub does") from None

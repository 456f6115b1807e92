"""What the page's connections may cost: how many, and how long each may take. None of it can starve the receiver.

uvicorn's own limits know no deadline for a request that never ends, and a process has one table of descriptors for the
page, the broker's connection and the database.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
from typing import cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from parkgate.errors import SettingsError

CONNECTIONS_MAX = 128  # beyond it the one that has been idle longest is closed
REQUEST_S = 10.0  # from the connection, or the end of the answer before, to the end of a request's head
ANSWER_S = 60.0  # from there to the end of the answer, with the request's body
HEAD_BYTES_MAX = 16 * 1024
ACCEPTED_TOGETHER = 16  # asyncio accepts as many as the listener's backlog before it looks at any
GRACE_S = 3
PROGRESS = "parkgate.progress"  # in a request's scope: call it when a part of a long answer has gone out
DESCRIPTORS_SPARED = 256  # for the broker, the database and the files of the page


class LimitedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with deadlines, and with a number of connections that has an end."""

    _timer: asyncio.TimerHandle | None = None
    since_s = 0.0  # when it began to wait for a request

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._wait_for_request()
        if len(self.connections) > CONNECTIONS_MAX:
            idle = [each for each in self.connections if isinstance(each, LimitedProtocol) and each.is_idle()]
            min(idle, key=lambda each: each.since_s, default=self).give_up()

    def connection_lost(self, exc) -> None:
        self._set_timer(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_idle = self.is_idle()
        super().data_received(data)
        if was_idle and not self.is_idle():
            self._set_timer(ANSWER_S)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None:
            cast(dict, self.cycle.scope)[PROGRESS] = self._went_on

    def _went_on(self) -> None:
        """A part of the answer is on its way: the next has ANSWER_S again. Who reads nothing gets nothing more."""
        if not self.is_idle():
            self._set_timer(ANSWER_S)

    def on_response_complete(self) -> None:
        self._wait_for_request()
        super().on_response_complete()
        if not self.is_idle():  # the next request had come already
            self._set_timer(ANSWER_S)

    def is_idle(self) -> bool:
        """Whether no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def give_up(self) -> None:
        """End it now, whatever is on its way."""
        self._set_timer(None)
        self.connections.discard(self)
        self.transport.abort()

    def _wait_for_request(self) -> None:
        self.since_s = self.loop.time()
        self._set_timer(REQUEST_S)

    def _set_timer(self, after_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if after_s is not None and not self.transport.is_closing():
            self._timer = self.loop.call_later(after_s, self.give_up)


def config(app, proxy: str | None = None, tls: tuple[str, str] | None = None) -> uvicorn.Config:
    """How uvicorn serves the page. `proxy` is the address of the one proxy whose X-Forwarded-For is believed; nobody
    else's is. `tls` are the files of certificate and key."""
    return uvicorn.Config(
        app,
        log_level="warning",
        log_config=None,
        access_log=False,
        lifespan="on",
        http=LimitedProtocol,
        ws="none",
        loop="asyncio",
        backlog=ACCEPTED_TOGETHER,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        timeout_graceful_shutdown=GRACE_S,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy or "",
        server_header=False,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )


def check_tls(cert_file: str, key_file: str) -> None:
    """Raise SettingsError where these two files cannot serve TLS, before anything is started."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A key with a passphrase is refused: nobody is there to type it when the computer starts.
        context.load_cert_chain(cert_file, key_file, password=lambda: "")
    except ssl.SSLError as error:
        why = error.reason or error
        raise SettingsError(
            f"{cert_file} and {key_file} are not a certificate and its key, both in PEM and without a passphrase: {why}"
        ) from None
    except OSError as error:
        raise SettingsError(f"{cert_file} and {key_file} cannot be read: {error.strerror}") from None


def raise_descriptor_limit() -> None:
    """As many descriptors as the system allows this process. Raises nothing: what there is must do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + DESCRIPTORS_SPARED
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
        except (ValueError, OSError):
            pass

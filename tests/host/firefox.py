"""A headless Firefox, asked by Marionette, the protocol that every Firefox speaks: `length:JSON` over TCP."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

WAIT_S = 60


class Firefox:
    """Use as a context manager. `page` is opened from disk."""

    def __init__(self, program, folder: Path, page: Path):
        self.program, self.folder, self.page, self.number = program, folder, page, 0

    def __enter__(self):
        profile = self.folder / "profile"
        profile.mkdir()
        (profile / "user.js").write_text('user_pref("marionette.port", 0);\n')
        environment = {**os.environ, "HOME": str(self.folder), "MOZ_HEADLESS": "1"}
        self.process = subprocess.Popen(
            [self.program, "--headless", "--no-remote", "--marionette", "--profile", str(profile)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            self.socket = self._connect(profile)
            self._read()
            self.ask("WebDriver:NewSession", {"acceptInsecureCerts": False})
            self.ask("WebDriver:SetTimeouts", {"script": WAIT_S * 1000})
            self.ask("WebDriver:Navigate", {"url": self.page.as_uri()})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT_S)

    def _connect(self, profile):
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                port = int((profile / "MarionetteActivePort").read_text())
                return socket.create_connection(("127.0.0.1", port), WAIT_S)
            except (OSError, ValueError):
                assert self.process.poll() is None, "Firefox ended"
                assert time.monotonic() < deadline, "Firefox does not answer"
                time.sleep(0.1)

    def _read(self):
        data = b""
        while not (head := re.match(rb"(\d+):", data)):
            data += self.socket.recv(4096)
        wanted = head.end() + int(head[1])
        while len(data) < wanted:
            data += self.socket.recv(65536)
        return json.loads(data[head.end() : wanted])

    def ask(self, command, fields):
        """What Firefox answers to one command."""
        self.number += 1
        text = json.dumps([0, self.number, command, fields]).encode()
        self.socket.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self._read()
        assert error is None, error
        return result

    def verdict(self, data, trust):
        """What verify.html says of an archive, and how many requests the page has made."""
        script = """
            const [packed, trust, done] = arguments;
            const file = new File([Uint8Array.from(atob(packed), c => c.charCodeAt(0))], "a.zip");
            window.verdictOf(file, trust).then(
                said => done([said, performance.getEntriesByType("resource").length]),
                error => done([String(error), -1]));
        """
        fields = {"script": script, "args": [base64.b64encode(data).decode(), list(trust)], "sandbox": None}
        said, requests = self.ask("WebDriver:ExecuteAsyncScript", fields)["value"]
        assert requests == 0, said
        return json.loads(said)

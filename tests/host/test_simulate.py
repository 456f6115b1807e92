"""One gateway a folder: two on one flash would ruin its journal."""

import os
import signal
import time

import pytest

from host_tools import cli
from host_tools.simulate import GatewayBusy, SimulatedGateway


def test_a_folder_belongs_to_one_gateway(tmp_path, capsys):
    folder = tmp_path / "board"
    first, second = SimulatedGateway(folder), SimulatedGateway(folder)
    try:
        first.start()
        console = os.readlink(folder / "console")
        with pytest.raises(GatewayBusy, match="already: stop it first"):
            second.start()
        assert cli.main(["simulate", str(folder)]) == 2
        assert "a folder of its own" in capsys.readouterr().err
        assert os.readlink(folder / "console") == console, "the first one's line is still its own"
        first.kill()
        second.start()
        assert second.public_key()
        os.kill(second.pid or 0, signal.SIGKILL)  # from outside, and on again
        deadline_s = time.monotonic() + 10
        while second.running() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        second.start()
        assert second.running()
    finally:
        first.kill()
        second.kill()

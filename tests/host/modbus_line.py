"""The client on a real tty of this machine: a plain blocking loop around `modbus.Client`, for tests."""

from __future__ import annotations

import os
import select
import time
import tty

from parkgate.errors import ModbusError
from parkgate.meters.modbus.client import Client, Reply


def clock_us() -> int:
    """A clock that wraps as a board's does."""
    return time.monotonic_ns() // 1000 % (1 << 30)


class TtyLine:
    """One bus, opened by its path."""

    def __init__(self, device: str, **options):
        self.client = Client(options.pop("baud", 9600), **options)
        self._file = os.open(device, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._file)

    def close(self) -> None:
        os.close(self._file)

    def ask(self, unit_id, function, address, content, probe=False):
        """One exchange; a Reply or the ModbusError that ended it."""
        client = self.client
        while wait_us := client.wait_us(unit_id, clock_us()):
            self._step(wait_us)
        os.write(self._file, client.request(unit_id, function, address, content, clock_us(), probe))
        while True:
            event = self._step(client.due_us(clock_us()))
            if event is not None:
                return event

    def read_all(self, unit_id, plan, values, qualities) -> list[ModbusError]:
        """Every block of a plan, split where the meter refuses; what went wrong."""
        errors = []
        i = 0
        while i < len(plan.blocks):
            block = plan.blocks[i]
            if not self.client.may_ask(unit_id, block.function, block.count, clock_us()):
                self.ask(unit_id, block.function, block.address, self._probe_count(unit_id, block), True)
                if not self.client.may_ask(unit_id, block.function, block.count, clock_us()):
                    time.sleep(0.05)
                    continue
            event = self.ask(unit_id, block.function, block.address, block.count)
            if isinstance(event, Reply):
                plan.decode(i, event.data, values, qualities)
                i += 1
            elif getattr(event, "code", None) in (2, 3):
                plan.refused(i)
            else:
                errors.append(event)
        return errors

    def _probe_count(self, unit_id, block):
        free = (c for c in (1, 2, 3) if self.client.may_ask(unit_id, block.function, c, clock_us()))
        return next(free, 1)

    def _step(self, wait_us):
        readable, _, _ = select.select([self._file], [], [], max(wait_us, 500) / 1e6)
        if readable:
            return self.client.receive(os.read(self._file, 512), clock_us())
        return self.client.poll(clock_us())

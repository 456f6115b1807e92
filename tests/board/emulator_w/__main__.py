"""Runs one emulated Pico W: `python -m tests.board.emulator_w OPTIONS`. Options and commands: see emulator/main.mjs.

Not here: the options `cache`, `usb` and `unique_id`, and the pins' commands.
"""

import asyncio
import json
import os
import sys

from tests.board.emulator_w.board import PicoW


def tell(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Wire:
    """All TCP connections to one line of the board."""

    def __init__(self, on_data):
        self.on_data = on_data
        self.writers = set()

    def write(self, data):
        for writer in self.writers:
            writer.write(data)

    async def join(self, reader, writer):
        """Carries bytes until the connection ends."""
        self.writers.add(writer)
        try:
            while data := await reader.read(4096):
                self.on_data(data)
        except OSError:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def listen(self):
        server = await asyncio.start_server(self.join, "127.0.0.1", 0)
        return server, server.sockets[0].getsockname()[1]

    async def connect(self, address):
        host, _, port = address.rpartition(":")
        while True:
            try:
                await self.join(*await asyncio.open_connection(host, int(port)))
            except OSError:
                pass
            await asyncio.sleep(0.1)


class Emulator:
    """The board, its wires and its commands."""

    def __init__(self, options):
        self.console = Wire(lambda data: self.board.on and self.board.send_console(data))
        self.board = PicoW(
            options,
            on_console=self.console.write,
            on_uart=lambda index, byte: self.uarts[index].write(bytes((byte,))),
            on_event=tell,
        )
        self.connect = options.get("connect", {})
        self.uarts = [Wire(lambda data, i=i: self.board.on and self.board.uarts[i].feed(data)) for i in (0, 1)]
        self.tasks = set()

    def start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.ended)

    def ended(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            sys.excepthook(type(task.exception()), task.exception(), task.exception().__traceback__)
            os._exit(1)

    def do(self, command):
        """One command; its answer."""
        name = command["do"]
        board = self.board
        if name == "power_on":
            board.power_on()
            self.start(board.run())
        elif name == "power_off":
            board.power_off()
        elif name == "cut_after":
            board.cut_after, board.tear = command["operations"], bool(command.get("torn"))
        elif name == "set_pace":
            board.pace = command["pace"]
        elif name == "stats":
            return board.summary()
        elif name == "quit":
            os._exit(0)
        else:
            raise ValueError(f'no command "{name}"')
        return {}

    async def serve(self):
        """Opens the ports, then obeys standard input until it ends."""
        servers = {"console": await self.console.listen()}
        for index, wire in enumerate(self.uarts):
            if str(index) in self.connect:
                self.start(wire.connect(self.connect[str(index)]))
            else:
                servers[f"uart{index}"] = await wire.listen()
        tell({"event": "ready", "ports": {name: port for name, (_, port) in servers.items()}})
        commands = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        while line := await commands.readline():
            try:
                tell({"ok": True, **self.do(json.loads(line))})
            except (KeyError, TypeError, ValueError) as error:
                tell({"ok": False, "error": str(error)})
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(Emulator(json.loads(sys.argv[1])).serve())

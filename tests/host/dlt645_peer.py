"""Runs in build/venv-dlt645, which has the library dlt645: a meter, or a client, that is not ours.

  dlt645_peer.py serve PORT BAUD PARITY ADDRESS '{"02010100": 230.3, …}'    prints "ready", answers until its input ends
  dlt645_peer.py read PORT BAUD PARITY ADDRESS 02010100 …                      prints the values as JSON

What of the library is not as meters are, is put right here: it writes addresses with the first pair first, answers what
was asked of other addresses, and answers the wildcard under the wildcard.
"""

import json
import sys

import dlt645  # pyright: ignore[reportMissingImports]
from dlt645 import MeterClientService, MeterServerService  # pyright: ignore[reportMissingImports]


def reversed_pairs(address: str) -> str:
    return "".join(address[at : at + 2] for at in range(10, -2, -2))


class Meter(MeterServerService):
    """A meter that is silent when another one is asked."""

    def handle_request(self, frame):
        own = bytes(self.address)
        if not all(a in (0xAA, b) for a, b in zip(bytes(frame.addr), own)):
            return None
        frame.addr = bytearray(own) if frame.ctrl_code != 0x13 else frame.addr
        return super().handle_request(frame)


def serve(port: str, baud: str, parity: str, address: str, values: str) -> None:
    meter = Meter.new_rtu_server(port, 8, 1, int(baud), parity, 1.0)
    meter.set_address(reversed_pairs(address))
    for identifier, value in json.loads(values).items():
        write = meter.set_00 if identifier.startswith("00") else meter.set_02
        if not write(int(identifier, 16), value):
            raise SystemExit(f"the library does not take {value} for {identifier}")
    if not meter.server.start():
        raise SystemExit("the library does not open the port")
    print("ready", flush=True)
    sys.stdin.read()
    meter.server.stop()


def read(port: str, baud: str, parity: str, address: str, *identifiers: str) -> None:
    client = MeterClientService.new_rtu_client(port, int(baud), 8, 1, parity, 2.0)
    client.set_address(reversed_pairs(address))
    client.connect()
    found = {}
    for identifier in identifiers:
        kind = {"00": client.read_00, "01": client.read_01}.get(identifier[:2], client.read_02)
        item = kind(int(identifier, 16))
        value = None if item is None else item.value
        found[identifier] = getattr(value, "value", value)
    client.disconnect()
    print(json.dumps(found))


if __name__ == "__main__":
    dlt645.disable_logging()
    {"serve": serve, "read": read}[sys.argv[1]](*sys.argv[2:])

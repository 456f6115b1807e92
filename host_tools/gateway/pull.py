"""`parkgate pull`: take the sealed batches off a gateway by cable, and hand it the hub's receipts for them.

The file holds what MQTT would have carried, a message a line: `parkgate import FILE --data DIR` verifies and stores
it at the hub and gives back a file of receipts, which `parkgate pull --receipts FILE` hands to the gateway. Doing any
of it twice does no harm.
"""

from __future__ import annotations

import base64
from pathlib import Path

from host_tools.base import files, output
from host_tools.base.messages import Message, read_messages, write_messages
from host_tools.gateway.link import Link, add_port_argument, open_unlocked
from parkgate.errors import FormatError


def add_parser(subparsers) -> None:
    """Arguments of `parkgate pull`."""
    parser = subparsers.add_parser("pull", help="fetch a gateway's journal by cable", description=__doc__)
    add_port_argument(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the batches that wait for a receipt")
    parser.add_argument("--receipts", type=Path, metavar="FILE", help="hand these receipts to the gateway")
    output.add_json(parser)


def run(args) -> int:
    """Raises LinkError, GatewayRefused, FormatError."""
    if not args.out and not args.receipts:
        raise FormatError("--out FILE to fetch batches, --receipts FILE to bring receipts, or both")
    document: dict = {}
    lines: list[str] = []
    receipts: list[Message] = []
    if args.receipts:
        receipts = [m for m in read_messages(args.receipts) if m.topic.endswith("/receipt")]
        if not receipts:
            raise FormatError(f"{args.receipts} holds no receipts: `parkgate import FILE` writes FILE.receipts")
    if args.out:
        files.check_target(args.out)
    with open_unlocked(args) as link:
        if args.receipts:
            taken = bring(link, receipts)
            why = "" if taken else ": it had them, or they are not its own"
            lines.append(f"{taken} of {len(receipts)} receipts taken{why}")
            document |= {"receipts": len(receipts), "receipts_taken": taken}
        if args.out:
            messages = fetch(link)
            write_messages(args.out, messages)
            many = "1 batch" if len(messages) == 2 else f"{len(messages) - 1} batches"
            lines.append(f"{many} and a heartbeat written to {args.out}")
            document |= {"batches": len(messages) - 1, "file": str(args.out)}
    output.show(args, document, lines)
    return 0


def fetch(link: Link) -> list[Message]:
    """The batches that wait for a receipt, oldest first, and a heartbeat."""
    topic = f"tele/{link.facts('identity')['gateway']}/"
    link.ask("export seal", 30.0)
    held = [int(line.split(" = ")[1]) for line in link.ask("export list", 15.0) if line.startswith("batch = ")]
    messages = [Message(topic + "batch", link.data(f"export batch {seq}")) for seq in held]
    return [*messages, Message(topic + "beat", link.data("export beat"))]


def bring(link: Link, messages: list[Message]) -> int:
    """Hand over receipts; how many freed something. Those of other gateways are passed over."""
    topic = f"cmd/{link.facts('identity')['gateway']}/receipt"
    taken = 0
    for message in messages:
        if message.topic == topic:
            answer = link.ask("export receipt " + base64.b64encode(message.data).decode())
            taken += answer == ["receipt = taken"]
    return taken

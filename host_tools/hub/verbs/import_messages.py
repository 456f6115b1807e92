"""`parkgate import`: verify and store at the hub what `parkgate pull` fetched, exactly as if MQTT had brought it.

The same intake judges it: signature, chain, duplicates, forks. The receipts go into a file for the gateway. While the
hub runs, the messages go to it through its broker.
"""

from __future__ import annotations

import collections
import json
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from host_tools.base import files, output
from host_tools.base.messages import Message, read_messages, write_messages
from parkgate.errors import LinkError

GROUP = 200
WAIT_S = 20.0


def add_parser(subparsers) -> None:
    """Arguments of `parkgate import`."""
    parser = subparsers.add_parser("import", help="store pulled batches at a hub", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="file of `parkgate pull`")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--receipts", type=Path, metavar="FILE", help="default: FILE.receipts")
    output.add_json(parser)


def run(args) -> int:
    """Raises FormatError, StoreError, LinkError. Exit code 1 when the hub refused something."""
    from host_tools.hub.service import HubBusy
    from host_tools.hub.stores.store import existing

    existing(args.data)
    messages = read_messages(args.file)
    path = args.receipts or args.file.with_suffix(args.file.suffix + ".receipts")
    files.check_target(path)
    try:
        receipts, counts = through_intake(args.data, messages)
    except HubBusy:
        receipts = through_broker(args.data, messages)
        counts = collections.Counter({"sent to the running hub": len(messages)})
    write_messages(path, receipts)
    document = {"file": str(args.file), "outcomes": dict(sorted(counts.items())), "receipts": len(receipts),
                "receipts_file": str(path)}  # fmt: skip
    lines = [f"{count} {kind}" for kind, count in sorted(counts.items())]
    output.show(args, document, [*lines, f"{len(receipts)} receipts written to {path}"])
    batches = sum(m.topic.endswith("/batch") for m in messages)
    return 0 if len(receipts) == batches and not any(kind.startswith("refused") for kind in counts) else 1


def through_intake(folder: Path, messages: list[Message]) -> tuple[list[Message], collections.Counter]:
    """Store in a hub that does not run; receipts and outcomes counted by kind. Raises HubBusy when it runs."""
    from host_tools.hub.receiving import intake
    from host_tools.hub.service import Hub, now_unix_ms

    hub = Hub(folder)
    counts: collections.Counter = collections.Counter()
    receipts = []
    try:
        for at in range(0, len(messages), GROUP):
            group = [intake.Message(*message) for message in messages[at : at + GROUP]]
            for outcome in hub.intake.take(group, now_unix_ms()):
                refused = outcome.kind == intake.REFUSED
                counts[f"{outcome.kind} ({outcome.what})" if refused else outcome.kind] += 1
                if outcome.receipt is not None and outcome.receipt_topic is not None:
                    receipts.append(Message(outcome.receipt_topic, outcome.receipt))
    finally:
        hub.stop()
    return receipts, counts


def through_broker(folder: Path, messages: list[Message]) -> list[Message]:
    """Send to the running hub by its broker and collect its receipts. Raises LinkError."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    url = urlsplit(json.loads((folder / "hub.json").read_text())["broker"])
    if url.scheme != "mqtt" or not url.hostname:
        raise LinkError("the hub runs and its broker wants TLS: stop the hub for the import")
    topics = {m.topic.replace("tele/", "cmd/").rsplit("/", 1)[0] + "/receipt" for m in messages}
    receipts: dict[bytes, Message] = {}
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(url.username, url.password)

    def connected(*_):
        client.subscribe([(topic, 1) for topic in topics])

    client.on_connect = connected
    client.on_subscribe = lambda *_: ready.set()

    def receive(_client, _userdata, message):
        receipts[bytes(message.payload)] = Message(message.topic, bytes(message.payload))

    client.on_message = receive
    try:
        client.connect(url.hostname, url.port or 1883)
    except OSError as error:
        raise LinkError(f"the broker of the running hub: {error}") from None
    client.loop_start()
    try:
        if not ready.wait(WAIT_S):
            raise LinkError("the broker of the running hub does not let this computer in")
        for message in messages:
            client.publish(message.topic, message.data, qos=1)
        wanted = sum(m.topic.endswith("/batch") for m in messages)
        deadline = time.monotonic() + WAIT_S
        while len(receipts) < wanted and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        client.disconnect()
        client.loop_stop()
    return list(receipts.values())

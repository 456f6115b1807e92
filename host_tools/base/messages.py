"""A file of messages: what MQTT would have carried, a message a line, on its way between gateway and hub by hand."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import NamedTuple

from parkgate.errors import FormatError

FORM = "parkgate messages 1"


class Message(NamedTuple):
    """One message as MQTT carries it."""

    topic: str
    data: bytes


def write_messages(path: Path, messages: list[Message]) -> None:
    """Write messages as lines of JSON behind a first line that names the form."""
    lines = [json.dumps({"form": FORM})]
    lines += [json.dumps({"topic": m.topic, "data": base64.b64encode(m.data).decode()}) for m in messages]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def read_messages(path: Path) -> list[Message]:
    """What `write_messages` wrote. Raises FormatError."""
    try:
        first, *lines = path.read_text(encoding="ascii").splitlines()
        if json.loads(first) != {"form": FORM}:
            raise FormatError(f"{path} is not a file of messages")
        found = []
        for line in lines:
            item = json.loads(line)
            found.append(Message(str(item["topic"]), base64.b64decode(item["data"], validate=True)))
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: {error or 'empty'}") from None

"""A file of messages: what MQTT would have carried, a message a line, on its way between gateway and hub by hand."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import NamedTuple

from host_tools.base import files
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
    files.write(path, "\n".join(lines) + "\n")


def read_messages(path: Path) -> list[Message]:
    """What `write_messages` wrote. Raises FormatError, FileTrouble."""
    text = files.read_text(path)
    try:
        first, *lines = text.splitlines()
        if json.loads(first) != {"form": FORM}:
            raise FormatError(f"{path} is not a file of messages")
        found = []
        for line in lines:
            item = json.loads(line)
            found.append(Message(str(item["topic"]), base64.b64decode(item["data"], validate=True)))
        return found
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FormatError(f"{path} is not a file of messages, or is damaged") from None

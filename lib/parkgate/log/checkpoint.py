"""The checkpoint as text, for the world: a signed note of C2SP (SPEC 13.3).

Source: c2sp.org/tlog-checkpoint and signed-note, commit 5ba5ee8.

    parkgate-log/<log id, 32 hexadecimal digits>
    <size, decimal>
    <root, base64>
    <empty line>
    — <name> <base64(4 bytes of key id || signature)>      one or more
"""

from binascii import a2b_base64, b2a_base64, hexlify, unhexlify

from parkgate.errors import FormatError
from parkgate.wire.cbor import UINT_LIMIT

NOTE_BYTES_MAX = 65536
SIGNATURES_MAX = 64
_ORIGIN = "parkgate-log/"
_DASH = "— "


def origin(log_id: bytes) -> str:
    """The name of a log in notes."""
    return _ORIGIN + hexlify(log_id).decode()


def log_id_of(name: str) -> bytes:
    """The log id in an origin. Raises FormatError."""
    digits = name[len(_ORIGIN) :]
    if name[: len(_ORIGIN)] != _ORIGIN or len(digits) != 32 or any(digit not in "0123456789abcdef" for digit in digits):
        raise FormatError("checkpoint: the origin is not parkgate-log/ and 32 hexadecimal digits")
    return unhexlify(digits)


def text(log_id: bytes, size: int, root: bytes) -> str:
    """The note text: what is signed, with its last newline."""
    return "%s\n%d\n%s\n" % (origin(log_id), size, base64(root))


def signature_line(name: str, key_id: bytes, signature: bytes) -> str:
    """One signature as a line of a note."""
    return "%s%s %s\n" % (_DASH, name, base64(key_id + signature))


def note(log_id: bytes, size: int, root: bytes, lines: list) -> str:
    """The whole note: text, empty line, signature lines."""
    return text(log_id, size, root) + "\n" + "".join(lines)


def base64(data: bytes) -> str:
    """Standard base64 without line breaks."""
    return b2a_base64(data).decode().rstrip("\n")


def unbase64(line: str, what: str) -> bytes:
    """The bytes of base64 in its one form. Raises FormatError."""
    try:
        data = a2b_base64(line.encode())
    except ValueError:
        raise FormatError("%s is not base64" % what) from None
    if base64(data) != line:
        raise FormatError("%s is not base64 in its one form" % what)
    return data


class Checkpoint:
    """A note taken apart: `log_id`, `size`, `root`, `text`, `signatures` as [(name, key id, signature)]. Well formed,
    not verified. Extension lines are refused: nobody would audit them."""

    def __init__(self, whole: str):
        if len(whole) > NOTE_BYTES_MAX:
            raise FormatError("checkpoint: longer than %d" % NOTE_BYTES_MAX)
        lines = whole.split("\n")
        if len(lines) < 6 or lines[3] or lines[-1] or any(ord(mark) < 32 for line in lines for mark in line):
            raise FormatError("checkpoint: not three lines, an empty one, and signatures")
        self.log_id = log_id_of(lines[0])
        size = lines[1]
        if not 0 < len(size) < 20 or any(digit not in "0123456789" for digit in size) or str(int(size)) != size:
            raise FormatError("checkpoint: the size is not a decimal number")
        self.size = int(size)
        if self.size >= UINT_LIMIT:
            raise FormatError("checkpoint: the size is too large")
        self.root = unbase64(lines[2], "checkpoint: the root")
        if len(self.root) != 32:
            raise FormatError("checkpoint: a root has 32 bytes")
        self.text = text(self.log_id, self.size, self.root)
        signed = lines[4:-1]
        if len(signed) > SIGNATURES_MAX:
            raise FormatError("checkpoint: more than %d signatures" % SIGNATURES_MAX)
        self.signatures = [_signature(line) for line in signed]


def _signature(line):
    if line[: len(_DASH)] != _DASH:
        raise FormatError("checkpoint: a signature line begins with a dash and a space")
    name, space, data = line[len(_DASH) :].partition(" ")
    if not name or "+" in name or not space:
        raise FormatError("checkpoint: a signature line has a name and base64")
    signature = unbase64(data, "checkpoint: a signature")
    if len(signature) < 5:
        raise FormatError("checkpoint: a signature has a key id and more")
    return name, signature[:4], signature[4:]

"""CBOR in exactly one form: RFC 8949 section 4.2.1 (core deterministic encoding); anything else is refused
(SPEC 2).

Items: integers of 64 bits, byte strings, UTF-8 text, arrays, maps with integer or text keys, null, true,
false. No floats, no tags, no indefinite lengths: nothing that is signed needs them, and what cannot be said
cannot be said in two ways. Sizes are checked before content, so hostile input costs no more than its own
length.
"""

from .errors import FormatError

MAX_DEPTH = 8
UINT_LIMIT = (
    1 << 62
)  # seqs, counters and times stay below: they fit a database's signed 64 bits, with room for sums

_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_FALSE, _TRUE, _NULL = 0xF4, 0xF5, 0xF6
_SIZE_OF_INFO = {24: 1, 25: 2, 26: 4, 27: 8}
# The smallest value each argument size may hold; below it a shorter form exists and is the only legal one.
_LEAST_OF_INFO = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}


def head(major: int, n: int) -> bytes:
    """Initial byte and argument, shortest form; `major` is already shifted (0x00, 0x20, … 0xA0)."""
    if n < 24:
        return bytes([major | n])
    if n < 1 << 8:
        return bytes([major | 24, n])
    if n < 1 << 16:
        return bytes([major | 25, n >> 8, n & 255])
    if n < 1 << 32:
        return bytes([major | 26]) + n.to_bytes(4, "big")
    if n < 1 << 64:
        return bytes([major | 27]) + n.to_bytes(8, "big")
    raise FormatError("integer does not fit 64 bits")


def bytes_head(length: int) -> bytes:
    """What precedes a byte string of `length` bytes, for callers that stream the content themselves."""
    return head(_BYTES, length)


def encode(item) -> bytes:
    """The one encoding of `item` (int, bytes, str, list/tuple, dict, None, bool). Raises FormatError."""
    out = bytearray()
    _encode_into(out, item, MAX_DEPTH)
    return bytes(out)


def _encode_into(out, item, depth):
    if depth == 0:
        raise FormatError("nested deeper than %d" % MAX_DEPTH)
    if item is None:
        out.append(_NULL)
    elif item is True:
        out.append(_TRUE)
    elif item is False:
        out.append(_FALSE)
    elif isinstance(item, int):
        out.extend(head(_UINT, item) if item >= 0 else head(_NINT, -1 - item))
    elif isinstance(item, (bytes, bytearray, memoryview)):
        out.extend(head(_BYTES, len(item)))
        out.extend(item)
    elif isinstance(item, str):
        raw = item.encode()
        out.extend(head(_TEXT, len(raw)))
        out.extend(raw)
    elif isinstance(item, (list, tuple)):
        out.extend(head(_ARRAY, len(item)))
        for each in item:
            _encode_into(out, each, depth - 1)
    elif isinstance(item, dict):
        out.extend(head(_MAP, len(item)))
        for raw, key in sorted((encode(key), key) for key in item):
            out.extend(raw)
            _encode_into(out, item[key], depth - 1)
    else:
        raise FormatError("a %s has no encoding here" % type(item).__name__)


def decode(data):
    """The item that `data` (bytes) encodes, all of it. Raises FormatError on all but the canonical form."""
    item, end = decode_at(data, 0, MAX_DEPTH)
    if end != len(data):
        raise FormatError("%d bytes after the end" % (len(data) - end))
    return item


def decode_at(data, at: int, depth: int = MAX_DEPTH):
    """(item, offset behind it) for the item that begins at offset `at`. Raises FormatError."""
    size = len(data)
    if at >= size:
        raise FormatError("truncated")
    if depth == 0:
        raise FormatError("nested deeper than %d" % MAX_DEPTH)
    initial = data[at]
    at += 1
    major = initial & 0xE0
    n = initial & 0x1F
    if major >= 0xC0:
        if initial == _NULL:
            return None, at
        if initial == _TRUE:
            return True, at
        if initial == _FALSE:
            return False, at
        raise FormatError("tag, float or simple value 0x%02x where none is allowed" % initial)
    if n >= 24:
        if n > 27:
            raise FormatError("indefinite length or reserved form 0x%02x" % initial)
        width = _SIZE_OF_INFO[n]
        if at + width > size:
            raise FormatError("truncated")
        value = int.from_bytes(data[at : at + width], "big")
        if value < _LEAST_OF_INFO[n]:
            raise FormatError("%d is not in its shortest form" % value)
        at += width
        n = value
    if major == _UINT:
        return n, at
    if major == _NINT:
        return -1 - n, at
    if n > size - at:  # each element of an array, and each pair of a map, takes at least one byte
        raise FormatError("truncated")
    if major == _BYTES:
        return bytes(data[at : at + n]), at + n
    if major == _TEXT:
        try:
            return str(bytes(data[at : at + n]), "utf-8"), at + n
        except ValueError:
            raise FormatError("text is not UTF-8") from None
    if major == _ARRAY:
        items = []
        for _ in range(n):
            if at < size and data[at] < 24 and depth > 1:  # the commonest item, without a call
                items.append(data[at])
                at += 1
                continue
            item, at = decode_at(data, at, depth - 1)
            items.append(item)
        return items, at
    pairs = {}
    before = b""
    for _ in range(n):
        start = at
        key, at = decode_at(data, at, depth - 1)
        if type(key) not in (int, str):
            raise FormatError("a map key must be an integer or text")
        raw = bytes(data[start:at])
        if raw <= before:
            raise FormatError("map keys are not in order, or one stands twice")
        before = raw
        pairs[key], at = decode_at(data, at, depth - 1)
    return pairs, at


def expect_uint(item, what: str) -> int:
    """`item` if it is an integer from 0 to UINT_LIMIT - 1, else FormatError with `what` it should be."""
    if type(item) is not int or not 0 <= item < UINT_LIMIT:
        raise FormatError("%s must be an unsigned integer below 2^62" % what)
    return item


def expect_bytes(item, length: int, what: str) -> bytes:
    """`item` if it is a byte string of `length` bytes, else FormatError with `what` it should be."""
    if type(item) is not bytes or len(item) != length:
        raise FormatError("%s must be %d bytes" % (what, length))
    return item


def expect_array(data: bytes, version: int, lengths: tuple, what: str) -> list:
    """The array that `data` encodes, beginning with `version`, of one of `lengths`; else FormatError."""
    items = decode(data)
    if type(items) is not list or not items or type(items[0]) is not int or items[0] != version:
        raise FormatError("not a %s of version %d" % (what, version))
    if len(items) not in lengths:
        raise FormatError("a %s of %d fields" % (what, len(items)))
    return items

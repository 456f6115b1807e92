"""CBOR in exactly one form: RFC 8949 section 4.2.1 (core deterministic encoding); anything else is refused
(SPEC 2).

Items: integers of 64 bits, byte strings, UTF-8 text, arrays, maps with integer or text keys, null, true,
false. No floats, no tags, no indefinite lengths: nothing that is signed needs them, and what cannot be said
cannot be said in two ways. Sizes are checked before content, so hostile input costs no more than its own
length.
"""

from parkgate.errors import FormatError

MAX_DEPTH = 8
UINT_LIMIT = 1 << 62  # seqs, counters and times stay below: they fit a database's signed 64 bits, with room for sums

_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_FALSE, _TRUE, _NULL = 0xF4, 0xF5, 0xF6
# The smallest value each argument size may hold; below it a shorter form exists and is the only legal one.
_LEAST_OF_INFO = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
_SIZE_OF_LEAST = {1 << 8: 2, 1 << 16: 4, 1 << 32: 8}


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


def decode_at(data, at: int, depth: int = MAX_DEPTH) -> tuple:
    """(item, offset behind it) for the item that begins at offset `at`. Raises FormatError."""
    try:
        return _decode_at(data, at, depth)
    except IndexError:
        raise FormatError("truncated") from None


def _decode_at(data, at, depth) -> tuple:
    # One loop and a stack of the arrays and maps that are open: a call for each item would cost a hub more than the
    # items do. `items` is the innermost open one, `left` what it still wants; in a map, keys and values count apart,
    # and `before` is the encoding of the key before (None in an array).
    size = len(data)
    stack = []
    items = before = key = None
    left = 0
    while True:
        start = at
        initial = data[at]
        at += 1
        major = initial & 0xE0
        n = initial & 0x1F
        if n > 23 and major < 0xE0:
            if n > 27:
                raise FormatError("indefinite length or reserved form 0x%02x" % initial)
            least = _LEAST_OF_INFO[n]
            n = data[at]
            at += 1
            if least > 24:
                end = at - 1 + _SIZE_OF_LEAST[least]
                if end > size:
                    raise FormatError("truncated")
                n = int.from_bytes(data[at - 1 : end], "big")
                at = end
            if n < least:
                raise FormatError("%d is not in its shortest form" % n)
        if major == _UINT:
            item = n
        elif _BYTES <= major <= _TEXT:
            if n > size - at:
                raise FormatError("truncated")
            item = bytes(data[at : at + n])
            at += n
            if major == _TEXT:
                item = _text(item)
        elif _ARRAY <= major <= _MAP:
            # Each element of an array takes at least one byte, each pair of a map two.
            if n > size - at:
                raise FormatError("truncated")
            item = [] if major == _ARRAY else {}
            if n:
                if len(stack) + 1 >= depth:
                    raise FormatError("nested deeper than %d" % depth)
                stack.append((items, left, before, key))
                items = item
                left, before = (n, None) if major == _ARRAY else (2 * n, b"")
                continue
        elif major == _NINT:
            item = -1 - n
        elif initial == _NULL:
            item = None
        elif initial == _TRUE:
            item = True
        elif initial == _FALSE:
            item = False
        else:
            raise FormatError("tag, float or simple value 0x%02x where none is allowed" % initial)
        while stack:
            if before is None:
                items.append(item)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
            elif left & 1:
                items[key] = item  # pyright: ignore
            else:
                key, before = item, _next_key(item, bytes(data[start:at]), before)
            left -= 1
            if left:
                break
            item = items
            items, left, before, key = stack.pop()
        else:
            return item, at


def _text(raw):
    try:
        return str(raw, "utf-8")
    except ValueError:
        raise FormatError("text is not UTF-8") from None


def _next_key(key, raw, before):
    if type(key) is not int and type(key) is not str:
        raise FormatError("a map key must be an integer or text")
    if raw <= before:
        raise FormatError("map keys are not in order, or one stands twice")
    return raw


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

"""DL/T 645-2007 frames: addresses, identifiers, requests as bytes, whole frames in a stream of bytes.

    FE FE FE FE  68  A0 A1 A2 A3 A4 A5  68  C  L  DATA …  CS  16

A0 to A5 are the meter's address, 12 decimal digits, the last pair first. C is the control code: bit 7 is set in what a
meter sends, bit 6 when it refuses, bit 5 when more follows, bits 0 to 4 are the function. L counts the data bytes, each
of which stands on the wire 33h higher. CS is the sum of all bytes from the first 68h to the last data byte. Up to four
FEh may stand before a frame and belong to nothing.

68h and 16h also occur in addresses, data and checksums. So a frame is neither begun nor ended by a byte alone: it is
where 68h stands twice, seven bytes apart, and length, checksum and end byte fit.

Only the three functions that read can be encoded here. Writing, freezing, clearing, relays and passwords have no code.

Source: DL/T 645-2007, 5 and 7, as quoted by public implementations (wire facts in tests/vectors/dlt645/README.md).
"""

from parkgate.errors import ModbusError

READ = 0x11
READ_FOLLOWING = 0x12
READ_ADDRESS = 0x13
ANY = b"\xaa\xaa\xaa\xaa\xaa\xaa"  # every meter answers to it, with its own address

FROM_METER, REFUSED, MORE, FUNCTION = 0x80, 0x40, 0x20, 0x1F
DATA_BYTES_MAX = 200  # of a reply to a read
FRAME_BYTES_MIN = 12
FRAME_BYTES_MAX = FRAME_BYTES_MIN + DATA_BYTES_MAX
PREAMBLE_BYTES = 4

_PREAMBLE = b"\xfe\xfe\xfe\xfe"
_START, _END = 0x68, 0x16
_NONE = b"\x99\x99\x99\x99\x99\x99"  # the broadcast address, which nobody answers
_BITS_PER_CHARACTER = 11  # 8E1


def characters_us(count, baud):
    """Time on the wire of `count` characters of 11 bits (8E1), in µs."""
    return count * ((_BITS_PER_CHARACTER * 1000000 + baud - 1) // baud)


def address_bytes(text):
    """The six bytes on the wire of an address as a meter's label has it: "000006605518".

    The upper pairs may be left open by AA ("AAAAAAAA5518": every meter whose address ends so). Raises ModbusError.
    """
    address = bytearray()
    for at in range(len(text) - 2, -1, -2):
        pair = text[at : at + 2]
        if pair == "AA":
            address.append(0xAA)
        elif pair.isdigit() and (not address or address[-1] != 0xAA):
            address.append(int(pair, 16))
        else:
            break
    if len(text) != 12 or len(address) != 6 or address == _NONE:
        raise ModbusError("%r is not a meter's address: 12 digits as on its label, such as 000006605518" % (text,))
    return bytes(address)


def text_of(address):
    """An address or identifier as labels and the standard write it; open pairs are AA."""
    return "".join(["%02X" % byte for byte in reversed(address)])


def identifier_bytes(text):
    """The four bytes on the wire, without the 33h, of a data identifier such as "02010100". Raises ModbusError."""
    if len(text) == 8:
        try:
            return bytes([int(text[at : at + 2], 16) for at in (6, 4, 2, 0)])
        except ValueError:
            pass
    raise ModbusError("%r is not a data identifier: 8 hexadecimal digits, such as 02010100" % (text,))


def encode_request(address, function, identifier=b"", sequence=0):
    """One request as bytes on the wire, four FEh in front.

    `function` is READ (`identifier`: 4 bytes), READ_FOLLOWING (and `sequence` 1..255) or READ_ADDRESS (neither). There
    is no other: this client cannot write to a meter. Raises ModbusError when something does not fit.
    """
    if function == READ:
        data, wanted = bytes(identifier), 4
    elif function == READ_FOLLOWING:
        data, wanted = bytes(identifier) + bytes((sequence & 0xFF,)), 5
        if not 1 <= sequence <= 255:
            raise ModbusError("sequence number %d is outside 1..255" % sequence)
    elif function == READ_ADDRESS:
        data, wanted = bytes(identifier), 0
    else:
        raise ModbusError("control code %02Xh does not read" % function)
    if len(data) != wanted or len(address) != 6:
        raise ModbusError("an address has 6 bytes and a data identifier 4")
    body = bytearray((_START,))
    body.extend(address)
    body.extend(bytes((_START, function, len(data))))
    body.extend(bytes([(byte + 0x33) & 0xFF for byte in data]))
    body.append(sum(body) & 0xFF)
    body.append(_END)
    return _PREAMBLE + bytes(body)


def frame_length(data, start, end):
    """Length of the whole frame that begins at data[start]: 0 when none does, -1 when one may that has not ended yet
    (before `end`)."""
    left = end - start
    if data[start] != _START or (left > 7 and data[start + 7] != _START):
        return 0
    if left < 10:
        return -1
    length = FRAME_BYTES_MIN + data[start + 9]
    if length > FRAME_BYTES_MAX:
        return 0
    if left < length:
        return -1
    total = 0
    for i in range(start, start + length - 2):
        total += data[i]
    return length if data[start + length - 2] == total & 0xFF and data[start + length - 1] == _END else 0


def frame_data(data, start, length):
    """The data bytes of the whole frame at data[start], without the 33h."""
    return bytes([(data[i] - 0x33) & 0xFF for i in range(start + 10, start + length - 2)])


def fits(asked, address):
    """Whether a meter with this address is meant by `asked`, in which pairs may be open."""
    return all(asked[i] in (0xAA, address[i]) for i in range(6))


def is_true(address):
    """Whether these are the digits of one meter: no open pair, not everybody's address."""
    for byte in address:
        if byte & 15 > 9 or byte >> 4 > 9:
            return False
    return address != _NONE


def meaning(data, first, end):
    """(from, until) of data[first:end] without the FEh, 00h and FFh around it; None when there is nothing else."""
    while first < end and data[first] in (0, 0xFE, 0xFF):
        first += 1
    while end > first and data[end - 1] in (0, 0xFE, 0xFF):
        end -= 1
    return (first, end) if first < end else None


def shape_of(function, address):
    """What tells two replies of one meter apart: the function, and the identifier with the sequence number."""
    return bytes((function,)) + bytes(address)


def shape_of_reply(control, content, address):
    """The shape that a frame with this content has; None when it has none (a refusal, or rubbish in a whole frame)."""
    function = control & FUNCTION
    if control & REFUSED:
        return None
    if function == READ and len(content) >= 4:
        return shape_of(function, content[:4])
    if function == READ_FOLLOWING and len(content) >= 5:
        return shape_of(function, content[:4] + content[-1:])
    if function == READ_ADDRESS and (content == address or not content):
        return shape_of(function, b"")
    return None


class Reply:
    """A credited answer.

    `unit_id` is the address of the meter that sent it, `data` what follows the identifier (for READ_ADDRESS the
    address), `more` whether the meter has more than fits into one frame. `t_us` is when the last byte was handed over,
    `latency_us` the time since the end of our request. With `probe` set the data must not be used.
    """

    again = False  # a copy is known by its identifier: see unit.Unit

    def __init__(self, unit_id, function, address, data, more, t_us, latency_us, probe):
        self.unit_id = unit_id
        self.function = function
        self.address = address
        self.data = data
        self.more = more
        self.t_us = t_us
        self.latency_us = latency_us
        self.probe = probe

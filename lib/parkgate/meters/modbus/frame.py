"""Modbus RTU frames: CRC, timing by baud rate, requests as bytes, whole frames in a stream, replies.

Sources: Modbus Application Protocol V1.1b3 (PDUs, limits), Modbus over Serial Line V1.02 (ADU, CRC, timing).
Addresses are the 0-based ones on the wire, never the manual's 3xxxx/4xxxx numbers.

Line silence
------------
A request is sent only after 3.5 characters of silence (Modbus over Serial Line V1.02, 2.5.1.1; fixed
1.75 ms above 19,200 baud). Inside a frame gaps are tolerated up to `frame_gap_us`, much longer than
the 1.5 characters of the specification: operating systems, USB adapters and event loops hand bytes
over in pieces, and a cut by clock would throw good replies away. Length and CRC decide instead.
"""

from array import array

from parkgate.errors import ModbusError

READ_COILS = 1
READ_DISCRETE_INPUTS = 2
READ_HOLDING_REGISTERS = 3
READ_INPUT_REGISTERS = 4
WRITE_COIL = 5
WRITE_REGISTER = 6
WRITE_COILS = 15
WRITE_REGISTERS = 16

UNIT_ID_MAX = 255  # the specification ends at 247; meters are sold with ids up to 255
BROADCAST = 0
READ_REGISTERS_MAX = 125
READ_BITS_MAX = 2000
WRITE_REGISTERS_MAX = 123
WRITE_BITS_MAX = 1968
FRAME_BYTES_MAX = 256

_BITS_PER_CHARACTER = 11


def _crc_table():
    table = array("H", bytes(512))
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table[byte] = crc
    return table


_CRC = _crc_table()


def crc16(data, start=0, end=None):
    """CRC-16/MODBUS of data[start:end] (polynomial 0xA001 reflected, start 0xFFFF)."""
    if end is None:
        end = len(data)
    table = _CRC
    crc = 0xFFFF
    for i in range(start, end):
        crc = (crc >> 8) ^ table[(crc ^ data[i]) & 0xFF]
    return crc


def frame(body):
    """The bytes on the wire for unit id and PDU: body and its CRC, low byte first."""
    crc = crc16(body)
    return bytes(body) + bytes((crc & 0xFF, crc >> 8))


def silence_us(baud):
    """t3.5, the silence that separates frames, in µs."""
    return 1750 if baud > 19200 else (35 * _BITS_PER_CHARACTER * 100000 + baud - 1) // baud


def characters_us(count, baud):
    """Time on the wire of `count` characters of 11 bits (8E1, 8N2), in µs; 8N1 is a tenth faster."""
    return count * ((_BITS_PER_CHARACTER * 1000000 + baud - 1) // baud)


def _check_range(what, value, low, high):
    if not low <= value <= high:
        raise ModbusError("%s %d is outside %d..%d" % (what, value, low, high))


def encode_request(unit_id, function, address, content):
    """One request as bytes on the wire.

    `content` is the count for functions 1 to 4, a truth value for 5, a word 0..65535 for 6, a sequence
    of truth values for 15 and of words for 16. Unit 0 (broadcast) is allowed for writes only.
    Raises ModbusError when a field is outside its range.
    """
    _check_range("unit id", unit_id, BROADCAST if function > 4 else 1, UNIT_ID_MAX)
    _check_range("address", address, 0, 0xFFFF)
    body = bytearray((unit_id, function, address >> 8, address & 0xFF))
    if function in (READ_COILS, READ_DISCRETE_INPUTS, READ_HOLDING_REGISTERS, READ_INPUT_REGISTERS):
        _check_range("count", content, 1, READ_BITS_MAX if function < 3 else READ_REGISTERS_MAX)
        _check_range("last address", address + content - 1, 0, 0xFFFF)
        body.extend(bytes((content >> 8, content & 0xFF)))
    elif function == WRITE_COIL:
        body.extend(b"\xff\x00" if content else b"\x00\x00")
    elif function == WRITE_REGISTER:
        _check_range("word", content, 0, 0xFFFF)
        body.extend(bytes((content >> 8, content & 0xFF)))
    elif function in (WRITE_COILS, WRITE_REGISTERS):
        count = len(content)
        _check_range("count", count, 1, WRITE_BITS_MAX if function == WRITE_COILS else WRITE_REGISTERS_MAX)
        _check_range("last address", address + count - 1, 0, 0xFFFF)
        body.extend(bytes((count >> 8, count & 0xFF)))
        body.extend(_pack_bits(content) if function == WRITE_COILS else _pack_words(content))
    else:
        raise ModbusError("function %d is not supported" % function)
    return frame(body)


def _pack_bits(bits):
    packed = bytearray(1 + (len(bits) + 7) // 8)
    packed[0] = len(packed) - 1
    for i, bit in enumerate(bits):
        if bit:
            packed[1 + (i >> 3)] |= 1 << (i & 7)
    return packed


def _pack_words(words):
    packed = bytearray(1 + 2 * len(words))
    packed[0] = 2 * len(words)
    for i, word in enumerate(words):
        _check_range("word", word, 0, 0xFFFF)
        packed[1 + 2 * i] = word >> 8
        packed[2 + 2 * i] = word & 0xFF
    return packed


def is_read_request(data, start, end):
    """Whether the eight bytes at data[start] are a request to read: the CRC fits, and the count is allowed."""
    if end - start < 8 or not 1 <= data[start + 1] <= 4 or crc16(data, start, start + 8):
        return False
    count = data[start + 4] << 8 | data[start + 5]
    return 1 <= count <= (READ_BITS_MAX if data[start + 1] < 3 else READ_REGISTERS_MAX)


def frame_length(data, start, end):
    """Length of the whole, CRC-right frame that begins at data[start], or 0 if there is none before `end`.

    A CRC that fits still fits with a zero behind the frame. So a reply of nine bytes that ends in zero begins with
    eight that have the CRC of a request, and a reply of seven with a zero of noise behind it has it too. What can be a
    reply is taken for one."""
    left = end - start
    if left < 5:
        return 0
    function = data[start + 1]
    first, second = 0, 0
    if function & 0x80:
        first = 5
    elif 1 <= function <= 4:
        first = 5 + data[start + 2]
        if is_read_request(data, start, end):
            second = 8
    elif function in (5, 6, 8):
        first = 8
    elif function in (15, 16):
        first, second = 8, 9 + data[start + 6] if left > 6 else 0
    for length in (first, second):
        if 5 <= length <= left and crc16(data, start, start + length) == 0:
            return length
    return 0


def content_bytes(function, count):
    """Bytes that `count` coils or registers take in a PDU."""
    return (count + 7) // 8 if function in (READ_COILS, READ_DISCRETE_INPUTS, WRITE_COILS) else 2 * count


def items(function, content):
    """How many coils or registers a request is about."""
    return content if function <= 4 else len(content) if function >= WRITE_COILS else 1


def shape_of(function, content):
    """What tells two replies of one unit apart: the function and, for reads, the byte count."""
    return function << 8 | (content_bytes(function, content) & 0xFF if function <= 4 else 0)


class Reply:
    """A credited answer.

    `data` holds the register or coil bytes of a read (b"" for writes), `t_us` when its last byte was
    handed over, `latency_us` the time since the end of our request. With `probe` set the data may
    belong to an older request and must not be used. `again`: the unit sent these very bytes a moment
    before, so this may be a copy of that reply; or it may answer another client's request that looks like our echo.
    """

    __slots__ = ("address", "again", "count", "data", "function", "latency_us", "probe", "t_us", "unit_id")

    def __init__(self, unit_id, function, address, count, data, t_us, latency_us, probe=False, again=False):
        self.unit_id = unit_id
        self.function = function
        self.address = address
        self.count = count
        self.data = data
        self.t_us = t_us
        self.latency_us = latency_us
        self.probe = probe
        self.again = again

    def words(self):
        """Register contents in the order of their addresses, each 0..65535."""
        data = self.data
        return [data[i] << 8 | data[i + 1] for i in range(0, len(data) - 1, 2)]

    def bits(self):
        """Coil or input states in the order of their addresses."""
        if self.function > READ_DISCRETE_INPUTS:
            return []
        return [bool(self.data[i >> 3] >> (i & 7) & 1) for i in range(self.count)]

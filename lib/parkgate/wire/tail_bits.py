"""Verbatim bits at the end of a byte string, read from its last byte to the first, least significant bit first.

Taken as one big-endian integer, the string has the first field in its lowest bits, the next above it, and so on.
What stands before the last field's byte belongs to others, who read from the front: two streams in one string,
without a length.
"""

from parkgate.errors import FormatError


class TailWriter:
    """Verbatim bits, least significant first; the finished bytes are read from the last to the first."""

    def __init__(self):
        self.data = bytearray()
        self.acc = 0
        self.held = 0  # bits in acc, < 8 between calls

    def put(self, value, bits):
        acc = self.acc
        if bits > 16:
            # Through bytes: shifting a big integer makes another one each time.
            whole = bits >> 3
            little = value.to_bytes(whole + 1, "little")
            for i in range(whole):
                acc |= little[i] << self.held
                self.data.append(acc & 0xFF)
                acc >>= 8
            value = little[whole]
            bits &= 7
        acc |= value << self.held
        held = self.held + bits
        while held > 7:
            self.data.append(acc & 0xFF)
            acc >>= 8
            held -= 8
        self.acc = acc
        self.held = held

    def put_number(self, value, bits):
        """`value` without its leading one, which is bit `bits`."""
        self.put(value - (1 << bits), bits)

    def finish(self):
        if self.held:
            self.data.append(self.acc)
        return bytes(reversed(self.data))


class TailReader:
    def __init__(self, data):
        self.data = data
        self.end = len(data)  # bytes from here on are used
        self.acc = 0
        self.held = 0

    def take(self, bits):
        while self.held < bits:
            if not self.end:
                raise FormatError("column ends inside its verbatim bits")
            self.end -= 1
            self.acc |= self.data[self.end] << self.held
            self.held += 8
        value = self.acc & ((1 << bits) - 1)
        self.acc >>= bits
        self.held -= bits
        return value

"""Every error Parkgate raises, as one tree: the branch shows who is at fault.

ParkgateError
├── FormatError           bytes are not in the one canonical form (SPEC.md says which)
├── IntegrityError        bytes are well formed, but a signature, MAC or chain link is wrong
├── JournalError          the journal cannot do what was asked
│   ├── FlashError        the flash device refused or failed an operation
│   └── JournalFull       no sector can be freed without losing what must be kept
├── ModbusError           an exchange on the RS-485 bus gave no usable reply (Modbus and DL/T 645)
│   ├── ModbusTimeout     nothing arrived before the deadline
│   │   └── ModbusOwed    it was not asked: a reply to an older request may still come
│   ├── ModbusShort       a reply began but stopped before its end
│   ├── ModbusCrcError    a whole reply arrived damaged
│   ├── ModbusForeign     a whole reply arrived that answers another request
│   └── ModbusExceptionReply   the meter itself refused (its exception code in .code)
│       └── Dlt645Refusal      the same in DL/T 645 (its error byte in .code, its address in .unit_id)
├── SettingsError         a setting is unknown, out of range or inconsistent
├── ProfileError          a meter profile breaks its schema
└── LinkError             the network or broker failed; the outbox keeps everything and tries again
    ├── TlsError          the broker is not the one that the settings mean
    └── NoAnswer          nothing came back in time: the network may pass nothing
"""


class ParkgateError(Exception):
    """Base of all errors of this project."""


class FormatError(ParkgateError):
    """Bytes that are not in the one canonical form."""


class IntegrityError(ParkgateError):
    """A signature, MAC or chain link that does not hold."""


class JournalError(ParkgateError):
    """The journal cannot do what was asked."""


class FlashError(JournalError):
    """The flash device refused or failed an operation."""


class JournalFull(JournalError):
    """No sector can be freed without losing what must be kept."""


class ModbusError(ParkgateError):
    """An exchange on the bus that gave no usable reply."""


class ModbusTimeout(ModbusError):
    """Nothing arrived before the deadline."""


class ModbusOwed(ModbusTimeout):
    """Not asked: a reply to an older request may still come, and could be taken for the answer."""


class ModbusShort(ModbusError):
    """A reply began but stopped before its end."""


class ModbusCrcError(ModbusError):
    """A whole reply arrived damaged."""


class ModbusForeign(ModbusError):
    """A whole reply arrived that answers another request."""


class ModbusExceptionReply(ModbusError):
    """The meter refused the request; `code` is its exception code (1..255)."""

    again = None  # a frame.Reply without data, where the same refusal came a moment before: this may be a copy of it

    def __init__(self, code: int):
        super().__init__("the meter refused the request with exception code %d" % code)
        self.code = code


class Dlt645Refusal(ModbusExceptionReply):
    """A DL/T 645 meter refused the request; `code` is its error byte, `unit_id` the address of the meter, 6 bytes."""

    def __init__(self, code: int, unit_id: bytes):
        super().__init__(code)
        self.unit_id = unit_id


class SettingsError(ParkgateError):
    """A setting is unknown, out of range or inconsistent."""


class ProfileError(ParkgateError):
    """A meter profile breaks its schema."""


class LinkError(ParkgateError):
    """The network or broker failed; nothing is lost by it."""


class TlsError(LinkError):
    """The broker is there, but the connection to it is not a secure one."""


class NoAnswer(LinkError):
    """Nothing came back in time, not even a refusal: the network may pass nothing."""

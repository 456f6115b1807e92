"""DL/T 645 frames: addresses and identifiers, requests that only read, whole frames in a stream."""

import json

from check import equal, raises, true
from parkgate.errors import ModbusError
from parkgate.meters.dlt645.client import Client
from parkgate.meters.dlt645.frame import (
    ANY,
    READ,
    READ_ADDRESS,
    READ_FOLLOWING,
    address_bytes,
    encode_request,
    fits,
    frame_length,
    identifier_bytes,
    is_true,
    text_of,
)

FOLDER = __file__[: -len("core/test_dlt645_frame.py")] + "vectors/dlt645/"
METER = address_bytes("000006605518")
OTHER = address_bytes("201000000012")
VOLTS = identifier_bytes("02010100")


def hexed(text):
    return bytes([int(pair, 16) for pair in text.split()])


def frame(address, control, data=b""):
    """A frame put together without the code under test."""
    body = b"\x68" + bytes(address) + b"\x68" + bytes((control, len(data)))
    body += bytes([(byte + 0x33) % 256 for byte in data])
    return body + bytes((sum(body) % 256, 0x16))


def entries():
    with open(FOLDER + "frames.json") as file:
        return json.load(file)["frames"]


def test_addresses_are_those_of_the_label():
    equal(METER, b"\x18\x55\x60\x06\x00\x00")
    equal(text_of(METER), "000006605518")
    equal(address_bytes("AAAAAAAA5518"), b"\x18\x55\xaa\xaa\xaa\xaa")
    equal(address_bytes("AAAAAAAAAAAA"), ANY)
    for bad in ("", "12345", "00000660551", "0000066055180", "00000660551A", "0000AA605518", "999999999999", "1A" * 6):
        raises(ModbusError, address_bytes, bad)
    true(fits(ANY, METER) and fits(address_bytes("AAAAAAAA5518"), METER) and not fits(OTHER, METER))
    true(is_true(METER) and not is_true(ANY) and not is_true(b"\x99" * 6) and not is_true(b"\x1a" + METER[1:]))
    equal(identifier_bytes("0001FF00"), b"\x00\xff\x01\x00")
    for bad in ("", "0001FF", "0001FG00", "0001FF000"):
        raises(ModbusError, identifier_bytes, bad)


def test_no_request_can_be_made_that_writes():
    # 08 sets the clock, 14 writes, 15 the address, 16 freezes, 17 the baud rate, 18 the password, 19 to 1B clear, 1C
    # drives the relay, 03 is security: there is no way to any of them.
    made = []
    for function in range(256):
        for identifier in (b"", VOLTS, VOLTS + b"\1", bytes(50)):
            for sequence in (0, 1, 255):
                try:
                    encode_request(METER, function, identifier, sequence)
                    made.append(function)
                except ModbusError:
                    pass
    equal(sorted(set(made)), [READ, READ_FOLLOWING, READ_ADDRESS])
    for function in range(256):
        if function not in (READ, READ_FOLLOWING, READ_ADDRESS):
            client = Client(2400)
            raises(ModbusError, client.request, METER, function, VOLTS, 2, 0)
            equal(client.unit(METER).statistics.requests, 0)


def test_requests_equal_the_captured_ones():
    seen = 0
    for entry in entries():
        if entry["edition"] != 2007 or not entry["request"]:
            continue
        wire = hexed(entry["request"])
        at = wire.find(b"\x68")
        address, function = wire[at + 1 : at + 7], wire[at + 8]
        identifier = bytes([(byte - 0x33) & 0xFF for byte in wire[at + 10 : -2]])
        equal(encode_request(address, function, identifier), b"\xfe\xfe\xfe\xfe" + wire[at:], entry["id"])
        seen += 1
    equal(seen, 20)


def test_a_frame_is_found_by_its_length_and_checksum_only():
    # Address, data and checksum are full of 68h and 16h.
    nasty = frame(b"\x68\x16\x68\x16\x68\x16", 0x91, b"\x35\xe3\x35\x35\xe3\xe3\x35\xe3")
    equal(frame_length(nasty, 0, len(nasty)), len(nasty))
    for cut in range(1, len(nasty)):
        equal(frame_length(nasty, 0, cut), -1, cut)
    for i in range(len(nasty)):
        for bit in range(8):
            damaged = bytearray(nasty)
            damaged[i] ^= 1 << bit
            true(frame_length(damaged, 0, len(damaged)) != len(nasty), (i, bit))
    equal(frame_length(frame(METER, 0x91, bytes(201)), 0, 300 - 87), 0, "no reply is longer than 200 data bytes")

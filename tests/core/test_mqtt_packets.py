"""What comes from a broker: a damaged packet is counted as one, a fault in taking in its message is not.

On MicroPython only: the codec is umqtt, which wants its sockets. CPython collects no test here."""

import asyncio

from check import equal, raises

try:
    from mqtt import Session
except ImportError:  # CPython
    Session = None

BROKER = {"connect_timeout_s": 1, "keepalive_s": 30, "host": "h", "port": 1, "tls": "off", "user": "", "password": ""}


def publish(topic, message):
    return b"\x30" + bytes([2 + len(topic) + len(message), 0, len(topic)]) + topic + message


def handled(on_message, packet):
    """The session after it took in one packet."""
    import mqtt

    session = Session(None, "id", BROKER, on_message, None)
    session._codec = mqtt._Codec("id", "h", 1, None, "", 30)
    session._codec.sock = session._buffer
    session._codec.set_callback(session._keep)
    asyncio.run(session._handle(packet))
    return session


if Session:

    def test_a_message_is_handed_on_once():
        got = []
        session = handled(lambda topic, message: got.append((topic, message)), publish(b"cmd/ab/receipt", b"r"))
        equal(got, [(b"cmd/ab/receipt", b"r")])
        equal(session.malformed, 0)

    def test_lengths_that_do_not_fit_are_a_malformed_packet():
        got = []
        session = handled(lambda *both: got.append(both), b"\x32\x03\x00\x09x")
        equal(got, [])
        equal(session.malformed, 1)

    def test_a_fault_in_taking_in_a_message_is_not_swallowed():
        for fault in (OSError(5), ValueError("v"), IndexError("i"), TypeError("t")):

            def fails(_topic, _message, fault=fault):
                raise fault

            raises(type(fault), handled, fails, publish(b"t", b"m"))

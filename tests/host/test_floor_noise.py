"""A million noisy bytes on a scanner's line, at the error rates of a bad cable at two speeds: no false scan."""

import random

import pytest

from parkgate.sensing import scans

NOISY_BYTES = 1_000_000


def code(kind: str, body: str) -> bytes:
    text = f"PG{kind}{body}"
    return f"{text}*{scans.check_of(text)}\r\n".encode()


def sent(dice: random.Random) -> tuple[tuple[str, str], bytes]:
    kind = dice.choice("LIOPM")
    body = "".join(dice.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789-./", k=dice.randint(1, 20)))
    return (kind, body), code(kind, body)


@pytest.mark.parametrize("baud, damaged", [(9600, 0.02), (115200, 0.2)])
def test_no_false_scan(baud, damaged):
    """Of codes a share of the bytes is damaged: bits flipped, bytes lost, doubled or put between; between the codes
    comes the noise of an open line. Each code that came whole is taken, and nothing else is."""
    dice = random.Random(baud)
    reader = scans.Scans()
    noisy = taken = whole = 0
    stream = bytearray()
    expected = []
    while noisy < NOISY_BYTES // 2:
        wanted, data = sent(dice)
        got = bytearray()
        hurt = False
        for byte in data:
            if dice.random() >= damaged:
                got.append(byte)
                continue
            hurt = True
            flipped = byte ^ 1 << dice.randrange(8)
            got += dice.choice((bytes([flipped]), b"", bytes([byte, byte]), bytes([dice.randrange(256), byte])))
        noise = dice.randbytes(dice.randint(0, 40)) + b"\r"  # a scanner in its stand ends its line; the noise does not
        stream += noise + got + b"\r"
        noisy += len(noise) + (len(got) if hurt else 0)
        whole += not hurt
        expected.append((wanted, hurt))
        found = reader.feed(bytes(stream))
        stream.clear()
        for one in found:
            assert one == wanted, "a scan of what nobody scanned"  # damage of a line's end, or none at all
            taken += 1
        if not hurt:
            assert wanted in found
    assert whole <= taken < whole + len(expected)
    assert reader.refused > 1000


def test_half_a_million_random_bytes_and_lines_of_the_right_form():
    dice = random.Random(1)
    reader = scans.Scans()
    assert reader.feed(dice.randbytes(NOISY_BYTES // 2)) == []
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    for _ in range(20_000):
        line = f"PGL{''.join(dice.choices(letters, k=8))}*{''.join(dice.choices(letters, k=6))}\r"
        assert reader.feed(line.encode()) == []

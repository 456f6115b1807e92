"""Makes lib/parkgate/wire/p256_table.py: the points that signing on P-256 adds instead of computing.

A table that had one wrong bit would give wrong signatures for some digests only, so nobody types it: it is
computed here with plain affine arithmetic, which shares nothing with the formulas in lib/parkgate/wire/p256.py,
and a test compares the tree's file with this output.

    python -m host_tools.image.app.make_p256_table            write the file
    python -m host_tools.image.app.make_p256_table --check    exit 1 if the file differs

Layout (p256.py explains the use): table j of TABLES, j = 0..3, holds 128 points of 64 bytes, x || y,
big-endian. Point i of table j is 2^(64j) * (2^56 + sum over t = 0..6 of +-2^(8t)) * G, + where bit t of i is
set.
"""

import argparse
import sys

from host_tools.base.paths import SOURCES

TABLE_PATH = SOURCES / "lib" / "parkgate" / "wire" / "p256_table.py"

TABLES = 4
TEETH = 8
TOOTH_BITS = 8  # distance between two teeth of the comb
TABLE_BITS = 64  # distance between two tables

# SEC 2 (version 2) 2.4.2, secp256r1.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
GX = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
GY = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5

_HEADER = '''\
"""Signed-odd comb points of P-256's generator: 4 tables of 128 points, 32,768 bytes. Generated, do not edit.

Made by host_tools/image/app/make_p256_table.py, which describes the layout; a test compares this file with its output.
Plain constants, so a frozen module keeps them in flash and signing copies one coordinate at a time.
"""

'''


def add(a: tuple, b: tuple) -> tuple:
    """The sum of two affine points, neither of them infinity nor the other's negative (SEC 1, 2.2.1)."""
    if a == b:
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def power(point: tuple, exponent: int) -> tuple:
    """2^exponent * point."""
    for _ in range(exponent):
        point = add(point, point)
    return point


def table(index: int) -> bytes:
    """The 128 points of table `index` (0..3), 8,192 bytes."""
    teeth = [power((GX, GY), TABLE_BITS * index + TOOTH_BITS * tooth) for tooth in range(TEETH)]
    points = [teeth[-1]]
    for x, y in reversed(teeth[:-1]):
        points = [add(point, signed) for point in points for signed in ((x, P - y), (x, y))]
    return b"".join(x.to_bytes(32, "big") + y.to_bytes(32, "big") for x, y in points)


def source() -> str:
    """The whole text of the module."""
    lines = [_HEADER, "TABLES = (\n"]
    for index in range(TABLES):
        data = table(index)
        lines.append("    (\n")
        for start in range(0, len(data), 128):
            digits = "".join("\\x%02x" % byte for byte in data[start : start + 128])
            lines.append('        b"%s"\n' % digits)
        lines.append("    ),\n")
    lines.append(")\n")
    return "".join(lines)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description="Make lib/parkgate/wire/p256_table.py.")
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 if the file differs")
    if parser.parse_args(arguments).check:
        if TABLE_PATH.is_file() and TABLE_PATH.read_text() == source():
            return 0
        print("%s is not what its generator makes" % TABLE_PATH, file=sys.stderr)
        return 1
    TABLE_PATH.write_text(source())
    return 0


if __name__ == "__main__":
    sys.exit(main())

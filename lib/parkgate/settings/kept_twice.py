"""Files that the gateway cannot do without: each with a checksum, and each twice. Loaded when it is wanted.

A file is a magic of four bytes, its content and the CRC-32 of both (most significant byte first); the second copy has
the same bytes under the name with `.2` behind it. A file that is absent is one case, one that cannot be read or does
not check is another: only of the first is anything ever made anew.
"""

from binascii import crc32


def sealed(magic: bytes, content: bytes) -> bytes:
    """The file's bytes."""
    data = magic + content
    return data + (crc32(data) & 0xFFFFFFFF).to_bytes(4, "big")


def is_whole(data) -> bool:
    """Whether these are the bytes of such a file."""
    return len(data) > 8 and crc32(data[:-4]) & 0xFFFFFFFF == int.from_bytes(data[-4:], "big")


def read(files, name: str):
    """The whole bytes of a file, from whichever copy checks; the other is mended. None when there is no copy, b"" when
    there is one and none checks."""
    copies = [files.read(name), files.read(name + ".2")]
    good = None
    for data in copies:
        if data and is_whole(data):
            good = data
            break
    if good is None:
        return None if copies == [None, None] else b""
    if copies != [good, good]:
        write(files, name, good)
    return good


def write(files, name: str, data: bytes):
    """Replace both copies, one after the other."""
    files.write(name, data)
    files.write(name + ".2", data)

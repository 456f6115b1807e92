"""After a factory reset: nothing of what the files held may stay readable in the flash chip.

littlefs copies on write. What was deleted stays in free blocks, and what small files held stays in the log of their
folder until that is written anew. So: a file is rewritten in each folder until both blocks of its log have been erased,
then a file takes all free blocks, and is removed. On an RP2040 that takes some 50 ms for each 4 KiB that is free.
"""

import os

_FIRST, _LAST = "/!", "/~"  # names before and behind all others: a long folder has its log in several parts
_REWRITES = 128  # a log of 4 KiB is written anew at least four times
_INLINE = 100  # bytes: what a folder's log takes in itself on every board
_CHUNK = 1024


def scrub(folders, feed):
    """Overwrite what is free. `folders` are those where files were removed; `feed` is called every few blocks."""
    data = bytearray(_INLINE)
    for folder in folders:
        for name in (_FIRST, _LAST):
            path = folder + name
            for n in range(_REWRITES):
                data[0] = n
                _write(path, data)
                feed()
            os.remove(path)
    _fill(folders[0] + _FIRST, feed)


def _write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def _fill(path, feed):
    chunk = bytes(_CHUNK)
    try:
        with open(path, "wb") as f:
            while True:
                f.write(chunk)
                feed()
    except OSError:
        pass  # full
    os.remove(path)

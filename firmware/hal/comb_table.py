"""The signing table as a file, for boards that cannot read it where it lies in flash."""


class CombTable:
    """The points that signing needs (p256.use_table), left in a file: on the heap they would take 33 kB."""

    def __init__(self, path: str):
        self._file = open(path, "rb")

    def point(self, table: int, offset: int) -> bytes:
        """The 64 bytes at `offset` of table 0..3."""
        self._file.seek(table * 8192 + offset)
        return self._file.read(64)

"""The few small files that a gateway keeps beside its journal, in memory."""


class SmallFiles:
    """As hal.files.Files: None for absent, b"" for what cannot be read. `content`: name → bytes."""

    def __init__(self):
        self.content = {}
        self.unreadable = ()

    def read(self, name, _limit=0):
        return b"" if name in self.unreadable else self.content.get(name)

    def write(self, name, data):
        self.content[name] = bytes(data)

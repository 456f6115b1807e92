"""Where a SunSpec meter keeps its model: the chain of models is walked, one read after another (SPEC 11.3).

    discovery = Discovery({"203": "", "213": "float"})
    while discovery.request():
        discovery.take(the bytes that a read of discovery.request() gave, None when it was refused)
    discovery.found        (model, address of its first register), None where the meter has none of these

Sans I/O, and bounded: at most 3 bases, 64 models, 65,536 registers. Facts: SunSpec models 1, 201-204, 211-214
(sunspec/models, Apache-2.0): the base registers hold "SunS", then each model is its number, its length and so many
registers; number FFFF ends the chain.
"""

BASES = (40000, 50000, 0)
MARK = b"SunS"
_END = 0xFFFF
_MODELS_MAX = 64
_ADDRESS_MAX = 0xFFFF
_FUNCTION = 3


class Discovery:
    """`wanted`: model number as text → anything; the first of these in the chain is found. `models` are all that were
    seen, as (number, address, length); `reason` says why none was found."""

    def __init__(self, wanted):
        self.found = None
        self.models = []
        self.reason = "no SunSpec mark at %s" % ", ".join([str(base) for base in BASES])
        self._wanted = wanted
        self._bases = list(BASES)
        self._at = None  # of the next model, None while a base is looked for

    def request(self):
        """(function, address, count) of the read to make next, None when there is no more to learn."""
        if self.found is not None or (self._at is None and not self._bases):
            return None
        return _FUNCTION, self._bases[0] if self._at is None else self._at, 2

    def take(self, data):
        """The 4 bytes that the read gave, None when the meter refused it. Silence is no answer: ask again."""
        if self._at is None:
            base = self._bases.pop(0)
            if data == MARK:
                self._at = base + 2
                self._bases = []
            return
        at, self._at = self._at, None
        if data is None or len(data) != 4:
            self.reason = "the chain of models breaks off at register %d" % at
            return
        number, length = data[0] << 8 | data[1], data[2] << 8 | data[3]
        if number == _END:
            self.reason = "no model of a meter; there are %s" % ", ".join([str(model[0]) for model in self.models])
            return
        self.models.append((number, at, length))
        if str(number) in self._wanted:
            self.found = number, at
        elif at + 2 + length + 1 > _ADDRESS_MAX or len(self.models) >= _MODELS_MAX:
            self.reason = "the chain of models has no end"
        else:
            self._at = at + 2 + length

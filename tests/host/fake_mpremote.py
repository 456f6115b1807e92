"""A board that mpremote talks to, for `parkgate flash`."""

import hashlib
import json

from host_tools.image import boards, flash_image, flash_write
from host_tools.image.app import code_in_place
from host_tools.image.flash_image import FlashError


class FakeMpremote:
    """A board behind mpremote's command line: files by path, and nothing else."""

    def __init__(self, machine="Raspberry Pi Pico W with RP2040", mpy=6):
        self.machine, self.mpy = machine, mpy
        self.files: dict[str, bytes] = {}
        self.resets = 0
        self.calls_left = -1  # then the cable is pulled
        self.code = flash_image.code_block(boards.load("pico_w"))

    def __call__(self, port, *words, may_fail=False):
        self.calls_left -= 1
        if self.calls_left == -1:
            raise FlashError("the cable was pulled")
        if words[0] == "exec" and "ilistdir" in words[1]:
            hashes = {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}
            return json.dumps([self.machine, self.mpy, hashes]) + "\n"
        if words[0] == "exec" and "os.remove" in words[1]:
            for path in list(self.files):
                if f"'/{path}'" in words[1]:
                    del self.files[path]
            if words[1] == flash_write.RELEASE:
                self.files.pop("data/repl", None)
        elif words[0] == "exec" and words[1] == flash_write.HOLD:
            self.files["data/repl"] = b"flash"
        elif words[0] == "exec" and words[1] == flash_write.MARK:
            return self.files.get("data/repl", b"").decode() + "\n"
        elif words[0] == "exec" and words[1] == flash_write.CODE_STATE:
            return json.dumps(code_in_place.modules_in(self.code) if self.code else {}) + "\n"
        elif words[0] == "exec":
            return "-1\n"
        elif words[0] == "reset":
            self.resets += 1
        while "cp" in words:
            at = words.index("cp")
            with open(words[at + 2], "rb") as file:
                self.files[words[at + 3][2:]] = file.read()
            words = words[at + 4 :]
        return ""

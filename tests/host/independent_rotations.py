"""Keys that follow each other (SPEC 3.6), for `independent_archive`: it imports nothing of Parkgate."""

import cbor2

from independent_statement import holds, sha, thumbprint
from independent_verifier import UINT, Refused, batch_alone, is_a, need, opened, read_beat, read_key

HEAD = range(-7, -6), range(65101, 65103), 32, [16, UINT]


class Keys:
    """The keys of a gateway in their order: [id, x and y, (epoch, seq) of the last batch]."""

    def __init__(self, told, committed):
        self.gateway, self.committed, self.brought = told["id"], committed, []
        self.line = [[told["id"], told["key"], None]]

    def ids(self):
        return [key[0].hex() for key in self.line]

    def read(self, messages):
        """The reasons that `rotations.cbor` gives, with the place of each."""
        for place, message in enumerate(messages):
            try:
                need(message is not None, "", "")
                self.follow(message)
            except Refused:
                yield "rotation", place
                return
            if place == 0 and self.committed is None:
                yield "rotation_uncommitted", place

    def follow(self, message):
        old, xy, _ = self.line[-1]
        batch = batch_alone(message, xy)
        said = [event for event in batch["events"] if event[0] == 34]
        need(len(said) == 1 and is_a(said[0], [range(34, 35), 64, 32, 64]), "", "")
        _, new, after, signature = said[0]
        read_key(cbor2.dumps({1: 2, -1: 1, -2: new[:32], -3: new[32:]}))
        kid = thumbprint(new)
        expected = self.committed if len(self.line) == 1 else self.after
        need(expected in (None, kid) and after not in (old, kid), "", "")
        need(kid.hex() not in self.ids(), "", "")
        need(holds(new, b"parkgate rotation v1" + self.gateway + old + after, signature), "", "")
        self.line[-1][2] = batch["epoch"], batch["seq"]
        self.line.append([kid, new, None])
        self.after = after
        self.brought.append(sha(message))

    def look(self, data, read, epoch):
        """(what the message says, None) or (None, reason). Refused where it has not its form."""
        content = 65102 if read is read_beat else 65101
        head = opened(data, b"\xd2", "Signature1", 64, HEAD[0], range(content, content + 1), *HEAD[2:])[0]
        kid, (chain, seq) = head[4], head[-65537]
        known = [number for number, key in enumerate(self.line) if key[0] == kid]
        xy = self.line[known[0]][1] if known else self.line[0][1]
        reason, found = None, None
        try:
            found = read(data, xy)
        except Refused as error:
            if error.args[0] not in ("foreign", "signature"):
                raise
            reason = "signature"
        if not known or epoch not in (None, chain):
            return None, "misplaced"
        before = self.line[known[0] - 1][2] if known[0] else None
        last = self.line[known[0]][2]
        if before and before[0] == chain and seq <= before[1]:
            return None, "wrong_key"
        if last and last[0] == chain and seq > last[1] + (read is read_beat):
            return None, "wrong_key"
        return found, reason

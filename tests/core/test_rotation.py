"""A gateway's next key (SPEC 3.6): what is committed, what is signed, and cuts between any two writes."""

import os

from check import equal, raises, true
from parkgate.errors import FormatError, IntegrityError
from parkgate.log import rotation
from parkgate.wire.cose import thumbprint
from parkgate.wire.p256 import SoftwareSigner, public_key, sign, verify
from parkgate.wire.steps import finish
from small_files import SmallFiles

OLD = SoftwareSigner(bytes(31) + b"\x05")
ID = thumbprint(OLD.public_key)


class _Cut(Exception):
    pass


class _Files(SmallFiles):
    """Files whose writes can be cut: before write number `cut`, counted from when it is set."""

    def __init__(self):
        SmallFiles.__init__(self)
        self.cut = None

    def write(self, name, data):
        if self.cut is not None:
            if self.cut == 0:
                raise _Cut
            self.cut -= 1
        SmallFiles.write(self, name, data)


def _begun(files, seq=7):
    next_id = rotation.prepare(files, os.urandom(48), os.urandom)
    event = finish(rotation.begin(files, ID, ID, seq, os.urandom(48), os.urandom))
    return next_id, event


def test_the_event_is_signed_by_the_committed_key():
    files = _Files()
    next_id, event = _begun(files)
    key, after = rotation.check(event, ID, ID, next_id, verify)
    equal(thumbprint(key), next_id)
    put = []
    true(rotation.settle(files, 8, ID, lambda *args: put.append(args)))
    equal(SoftwareSigner(put[0][0]).public_key, key)
    equal(put[0][1], ID)
    equal(rotation.prepare(files, os.urandom(48), os.urandom), after, "the key after it is the one that was named")


def test_the_next_key_is_made_once():
    files = _Files()
    first = rotation.prepare(files, os.urandom(48), os.urandom)
    equal(rotation.prepare(files, os.urandom(48), os.urandom), first)


def test_what_is_not_committed_or_not_signed_changes_nothing():
    next_id, event = _begun(_Files())
    thief = SoftwareSigner(bytes(31) + b"\x09")
    stolen = [34, thief.public_key, bytes(32), finish(thief.sign_steps(rotation.digest(ID, ID, bytes(32))))]
    raises(IntegrityError, rotation.check, stolen, ID, ID, next_id, verify)
    raises(IntegrityError, rotation.check, event, ID, ID, None, verify)
    raises(IntegrityError, rotation.check, event, ID, bytes(32), next_id, verify)
    raises(IntegrityError, rotation.check, event, bytes(32), ID, next_id, verify)
    other = event[:2] + [bytes(32), event[3]]
    raises(IntegrityError, rotation.check, other, ID, ID, next_id, verify)
    for bad in ([34], event[:3], event + [0], [34, 1, 2, 3], [34, bytes(63), bytes(32), bytes(64)]):
        raises(FormatError, rotation.check, bad, ID, ID, next_id, verify)


def test_a_cut_anywhere_leaves_the_old_key_or_the_new_one():
    for sealed in (False, True):
        for cut in range(5):
            files, put = _Files(), []

            def put_key(key, gateway_id, put=put, files=files):
                files.write("identity.key", key)
                put.append(key)

            rotation.prepare(files, os.urandom(48), os.urandom)
            before = files.content[rotation.FILE]
            event = None
            try:
                if not sealed:
                    files.cut = cut
                event = finish(rotation.begin(files, ID, ID, 7, os.urandom(48), os.urandom))
                files.cut = cut
                rotation.settle(files, 8 if sealed else 7, ID, put_key)
            except _Cut:
                pass
            files.cut = None
            rotation.settle(files, 8 if sealed else 7, ID, put_key)  # at the next start
            if sealed and event:
                equal(SoftwareSigner(put[-1]).public_key, event[1])
            else:
                equal(put, [])
                equal(files.content[rotation.FILE], before)
            equal(len(files.content[rotation.FILE]), 40)
            equal(files.content[rotation.FILE], files.content[rotation.FILE + ".2"])


def test_a_next_key_that_cannot_be_read_is_not_made_again():
    files = _Files()
    rotation.prepare(files, os.urandom(48), os.urandom)
    for name in list(files.content):
        files.content[name] = b"\0" + files.content[name][1:]
    raises(IntegrityError, rotation.prepare, files, os.urandom(48), os.urandom)


def test_the_example_of_the_spec():
    numbers = [int("38cb704124edd275a290b48aad39972db57f80664123dfdaf787d7d53a6e2f9d", 16) + i for i in range(3)]
    keys = [public_key(number.to_bytes(32, "big")) for number in numbers]
    ids = [thumbprint(key) for key in keys]
    made = sign(numbers[1].to_bytes(32, "big"), rotation.digest(ids[0], ids[0], ids[2]))
    equal(made[:4].hex(), "5acfa9fb")
    equal(rotation.check([34, keys[1], ids[2], made], ids[0], ids[0], ids[1], verify), (keys[1], ids[2]))

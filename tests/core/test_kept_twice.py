"""Key, code and meaning of samples: absence told from failure, a damaged copy mended, never another key unasked."""

from check import equal, raises, true
from gateway.identity import FILE, PUBLIC, NoSigner, load_signer, make_key, read_key
from gateway.meaning import TAKEN_UNDER, taken_under
from parkgate.console.access import Access
from parkgate.errors import FormatError, IntegrityError
from parkgate.settings import kept_twice
from parkgate.wire import cbor
from small_files import SmallFiles


class Board:
    def __init__(self):
        self.files = SmallFiles()
        self.drawn = 0

    def comb_point(self):
        return None

    def entropy(self, count):
        self.drawn += 1
        return bytes((self.drawn * 7 + i) & 255 for i in range(count))


class Log:
    def __init__(self):
        self.said = []

    def error(self, who, text):
        self.said.append(text)

    info = error


def flipped(data, bit):
    data = bytearray(data)
    data[bit >> 3] ^= 1 << (bit & 7)
    return bytes(data)


def started():
    board = Board()
    signer = load_signer(board, Log(), 0)[0]
    return board, signer.public_key


def test_the_first_start_makes_a_key_and_later_ones_read_it():
    board, public = started()
    equal(board.files.content[FILE], board.files.content[FILE + ".2"])
    equal(board.files.content[PUBLIC], public.hex().encode())
    equal(load_signer(board, Log(), 1)[0].public_key, public)


def test_no_flipped_bit_of_one_copy_changes_who_it_is():
    board, public = started()
    good = board.files.content[FILE]
    for name in (FILE, FILE + ".2"):
        for bit in range(0, 8 * len(good), 5):
            board.files.content[name] = flipped(good, bit)
            equal(read_key(board.files), good[4:-4])
            equal(board.files.content[name], good, "mended")
    for cut in (b"", good[:7], good[:-1]):
        board.files.content[FILE] = cut
        equal(load_signer(board, Log(), 1)[0].public_key, public)


def test_a_key_that_cannot_be_read_is_not_replaced():
    def damage_both(files):
        files.content[FILE] = files.content[FILE + ".2"] = flipped(files.content[FILE], 77)

    def unreadable(files):
        files.unreadable = (FILE, FILE + ".2")

    def gone(files):
        del files.content[FILE], files.content[FILE + ".2"]

    for harm in (damage_both, unreadable, gone):
        board, public = started()
        whole = dict(board.files.content)
        harm(board.files)
        left = dict(board.files.content)
        log = Log()
        signer = load_signer(board, log, 0)[0]
        equal((type(signer), signer.public_key), (NoSigner, public))
        equal(board.files.content, left, "nothing was written")
        true(log.said)
        raises(IntegrityError, signer.sign_steps, bytes(32))
        raises(IntegrityError, signer.ecdh_steps, bytes(64))
        board.files.content, board.files.unreadable = whole, ()
        equal(load_signer(board, log, 0)[0].public_key, public, "and when it reads again it is the same")


def test_no_key_is_made_where_the_journal_holds_batches():
    board = Board()
    signer = load_signer(board, Log(), 1)[0]
    equal((type(signer), signer.public_key), (NoSigner, bytes(64)))
    equal(board.files.content, {})


def test_a_key_without_a_check_is_taken_only_if_it_is_the_one_that_was_shown():
    board, public = started()
    key = board.files.content[FILE][4:-4]
    del board.files.content[FILE + ".2"]
    board.files.content[FILE] = key
    equal(load_signer(board, Log(), 1)[0].public_key, public)
    equal(len(board.files.content[FILE + ".2"]), 40, "from now on with a check, twice")
    for wrong in (flipped(key, 3), key[:-1], bytes(32)):
        del board.files.content[FILE + ".2"]
        board.files.content[FILE] = wrong
        equal(type(load_signer(board, Log(), 0)[0]), NoSigner)
        equal(board.files.content[FILE], wrong)
        board.files.content[FILE + ".2"] = b""


def test_a_person_can_make_a_new_key():
    board, public = started()
    make_key(board, b"host")
    true(load_signer(board, Log(), 0)[0].public_key != public)


def test_a_code_that_cannot_be_read_leaves_the_console_closed():
    files = SmallFiles()

    def access():
        return Access(kept_twice.read(files, "code"), lambda data: kept_twice.write(files, "code", data))

    true(access().open(0), "no code yet")
    access().set_code("secret1", bytes(16))
    good = files.content["code"]
    files.content["code"] = flipped(good, 100)
    true(not access().open(0) and access().unlock("secret1", 0), "the other copy has it")
    files.unreadable = ("code", "code.2")
    true(access().damaged and not access().open(0))
    files.unreadable = ("code",)
    true(not access().damaged)
    files.unreadable = ()
    files.content["code"] = files.content["code.2"] = flipped(good, 100)
    true(access().damaged and not access().open(0))


def test_what_samples_mean_is_read_from_either_copy_or_told_as_damaged():
    files = SmallFiles()
    equal(taken_under(files), None)
    item = [bytes(16), cbor.encode([["m", "p", [["power", "W", 0]]]])]
    files.write(TAKEN_UNDER, cbor.encode(item))
    equal(taken_under(files), item, "of an older firmware")
    whole = kept_twice.sealed(b"PGT1", cbor.encode(item))
    kept_twice.write(files, TAKEN_UNDER, whole)
    files.content[TAKEN_UNDER] = whole[:9]
    equal(taken_under(files), item)
    for bad in (b"", b"x", whole[:-1], cbor.encode(7), cbor.encode([]), cbor.encode([1, b"\xff"])):
        files.content[TAKEN_UNDER] = files.content[TAKEN_UNDER + ".2"] = bad
        raises(FormatError, taken_under, files)

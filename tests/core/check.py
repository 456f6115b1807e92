"""Three checks for tests that run unchanged on CPython and on MicroPython.

The `assert` statement vanishes at optimisation level 1 and above, where these tests must run as well;
so each check raises AssertionError itself. A failed check shows what it got and what it wanted.
"""


def equal(got, want, what=""):
    """Pass if `got` equals `want`; a failure shows both."""
    if got == want:
        return
    raise AssertionError(_labelled(what, "got %s, want %s" % (_shown(got), _shown(want))))


def true(cond, what=""):
    """Pass if `cond` is true."""
    if not cond:
        raise AssertionError(_labelled(what, "is not true: %s" % _shown(cond)))


def raises(error, fn, *args):
    """Call `fn(*args)`, pass if it raises `error` (or a subclass), and give the exception for a closer look.

    Any other exception goes through untouched: it is a fault of its own, with its own traceback.
    """
    try:
        result = fn(*args)
    except error as raised:
        return raised
    raise AssertionError("%s was not raised, the call gave %s" % (error.__name__, _shown(result)))


def _labelled(what, message):
    return "%s: %s" % (what, message) if what else message


def _shown(value):
    # A test on a whole flash image must not print it: both ends tell the most.
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    text = repr(value)
    if len(text) > 600:
        text = "%s ... %s (%d characters)" % (text[:300], text[-260:], len(text))
    return text

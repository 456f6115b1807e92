"""The checks themselves: each must be able to fail, at every optimisation level."""

from check import equal, raises, true


def fails(fn, *args):
    """Call a check that must fail and give its message."""
    try:
        fn(*args)
    except AssertionError as raised:
        return str(raised)
    raise AssertionError("a check that must fail has passed")


def test_equal_passes_on_equal_values():
    equal(3, 3)
    equal(b"ab", bytearray(b"ab"))
    equal([1, [2]], [1, [2]])


def test_equal_fails_and_shows_both_values():
    message = fails(equal, 3, 4, "the sum")
    true(message == "the sum: got 3, want 4", message)


def test_equal_shows_long_values_by_their_ends():
    message = fails(equal, bytes(5000), b"")
    true(len(message) < 1000, message)


def test_true_fails_with_its_label():
    message = fails(true, [], "the list")
    equal(message, "the list: is not true: []")


def test_raises_gives_the_exception():
    equal(str(raises(ValueError, int, "x"))[:7], "invalid")


def test_raises_accepts_a_subclass():
    raises(LookupError, _missing_key, 1)


def test_raises_fails_when_nothing_is_raised():
    equal(fails(raises, ValueError, int, "7"), "ValueError was not raised, the call gave 7")


def test_raises_lets_other_errors_through():
    try:
        raises(ValueError, _missing_key, 1)
    except KeyError:
        return
    raise AssertionError("the KeyError was lost")


def _missing_key(key):
    return {}[key]

"""Long work in short steps: a generator yields between them, and its return value is the result.

`yield from` hands the steps on; an event loop takes a turn at each; `finish` drives them at once where time is no
matter."""


def finish(steps):
    """The return value of a generator driven to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value

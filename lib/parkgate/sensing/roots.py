"""Integer square root: MicroPython's math has none, and its float one is wrong from 2^24 on."""


def square_root(n: int) -> int:
    """The largest integer whose square is not above `n` ≥ 0 (Newton's method from above)."""
    if n < 2:
        return n
    bits = 0
    m = n
    while m > 255:
        m >>= 8
        bits += 8
    while m:
        m >>= 1
        bits += 1
    x = 1 << ((bits + 1) >> 1)
    while True:
        y = (x + n // x) >> 1
        if y >= x:
            return x
        x = y

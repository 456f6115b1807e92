"""Questions to a person at the terminal."""

from __future__ import annotations

from collections.abc import Callable

from parkgate.errors import ProfileError


def ask(question: str, default: str = "", fault: Callable[[str], str | None] | None = None) -> str:
    """The answer to a question, or the default for an empty line. `fault` says what is wrong with an answer; then the
    question comes again. Raises ProfileError at the end of input."""
    while True:
        try:
            text = input(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
        except EOFError:
            raise ProfileError("the input ended; nothing was written. The answers so far are kept") from None
        wrong = fault(text) if fault else None
        if not wrong:
            return text
        print(f"  {wrong}")


def yes(question: str, default: bool = True) -> bool:
    """A yes or no."""
    text = ask(f"{question} {'[Y/n]' if default else '[y/N]'}", "", _yes_fault)
    return default if not text else text[:1].lower() == "y"


def _yes_fault(text: str) -> str | None:
    return None if text[:1].lower() in ("y", "n", "") else "y or n"

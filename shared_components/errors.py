"""One error class for everything that a user can mend."""

from __future__ import annotations

import reprlib

_short_repr = reprlib.Repr()  # of a list of millions too, in no time
_short_repr.maxstring = _short_repr.maxother = 1000
_short_repr.maxlist = _short_repr.maxtuple = _short_repr.maxdict = 8


class InputError(ValueError):
    """A fault in what the user supplied; its text names the file, what was expected and the cure.

    Command lines print the text without a stack trace and exit with status 2.
    """


def shown(value: object, limit: int = 80) -> str:
    """``value`` as a message quotes it: in Python's notation, on one line, and not longer than ``limit`` letters.

    >>> shown("a\\nb"), shown("x" * 200, limit=10)
    ("'a\\\\nb'", "'xxxxxxxxx …")
    """
    text = _short_repr.repr(value)
    return text if len(text) <= limit else f"{text[:limit]} …"

"""One error class for everything that a user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """A fault in what the user supplied; its text names the file, what was expected and the cure.

    Command lines print the text without a stack trace and exit with status 2.
    """

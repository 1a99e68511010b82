"""One error class for everything that a user can mend, and the words of its message: values, numbers, names meant."""

from __future__ import annotations

import difflib
import errno
import re
import reprlib
import unicodedata
from collections.abc import Iterable
from typing import Any

_PLACE = (
    frozenset(  # what a user mends who names another folder, makes space, or corrects a path or a permission
        getattr(errno, name)
        for name in (
            *("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOTDIR", "EISDIR", "EEXIST", "ENOENT"),
            *("EFBIG", "EIO", "ENAMETOOLONG", "ELOOP", "ESTALE", "EBUSY"),
        )
    )
)
_NO_CLASS = re.compile(  # torch's words, of one_hot and of the cross entropy
    r"index -1 is out of bounds for dimension 1 with size [1-9]|Target -1 is out of bounds"
)
_UNPRINTABLE = ("Cc", "Cs")  # control characters, halves of surrogate pairs
_short_repr = reprlib.Repr()  # of a list of millions too, in no time
_short_repr.maxstring = _short_repr.maxother = 1000
_short_repr.maxlist = _short_repr.maxtuple = _short_repr.maxdict = 8


class InputError(ValueError):
    """A fault in what the user supplied; its text names the file, what was expected and the cure.

    Command lines print the text without a stack trace and exit with status 2.
    """


def input_error_in(error: BaseException | None) -> InputError | None:
    """The :class:`InputError` that ``error`` is or was raised from, if any."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def cause(error: BaseException, limit: int = 300) -> str:
    """What is at the bottom of a chain of errors, in one line of at most ``limit`` letters."""
    found = input_error_in(error)
    while found is None and error.__cause__ is not None and "the referring item" not in str(error):
        error = error.__cause__  # MONAI's word for a reference to nothing says more than what lies below it
    text = failure_line(found or error)
    return text if len(text) <= limit else f"{text[:limit]} …"


def failure_line(error: BaseException) -> str:
    """What went wrong, in one line, with its kind where it is none that this program tells of."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else loss_line(error) or f"{type(error).__name__}: {text}"


def loss_line(error: BaseException) -> str | None:
    """One line where a loss that knows classes alone was given labels of -1; None for any other error."""
    if not _NO_CLASS.match(str(error)):
        return None
    return (
        "loss: expected one that knows labels of -1 (where nobody annotated), found one that knows classes alone; "
        "take shared_components.losses.masked_segmentation.KnownDiceCELoss, or another that leaves them out"
    )


def shown(value: object, limit: int = 80) -> str:
    """``value`` as a message quotes it: in Python's notation, on one line, and not longer than ``limit`` letters.

    >>> shown("a\\nb"), shown("x" * 200, limit=10)
    ("'a\\\\nb'", "'xxxxxxxxx …")
    """
    text = _short_repr.repr(value)
    return text if len(text) <= limit else f"{text[:limit]} …"


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def printable(text: str, limit: int = 500) -> str:
    """``text`` on one line that any terminal and file takes, without the middle of what is beyond ``limit``.

    Control characters and halves of surrogate pairs, which JSON and YAML let through, become escapes.
    """
    line = " ".join(text.split())
    if len(line) > limit:
        line = f"{line[: limit * 2 // 3]} … {line[len(line) - limit // 3 :]}"
    return "".join(ascii(letter)[1:-1] if has_unprintable(letter) else letter for letter in line)


def has_unprintable(text: str) -> bool:
    """Whether ``text`` has control characters or halves of surrogate pairs."""
    return any(unicodedata.category(letter) in _UNPRINTABLE for letter in text)


def name_fault(name: object, limit: int = 100) -> str | None:
    """Why ``name`` cannot name anything in files and reports: no text, empty, too long, or not printable."""
    if not isinstance(name, str) or not name.strip():
        return f"expected a name, found {shown(name)}"
    if len(name) > limit:
        return f"expected a name of at most {limit} letters, found {len(name)}"
    if has_unprintable(name):
        return f"expected a name of letters that can be printed, found {shown(name)}"
    return None


def folder_name_fault(name: object) -> str | None:
    """Why ``name`` cannot name a folder as well: as :func:`name_fault`, or it would lead elsewhere."""
    if not name_fault(name) and (str(name) in (".", "..") or any(sign in str(name) for sign in "/\\")):
        return f"expected a name without '/' and '\\', which is no '.' or '..', found {shown(name)}"
    return name_fault(name)


def os_error_line(error: OSError) -> str | None:
    """One line for an error of the file system that a user can mend; None for any other."""
    if error.errno not in _PLACE:
        return None
    reason = error.strerror or type(error).__name__
    if error.errno == errno.ENOENT:
        what = error.filename or "input or output"
        return f"{what}: no such file or folder; it was moved or removed, or the path is wrong"
    return (
        f"{error.filename or 'output'}: cannot be used ({reason}); "
        "name a place that may be read and written, on a disk with space left"
    )


def unknown(what: str, found: Iterable[Any], known: list[str]) -> list[str]:
    """A line for each of ``found`` that is none of ``known``."""
    return [f"{what} '{key}' is unknown{closest(key, known)}" for key in found if key not in known]


def closest(word: Any, known: Iterable[str]) -> str:
    """`` (did you mean '…'?)``, or the known words where none is near."""
    known = list(known)
    return meant(word, known) or f"; known are {_short(', '.join(known))}"


def meant(word: Any, known: Iterable[str]) -> str:
    """`` (did you mean '…'?)``, empty where no known word is near."""
    near = nearest(word, known)
    return f" (did you mean '{near}'?)" if near else ""


def nearest(word: Any, known: Iterable[str]) -> str:
    """The known word that ``word`` is most like; empty where none is near."""
    return next(iter(difflib.get_close_matches(str(word), list(known), n=1)), "")


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]} …"

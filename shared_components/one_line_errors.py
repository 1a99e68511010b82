"""Mendable faults as one line, also where a program that is not ours runs our configs."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from types import TracebackType

from shared_components.errors import InputError

MISREAD = {"true": "True", "false": "False", "null": "'$None'"}  # word: what would have that meaning


def show_input_errors() -> None:
    """From now on a process that dies of an :class:`InputError` prints its text alone.

    ``python -m monai.bundle`` wraps whatever a config's expression raises, so that the text would stand in the
    middle of two stack traces. To be called first in a config's ``initialize``; code that catches errors is not
    affected.
    """
    sys.excepthook = _print_error


def refuse_misread_words() -> None:
    """Refuse ``--resume false`` and the like on the command line of ``python -m monai.bundle``.

    It takes values in Python's notation: ``false`` would be a text, which counts as true. To be called in a
    config's ``initialize``.

    Raises:
        InputError: the value of an argument is true, false or null in another notation.
    """
    program, *words = sys.argv
    if Path(program).parts[-3:] != ("monai", "bundle", "__main__.py"):
        return
    for name, value in pairwise(part for word in words for part in word.split("=", 1)):
        meant = MISREAD.get(value.lower())
        if name.startswith("--") and meant not in (None, value):
            raise InputError(
                f"{name} {value}: expected Python's notation, found a text; write {name} {meant}"
            )


def input_error_in(error: BaseException | None) -> InputError | None:
    """The :class:`InputError` that ``error`` is or was raised from, if any."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    found = input_error_in(error)
    if found is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {found}", file=sys.stderr)

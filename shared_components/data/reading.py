"""Turning what goes wrong inside a reader into one line for the user."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError

from shared_components.errors import InputError

UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
    gzip.BadGzipFile,
    ImageFileError,
    HeaderDataError,
    HeaderTypeError,
    WrapStructError,
)
"""What the readers of nibabel, ITK, Pillow and NumPy raise on files that they cannot make sense of."""


def read(reader: Callable[[Any], Any], item: Any, source: Any = None) -> Any:
    """Call ``reader(item)``, a chain of MONAI transforms, and name a failure's cause, not its step.

    Args:
        reader: the chain, or a dataset's item access.
        item: a path, a dict of paths, or what else ``reader`` takes.
        source: the path or dict of paths that messages name, when ``item`` is neither.
    Raises:
        InputError: a file is missing, damaged or unfit. Faults of other kinds pass unchanged.
    """
    try:
        return reader(item)
    except RuntimeError as error:  # MONAI wraps whatever a transform raises
        causes = list(causes_of(error))
        for cause in causes:
            if isinstance(cause, InputError):
                raise InputError(str(cause)) from error
        if isinstance(causes[-1], UNREADABLE) and _from_loading(causes):
            raise InputError(
                f"{_files(item if source is None else source)}: could not be read ({one_line(causes[-1])}); "
                "copy it again from its source or leave it out"
            ) from error
        raise


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, down to what it all began with."""
    while error is not None:
        yield error
        error = error.__cause__


def _from_loading(causes: list[BaseException]) -> bool:
    return any("LoadImage" in str(cause) for cause in causes)


def _files(source: Any) -> str:
    if not isinstance(source, Mapping):
        return str(source)
    return " / ".join(str(source[key]) for key in ("image", "label") if key in source)


def one_line(error: BaseException, limit: int = 160) -> str:
    """An exception's text on one line; of ITK's long reports only what went wrong."""
    text = str(error) or type(error).__name__
    text = re.split(r"Description:|ITK ERROR: \w+\(0x[0-9a-f]+\):", text)[-1]
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"

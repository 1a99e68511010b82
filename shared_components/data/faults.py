"""Faults of data, each with its cure; what goes wrong inside a reader becomes one of them, in one line.

They are worded where they are found: those of a file in ``volume_faults.py`` (NIfTI's in ``nifti.py``, DICOM's in
``dicom_grid.py``), of label maps in ``label_maps.py`` and ``volume_check.py``, of a data root in ``dataset_json.py``,
``client_root.py`` and ``root_notes.py``.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError
from PIL.Image import DecompressionBombError

from shared_components.errors import InputError, printable

UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    MemoryError,
    OverflowError,
    DecompressionBombError,
    ValueError,
    LookupError,
    TypeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    ImageFileError,
    HeaderDataError,
    HeaderTypeError,
    WrapStructError,
)
"""What the readers of nibabel, ITK, Pillow and NumPy raise on files that they cannot make sense of."""

DEFLATE = 1100  # times smaller is more than gzip can make anything


@dataclass(frozen=True)
class Fault:
    """A fault that the owner of the data can mend.

    Attributes:
        file: the file that has it.
        what: is wrong: what was expected and what was found.
        cure: what to do.
    """

    file: str
    what: str
    cure: str

    def __str__(self) -> str:
        return "; ".join((f"{printable(self.file)}: {printable(self.what)}", printable(self.cure)))


def dangling_link(path: str | os.PathLike) -> Fault:
    """The fault of a link that ends in no file."""
    return Fault(str(path), "is a link that leads nowhere or round in a circle", "mend the link")


def ends_early(path: str | os.PathLike, size: int, need: int) -> Fault:
    """The fault of a file of ``size`` bytes whose header promises more."""
    fault = f"unreadable: it ends too early ({size} bytes, its header promises {need})"
    return Fault(str(path), fault, "copy it again from its source")


class UnfitFile(InputError):
    """A file's fault as an error; ``fault`` has its parts."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def in_one_line(faults: Sequence[Fault], limit: int = 5) -> str:
    """One or more faults on one line; beyond ``limit`` the others are counted."""
    if len(faults) == 1:
        return str(faults[0])
    parts = []
    for number, fault in enumerate(faults[:limit]):
        same_file = number and faults[number - 1].file == fault.file
        place = "" if same_file else printable(fault.file) + ": "
        parts.append(f"{place}{printable(fault.what)} ({printable(fault.cure)})")
    if len(faults) > limit:
        parts.append(f"and {len(faults) - limit} more")
    return "; ".join(parts)


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

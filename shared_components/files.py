"""Files that are whole or absent: every writer goes through a temporary name in the same folder, and to the disk."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pickle
import re
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from shared_components.errors import InputError, os_error_line, printable
from shared_components.limits import MOST_VALUES, unfolded_fault
from shared_components.pickles import check_pickle
from shared_components.seals import archive_fault, seal_archive
from shared_components.tensors import not_dense, not_finite
from shared_components.workplaces import WRITING, flush, workplace

_UNLOADABLE = (  # what torch.load raises on damaged files and on files of something else
    *(RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, struct.error),
    *(LookupError, AttributeError, TypeError, AssertionError, zipfile.BadZipFile),
)
UNITS = ("B", "kB", "MB", "GB", "TB")
NO_SPACE = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))
"""What the system calls a full disk, or that a user's share of one is used up."""


def write_atomically(path: str | os.PathLike, writer: Callable[[Path], object]) -> Path:
    """Let ``writer`` fill a temporary file beside ``path``, then put it in place in one step.

    A reader sees the old file or the new one, never a part; when ``writer`` raises, ``path`` is as before.
    The temporary name keeps the suffixes of ``path``, since many writers choose their format by them.
    The content is on the disk before it gets its name, so a power cut leaves the old file or the new one as well.

    Args:
        path: the file to write; its folder is made when missing.
        writer: called with the temporary path.
    Returns:
        ``path``.
    Raises:
        InputError: the folder cannot be made or the file cannot be written, for want of a permission or of space,
            say. Errors of ``writer`` other than ``OSError`` pass unchanged.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with workplace(path.parent) as folder:
            temporary = folder / path.name
            writer(temporary)
            flush(temporary)
            temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        raise InputError(_unwritable(path, error)) from error
    return path


def copy_file(source: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Copy a file, as a whole or not at all; arguments and errors as of :func:`write_atomically`."""
    return write_atomically(path, lambda temporary: shutil.copyfile(source, temporary))


def make_folder(path: str | os.PathLike) -> Path:
    """Make a folder and those above it, where they are missing.

    Raises:
        InputError: it cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(_unwritable(path, error, folder=True)) from error
    return path


def remove_tree(path: str | os.PathLike) -> None:
    """Remove a folder with all that is in it, or a file; one already gone included.

    Raises:
        InputError: something in it cannot be removed.
    """
    path = Path(path)
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            remove_files(path)
    except OSError as error:
        raise InputError(os_error_line(error) or f"{path}: cannot be removed ({error})") from error


def sweep(folder: str | os.PathLike) -> None:
    """Remove the temporary files that a killed process has left below a folder that nobody else writes to.

    Raises:
        InputError: one cannot be removed.
    """
    for place, names, _ in os.walk(os.fspath(folder)):
        for name in [name for name in names if name.startswith(WRITING)]:
            names.remove(name)
            remove_tree(Path(place) / name)


def _unwritable(path: Path, error: OSError, folder: bool = False) -> str:
    """The message for a file that could not be written, or a folder that could not be made; ``os.path`` since
    ``Path.exists`` may itself raise.
    """
    nearest = _nearest_folder(path / "*" if folder else path)
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    if reason in NO_SPACE:
        return full_disk_line(path, reason)
    if not os.path.isdir(nearest):
        return f"{path}: expected a folder at {nearest}, found a file; name another folder, or move the file away"
    if folder or not os.path.isdir(path.parent):
        what = "cannot" if folder else "its folder cannot"
        return f"{path}: {what} be made ({reason}); name a folder in a place that may be written to"
    if os.path.isdir(path):
        return f"{path}: cannot be written ({reason}); move the folder of that name away"
    return f"{path}: cannot be written ({reason}); name a folder that may be written to, on a disk with space left"


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write ``text`` as UTF-8, atomically."""
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_tensors(path: str | os.PathLike, content: Mapping[str, Any]) -> Path:
    """``torch.save`` of ``content`` (tensors, numbers, text, nested dicts and lists of them), atomically, sealed.

    Raises:
        InputError: a tensor holds NaN or infinite values, or the file cannot be written; the old file stays.
    """
    bad = not_finite(content)
    if bad:
        raise InputError(
            f"{path}: not written, since '{bad}' holds NaN or infinite values; training diverged: "
            "lower its learning rates, or look at its images"
        )
    buffer = io.BytesIO()  # at a full disk torch.save itself ends in a RuntimeError about its archive
    torch.save(dict(content), buffer)
    seal_archive(buffer)
    return write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getbuffer()))


def load_tensors(path: str | os.PathLike, cure: str = "copy or write it again") -> dict[str, Any]:
    """Load what ``save_tensors`` wrote onto the CPU; no code in the file is run (``weights_only=True``).

    Args:
        path: the file.
        cure: what to do about a damaged one, in words that follow a semicolon.
    Raises:
        InputError: the file is missing, damaged, holds other objects than tensors and plain values, or more of these
            than fit in a file of its size, is not a dict, or holds NaN or infinite values in a tensor, or a tensor that
            is not dense.
    """
    path = Path(path)
    if not os.path.isfile(path):
        found = "found a folder" if os.path.isdir(path) else path_fault(path) or "found none"
        raise InputError(printable(f"{path}: expected a file of tensors, {found}; check the path"))
    try:
        fault = archive_fault(path)
        if fault:
            raise zipfile.BadZipFile(fault)
        described = _checked_pickles(path)
        with warnings.catch_warnings(action="ignore"):  # of torch, about what the errors tell
            content = torch.load(path, map_location="cpu", weights_only=True)
            endless = unfolded_fault(content, MOST_VALUES + 10 * described)
            strange = None if endless else not_dense(content)
            bad = None if endless or strange else not_finite(content)
    except _UNLOADABLE as error:
        raise InputError(
            f"{path}: expected a file of tensors written by torch.save, {_why_unreadable(path, error, cure)}"
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected a dict of tensors, found {type(content).__name__}; "
            "save a network's state_dict() in its place"
        )
    if endless:
        raise InputError(
            f"{path}: expected tensors and plain values, found {endless}; use none that others may have changed"
        )
    if strange:
        raise InputError(f"{path}: expected dense tensors, {strange}; save them dense, with all their values")
    if bad:
        raise InputError(
            f"{path}: '{bad}' holds NaN or infinite values; its training diverged or the file is damaged: "
            "copy it again, name another, or train it again with lower learning rates"
        )
    return content


def _checked_pickles(path: Path) -> int:
    """Bytes of what describes a file's tensors, which must not ask ``torch.load`` for more than plain values."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":  # as torch.save wrote once: five pickles in a row, then the tensors
            file.seek(0)
            for _ in range(5):
                check_pickle(file)
            return file.tell()
    # what torch.load reads, which a zip file may hide from others
    archive = torch._C.PyTorchFileReader(os.fspath(path))
    if archive.has_record("constants.pkl"):
        raise RuntimeError("TorchScript")
    content = archive.get_record("data.pkl")
    check_pickle(io.BytesIO(content))
    return len(content)


def _why_unreadable(path: Path, error: Exception, cure: str) -> str:
    """What was found, and the cure, in our words: torch's advise ``weights_only=False``, or name a seek."""
    text = str(error)
    if isinstance(error, zipfile.BadZipFile):
        return f"found a damaged file ({text}); {cure}"
    if isinstance(error, PermissionError):
        return f"cannot read it ({error.strerror}); correct its permissions"
    if not path.stat().st_size:
        return f"found an empty file; {cure}"
    if "TorchScript" in text:
        return "found TorchScript; give the weights alone, as training writes them"
    code = re.search(r"(?:GLOBAL|global) ([\w.]+\.\w+)", text)
    if code:
        return f"found {code[1]}, code that is not run; save the weights alone, as the network's state_dict()"
    return f"found a damaged file, or one of another kind; {cure}"


def inside(root: str | os.PathLike, path: str | os.PathLike) -> Path:
    """The resolved place of ``path`` (relative to ``root``), which must lie within ``root``.

    Raises:
        InputError: ``path`` leaves ``root``, by ``..``, as an absolute path or through a link, or cannot be a path.
    """
    fault = path_fault(Path(root) / path)
    if fault is not None:
        raise InputError(printable(f"{path}: {fault}; correct the path"))
    root = Path(root).resolve()
    place = (root / path).resolve()
    if not place.is_relative_to(root):
        raise InputError(f"{path}: leaves {root}; put the file inside that folder and name it relative to it")
    return place


def lies_in(path: str | os.PathLike, folder: str | os.PathLike) -> bool:
    """Whether ``path`` is ``folder`` or lies below it, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def path_fault(path: str | os.PathLike) -> str | None:
    """Why the system cannot even look whether there is a file at ``path``; ``None`` if it can."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeEncodeError:
        return "no path, it holds half of a surrogate pair"
    except ValueError:
        return "no path, it holds a NUL character"
    except OSError as error:  # a name that is too long, links in a circle, a folder that may not be read
        return f"cannot be looked up ({error.strerror})"
    return None


def remove_files(*paths: str | os.PathLike) -> None:
    """Remove files, those already gone included."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            Path(path).unlink()


def size(count: int) -> str:
    """Bytes as people read them: ``512 B``, ``3.2 MB``."""
    value, place = float(count), 0
    while value >= 999.5 and place < len(UNITS) - 1:
        value, place = value / 1000, place + 1
    return f"{value:.1f} {UNITS[place]}" if place and value < 99.95 else f"{value:.0f} {UNITS[place]}"


def full_disk_line(path: str | os.PathLike, reason: str) -> str:
    """The message for what does not fit on a disk.

    Args:
        path: what could not be written.
        reason: the system's word, one of ``NO_SPACE``.
    """
    folder = _nearest_folder(Path(path))
    free = size(shutil.disk_usage(folder).free)
    return f"{path}: cannot be written ({reason}): {free} free on the disk of {folder}; make space there"


def _nearest_folder(path: Path) -> Path:
    """The folder closest above ``path`` that is there; ``os.path`` since ``Path.exists`` may itself raise."""
    return next((folder for folder in path.parents if os.path.exists(folder)), path.parent)

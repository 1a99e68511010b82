"""What is said of a disk on which nothing fits any more."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from shared_components.sizes import size

NO_SPACE = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))
"""What the system calls a full disk, or that a user's share of one is used up."""


def full_disk_line(path: str | os.PathLike, reason: str) -> str:
    """The message for what does not fit on a disk.

    Args:
        path: what could not be written.
        reason: the system's word, one of ``NO_SPACE``.
    """
    folder = nearest_folder(Path(path))
    free = size(shutil.disk_usage(folder).free)
    return f"{path}: cannot be written ({reason}): {free} free on the disk of {folder}; make space there"


def nearest_folder(path: Path) -> Path:
    """The folder closest above ``path`` that is there; ``os.path`` since ``Path.exists`` may itself raise."""
    return next((folder for folder in path.parents if os.path.exists(folder)), path.parent)

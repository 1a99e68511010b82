"""Where files are written before they get their names: folders that tell whether their writer is alive."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

WRITING = ".writing-"
"""How the folders of temporary files begin."""

FRESH = 60.0  # s after which a folder that nobody has locked is one that a killed process has left


@contextlib.contextmanager
def workplace(parent: Path) -> Iterator[Path]:
    """A temporary folder in ``parent``, locked while this process lives; those left by killed ones are removed.

    Raises:
        OSError: ``parent`` cannot be written to.
    """
    for left in parent.glob(f"{WRITING}*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)  # another process may do the same
    with tempfile.TemporaryDirectory(dir=parent, prefix=WRITING) as folder, _descriptor(Path(folder)) as held:
        with contextlib.suppress(OSError):  # some network folders have no locks: there all count as in use
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(folder)


def flush(path: Path) -> None:
    """Let the disk have a file, or the names in a folder, where the file system can tell.

    Raises:
        OSError: the disk has failed.
    """
    with _descriptor(path) as descriptor:
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network folders cannot
                raise


def _is_left(place: Path) -> bool:
    """Whether no process works in a temporary folder; a fresh one may not be locked yet."""
    try:
        if time.time() - place.stat().st_mtime < FRESH:
            return False
        with _descriptor(place) as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

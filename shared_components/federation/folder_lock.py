"""The lock of a folder that one process at a time may write to, and how to go on there after an interruption."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from shared_components.errors import InputError, os_error_line
from shared_components.files import NO_SPACE, full_disk_line, make_folder

WAIT = 0.01  # seconds


class FolderLock:
    """``lock`` in a folder: held exclusively by the process that runs there, freed by the system when it dies.

    Who only looks asks for a shared lock and gives it back at once. A starting process that meets such a look tells it
    from a run, since it gets a shared lock itself then, and tries again.

    Args:
        folder: the folder; it need not exist.
        name: of the file.
    """

    def __init__(self, folder: str | os.PathLike, name: str = "lock") -> None:
        self.folder = Path(folder)
        self._file = self.folder / name
        self._held: IO | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process out.

        Raises:
            InputError: another process runs here, or the folder cannot be written to.
        """
        make_folder(self.folder)
        try:
            file = self._file.open("a")
        except OSError as error:
            raise InputError(os_error_line(error) or f"{self._file}: {error}") from error
        with file:
            while not _locked(file, fcntl.LOCK_EX):
                if not _locked(file, fcntl.LOCK_SH):
                    raise InputError(f"{self.folder}: another process runs in this folder; wait for it")
                fcntl.flock(file, fcntl.LOCK_UN)
                time.sleep(WAIT)
            self._held = file
            try:
                yield
            finally:
                self._held = None

    def is_held(self) -> bool:
        """Whether a process runs here now; it is not disturbed, nor is one that is about to start."""
        try:
            file = self._file.open("rb")
        except FileNotFoundError:
            return False
        with file:
            return not _locked(file, fcntl.LOCK_SH)

    def note_beginning(self) -> None:
        """Let :meth:`began` tell of now."""
        os.utime(self._file)

    def began(self) -> float:
        """When work in the folder last began, by the clock of its files; 0 for a folder without a lock."""
        return self._file.stat().st_mtime if self._file.is_file() else 0.0

    def check(self) -> None:
        """Notice that the folder is no longer the one that this process has locked.

        Raises:
            InputError: it was removed, moved or replaced.
        """
        if self._held is None:
            return
        try:
            same = os.path.samestat(os.fstat(self._held.fileno()), self._file.stat())
        except OSError:
            same = False
        if not same:
            raise InputError(
                f"{self.folder}: was removed or replaced while this run wrote to it, so nothing more can be kept; "
                "start again"
            )


def _locked(file: IO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some network folders have no locks, and there two runs would spoil each other
        raise InputError(
            f"{file.name}: expected a file system with locks, found none ({error.strerror}); "
            "let output_dir lie on a disk of this machine"
        ) from error
    return True


@contextlib.contextmanager
def writing_alone(path: Path) -> Iterator[None]:
    """Processes that read a file and write it anew do so in turn, by ``.lock`` in the place of its suffix.

    Raises:
        InputError: the lock cannot be written.
    """
    make_folder(path.parent)
    lock = path.with_suffix(".lock")
    try:
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise InputError(os_error_line(error) or f"{lock}: {error}") from error


@contextlib.contextmanager
def resumable(folder: str | os.PathLike) -> Iterator[None]:
    """Tell whoever interrupts what happens inside, or has too small a disk, how to go on.

    Raises:
        InputError: see :func:`_resumable_with_space`.
    """
    try:
        with _resumable_with_space(folder):
            yield
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(
                f"{folder}: interrupted; whole rounds and finished stages are kept, go on with --resume",
                file=sys.stderr,
            )
        raise


@contextlib.contextmanager
def _resumable_with_space(folder: str | os.PathLike) -> Iterator[None]:
    """Tell how to go on once there is space, if what happens inside ends since a disk is full.

    The message is looked at, since it may have come as a text, from another process or machine.

    Raises:
        InputError: in place of what said that there is no space.
    """
    try:
        yield
    except OSError as error:
        if error.strerror not in NO_SPACE:
            raise
        line = full_disk_line(error.filename or folder, error.strerror)
        raise InputError(f"{line}, then go on with --resume") from error
    except InputError as error:
        line = str(error)
        if "--resume" in line or not any(reason in line for reason in NO_SPACE):
            raise
        raise InputError(f"{line}, then go on with --resume") from error

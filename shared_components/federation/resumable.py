"""The hint how to go on, the same wherever a run or a study is interrupted or finds no space on a disk."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from shared_components.errors import InputError
from shared_components.full_disks import NO_SPACE, full_disk_line


@contextlib.contextmanager
def resumable(folder: str | os.PathLike) -> Iterator[None]:
    """Tell whoever interrupts what happens inside, or has too small a disk, how to go on.

    Raises:
        InputError: see :func:`resumable_with_space`.
    """
    try:
        with resumable_with_space(folder):
            yield
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(
                f"{folder}: interrupted; whole rounds and finished stages are kept, go on with --resume",
                file=sys.stderr,
            )
        raise


@contextlib.contextmanager
def resumable_with_space(folder: str | os.PathLike) -> Iterator[None]:
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

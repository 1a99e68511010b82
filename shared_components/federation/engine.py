"""What every engine is: it runs a federation into its folder, and tells whoever breaks it off how to go on."""

from __future__ import annotations

import contextlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.sites import Committed
from shared_components.files import NO_SPACE, full_disk_line


class Engine(ABC):
    """Runs a federation into its folder; every engine gives the same global weights, bit for bit.

    Args:
        federation: what to run.
        quiet: print nothing.
        folder: the run's folder, for who holds its lock already.
    """

    def __init__(self, federation: Federation, quiet: bool = False, folder: RunFolder | None = None) -> None:
        self._federation, self._quiet = federation, quiet
        self._folder = folder or RunFolder(federation.output_dir)

    def run(self, resume: bool = False, force: bool = False) -> Path:
        """Train all rounds that are still to do, then let the bundle export its deliverable.

        Args:
            resume: go on from the last whole round in the output folder: same result as unbroken.
            force: throw away the run in the output folder.
        Returns:
            The run's folder.
        Raises:
            InputError: the folder is not fit (see :meth:`RunFolder.open`), or too few clients are left: the message
                names one and the cause, and the run can be resumed.
        """
        with self._folder.lock.held(), resumable(self._folder.root):
            self.go_on(self._folder.open(self._federation, resume, force))
        return self._folder.root

    @abstractmethod
    def go_on(self, committed: Committed | None) -> None:
        """:meth:`run` from a whole round on (None: from the start), for who has locked and opened the folder.

        Raises:
            InputError: as :meth:`run`.
        """


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

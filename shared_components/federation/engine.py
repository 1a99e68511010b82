"""What every engine is: it runs a federation into its folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from shared_components.federation.committed import Committed
from shared_components.federation.federation import Federation
from shared_components.federation.resumable import resumable
from shared_components.federation.run_folder import RunFolder


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

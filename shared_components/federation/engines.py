"""What runs a federation on this machine, by the name that its file gives."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from shared_components.federation.committed import Committed
from shared_components.federation.federation import Federation
from shared_components.federation.local import LocalEngine
from shared_components.federation.run_folder import RunFolder


class Engine(Protocol):
    """Runs a federation into its folder; every engine gives the same global weights, bit for bit."""

    def run(self, resume: bool = False, force: bool = False) -> Path:
        """Train all rounds that are still to do; see :meth:`LocalEngine.run`."""

    def go_on(self, committed: Committed | None) -> None:
        """The same for who has locked and opened the folder; see :meth:`LocalEngine.go_on`."""


def make_engine(federation: Federation, quiet: bool = False, folder: RunFolder | None = None) -> Engine:
    """The engine that the federation's file names.

    Args:
        federation: what to run.
        quiet: print nothing.
        folder: the run's folder, for who holds its lock already.
    Raises:
        InputError: NVFlare is named and not installed.
    """
    if federation.engine == "local":
        return LocalEngine(federation, quiet, folder)
    from shared_components.federation.nvflare.simulator import NvflareSimulator  # an extra

    return NvflareSimulator(federation, quiet, folder)

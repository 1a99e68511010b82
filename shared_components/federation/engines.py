"""What runs a federation on this machine, by the name that its file gives."""

from __future__ import annotations

from shared_components.federation.engine import Engine
from shared_components.federation.federation import Federation
from shared_components.federation.local import LocalEngine
from shared_components.federation.run_folder import RunFolder


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

"""Runs NVFlare's simulator in a process that ends, with all that it has started, when its job or its parent does.

``python -m shared_components.federation.nvflare.simulator_process JOB WORKSPACE CLIENTS LOG_CONFIG``
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from shared_components.federation.nvflare.leash import end_all, hold

LOOK = 0.2  # seconds between two looks


def main(job: str, workspace: str, clients: str, log_config: str) -> int:
    """Simulate a job, and end once its outcome is written: everything is on the disk by then."""
    hold()
    from nvflare.private.fed.app.simulator.simulator_runner import SimulatorRunner

    from shared_components.federation.nvflare.outcome import simulated_outcome

    threading.Thread(target=_end_after, args=(simulated_outcome(Path(workspace)),), daemon=True).start()
    number = len(clients.split(","))
    runner = SimulatorRunner(job, workspace, clients, number, threads=number, log_config=log_config)
    return runner.run() or 0


def _end_after(outcome: Path) -> None:
    while not outcome.is_file():
        time.sleep(LOOK)
    end_all(0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Processes that start others and end with all of them, no later than their parent: startup kits, NVFlare's simulator.

``python -m shared_components.federation.nvflare.leash kits LOGS KIT KIT …``
``python -m shared_components.federation.nvflare.leash simulator JOB WORKSPACE CLIENTS LOG_CONFIG``
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LOOK = 0.2  # seconds between two looks for a job's outcome


@contextmanager
def leashed(
    what: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen]:
    """Run one of :data:`PROCESSES` in a process that ends with the block, or with this process.

    It has a session of its own, which keeps a terminal's signals from it: this process alone answers them.
    """
    command = (sys.executable, "-m", __name__, what, *arguments)
    process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def _hold() -> None:
    """In the process that was started: end, with all that it starts, as soon as the parent or its block does."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_all(status: int) -> None:
    """End all processes below this one, whatever their session, and this one."""
    for process in _below(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    os._exit(status)


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing is sent: it returns at the end of the pipe; a buffer's lock would stop a fork
    _end_all(1)


def _below(process: int) -> list[int]:
    """All processes that ``process`` has started, and those that they have started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, new = [], [process]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def run_kits(logs: str, *kits: str) -> int:
    """Start each kit as its own script does, with the job's code alone; wait for all of them."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    processes = []
    for kit in map(Path, kits):
        with (Path(logs) / f"{kit.name}.txt").open("w", encoding="utf-8") as log:
            command = ("bash", str(kit / "startup" / "sub_start.sh"), "--once")
            processes.append(
                subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )
    for process in processes:
        process.wait()
    _end_all(0)
    return 0


def run_simulator(job: str, workspace: str, clients: str, log_config: str) -> int:
    """Simulate a job, and end once its outcome is written: everything is on the disk by then."""
    from nvflare.private.fed.app.simulator.simulator_runner import SimulatorRunner

    from shared_components.federation.nvflare.outcome import simulated_outcome

    threading.Thread(target=_end_after, args=(simulated_outcome(Path(workspace)),), daemon=True).start()
    number = len(clients.split(","))
    runner = SimulatorRunner(job, workspace, clients, number, threads=number, log_config=log_config)
    return runner.run() or 0


def _end_after(outcome: Path) -> None:
    while not outcome.is_file():
        time.sleep(LOOK)
    _end_all(0)


PROCESSES: dict[str, Callable[..., int]] = {"kits": run_kits, "simulator": run_simulator}

if __name__ == "__main__":
    _hold()
    sys.exit(PROCESSES[sys.argv[1]](*sys.argv[2:]))

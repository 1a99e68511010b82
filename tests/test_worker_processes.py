from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from shared_components.worker_processes import WorkerProcesses

PROGRAM = """
import os, sys, time
from shared_components.worker_processes import WorkerProcesses

def work(tell):
    if tell:
        print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    with WorkerProcesses(1, 1) as pool:
        pool.submit(work, {running})
        if not {running}:
            print(*pool._pool._processes, flush=True)
        time.sleep(600)
"""


def has_ended(pid: int, seconds: float) -> bool:
    """Whether a process is gone, or a zombie, within some seconds; there is nothing to wait on but its state."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
    return False


def started(tmp_path: Path, running: bool) -> tuple[subprocess.Popen, int]:
    """The program above and the id of its worker, which is still importing, or at work."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.format(running=running))
    process = subprocess.Popen(
        [sys.executable, str(file)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("running", [False, True], ids=["starting", "at work"])
def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path, running):
    process, worker = started(tmp_path, running)
    process.kill()
    _, told = process.communicate(timeout=60)  # ends once worker and tracker have closed the pipe
    assert has_ended(worker, 20)
    assert told == ""


def test_the_signals_of_a_terminal_are_the_parents_alone(tmp_path):
    process, worker = started(tmp_path, running=True)
    ancestor = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])  # it is a copy of
    assert ancestor != process.pid
    for started_process in (worker, ancestor):
        os.kill(started_process, signal.SIGINT)
        os.kill(started_process, signal.SIGHUP)
        assert not has_ended(started_process, 0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert has_ended(worker, 20)
    assert "KeyboardInterrupt" in told and "leaked" not in told and told.count("Traceback") == 1


def test_tasks_give_results_and_a_dead_worker_is_told_of_every_task():
    with WorkerProcesses(1, 3) as pool:
        assert pool.submit(abs, -2).result() == 2
        assert isinstance(pool.submit(os._exit, 3).exception(), BrokenProcessPool)
        assert isinstance(pool.submit(abs, -2).exception(), BrokenProcessPool)


COUNTED = """
import time
from shared_components.worker_processes import WorkerProcesses

def work():
    while time.process_time() < 2.0:
        pass
    return time.process_time()

if __name__ == "__main__":
    with WorkerProcesses(1, 1) as pool:
        seconds = pool.submit(work).result()
    print(seconds + time.process_time())
"""
TIMED = """
import resource, subprocess, sys
subprocess.run([sys.executable, sys.argv[1]], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
"""


def test_the_processor_time_of_workers_is_that_of_the_program(tmp_path):
    """Benchmarks count it."""
    (tmp_path / "program.py").write_text(COUNTED)
    told = subprocess.run(
        [sys.executable, "-c", TIMED, str(tmp_path / "program.py")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    of_both, used = map(float, told.stdout.split())
    assert used > of_both

"""Runs of the command line in processes of their own, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).parents[3]


def federate(*arguments: str | Path, **environment: str) -> subprocess.Popen:
    """``scripts/federate.py`` with one thread a process, its output as one text stream."""
    command = [sys.executable, "-u", str(REPO / "scripts" / "federate.py"), *map(str, arguments)]
    variables = {
        **os.environ,
        "PYTHONPATH": str(REPO),
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        **environment,
    }
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=variables, start_new_session=True, **streams)


def killed_at(process: subprocess.Popen, text: str, number: int = signal.SIGKILL) -> list[str]:
    """Kill a process when it has printed ``text``; the lines until it had ended."""
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if text in line:
            os.kill(process.pid, number)
            break
    lines += process.stdout.read().splitlines()
    process.wait()
    return lines


def left_running(place: Path, within: float = 30.0) -> list[str]:
    """Command lines of processes that name a place and have not ended in time."""
    deadline = time.monotonic() + within
    while (found := _naming(str(place))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _naming(place: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            variables = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:  # it has ended meanwhile, or is another's
            continue
        if int(process.name) != os.getpid() and (place in words or place in variables):
            found.append(words)
    return found

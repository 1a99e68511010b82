"""A process and all that it has started: who they are, and the memory that they hold together."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOOK = 0.25  # s between two looks at the memory


def tree(process: int) -> list[int]:
    """A process and those below it, whatever their sessions, each before those that it has started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [process]
    for member in found:
        found += sorted(children.get(member, ()))
    return found


def command(process: int) -> str:
    """A process's command line, empty for one that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def resident(process: int) -> tuple[int, int]:
    """Bytes that a process and those below it hold together, and of how many processes.

    Pages that several of them share count once (the proportional set size).
    """
    total = members = 0
    for member in tree(process):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
            total += next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
            members += 1
    return total, members


@dataclass
class Peak:
    """The most that a tree of processes held, bytes, and how many they were then."""

    bytes: int = 0
    processes: int = 0


@contextlib.contextmanager
def watched(process: int) -> Iterator[Peak]:
    """Look at the memory of a process and those below it again and again while the block runs."""
    peak, ended = Peak(), threading.Event()

    def look() -> None:
        while not ended.wait(LOOK):
            held, members = resident(process)
            if held > peak.bytes:
                peak.bytes, peak.processes = held, members

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()

"""What a job tells whoever follows it: the lines that its coordinator prints far away, and how it ended.

Nothing of NVFlare is imported here.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.records import read_record, write_record

FILE = "outcome.json"
SPARE = 0.01  # of a disk, below which it counts as full: what could not be written any more is gone again
RESULT = "result"  # beside it: a copy of the run's folder, which is fetched with the job
TOPIC = "fedfoundry.progress"
MOST = 1000  # lines in one answer
LINES = "progress.txt"  # all of them, beside what the job leaves


def write_outcome(folder: Path, failure: str | None) -> Path:
    """Say how the job ended: ``failure`` in words, None if all went well."""
    return write_record(folder / FILE, {"failure": failure})


def check_outcome(folder: Path, otherwise: str) -> None:
    """Raise what ended a job before its time, in the coordinator's own words.

    Args:
        folder: the job's at the server, or what was fetched of it.
        otherwise: what to say where the controller has left no word.
    Raises:
        InputError: it did not end well.
    """
    file = folder / FILE
    if not file.is_file():
        raise InputError(f"{otherwise}{_cause(folder)}")
    failure = read_record(file, "start again", sealed=True)["failure"]
    if failure is not None:
        raise InputError(str(failure))


def simulated_outcome(workspace: Path) -> Path:
    """Where the controller of a simulator's one job leaves it."""
    return workspace / "server" / "simulate_job" / FILE


def _cause(folder: Path) -> str:
    """Why a controller may have left no word, where it can be seen: a disk that was full had no space for one."""
    place = next((place for place in (folder, *folder.parents) if place.is_dir()), folder)
    disk = shutil.disk_usage(place)
    return (
        f"; the disk of {place} is full or nearly so; make space first"
        if disk.free < SPARE * disk.total
        else ""
    )


class ProgressLines:
    """Keeps what is printed inside a ``with`` block of :meth:`kept`, and passes it on."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is printed to both streams."""
        with (
            contextlib.redirect_stdout(_Split(sys.stdout, self._add)),
            contextlib.redirect_stderr(_Split(sys.stderr, self._add)),
        ):
            yield

    def since(self, topic: str, data: Any, context: object) -> dict[str, Any]:
        """Answer to a follower: the lines from a number on, and the number of the next."""
        first = data.get("first", 0) if isinstance(data, dict) else 0
        first = max(first, 0) if isinstance(first, int) else 0
        with self._lock:
            lines = self._lines[first : first + MOST]
        return {"lines": lines, "next": first + len(lines)}

    def write(self, folder: Path) -> None:
        """Leave all lines in a folder, for who was told of some of them while the job ran."""
        with self._lock:
            lines = list(self._lines)
        write_text(folder / LINES, "".join(f"{line}\n" for line in lines))

    def _add(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)


def lines_left(folder: Path, first: int) -> list[str]:
    """The lines from a number on of a job that has ended, of which ``folder`` holds what it has left."""
    file = folder / LINES
    return file.read_text(encoding="utf-8").splitlines()[first:] if file.is_file() else []


class _Split(io.TextIOBase):
    """Writes on to a stream and hands every whole line over; what a bar writes over is none."""

    def __init__(self, stream: Any, add: Any) -> None:
        self._stream, self._add, self._rest = stream, add, ""

    def write(self, text: str) -> int:
        self._stream.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._add(line.rsplit("\r", 1)[-1])
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        return self._stream.fileno()

"""How a job ended, in a file that its controller leaves at the server; imports nothing of NVFlare."""

from __future__ import annotations

import shutil
from pathlib import Path

from shared_components.errors import InputError
from shared_components.records import read_record, write_record

FILE = "outcome.json"
SPARE = 0.01  # of a disk, below which it counts as full: what could not be written any more is gone again
RESULT = "result"  # beside it: a copy of the run's folder, which is fetched with the job


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

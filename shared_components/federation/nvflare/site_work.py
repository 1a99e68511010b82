"""What goes between a job's process at a site and the worker process in which the client lives; imports nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Work:
    """What is asked of a site.

    Attributes:
        values: plain values.
        tensors_file: named tensors, as ``{"model": …}``; it is there if any came.
        files: plain name to where the file lies.
        folder: for what goes back.
    """

    values: Mapping[str, Any]
    tensors_file: Path
    files: dict[str, Path]
    folder: Path


@dataclass(frozen=True)
class Done:
    """What a site gives back.

    Attributes:
        values: plain values.
        tensors_file: named tensors, as :func:`to_blocks` of ``aggregation`` writes them; or None.
        files: to be sent as they are, under their names.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    tensors_file: Path | None = None
    files: Sequence[Path] = ()


def import_tasks() -> None:
    """Import what a task needs, MONAI among it, in this process."""
    import shared_components.federation.nvflare.site_tasks  # noqa: F401


def run_task(custom: Path, kit: Path, name: str, task: str, work: Work) -> Done:
    """Do a task of a job in this process, and note what is about to leave the site.

    Args:
        custom: the job's folder ``custom``.
        kit: the site's startup kit.
        name: the site's name.
        task: a name of the job's tasks, such as those of ``site_tasks.TASKS``.
        work: what is asked.
    Raises:
        InputError: the site, the job or the client is not fit.
    """
    from shared_components.errors import InputError
    from shared_components.federation.nvflare.job_file import read_parts, tasks_of
    from shared_components.federation.nvflare.site_tasks import note_sent, site_job

    tasks = tasks_of(read_parts(custom))
    if task not in tasks:
        raise InputError(f"task {task}: unknown here; the tasks are {', '.join(tasks)}")
    job = site_job(custom, kit, name)
    done = tasks[task](job, work)
    note_sent(job, custom.parents[1].name, task, work, done)
    return done

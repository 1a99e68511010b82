"""The site's end of a job: takes a task to the worker process in which the client lives, and the answer back.

This runs in NVFlare's own process of the job, beside which the client has one of its own: what kills that, such as a
lack of memory, is an answer to the coordinator and not the end of the job. MONAI is imported there alone.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.aggregators.aggregation import from_blocks
from shared_components.federation.lane import Lane
from shared_components.federation.nvflare.failures import Told, told_outside
from shared_components.federation.nvflare.message import Done, Message, Work
from shared_components.federation.sites import note_failure
from shared_components.files import (
    load_tensors,
    make_folder,
    remove_tree,
    save_tensors,
    write_atomically,
)

DIED = "the worker process died; it was killed or ran out of memory; it is started anew for what comes next"


class SiteClient:
    """Answers the tasks of a job at a site; for a ``with`` block, after which no process is left.

    Args:
        custom: the job's folder ``custom``.
        kit: the site's startup kit.
        name: the site's name.
    """

    def __init__(self, custom: Path, kit: Path, name: str) -> None:
        self._custom, self._kit, self._name = custom, kit, name
        self._folder = custom.parents[1] / "exchange"  # of this job, at this site
        self._lane = Lane(threads=1, died=DIED, ready=import_tasks)

    def answer(self, task: str, request: Message) -> Message:
        """Do a task; whatever goes wrong is the answer's ``failure``, as far as it may be told outside.

        All of it is in ``error.txt`` at the site, in the client's own folder or in the job's.
        """
        try:
            return self._done(task, request)
        except Told as error:
            return Message(failure=str(error))
        except Exception as error:  # of any kind, or the job would end for everybody
            note_failure(self._folder.parent, error)
            return Message(failure=told_outside(error, (self._folder.parent, self._kit)))

    def __enter__(self) -> SiteClient:
        self._lane.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._lane.__exit__(*error)
        with contextlib.suppress(InputError):
            remove_tree(self._folder)

    def _done(self, task: str, request: Message) -> Message:
        work = Work(request.values, self._folder / "received.pt", {}, make_folder(self._folder))
        if request.tensors:
            save_tensors(work.tensors_file, {"model": dict(request.tensors)})
        for name, content in request.files.items():
            file = self._folder / "files" / name
            write_atomically(file, lambda place, content=content: place.write_bytes(content))
            work.files[name] = file
        arguments = (self._custom, self._kit, self._name, task, work)
        done = self._lane.submit(run_task, *arguments, timeout=request.timeout).result()
        tensors = {} if done.tensors_file is None else from_blocks(load_tensors(done.tensors_file))
        return Message(done.values, tensors, {file.name: file.read_bytes() for file in done.files})


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
        Told: the client is not fit, in words that may leave the site, which are noted among what does.
        InputError: the site or the job is not fit.
    """
    from shared_components.federation.nvflare.job_file import read_parts, tasks_of
    from shared_components.federation.nvflare.site_tasks import note_sent, site_job, told_of
    from shared_components.federation.sent_record import FAILURE

    tasks = tasks_of(read_parts(custom))
    if task not in tasks:
        raise InputError(f"task {task}: unknown here; the tasks are {', '.join(tasks)}")
    job, number = site_job(custom, kit, name), custom.parents[1].name
    try:
        done = tasks[task](job, work)
    except Exception as error:
        note_failure(job.folder, error)
        told = told_of(job, error, (custom.parents[1], kit))
        note_sent(job, number, task, work, Done({FAILURE: told}))
        raise Told(told) from error
    note_sent(job, number, task, work, done)
    return done

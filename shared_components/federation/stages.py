"""Stages of a study: runs of bundle workflows at one client, several at a time, each done once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from shared_components.errors import InputError
from shared_components.federation.stage_progress import BEAT, stage_progress
from shared_components.federation.worker import begin
from shared_components.files import write_text
from shared_components.one_line_errors import input_error_in

DONE = "done.json"
LOG = "log.txt"


@dataclass(frozen=True)
class Stage:
    """One run of a bundle's workflow at one client.

    Attributes:
        client: whose stage it is.
        name: what it is, unique at the client.
        bundle: the bundle's folder.
        configs: config files below ``<bundle>/configs``, merged in this order.
        overrides: ids and values, merged last; ``output_dir`` is the stage's folder unless one is given.
        folder: where it writes, and nobody else.
        needs: keys of the stages that must be done before.
        reads: further files that it depends on.
    """

    client: str
    name: str
    bundle: str
    configs: tuple[str, ...]
    overrides: Mapping[str, Any]
    folder: Path
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Names the stage in a study."""
        return f"{self.client}/{self.name}"

    @property
    def config_files(self) -> list[str]:
        """The bundle's config files."""
        return [str(Path(self.bundle) / "configs" / name) for name in self.configs]

    def fingerprint(self, before: Sequence[str] = ()) -> str:
        """Changes when the stage would do something else.

        Args:
            before: fingerprints of the stages that it needs.
        """
        files = [_digest(file) for file in (*self.config_files, *self.reads)]
        content = [self.bundle, self.configs, dict(self.overrides), files, sorted(before)]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def done(self, fingerprint: str) -> dict[str, Any] | None:
        """What was noted when it ended, or None when it is still to do, or was something else."""
        file = self.folder / DONE
        if not file.is_file():
            return None
        noted = json.loads(file.read_text(encoding="utf-8"))
        return noted if noted.get("fingerprint") == fingerprint else None


def run_stages(stages: Sequence[Stage], jobs: int, threads: int = 1, quiet: bool = False) -> dict[str, float]:
    """Run what is not done yet, ``jobs`` at a time, each as soon as what it needs is done.

    Args:
        stages: all stages; where several could begin, the first does.
        jobs: worker processes.
        threads: torch's threads in each.
        quiet: print nothing.
    Returns:
        Stage key to seconds it took, also of those done before.
    Raises:
        InputError: a stage failed; the message names it and its log. Stages that ended stay done.
        ValueError: a stage needs one that is not among ``stages``, or itself.
    """
    fingerprints = _fingerprints(stages)
    seconds = _seconds_of_done(stages, fingerprints)
    waiting = [stage for stage in stages if stage.key not in seconds]
    running: dict[Future, Stage] = {}
    bar = tqdm(
        total=len(stages), initial=len(seconds), desc="stages", disable=True if quiet else None, ncols=100
    )
    with bar, _workers(min(jobs, len(waiting)), threads) as pool:
        while waiting or running:
            ready = [stage for stage in waiting if all(need in seconds for need in stage.needs)]
            for stage in ready[: jobs - len(running)]:
                waiting.remove(stage)
                running[pool.submit(_run, stage, fingerprints[stage.key])] = stage
                _tell(f"{stage.key}: begins", quiet)
            done = wait(running, timeout=BEAT, return_when=FIRST_COMPLETED).done
            for stage in () if done else running.values():
                _tell(f"{stage.key}: {stage_progress(stage.folder)}", quiet)
            for future in done:
                stage = running[future]
                seconds[stage.key] = _result(future, running)
                del running[future]
                bar.update()
                _tell(
                    f"{stage.key}: done in {seconds[stage.key]:.0f} s ({len(seconds)} of {len(stages)})",
                    quiet,
                )
    return seconds


def _tell(line: str, quiet: bool) -> None:
    """A line above the bar, at once also where a file or a pipe reads it."""
    if not quiet:
        tqdm.write(line)
        sys.stdout.flush()


def _fingerprints(stages: Sequence[Stage]) -> dict[str, str]:
    """Stage key to fingerprint; a change carries on to every stage that needs the changed one."""
    found: dict[str, str] = {}
    left = list(stages)
    while left:
        ready = [stage for stage in left if all(need in found for need in stage.needs)]
        if not ready:
            needs = sorted({need for stage in left for need in stage.needs} - set(found))
            raise ValueError(
                f"stages {', '.join(s.key for s in left)}: expected stages that come before them, "
                f"found none that ends: {', '.join(needs)}"
            )
        for stage in ready:
            found[stage.key] = stage.fingerprint([found[need] for need in stage.needs])
        left = [stage for stage in left if stage.key not in found]
    return found


def _seconds_of_done(stages: Sequence[Stage], fingerprints: Mapping[str, str]) -> dict[str, float]:
    noted = {stage.key: stage.done(fingerprints[stage.key]) for stage in stages}
    return {key: note["seconds"] for key, note in noted.items() if note is not None}


def _digest(file: str) -> str | None:
    path = Path(file)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


@contextlib.contextmanager
def _workers(number: int, threads: int) -> Iterator[ProcessPoolExecutor | None]:
    """A pool of processes that end with this block, at once when the block or this process fails."""
    if not number:
        yield None
        return
    spawn = multiprocessing.get_context("spawn")  # a forked copy of torch's threads would hang
    end, leash = spawn.Pipe(duplex=False)
    pool = ProcessPoolExecutor(number, spawn, initializer=begin, initargs=(end, threads))
    try:
        yield pool
        pool.shutdown()
    finally:
        leash.close()
        pool.shutdown(cancel_futures=True)
        end.close()


def _result(future: Future, running: Mapping[Future, Stage]) -> float:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):  # every running stage ends so; which one died is not told
        names = " or ".join(stage.key for stage in running.values())
        logs = ", ".join(str(stage.folder / LOG) for stage in running.values())
        raise InputError(
            f"{names}: the worker process died; it was killed or ran out of memory, in which case fewer "
            f"study: jobs may help (more in {logs}); go on with --resume"
        ) from error
    stage = running[future]
    raise InputError(
        f"{stage.key}: {error} (more in {stage.folder / LOG}); mend it and go on with --resume"
    ) from error


def _run(stage: Stage, fingerprint: str) -> float:
    """In a worker: the workflow as ``python -m monai.bundle run`` runs it, its output in ``log.txt``.

    Raises:
        InputError: it failed; one line with the cause at the bottom of the chain of errors.
    """
    import monai.bundle

    from shared_components.federation.bundle_workflow import without_remarks

    if stage.folder.is_dir():  # what an interrupted or outdated run has left
        shutil.rmtree(stage.folder)
    stage.folder.mkdir(parents=True)
    overrides = {"bundle_root": stage.bundle, "output_dir": str(stage.folder), **stage.overrides}
    last = write_text(stage.folder / "overrides.yaml", yaml.safe_dump(overrides, sort_keys=False))
    files = [*stage.config_files, str(last)]
    start = time.perf_counter()
    with _output_to(stage.folder / LOG), without_remarks():
        print(f'python -m monai.bundle run --config_file "{files}" --bundle_root {stage.bundle}', flush=True)
        monai.bundle.run(config_file=files, bundle_root=stage.bundle, logging_file=False)
    seconds = round(time.perf_counter() - start, 2)
    noted = {"fingerprint": fingerprint, "seconds": seconds, "config_file": files}
    write_text(stage.folder / DONE, json.dumps(noted, indent=1) + "\n")
    return seconds


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything this process prints, of C libraries too, goes to a file; a failure with its stack traces.

    What is raised is one line, since the chain of causes does not survive the way to another process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with open(path, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            raise InputError(_cause(error)) from error
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in zip(saved, (1, 2), strict=True):
                os.dup2(number, descriptor)
                os.close(number)


def _cause(error: BaseException) -> str:
    found = input_error_in(error)
    while found is None and error.__cause__ is not None:
        error = error.__cause__
    text = f"{found}" if found else f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if len(text) <= 500 else f"{text[:500]} …"

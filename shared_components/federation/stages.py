"""Stages of a study: runs of bundle workflows at one client, several at a time, each done once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from tqdm import tqdm

from shared_components.errors import InputError
from shared_components.files import write_text

DONE = "done.json"


@dataclass(frozen=True)
class Stage:
    """One run of a bundle's workflow at one client.

    Attributes:
        client: whose stage it is.
        name: what it is, unique at the client.
        bundle: the bundle's folder.
        configs: config files below ``<bundle>/configs``, merged in this order.
        overrides: ids and values, merged last; the run's folder is its ``output_dir`` unless one is given.
        folder: where it writes.
        needs: keys of the stages that must be done before.
    """

    client: str
    name: str
    bundle: str
    configs: tuple[str, ...]
    overrides: Mapping[str, Any]
    folder: Path
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Names the stage in a study."""
        return f"{self.client}/{self.name}"

    @property
    def fingerprint(self) -> str:
        """Changes when the stage would do something else."""
        content = {"bundle": self.bundle, "configs": self.configs, "overrides": dict(self.overrides)}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def done(self) -> dict[str, Any] | None:
        """What was noted when it ended, or None when it is still to do (or its settings changed)."""
        file = self.folder / DONE
        if not file.is_file():
            return None
        noted = json.loads(file.read_text(encoding="utf-8"))
        return noted if noted.get("fingerprint") == self.fingerprint else None


def run_stages(stages: Sequence[Stage], jobs: int, threads: int = 1, quiet: bool = False) -> dict[str, float]:
    """Run what is not done yet, ``jobs`` at a time, each as soon as what it needs is done.

    Args:
        stages: all stages, in any order.
        jobs: worker processes.
        threads: torch's threads in each.
        quiet: no progress bar.
    Returns:
        Stage key to seconds it took (also of those done before).
    Raises:
        InputError: a stage failed; the message names it and its log. Stages that ended stay done.
    """
    seconds: dict[str, float] = {}
    waiting = {stage.key: stage for stage in stages}
    running: dict[Future, Stage] = {}
    bar = tqdm(total=len(stages), desc="stages", unit="stage", disable=quiet, ncols=110)
    context = multiprocessing.get_context("spawn")
    with bar, ProcessPoolExecutor(jobs, context, _begin, (threads,)) as pool:
        try:
            while waiting or running:
                for stage in [s for s in waiting.values() if all(need in seconds for need in s.needs)]:
                    noted = stage.done()
                    if noted is not None:
                        seconds[waiting.pop(stage.key).key] = noted["seconds"]
                        bar.update()
                    elif len(running) < jobs:
                        running[pool.submit(_run, waiting.pop(stage.key))] = stage
                if running:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        stage = running.pop(future)
                        seconds[stage.key] = _result(stage, future)
                        bar.write(f"{stage.key}: {seconds[stage.key]:.0f} s")
                        bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(pool._processes.values()):
                process.terminate()
            raise
    return seconds


def _result(stage: Stage, future: Future) -> float:
    error = future.exception()
    if error is None:
        return future.result()
    log = stage.folder / "log.txt"
    cause = "the process died" if isinstance(error, BrokenProcessPool) else " ".join(str(error).split())[:400]
    kind = "" if isinstance(error, InputError | BrokenProcessPool) else f"{type(error).__name__}: "
    raise InputError(
        f"{stage.key}: {kind}{cause} (more in {log}); mend it and go on with --resume"
    ) from error


def _begin(threads: int) -> None:
    torch.set_num_threads(threads)


def _run(stage: Stage) -> float:
    """In a worker: the workflow as ``python -m monai.bundle run`` runs it, its output in ``log.txt``."""
    import monai.bundle

    stage.folder.mkdir(parents=True, exist_ok=True)
    last = stage.folder / "overrides.yaml"
    overrides = {"bundle_root": stage.bundle, "output_dir": str(stage.folder), **stage.overrides}
    write_text(last, yaml.safe_dump(overrides, sort_keys=False))
    files = [str(Path(stage.bundle) / "configs" / name) for name in stage.configs] + [str(last)]
    start = time.perf_counter()
    with _output_to(stage.folder / "log.txt"):
        print(f'python -m monai.bundle run --config_file "{files}"', flush=True)
        monai.bundle.run(config_file=files, bundle_root=stage.bundle, logging_file=False)
    seconds = time.perf_counter() - start
    noted = {"fingerprint": stage.fingerprint, "seconds": round(seconds, 2), "config_file": files}
    write_text(stage.folder / DONE, json.dumps(noted, indent=1) + "\n")
    return seconds


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything this process prints, of C libraries too, goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with open(path, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            import traceback

            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in zip(saved, (1, 2), strict=True):
                os.dup2(number, descriptor)
                os.close(number)

"""What runs in a worker process of a study: one stage, its output in a file."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import monai.bundle

from shared_components.errors import InputError, os_error_line
from shared_components.federation.bundle_workflow import without_remarks
from shared_components.files import make_folder, remove_tree
from shared_components.one_line_errors import line_of
from shared_components.records import write_record
from shared_components.study.stage import LOG, Done, Stage


def run_stage(stage: Stage, fingerprint: str) -> Done:
    """The workflow as ``python -m monai.bundle run`` runs it, its output in ``log.txt``.

    Raises:
        InputError: it failed; one line with the cause at the bottom of the chain of errors.
    """
    remove_tree(stage.folder)  # what an interrupted or outdated run has left
    make_folder(stage.folder)
    overrides = {"bundle_root": stage.bundle, "output_dir": str(stage.folder), **stage.overrides}
    last = write_record(stage.folder / "overrides.yaml", overrides)
    files = [*stage.config_files, str(last)]
    start = time.perf_counter()
    with _output_to(stage.folder / LOG), without_remarks():
        print(f'python -m monai.bundle run --config_file "{files}" --bundle_root {stage.bundle}', flush=True)
        monai.bundle.run(config_file=files, bundle_root=stage.bundle, logging_file=False)
    if not last.is_file():
        raise InputError(f"{stage.folder}: was removed or replaced while the stage wrote to it")
    return stage.note(fingerprint, round(time.perf_counter() - start, 2))


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything this process prints, of C libraries too, goes to a file; a failure with its stack traces.

    What is raised is one line, since the chain of causes does not survive the way to another process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with _opened(path) as file:
        saved = [os.dup(1), os.dup(2)]
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except Exception as error:
            with contextlib.suppress(OSError):  # a full disk may be what it failed of
                traceback.print_exc()
            raise InputError(_cause(error)) from error
        finally:
            for number, descriptor, stream in zip(saved, (1, 2), (sys.stdout, sys.stderr), strict=True):
                with contextlib.suppress(OSError):
                    stream.flush()
                os.dup2(number, descriptor)
                os.close(number)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator:
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise InputError(os_error_line(error) or f"{path}: {error}") from error
    with file:
        yield file


def _cause(error: BaseException) -> str:
    line = line_of(error)
    while line is None and error.__cause__ is not None:
        error = error.__cause__
    text = " ".join((line or f"{type(error).__name__}: {error}").split())
    return text if len(text) <= 500 else f"{text[:500]} …"

"""What runs in a worker process of a study: one stage, its output in a file."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from shared_components.errors import InputError, os_error_line
from shared_components.one_line_errors import line_of
from shared_components.study.stage import LOG, Done, Stage


def run_stage(stage: Stage, fingerprint: str) -> Done:
    """Do a stage's work, its output in ``log.txt``, and note that it is done.

    Raises:
        InputError: it failed; one line with the cause at the bottom of the chain of errors.
    """
    stage.prepare(fingerprint)
    start = time.perf_counter()
    with _output_to(stage.folder / LOG):
        stage.work()
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

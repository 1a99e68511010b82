from __future__ import annotations

import os
import signal

import pytest

from shared_components.federation.local_tasks import DIED, failure, of_each_client
from tests.federation.tiny import federation


def obey(what: str) -> str:
    """End or stop this process if told to."""
    if what in ("SIGKILL", "SIGSTOP"):
        os.kill(os.getpid(), getattr(signal, what))
    return what


@pytest.fixture
def told(values):
    def told(workers: int, timeout: float | None = None, **words: str):
        arguments = {name: (word,) for name, word in words.items()}
        return of_each_client(federation(values, workers=workers), obey, arguments, "asking", timeout)

    return told


def test_one_that_dies_and_one_that_hangs_stop_no_other(told):
    tasks = told(2, 2.0, island="SIGKILL", north="SIGSTOP", south="well", west="well")
    assert list(tasks) == ["island", "north", "south", "west"]
    assert [tasks[name].result() for name in ("south", "west")] == ["well", "well"]
    assert failure(tasks["island"]) == DIED
    assert failure(tasks["north"]).startswith("no answer within 2 s (--timeout); its process was ended")


def test_without_workers_it_is_this_process(told):
    assert told(0, north=3, south=4)["south"].result() == 4

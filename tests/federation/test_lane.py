from __future__ import annotations

import os
import signal
import time

import pytest

from shared_components.errors import InputError
from shared_components.federation.lane import Lane


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def fail(error: Exception) -> None:
    raise error


def test_the_task_at_work_alone_dies_with_its_process():
    with Lane(1) as lane:
        first, dead, second = lane.submit(os.getpid), lane.submit(die), lane.submit(os.getpid)
        with pytest.raises(InputError, match="the worker process died; it was killed or ran out of memory"):
            dead.result()
        assert first.result() != second.result() != os.getpid()


def test_what_is_too_slow_is_ended_even_if_it_is_stopped():
    with Lane(1) as lane:
        before = lane.submit(os.getpid).result()
        slow, after = lane.submit(stop, timeout=0.5), lane.submit(os.getpid)
        with pytest.raises(InputError, match=r"no answer within 0\.5 s \(round_timeout\)"):
            slow.result()
        assert after.result() != before
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)


def test_every_task_can_have_a_process_of_its_own():
    with Lane(1, fresh=True, died="gone") as lane:
        first, dead, second = lane.submit(os.getpid), lane.submit(die), lane.submit(os.getpid)
        assert first.result() != second.result() != os.getpid()
        with pytest.raises(InputError, match=r"^gone$"):
            dead.result()


def test_errors_of_tasks_are_theirs_and_their_process_stays():
    with Lane(1) as lane:
        before = lane.submit(os.getpid).result()
        for error in (InputError("x"), TimeoutError("its own")):
            with pytest.raises(type(error), match=str(error)):
                lane.submit(fail, error, timeout=60).result()
        assert lane.submit(os.getpid).result() == before


def test_here_is_a_thread_of_this_process():
    with Lane(1, here=True) as lane:
        assert lane.submit(os.getpid).result() == os.getpid()


def test_an_error_ends_what_is_at_work_at_once():
    start = time.monotonic()
    with pytest.raises(KeyError), Lane(1) as lane:  # noqa: PT012 (what the lane does is the point)
        pid = lane.submit(os.getpid).result()
        waiting = lane.submit(time.sleep, 600)
        raise KeyError
    assert time.monotonic() - start < 300 and waiting.exception() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

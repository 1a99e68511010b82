from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future, wait

import pytest

from shared_components.errors import InputError
from shared_components.federation.lane import BEAT, DIED, Lane, failure, of_each_client, tell_while
from tests.federation.tiny import federation


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


def test_clients_that_are_long_are_named_until_they_end(capsys, monkeypatch):
    north, south = Future(), Future()
    waits = []

    def later(futures, timeout):
        """Three waits pass; then north is done, then south."""
        waits.append(timeout)
        if len(waits) in (2, 3):
            (north, south)[len(waits) - 2].set_result(None)
        return wait(futures, timeout=0)

    monkeypatch.setattr("shared_components.federation.lane.wait", later)
    tell_while({"north": north, "south": south}, "round 3")
    assert capsys.readouterr().out.splitlines() == [
        "round 3: north, south still at work",
        "round 3: south still at work",
    ]
    assert waits == [BEAT] * 3


def test_a_client_that_fails_ends_no_other_ones_wait(capsys):
    north, south = Future(), Future()
    north.set_result(None)
    south.set_exception(ValueError("broken"))
    tell_while({"north": north, "south": south}, "round 3")
    assert capsys.readouterr().out == ""


def test_what_is_looked_after_meanwhile_may_end_the_wait():
    north, looks = Future(), []

    def look():
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tell_while({"north": north}, "round 3", meanwhile=look)
    assert len(looks) == 3


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

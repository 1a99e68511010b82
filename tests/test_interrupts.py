from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from shared_components.interrupts import SIGNALS, Interrupted, Interrupts, limited


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_was_swallowed_is_raised_again(number):
    interrupts, before = Interrupts(), signal.getsignal(number)
    interrupts.check()
    with interrupts.noticed():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as caught:
            interrupts.check()
    assert caught.value.number == number
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().noticed():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_are_left_alone():
    seen = []

    def body():
        with Interrupts().noticed():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_limit_ends_what_runs_inside_alone():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError, match="too long"), limited(0.05, TimeoutError("too long")):
        time.sleep(60)
    with limited(60, TimeoutError("too long")):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before

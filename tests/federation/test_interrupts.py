from __future__ import annotations

import os
import signal
import threading

import pytest

from shared_components.federation.interrupts import Interrupts


def test_an_interrupt_that_was_swallowed_is_raised_again():
    interrupts, before = Interrupts(), signal.getsignal(signal.SIGINT)
    interrupts.check()
    with interrupts.noticed():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(signal.SIGINT) is before


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

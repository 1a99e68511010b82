from __future__ import annotations

import signal
import time

import pytest

from shared_components.time_limits import limited


def test_a_limit_ends_what_runs_inside_alone():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError, match="too long"), limited(0.05, TimeoutError("too long")):
        time.sleep(60)
    with limited(60, TimeoutError("too long")):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before

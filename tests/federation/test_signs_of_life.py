from __future__ import annotations

from concurrent.futures import Future, wait

import pytest

from shared_components.federation import signs_of_life
from shared_components.federation.signs_of_life import BEAT, tell_while


def test_clients_that_are_long_are_named_until_they_end(capsys, monkeypatch):
    north, south = Future(), Future()
    waits = []

    def later(futures, timeout):
        """Three waits pass; then north is done, then south."""
        waits.append(timeout)
        if len(waits) in (2, 3):
            (north, south)[len(waits) - 2].set_result(None)
        return wait(futures, timeout=0)

    monkeypatch.setattr(signs_of_life, "wait", later)
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

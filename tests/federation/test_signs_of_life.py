from __future__ import annotations

from concurrent.futures import Future, wait

from shared_components.federation import signs_of_life
from shared_components.federation.signs_of_life import BEAT, tell_while


def test_clients_that_are_long_are_named_until_they_end(capsys, monkeypatch):
    north, south = Future(), Future()
    waits = []

    def later(futures, timeout, return_when):
        """Three waits pass; then north is done, then south."""
        waits.append(timeout)
        if len(waits) in (2, 3):
            (north, south)[len(waits) - 2].set_result(None)
        return wait(futures, timeout=0, return_when=return_when)

    monkeypatch.setattr(signs_of_life, "wait", later)
    tell_while({"north": north, "south": south}, "round 3")
    assert capsys.readouterr().out.splitlines() == [
        "round 3: north, south still at work",
        "round 3: south still at work",
    ]
    assert waits == [BEAT] * 3


def test_a_client_that_fails_is_not_waited_for(capsys):
    north, south = Future(), Future()
    south.set_exception(ValueError("broken"))
    tell_while({"north": north, "south": south}, "round 3")
    assert capsys.readouterr().out == ""

from __future__ import annotations

import pytest

from shared_components.federation.engine import resumable


def test_who_interrupts_is_told_how_to_go_on(capsys):
    with pytest.raises(KeyboardInterrupt), resumable("outputs/run"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == (
        "outputs/run: interrupted; whole rounds and finished stages are kept, go on with --resume\n"
    )
    with pytest.raises(ValueError, match="x"), resumable("outputs/run"):
        raise ValueError("x")
    assert capsys.readouterr().err == ""

from __future__ import annotations

import io
import sys

import pytest

pytest.importorskip("nvflare")
from shared_components.federation.nvflare.submission import ask_whether_to_leave

AGAIN = "python scripts/federate.py submit f.yaml --startup_kit kits/admin --job 17"


@pytest.mark.parametrize(
    ("typed", "terminal", "ctrl_c", "left"),
    [
        ("n\n", True, True, False),
        ("No\n", True, True, False),
        ("\n", True, True, True),
        ("y\n", True, True, True),
        ("", True, True, True),  # the terminal's end
        ("n\n", False, True, True),
        ("n\n", True, False, True),
    ],
)
def test_a_job_is_left_running_unless_a_person_says_no(typed, terminal, ctrl_c, left, monkeypatch, capsys):
    stdin = io.StringIO(typed)
    stdin.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdin", stdin)
    assert ask_whether_to_leave("f.yaml", "kits/admin")("17", ctrl_c) is left
    told = capsys.readouterr().err
    assert ("leave it running?" in told) is (terminal and ctrl_c) and (AGAIN in told) is left

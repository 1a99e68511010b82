from __future__ import annotations

import sys

import pytest

from shared_components import steps as module
from shared_components.steps import steps


@pytest.fixture
def clock(monkeypatch):
    """Seconds pass only when a test says so."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_first_line_comes_before_the_first_item(capsys):
    next(steps(range(5), "checking data/north", "image"))
    assert capsys.readouterr().err == "checking data/north: 5 images\n"


def test_lines_of_a_plain_stream(clock, capsys):
    for _ in steps(iter("abc"), "reading", "volume", total=3):
        clock[0] += module.INTERVAL
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["reading: 3 volumes", "reading: 1 of 3 volumes done", "reading: 2 of 3 volumes done"]


def test_unknown_number_and_silence(clock, capsys):
    assert list(steps(iter("ab"), "reading", "volume")) == ["a", "b"]
    assert capsys.readouterr().err == "reading\n"
    assert list(steps("ab", "reading", "volume", shown=False)) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(steps([1, 2], "reading", "volume")) == [1, 2]
    assert "reading:   0%" in capsys.readouterr().err


def test_of_nothing_nothing_is_told(capsys):
    assert not list(steps([], "reading label maps", "label map"))
    assert capsys.readouterr().err == ""

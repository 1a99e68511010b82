from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.one_line_errors import input_error_in, refuse_misread_words

PROGRAM = """
from shared_components.errors import InputError
from shared_components.one_line_errors import show_input_errors
show_input_errors()
try:
    raise {error}('volume.nii.gz: expected this, found that')
except ValueError as error:
    raise RuntimeError('Failed to evaluate') from error
"""


def run(error: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error=error)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )


def test_a_wrapped_input_error_ends_the_process_with_its_line_alone():
    ended = run("InputError")
    assert ended.returncode == 1
    assert ended.stderr == "error: volume.nii.gz: expected this, found that\n"


def test_any_other_error_keeps_its_trace():
    ended = run("ValueError")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


def test_an_error_without_one_among_its_causes_has_none():
    assert input_error_in(RuntimeError("x")) is None
    assert str(input_error_in(InputError("x"))) == "x"


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["--resume", "false"], "--resume False"),
        (["--config_file", "a.yaml", "--resume=TRUE"], "--resume True"),
        (["--held_out", "null"], "--held_out '$None'"),
    ],
)
def test_words_that_would_be_texts_are_refused_on_the_bundle_command_line(monkeypatch, words, cure):
    monkeypatch.setattr(sys, "argv", ["/site-packages/monai/bundle/__main__.py", "run", *words])
    with pytest.raises(InputError, match=f"write {re.escape(cure)}$"):
        refuse_misread_words()


@pytest.mark.parametrize(
    "words", [["--resume", "False"], ["--resume=True"], ["--cache", "none"], ["--resume"]]
)
def test_other_words_are_taken(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["/site-packages/monai/bundle/__main__.py", "run", *words])
    refuse_misread_words()


def test_other_programs_may_use_any_words(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scripts/federate.py", "--resume", "false"])
    refuse_misread_words()

from __future__ import annotations

import sys

import pytest
from tqdm import tqdm

from shared_components.benchmarks.fault_handler import fill
from shared_components.benchmarks.faulty_study import small_disk
from shared_components.errors import InputError
from shared_components.federation.nvflare.outcome import (
    ProgressLines,
    check_outcome,
    lines_left,
    write_outcome,
)


def test_a_jobs_end_is_told_in_the_words_of_its_controller(tmp_path):
    check_outcome(write_outcome(tmp_path, None).parent, "no word")
    write_outcome(tmp_path, "client north: gone")
    with pytest.raises(InputError, match=r"^client north: gone$"):
        check_outcome(tmp_path, "no word")


def test_no_word_is_told_as_such(tmp_path):
    with pytest.raises(InputError, match=r"^no word$"):
        check_outcome(tmp_path / "of" / "no" / "job", "no word")


def test_a_full_disk_is_named_where_there_was_no_space_for_a_word(tmp_path):
    with small_disk(tmp_path, "1m") as mounted:
        if not mounted:
            pytest.skip("mounting a file system in memory is refused here")
        fill(tmp_path / "filler")
        with pytest.raises(
            InputError, match=f"no word; the disk of {tmp_path} is full or nearly so; make space first"
        ):
            check_outcome(tmp_path / "job", "no word")


def test_lines_are_passed_on_and_kept_for_whoever_asks_from_any_number_on(capsys):
    lines = ProgressLines()
    with lines.kept():
        print("first")
        tqdm.write("second")
        print("half", end="", flush=True)
        assert lines.since("", {}, None) == {"lines": ["first", "second"], "next": 2}
        print(" whole", file=sys.stderr)
        print(" of it")
    print("outside")
    assert lines.since("", {"first": 1}, None) == {"lines": ["second", " whole", "half of it"], "next": 4}
    assert lines.since("", {"first": 4}, None) == {"lines": [], "next": 4}
    assert (
        lines.since("", {"first": -3}, None)["next"] == 4 and lines.since("", "nonsense", None)["next"] == 4
    )
    captured = capsys.readouterr()
    assert captured.out == "first\nsecond\nhalf of it\noutside\n" and captured.err == " whole\n"


def test_what_a_bar_writes_over_is_no_line():
    lines = ProgressLines()
    with lines.kept():
        print("10 %\r20 %\rround 1", flush=True)
    assert lines.since("", {}, None)["lines"] == ["round 1"]


def test_who_was_told_of_some_finds_the_rest_where_the_job_has_left_them(tmp_path):
    assert lines_left(tmp_path, 0) == []
    lines = ProgressLines()
    with lines.kept():
        print("first\nsecond")
    lines.write(tmp_path)
    assert lines_left(tmp_path, 1) == ["second"] and lines_left(tmp_path, 2) == []

from __future__ import annotations

import sys

from tqdm import tqdm

from shared_components.federation.nvflare.progress_lines import ProgressLines, lines_left


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

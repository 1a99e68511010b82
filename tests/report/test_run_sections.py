from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.report.run_sections import (
    duration,
    epsilon_text,
    losses_stayed,
    privacy_note,
    read_settings,
    run_files,
    run_settings,
)
from tests.report.rendered import rendered


def test_settings_come_from_the_first_file_that_is_there(tmp_path):
    assert read_settings(tmp_path, ["a.json", "b.yaml"]) == {}
    (tmp_path / "b.yaml").write_text("quiet: true\nlabels: {0: air}\n")
    assert read_settings(tmp_path, ["a.json", "b.yaml"]) == {"quiet": True, "labels": {0: "air"}}
    (tmp_path / "a.json").write_text('{"rate": 1e-3}')
    assert list(read_settings(tmp_path, ["a.json", "b.yaml"])) == ["rate"]


def test_settings_are_escaped_and_may_be_left_out(tmp_path):
    (tmp_path / "s.json").write_text('{"name": "<b>", "list": ["x"], "known": 1}')
    page = rendered("m.settings(found)", found=run_settings(tmp_path, ["s.json"], without=["known"]))
    assert "&lt;b&gt;" in page and "[&#34;x&#34;]" in page and "known" not in page
    assert "no settings: the run left no other.json" in rendered(
        "m.settings(found)", found=run_settings(tmp_path, ["other.json"])
    )


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "s.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"s\.yaml: is damaged .*; remove the file"):
        read_settings(tmp_path, ["s.yaml"])


def test_files_that_are_there_have_links_and_sizes(tmp_path):
    (tmp_path / "runs").mkdir()
    for name, count in (("model.pt", 1500), ("runs/a", 10), ("runs/b", 20)):
        (tmp_path / name).write_bytes(b"0" * count)
    found = run_files(tmp_path, {"model.pt": "the model", "runs": "logs", "gone": "?"}, tmp_path / "r.html")
    page = rendered("m.files(found)", found=found)
    assert '<a href="model.pt">model.pt</a>' in page and "1.5 kB" in page and ">30 B<" in page
    assert "gone" not in page


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.06, "4.1 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7400, "2 h 3 min")]
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text


def test_what_is_promised_in_words():
    assert privacy_note(None) == "Updates were neither clipped nor given noise."
    clipped = privacy_note({"clip": 2.0, "noise": 0.0, "delta": 1e-5})
    assert clipped == "Each update was clipped to a norm of 2 and given no noise, which promises no privacy."
    noisy = privacy_note({"clip": 2.0, "noise": 0.5, "delta": 1e-6})
    assert "noise of 0.5 times that on every number" in noisy and "at delta 1e-06" in noisy
    assert [losses_stayed(given) for given in (None, {}, {"losses": True}, {"losses": False})] == [
        False
    ] * 3 + [True]
    assert [epsilon_text(None), epsilon_text(3.14159)] == ["", "3.14"]

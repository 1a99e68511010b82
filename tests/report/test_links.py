from __future__ import annotations

import pytest

from shared_components.report.links import address, file_link, size


def test_links_are_relative_to_the_page(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a b#1.nii.gz").write_text("")
    page = tmp_path / "out" / "report.html"
    assert address(tmp_path / "data" / "a b#1.nii.gz", page) == "../data/a%20b%231.nii.gz"
    link = file_link(tmp_path / "data" / "a b#1.nii.gz", page)
    assert link == '<a href="../data/a%20b%231.nii.gz">a b#1.nii.gz</a>'


def test_what_is_not_there_has_no_link(tmp_path):
    assert (
        file_link(tmp_path / "gone.pt", tmp_path / "p.html", "the <model>")
        == "<span>the &lt;model&gt;</span>"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_800_000, "12.8 MB"), (3e14, "300 TB")],
)
def test_sizes_are_readable(count, text):
    assert size(count) == text

from __future__ import annotations

from shared_components.report.links import address, file_link


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

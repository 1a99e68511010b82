from __future__ import annotations

import math
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared_components.data.datalists import make_datalist
from shared_components.errors import InputError
from shared_components.report.case_table import case_table, loose_cases, rows_by_case, segmented_cases
from shared_components.report.case_volumes import Measures
from tests.report.rendered import rendered

LABELS = {1: "heart", 2: "lung"}


def row(case, name, dice=0.5, hd95=2.0, reference=10.0):
    return {"case": case, "name": name, "dice": dice, "hd95_mm": hd95, "reference_ml": reference}


def measures(*millilitres, frames=()):
    return Measures((4, 5, 6, *frames), (1.0, 1.25, 8.0), np.asarray(millilitres, float))


def table_of(cases, found, scores, page=Path("r.html"), anchors=None) -> str:
    """The table of some cases as a page has it."""
    made = case_table(cases, found, scores, LABELS, page, anchors or {})
    call = "c.case_table(m, cases, names, scored)"
    return rendered(call, cases=made, names=list(LABELS.values()), scored=bool(scores))


def cells(page: str) -> list[list[str]]:
    lines = re.findall(r"<tr>(.*?)</tr>", page.split("<tbody>")[1])
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td.*?</td>", line)] for line in lines]


def test_volumes_grid_and_links_of_each_case(tmp_path):
    (tmp_path / "a b_seg.nii.gz").write_text("")
    cases = [
        {"case": "a b", "segmentation": str(tmp_path / "a b_seg.nii.gz"), "image": str(tmp_path / "gone.nii")}
    ]
    page = table_of(cases, {"a b": measures([1.26, 0])}, [], tmp_path / "r.html", {"a b": "case-1"})
    assert cells(page) == [["a b", "image result ", "4×5×61×1.25×8 mm", "1.3", "0.0"]]
    assert '<a href="#case-1">a b</a>' in page and '<a href="a%20b_seg.nii.gz">result</a>' in page
    assert "gone.nii" not in page and "Dice" not in page and "warn" not in page


def test_scores_stand_with_the_classes_and_over_them():
    cases = [{"case": name, "segmentation": "s"} for name in ("a", "b")]
    scores = [
        row("a", "heart", 0.9, 1.0),
        row("a", "lung", 0.7, 3.0),
        row("b", "heart", 0.0, math.nan),
        row("b", "lung", 0.8),
    ]
    found = {"a": measures([9, 8]), "b": measures([0, 8])}
    page = table_of(cases, found, scores)
    assert page.index("Mean over classes") < page.index("HD95, mm")
    first, second, last = cells(page)
    assert first[3:] == ["9.0 / 10.0Dice 0.900", "8.0 / 10.0Dice 0.700", "0.800", "2.0"]
    assert second[3:] == ["0.0 / 10.0Dice 0.000", "8.0 / 10.0Dice 0.800", "0.400", "–"]
    assert last[3:] == ["4.5 ± 6.4Dice 0.450", "8.0 ± 0.0Dice 0.750", "0.600 ± 0.283", "2.0"]
    assert page.count("number warn") == 1  # a class that the experts saw and the segmentation has not


def test_a_time_series_has_its_least_and_most_and_the_mean_of_its_frames():
    scores = [
        row("s_t00", "heart", 0.9),
        row("s_t07", "heart", 0.7),
        row("s_t00", "lung"),
        row("sx", "heart", 0.1),
    ]
    found = {"s": measures([5, 1], [3, 1], frames=(2,))}
    page = table_of([{"case": "s", "segmentation": "s"}], found, scores)
    (line,) = cells(page)
    assert line[2:5] == ["4×5×6×21×1.25×8 mm", "3.0–5.0Dice 0.800", "1.0–1.0 / 10.0Dice 0.500"]


def test_a_row_belongs_to_the_case_of_its_name_before_it_is_a_frame():
    scores = [row(name, "heart") for name in ("p01", "p01_t2", "p01_t02", "p02_t00", "p02_t01", "p020")]
    rows = rows_by_case(["p01", "p01_t2", "p01_t02", "p02", "p03"], scores)
    found = {case: [row["case"] for row in own] for case, own in rows.items()}
    assert found == {
        **{name: [name] for name in ("p01", "p01_t2", "p01_t02")}, "p02": ["p02_t00", "p02_t01"], "p03": []
    }  # fmt: skip


def test_cases_that_were_not_measured_are_left_out():
    cases = [{"case": name, "segmentation": "s"} for name in ("a", "b")]
    assert len(cells(table_of(cases, {"b": measures([1, 1])}, []))) == 1


def save(path: Path, values=(0, 1)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.resize(np.asarray(values, np.uint8), (4, 4, 4))
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


def test_marked_files_are_segmentations_and_those_beside_them_images(tmp_path):
    for name in ("a.nii.gz", "a_seg.nii.gz", "b_seg.nii"):
        save(tmp_path / name)
    assert loose_cases(tmp_path) == [
        {"case": "a", "segmentation": str(tmp_path / "a_seg.nii.gz"), "image": str(tmp_path / "a.nii.gz")},
        {"case": "b", "segmentation": str(tmp_path / "b_seg.nii")},
    ]


def test_unmarked_files_are_segmentations_where_none_is_marked(tmp_path):
    save(tmp_path / "a.nii.gz"), save(tmp_path / "b.mha.nii")
    assert [case["case"] for case in loose_cases(tmp_path)] == ["a", "b.mha"]


def test_images_and_references_are_found_by_name(tmp_path):
    save(tmp_path / "out" / "a_seg.nii.gz", (0, 1, 3)), save(tmp_path / "out" / "b_seg.nii.gz")
    save(tmp_path / "images" / "a.nii.gz"), save(tmp_path / "images" / "c.nii.gz")
    save(tmp_path / "truth" / "b_seg.nii.gz")
    cases, labels = segmented_cases(tmp_path / "out", tmp_path / "images", tmp_path / "truth")
    assert [case.get("image") for case in cases] == [str(tmp_path / "images" / "a.nii.gz"), None]
    assert [case.get("label") for case in cases] == [None, str(tmp_path / "truth" / "b_seg.nii.gz")]
    assert labels == {1: "label 1", 3: "label 3"}


def test_classes_are_those_of_all_segmentations(tmp_path):
    for number in range(8):
        save(tmp_path / f"p{number}.nii.gz", (0, 1, 2) if number == 7 else (0, 1))
    assert segmented_cases(tmp_path)[1] == {1: "label 1", 2: "label 2"}


def test_a_data_root_gives_images_and_labels_of_all_splits(tmp_path):
    root = tmp_path / "root"
    for name in "abcd":
        save(root / "images" / f"{name}.nii.gz"), save(root / "labels" / f"{name}.nii.gz")
        save(tmp_path / "out" / f"{name}_seg.nii.gz")
    make_datalist(root, "t1", labels=["air", "brain"])
    cases, labels = segmented_cases(tmp_path / "out", root, root, {0: "air", 1: "brain"})
    assert [Path(case["image"]).parent.name for case in cases] == ["images"] * 4
    assert [Path(case["label"]).parent.name for case in cases] == ["labels"] * 4
    assert labels == {1: "brain"}


def test_an_inference_run_is_taken_as_it_is(inference_run, tmp_path):
    cases, labels = segmented_cases(inference_run(tmp_path / "out"))
    assert [case["case"] for case in cases] == ["s0", "s1", "s2"] and "label" in cases[0]
    assert labels == {1: "brain & <cord>"}


def test_an_empty_folder_and_other_names_are_errors(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"out: expected segmentations .*, found none"):
        segmented_cases(tmp_path / "out")
    save(tmp_path / "out" / "a_seg.nii.gz"), save(tmp_path / "images" / "x.nii.gz")
    with pytest.raises(
        InputError, match=r"images: expected volumes named like the segmentations \(a, …\), found x"
    ):
        segmented_cases(tmp_path / "out", images=tmp_path / "images")

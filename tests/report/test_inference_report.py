from __future__ import annotations

import json
import os
import re

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from shared_components.errors import InputError
from shared_components.inferers.case_dataset import note_faults, read_case_list, write_case_list
from shared_components.metrics.score_files import write_scores
from shared_components.records import write_record
from shared_components.report import write_comparison_report, write_inference_report
from shared_components.report.inference_report import chosen_cases


def read(path) -> str:
    return path.read_text(encoding="utf-8")


def test_every_case_has_its_planes_and_volumes(inference_run, tmp_path):
    page = read(write_inference_report(inference_run(tmp_path / "out", scored=False)))
    assert page.count("<img") == 3 * 2  # orthogonal planes, and slices
    assert "<h2>Scores" not in page and "expert" not in page
    voxels = np.asarray(nib.load(tmp_path / "out" / "s0_seg.nii.gz").dataobj).sum()
    assert f">{voxels * 12 / 1000:.1f}<" in page  # voxels of 2 × 2 × 3 mm
    assert page.count('href="#case-') == page.count('id="case-') == 3
    assert 'href="../data/s0.nii.gz"' in page and 'href="s0_seg.nii.gz"' in page


def test_scores_and_their_plots_are_shown_where_there_are_any(inference_run, tmp_path):
    folder = inference_run(tmp_path / "out")
    Image.new("L", (6, 4)).save(folder / "scores_1_brain.png")
    page = read(write_inference_report(folder))
    assert "<h2>Scores" in page and page.count("<img") == 3 * 2 + 1
    assert "the experts' label" in page and ">Dice 0." in page


def test_what_of_a_label_is_known_is_said(inference_run, tmp_path):
    folder = inference_run(tmp_path / "out")
    cases, labels = read_case_list(folder)
    for case in cases:
        case.pop("segmentation")
    cases[1] |= {"annotated": [4, 5, 9], "ignore": 255}
    write_case_list(cases, labels, folder)
    page = read(write_inference_report(folder))
    known = (
        "label annotated in slices 4 to 5, 9 alone, without voxels of the value 255, which nobody annotated"
    )
    assert page.count(known) == 1
    assert "Of 1 cases a part is annotated; what nobody annotated is left out of all numbers." in page


def test_a_time_series_has_a_curve_and_two_frames(tmp_path):
    labels = np.zeros((12, 12, 5, 4), np.uint8)
    for frame, width in enumerate((6, 4, 2, 4)):
        labels[3 : 3 + width, 3:9, 1:4, frame] = 1
    nib.save(nib.Nifti1Image(labels, np.diag([2, 2, 8, 1.0])), tmp_path / "cine_seg.nii.gz")
    nib.save(nib.Nifti1Image(labels.astype(np.float32), np.diag([2, 2, 8, 1.0])), tmp_path / "cine.nii.gz")
    page = read(write_inference_report(tmp_path, tmp_path / "r.html", names={1: "heart"}))
    assert page.count("<img") == 1 + 2 * 2
    assert "Frame 0" in page and "Frame 2" in page and "Frame 1" not in page
    assert "heart" in page and "1.2–3.5" in page


def test_segmentations_without_images_lie_on_black(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((6, 6, 6), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    page = read(write_inference_report(tmp_path))
    assert "no image" in page and page.count("<img") == 2 and "label 1" in page


def test_a_missing_segmentation_or_image_becomes_a_remark(inference_run, tmp_path):
    folder = inference_run(tmp_path / "out")
    (folder / "s1_seg.nii.gz").unlink()
    (tmp_path / "data" / "s2.nii.gz").unlink()
    page = read(write_inference_report(folder))
    assert "s1_seg.nii.gz: expected a segmentation, found no file" in page
    assert "s2.nii.gz: expected a volume, found no file" in page
    assert page.count("<img") == 2


@pytest.mark.parametrize("name", ["/elsewhere/a_seg.nii.gz", "../data/s0.nii.gz"])
def test_a_list_whose_segmentations_lie_elsewhere_is_refused(inference_run, tmp_path, name):
    folder = inference_run(tmp_path / "out")
    content = json.loads(read(folder / "cases.json"))
    content["cases"][1]["segmentation"] = name
    write_record(folder / "cases.json", content)
    with pytest.raises(
        InputError, match=r"cases\.json: expected segmentations in its own folder, found '[./]+"
    ):
        write_inference_report(folder)
    content["cases"][1]["segmentation"] = str(folder / "s1_seg.nii.gz")
    write_record(folder / "cases.json", content)
    assert read(write_inference_report(folder)).count("<img") == 3 * 2


def test_names_that_are_no_text_are_shown_as_they_can_be(tmp_path):
    file = tmp_path / os.fsdecode(b"a\xff_seg.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((6, 6, 6), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").rename(file)
    page = read(write_inference_report(tmp_path))
    assert 'href="a%FF_seg.nii.gz"' in page and r">a\udcff</a>" in page
    case = {"case": "\ud800", "image": "\ud800.nii.gz", "segmentation": file.name}
    (tmp_path / "cases.json").write_text(json.dumps({"labels": {"1": "brain"}, "cases": [case]}))
    assert r"\ud800.nii.gz: expected a volume, found no file" in read(write_inference_report(tmp_path))


def test_only_so_many_cases_are_pictured(inference_run, tmp_path):
    page = read(write_inference_report(inference_run(tmp_path / "out"), pictured=1))
    assert page.count("<img") == 2 and "1 of 3 cases are shown" in page
    assert all(f">{name}</" in page for name in ("s0", "s1", "s2"))


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 1), (1, 9, 12), (3, 1, 1)])
def test_single_slices_are_shown_in_their_own_plane(tmp_path, shape):
    voxels = np.zeros(shape, np.uint8)
    voxels.flat[:5] = 1
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a_seg.nii.gz")
    assert read(write_inference_report(tmp_path)).count("<img") == 2


def test_an_unreadable_segmentation_does_not_hide_the_others(tmp_path):
    (tmp_path / "a_seg.nii.gz").write_text("no volume")
    nib.save(nib.Nifti1Image(np.ones((6, 6, 6), np.uint8), np.eye(4)), tmp_path / "b_seg.nii.gz")
    page = read(write_inference_report(tmp_path))
    assert "a_seg.nii.gz: expected a segmentation, cannot read it" in page
    assert page.count("<img") == 2 and "label 1: 0.2 ml" in page


@pytest.mark.parametrize("shape", [(4, 0, 4), (4, 4, 4, 0)])
def test_a_segmentation_without_voxels_does_not_hide_the_others(tmp_path, shape):
    for name, axes in (("a", shape), ("b", (6, 6, 6))):
        nib.save(nib.Nifti1Image(np.ones(axes, np.uint8), np.eye(4)), tmp_path / f"{name}_seg.nii")
    page = read(write_inference_report(tmp_path))
    assert "a_seg.nii: expected label values, found a volume without voxels" in page
    assert page.count("<img") == 2


def test_a_segmentation_or_an_image_of_nan_does_not_hide_the_others(tmp_path):
    for place, value in (
        ("out/a", np.nan),
        ("out/b", 1),
        ("out/c", 1),
        ("images/b", np.nan),
        ("images/a", 1),
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(np.full((6, 6, 6), value, np.float32), np.eye(4)), tmp_path / f"{place}.nii")
    page = read(write_inference_report(tmp_path / "out", images=tmp_path / "images"))
    assert page.count("a.nii: expected label values, found NaN or infinite ones; export it again") == 1
    assert page.count("<img") == 2 * 2 and page.count("label 1: 0.2 ml") == 2


@pytest.mark.parametrize(
    ("count", "expected"), [(9, "abcdefgh"), (4, "acfh"), (1, "a")], ids=["all", "low and spread", "one"]
)
def test_low_scores_are_shown_and_the_rest_is_spread(count, expected):
    cases = [{"case": name} for name in "abcdefgh"]
    dice = {"a": 0.9, "b": 0.8, "c": 0.2, "d": 0.9, "e": 0.9, "f": 0.1, "g": 0.9, "h": 0.9}
    scores = [{"case": name, "dice": value} for name, value in dice.items()]
    assert "".join(case["case"] for case in chosen_cases(cases, scores, count)) == expected


def test_a_folder_without_segmentations_is_named(tmp_path):
    with pytest.raises(InputError, match=r"expected segmentations .*, found none"):
        write_inference_report(tmp_path)


def test_a_case_that_was_not_segmented_is_shown_with_the_reason_of_the_inference(inference_run, tmp_path):
    folder = inference_run(tmp_path / "out", scored=False)
    (folder / "s1_seg.nii.gz").unlink()
    note_faults(folder, {"s1": "s1.dscalar.nii: a Cifti2 file, which holds no volume; move this one away"})
    page = read(write_inference_report(folder))
    assert "s1.dscalar.nii: a Cifti2 file, which holds no volume; move this one away" in page
    assert "run the inference again" not in page
    assert page.count("<img") == 2 * 2


def test_a_segmentation_of_another_affine_is_not_laid_over_its_image(inference_run, tmp_path):
    folder = inference_run(tmp_path / "out", scored=False)
    image = nib.load(folder / "s1_seg.nii.gz")
    for shift, pictures in ((0.05, 3), (0.2, 2)):  # a fortieth and a tenth of a voxel
        affine = image.affine.copy()
        affine[0, 3] += shift
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), folder / "s1_seg.nii.gz")
        assert read(write_inference_report(folder)).count("<img") == pictures * 2


def row(case: str, name: str, dice: float) -> dict[str, object]:
    numbers = {"hd95_mm": 2.0, "hd_mm": 3.0, "predicted_ml": 1.0, "reference_ml": 1.0}
    return {"case": case, "label": 1 if name == "heart" else 2, "name": name, "dice": dice} | numbers


def test_methods_stand_beside_each_other(tmp_path):
    for method, gain in (("ours", 0.1), ("theirs", 0.0)):
        dice = {("a", "heart"): 0.5, ("a", "lung"): 0.7, ("b", "heart"): 0.8, ("b", "lung"): 0.9 - 2.2 * gain}
        write_scores(
            [row(*key, value + gain) for key, value in dice.items()], tmp_path / method / "scores.csv"
        )
    Image.new("L", (6, 4)).save(tmp_path / "scores_1_heart.png")
    page = write_comparison_report(tmp_path).read_text(encoding="utf-8")
    assert "<b>2</b><span>methods" in page and "<b>2</b><span>cases" in page
    assert page.count("<img") == 1 and page.count("<h3>") == 2
    cases = page[page.index("Dice of each case") :]
    lines = re.findall(r"<tr><td>(\w)</td>(.*?)</tr>", cases)
    assert [case for case, _ in lines] == ["a", "b"]
    assert re.findall(r"\"(.*?)\">(0\.\d+)", lines[0][1]) == [("number best", "0.700"), ("number", "0.600")]
    assert re.findall(r"\"(.*?)\">(0\.\d+)", lines[1][1]) == [("number", "0.840"), ("number best", "0.850")]
    assert 'href="ours/scores.csv"' in page


def test_one_method_is_shown_and_a_case_called_as_a_frame_is_itself(tmp_path):
    write_scores([row("p01", "heart", 0.9), row("p01_t02", "heart", 0.3)], tmp_path / "out" / "scores.csv")
    page = write_comparison_report(tmp_path / "out").read_text(encoding="utf-8")
    assert "<b>1</b><span>methods" in page and "<td>out</td>" in page
    lines = re.findall(r"<tr><td>(\w+)</td><td[^>]*>(0\.\d+)</td></tr>", page)
    assert lines == [("p01", "0.900"), ("p01_t02", "0.300")]


def test_no_scores_is_an_error(tmp_path):
    with pytest.raises(InputError, match="expected scores of one or several methods, found none"):
        write_comparison_report(tmp_path)

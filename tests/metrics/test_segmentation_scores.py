from __future__ import annotations

import json
import math

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial import cKDTree

from shared_components.errors import InputError
from shared_components.inferers import find_cases
from shared_components.inferers.case_dataset import note_faults, read_case_list, write_case_list
from shared_components.metrics import read_scores, score_segmentations, summarize
from shared_components.metrics.segmentation_scores import score_cases

NAMES = {0: "background", 1: "shell", 2: "core"}
AFFINE = np.array([[0, -1.5, 0, 3], [0.8, 0, 0, -7], [0, 0, 2.5, 1], [0, 0, 0, 1.0]])
VOXEL = np.array([0.8, 1.5, 2.5])


def blobs(seed: int, shape=(24, 20, 12)) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return np.digitize(field, np.quantile(field, [0.6, 0.85])).astype(np.uint8)


def case(folder, name: str, predicted: np.ndarray, reference: np.ndarray, affine=AFFINE) -> dict:
    nib.save(nib.Nifti1Image(predicted, AFFINE), folder / f"{name}_seg.nii.gz")
    nib.save(nib.Nifti1Image(reference, affine), folder / f"{name}_label.nii.gz")
    return {"case": name, "label": str(folder / f"{name}_label.nii.gz")}


def reference_scores(predicted: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """Dice by counting; the larger 95th percentile and maximum of nearest surface distances, by a search tree."""
    dice = 2 * (predicted & reference).sum() / (predicted.sum() + reference.sum())
    surfaces = []
    for mask in (predicted, reference):
        padded = np.pad(mask, 1)
        surfaces.append(np.argwhere(padded & ~binary_erosion(padded)) * VOXEL)
    distances = [cKDTree(surfaces[1 - index]).query(surfaces[index])[0] for index in range(2)]
    return dice, max(np.percentile(side, 95) for side in distances), max(side.max() for side in distances)


def test_scores_agree_with_an_independent_computation(tmp_path):
    pairs = {f"s{seed}": (blobs(seed), blobs(seed + 10)) for seed in range(3)}
    cases = [case(tmp_path, name, *pair) for name, pair in pairs.items()]
    rows = score_segmentations(tmp_path, cases, NAMES)
    assert [(row["case"], row["name"]) for row in rows] == [(n, c) for n in pairs for c in ("shell", "core")]
    for row in rows:
        predicted, reference = (labels == row["label"] for labels in pairs[row["case"]])
        dice, distance, largest = reference_scores(predicted, reference)
        assert row["dice"] == pytest.approx(dice, abs=1e-6)
        assert row["hd95_mm"] == pytest.approx(distance, abs=1e-4)
        assert row["hd_mm"] == pytest.approx(largest, abs=1e-4)
        assert row["predicted_ml"] == pytest.approx(predicted.sum() * VOXEL.prod() / 1000)
        assert row["reference_ml"] == pytest.approx(reference.sum() * VOXEL.prod() / 1000)


def test_distances_are_in_millimetres_along_each_axis(tmp_path):
    for axis in range(3):
        masks = np.zeros((2, 12, 12, 12), np.uint8)
        masks[0, 4, 4, 4] = 1
        shifted = [4, 4, 4]
        shifted[axis] += 2
        masks[(1, *shifted)] = 1
        (row,) = score_segmentations(tmp_path, [case(tmp_path, "s", *masks)], {1: "point"})
        assert row["dice"] == 0
        assert row["hd95_mm"] == row["hd_mm"] == pytest.approx(2 * VOXEL[axis])


def test_a_sheared_grid_has_its_own_volumes_and_distances(tmp_path):
    """As a gantry's tilt makes it: a step along the third axis is one along the second too."""
    sheared = np.array([[2.0, 0, 0, 5], [0, 2, 1.5, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    masks = np.zeros((2, 12, 12, 12), np.uint8)
    masks[0, 4, 4, 4] = masks[1, 4, 6, 6] = 1
    for mask, end in zip(masks, ("seg", "label"), strict=True):
        nib.save(nib.Nifti1Image(mask, sheared), tmp_path / f"s_{end}.nii.gz")
    entry = {"case": "s", "label": str(tmp_path / "s_label.nii.gz")}
    (row,) = score_segmentations(tmp_path, [entry], {1: "point"})
    assert row["hd_mm"] == pytest.approx(math.hypot(2 * 2 + 2 * 1.5, 2 * 2))
    assert row["predicted_ml"] == pytest.approx(0.008)


def test_one_far_voxel_moves_the_hausdorff_distance_and_hardly_its_percentile(tmp_path):
    reference = np.zeros((30, 20, 12), np.uint8)
    reference[4:14, 4:14, 3:9] = 1
    predicted = reference.copy()
    predicted[28, 8, 5] = 1  # 15 voxels of 0.8 mm beyond the block's last row
    (row,) = score_segmentations(tmp_path, [case(tmp_path, "s", predicted, reference)], {1: "block"})
    assert row["hd_mm"] == pytest.approx(15 * VOXEL[0])
    assert row["hd95_mm"] == 0


@pytest.mark.parametrize("shape", [(40, 36), (40, 36, 1)])
def test_a_single_slice_has_the_distances_of_its_contours(tmp_path, shape):
    rows, columns = np.indices((40, 36))
    discs = [
        (np.hypot(rows - 18, columns - 17) < radius).astype(np.uint8).reshape(shape) for radius in (6, 14)
    ]
    plane = np.diag([1.0, 1.0, 5.0, 1.0])
    for name, disc in zip(("s_seg", "s_label"), discs, strict=True):
        nib.save(nib.Nifti1Image(disc, plane), tmp_path / f"{name}.nii.gz")
    (row,) = score_segmentations(
        tmp_path, [{"case": "s", "label": str(tmp_path / "s_label.nii.gz")}], {1: "disc"}
    )
    # the smaller disc's contour is 8 pixels inside the larger one's, everywhere; its inside is no surface
    assert row["hd_mm"] == pytest.approx(8, abs=1)
    assert row["hd95_mm"] == pytest.approx(8, abs=1)
    assert row["reference_ml"] == pytest.approx(discs[1].sum() * 5 / 1000)


def test_a_time_series_is_scored_in_the_frames_that_have_a_label(tmp_path):
    truth = np.zeros((24, 20, 12, 4), np.uint8)
    truth[..., 0], truth[..., 2] = blobs(0), blobs(1)
    predicted = np.stack([blobs(0), blobs(5), blobs(6), blobs(7)], axis=-1)
    rows = score_segmentations(tmp_path, [case(tmp_path, "cine", predicted, truth)], NAMES)
    assert [row["case"] for row in rows] == ["cine_t00"] * 2 + ["cine_t02"] * 2
    assert [row["dice"] for row in rows[:2]] == [1, 1]
    for row in rows[2:]:
        expected = reference_scores(predicted[..., 2] == row["label"], truth[..., 2] == row["label"])
        assert (row["dice"], row["hd95_mm"], row["hd_mm"]) == pytest.approx(expected, abs=1e-4)
    assert summarize(rows)["mean"]["cases"] == 2


def test_a_time_series_without_labels_or_of_another_length_is_refused(tmp_path):
    series = np.stack([blobs(0)] * 3, axis=-1)
    with pytest.raises(InputError, match=r"cine_label\.nii\.gz: expected labels in at least one of 3 frames"):
        score_segmentations(tmp_path, [case(tmp_path, "cine", series, series * 0)], NAMES)
    with pytest.raises(InputError, match="has 24×20×12×3 voxels, expected 24×20×12×2"):
        score_segmentations(tmp_path, [case(tmp_path, "cine", series, series[..., :2])], NAMES)


def test_absent_classes_follow_the_stated_rule(tmp_path):
    empty, full = np.zeros((6, 6, 6), np.uint8), np.ones((6, 6, 6), np.uint8)
    cases = [
        case(tmp_path, "both", empty, empty),
        case(tmp_path, "missed", empty, full),
        case(tmp_path, "invented", full, empty),
        case(tmp_path, "same", full, full),
    ]
    rows = score_segmentations(tmp_path, cases, {0: "background", 1: "brain"})
    assert [row["dice"] for row in rows] == [1, 0, 0, 1]
    for distance in ("hd95_mm", "hd_mm"):
        assert [row[distance] for row in rows] == pytest.approx([0, math.nan, math.nan, 0], nan_ok=True)
    summary = summarize(rows)["brain"]
    assert (summary["cases"], summary["missed"], summary["dice_mean"], summary["hd95_mean"]) == (4, 2, 0.5, 0)
    assert summary["dice_sd"] == pytest.approx(np.std([1, 0, 0, 1], ddof=1))


def test_tables_are_written_and_read_back(tmp_path):
    empty = np.zeros((24, 20, 12), np.uint8)
    cases = [case(tmp_path, "s1", blobs(1), blobs(2)), case(tmp_path, "s2", empty, blobs(3))]
    rows = score_segmentations(tmp_path, cases, NAMES, tmp_path / "out" / "scores.csv")
    again = read_scores(tmp_path / "out" / "scores.csv")
    for row, copy in zip(rows, again, strict=True):
        assert list(copy) == list(row)
        assert copy["dice"] == pytest.approx(row["dice"], rel=1e-5)
        assert copy["hd95_mm"] == pytest.approx(row["hd95_mm"], rel=1e-5, nan_ok=True)
    summary = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert summary["mean"]["dice_mean"] == pytest.approx(np.mean([row["dice"] for row in rows]))
    assert summary["core"]["missed"] == 1
    assert summary["core"]["hd95_sd"] is None


def test_values_outside_the_label_set_are_refused_in_one_line(tmp_path):
    mask = (blobs(0) > 0).astype(np.uint8)
    brain = {0: "background", 1: "brain"}
    said = r"{}\.nii\.gz: label values 255 are outside 'labels' \(0, 1\); save it with the values 0, 1, or [^\n]*$"
    with pytest.raises(InputError, match=said.format("s_seg")):
        score_segmentations(tmp_path, [case(tmp_path, "s", mask * 255, mask)], brain)
    cases = [case(tmp_path, "good", mask, mask), case(tmp_path, "s", mask, mask * 255)]
    with pytest.raises(InputError, match=said.format("s_label")):
        score_segmentations(tmp_path, cases, brain, tmp_path / "scores.csv")
    assert {row["case"] for row in read_scores(tmp_path / "scores.csv")} == {"good"}


@pytest.mark.parametrize(("bad", "said"), [(0.4, r"no whole numbers \(0\.4\)"), (np.nan, "1 voxels .* NaN")])
def test_probabilities_and_nan_are_not_rounded_to_labels(tmp_path, bad, said):
    labels = blobs(0).astype(np.float32)
    wrong = labels.copy()
    wrong[3, 4, 5] = bad
    with pytest.raises(InputError, match=rf"s_seg\.nii\.gz: .*{said}"):
        score_segmentations(tmp_path, [case(tmp_path, "s", wrong, labels)], NAMES)


def test_faults_name_the_file(tmp_path):
    labels = blobs(0)
    shifted = AFFINE.copy()
    shifted[0, 3] += 1
    with pytest.raises(
        InputError, match=r"s_seg\.nii\.gz: expected the grid of .*lie up to 1\.25 voxels apart"
    ):
        score_segmentations(tmp_path, [case(tmp_path, "s", labels, labels, shifted)], NAMES)
    with pytest.raises(InputError, match="has 24×20×12 voxels, expected 12×20×24"):
        score_segmentations(tmp_path, [case(tmp_path, "s", labels, labels.T.copy())], NAMES)
    with pytest.raises(InputError, match=r"absent_seg\.nii\.gz: expected a segmentation, found none"):
        score_segmentations(tmp_path, [{"case": "absent", "label": "x"}], NAMES)
    with pytest.raises(InputError, match="case 'u': expected a label"):
        score_segmentations(tmp_path, [{"case": "u"}], NAMES)
    with pytest.raises(InputError, match="expected at least one labelled case"):
        score_segmentations(tmp_path, [], NAMES)
    with pytest.raises(InputError, match=r"scores\.csv: expected a table of scores"):
        read_scores(tmp_path / "scores.csv")


def numbers(row: dict) -> list[float]:
    return [value for value in row.values() if not isinstance(value, str)]


def stored_as(folder, name: str, labels: np.ndarray, codes: str) -> None:
    """Store a segmentation again, the same anatomy in other axes."""
    turn = ornt_transform(io_orientation(AFFINE), axcodes2ornt(codes))
    turned, affine = apply_orientation(labels, turn), AFFINE @ inv_ornt_aff(turn, labels.shape)
    nib.save(nib.Nifti1Image(turned, affine), folder / f"{name}_seg.nii.gz")


@pytest.mark.parametrize("codes", ["LPS", "SAR"])
def test_a_segmentation_in_other_axes_is_compared_after_reorientation(tmp_path, codes):
    predicted, reference = blobs(1), blobs(2)
    expected = score_segmentations(tmp_path, [case(tmp_path, "s", predicted, reference)], NAMES)
    stored_as(tmp_path, "s", predicted, codes)
    rows = score_segmentations(tmp_path, [{"case": "s", "label": str(tmp_path / "s_label.nii.gz")}], NAMES)
    for row, same in zip(rows, expected, strict=True):
        assert numbers(row) == pytest.approx(numbers(same), rel=1e-5)


def test_segmentations_of_other_programs_have_the_cases_name_alone(tmp_path):
    one = case(tmp_path, "s", blobs(1), blobs(2))
    expected = score_segmentations(tmp_path, [one], NAMES)
    (tmp_path / "s_seg.nii.gz").rename(tmp_path / "s.nii.gz")
    assert score_segmentations(tmp_path, [one], NAMES) == expected


@pytest.mark.parametrize("axis", range(3))
def test_a_single_slice_that_runs_the_other_way_is_the_same(tmp_path, axis):
    labels, affine = np.expand_dims(blobs(1)[..., 5], axis), AFFINE.copy()
    affine[:3, axis] *= -1
    rows = score_segmentations(tmp_path, [case(tmp_path, "s", labels, labels, affine)], NAMES)
    assert [row["dice"] for row in rows] == [1, 1]


@pytest.mark.parametrize(("shift", "fits"), [(0.02, True), (0.039, True), (0.041, False)])
def test_the_tolerance_is_that_of_the_data_check(tmp_path, shift, fits):
    labels, affine = blobs(0), AFFINE.copy()
    affine[0, 3] += shift  # of voxels whose smallest edge is 0.8 mm
    cases = [case(tmp_path, "s", labels, labels, affine)]
    if fits:
        assert [row["dice"] for row in score_segmentations(tmp_path, cases, NAMES)] == [1, 1]
    else:
        with pytest.raises(InputError, match=r"corners lie up to 0\.0512 voxels apart"):
            score_segmentations(tmp_path, cases, NAMES)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_single_slice_of_any_axis_has_the_distances_of_its_contours(tmp_path, axis):
    rows, columns = np.indices((40, 36))
    discs = [np.hypot(rows - 18, columns - 17) < radius for radius in (6, 14)]
    affine = np.eye(4)
    affine[axis, axis] = 5
    for name, disc in zip(("s_seg", "s_label"), discs, strict=True):
        image = nib.Nifti1Image(np.expand_dims(disc.astype(np.uint8), axis), affine)
        nib.save(image, tmp_path / f"{name}.nii.gz")
    (row,) = score_segmentations(
        tmp_path, [{"case": "s", "label": str(tmp_path / "s_label.nii.gz")}], {1: "d"}
    )
    assert row["hd_mm"] == pytest.approx(8, abs=1)
    assert row["hd95_mm"] == pytest.approx(8, abs=1)


def test_labels_within_rounding_are_whole(tmp_path):
    labels = blobs(0)
    cases = [case(tmp_path, "s", labels, (labels * 0.9999999).astype(np.float32))]
    rows = score_segmentations(tmp_path, cases, NAMES)
    assert [row["dice"] for row in rows] == [1, 1]
    assert [row["reference_ml"] for row in rows] == [row["predicted_ml"] for row in rows]


def test_distances_and_volumes_are_in_the_headers_unit(tmp_path):
    scores = []
    for unit, length in (("mm", 1.0), ("meter", 1e-3), ("micron", 1e3)):
        affine = np.diag([*[length] * 3, 1]) @ AFFINE
        for name, labels in (("s_seg", blobs(1)), ("s_label", blobs(2))):
            image = nib.Nifti1Image(labels, affine)
            image.header.set_xyzt_units(unit)
            nib.save(image, tmp_path / f"{name}.nii.gz")
        scores.append(
            score_segmentations(tmp_path, [{"case": "s", "label": str(tmp_path / "s_label.nii.gz")}], NAMES)
        )
    for rows in scores[1:]:
        for row, same in zip(rows, scores[0], strict=True):
            assert numbers(row) == pytest.approx(numbers(same), rel=1e-4)


def test_a_damaged_file_stops_no_other_and_the_reason_of_the_inference_is_told(tmp_path):
    cases = [case(tmp_path, name, blobs(1), blobs(2)) for name in ("a", "b", "c", "d")]
    write_case_list([each | {"image": f"{each['case']}.nii.gz"} for each in cases], NAMES, tmp_path)
    note_faults(tmp_path, {"d": "d.nii.gz: a Cifti2 file, which holds no volume; move it away"})
    (tmp_path / "d_seg.nii.gz").unlink()
    (tmp_path / "b_seg.nii.gz").write_bytes((tmp_path / "b_seg.nii.gz").read_bytes()[:400])
    (tmp_path / "c_label.nii.gz").write_text("hello")
    with pytest.raises(InputError) as raised:
        score_segmentations(tmp_path, cases, NAMES, tmp_path / "scores.csv", plots=True)
    first, *lines = str(raised.value).split("\n")
    assert first == "3 of 4 cases were not scored:"
    assert lines[0].startswith(f"{tmp_path}/b_seg.nii.gz: unreadable: it ends too early")
    assert lines[1].startswith(f"{tmp_path}/c_label.nii.gz: not an image that can be read")
    assert lines[2] == "d.nii.gz: a Cifti2 file, which holds no volume; move it away"
    assert {row["case"] for row in read_scores(tmp_path / "scores.csv")} == {"a"}
    assert (tmp_path / "scores_1_shell.png").is_file()


def test_what_an_earlier_run_left_of_a_case_that_failed_is_not_scored(tmp_path):
    cases = [case(tmp_path, name, blobs(1), blobs(2)) for name in ("a", "b")]
    write_case_list([each | {"image": f"{each['case']}.nii.gz"} for each in cases], NAMES, tmp_path)
    note_faults(tmp_path, {"b": "b.nii.gz: is damaged; copy it again"})
    rows, faults = score_cases(tmp_path, cases, NAMES)
    assert ({row["case"] for row in rows}, faults) == ({"a"}, ["b.nii.gz: is damaged; copy it again"])


def test_slices_that_nobody_annotated_are_left_out_of_all_numbers(tmp_path):
    """As if both volumes had been cut to the annotated slices, whatever lies beyond."""
    predicted, reference = blobs(1), blobs(11)
    whole = case(tmp_path, "whole", predicted, reference) | {"annotated": {"first": 3, "last": 8}}
    cut = case(tmp_path, "cut", predicted[..., 3:9].copy(), reference[..., 3:9].copy())
    found, expected = (score_segmentations(tmp_path, [one], NAMES) for one in (whole, cut))
    assert [row | {"case": ""} for row in found] == [row | {"case": ""} for row in expected]
    assert found != score_segmentations(tmp_path, [{**whole, "annotated": None}], NAMES)


def test_a_single_annotated_slice_is_scored_by_its_contours(tmp_path):
    predicted, reference = blobs(2), blobs(12)
    whole = case(tmp_path, "whole", predicted, reference) | {"annotated": [5]}
    one = case(tmp_path, "one", predicted[..., 5:6].copy(), reference[..., 5:6].copy())
    found, expected = (score_segmentations(tmp_path, [each], NAMES) for each in (whole, one))
    assert [row | {"case": ""} for row in found] == [row | {"case": ""} for row in expected]


@pytest.mark.parametrize("annotated", [[4], [2, 7], [2, 3, 7], [4, 5]])
def test_of_slices_that_stand_alone_contours_are_compared(tmp_path, annotated):
    """A square that is shifted by a voxel in every slice is as far away, whichever slices somebody annotated."""
    predicted, reference = np.zeros((2, 30, 30, 10), np.uint8)
    predicted[6:26, 5:25], reference[5:25, 5:25] = 1, 1
    shifted = case(tmp_path, "shifted", predicted, reference) | {"annotated": annotated}
    (shell,) = (row for row in score_segmentations(tmp_path, [shifted], NAMES) if row["name"] == "shell")
    assert shell["hd95_mm"] == shell["hd_mm"] == pytest.approx(0.8)


def test_contours_of_lone_slices_agree_with_an_independent_computation(tmp_path):
    predicted, reference = blobs(4), blobs(14)
    known = np.zeros(predicted.shape, bool)
    known[..., [1, 2, 6, 9]] = True
    partly = case(tmp_path, "partly", predicted, reference) | {"annotated": [1, 2, 6, 9]}
    for row in score_segmentations(tmp_path, [partly], NAMES):
        edges = []
        for labels in (predicted, reference):
            mask = np.pad((labels == row["label"]) & known, 1)
            inside = np.stack([binary_erosion(part) for part in np.moveaxis(mask, 2, 0)], 2)
            edges.append(np.argwhere(mask & ~inside) * VOXEL)
        sides = [cKDTree(edges[1 - index]).query(edges[index])[0] for index in range(2)]
        assert row["hd95_mm"] == pytest.approx(max(np.percentile(side, 95) for side in sides), abs=1e-5)
        assert row["hd_mm"] == pytest.approx(max(side.max() for side in sides), abs=1e-5)


def test_ignored_voxels_count_for_nobody(tmp_path):
    predicted, reference = blobs(3), blobs(13)
    unknown = np.zeros(reference.shape, bool)
    unknown[5:9, 4:15, 2:7] = True
    ignoring = case(tmp_path, "ignoring", predicted, np.where(unknown, 255, reference).astype(np.uint8))
    empty = [np.where(unknown, 0, part).astype(np.uint8) for part in (predicted, reference)]
    found = score_segmentations(tmp_path, [ignoring | {"ignore": 255}], NAMES)
    expected = score_segmentations(tmp_path, [case(tmp_path, "empty", *empty)], NAMES)
    assert [row | {"case": ""} for row in found] == [row | {"case": ""} for row in expected]
    with pytest.raises(InputError, match=r"label values 255 are outside 'labels' \(0, 1, 2\)"):
        score_segmentations(tmp_path, [ignoring], NAMES)


def test_a_label_of_which_nothing_is_annotated_is_not_scored(tmp_path):
    unknown = case(tmp_path, "unknown", blobs(4), np.full((24, 20, 12), 255, np.uint8)) | {"ignore": 255}
    with pytest.raises(
        InputError, match=r"unknown_label\.nii\.gz: nothing of it is annotated; leave its case"
    ):
        score_segmentations(tmp_path, [unknown], NAMES)


def test_a_data_roots_cases_say_what_of_their_labels_is_known(tmp_path):
    """What ``evaluate.yaml`` and ``scripts/evaluate.py`` score by."""
    root = tmp_path / "north"
    (root / "images").mkdir(parents=True)
    nib.save(nib.Nifti1Image(blobs(5).astype(np.float32), AFFINE), root / "images/a.nii.gz")
    nib.save(nib.Nifti1Image(blobs(6), AFFINE), root / "a_label.nii.gz")
    entry = {"image": "images/a.nii.gz", "label": "a_label.nii.gz", "annotated": [4, 9]}
    content = {"name": "north", "domain": "t1", "labels": {"0": "background", "1": "shell", "2": "core"}}
    (root / "dataset.json").write_text(json.dumps(content | {"training": [], "test": [entry], "ignore": 255}))
    (found,) = find_cases(root)
    assert (found["annotated"], found["ignore"]) == ([4, 9], 255)
    write_case_list([found], NAMES, tmp_path / "out")
    assert read_case_list(tmp_path / "out")[0][0]["annotated"] == [4, 9]

"""Slices and voxels that nobody annotated are unknown, not background."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from shared_components.data.check import check_client_root, inspect_client_root, overview
from shared_components.data.client_root import ClientRoot
from shared_components.data.label_maps import (
    Annotated,
    listed_slices,
    mark_unknown,
    slices_of,
    value_faults,
    values_in,
    whole,
)
from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError


@pytest.mark.parametrize(
    ("value", "slices", "axis"),
    [
        ([9, 4], (4, 9), 2),
        ([0, 3], (0, 3), 2),  # two slices, not a range
        ({"first": 0, "last": 3}, (0, 1, 2, 3), 2),
        ({"axis": 0, "slices": [5]}, (5,), 0),
        ({"axis": 1, "first": 2, "last": 2}, (2,), 1),
    ],
)
def test_three_ways_to_name_slices(value, slices, axis):
    assert Annotated.parse(value) == Annotated(slices, axis)


@pytest.mark.parametrize(
    "value",
    [
        [], 4, "0-3", [1.5], [True], [-1], ["4"], [4, 4], {"first": 3, "last": 0}, {"first": 0}, {"slices": 4},
        {"axis": 3, "slices": [4]}, {"axis": 1.0, "slices": [1]},
        {"axis": True, "slices": [1]}, {"axis": [1], "slices": [1]},
        {"first": 0, "last": 10**9}, {"slices": [4], "first": 0, "last": 3}, {},
    ],
)  # fmt: skip
def test_other_ways_are_refused_with_the_right_ones(data_root, describe, value):
    root, content = data_root
    content["training"][0]["annotated"] = value
    describe(root, content)
    (fault,) = check_client_root(root)
    line = str(fault)
    assert line.startswith(f"{root}/dataset.json: training[0]: 'annotated' ") and line.isprintable()
    assert line.endswith('or {"first": 0, "last": 13} for a range, counted from 0')


def test_unknown_is_all_but_the_stated_slices_and_the_ignored_value():
    label = torch.tensor([[0.0, 1.0, 255.0], [1.0, 0.0, 1.0]])[None, None]  # (1, X = 1, Y = 2, Z = 3)
    assert mark_unknown(label, {}).equal(label)
    assert mark_unknown(label, {"ignore": 255})[0, 0].tolist() == [[0, 1, -1], [1, 0, 1]]
    assert mark_unknown(label, {"annotated": [1]})[0, 0].tolist() == [[-1, 1, -1], [-1, 0, -1]]
    both = {"annotated": {"axis": 1, "slices": [0]}, "ignore": 255}
    assert mark_unknown(label, both)[0, 0].tolist() == [[0, 1, -1], [-1, -1, -1]]


def test_slice_numbers_as_text():
    mask = torch.zeros(1, 2, 3, 9)
    mask[0, 0, 1, [0, 3, 4, 5]] = 1
    assert slices_of(mask, 2) == [0, 3, 4, 5] and slices_of(mask, 1) == [1]
    assert listed_slices([0, 3, 4, 5]) == "slices 0, 3 to 5" and listed_slices([7]) == "slice 7"
    assert listed_slices(range(0, 30, 2)) == "slices 0, 2, 4, 6, 8, …"


def test_items_say_what_of_their_labels_is_known(data_root, describe):
    root, content = data_root
    content["training"][0]["annotated"] = [1, 2, 3]
    describe(root, content | {"ignore": 255})
    loaded = ClientRoot.load(root)
    labelled, unlabelled = loaded.items("training")
    assert loaded.ignore == 255 and labelled["annotated"] == [1, 2, 3] and labelled["ignore"] == 255
    assert "annotated" not in unlabelled and "ignore" not in unlabelled


def test_the_check_counts_annotated_slices(data_root, describe):
    root, content = data_root
    content["training"][0]["annotated"] = {"first": 1, "last": 3}
    describe(root, content)
    report = inspect_client_root(root)
    assert report.faults == [] and report.annotated["training"] == (3, 6)
    assert "2 (1 labelled, 3 of 6 slices)  1 (0 labelled)  1 (1 labelled)  2" in overview([report])


def test_the_check_counts_slices_with_an_ignored_value(data_root, describe, save_image):
    root, content = data_root
    label = np.full((12, 10, 6), 255, np.uint8)
    label[..., 2] = 0
    label[4:6, 4:6, 2] = 1
    label[0, 0, 4] = 0
    save_image(root / "labels/s1.nii.gz", label)
    assert "label values 255 are outside 'labels' (0, 1)" in str(check_client_root(root)[0])
    describe(root, content | {"ignore": 255})
    report = inspect_client_root(root)
    assert report.faults == [] and report.annotated["training"] == (2, 6)


@pytest.mark.parametrize(
    ("annotated", "line"),
    [
        ([1, 3], "has labels in slice 2, which 'annotated' leaves out; write \"annotated\": [4, 9]"),
        ([1, 2, 3, 6], "'annotated' names the slice 6, its axis 2 has the slices 0 to 5; count from 0"),
    ],
)
def test_what_annotated_says_must_fit_the_label_map(data_root, describe, annotated, line):
    root, content = data_root
    content["training"][0]["annotated"] = annotated
    describe(root, content)
    (fault,) = check_client_root(root)
    assert str(fault).startswith(f"{root}/labels/s1.nii.gz: {line}")


def test_a_label_map_of_which_nothing_is_known(data_root, describe, save_image):
    root, content = data_root
    save_image(root / "labels/s1.nii.gz", np.full((12, 10, 6), 255, np.uint8))
    describe(root, content | {"ignore": 255})
    (fault,) = check_client_root(root)
    assert str(fault).endswith("s1.nii.gz: nothing of it is annotated; take its entry's 'label' out")


@pytest.mark.parametrize(
    ("ignore", "fault"),
    [
        ("255", "'ignore': expected one whole number, found '255'"),
        (True, "'ignore': expected one whole number, found True"),
        ({"a": 1}, "'ignore': expected one whole number, found {'a': 1}"),
        ([255], "'ignore': expected one whole number, found [255]"),
        (10**30, "'ignore': expected one whole number, found 1" + "0" * 30),
        (1, "'ignore': 1 is also a class of 'labels'"),
    ],
)
def test_ignored_values_of_no_sense(data_root, ignore, fault):
    root, content = data_root
    (root / "dataset.json").write_text(json.dumps(content | {"ignore": ignore}))
    with pytest.raises(InputError) as told:
        ClientRoot.load(root)
    assert str(told.value).startswith(f'{root}/dataset.json: {fault}; write it as "ignore": 255')


def test_annotated_needs_a_label(data_root, describe):
    root, content = data_root
    content["training"][1]["annotated"] = [1]
    describe(root, content)
    (fault,) = check_client_root(root)
    assert str(fault).endswith(
        "training[1]: 'annotated' without a 'label'; name the label map, or leave 'annotated' out"
    )


AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
BOX = np.zeros((16, 16, 4), np.float32)
BOX[4:12, 5:11, 1:3] = 1


def dataset(folder: Path, label: np.ndarray, **known) -> SliceDataset:
    image = np.random.default_rng(0).normal(100, 10, BOX.shape).astype(np.float32)
    for name, voxels in (("image", image), ("label", label)):
        nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), folder / f"{name}.nii")
    item = {key: str(folder / f"{key}.nii") for key in ("image", "label")}
    item |= {"domain": "t1", "subject": "s", **known}
    return SliceDataset([item], ["t1"], 16, None, orientation=None)


@pytest.mark.parametrize("one", [0.9999999, 0.9995, 1.0000001])
def test_values_within_rounding_are_whole_in_training(tmp_path, one):
    slices = dataset(tmp_path, (BOX * one).astype(np.float32))
    labels = torch.stack([slices[i]["label"] for i in range(4)]).permute(1, 2, 3, 0)[0]
    np.testing.assert_array_equal(labels.numpy(), BOX)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (BOX * 0.5 + 0.1, r"no whole numbers \(0\.1, 0\.6\), all from 0 to 1: a probability map; make a label map"),
        (BOX * 1.0235, r"no whole numbers \(1\.0235\); save a label map, not probabilities"),
        (BOX / 32767, r"no whole numbers \(3\.05185e-05\)"),
        (np.where(BOX > 0, 1, np.nan), "928 voxels of the label are NaN or infinite"),
    ],
    ids=["probabilities", "resampled", "scaled", "NaN"],
)  # fmt: skip
def test_training_refuses_what_the_check_refuses(tmp_path, label, said):
    with pytest.raises(InputError, match=rf"label\.nii: .*{said}"):
        dataset(tmp_path, label.astype(np.float32))
    (fault,) = value_faults("label.nii", torch.from_numpy(label).float(), {0, 1})
    assert str(fault).startswith("label.nii: ")


def test_training_refuses_values_of_no_class(tmp_path):
    """255 for what nobody annotated would be trained on as known, and is no index of a class."""
    labels = np.where(np.arange(BOX.shape[2]) == 0, 255, BOX).astype(np.int16)
    with pytest.raises(InputError, match=r"label values 255 are outside 'labels' \(0, 1\)"):
        dataset(tmp_path, labels, classes=[0, 1])
    slices = dataset(tmp_path, labels, classes=[0, 1], ignore=255)
    assert int(slices[0]["label"].max()) <= 1


def test_values_are_told_apart_by_what_they_round_to():
    voxels = torch.tensor([0.0, 0.9999, 2.0002, 1e-7])
    assert values_in(voxels) == {0, 1, 2}
    assert whole(voxels).tolist() == [0, 1, 2, 0]
    assert list(value_faults("l", voxels, {0, 1, 2})) == []
    (fault,) = value_faults("l", voxels, {0, 1})
    assert "label values 2 are outside 'labels' (0, 1)" in str(fault)

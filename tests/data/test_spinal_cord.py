import filecmp

import nibabel
import numpy as np
import pytest

from shared_components.data.check import inspect_client_root
from shared_components.data.client_root import ClientRoot
from shared_components.data.datalists import datalist
from shared_components.data.slices import SliceDataset
from shared_components.data.spinal_cord import FOLDER, LABELS, SITES, make_spinal_cord
from shared_components.errors import InputError
from shared_components.inferers import find_cases
from shared_components.metrics.segmentation_scores import score_case


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return dict(zip(SITES, make_spinal_cord(tmp_path_factory.mktemp("spine")), strict=True))


def names(root, split, labelled=None):
    return {item["image"].rsplit("/", 1)[-1][:-7] for item in ClientRoot.load(root).items(split, labelled)}


def test_six_sound_data_roots_have_sixteen_volumes(roots):
    reports = [inspect_client_root(root) for root in roots.values()]
    assert [report.faults for report in reports] == [[]] * 6
    splits = ("training", "validation", "test")
    assert sum(len(ClientRoot.load(root).items(split)) for root in roots.values() for split in splits) == 16


def test_without_labels_run_2_trains_and_run_1_is_the_test(roots):
    assert names(roots["milan"], "training") == {"milan_ses1_run2", "milan_ses2_run2"}
    assert names(roots["milan"], "test", True) == {"milan_ses1_run1", "milan_ses2_run1"}
    assert not names(roots["milan"], "training", True) and not names(roots["milan"], "validation")


def test_with_labels_the_first_session_trains_and_the_second_chooses(roots):
    assert names(roots["ceitec"], "training", True) == {"ceitec_ses1_run1"}
    assert names(roots["ceitec"], "validation", True) == {"ceitec_ses2_run1"}
    assert names(roots["ceitec"], "training", False) == {"ceitec_ses1_run2"}
    assert names(roots["ceitec"], "validation", False) == {"ceitec_ses2_run2"}
    assert not names(roots["ceitec"], "test")


def test_slices_that_nobody_annotated_are_unknown(roots):
    (item,) = ClientRoot.load(roots["philips"]).items("test")
    assert item["annotated"] == {"first": 0, "last": 13}
    label = np.asarray(nibabel.load(item["label"]).dataobj)
    assert label[..., :14].any(axis=(0, 1)).all() and not label[..., 14:].any()
    assert "annotated" not in ClientRoot.load(roots["ucl"]).items("test")[0]


def test_they_are_unknown_to_training(tmp_path):
    make_spinal_cord(tmp_path, labelled=["philips"])
    items = datalist(tmp_path / "philips", "training", labelled=True)
    slices = SliceDataset(items, ["philips"], 32, 1.4)
    assert slices.labelled == list(range(14)) and len(slices) == 20
    known = [bool((slices[number]["label"] >= 0).any()) for number in range(20)]
    assert known == [True] * 14 + [False] * 6


def test_no_score_looks_at_them(roots, tmp_path):
    (case,) = find_cases(roots["philips"], "test", labelled=True)
    label = nibabel.load(case["label"])
    found = np.asarray(label.dataobj).copy()
    found[..., 14:] = 2  # what nobody annotated
    nibabel.save(nibabel.Nifti1Image(found, label.affine), tmp_path / "seg.nii.gz")
    rows = score_case(tmp_path / "seg.nii.gz", case, LABELS)
    assert [row["dice"] for row in rows] == [1.0, 1.0] and [row["hd95_mm"] for row in rows] == [0.0, 0.0]
    found[..., 13] = 2  # what somebody did
    nibabel.save(nibabel.Nifti1Image(found, label.affine), tmp_path / "seg.nii.gz")
    assert max(row["dice"] for row in score_case(tmp_path / "seg.nii.gz", case, LABELS)) < 1


def test_files_are_the_shipped_ones(roots):
    file = "images/juntendo_ses1_run2.nii.gz"
    assert filecmp.cmp(roots["juntendo"] / file, FOLDER / file, shallow=False)


def test_few_labelled_slices_are_in_no_test(tmp_path):
    made = make_spinal_cord(tmp_path, few=3)
    assert [root.name for root in made] == list(SITES)
    few = ClientRoot.load(tmp_path / "philips_few")
    (labelled,) = few.items("training", True)
    assert labelled["annotated"] == [2, 7, 11]
    (test,) = ClientRoot.load(tmp_path / "philips").items("test")
    assert test["annotated"] == [0, 1, 3, 4, 5, 6, 8, 9, 10, 12, 13] and not few.items("test")
    assert names(tmp_path / "philips_few", "training", False) == {"philips_ses1_run2"}
    assert not (tmp_path / "ceitec_few").exists() and not (tmp_path / "ucl_session1").exists()


def test_labels_of_another_session_are_a_bound_where_there_is_one(tmp_path):
    make_spinal_cord(tmp_path, few=3)
    for session, other in (("1", "2"), ("2", "1")):
        root = tmp_path / f"milan_session{session}"
        assert names(root, "training", True) == {f"milan_ses{other}_run1"}
        assert names(root, "test") == {f"milan_ses{session}_run1"}
    whole = ClientRoot.load(tmp_path / "milan").items("test")
    apart = [item for n in "12" for item in ClientRoot.load(tmp_path / f"milan_session{n}").items("test")]
    assert [item["annotated"] for item in whole] == [item["annotated"] for item in apart]


def test_refusals(roots, tmp_path):
    with pytest.raises(InputError, match=r"ceitec/dataset\.json: is there already"):
        make_spinal_cord(roots["ceitec"].parent)
    with pytest.raises(InputError, match=r"expected some of ceitec, .* found 'oxford'"):
        make_spinal_cord(tmp_path, ["oxford"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(
        InputError, match=r"few: expected fewer than the 17 slices of ucl_ses1_run1\.nii\.gz, found 17"
    ):
        make_spinal_cord(tmp_path / "many", few=17)

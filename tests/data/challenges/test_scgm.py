from __future__ import annotations

from collections import Counter

import nibabel
import numpy as np
import pytest

from shared_components.data.challenges import prepare_scgm
from shared_components.data.challenges.scgm import majority, union
from shared_components.data.check import check_client_root
from shared_components.data.client_root import ClientRoot
from shared_components.errors import InputError
from tests.data.challenges.layouts import AFFINE, SHAPE, rater_mask, save


def labels_of(root) -> dict[str, np.ndarray]:
    items = [
        item for split in ("training", "validation", "test") for item in ClientRoot.load(root).items(split)
    ]
    return {
        item["subject"]: np.asarray(nibabel.load(item["label"]).dataobj) for item in items if "label" in item
    }


def test_each_site_becomes_a_data_root(scgm_folder, tmp_path):
    roots = prepare_scgm(scgm_folder, tmp_path / "out", validation=0.3, test=0.3)
    assert [root.name for root in roots] == ["site1", "site2", "site3", "site4"]
    for root in roots:
        assert check_client_root(root) == []
        loaded = ClientRoot.load(root)
        assert loaded.domain == root.name
        assert loaded.labels == {0: "background", 1: "grey matter", 2: "white matter"}
        assert {split: len(loaded.items(split, labelled=True)) for split in loaded.splits} == {
            "training": 1,
            "validation": 1,
            "test": 1,
        }
        unlabelled = [item["subject"] for item in loaded.items("training", labelled=False)]
        assert unlabelled == [f"{root.name}-sc04", f"{root.name}-sc05"]


def test_images_stay_as_they_are(scgm_folder, tmp_path):
    prepare_scgm(scgm_folder, tmp_path / "out")
    before = nibabel.load(scgm_folder / "test-data/site2-sc04-image.nii.gz")
    after = nibabel.load(tmp_path / "out/site2/images/site2-sc04.nii.gz")
    assert np.array_equal(before.dataobj, after.dataobj) and np.allclose(before.affine, after.affine)


def test_majority_and_union_of_the_raters_or_one_of_them(scgm_folder, tmp_path):
    found = {
        masks: labels_of(prepare_scgm(scgm_folder, tmp_path / str(masks), masks=masks)[0])["site1-sc01"]
        for masks in ("majority", "union", 1, 3)
    }
    assert np.array_equal(found[1], rater_mask(1)) and np.array_equal(found[3], rater_mask(3))
    assert np.array_equal(found["union"], rater_mask(4))
    assert np.array_equal(found["majority"], rater_mask(3))  # at the third voxel two of four say grey: a tie


def test_votes_are_counted_voxel_by_voxel():
    votes = np.array(
        [[0, 0, 0, 1, 2, 0, 1], [0, 0, 1, 1, 2, 0, 2], [0, 2, 2, 2, 1, 2, 2], [0, 2, 1, 2, 1, 2, 2]]
    )
    expected = []
    for column in votes.T:
        counts = Counter(column.tolist())
        expected.append(max((1, 2, 0), key=lambda value: counts[value]))
    assert expected == [0, 2, 1, 1, 1, 2, 2]
    assert majority(list(votes)).tolist() == expected
    assert union(list(votes)).tolist() == [0, 2, 1, 1, 1, 2, 1]
    assert majority([votes[0]]).tolist() == union([votes[0]]).tolist() == votes[0].tolist()


def test_grey_matter_alone(scgm_folder, tmp_path):
    roots = prepare_scgm(scgm_folder, tmp_path / "out", grey_only=True)
    assert ClientRoot.load(roots[0]).labels == {0: "background", 1: "grey matter"}
    assert np.array_equal(labels_of(roots[0])["site1-sc01"], rater_mask(3) == 1)


def test_the_seed_fixes_the_split(scgm_folder, tmp_path):
    splits = [
        (prepare_scgm(scgm_folder, tmp_path / f"{n}", seed=seed, test=0.4)[1] / "dataset.json").read_text()
        for n, seed in enumerate((0, 0, 1, 2, 3))
    ]
    assert splits[0] == splits[1] and len(set(splits)) > 1


def test_names_in_capitals_and_uncompressed_files(tmp_path):
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    save(tmp_path / "in/Site3-SC07-image.nii", image)
    save(tmp_path / "in/Site3-SC07-mask-r2.nii", rater_mask(2))
    roots = prepare_scgm(tmp_path / "in", tmp_path / "out")
    assert [root.name for root in roots] == ["site3"]
    assert np.array_equal(labels_of(roots[0])["site3-sc07"], rater_mask(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": "mean"}, "masks: expected majority, union or the number of a rater, found 'mean'"),
        ({"masks": 7}, r"site1-sc01-image.*expected a mask of rater 7, found those of 1, 2, 3, 4"),
        ({"test": 0.95}, "expected fractions that leave some subjects for training"),
    ],
)
def test_options_of_no_sense_are_refused(scgm_folder, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        prepare_scgm(scgm_folder, tmp_path / "out", **options)


def test_faults_of_files_are_named(scgm_folder, tmp_path):
    mask = scgm_folder / "training-data/site1-sc01-mask-r1.nii.gz"
    save(mask, rater_mask(1)[:-1], AFFINE)
    with pytest.raises(
        InputError, match=r"mask-r1.*expected the grid of its image, \(8, 7, 3\) .*found \(7, 7, 3\)"
    ):
        prepare_scgm(scgm_folder, tmp_path / "out")
    save(mask, rater_mask(1) + 1)
    with pytest.raises(InputError, match=r"mask-r1.*expected the label values 0, 1, 2, found 3"):
        prepare_scgm(scgm_folder, tmp_path / "out")
    (scgm_folder / "training-data/site1-sc01-image.nii.gz").rename(scgm_folder / "image.nii.gz")
    with pytest.raises(InputError, match=r"mask-r1.*its image site1-sc01-image\.nii\.gz is missing"):
        prepare_scgm(scgm_folder, tmp_path / "out")


def test_other_folders_are_refused(scgm_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"expected images like site1-sc01-image\.nii\.gz, found none"):
        prepare_scgm(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        prepare_scgm(tmp_path / "nowhere", tmp_path / "out")
    copy = scgm_folder / "copy/site1-sc01-image.nii.gz"
    save(copy, np.ones(SHAPE, np.float32))
    with pytest.raises(InputError, match="a second file of that name beside"):
        prepare_scgm(scgm_folder, tmp_path / "out")


def test_existing_data_roots_are_kept_unless_forced(scgm_folder, tmp_path):
    prepare_scgm(scgm_folder, tmp_path / "out")
    with pytest.raises(InputError, match=r"site1/dataset\.json: is there already"):
        prepare_scgm(scgm_folder, tmp_path / "out")
    assert len(prepare_scgm(scgm_folder, tmp_path / "out", force=True)) == 4


def test_a_fault_leaves_the_old_data_roots_as_they_were(scgm_folder, tmp_path):
    prepare_scgm(scgm_folder, tmp_path / "out")
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    (scgm_folder / "training-data/site4-sc03-mask-r2.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"site4-sc03-mask-r2\.nii\.gz: expected a NIfTI file"):
        prepare_scgm(scgm_folder, tmp_path / "out", grey_only=True, force=True)
    assert before == {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}


def test_sizes_are_in_the_headers_unit_and_hidden_files_left_alone(scgm_folder, tmp_path):
    (scgm_folder / ".trash").mkdir()
    (scgm_folder / ".trash/site1-sc01-image.nii.gz").touch()
    image = nibabel.Nifti1Image(np.ones(SHAPE, np.float32), np.diag([1e-3] * 3 + [1]) @ AFFINE)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, scgm_folder / "training-data/site1-sc01-image.nii.gz")
    prepare_scgm(scgm_folder, tmp_path / "out")
    written = nibabel.load(tmp_path / "out/site1/images/site1-sc01.nii.gz")
    assert np.allclose(written.affine, AFFINE, atol=1e-4)

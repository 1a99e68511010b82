"""Label maps with other values; ``threshold`` is tested as a command."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from shared_components.data.check import check_client_root
from shared_components.data.label_conversion import Relabelling, relabel_maps
from shared_components.errors import InputError

AFFINE = np.array([[0, 0, 4.0, -7], [-1.5, 0.1, 0, 3], [0, 1.5, 0, 5], [0, 0, 0, 1]])
VALUES = np.array([0, 4, 7], np.int16)


def label_map(path, values=VALUES, dtype=np.int16):
    """A label map of the values with a header of its own; its voxels."""
    voxels = np.random.default_rng(0).choice(values, (6, 5, 4)).astype(dtype)
    image = nibabel.Nifti1Image(voxels, AFFINE)
    image.header["descrip"], image.header["cal_max"] = b"by hand", 7
    image.set_sform(AFFINE, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return voxels


@pytest.mark.parametrize(("name", "dtype"), [("a.nii.gz", np.int16), ("a.nii", np.float32)])
def test_values_become_0_1_2_in_their_order_and_the_header_stays(tmp_path, name, dtype):
    old = label_map(tmp_path / name, dtype=dtype)
    before = (tmp_path / name).read_bytes()
    (file,) = relabel_maps([tmp_path / name], Relabelling((0, 7, 4)), tmp_path / "new")
    made = nibabel.load(file)
    assert file == tmp_path / "new" / name and made.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(made.dataobj, np.select([old == 7, old == 4], [1, 2]))
    np.testing.assert_array_equal(made.affine, nibabel.load(tmp_path / name).affine)
    assert made.header["descrip"] == b"by hand" and made.header["sform_code"] == 2
    assert (tmp_path / name).read_bytes() == before
    with pytest.raises(InputError, match=r": is there already; remove it or name another folder"):
        relabel_maps([tmp_path / name], Relabelling((0, 4, 7)), tmp_path / "new")


def test_label_maps_are_replaced_only_on_request(tmp_path):
    old = label_map(tmp_path / "labels/a_seg.nii")
    assert relabel_maps([tmp_path / "labels"], Relabelling((0, 4, 7))) == [tmp_path / "labels/a_seg.nii"]
    made = nibabel.load(tmp_path / "labels/a_seg.nii")
    np.testing.assert_array_equal(made.dataobj, np.searchsorted(VALUES, old))
    assert [path.name for path in (tmp_path / "labels").iterdir()] == ["a_seg.nii"]


def test_a_label_map_that_is_named_twice_is_written_once(tmp_path, monkeypatch):
    old = label_map(tmp_path / "labels/a.nii.gz", values=np.array([0, 1, 2]))
    monkeypatch.chdir(tmp_path / "labels")
    given = [tmp_path / "labels", "../labels/a.nii.gz"]
    assert len(relabel_maps(given, Relabelling((0, 2, 1)))) == 1
    made = nibabel.load(tmp_path / "labels/a.nii.gz")
    np.testing.assert_array_equal(made.dataobj, np.array([0, 2, 1])[old])


def test_a_value_that_is_not_named_stops_everything(tmp_path):
    label_map(tmp_path / "a.nii.gz")
    label_map(tmp_path / "b.nii.gz", (0, 4, 5, 9))
    with pytest.raises(
        InputError, match=r"b\.nii\.gz: expected no values but 0, 4, 7, found 5, 9; name all that"
    ):
        relabel_maps([tmp_path], Relabelling((0, 4, 7)), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("ignore", [255, -1])
def test_voxels_that_nobody_annotated_stay_so(tmp_path, ignore):
    old = label_map(tmp_path / "a.nii.gz", (0, 4, ignore))
    (file,) = relabel_maps([tmp_path / "a.nii.gz"], Relabelling((0, 4), ignore), tmp_path / "new")
    np.testing.assert_array_equal(nibabel.load(file).dataobj, np.where(old == 4, 1, old))


def test_the_label_maps_of_a_data_root_in_whatever_format(data_root, describe, save_itk, tmp_path):
    root, content = data_root
    voxels = nibabel.load(root / "labels/s1.nii.gz").get_fdata().astype(np.uint8)
    save_itk(root / "labels/s4.nrrd", 255 * voxels)
    label = nibabel.load(root / "labels/s1.nii.gz")
    nibabel.save(nibabel.Nifti1Image(255 * voxels, label.affine), root / "labels/s1.nii.gz")
    content["test"][0]["label"] = "labels/s4.nrrd"
    describe(root, content)
    first, _ = check_client_root(root)
    words = f"{first.file} --values 0,255 --output_dir {root}/labels_relabelled"
    assert str(first).endswith(
        f"(in the repository: python scripts/prepare_data.py relabel {words} makes 0, 1 of 0, 255)"
    )
    with pytest.raises(InputError, match=r"s4\.nrrd: only NIfTI files are replaced; name a folder"):
        relabel_maps([root], Relabelling((0, 255)))
    files = relabel_maps([root], Relabelling((0, 255)), tmp_path / "new")
    assert [str(file.relative_to(tmp_path)) for file in files] == ["new/s1.nii.gz", "new/s4.nii.gz"]
    for file in files:
        np.testing.assert_array_equal(nibabel.load(file).dataobj, voxels)
        np.testing.assert_allclose(nibabel.load(file).affine, label.affine, atol=1e-5)


def test_maps_of_one_name_keep_their_folders(tmp_path):
    for patient in ("p1", "p2"):
        label_map(tmp_path / patient / "seg.nii.gz")
        nibabel.save(nibabel.Nifti1Image(np.zeros((6, 5, 4)), AFFINE), tmp_path / patient / "t2.nii.gz")
    files = relabel_maps([tmp_path], Relabelling((0, 4, 7)), tmp_path / "new")
    assert files == [tmp_path / "new/p1/seg.nii.gz", tmp_path / "new/p2/seg.nii.gz"]


@pytest.mark.parametrize(
    ("values", "ignore", "message"),
    [
        (
            (0,),
            None,
            r"--values: expected the label maps' values in the order of the classes, as 0,4,7, found \(0,\)",
        ),
        ((0, 4, 4), None, "name each once"),
        ((0, "x"), None, "--values: expected"),
        ((0, True), None, "--values: expected"),
        ((0, 4), 4, "--ignore: expected a value of no class, found 4"),
        ((0, 4), 1, "--ignore: expected a value of no class, found 1"),
        (
            (0, 4),
            65535,
            "--ignore: expected a whole number of up to four digits, found 65535; name it last in",
        ),
    ],
)
def test_values_of_no_sense(values, ignore, message):
    with pytest.raises(InputError, match=message):
        Relabelling(values, ignore)


def test_no_label_maps(tmp_path):
    with pytest.raises(InputError, match="name at least one label map"):
        relabel_maps([tmp_path], Relabelling((0, 1)))
    with pytest.raises(InputError, match="expected a volume, found nothing"):
        relabel_maps([tmp_path / "nowhere.nii"], Relabelling((0, 1)))

"""Each fault that a data root can have gives one line with its file and cure."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from shared_components.data.check import check_client_root, inspect_client_root, overview
from shared_components.data.coverage import Frame
from shared_components.data.label_maps import value_faults

SHAPE = (12, 10, 6)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def noise(seed=50, shape=SHAPE):
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


@pytest.fixture
def only_fault(data_root):
    """Check the data root, expect one fault, return its line."""

    def check(**settings) -> str:
        faults = check_client_root(data_root[0], **settings)
        assert len(faults) == 1, faults
        line = str(faults[0])
        assert "\n" not in line
        return line

    return check


def test_a_sound_root_has_no_fault(data_root):
    settings = {"labels": {0: "background", 1: "brain"}, "domains": ["t1", "t2"]}
    assert check_client_root(data_root[0], **settings) == []


def test_the_overview_counts_subjects_and_shows_grids(data_root, save_image):
    save_image(data_root[0] / "images/s2.nii.gz", noise(shape=(14, 10, 6)), np.diag([-1.5, -2.0, 3.0, 1.0]))
    table = overview([inspect_client_root(data_root[0])])
    header, line, row = table.splitlines()
    assert " ".join(header.split()) == "data root domain training validation test voxels (mm) shape axes"
    assert "2 (1 labelled)  1 (0 labelled)  1 (1 labelled)  1.5–2 × 2 × 3" in row
    assert "12–14 × 10 × 6  LPS, RAS" in row
    assert set(line) == {"-", " "}


def test_missing_file(data_root, only_fault):
    (data_root[0] / "images/s3.nii.gz").unlink()
    shutil.copy(data_root[0] / "images/s1.nii.gz", data_root[0] / "images/S3.nii.gz")
    assert only_fault().endswith("north/images/s3.nii.gz: no such file; did you mean 'S3.nii.gz'?")


def test_truncated_gzip(data_root, only_fault):
    path = data_root[0] / "images/s3.nii.gz"
    path.write_bytes(path.read_bytes()[:2000])
    assert "s3.nii.gz: unreadable: it ends too early" in only_fault()


def test_truncated_plain_nifti(data_root, describe, save_image, only_fault):
    root, content = data_root
    path = save_image(root / "images/s3.nii", noise())
    path.write_bytes(path.read_bytes()[:1000])
    describe(root, content | {"validation": [{"image": "images/s3.nii"}]})
    assert "s3.nii: unreadable: it ends too early" in only_fault()


def test_text_named_as_nifti(data_root, only_fault):
    (data_root[0] / "images/s3.nii.gz").write_text("patient refused")
    assert "s3.nii.gz: not an image that can be read" in only_fault()


def test_compressed_text_named_as_nifti(data_root, only_fault):
    (data_root[0] / "images/s3.nii.gz").write_bytes(gzip.compress(b"patient refused" * 100))
    assert "s3.nii.gz: not an image that can be read" in only_fault()


@pytest.mark.parametrize("packed", [True, False])
def test_a_nifti_file_whose_name_tells_wrongly_whether_it_is_packed(
    data_root, describe, save_image, only_fault, packed
):
    root, content = data_root
    right, wrong = ("images/n.nii.gz", "images/n.nii")[:: 1 if packed else -1]
    save_image(root / right, noise())
    (root / right).rename(root / wrong)
    describe(root, content | {"validation": [{"image": wrong}]})
    line = only_fault()
    assert line.endswith(f"unlike its name; rename the file to {Path(right).name}"), line


def test_empty_file(data_root, only_fault):
    (data_root[0] / "images/s3.nii.gz").write_bytes(b"")
    assert "s3.nii.gz: unreadable: the file is empty; copy it again" in only_fault()


def test_a_file_of_another_kind(data_root, describe, only_fault):
    root, content = data_root
    (root / "images/report.pdf").write_text("%PDF-1.4")
    describe(root, content | {"validation": [{"image": "images/report.pdf"}]})
    line = only_fault()
    assert "report.pdf: not an image that can be read" in line
    assert "convert it to NIfTI, NRRD, MetaImage" in line


def test_time_series(data_root, save_image, only_fault):
    path = save_image(data_root[0] / "images/s3.nii.gz", noise(shape=(*SHAPE, 7)))
    line = only_fault()
    assert "s3.nii.gz: 4-D: 7 volumes (or channels) of 12×10×6 voxels, expected one 3-D volume" in line
    assert "; save each volume as a file of its own and name the files you want (in the repository: " in line
    assert line.endswith(f"python scripts/prepare_data.py split {path})")


def test_five_dimensions(data_root, save_image, only_fault):
    save_image(data_root[0] / "images/s3.nii.gz", noise(shape=(*SHAPE, 2, 3)))
    assert "s3.nii.gz: 5-D" in only_fault()


def test_colour_picture(data_root, describe, only_fault):
    root, content = data_root
    reds = np.zeros((8, 8, 3), np.uint8)
    reds[2:5, 3, 0] = 1
    Image.fromarray(reds).save(root / "images/photo.png")
    describe(root, content | {"validation": [{"image": "images/photo.png"}]})
    assert "photo.png: a picture with 3 colour channels, expected grey levels; save it as" in only_fault()


def test_one_slice_and_trailing_axis_are_fine(data_root, save_image):
    save_image(data_root[0] / "images/s2.nii.gz", noise(shape=(12, 10)))
    save_image(data_root[0] / "images/s3.nii.gz", noise(shape=(*SHAPE, 1)))
    assert check_client_root(data_root[0]) == []


BEYOND = r"infinite or beyond ±1e+30, like a fill value"


@pytest.mark.parametrize(
    ("bad", "told"), [(np.nan, "NaN"), (np.inf, BEYOND), (np.finfo(np.float32).min, BEYOND), (1e300, BEYOND)]
)
def test_voxels_that_are_no_grey_values(data_root, save_image, only_fault, bad, told):
    image = noise().astype(np.float64)
    image[2:4, 0, 0] = bad
    save_image(data_root[0] / "images/s3.nii.gz", image)
    assert f"s3.nii.gz: 2 of 720 voxels are {told}; replace them" in only_fault()


def test_constant_image(data_root, save_image, only_fault):
    save_image(data_root[0] / "images/s3.nii.gz", np.full(SHAPE, 4, np.float32))
    assert "s3.nii.gz: constant: every voxel is 4" in only_fault()


def test_an_image_that_is_constant_within_nan_is_constant(data_root, save_image, only_fault):
    image = np.full(SHAPE, np.nan, np.float32)
    image[3:6, 3:6, 2:3] = 4
    save_image(data_root[0] / "images/s3.nii.gz", image)
    assert "s3.nii.gz: constant: every voxel is 4 or NaN; export" in only_fault()


def test_label_values_outside_labels(data_root, save_image, only_fault):
    save_image(data_root[0] / "labels/s1.nii.gz", np.arange(720, dtype=np.uint8).reshape(SHAPE) % 4)
    assert "labels/s1.nii.gz: label values 2, 3 are outside 'labels' (0, 1); save it with" in only_fault()


def test_label_of_fractions(data_root, save_image, only_fault):
    save_image(data_root[0] / "labels/s1.nii.gz", np.linspace(0, 1, 720, dtype=np.float32).reshape(SHAPE))
    assert "labels/s1.nii.gz: label values that are no whole numbers (0.00139" in only_fault()


def test_a_probability_map_is_named_as_one_with_the_command(data_root, save_image, only_fault):
    path = save_image(
        data_root[0] / "labels/s1.nii.gz", np.linspace(0, 1, 720, dtype=np.float32).reshape(SHAPE)
    )
    line = only_fault()
    assert (
        "all from 0 to 1: a probability map; make a label map of it (in the repository: python scripts/"
        in line
    )
    assert f"prepare_data.py threshold {path} --output_dir {path.parent}_thresholded)" in line


def test_labels_within_rounding_are_whole(data_root, save_image):
    label = np.zeros(SHAPE, np.float32)
    label[3:8, 2:7, 1:4] = 0.9999999
    save_image(data_root[0] / "labels/s1.nii.gz", label)
    assert check_client_root(data_root[0]) == []


def test_a_label_map_scaled_to_almost_nothing_is_no_background(data_root, save_image, only_fault):
    label = np.zeros(SHAPE, np.float32)
    label[3:8, 2:7, 1:4] = 1 / 32767
    save_image(data_root[0] / "labels/s1.nii.gz", label)
    assert "no whole numbers (3.05185e-05), all from 0 to 1" in only_fault()


def test_a_root_whose_label_maps_are_all_empty(data_root, save_image, only_fault):
    for name in ("s1", "s4"):
        save_image(data_root[0] / f"labels/{name}.nii.gz", np.zeros(SHAPE, np.uint8))
    assert (
        "dataset.json: none of the 2 label maps has any foreground: all voxels are 0; export" in only_fault()
    )


def test_a_root_whose_label_maps_to_train_on_are_all_empty(data_root, describe, save_image, only_fault):
    root, content = data_root
    save_image(root / "labels/s1.nii.gz", np.zeros(SHAPE, np.uint8))
    labelled = [item for item in content["training"] if "label" in item]
    assert len(labelled) == 1, labelled
    line = only_fault()
    assert "none of the label maps of 'training' (1) has any foreground: all voxels are 0; export" in line
    assert line.endswith("or name those that have some in 'training'")


def test_a_relabelling_is_proposed_where_it_gives_the_classes():
    voxels = torch.tensor([0.0, 2.0, 255.0])
    (fault,) = value_faults("l/a.nii", voxels, {0, 1}, ignore=255)
    assert "outside 'labels' (0, 1, 255)" in str(fault)
    assert "relabel l/a.nii --values 0,2 --ignore 255 --output_dir" in str(
        fault
    ) and "makes 0, 1 of 0, 2)" in str(fault)
    assert list(value_faults("l", voxels, {0, 2}, ignore=255)) == []
    (fault,) = value_faults("l", torch.tensor([0.0, 1.0]), {0, 2})  # classes with a gap
    assert "relabel" not in str(fault)


def test_an_empty_label_map_among_others_is_fine_and_an_absent_class_is_noted(
    data_root, describe, save_image
):
    root, content = data_root
    save_image(root / "labels/s4.nii.gz", np.zeros(SHAPE, np.uint8))
    describe(root, content | {"labels": {"0": "background", "1": "brain", "2": "csf"}})
    report = inspect_client_root(root)
    assert report.faults == []
    empty, note = map(str, report.notes)
    assert "1 label map of 'test' without any foreground (s4.nii.gz, …); right where there is none" in empty
    assert (
        "dataset.json: no label map has a voxel of the class 2 csf; here it is learnt to be nowhere" in note
    )


def test_labels_outside_what_networks_see_are_noted(data_root):
    """The box reaches 5 mm to either side of the middle along the first axis, 7 mm along the second."""
    report = inspect_client_root(data_root[0], frame=Frame(8, 1.0))
    assert not report.faults
    (note,) = [str(note) for note in report.notes if "label map" in str(note)]
    assert "2 label maps with up to " in note and "outside image_size 8 px × spacing 1 mm = 8 mm" in note
    assert note.endswith("no training sees it: take a larger spacing or image_size")
    assert not inspect_client_root(data_root[0], frame=Frame(8, 2.0)).notes


def test_nan_around_the_body_is_noted_once_and_infinite_voxels_are_refused(data_root, save_image):
    for name in ("s2", "s3"):
        image = np.full((16, 14, 8), np.nan, np.float32)
        image[2:14, 2:12, 1:7] = noise(len(name), (12, 10, 6)) + int(name[1])
        save_image(data_root[0] / f"images/{name}.nii.gz", image)
    report = inspect_client_root(data_root[0])
    assert report.faults == []
    assert [
        "2 images with NaN around the body (s2.nii.gz, …); it counts as air" in str(n) for n in report.notes
    ] == [True]
    image[8, 8, 4] = np.inf
    save_image(data_root[0] / "images/s3.nii.gz", image)
    (fault,) = check_client_root(data_root[0])
    assert f"1 of 1792 voxels are {BEYOND}" in str(fault)


def test_a_file_that_holds_no_volume_and_a_single_slice_across_the_slices(data_root, describe, save_image):
    root, content = data_root
    brain = nibabel.cifti2.BrainModelAxis.from_mask(
        np.ones((3, 3, 3), bool), affine=np.eye(4), name="thalamus_left"
    )
    axes = (nibabel.cifti2.ScalarAxis(["a", "b"]), brain)
    nibabel.save(
        nibabel.cifti2.Cifti2Image(np.ones((2, 27), np.float32), axes), root / "images/x.dscalar.nii"
    )
    save_image(root / "images/s3.nii.gz", noise(shape=(1, 10, 6)))
    describe(
        root, content | {"validation": [{"image": "images/x.dscalar.nii"}, {"image": "images/s3.nii.gz"}]}
    )
    lines = [str(fault) for fault in check_client_root(root)]
    assert "x.dscalar.nii: a Cifti2 file, which holds no volume; name" in lines[0]
    assert "s3.nii.gz: its slices would be 1×10 voxels; set `orientation`" in lines[1]
    assert len(lines) == 2
    assert len(check_client_root(root, orientation="ASR")) == 1


@pytest.mark.parametrize(("unit", "length"), [("meter", 1e-3), ("micron", 1e3)])
def test_the_overview_shows_millimetres_whatever_the_unit(data_root, unit, length):
    for path in [*(data_root[0] / "images").iterdir(), *(data_root[0] / "labels").iterdir()]:
        image = nibabel.load(path)
        stored = nibabel.Nifti1Image(np.asarray(image.dataobj), np.diag([length] * 3 + [1]) @ image.affine)
        stored.header.set_xyzt_units(unit)
        nibabel.save(stored, path)
    report = inspect_client_root(data_root[0])
    assert report.faults == []
    for _, grid in report.images:
        np.testing.assert_allclose(grid.spacing, (2, 2, 3), rtol=1e-5)


def test_label_with_nan(data_root, save_image, only_fault):
    label = np.zeros(SHAPE, np.float32)
    label[0, 0, 0] = np.nan
    save_image(data_root[0] / "labels/s1.nii.gz", label)
    assert "labels/s1.nii.gz: 1 voxels of the label are NaN or infinite" in only_fault()


def test_label_of_another_shape(data_root, save_image, only_fault):
    save_image(data_root[0] / "labels/s1.nii.gz", np.zeros((12, 10, 5), np.uint8))
    line = only_fault()
    assert "labels/s1.nii.gz: has 12×10×5 voxels, its image 12×10×6; resample the label" in line


def test_label_of_another_affine(data_root, save_image, only_fault):
    save_image(data_root[0] / "labels/s1.nii.gz", np.zeros(SHAPE, np.uint8), np.diag([-2.0, -2.0, 3.0, 1.0]))
    line = only_fault()
    assert "labels/s1.nii.gz: another affine than its image's: corners lie up to" in line
    assert "resample the label" in line


def test_a_label_whose_affine_differs_by_rounding_is_fine(data_root, save_image):
    affine = AFFINE.copy()
    affine[:3, 3] += 1e-3
    save_image(data_root[0] / "labels/s1.nii.gz", np.ones(SHAPE, np.uint8), affine)
    assert check_client_root(data_root[0]) == []


def test_missing_label(data_root, only_fault):
    (data_root[0] / "labels/s1.nii.gz").unlink()
    assert "labels/s1.nii.gz: no such file; put it there or take the entry out" in only_fault()


def damage_header(path: Path, value: float) -> None:
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<4f", raw, 280, value, 0, 0, 0)  # srow_x
    path.write_bytes(gzip.compress(raw))


def test_voxels_of_zero_size(data_root, only_fault):
    damage_header(data_root[0] / "images/s3.nii.gz", 0.0)
    assert "s3.nii.gz: its affine has a voxel of zero size or flat axes (0×2×3 mm)" in only_fault()


def test_affine_with_nan(data_root, only_fault):
    damage_header(data_root[0] / "images/s3.nii.gz", np.nan)
    assert "s3.nii.gz: its affine has NaN or infinite values; correct the header" in only_fault()


def test_a_header_that_contradicts_itself(data_root, only_fault):
    damage_header(data_root[0] / "images/s3.nii.gz", 2.5)
    assert (
        "s3.nii.gz: its header contradicts itself: 2.5×2×3 mm voxels by its affine, 2×2×3 mm" in only_fault()
    )


def test_images_that_are_placed_in_two_ways_or_in_none_are_noted(data_root):
    root = data_root[0]
    assert inspect_client_root(root).notes == []
    twice, never = (nibabel.load(root / f"images/s{number}.nii.gz") for number in (1, 3))
    shifted = twice.affine.copy()
    shifted[0, 3] += 6.0
    twice.set_sform(twice.affine, 1)
    twice.set_qform(shifted, 1)
    never.set_sform(None, 0)
    never.set_qform(None, 0)
    for image in (twice, never):
        path = image.get_filename()
        nibabel.save(nibabel.Nifti1Image(image.get_fdata().astype(np.float32), None, image.header), path)
    apart, nowhere = (str(note) for note in inspect_client_root(root).notes)
    edge = min(np.linalg.norm(twice.affine[:3, :3], axis=0))
    assert (
        f"1 image placed in two ways by the header (s1.nii.gz: sform and qform up to {6 / edge:.3g} voxels"
        in apart
    )
    assert "1 image that no header places (s3.nii.gz: neither sform nor qform); which side is left" in nowhere


def test_a_qform_that_is_none_is_passed_over_where_the_sform_counts(data_root):
    path = data_root[0] / "images/s1.nii.gz"
    image = nibabel.load(path)
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    for name in ("quatern_b", "quatern_c", "quatern_d"):
        image.header[name] = 1.0
    nibabel.save(nibabel.Nifti1Image(image.get_fdata().astype(np.float32), None, image.header), path)
    report = inspect_client_root(data_root[0])
    assert report.faults == [] and report.notes == []


PSR = np.array([[0, 0, 4.0, 0], [-1.5, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 0, 1]])  # sagittal


def test_thick_slices_across_another_axis_are_noted_once_with_the_orientation_that_reads_them(
    data_root, save_image
):
    root = data_root[0]
    for number in (2, 3):
        save_image(root / f"images/s{number}.nii.gz", noise(number, (44, 40, 14)), PSR)
    (note,) = inspect_client_root(root, orientation="LAS").notes
    assert str(note) == (
        f"{root}/dataset.json: 2 images of slices 4 mm thick from left to right (s2.nii.gz: 1.5 × 1.5 mm within them), "
        "which orientation LAS cuts into slices with pixels that long; overrides: {orientation: ASR} reads their own "
        "slices, for all clients alike; sizes for it are proposed by check --orientation ASR"
    )
    for orientation in ("ASR", "SPL", None):
        assert inspect_client_root(root, orientation=orientation).notes == []


def test_one_image_of_other_slices_does_not_turn_the_rest(data_root, save_image):
    save_image(data_root[0] / "images/s3.nii.gz", noise(3, (44, 40, 14)), PSR)
    (note,) = inspect_client_root(data_root[0], orientation="LAS").notes
    assert "1 image of slices 4 mm thick" in str(note)
    assert str(note).endswith(
        "leave them out, or make a client of its own of them: most images here have other slices"
    )


@pytest.mark.parametrize("edges", [(3.0, 1.6, 1.0), (3.0, 3.0, 1.0), (1.0, 1.0, 4.0)])
def test_volumes_of_no_thick_slices_or_of_the_usual_ones_are_not_noted(data_root, save_image, edges):
    save_image(data_root[0] / "images/s3.nii.gz", noise(), np.diag([*edges, 1.0]))
    assert inspect_client_root(data_root[0]).notes == []


def test_images_that_look_like_label_maps_are_noted(data_root, save_image):
    save_image(
        data_root[0] / "images/s3.nii.gz", (np.arange(np.prod(SHAPE)) % 3).reshape(SHAPE).astype(np.float32)
    )
    (note,) = inspect_client_root(data_root[0]).notes
    assert (
        "1 image with no more than 32 different whole numbers, as label maps have (s3.nii.gz, …); if they"
        in str(note)
    )


def test_empty_training(data_root, describe, only_fault):
    root, content = data_root
    describe(root, content | {"training": []})
    assert "dataset.json: 'training' is empty; add images" in (fault := only_fault())
    assert "unseen:" in fault
    assert check_client_root(root, training=False) == []


def test_same_file_in_two_splits(data_root, describe, only_fault):
    root, content = data_root
    describe(root, content | {"validation": [{"image": "images/s2.nii.gz"}]})
    line = only_fault()
    assert "images/s2.nii.gz: the same file is in training and validation; keep it in one split" in line


def test_same_file_spelt_differently(data_root, describe, only_fault):
    root, content = data_root
    describe(root, content | {"validation": [{"image": "labels/../images/./s2.nii.gz"}]})
    assert "the same file is in training and validation (as " in only_fault()


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_same_file_as_a_link(data_root, describe, link):
    root, content = data_root
    link(root / "images/s2.nii.gz", root / "images/other.nii.gz")
    describe(root, content | {"validation": [{"image": "images/other.nii.gz"}]})
    lines = [str(fault) for fault in check_client_root(root)]
    assert len(lines) == 1
    assert "the same file is in training and validation (as " in lines[0]


def test_same_file_twice_in_a_split(data_root, describe, only_fault):
    root, content = data_root
    describe(root, content | {"validation": [{"image": "images/s3.nii.gz"}] * 2})
    assert "images/s3.nii.gz: is named 2 times in validation; keep one" in only_fault()


def test_image_used_as_label(data_root, describe):
    root, content = data_root
    describe(root, content | {"training": [{"image": "images/s1.nii.gz", "label": "images/s1.nii.gz"}]})
    assert "is used as an image and as a label" in str(check_client_root(root)[0])


def test_a_copy_of_an_image_under_another_name(data_root, only_fault):
    root, _ = data_root
    shutil.copy(root / "images/s2.nii.gz", root / "images/s3.nii.gz")
    assert "(training) has the same voxels as" in only_fault()


def test_two_subjects_of_one_name(data_root, describe, save_image, only_fault):
    root, content = data_root
    save_image(root / "second/s2.nii.gz", noise())
    describe(root, content | {"validation": [{"image": "second/s2.nii.gz"}]})
    line = only_fault()
    assert "the subject name 's2' (training) is also that of" in line
    assert "second/s2.nii.gz (validation); give each subject a name of its own: rename the files" in line


def test_path_that_leaves_by_dots(data_root, describe, save_image, tmp_path, only_fault):
    root, content = data_root
    save_image(tmp_path / "outside.nii.gz", noise())
    describe(root, content | {"validation": [{"image": "../outside.nii.gz"}]})
    assert "../outside.nii.gz: leaves the root by '..'; move or copy the file into" in only_fault()


def test_absolute_path(data_root, describe, save_image, tmp_path, only_fault):
    root, content = data_root
    path = save_image(tmp_path / "outside.nii.gz", noise())
    describe(root, content | {"validation": [{"image": str(path)}]})
    assert "outside.nii.gz: an absolute path leaves the root; write it relative to" in only_fault()


def test_path_that_leaves_through_a_link(data_root, save_image, tmp_path, only_fault):
    path = save_image(tmp_path / "outside.nii.gz", noise())
    (data_root[0] / "images/s3.nii.gz").unlink()
    (data_root[0] / "images/s3.nii.gz").symlink_to(path)
    assert "s3.nii.gz: leaves the root through a link" in only_fault()


def test_a_link_that_leads_nowhere(data_root, only_fault):
    (data_root[0] / "images/s3.nii.gz").unlink()
    (data_root[0] / "images/s3.nii.gz").symlink_to("gone.nii.gz")
    assert "s3.nii.gz: is a link that leads nowhere or round in a circle; mend the link" in only_fault()


def test_a_root_that_is_itself_a_link_is_fine(data_root, tmp_path):
    (tmp_path / "link").symlink_to(data_root[0])
    assert check_client_root(tmp_path / "link") == []


def test_backslashes(data_root, describe, only_fault):
    root, content = data_root
    describe(root, content | {"validation": [{"image": "images\\s3.nii.gz"}]})
    assert "write the path with '/' instead of '\\'" in only_fault()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainig": []}, "unknown key 'trainig'; did you mean 'training'?"),
        ({"colour": 1}, "unknown key 'colour'; remove it; known are name, domain, labels"),
        (
            {"validation": [{"image": "images/s3.nii.gz", "lable": "x"}]},
            "validation[0]: unknown key 'lable'; did",
        ),
        (
            {"validation": ["images/s3.nii.gz"]},
            "expected an object, found 'images/s3.nii.gz'; write {\"image\": ",
        ),
        ({"validation": [{"label": "labels/s1.nii.gz"}]}, "validation[0]: has no 'image'"),
        (
            {"validation": [{"image": "images/s3.nii.gz", "label": None}]},
            "'label' expected a path, found None; leave the key out",
        ),
        ({"validation": [{"image": " "}]}, "validation[0]: 'image' expected a path"),
        ({"validation": {"image": "images/s3.nii.gz"}}, "'validation': expected a list; write it as"),
        ({"domain": ""}, "'domain': expected a name, found ''"),
        ({"name": 3}, "'name': expected a name, found 3"),
        ({"modality": "MRI"}, "'modality': expected channel numbers to names"),
        ({"labels": {"background": 0, "brain": 1}}, "'labels': expected label values to class names"),
        ({"labels": {"background": "0"}}, "'labels': expected whole numbers as keys, found 'background'"),
        ({"labels": ["background", "brain"]}, "'labels': expected label values to class names"),
        (
            {"labels": {"0": "background", "1": "brain", "3": "csf"}},
            "expected the values 0 to 2, found 0, 1, 3",
        ),
        ({"labels": {"0": "brain", "1": "brain"}}, "two values have the same class name"),
    ],
)
def test_faulty_structure(data_root, describe, only_fault, change, message):
    describe(data_root[0], data_root[1] | change)
    line = only_fault()
    assert message in line
    assert line.startswith(str(data_root[0] / "dataset.json"))


@pytest.mark.parametrize("key", ["name", "domain", "labels", "training"])
def test_missing_key(data_root, describe, only_fault, key):
    root, content = data_root
    describe(root, {name: value for name, value in content.items() if name != key})
    assert f"dataset.json: has no '{key}'; add it" in only_fault()


def test_nnunets_description_is_one_fault(data_root, describe, only_fault):
    describe(
        data_root[0], {"channel_names": {"0": "T2"}, "labels": {"background": 0}, "file_ending": ".nii.gz"}
    )
    line = only_fault()
    assert "dataset.json: is nnU-Net's: it has neither 'domain' nor 'training'; keep" in line
    assert line.endswith("--domain NAME --force)")


def test_decathlon_keys_are_known(data_root, describe):
    root, content = data_root
    describe(root, content | {"tensorImageSize": "3D", "numTraining": 2, "licence": "CC-BY-SA 4.0"})
    assert check_client_root(root) == []


def test_bad_json(data_root, only_fault):
    (data_root[0] / "dataset.json").write_text('{"name": "north",\n "domain": }')
    assert "dataset.json: not valid JSON: Expecting value at line 2, column 12; mend" in only_fault()


def test_a_key_twice(data_root, only_fault):
    (data_root[0] / "dataset.json").write_text('{"training": [], "training": []}')
    assert "has the key 'training' twice in one place" in only_fault()


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"[]", "expected an object {…}, found list"), ("{'é'}".encode("latin-1"), "not UTF-8 text")],
)
def test_other_text(data_root, only_fault, text, message):
    (data_root[0] / "dataset.json").write_bytes(text)
    assert message in only_fault()


def test_a_byte_order_mark_is_fine(data_root):
    file = data_root[0] / "dataset.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert check_client_root(data_root[0]) == []


def test_missing_description_and_folder(data_root, describe, only_fault, tmp_path):
    (data_root[0] / "dataset.json").unlink()
    line = only_fault()
    assert 'dataset.json: no such file; write it, such as {"name": "north", "domain": ' in line
    assert line.endswith("--domain NAME)")
    describe(data_root[0], json.loads(line[line.index("{") : line.rindex("}") + 1]))
    assert check_client_root(data_root[0]) == []  # the example is what a root needs
    assert "nowhere: no such folder" in str(check_client_root(tmp_path / "nowhere")[0])


def test_domain_that_the_federation_does_not_expect(only_fault):
    assert "'domain' is 't2', the federation expects 't1' or 'pet'; correct" in only_fault(
        domains=["t1", "pet"]
    )
    assert "'domain' is 't2', the federation expects 't2-like'" in only_fault(domains="t2-like")


def test_labels_other_than_the_federations(only_fault):
    line = only_fault(labels={0: "background", 1: "head"})
    assert "'labels' are 0: background, 1: brain, the federation's are 0: background, 1: head" in line


def test_every_fault_is_in_one_list(data_root, describe, save_image):
    root, content = data_root
    save_image(root / "images/s1.nii.gz", np.full(SHAPE, 4, np.float32))
    save_image(root / "labels/s1.nii.gz", np.full(SHAPE, 9, np.uint8), np.diag([4.0, 2.0, 3.0, 1.0]))
    (root / "images/s3.nii.gz").unlink()
    (root / "images/s4.nii.gz").write_text("no image")
    save_image(root / "labels/s4.nii.gz", np.full(SHAPE, 7, np.uint8))
    describe(root, content | {"owner": "radiology"})
    lines = "\n".join(str(fault) for fault in check_client_root(root, domains=["t1"]))
    for fault in (
        "unknown key 'owner'",
        "'domain' is 't2'",
        "s1.nii.gz: constant",
        "label values 9 are outside",
        "another affine",
        "s3.nii.gz: no such file",
        "s4.nii.gz: not an image",
        "label values 7 are outside",
    ):
        assert fault in lines
    assert len(lines.splitlines()) == 8


def test_dicom_series(data_root, describe, save_dicom):
    root, content = data_root
    save_dicom(root / "images/s3", noise(), AFFINE)
    describe(root, content | {"validation": [{"image": "images/s3"}]})
    assert check_client_root(root) == []


def test_two_dicom_series_in_a_folder(data_root, describe, save_dicom, only_fault):
    root, content = data_root
    save_dicom(root / "images/s3", noise(), AFFINE)
    save_dicom(root / "images/s3", noise(51), AFFINE, "1.2.3.5")
    describe(root, content | {"validation": [{"image": "images/s3"}]})
    assert "images/s3: expected one DICOM series, found 2" in only_fault()


def test_folder_without_dicom(data_root, describe, only_fault):
    root, content = data_root
    describe(root, content | {"validation": [{"image": "labels"}]})
    assert "labels: a folder without a readable DICOM series" in only_fault()

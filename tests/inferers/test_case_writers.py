from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from shared_components.data.image_loader import LoadVolume
from shared_components.errors import InputError
from shared_components.inferers import WriteProbabilitiesd, WriteSegmentationd, write_segmentation
from shared_components.inferers.case_writers import CaseWriter, write_probabilities
from tests.inferers.nifti_headers import assert_same_grid

LABELS = np.arange(24).reshape(2, 3, 4) % 3
AFFINE = np.array([[-1.1, 0.2, 0, 10], [0.3, 2, 0.1, -5], [0, 0.4, 3, 7], [0, 0, 0, 1]])


def image(path, *, kind=nib.Nifti1Image, shape=(2, 3, 4), sform=2, qform=1, dtype=np.int16):
    made = kind(np.ones(shape, dtype), AFFINE)
    made.set_sform(AFFINE if sform else None, code=sform)
    made.set_qform(nib.Nifti1Image(np.ones((1, 1, 1)), AFFINE).get_qform(), code=qform)
    made.header.set_xyzt_units("micron", "msec")
    made.header.set_slope_inter(0.5, 3)
    made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"about the image"))
    nib.save(made, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("sform", "qform"), [(2, 1), (0, 1), (1, 0), (4, 4)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_the_geometry_fields_are_those_of_the_image(tmp_path, suffix, sform, qform, kind):
    source = nib.load(image(tmp_path / f"image{suffix}", kind=kind, sform=sform, qform=qform))
    written = nib.load(
        write_segmentation(tmp_path / "image_seg.nii.gz", LABELS, tmp_path / f"image{suffix}", np.eye(4))
    )
    assert np.array_equal(written.affine, source.affine)
    for field in (
        "dim", "pixdim", "sform_code", "qform_code", "srow_x", "srow_y", "srow_z",
        "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "xyzt_units",
    ):  # fmt: skip
        assert np.array_equal(written.header[field], source.header[field]), field
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(written.get_fdata(), LABELS)
    assert not written.header.extensions


def test_singleton_axes_of_the_image_are_kept(tmp_path):
    image(tmp_path / "image.nii", shape=(2, 3, 4, 1))
    written = nib.load(write_segmentation(tmp_path / "s.nii.gz", LABELS, tmp_path / "image.nii", np.eye(4)))
    assert written.shape == (2, 3, 4, 1)


def test_other_formats_get_the_world_affine(tmp_path):
    written = nib.load(write_segmentation(tmp_path / "s.nii.gz", LABELS, tmp_path / "image.nrrd", AFFINE))
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-6)
    assert written.header.get_xyzt_units()[0] == "mm"
    assert written.header["sform_code"] == 1


def test_labels_beyond_255_and_equal_bytes_for_equal_labels(tmp_path):
    image(tmp_path / "image.nii")
    paths = [
        write_segmentation(tmp_path / name, LABELS * 200, tmp_path / "image.nii", AFFINE)
        for name in ("a.nii.gz", "b.nii.gz")
    ]
    assert nib.load(paths[0]).get_data_dtype() == np.uint16
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert nib.load(paths[0]).get_fdata().max() == 400


def test_another_shape_is_refused_and_nothing_is_written(tmp_path):
    image(tmp_path / "image.nii")
    with pytest.raises(
        InputError, match=r"image\.nii: expected labels of shape \(2, 3, 4\), found \(4, 3, 2\)"
    ):
        write_segmentation(tmp_path / "s.nii.gz", LABELS.T, tmp_path / "image.nii", AFFINE)
    assert [path.name for path in tmp_path.iterdir()] == ["image.nii"]


def test_the_transform_names_files_by_case_and_stays_in_its_folder(tmp_path):
    meta = {"filename_or_obj": str(image(tmp_path / "image.nii")), "original_affine": AFFINE}
    data = {
        "image": MetaTensor(torch.zeros(1, 2, 3, 4), meta=meta),
        "pred": torch.from_numpy(LABELS)[None],
        "case": "s1",
    }
    writer = WriteSegmentationd(tmp_path / "out")
    writer(data)
    assert np.array_equal(nib.load(tmp_path / "out" / "s1_seg.nii.gz").get_fdata(), LABELS)
    with pytest.raises(InputError, match="leaves"):
        writer(data | {"case": "../s1"})


@pytest.mark.parametrize("shape", [(2, 3, 4, 3), (6, 4, 1, 3), (2, 3, 4, 3, 1)])
def test_frames_become_one_file_with_the_geometry_and_the_time_step_of_the_series(tmp_path, shape):
    path = tmp_path / "cine.nii.gz"
    made = nib.Nifti1Image(np.ones(shape, np.int16), AFFINE)
    made.header.set_zooms((*made.header.get_zooms()[:3], 33.5, *[1.0] * (len(shape) - 4)))
    made.header.set_xyzt_units("mm", "msec")
    made.set_sform(AFFINE, code=4)
    made.set_qform(AFFINE, code=1)
    nib.save(made, path)
    image = MetaTensor(
        torch.zeros(1, *shape[:3]), meta={"filename_or_obj": str(path), "original_affine": AFFINE}
    )
    labels = np.random.default_rng(0).integers(0, 4, shape)
    writer = WriteSegmentationd(tmp_path / "out")
    for t in (1, 0, 2):  # in any order
        assert not (tmp_path / "out").exists()
        frame = torch.from_numpy(labels.reshape(*shape[:3], 3)[..., t])[None]
        writer({"image": image, "pred": frame, "case": "cine", "frame": torch.tensor(t), "frames": 3})
    source, written = nib.load(path), nib.load(tmp_path / "out" / "cine_seg.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(written.get_fdata(), labels)
    assert np.array_equal(written.affine, source.affine)
    assert_same_grid(written.header, source.header)


SECRETS = {
    "data_type": b"WHO", "db_name": b"DOE^JANE", "aux_file": b"doe.txt", "descrip": b"born 1950", "intent_name": b"doe",
}  # fmt: skip


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair, nib.AnalyzeImage])
def test_no_text_of_the_image_is_copied(tmp_path, kind):
    path = tmp_path / ("image.nii" if kind in (nib.Nifti1Image, nib.Nifti2Image) else "image.hdr")
    made = kind(np.ones((2, 3, 4), np.int16), np.diag([-2.0, 2, 3, 1]))
    fields = [name for name in SECRETS if name in made.header.keys()]  # noqa: SIM118
    for name in fields:
        made.header[name] = SECRETS[name]
    if kind is not nib.AnalyzeImage:
        made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nib.save(made, path)
    assert nib.load(path).header["descrip"] == b"born 1950"
    write_segmentation(tmp_path / "s.nii.gz", LABELS, path, made.affine)
    planes = [np.ones((2, 3, 4), np.float32)] * 2
    write_probabilities(tmp_path / "p.nii.gz", planes, 2, path, made.affine)
    for name in ("s.nii.gz", "p.nii.gz"):
        content = gzip.decompress((tmp_path / name).read_bytes()).lower()
        assert not any(text in content for text in (b"doe", b"1950", b"who"))
        np.testing.assert_allclose(nib.load(tmp_path / name).affine, nib.load(path).affine)


@pytest.mark.parametrize(
    ("kind", "affine"),
    [(nib.AnalyzeImage, np.diag([-2.0, 2, 3, 1])), (nib.Spm99AnalyzeImage, AFFINE)],
    ids=["plain", "with a .mat"],
)
def test_an_analyze_image_and_its_outputs_lie_in_one_place(tmp_path, kind, affine):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.save(kind(voxels, affine), tmp_path / "image.hdr")
    read = LoadVolume()(tmp_path / "image.hdr")
    written = nib.load(write_segmentation(tmp_path / "s.nii.gz", LABELS, tmp_path / "image.hdr", np.eye(4)))
    planes = [np.ones((2, 3, 4), np.float32)] * 2
    write_probabilities(tmp_path / "p.nii.gz", planes, 2, tmp_path / "image.hdr", np.eye(4))
    for image in (written, nib.load(tmp_path / "p.nii.gz")):
        np.testing.assert_allclose(image.affine, read.affine, atol=1e-6)
        assert nib.aff2axcodes(image.affine) == ("L", "A", "S")


class Recorder(CaseWriter):
    def write(self, case):
        self.written = [*getattr(self, "written", []), case[self.case_key]]


def test_cases_are_written_and_all_is_passed_on(tmp_path):
    recorder = Recorder(tmp_path, keys="scores")
    items = [{"case": "a", "scores": 1}, {"scores": 2}, {"case": "b", "scores": 3}]
    assert [recorder(item) for item in items] == items
    assert recorder.written == ["a", "b"]


@pytest.mark.parametrize("batched", [False, True])
def test_the_source_is_the_file_and_its_affine(tmp_path, batched):
    affine = np.diag([2.0, 3, 4, 1])
    meta = {"filename_or_obj": "x.nii", "original_affine": affine[None] if batched else affine}
    file, found = Recorder(tmp_path).source({"image": MetaTensor(torch.zeros(1, 2, 2, 2), meta=meta)})
    assert file == "x.nii"
    assert np.array_equal(found, affine)


@pytest.mark.parametrize("writer", [WriteSegmentationd, WriteProbabilitiesd])
def test_items_that_are_no_case_leave_no_file(tmp_path, writer):
    item = {"image": "anything", "pred": torch.zeros(1, 2, 3, 4)}
    assert writer(tmp_path / "out")(item) == item
    assert not (tmp_path / "out").exists()

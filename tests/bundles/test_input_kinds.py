"""Every kind of file that a stranger may have, through the bundle's inference: grid, affine, type, codes, labels.

Without resampling, and with a network that gives each pixel the class of the nearest of three intensities, the labels
that must come out are known voxel by voxel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from PIL import Image
from scipy.spatial.transform import Rotation

from tests.bundles.tiny import save_by_itk
from tests.inferers.known_network import inference, save_network

SHAPE = (20, 18, 7)
FIELDS = (
    "dim", "pixdim", "sform_code", "qform_code", "xyzt_units", "srow_x", "srow_y", "srow_z", "quatern_b",
    "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
)  # fmt: skip


def oblique(voxel=(1.5, 1.5, 4.0), angles=(0.0, 0.0, 0.0), codes: str = "RAS", shape=SHAPE) -> np.ndarray:
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = (-17.25, 30.5, 4)
    affine = affine @ inv_ornt_aff(ornt_transform(io_orientation(affine), axcodes2ornt(codes)), shape[:3])
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return turn @ affine


def labels_of(shape: tuple[int, ...]) -> np.ndarray:
    """Two boxes, no two axes or directions alike; of a time series they wander."""
    labels = np.zeros(shape, np.uint8)
    height, width, *rest = shape
    for frame in np.ndindex(*shape[3:]):
        shift = frame[0] if frame else 0
        at = (slice(height // 5, -3), slice(2 + shift, 2 + shift + width // 2))
        inner = (slice(height // 2, -4), slice(3 + shift, 3 + shift + width // 4))
        labels[(*at, slice(0, max(1, rest[0] - 2)), *frame) if rest else at] = 1
        labels[(*inner, slice(0, max(1, rest[0] // 2)), *frame) if rest else inner] = 2
    return labels


@dataclass(frozen=True)
class Kind:
    """A file: its name and what writes it; ``levels`` are the intensities of the labels 0, 1, 2."""

    name: str
    save: Callable[[Path, np.ndarray, np.ndarray], None]
    shape: tuple[int, ...] = SHAPE
    affine: np.ndarray = field(default_factory=oblique)
    levels: tuple[float, float, float] = (0, 100, 200)
    dtype: type = np.int16

    @property
    def intensities(self) -> np.ndarray:
        return np.asarray(self.levels, self.dtype)[labels_of(self.shape)]


def nifti(
    kind=nib.Nifti1Image, sform=1, qform=1, slope=None, endian="<", units=("mm", "sec"), step=None
) -> Callable[[Path, np.ndarray, np.ndarray], None]:
    def save(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
        header = kind.header_class(endianness=endian)
        header.set_data_dtype(voxels.dtype.newbyteorder(endian))
        image = kind(voxels, affine, header)
        image.set_sform(affine if sform else None, code=sform)
        image.set_qform(affine if qform else None, code=qform)
        image.header.set_xyzt_units(*units)
        if step:
            image.header.set_zooms((*image.header.get_zooms()[:3], step))
        if slope:
            image.header.set_slope_inter(*slope)
        nib.save(image, path)

    return save


def by_itk_compressed(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    save_by_itk(path, voxels, affine)
    itk.imwrite(itk.imread(str(path)), str(path), compression=True)


def dicom(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    path.mkdir()
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    voxel = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / voxel
    for index in range(voxels.shape[2]):
        plane = itk.image_from_array(np.ascontiguousarray(voxels[None, :, :, index].swapaxes(1, 2)))
        position = (lps @ [0, 0, index, 1])[:3]
        plane.SetSpacing(voxel)
        plane.SetOrigin(position)
        plane.SetDirection(itk.matrix_from_array(axes))
        tags = {
            "0008|0060": "MR", "0020|000e": "1.2.3.4", "0020|000d": "1.2.3", "0020|0013": str(index),
            "0020|0032": "\\".join(f"{x:.6f}" for x in position),
            "0020|0037": "\\".join(f"{x:.8f}" for x in (*axes[:, 0], *axes[:, 1])), "0018|0050": str(voxel[2]),
        }  # fmt: skip
        dictionary = plane.GetMetaDataDictionary()
        for tag, value in tags.items():
            dictionary[tag] = value
        plane.SetMetaDataDictionary(dictionary)
        io = itk.GDCMImageIO.New()
        io.KeepOriginalUIDOn()
        writer = itk.ImageFileWriter[itk.Image[itk.SS, 3]].New(plane, FileName=str(path / f"{index:03d}.dcm"))
        writer.SetImageIO(io)
        writer.Update()


def analyze(kind: type) -> Callable[[Path, np.ndarray, np.ndarray], None]:
    return lambda path, voxels, affine: nib.save(kind(voxels, affine), path)


def picture(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    Image.fromarray(voxels[..., 0].T.astype(np.uint8)).save(path)


IN_METRES = np.diag([1e-3, 1e-3, 1e-3, 1])
LAS = nib.AnalyzeImage(np.zeros(SHAPE, np.int16), np.diag([-1.5, 1.5, 4, 1])).header.get_best_affine()
INTEGERS = {
    "uint8": (0, 127, 254), "int8": (-120, 0, 120), "uint16": (0, 30000, 60000), "int16": (-1000, 0, 1000),
    "uint32": (0, 10**6, 2 * 10**6), "int32": (-(10**6), 0, 10**6), "int64": (-5, 0, 5), "uint64": (0, 7, 14),
}  # fmt: skip
FLOATS = {"float32": (-0.5, 0.0, 0.5), "float64": (-1e5, 0.0, 1e5)}
CODES = ("RAS", "LPS", "LAS", "PIR", "SAL", "ASR", "IPL", "RSA")

KINDS = [
    *(
        Kind(f"{t}.nii.gz", nifti(), levels=v, dtype=getattr(np, t))
        for t, v in {**INTEGERS, **FLOATS}.items()
    ),
    *(Kind(f"orientation_{c}.nii", nifti(), SHAPE, oblique(codes=c)) for c in CODES),
    Kind("nifti1.nii", nifti()),
    Kind("photograph.png", picture, (20, 18, 1), np.diag([-1.0, -1, 1, 1])),
    Kind("nifti2.nii", nifti(nib.Nifti2Image)),
    Kind("nifti2_packed.nii.gz", nifti(nib.Nifti2Image, sform=4, qform=2)),
    Kind("scaled.nii.gz", nifti(slope=(0.25, -3.5))),
    Kind("scaled_bytes.nii", nifti(slope=(2.0, 0.0)), levels=(0, 100, 200), dtype=np.uint8),
    Kind("scaled_downwards.nii", nifti(slope=(-1.5, 7.0)), levels=(200, 100, 0)),
    Kind("big_endian.nii", nifti(endian=">")),
    Kind("big_endian_float.nii.gz", nifti(endian=">"), dtype=np.float32),
    Kind("big_endian_double.nii.gz", nifti(nib.Nifti2Image, endian=">"), dtype=np.float64),
    Kind("big_endian_scaled.nii", nifti(endian=">", slope=(0.5, 1.0)), dtype=np.uint16),
    Kind("sform_alone.nii", nifti(sform=3, qform=0), affine=oblique(angles=(5, -20, 8))),
    Kind("qform_alone.nii", nifti(sform=0, qform=2), affine=oblique(angles=(5, -20, 8))),
    Kind("no_codes.nii", nifti(sform=0, qform=0), affine=oblique(codes="LAS")),
    Kind("no_units.nii.gz", nifti(units=(None, None))),
    Kind("oblique.nii.gz", nifti(sform=2), affine=oblique(angles=(20, 10, -30))),
    Kind("oblique_at_45.nii.gz", nifti(), affine=oblique(angles=(0, 0, 45))),
    Kind("oblique_permuted.nii.gz", nifti(), affine=oblique(angles=(12, -25, 40), codes="SLA")),
    Kind("anisotropic.nii.gz", nifti(), affine=oblique((0.4, 2.9, 11.0))),
    Kind("tiny.nii.gz", nifti(), (16, 16, 3)),
    Kind("single_slice.nii.gz", nifti(), (20, 18, 1)),
    Kind("picture.nii", nifti(), (20, 18)),
    Kind("one_frame.nii.gz", nifti(), (20, 18, 7, 1)),
    Kind("ones_at_the_end.nii.gz", nifti(), (20, 18, 7, 1, 1)),
    Kind("metres.nii.gz", nifti(units=("meter", "sec")), affine=IN_METRES @ oblique(angles=(5, -20, 8))),
    Kind(
        "micrometres.nii",
        nifti(units=("micron", "sec"), sform=0),
        affine=np.diag([1e3] * 3 + [1]) @ oblique(),
    ),
    Kind("analyze.hdr", analyze(nib.AnalyzeImage), affine=LAS),
    Kind("analyze_spm.hdr", analyze(nib.Spm99AnalyzeImage), affine=oblique(angles=(20, 10, -30))),
    Kind("cine.nii.gz", nifti(units=("mm", "msec"), step=31.5), (20, 18, 4, 3)),
    Kind("cine_scaled.nii", nifti(nib.Nifti2Image, slope=(0.5, 9.0), endian=">", step=2.0), (20, 18, 1, 3)),
    Kind("nrrd.nrrd", save_by_itk, affine=oblique(angles=(20, 10, -30))),
    Kind("nrrd_float.nrrd", save_by_itk, dtype=np.float32),
    Kind("nrrd_packed.nrrd", by_itk_compressed, affine=oblique(codes="PIR")),
    Kind("nrrd_detached.nhdr", save_by_itk, dtype=np.uint8),
    Kind("meta.mha", save_by_itk, affine=oblique(angles=(20, 10, -30))),
    Kind("meta_detached.mhd", save_by_itk, dtype=np.uint16),
    Kind("meta_packed.mha", by_itk_compressed, affine=oblique(codes="LPS"), dtype=np.float64),
    Kind("dicom", dicom, affine=oblique(codes="LPS")),
    Kind("dicom_oblique", dicom, affine=oblique(angles=(8, -12, 25), codes="LPS")),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """All of them in a folder, and what the bundle made of that."""
    source, out = tmp_path_factory.mktemp("kinds"), tmp_path_factory.mktemp("out")
    for kind in KINDS:
        kind.save(source / kind.name, kind.intensities, kind.affine)
    network = save_network(out.parent / "model.pt")
    inference(source, out, network, orientation="native", probabilities=True).run()
    return source, out


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_labels_lie_on_the_grid_of_the_file_and_are_right(kind, folders):
    source, out = folders
    stem = kind.name.split(".")[0]
    found = nib.load(out / f"{stem}_seg.nii.gz")
    labels = labels_of(kind.shape)
    if "downwards" in stem:
        labels = labels.copy()
    assert found.shape == kind.shape
    assert found.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(found.dataobj), labels)
    if ".nii" not in kind.name:
        np.testing.assert_allclose(found.affine, kind.affine, atol=1e-4)
        assert found.header.get_xyzt_units()[0] == "mm"
        return
    image = nib.load(source / kind.name)
    assert type(found) is type(image)
    assert np.array_equal(found.affine, image.affine)
    for name in FIELDS:
        assert np.array_equal(found.header[name], image.header[name]), name
    assert found.header.get_slope_inter() in ((1, 0), (None, None))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_probabilities_lie_on_the_same_grid_class_by_class(kind, folders):
    source, out = folders
    stem, labels = kind.name.split(".")[0], labels_of(kind.shape)
    frames = kind.shape[3] if len(kind.shape) > 3 and kind.shape[3] > 1 else 0
    names = [f"{stem}_t{t:02d}_prob.nii.gz" for t in range(frames)] or [f"{stem}_prob.nii.gz"]
    shape = (*kind.shape, 1)[:3]
    for t, name in enumerate(names):
        found = nib.load(out / name)
        values = np.asarray(found.dataobj)
        assert values.dtype == np.float32
        assert values.shape == (*shape, 3)
        np.testing.assert_allclose(values.sum(axis=-1), 1, atol=1e-5)
        frame = labels[..., t] if frames else labels.reshape(shape)
        assert np.array_equal(values.argmax(axis=-1), frame)
        np.testing.assert_allclose(found.affine, nib.load(out / f"{stem}_seg.nii.gz").affine, atol=1e-6)
        if ".nii" in kind.name:
            image = nib.load(source / kind.name)
            assert np.array_equal(found.header["xyzt_units"], image.header["xyzt_units"])
            assert np.array_equal(found.header.get_zooms()[:2], image.header.get_zooms()[:2])
            for code in ("sform_code", "qform_code"):
                assert found.header[code] == image.header[code]

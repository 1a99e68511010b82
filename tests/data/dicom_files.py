"""DICOM files as scanners, archives and accidents leave them, each with what must be made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    NuclearMedicineImageStorage,
    RLELossless,
)

SHAPE = (20, 18, 8)
VOXELS = np.random.default_rng(0).integers(0, 500, SHAPE).astype(np.uint16)
CORNER, DISTANCE = np.array([-20.0, -18.0, 5.0]), 3.0  # LPS, mm; pixels of 2 mm
AFFINE = np.array([[-2.0, 0, 0, 20], [0, -2, 0, 18], [0, 0, 3, 5], [0, 0, 0, 1]])
SERIES = "1.2.826.0.1.3680043.8.498.77"
REPORT = "1.2.840.10008.5.1.4.1.1.88.11"


class Slice(NamedTuple):
    """Pixels (X, Y), position of the first (LPS, mm), and tags that differ from the others'."""

    pixels: np.ndarray
    position: np.ndarray
    tags: Mapping[str, Any] = MappingProxyType({})


def slices(voxels: np.ndarray = VOXELS, step: Sequence[float] = (0, 0, DISTANCE)) -> list[Slice]:
    """A regular stack."""
    return [Slice(voxels[..., k], CORNER + k * np.asarray(step)) for k in range(voxels.shape[2])]


def _dataset(storage: str, number: int, tags: dict[str, Any]) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = storage, f"{SERIES}.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    values = {
        "SOPClassUID": storage, "SOPInstanceUID": f"{SERIES}.{number}", "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": SERIES, "SeriesDate": "20200101", "Modality": "MR", "PatientName": "T", "PatientID": "1",
        "InstanceNumber": number + 1, "ImageType": ["ORIGINAL", "PRIMARY"],
    }  # fmt: skip
    for name, value in (values | tags).items():
        setattr(file, name, value)
    return file


def _pixels(file: FileDataset, planes: Sequence[np.ndarray]) -> None:
    file.Rows, file.Columns = planes[0].shape[1], planes[0].shape[0]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.PixelData = b"".join(np.ascontiguousarray(plane.T).astype("<u2").tobytes() for plane in planes)


def write(folder: Path, planes: Sequence[Slice], name: str = "s{:03d}.dcm", **tags: Any) -> Path:
    """A file for each slice."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, plane in enumerate(planes):
        stated = {
            "PixelSpacing": [2, 2], "SliceThickness": "3", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [round(float(x), 4) for x in plane.position],
        }  # fmt: skip
        file = _dataset(MRImageStorage, number, stated | tags | dict(plane.tags))
        _pixels(file, [plane.pixels])
        file.save_as(folder / name.format(number), enforce_file_format=True)
    return folder


def _group(**values: dict[str, Any]) -> Dataset:
    """Functional groups: ``name={tag: value}`` becomes the sequence ``name`` with one item."""
    group = Dataset()
    for name, tags in values.items():
        item = Dataset()
        for tag, value in tags.items():
            setattr(item, tag, value)
        setattr(group, name, Items([item]))
    return group


def write_enhanced(folder: Path, frames: Sequence[Slice], **tags: Any) -> Path:
    """One file of all slices, whose places stand in its functional groups."""
    folder.mkdir(parents=True, exist_ok=True)
    file = _dataset(EnhancedMRImageStorage, 0, {"NumberOfFrames": len(frames)} | tags)
    file.SharedFunctionalGroupsSequence = Items([
        _group(
            PixelMeasuresSequence={"PixelSpacing": [2, 2], "SliceThickness": "3"},
            PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        )
    ])  # fmt: skip
    file.PerFrameFunctionalGroupsSequence = Items(
        _group(
            PlanePositionSequence={"ImagePositionPatient": [round(float(x), 4) for x in frame.position]},
            **(
                {"PixelValueTransformationSequence": {"RescaleType": "US"} | dict(frame.tags)}
                if frame.tags
                else {}
            ),
        )
        for frame in frames
    )
    _pixels(file, [frame.pixels for frame in frames])
    file.save_as(folder / "enhanced.dcm", enforce_file_format=True)
    return folder


def _nuclear(folder: Path, backwards: bool = False) -> None:
    """Frames along the normal, or from the other end on, against it: a distance below 0 says so (C.8.4.15)."""
    folder.mkdir()
    planes = slices()[::-1] if backwards else slices()
    tags = {
        "NumberOfFrames": SHAPE[2],
        "NumberOfSlices": SHAPE[2],
        "SpacingBetweenSlices": "-3" if backwards else "3",
        "PixelSpacing": [2, 2],
    }
    file = _dataset(NuclearMedicineImageStorage, 0, tags)
    corner = np.asarray(planes[0].position).tolist()
    place = {"ImagePositionPatient": corner, "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    file.update(_group(DetectorInformationSequence=place))
    _pixels(file, [plane.pixels for plane in planes])
    file.save_as(folder / "nm.dcm", enforce_file_format=True)


def _with_report(folder: Path) -> None:
    write(folder, slices())
    report = _dataset(REPORT, 99, {"SeriesInstanceUID": f"{SERIES}.5", "Modality": "SR"})
    report.save_as(folder / "sr.dcm", enforce_file_format=True)
    (folder / "Thumbs.db").write_bytes(b"x" * 600)
    (folder / "preview.jpg").write_bytes(b"x" * 600)


def _with_nifti(folder: Path) -> None:
    write(folder, slices())
    (folder / "t1.nii.gz").write_bytes(b"a volume")


def _with_damage(folder: Path) -> None:
    write(folder, slices())
    file = folder / "s004.dcm"
    file.write_bytes(file.read_bytes()[:300])


def _changed(folder: Path, change: Callable[[FileDataset], Any]) -> None:
    """A regular series, every file of it changed."""
    for file in write(folder, slices()).iterdir():
        dataset = dcmread(file)
        change(dataset)
        dataset.save_as(file)


def _signed(file: FileDataset) -> None:
    stored = (file.pixel_array.astype(int) - 250) & 0xFFF
    file.PixelRepresentation, file.BitsStored, file.HighBit = 1, 12, 11
    file.PixelData = stored.astype("<u2").tobytes()


def _with_pixels_cut(folder: Path) -> None:
    write(folder, slices())
    file = folder / "s007.dcm"
    file.write_bytes(file.read_bytes()[:-100])


def _slope(plane: Slice, slope: float) -> Slice:
    return plane._replace(tags={"RescaleSlope": f"{slope:g}", "RescaleIntercept": "0"})


SLOPES = [1.0] + [0.0004] * (SHAPE[2] - 1)
SUV = np.where(np.arange(SHAPE[2]) == 0, 0, VOXELS)
TILT = (0, DISTANCE * np.tan(np.deg2rad(15)), DISTANCE)
TURNED = {"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}


def _thick(plane: Slice, number: int) -> Slice:
    return plane._replace(tags={"SliceThickness": "3" if number < 4 else "6"})


class Right(NamedTuple):
    """A folder that is a volume: what writes it, its voxels and its affine."""

    write: Callable[[Path], Any]
    voxels: np.ndarray = VOXELS
    affine: np.ndarray = AFFINE


SHEARED = AFFINE.copy()
SHEARED[1, 2] = -TILT[1]

RIGHT = {
    "regular": Right(lambda p: write(p, slices())),
    "reversed": Right(lambda p: write(p, slices()[::-1])),
    "tilted": Right(lambda p: write(p, slices(step=TILT)), affine=SHEARED),
    "storescp names": Right(lambda p: write(p, slices(), "MR.1.2.840.113619.2.{}")),
    "console names": Right(lambda p: write(p, slices(), "i{}.MRDC.7")),
    "two thicknesses": Right(lambda p: write(p, [_thick(s, k) for k, s in enumerate(slices())])),
    "rounded positions": Right(
        lambda p: write(p, [s._replace(position=s.position + [0, 0, 0.05 * (-1) ** k]) for k, s in enumerate(slices())])
    ),
    "suv": Right(
        lambda p: write(p, [_slope(s, slope) for s, slope in zip(slices(SUV), SLOPES, strict=True)], Modality="PT"),
        SUV * 0.0004,
    ),
    "hounsfield": Right(
        lambda p: write(p, slices(), RescaleIntercept="-1024", RescaleSlope="1", SOPClassUID=CTImageStorage),
        VOXELS.astype(int) - 1024,
    ),
    "signed, 12 bits": Right(lambda p: _changed(p, _signed), VOXELS.astype(int) - 250),
    "compressed": Right(lambda p: _changed(p, lambda file: file.compress(RLELossless))),
    "nuclear medicine": Right(_nuclear),
    "nuclear medicine from the other end": Right(lambda p: _nuclear(p, backwards=True)),
    "a report beside": Right(_with_report),
    "enhanced": Right(lambda p: write_enhanced(p, slices()[::-1])),
    "enhanced, slopes": Right(
        lambda p: write_enhanced(p, [_slope(s, k + 0.5) for k, s in enumerate(slices())]),
        VOXELS * (np.arange(SHAPE[2]) + 0.5),
    ),
}  # fmt: skip


def _drifting() -> list[Slice]:
    return [plane._replace(position=plane.position + [k * k / 5, 0, 0]) for k, plane in enumerate(slices())]


def _film(folder: Path) -> None:
    folder.mkdir()
    file = _dataset(MRImageStorage, 0, {"NumberOfFrames": 2})
    _pixels(file, [VOXELS[..., 0], VOXELS[..., 1]])
    file.save_as(folder / "film.dcm", enforce_file_format=True)


def _report_alone(folder: Path) -> None:
    folder.mkdir()
    _dataset(REPORT, 0, {"Modality": "SR"}).save_as(folder / "sr.dcm", enforce_file_format=True)


def _two_series(folder: Path) -> None:
    write(folder, slices()[:4])
    write(folder, slices()[4:], "t{}.dcm", SeriesInstanceUID="1.2.9")


WRONG = {
    "missing": (
        lambda p: write(p, slices()[:3] + slices()[5:]),
        r"6 slices lie 3 mm apart, but 9 mm between s002.dcm and s003.dcm; fetch missing",
    ),
    "thin and thick": (lambda p: write(p, slices()[:4] + slices()[4::2]), r"3 mm apart, but 6 mm between .*; fetch"),
    "two volumes": (
        lambda p: write(p, [plane for plane in slices() for _ in "ab"]),
        r"16 slices at 8 places \(s000.dcm and s001.dcm lie at one\).*; put each volume",
    ),
    "one place": (lambda p: write(p, slices(step=(0, 0, 0))), r"its 8 slices lie at one place"),
    "drifting": (lambda p: write(p, _drifting()), r"shifted sideways or drift"),
    "localizer": (
        lambda p: write(p, [slices()[0], slices()[1]._replace(tags=TURNED)]), r"2 slices of different directions"
    ),
    "two sizes": (
        lambda p: write(p, [slices()[0], slices(VOXELS[:9])[1]]), r"different sizes \(20×18 and 9×18 pixels\)"
    ),
    "two series": (_two_series, r"expected one DICOM series, found 2; put each into a folder of its own"),
    "mosaic": (
        lambda p: write(p, slices()[:1], ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), r"mosaic, .*dcm2niix"
    ),
    "enhanced time series": (
        lambda p: write_enhanced(p, slices() * 2), r"16 slices at 8 places \(frame 1 and frame 9"
    ),
    "film": (_film, r"2 frames without a place in space .*; convert it to NIfTI"),
    "a volume beside": (_with_nifti, r"a series of 8 DICOM files and beside it another image, t1.nii.gz; put"),
    "one cut short": (_with_damage, r"s004.dcm is damaged \(the file ends in its header\); copy it again"),
    "pixels cut short": (_with_pixels_cut, r"the pixels of s007.dcm cannot be decoded \(.*\); copy it again"),
    "no pixel size": (
        lambda p: _changed(p, lambda file: file.__delattr__("PixelSpacing")), r"s000.dcm states no pixel size; convert"
    ),
    "no directions": (
        lambda p: _changed(p, lambda file: file.__delattr__("ImageOrientationPatient")), r"states no directions"
    ),
    "more pixels than bytes": (
        lambda p: _changed(p, lambda file: [setattr(file, name, 60000) for name in ("Rows", "Columns")]),
        r"s000.dcm is damaged \(it ends in its pixels: .* promises 7200000000\); copy it again",
    ),
    "a report alone": (_report_alone, r"without a readable DICOM series"),
}  # fmt: skip

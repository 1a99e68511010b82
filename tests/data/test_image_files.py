from __future__ import annotations

import re
from pathlib import Path

import itk
import numpy as np
import pytest

from shared_components.data.image_files import files_of, images_in, is_image, unread_volumes
from shared_components.data.image_loader import LazyITKReader
from shared_components.data.pairing import find_pairs
from shared_components.data.volume_check import load_volume
from shared_components.data.volume_faults import reading_fault
from shared_components.errors import InputError
from shared_components.inferers import find_cases
from tests.data.dicom_files import RIGHT, slices, write


def names(paths) -> list[str]:
    return [Path(path).name for path in paths]


def inferred(source) -> list[str]:
    return names(case["image"] for case in find_cases(source))


def listed(root) -> list[str]:
    return names(pair.image for pair in find_pairs(root))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Volumes of many kinds, among them series that no ending tells."""
    for name in ("storescp names", "console names", "regular"):
        RIGHT[name].write(tmp_path / "images" / name)
    for name in ("a.nii.gz", "b.nrrd", "c.mha", "d.png", "notes.txt", ".hidden.nii"):
        (tmp_path / "images" / name).write_bytes(b"x" * 200)
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("image", "header", "others"),
    [
        ("s.nii.gz", "", []),
        ("s.hdr", "", ["s.img"]),
        ("s.img", "", ["s.hdr"]),
        ("s.mhd", "ElementDataFile = s.raw\n", ["s.raw"]),
        ("s.mhd", "ElementDataFile = LOCAL\n", []),
        ("s.mhd", "ElementDataFile = LIST 2D\nslice1.raw\nslice2.raw\n", ["slice1.raw", "slice2.raw"]),
        ("s.mhd", "ElementDataFile = slice%d.raw 1 2 1\n", ["slice1.raw", "slice2.raw"]),
        ("s.nhdr", "NRRD0004\ndata file: voxels/other.raw\n", ["voxels/other.raw"]),
        ("s.nhdr", "NRRD0004\r\ndatafile: gone.raw\r\n", []),
        ("s.nhdr", "NRRD0004\r\ndatafile: s.raw\r\n", ["s.raw"]),
    ],
)
def test_files_of_an_image_are_those_with_its_voxels(image, header, others, tmp_path):
    (tmp_path / "voxels").mkdir()
    for name in (
        "s.nii.gz",
        "s.json",
        "s.hdr",
        "s.img",
        "s.raw",
        "slice1.raw",
        "slice2.raw",
        "voxels/other.raw",
    ):
        (tmp_path / name).touch()
    (tmp_path / image).write_bytes(header.encode())
    found = files_of(tmp_path / image)
    assert [file.relative_to(tmp_path).as_posix() for file in found] == [image, *others]


@pytest.mark.parametrize(
    ("image", "header", "fault"),
    [
        ("s.hdr", "", "its voxels, s.img, expected beside it, are missing; copy that file there"),
        ("s.HDR", "", "its voxels, s.IMG, expected beside it, are missing; copy that file there"),
        ("s.img", "", "its header, s.hdr, expected beside it, is missing; copy that file there"),
        (
            "s.mhd",
            "ElementDataFile = gone.zraw\n",
            "its voxels, gone.zraw, expected beside it, are missing; copy",
        ),
        (
            "s.mhd",
            "ElementDataFile = LIST\n1.raw\n8.raw\n9.raw\n",
            "its voxels, 8.raw and 1 more, expected beside",
        ),
        (
            "s.mhd",
            "ElementDataFile = %d.raw 1 5 2\n",
            "its voxels, 3.raw and 1 more, expected beside it, are miss",
        ),
        (
            "s.nhdr",
            "NRRD0004\r\ndata file: /gone/s.raw\r\n",
            "its voxels, s.raw, expected in /gone, are missing;",
        ),
        ("s.mhd", "ElementDataFile = LOCAL\n", "not an image that can be read (no reason); copy it again"),
        ("s.mhd", "ElementDataFile = 1.raw\n", "not an image that can be read (no reason); copy it again"),
        (
            "s.nhdr",
            "NRRD0004\ndata file: %x.raw 1 2\n",
            "its voxels, %x.raw 1 2, expected beside it, are missing; copy",
        ),
    ],
)
def test_files_that_an_image_lacks_are_named(image, header, fault, tmp_path):
    for name, text in ((image, header), ("1.raw", "")):
        (tmp_path / name).write_bytes(text.encode())
    told = str(reading_fault(tmp_path / image, OSError("no reason")))
    assert told.startswith(f"{tmp_path / image}: {fault}")


def test_damaged_dicom_files_do_not_hide_the_images_beside_them(folder):
    for name in ("x.dcm", "y.dcm"):
        (folder / name).write_bytes(b"no DICOM" * 50)
    assert {"a.nii.gz", "regular", "x.dcm", "y.dcm"} <= set(inferred(folder))


def test_inference_and_make_datalist_find_the_same(folder):
    expected = ["a.nii.gz", "b.nrrd", "c.mha", "console names", "d.png", "regular", "storescp names"]
    assert names(images_in(folder)) == inferred(folder) == listed(folder.parent) == expected
    assert inferred(f"{folder}/*") == expected


def test_a_pattern_that_finds_slices_means_their_folder(folder):
    assert inferred(f"{folder}/**/*.dcm") == ["regular"]
    assert inferred(f"{folder}/**/*MRDC*") == ["console names"]
    assert inferred(f"{folder}/**/*.nii.gz") == ["a.nii.gz"]


def test_a_series_by_content_is_a_case_and_a_slice_named_alone_is_one_too(folder):
    assert inferred(folder / "storescp names") == ["storescp names"]
    assert inferred(folder / "storescp names" / "MR.1.2.840.113619.2.3") == ["MR.1.2.840.113619.2.3"]


def test_a_volume_beside_loose_slices_hides_nothing(tmp_path):
    write(tmp_path / "x", slices(), "IM{}")
    (tmp_path / "x" / "t1.nii.gz").write_bytes(b"x")
    assert images_in(tmp_path / "x") == [tmp_path / "x"]  # which reading then refuses
    with pytest.raises(InputError, match="8 DICOM files of 1 series lie loose"):
        find_pairs(tmp_path / "x")


def test_files_of_as_many_series_are_an_image_each(tmp_path):
    for number, plane in enumerate(slices()[:3]):
        write(tmp_path, [plane], f"IM{number}", SeriesInstanceUID=f"1.2.{number}")
    assert inferred(tmp_path) == listed(tmp_path) == ["IM0", "IM1", "IM2"]


def test_one_file_beside_other_images_is_one_of_them(tmp_path):
    write(tmp_path, slices()[:1])
    assert images_in(tmp_path) == [tmp_path]
    (tmp_path / "a.nii").write_bytes(b"x")
    assert names(images_in(tmp_path)) == listed(tmp_path) == ["a.nii", "s000.dcm"]


def test_what_is_dicom_and_no_image_is_passed_over(tmp_path):
    RIGHT["a report beside"].write(tmp_path / "x")
    (tmp_path / "x" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert inferred(tmp_path) == ["x"]
    assert not is_image(tmp_path / "x" / "DICOMDIR")
    assert not is_image(tmp_path / "x" / "sr.dcm")


def test_volumes_that_nothing_reads_are_told_with_their_cure(tmp_path):
    assert unread_volumes(tmp_path) is None
    (tmp_path / ".cache").mkdir()
    for name in (
        "a.mgz",
        "a.nii.gz",
        "b.txt",
        "._c.mgz",
        ".cache/d.mgz",
    ):  # a was converted, others are hidden
        (tmp_path / name).write_bytes(b"x")
    assert unread_volumes(tmp_path) is None
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "X.BRIK.gz").write_bytes(b"x")
    assert unread_volumes(tmp_path) == (
        f"1 file is of a format that is not read, such as {tmp_path}/e/X.BRIK.gz; convert them to NIfTI (most in "
        "Python: nibabel.save(nibabel.load('X.BRIK.gz'), 'X.nii.gz'))"
    )
    (tmp_path / "c.mgz").write_bytes(b"x")
    assert unread_volumes(tmp_path).startswith(
        f"2 files are of a format that is not read, such as {tmp_path}/c.mgz;"
    )


@pytest.mark.parametrize(
    ("image", "line"),
    [
        ("s.mhd", "ElementDataFile = %s 1 4 1"),
        ("s.MHA", "ElementDataFile = %n%n%n"),
        ("s.mha", "ElementDataFile = slice%d%d.raw 1 4 1"),
        ("s.mhd", "ElementDataFile = slice%x.raw 1 4 1"),
        ("s.mhd", "ElementDataFile = slice%-1d.raw"),
        ("s.mhd", "ElementDataFile = slice%999d.raw 1 4 1"),
        ("s.mhd", "ElementDataFile = slice%d.raw 1 4"),
        ("s.mhd", "ElementDataFile = slice%d.raw 1 4 0"),
        ("s.nrrd", "data file: slice%d%n.raw 1 4 1"),
    ],
)
def test_names_of_voxels_that_printf_would_follow_do_not_reach_itk(image, line, tmp_path):
    header = (
        b"ObjectType = Image\nNDims = 3\nDimSize = 32 32 4\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
    )
    (tmp_path / image).write_bytes((b"NRRD0004\n" if "nrrd" in image else header) + line.encode() + b"\n")
    found = re.split(" [=] |: ", line)[1]
    fault = f"{tmp_path / image}: its voxels' files: expected a pattern such as slice%03d.raw 1 20 1, found '{found}'; "
    assert str(*load_volume(tmp_path / image)[1]).startswith(fault)
    with pytest.raises(InputError, match="expected a pattern"):
        LazyITKReader().read(tmp_path / image)


def test_a_pattern_of_names_is_read(tmp_path):
    for name in ("a001.raw", "a002.raw"):
        (tmp_path / name).write_bytes(bytes(range(16)))
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 4 4 2\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
    )
    for pattern in ("a%03d.raw 1 2 1", f"{tmp_path}/a%03d.raw", "a00%1d.raw 1"):
        (tmp_path / "s.mhd").write_text(f"{header}ElementDataFile = {pattern}\n")
        assert names(files_of(tmp_path / "s.mhd")) == ["s.mhd", "a001.raw", "a002.raw"]
        assert load_volume(tmp_path / "s.mhd")[0].sum() == 240


@pytest.mark.parametrize(
    ("image", "header", "need"),
    [
        (
            "s.nrrd",
            "NRRD0004\ntype: short\ndimension: 3\nsizes: 2000 2000 250\nencoding: gzip\n\n",
            2_000_000_000,
        ),
        ("s.nrrd", "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 400 400\nencoding: raw\n\n", 160_000),
        ("s.nhdr", "NRRD0004\ntype: float\nsizes: 40 99\nencoding: raw\ndata file: s.raw\n", 15_840),
        ("s.mha", "DimSize = 99 99 99\nElementType = MET_FLOAT\nCompressedData = True\n", 3_881_196),
        ("s.mhd", "DimSize = 20 99\nElementNumberOfChannels = 3\nElementType = MET_USHORT\n", 11_880),
    ],
)
def test_headers_that_promise_more_than_their_files_hold_do_not_reach_itk(image, header, need, tmp_path):
    (tmp_path / "s.raw").write_bytes(bytes(99))
    if "DimSize" in header:
        named = "LOCAL" if image == "s.mha" else "s.raw"
        header = f"ObjectType = Image\nNDims = {header.split('=')[1].count('9')}\n{header}ElementDataFile = {named}\n"
    (tmp_path / image).write_bytes(header.encode() + (b"" if image.endswith("hd") else bytes(99)))
    with pytest.raises(
        InputError, match=rf"it ends too early \(\d+ bytes, its header promises {need}\); copy"
    ):
        LazyITKReader().read(tmp_path / image)


@pytest.mark.parametrize("kind", ["nrrd", "nhdr", "mha", "mhd"])
@pytest.mark.parametrize("packed", [False, True])
def test_blank_volumes_are_read_however_well_they_pack(kind, packed, tmp_path):
    for dtype in (np.uint8, np.int16, np.uint32, np.float64):
        image = itk.image_from_array(np.zeros((64, 128, 128), dtype))
        itk.imwrite(image, str(tmp_path / f"s.{kind}"), compression=packed)
        assert load_volume(tmp_path / f"s.{kind}")[0].shape == (1, 128, 128, 64)

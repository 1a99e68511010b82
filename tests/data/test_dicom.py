from __future__ import annotations

import re

import numpy as np
import pytest

from shared_components.data.dicom import read_stack
from shared_components.data.dicom_header import Header
from shared_components.data.faults import UnfitFile
from shared_components.data.image_loader import LoadVolume, stored_grid
from shared_components.data.pairing import find_pairs
from shared_components.data.slices import SliceDataset
from shared_components.data.volume_check import check_image
from shared_components.errors import InputError
from tests.data.dicom_files import AFFINE, RIGHT, VOXELS, WRONG, slices, write


@pytest.mark.parametrize("name", RIGHT)
def test_a_regular_volume_has_its_values_and_its_place(tmp_path, name):
    right = RIGHT[name]
    right.write(tmp_path / "x")
    image = LoadVolume()(tmp_path / "x")
    np.testing.assert_allclose(image[0].numpy(), right.voxels, rtol=1e-6)
    np.testing.assert_allclose(image.affine.numpy(), right.affine, atol=0.02)
    shape, affine = stored_grid(tmp_path / "x")
    assert shape == tuple(image.shape[1:]) and np.array_equal(affine, image.affine.numpy())
    assert check_image(tmp_path / "x")[1] == []


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_regular_volume_is_named_with_its_cure(tmp_path, name):
    save, fault = WRONG[name]
    save(tmp_path / "x")
    image, faults = check_image(tmp_path / "x")
    assert image is None
    assert re.search(fault, str(faults[0])), faults[0]
    assert str(faults[0]).startswith(f"{tmp_path / 'x'}: ")
    with pytest.raises(UnfitFile) as raised:
        LoadVolume()(tmp_path / "x")
    assert raised.value.fault == faults[0]


def test_make_datalist_lists_every_irregular_series_at_once(tmp_path):
    for name in ("regular", "tilted"):
        RIGHT[name].write(tmp_path / "images" / name)
    assert [pair.subject for pair in find_pairs(tmp_path)] == ["regular", "tilted"]
    for name in ("missing", "two volumes"):
        WRONG[name][0](tmp_path / "images" / name)
    with pytest.raises(InputError, match=r"9 mm between .*; .*16 slices at 8 places"):
        find_pairs(tmp_path)


def test_a_tilt_within_rounding_is_none(tmp_path):
    affine = read_stack(write(tmp_path / "x", slices(step=(0, 0.005, 3)))).affine
    np.testing.assert_allclose(affine, AFFINE, atol=1e-6)
    assert affine[1, 2] == 0


def test_a_file_that_is_called_as_analyzes_voxels_is_read_as_what_it_is(tmp_path):
    RIGHT["regular"].write(tmp_path / "x")
    expected, file = LoadVolume()(min((tmp_path / "x").iterdir())), tmp_path / "one.img"
    min((tmp_path / "x").iterdir()).rename(file)
    image, faults = check_image(file)
    assert faults == [] and np.array_equal(image, expected)
    assert np.array_equal(stored_grid(file)[1], image.affine.numpy())


def test_a_single_file_lies_where_its_header_says(tmp_path):
    write(tmp_path / "x", slices())
    image = LoadVolume()(tmp_path / "x" / "s002.dcm")
    expected = AFFINE.copy()
    expected[2, 3] += 6
    assert np.array_equal(image[0, ..., 0].numpy(), VOXELS[..., 2])
    np.testing.assert_allclose(image.affine.numpy(), expected)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
def test_every_way_of_writing_a_header_is_read(tmp_path, syntax):
    import pydicom

    for name in ("regular", "enhanced"):
        RIGHT[name].write(tmp_path / name)
        for file in (tmp_path / name).iterdir():
            dataset = pydicom.dcmread(file)
            dataset.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(
                file,
                dataset,
                implicit_vr=syntax == "1.2.840.10008.1.2",
                little_endian=True,
                force_encoding=True,
            )
        np.testing.assert_allclose(read_stack(tmp_path / name).affine, AFFINE)


def test_a_header_cut_anywhere_is_one_line(tmp_path):
    write(tmp_path / "x", slices()[:1])
    whole = (tmp_path / "x" / "s000.dcm").read_bytes()
    file = tmp_path / "x" / "cut"
    header = len(whole) - VOXELS[..., 0].nbytes
    for length in range(132, header - 20, 7):
        file.write_bytes(whole[:length])
        with pytest.raises(UnfitFile):
            read_stack(file)


def test_names_of_patients_do_not_reach_the_metadata(tmp_path):
    image = LoadVolume()(write(tmp_path / "x", slices(), PatientName="Doe^Jane"))
    assert "Doe" not in str(dict(image.meta))


@pytest.mark.parametrize(("tag", "value"), [("NumberOfFrames", "9" * 12), ("PixelSpacing", ["2", "0"])])
def test_numbers_that_cannot_be_are_one_line(tmp_path, tag, value):
    with pytest.raises(UnfitFile, match="x: "):
        LoadVolume()(write(tmp_path / "x", slices(), **{tag: value}))


def test_training_refuses_what_the_check_refuses(tmp_path):
    WRONG["missing"][0](tmp_path / "x")
    item = {"image": str(tmp_path / "x"), "domain": "t1", "subject": "x"}
    with pytest.raises(InputError, match="6 slices lie 3 mm apart, but 9 mm between"):
        SliceDataset([item], ["t1"], size=16, spacing=None)


def test_a_number_written_as_a_sequence_is_no_number():
    assert Header({0x00280010: [Header(), Header()]}).count(0x00280010) == 0

from __future__ import annotations

import numpy as np
import pytest

from shared_components.data.coverage import Frame
from shared_components.errors import InputError
from shared_components.federation.statistics.volume_numbers import Reading, volume_numbers
from tests.federation.statistics.volumes import item, save

READING = Reading(Frame(8, None, "RAS"), (0.0, 100.0), bins=4)


def test_numbers_of_a_volume_by_hand(tmp_path):
    image = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)  # 0 to 119, each once
    label = np.zeros((4, 5, 6), np.uint8)
    label[:2, :, 0] = 1  # 10 voxels
    label[3, 0, :3] = 2  # 3 voxels
    numbers = volume_numbers(item(tmp_path, image, label, spacing=(1, 2, 3)), "training", [1, 2, 3], READING)
    assert (numbers.split, numbers.state, numbers.slices, numbers.annotated) == ("training", "labelled", 6, 6)
    assert numbers.spacing == pytest.approx((1, 2, 3))
    assert numbers.percentiles == pytest.approx((0, 59.5, 119))
    np.testing.assert_allclose(numbers.shares, [0.25] * 4)  # 30 voxels in each quarter of the range
    assert numbers.millilitres == pytest.approx({1: 0.06, 2: 0.018, 3: 0})  # voxels of 6 mm³


def test_the_slice_axis_is_the_bundles(tmp_path):
    sagittal = Reading(Frame(8, None, "ASR"), (0.0, 100.0), bins=4)
    found = item(tmp_path, np.random.default_rng(0).random((4, 5, 6)), spacing=(1, 2, 3))
    numbers = volume_numbers(found, "test", [1], sagittal)
    assert numbers.slices == 4 and numbers.spacing == pytest.approx((2, 3, 1))
    assert (numbers.state, numbers.annotated, numbers.millilitres) == ("unlabelled", 0, {})


def test_a_sparse_label_map_has_slices_and_no_volume(tmp_path):
    label = np.zeros((4, 5, 6), np.uint8)
    label[:, :, 2] = 1
    found = item(tmp_path, np.random.default_rng(0).random((4, 5, 6)), label) | {"annotated": [2, 3]}
    numbers = volume_numbers(found, "training", [1], READING)
    assert (numbers.state, numbers.annotated, numbers.millilitres) == ("partly labelled", 2, {})


def test_ignored_voxels_are_of_no_class(tmp_path):
    label = np.zeros((4, 5, 6), np.uint8)
    label[0] = 1  # 30 voxels
    label[0, 0, 0] = 255
    found = item(tmp_path, np.random.default_rng(0).random((4, 5, 6)), label) | {"ignore": 255}
    numbers = volume_numbers(found, "training", [1], READING)
    assert numbers.state == "labelled" and numbers.millilitres == pytest.approx({1: 0.029})


def test_a_damaged_image_is_named(tmp_path):
    found = item(tmp_path, np.random.default_rng(0).random((4, 5, 6)))
    save(tmp_path / "other.nii.gz", np.zeros((2, 2, 2)))
    (tmp_path / "image.nii.gz").write_bytes((tmp_path / "other.nii.gz").read_bytes()[:60])
    with pytest.raises(InputError, match=r"image\.nii\.gz"):
        volume_numbers(found, "training", [1], READING)

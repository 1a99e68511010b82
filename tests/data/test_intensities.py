from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from shared_components.data.intensities import ScalePercentilesd, intensity_range
from shared_components.errors import InputError


def meta(values: torch.Tensor, name="s01.nii.gz") -> MetaTensor:
    return MetaTensor(values, affine=torch.eye(4), meta={"filename_or_obj": name})


def test_usual_images_are_clipped_at_plain_percentiles():
    values = torch.linspace(0, 100, 1001)[None]
    assert intensity_range(values, (1, 99)) == pytest.approx((1, 99), abs=1e-4)


def test_vessels_on_an_empty_background_keep_their_contrast():
    sparse = torch.zeros(1, 10_000)
    sparse[0, :20] = torch.linspace(100, 200, 20)  # 0.2 % of the voxels
    low, high = intensity_range(sparse, (0.5, 99.5))
    assert low == 0
    assert 190 < high < 200


def test_dark_lines_on_a_white_background_keep_their_contrast():
    sparse = torch.full((1, 10_000), 255.0)
    sparse[0, :20] = torch.linspace(10, 100, 20)
    low, high = intensity_range(sparse, (0.5, 99.5))
    assert 10 < low < 20
    assert high == 255


def test_background_noise_of_resampling_is_not_blown_up():
    sparse = torch.randn(1, 10_000) * 1e-6
    sparse[0, :20] = 100.0
    scaled = ScalePercentilesd(("image",), (0.5, 99.5))({"image": sparse})["image"]
    assert scaled[0, 20:].max() < -0.99
    assert (scaled[0, :20] == 1).all()


def test_one_hot_voxel_does_not_flatten_the_rest():
    image = torch.linspace(0, 1000, 10_000)[None].clone()
    image[0, 0] = 1e6
    low, high = intensity_range(image, (0.5, 99.5))
    assert low < 20
    assert 980 < high < 1001


def test_a_constant_image_becomes_minus_one():
    scaled = ScalePercentilesd(("image",), (0.5, 99.5))({"image": torch.full((1, 4, 4, 2), 5.0)})["image"]
    assert (scaled == -1).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinite_voxels_are_refused(bad):
    image = meta(torch.ones(1, 4, 4, 2))
    image[0, 0, 0, 0] = bad
    with pytest.raises(InputError, match=r"s01\.nii\.gz: has NaN or infinite voxels"):
        ScalePercentilesd(("image",), (0.5, 99.5))({"image": image})


def test_percentiles_out_of_order_are_refused():
    with pytest.raises(InputError, match="0 <= lower < upper <= 100, found 99"):
        ScalePercentilesd(("image",), (99, 1))

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from shared_components.data.intensities import (
    AirForNaNd,
    CutOutliersd,
    ScalePercentilesd,
    intensity_range,
    surrounded_by_nan,
    voxel_faults,
    with_air,
)
from shared_components.data.volumes import volume_transforms
from shared_components.errors import InputError
from shared_components.inferers import inference_transforms


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


def head(shape=(24, 24, 10), seed=0) -> np.ndarray:
    """Air of 0 around a ball of 100 ± 10."""
    distance = np.linalg.norm(
        np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")), axis=0
    )
    return np.where(distance < 0.8, np.random.default_rng(seed).normal(100, 10, shape), 0).astype(np.float32)


@pytest.mark.parametrize("value", [1e5, 1e9, -1e9])
@pytest.mark.parametrize("spacing", [None, 4.0])
@pytest.mark.parametrize("one_step", [False, True])
def test_a_handful_of_hot_voxels_does_not_hide_the_rest(tmp_path, value, spacing, one_step):
    scaled = []
    for name in ("plain", "hot"):
        voxels = head()
        if name == "hot":
            voxels[(5, 12, 12, 20, 3), (12, 4, 12, 9, 17), (2, 5, 5, 6, 8)] = value
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2.0, 2, 5, 1])), tmp_path / f"{name}.nii")
        steps = volume_transforms(("image",), 16, spacing, crop=False, one_step=one_step)
        scaled.append(steps({"image": str(tmp_path / f"{name}.nii")})["image"].as_tensor())
    apart = (scaled[1] - scaled[0]).abs()
    assert float(apart.median()) < 0.1
    assert float((apart > 0.3).float().mean()) < 0.03  # around the five


def test_nan_around_the_body_is_air(tmp_path):
    scaled = []
    for name, air in (("zero", 0.0), ("nan", np.nan)):
        voxels = head()
        voxels[voxels == 0] = air
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2.0, 2, 5, 1])), tmp_path / f"{name}.nii")
        item = {"image": str(tmp_path / f"{name}.nii")}
        scaled.append([volume_transforms(("image",), 16, 4.0)(item), inference_transforms(16, 4.0)(item)])
    for zero, nan in zip(*scaled, strict=True):
        assert torch.equal(zero["image"].as_tensor(), nan["image"].as_tensor())


def test_air_is_the_darkest_where_that_is_below_zero():
    image = torch.full((1, 5, 5, 5), float("nan"))
    image[0, 1:4, 1:4, 1:4] = torch.linspace(-900, 300, 27).reshape(3, 3, 3)
    filled = AirForNaNd(("image",))({"image": image})["image"]
    assert float(filled[0, 0, 0, 0]) == -900
    assert torch.equal(filled[0, 1:4, 1:4, 1:4], image[0, 1:4, 1:4, 1:4])


def test_nothing_but_nan_becomes_0():
    assert torch.equal(with_air(torch.full((1, 2, 3, 4), float("nan"))), torch.zeros(1, 2, 3, 4))


@pytest.mark.parametrize("place", [(0, 0, 0), (2, 2, 2), (slice(None), 0, 0)])
def test_nan_that_is_no_background_is_refused(place):
    image = torch.ones(1, 5, 5, 5)
    image[(0, *place)] = float("nan")
    with pytest.raises(InputError, match=r"image: \d of 125 voxels are NaN; replace them"):
        AirForNaNd(("image",))({"image": image})


def test_an_image_without_outliers_stays_as_it_is():
    image = torch.from_numpy(head())[None]
    assert torch.equal(CutOutliersd(("image",), (0.5, 99.5))({"image": image})["image"], image)


def test_outliers_are_cut_a_range_beyond_the_percentiles():
    image = torch.linspace(0, 1000, 10_000).reshape(1, 100, 100, 1).clone()
    image[0, 0, :3, 0] = torch.tensor([1e9, -1e9, 1e5])
    low, high = intensity_range(image, (0.5, 99.5))
    cut = CutOutliersd(("image",), (0.5, 99.5))({"image": image.clone()})["image"]
    assert float(cut.max()) == pytest.approx(high + (high - low), rel=1e-5)
    assert float(cut.min()) == pytest.approx(low - (high - low), rel=1e-5)
    assert (low, high) == pytest.approx((5, 995), abs=2)


def test_a_large_image_of_one_thin_plate_is_not_blanked():
    voxels = torch.zeros(1, 200, 200, 120)
    voxels[0, 101, 51:151, 31:91] = 1000  # between the voxels by which outliers are judged
    assert CutOutliersd("image", (0.5, 99.5))({"image": meta(voxels)})["image"].max() == 1000


def test_an_image_of_one_value_is_refused_but_a_frame_of_a_series_may_be_empty():
    air, empty = AirForNaNd("image", blank=False), {"image": meta(torch.zeros(1, 4, 4, 4))}
    with pytest.raises(InputError, match=r"s01\.nii\.gz"):
        air(empty)
    assert not air({**empty, "frame": 2})["image"].any()


NAN = float("nan")


def framed(shape: tuple[int, ...], air: float, value: float = 1.0) -> torch.Tensor:
    voxels = torch.full((1, *shape), air)
    voxels[(0, *(slice(1, -1) if size > 2 else slice(None) for size in shape))] = value
    return voxels


@pytest.mark.parametrize("shape", [(6, 6, 6), (6, 6, 1), (6, 6, 2)])
def test_nan_on_the_border_is_a_background(shape):
    assert surrounded_by_nan(framed(shape, NAN))
    assert list(voxel_faults("a.nii", framed(shape, NAN))) == []
    assert not surrounded_by_nan(framed(shape, 0.0, NAN))


def test_a_body_that_goes_on_beyond_the_slab_is_surrounded_all_the_same():
    voxels = torch.full((1, 20, 20, 6), NAN)
    voxels[0, 1:-1, 2:-2] = 1  # on most of the first and last slice
    assert surrounded_by_nan(voxels)
    assert surrounded_by_nan(voxels.permute(0, 3, 1, 2))


def test_half_of_the_border_is_enough_and_less_is_not():
    voxels = framed((6, 6, 6), NAN)
    voxels[0, :3, :, :] = 1
    assert surrounded_by_nan(voxels)
    voxels[0, 3, :, :] = 1
    assert not surrounded_by_nan(voxels)
    (fault,) = voxel_faults("a.nii", voxels)
    assert str(fault).startswith(f"a.nii: {int(voxels.isnan().sum())} of 216 voxels are NaN; replace")


@pytest.mark.parametrize("voxels", [torch.full((1, 4, 4, 4), NAN), framed((4, 4, 4), NAN, float("inf"))])
def test_nothing_but_nan_and_infinity_are_refused(voxels):
    assert len(list(voxel_faults("a.nii", voxels))) == 1


@pytest.mark.parametrize("air", [torch.finfo(torch.float32).min, 9.9e36, -float("inf")])
def test_air_of_a_fill_value_is_refused(air):
    (fault,) = voxel_faults("a.nii", framed((4, 4, 4), air))
    assert str(fault).startswith(
        "a.nii: 56 of 64 voxels are infinite or beyond ±1e+30, like a fill value; replace"
    )
    assert list(voxel_faults("a.nii", framed((4, 4, 4), -1e29))) == []


def test_outliers_are_cut_though_a_range_beyond_is_no_float():
    image = torch.from_numpy(np.linspace(-3e38, 3e38, 1000, dtype=np.float32)).reshape(1, 10, 10, 10)
    assert torch.equal(CutOutliersd(("image",), (0.5, 99.5))({"image": image})["image"], image)

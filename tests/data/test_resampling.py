from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacingd

from shared_components.data.faults import read
from shared_components.data.resampling import (
    AntiAliasd,
    InPlaneSpacingd,
    SmoothInPlaneSpacingd,
    axis_weights,
    weigh_in_plane,
)
from shared_components.data.volumes import volume_transforms
from shared_components.errors import InputError


def volume(shape=(1, 20, 23, 4), affine=(2.0, 1.5, 5.0, 1.0)) -> MetaTensor:
    return MetaTensor(torch.rand(shape), affine=torch.diag(torch.tensor(affine, dtype=torch.float64)))


@pytest.mark.parametrize("spacing", [(3.0, 3.0), (1.0, 2.5), (2.0, 1.5)])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_equals_monai_on_straight_grids(spacing, mode):
    image = volume()
    ours = InPlaneSpacingd("x", spacing, [mode])({"x": image.clone()})["x"]
    theirs = Spacingd("x", (*spacing, -1.0), mode=mode, dtype=np.float32)({"x": image.clone()})["x"]
    assert torch.allclose(ours.as_tensor(), theirs.as_tensor(), atol=1e-5)
    assert torch.allclose(ours.affine, theirs.affine)


def test_the_eighth_decimal_of_an_affine_moves_nothing():
    exact = volume(affine=(2.0, 2.0, 3.0, 1.0))
    rounded = exact.clone()
    rounded.affine = exact.affine + 1e-8 * torch.rand(4, 4, dtype=torch.float64).tril(-1).T
    step = InPlaneSpacingd("x", (2.5, 2.5), ["bilinear"])
    ours, other = step({"x": exact})["x"], step({"x": rounded})["x"]
    assert torch.allclose(ours.as_tensor(), other.as_tensor(), atol=1e-4)
    assert torch.allclose(ours.affine, other.affine, atol=1e-5)


def test_inverse_restores_shape_and_affine():
    image = volume()
    step = InPlaneSpacingd("x", (3.3, 3.3), ["bilinear"])
    back = step.inverse(step({"x": image.clone()}))["x"]
    assert back.shape == image.shape
    assert torch.allclose(back.affine, image.affine)


def test_blur_keeps_a_constant_up_to_the_border_and_the_slices_apart():
    image = volume(affine=(1.0, 1.0, 1.0, 1.0))
    image[:] = 0
    image[..., 2] = 7
    blurred = AntiAliasd("x", (4.0, 4.0))({"x": image})["x"].as_tensor()
    assert torch.allclose(blurred[..., 2], torch.full((1, 20, 23), 7.0), atol=1e-5)
    assert blurred[..., [0, 1, 3]].abs().max() == 0


def test_blur_removes_what_a_coarser_grid_cannot_show_and_nothing_else():
    stripes = volume(affine=(1.0, 1.0, 1.0, 1.0))
    stripes[:] = 1 - 2 * (torch.arange(20) % 2).float()[:, None, None]
    coarse = AntiAliasd("x", (4.0, 1.0))({"x": stripes})["x"]
    assert coarse[:, 5:15].abs().max() < 0.01
    assert AntiAliasd("x", (0.5, 1.0))({"x": stripes})["x"] is stripes


@pytest.mark.parametrize(
    ("spacing", "voxel", "shape"),
    [
        ((4.5, 4.5), (0.9, 0.9, 4), (64, 50, 5)),
        ((3.0, 0.5), (1, 1, 1), (60, 50, 7)),
        ((3.3, 2.0), (0.7, 1.1, 1), (61, 50, 1)),
        ((1.0, 1.0), (1, 1.0004, 1), (30, 31, 2)),
        ((0.7, 0.9), (1.5, 1.6, 3), (20, 21, 2)),
    ],
)
def test_blur_and_resampling_in_one_step_are_the_two_steps(spacing, voxel, shape):
    affine = torch.diag(torch.tensor([*voxel, 1.0], dtype=torch.float64))
    affine[:3, :3] = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0] @ affine[:3, :3]
    image = MetaTensor(torch.rand(1, *shape), affine=affine)
    one_step = SmoothInPlaneSpacingd("x", spacing)
    two = InPlaneSpacingd("x", spacing, ["bilinear"])(AntiAliasd("x", spacing)({"x": image.clone()}))["x"]
    one = one_step({"x": image.clone()})["x"]
    assert torch.allclose(one.as_tensor(), two.as_tensor(), atol=5e-6)
    assert torch.allclose(one.affine, two.affine)
    back = one_step.inverse({"x": one})["x"]
    assert back.shape == image.shape
    assert torch.allclose(back.affine, affine)
    assert not back.applied_operations


def test_weights_of_an_axis_add_up_to_one_and_stop_at_the_border():
    for weights in (axis_weights(20, 7, 3.0, 1.0), axis_weights(7, 20, 0.35)):
        assert torch.allclose(weights.sum(dim=1), torch.ones(len(weights)), atol=1e-5)
    nearest = axis_weights(4, 9, 0.5)
    assert torch.allclose(
        nearest @ torch.arange(4.0), torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3, 3]), atol=1e-5
    )
    volume = torch.rand(2, 4, 4, 3)
    assert torch.allclose(
        weigh_in_plane(volume, nearest, nearest[:3]),
        torch.einsum("chwd,ih,jw->cijd", volume, nearest, nearest[:3]),
        atol=1e-6,
    )


@pytest.mark.parametrize("one_step", [False, True])
def test_a_spacing_that_would_fill_the_memory_is_told_at_once(tmp_path, save_image, one_step):
    noise = np.random.default_rng(0).normal(size=(20, 24, 3)).astype(np.float32)
    path = save_image(tmp_path / "v.nii.gz", noise, np.diag([2.0, 2.0, 1.0, 1.0]))
    with pytest.raises(InputError) as told:
        read(volume_transforms(("image",), 16, 1e-4, one_step=one_step), {"image": path})
    assert str(told.value) == (
        f"{path}: its slices of 40 × 48 mm would be 380001 × 460001 pixels at a spacing of 0.0001 mm; correct the "
        "voxel size in its header, or `spacing`"
    )


@pytest.mark.parametrize("one_step", [False, True])
def test_voxels_a_millionth_of_the_spacing_make_one_pixel_at_once(tmp_path, save_image, one_step):
    noise = np.random.default_rng(0).normal(size=(20, 24, 3)).astype(np.float32)
    path = save_image(tmp_path / "v.nii.gz", noise, np.diag([1e-4, 1e-4, 1.0, 1.0]))
    transform = volume_transforms(("image",), 16, 100.0, crop=False, one_step=one_step)
    assert transform({"image": path})["image"].shape == (1, 1, 1, 3)

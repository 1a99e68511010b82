from __future__ import annotations

import pytest
import torch

from shared_components.data.voxel_faults import surrounded_by_nan, voxel_faults

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


def test_half_of_the_border_is_enough_and_less_is_not():
    voxels = framed((6, 6, 6), NAN)
    voxels[0, :3, :, :] = 1
    assert surrounded_by_nan(voxels)
    voxels[0, 3, :, :] = 1
    assert not surrounded_by_nan(voxels)
    (fault,) = voxel_faults("a.nii", voxels)
    assert str(fault).startswith(
        f"a.nii: {int(voxels.isnan().sum())} of 216 voxels are NaN or infinite; replace"
    )


@pytest.mark.parametrize("voxels", [torch.full((1, 4, 4, 4), NAN), framed((4, 4, 4), NAN, float("inf"))])
def test_nothing_but_nan_and_infinity_are_refused(voxels):
    assert len(list(voxel_faults("a.nii", voxels))) == 1

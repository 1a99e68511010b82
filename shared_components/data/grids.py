"""When two grids are one: the rule of the data check, training, scoring, resumption and reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from monai.data.utils import affine_to_spacing
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from torch import Tensor

GRID_TOLERANCE = 0.05
"""How far, in voxels, two grids may lie apart at any corner and still be called one grid."""

Affine: TypeAlias = Tensor | np.ndarray


def grid_distance(affine: Affine, other: Affine, shape: Sequence[int]) -> float:
    """Largest distance between the corners of two grids, in units of the smallest voxel edge.

    Args:
        affine: voxel to world, ``(4, 4)``, mm.
        other: the same for the other grid.
        shape: ``(H, W, D)``, voxels, of both grids.
    """
    mine, its = (torch.as_tensor(each).double() for each in (affine, other))
    ends = [torch.tensor([0.0, float(size - 1)], dtype=torch.float64) for size in shape]
    corners = torch.cartesian_prod(*ends)  # (8, 3)
    corners = torch.cat([corners, torch.ones_like(corners[:, :1])], dim=1)
    shift = corners @ (mine - its).T
    return float(shift[:, :3].norm(dim=1).max()) / float(affine_to_spacing(mine).min())


def grid_fault(shape: Sequence[int], affine: Affine, other_shape: Sequence[int], other: Affine) -> str | None:
    """What sets one grid apart from another, if they are not one.

    Args:
        shape: voxels; ones at its end do not count.
        affine: voxel to world, mm, ``(4, 4)``.
        other_shape, other: those of the grid that was expected.
    """
    mine, its = (_padded(each) for each in (shape, other_shape))
    if mine != its:
        return f"has {_shown(mine)} voxels, expected {_shown(its)}"
    distance = grid_distance(other, affine, its[:3])
    if distance <= GRID_TOLERANCE:
        return None
    return f"another affine: corners lie up to {distance:.3g} voxels apart"


def same_grid(shape: Sequence[int], affine: Affine, other_shape: Sequence[int], other: Affine) -> bool:
    """Whether two grids are one, within :data:`GRID_TOLERANCE`; arguments as of :func:`grid_fault`."""
    return grid_fault(shape, affine, other_shape, other) is None


def along_axes_of(voxels: np.ndarray, affine: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip a volume's axes to run as those of another grid, which may lie anywhere.

    Args:
        voxels: ``(X, Y, Z, ...)``.
        affine: its voxel to world, mm, ``(4, 4)``.
        other: the affine whose axes are wanted, ``(4, 4)``.
    Returns:
        The voxels, a view, and their affine.
    """
    turn = ornt_transform(io_orientation(affine), io_orientation(other))
    return apply_orientation(voxels, turn), affine @ inv_ornt_aff(turn, voxels.shape[:3])


def _padded(shape: Sequence[int]) -> tuple[int, ...]:
    """At least three axes, and no ones after the third."""
    shape = (*map(int, shape), *[1] * (3 - len(shape)))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _shown(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))

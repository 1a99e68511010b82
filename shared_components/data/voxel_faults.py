"""Grey values that mean nothing: NaN that is no background, infinity, and images of one value."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from shared_components.data.problems import Problem


def voxel_faults(path: str | os.PathLike, voxels: Tensor) -> Iterator[Problem]:
    """Grey values that mean nothing.

    Args:
        path: for the message.
        voxels: ``(1, X, Y, Z)``; NaN is let pass where it is the background, see :func:`surrounded_by_nan`.
    """
    bad = int((~torch.isfinite(voxels)).sum())
    if bad and (torch.isinf(voxels).any() or not surrounded_by_nan(voxels)):
        fault = f"{bad} of {voxels.numel()} voxels are NaN or infinite"
        yield Problem(str(path), fault, "replace them (0 for outside the body) and save it again")


def constant_faults(path: str | os.PathLike, voxels: Tensor) -> Iterator[Problem]:
    """An image that shows nothing: all its voxels, but for air that is NaN, are equal.

    Args:
        path: for the message.
        voxels: ``(1, X, Y, Z)``.
    """
    known = voxels[~torch.isnan(voxels)]
    if known.numel() and known.min() == known.max():
        outside = "" if known.numel() == voxels.numel() else " or NaN"
        fault = f"constant: every voxel is {float(known.min()):g}{outside}"
        yield Problem(str(path), fault, "export the image again or leave it out")


def surrounded_by_nan(voxels: Tensor) -> bool:
    """Whether NaN stands for air, as SPM and fMRIPrep write it: on half or more of the outermost voxels.

    Args:
        voxels: ``(1, X, Y, Z)``; the two faces of an axis of one or two voxels are no border.
    """
    nan = torch.isnan(voxels[0])
    faces = [nan.select(axis, end) for axis in range(3) if nan.shape[axis] > 2 for end in (0, -1)]
    border = torch.cat([face.flatten() for face in faces]) if faces else nan.new_zeros(1)
    return bool(border.float().mean() >= 0.5) and not bool(nan.all())

"""The real head (Colin 27, shipped beside this file) and its tissue classes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch.nn import functional as F

FOLDER = Path(__file__).parent / "colin27"
TISSUES = ("air", "bone", "CSF", "GM", "WM", "soft", "fat")
WHITE_MATTER = 112.0  # the head's white-matter level, in its own grey values
NECK = 12  # voxels by which the cut neck is prolonged, so that a tilted stack does not look out of it

# Valleys between the peaks of the head's own histogram, in its grey values.
CSF_GM, GM_WM = 58.0, 97.0
AIR_BONE, DARK, SOFT_FAT = 8.0, 50.0, 130.0
CSF_RIM = 4.6  # mm outside the brain within which what is dark is fluid, not skull


class Head(NamedTuple):
    """The template at 1 mm.

    Attributes:
        t1: (X, Y, Z) float32, grey values over the white matter's.
        tissue: (X, Y, Z) int64, index into ``TISSUES``.
        residual: (X, Y, Z) float32, ``t1`` minus its mean over the voxel's tissue: the real texture.
        brain: (X, Y, Z) float32, 1 in the brain.
        affine: (4, 4), voxels to world, mm.
    """

    t1: torch.Tensor
    tissue: torch.Tensor
    residual: torch.Tensor
    brain: torch.Tensor
    affine: np.ndarray


def classify(t1: np.ndarray, brain: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Tissue of every voxel out of its grey value and place.

    Args:
        t1: grey values of the shipped head.
        brain: whether a voxel is in the brain.
        distance: mm to the brain.
    """
    inside = np.digitize(t1, [CSF_GM, GM_WM]) + TISSUES.index("CSF")
    outside = np.array([0, 1, 5, 6])[np.digitize(t1, [AIR_BONE, DARK, SOFT_FAT])]
    outside = np.where((t1 < DARK) & (distance <= CSF_RIM), TISSUES.index("CSF"), outside)
    return np.where(brain, inside, outside)


@cache
def load_head() -> Head:
    """The shipped head at 1 mm with its tissues."""
    image = nib.load(FOLDER / "head_2mm.nii.gz")
    grey = np.asarray(image.dataobj, dtype=np.float32)
    mask = np.asarray(nib.load(FOLDER / "brain_mask_2mm.nii.gz").dataobj) > 0
    far = distance_transform_edt(~mask, sampling=2.0).astype(np.float32)
    t1, brain, distance = (_finer(volume) for volume in (grey, mask.astype(np.float32), far))
    inside = brain > 0.5
    tissue = torch.from_numpy(classify(t1.numpy(), inside.numpy(), distance.numpy()))
    counts = torch.bincount(tissue.flatten()).clamp(min=1)
    means = torch.bincount(tissue.flatten(), weights=t1.flatten().double()) / counts
    residual = (t1 - means.float()[tissue]) / WHITE_MATTER
    affine = image.affine @ np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] -= image.affine[:3, :3] @ np.full(3, 0.25)  # a fine voxel's centre in its 2 mm voxel
    affine[:3, 3] -= affine[:3, :3] @ np.array([0, 0, 2 * NECK])
    return Head(t1 / WHITE_MATTER, tissue, residual, inside.float(), affine)


def _finer(volume: np.ndarray) -> torch.Tensor:
    """Twice the resolution, linearly, with the lowest slice repeated ``NECK`` times below."""
    longer = np.pad(volume, ((0, 0), (0, 0), (NECK, 0)), mode="edge")
    return F.interpolate(torch.from_numpy(longer)[None, None], scale_factor=2, mode="trilinear")[0, 0]

"""The real head (Colin 27, shipped beside this file), its tissue classes, and what sets patients' heads apart.

Beyond a smooth warp, tissue is gone or has come. Each domain stands for the patients of one hospital. Those of the T1
scanner have the template's anatomy; those of the T2 scanner are old, and their brain has withdrawn from the skull by
up to some millimetres, unevenly; those of the PET scanner have a mass with a fluid core, and some of them a part of
the brain removed. Which tissue touches which, and how many parts there are, differs then, which no map of one head
onto another can bring about.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch.nn import functional as F

from shared_components.data.phantoms.cases import Case

FOLDER = Path(__file__).parent / "colin27"
TISSUES = ("air", "bone", "CSF", "GM", "WM", "soft", "fat")
WHITE_MATTER = 112.0  # the head's white-matter level, in its own grey values
NECK = 12  # voxels by which the cut neck is prolonged, so that a tilted stack does not look out of it

# Valleys between the peaks of the head's own histogram, in its grey values.
CSF_GM, GM_WM = 58.0, 97.0
AIR_BONE, DARK, SOFT_FAT = 8.0, 50.0, 130.0
CSF_RIM = 4.6  # mm outside the brain within which what is dark is fluid, not skull
ATROPHY = (1.5, 5.0)  # mm by which the brain has withdrawn where it has most
UNEVEN = 12.0  # mm over which that depth varies
MASS = (9.0, 18.0)  # radius, mm
RIM = 0.6  # of a mass's radius: what lies within is fluid
DEPTH = 12.0  # mm below the brain's surface at least, of a mass's centre
CAVITY = (14.0, 24.0)  # radius, mm, of what was removed around a point of the brain's surface
REMOVED = 1 / 3  # share of the PET scanner's patients
FLUID, GREY = TISSUES.index("CSF"), TISSUES.index("GM")


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


def patient(case: Case) -> Head:
    """The template with what the patient has; its own for the same case."""
    head, random = load_head(), case.generator("pathology")
    if case.domain == "t2":
        return _without(head, _withdrawn(random))
    if case.domain == "pet":
        changed = _with_mass(head, random)
        return _without(changed, _cavity(random)) if random.random() < REMOVED else changed
    return head


@cache
def _depth() -> np.ndarray:
    """Distance of each voxel in the brain from what is not, mm; a voxel is 1 mm."""
    return distance_transform_edt(load_head().brain.numpy() > 0).astype(np.float32)


def _withdrawn(random: np.random.Generator) -> np.ndarray:
    """Where the brain of an old patient has been."""
    depth, coarse = _depth(), 4
    nodes = [-(-n // coarse) for n in depth.shape]
    noise = gaussian_filter(random.normal(size=nodes), UNEVEN / coarse)
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    fine = noise.repeat(coarse, 0).repeat(coarse, 1).repeat(coarse, 2)[tuple(map(slice, depth.shape))]
    return (depth > 0) & (depth <= random.uniform(*ATROPHY) * fine)


def _cavity(random: np.random.Generator) -> np.ndarray:
    """What a surgeon has taken out."""
    depth = _depth()
    return (depth > 0) & (_from_voxel(depth == 1.0, random) <= random.uniform(*CAVITY))


def _with_mass(head: Head, random: np.random.Generator) -> Head:
    """A rim of the grey matter's level around fluid; it is in the brain."""
    away = _from_voxel(_depth() >= DEPTH, random) / random.uniform(*MASS)
    mass = (away <= 1) & (head.brain.numpy() > 0)
    kinds = np.where(away <= RIM, FLUID, GREY)
    tissue = torch.from_numpy(np.where(mass, kinds, head.tissue.numpy()))
    return _recoloured(head, tissue, head.brain)


def _without(head: Head, gone: np.ndarray) -> Head:
    """Fluid where the brain is gone."""
    mask = torch.from_numpy(gone)
    return _recoloured(
        head, torch.where(mask, FLUID, head.tissue), torch.where(mask, torch.zeros(()), head.brain)
    )


def _recoloured(head: Head, tissue: torch.Tensor, brain: torch.Tensor) -> Head:
    """Real grey values follow: the mean of the new tissue, and the place's own texture."""
    t1 = torch.where(tissue == head.tissue, head.t1, _levels()[tissue] + head.residual)
    return head._replace(t1=t1, tissue=tissue, brain=brain)


@cache
def _levels() -> torch.Tensor:
    """Mean grey value of each tissue of the template: what its texture is measured from."""
    head, levels = load_head(), torch.zeros(len(TISSUES))
    levels[head.tissue] = head.t1 - head.residual
    return levels


def _from_voxel(where: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Distance of all voxels from a random one of ``where``, mm."""
    places = np.flatnonzero(where)
    centre = np.unravel_index(places[random.integers(len(places))], where.shape)
    axes = np.ogrid[tuple(map(slice, where.shape))]
    return np.sqrt(sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))).astype(np.float32)

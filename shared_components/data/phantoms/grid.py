"""Image grids: stored orientation, obliqueness, and the finer lattice on which a phantom is sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch.nn import functional as F


@dataclass(frozen=True)
class Grid:
    """A voxel grid in world space.

    Attributes:
        affine: (4, 4), voxel indices to world coordinates (mm, RAS+).
        shape: voxels along each array axis.
        supersample: samples per voxel along each array axis; their mean is the voxel's value, which gives
            partial volume at every border.
    """

    affine: np.ndarray
    shape: tuple[int, int, int]
    supersample: tuple[int, int, int] = (2, 2, 2)

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size along each array axis, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def fine_shape(self) -> tuple[int, int, int]:
        """Samples along each array axis."""
        x, y, z = (n * s for n, s in zip(self.shape, self.supersample, strict=True))
        return x, y, z

    def fine_points(self, every: float | None = None) -> np.ndarray:
        """World coordinates (X, Y, Z, 3) of the samples, or of a sparse lattice from first to last sample.

        Args:
            every: about so many mm between the nodes of the sparse lattice; None for all samples.
        """
        axes = []
        for count, per_voxel, spacing in zip(self.fine_shape, self.supersample, self.spacing, strict=True):
            nodes = count if every is None else max(2, round(count * spacing / per_voxel / every) + 1)
            axes.append((np.linspace(0, count - 1, nodes) + 0.5) / per_voxel - 0.5)
        indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        return indices @ self.affine[:3, :3].T + self.affine[:3, 3]

    def pool(self, samples: torch.Tensor) -> torch.Tensor:
        """Mean of the samples of every voxel, (C, *fine_shape) to (C, *shape)."""
        return F.avg_pool3d(samples[None], self.supersample)[0]


def make_grid(
    centre: np.ndarray,
    extent: np.ndarray,
    spacing: np.ndarray,
    codes: str = "RAS",
    rotation: Rotation | None = None,
    supersample: tuple[int, int, int] = (2, 2, 2),
) -> Grid:
    """Grid whose middle lies at ``centre``.

    Args:
        centre: world coordinates, mm.
        extent: what the grid must cover along its own axes, mm.
        spacing: voxel size, mm.
        codes: ``"RAS"`` or ``"LPS"``; the latter stores both in-plane axes reversed.
        rotation: of the grid against the world (an oblique scan); the anatomy stays where it is.
        supersample: samples per voxel and axis.
    """
    shape = np.ceil(np.asarray(extent) / spacing).astype(int)
    signs = np.array([1.0 if code in "RAS" else -1.0 for code in codes])
    axes = np.eye(3) if rotation is None else rotation.as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(signs * spacing)
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    affine = affine.astype(np.float32).astype(float)  # as NIfTI stores it
    return Grid(affine, (int(shape[0]), int(shape[1]), int(shape[2])), supersample)


def oblique_rotation(random: np.random.Generator) -> Rotation:
    """Rotation by 10 to 15 degrees about an axis near left–right, as axial stacks are tilted in practice."""
    axis = np.array([1.0, random.uniform(-0.3, 0.3), random.uniform(-0.3, 0.3)])
    angle = np.deg2rad(random.uniform(10, 15)) * random.choice([-1, 1])
    return Rotation.from_rotvec(angle * axis / np.linalg.norm(axis))

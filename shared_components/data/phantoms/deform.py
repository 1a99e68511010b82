"""Random anatomy out of one template: an affine map and a smooth elastic displacement on two scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from torch.nn import functional as F

from shared_components.data.phantoms.cases import Grid

LATTICE = 6.0  # mm between the points at which the map is evaluated; it is linear in between


@dataclass(frozen=True)
class Displacement:
    """Cubic B-spline displacement field.

    Attributes:
        nodes: (3, X, Y, Z) coefficients, mm.
        origin: world coordinates of the first node, mm.
        spacing: between nodes, mm.
    """

    nodes: np.ndarray
    origin: np.ndarray
    spacing: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Displacement in mm at world ``points`` (..., 3)."""
        where = np.moveaxis((points - self.origin) / self.spacing, -1, 0)
        axes = [map_coordinates(n, where, order=3, mode="nearest", prefilter=False) for n in self.nodes]
        return np.stack(axes, axis=-1)


@dataclass(frozen=True)
class Warp:
    """Map from a subject's world coordinates to the template's: ``centre + matrix (x - centre) + u(x)``."""

    matrix: np.ndarray
    centre: np.ndarray
    displacements: tuple[Displacement, ...]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Template coordinates (mm) of world ``points`` (..., 3)."""
        moved = (points - self.centre) @ self.matrix.T + self.centre
        return moved + sum(displacement(points) for displacement in self.displacements)


def random_displacement(
    random: np.random.Generator, lower: np.ndarray, upper: np.ndarray, spacing: float, amplitude: float
) -> Displacement:
    """Displacement over the box ``lower``..``upper`` (mm) with independent normal coefficients.

    Args:
        spacing: of the nodes, mm: the field's correlation length.
        amplitude: standard deviation of each component of the field, mm.
    """
    # A cubic B-spline over unit normal coefficients has a standard deviation of about 0.48 ** 1.5.
    shape = np.ceil((upper - lower) / spacing).astype(int) + 4
    nodes = random.normal(0, amplitude / 0.48**1.5, (3, *shape))
    return Displacement(nodes, lower - 1.5 * spacing, spacing)


def random_warp(
    random: np.random.Generator,
    lower: np.ndarray,
    upper: np.ndarray,
    centre: np.ndarray,
    *,
    degrees: float = 7.0,
    scaling: float = 0.08,
    shear: float = 0.03,
    elastic: tuple[tuple[float, float], ...] = ((45.0, 4.0), (16.0, 1.2)),
) -> Warp:
    """Random affine map about ``centre`` and an elastic field per (node spacing mm, amplitude mm) pair.

    Args:
        lower, upper: corners (mm) of the box in which the elastic field varies.
        degrees: standard deviation of the rotation about each axis is half of it, its bound all of it.
        scaling: bound on the logarithm of the scale along each axis.
        shear: standard deviation of the off-diagonal terms.
    """
    angles = np.clip(random.normal(0, degrees / 2, 3), -degrees, degrees)
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix = matrix @ np.diag(np.exp(random.uniform(-scaling, scaling, 3)))
    matrix = matrix + (1 - np.eye(3)) * random.normal(0, shear, (3, 3))
    fields = tuple(random_displacement(random, lower, upper, mm, amplitude) for mm, amplitude in elastic)
    return Warp(matrix, centre, fields)


def evaluate(
    function: Callable[[np.ndarray], np.ndarray], grid: Grid, lattice: float = LATTICE
) -> torch.Tensor:
    """A smooth function of world points, (..., 3) to (..., C), at the grid's samples.

    It is evaluated every ``lattice`` mm and interpolated linearly in between; an affine function stays exact.

    Returns:
        (C, *grid.fine_shape) float32.
    """
    values = np.moveaxis(function(grid.fine_points(lattice)), -1, 0)
    coarse = torch.from_numpy(np.ascontiguousarray(values)).float()
    return F.interpolate(coarse[None], size=grid.fine_shape, mode="trilinear", align_corners=True)[0]


def sample_template(
    template: torch.Tensor, template_affine: np.ndarray, warp: Warp, grid: Grid, lattice: float = LATTICE
) -> torch.Tensor:
    """The warped template on the grid's samples, zero outside.

    Args:
        template: (C, X, Y, Z) float32.
        template_affine: template voxels to template world, mm.
        lattice: mm between the points at which the warp is evaluated.
    Returns:
        (C, *grid.fine_shape) float32.
    """
    to_voxel, sizes = np.linalg.inv(template_affine), np.array(template.shape[1:])

    def normalised(points: np.ndarray) -> np.ndarray:
        voxels = warp(points) @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        return ((2 * voxels + 1) / sizes - 1)[..., ::-1]  # grid_sample's convention, align_corners=False

    where = evaluate(normalised, grid, lattice).permute(1, 2, 3, 0)
    return F.grid_sample(template[None], where[None], align_corners=False)[0]

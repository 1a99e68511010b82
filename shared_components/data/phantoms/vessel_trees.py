"""Random branching trees of vessels, and their distance and calibre on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shared_components.data.phantoms.cases import Grid

MOST_POINTS = 20000  # of one tree; more would fill the field of view


@dataclass(frozen=True)
class Growth:
    """How an organ's vessels branch; lengths in mm.

    Attributes:
        thickest, thinnest: radius of a root, and radius below which a branch ends.
        tortuosity: standard deviation of the turn (radians) over a way of one radius.
        lengths: least and most length of a branch between two forks, in radii.
        angles: of the smaller branch at a fork, least and most, degrees.
        flat: whether the tree stays in its plane z = 0.
    """

    thickest: float
    thinnest: float
    tortuosity: float
    lengths: tuple[float, float]
    angles: tuple[float, float]
    flat: bool = False


class Tree(NamedTuple):
    """``points`` (N, 3) along the vessels' axes in world coordinates, and their ``radii`` (N,), both mm."""

    points: np.ndarray
    radii: np.ndarray


class Lumen(NamedTuple):
    """On a grid's samples: ``distance`` (mm) to the nearest vessel wall, negative inside, and that vessel's
    ``radius`` (mm); far from any vessel they are the painted margin and 0."""

    distance: np.ndarray
    radius: np.ndarray


def grow_tree(
    random: np.random.Generator,
    growth: Growth,
    start: np.ndarray,
    direction: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
) -> Tree:
    """A tree from ``start`` towards ``direction`` within the box ``lower``..``upper`` (mm).

    At a fork the radii obey Murray's law, r^3 = a^3 + b^3.

    Source: Murray 1926, PNAS 12(3), 207–214.
    """
    points: list[np.ndarray] = []
    radii: list[float] = []
    branches = [(start, direction, growth.thickest * random.uniform(0.85, 1.15))]
    while branches and len(points) < MOST_POINTS:
        place, direction, radius = branches.pop(0)
        length = radius * random.uniform(*growth.lengths)
        for _ in range(max(2, round(2 * length / radius))):
            direction = _turned(random, direction, growth.tortuosity * np.sqrt(0.5), growth.flat)
            place = place + direction * radius / 2
            points.append(place)
            radii.append(radius)
        if np.all((place > lower) & (place < upper)):
            branches += _fork(random, growth, place, direction, radius)
    return Tree(np.array(points), np.array(radii))


def _fork(
    random: np.random.Generator, growth: Growth, place: np.ndarray, direction: np.ndarray, radius: float
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    ratio = random.uniform(0.5, 0.95)
    larger = radius / np.cbrt(1 + ratio**3)
    angle = np.deg2rad(random.uniform(*growth.angles))
    aside = _sideways(random, direction, growth.flat)
    children = ((larger, -0.4 * angle), (ratio * larger, angle))
    return [
        (place, np.cos(turn) * direction + np.sin(turn) * aside, child)
        for child, turn in children
        if child >= growth.thinnest
    ]


def _sideways(random: np.random.Generator, direction: np.ndarray, flat: bool) -> np.ndarray:
    """Random unit vector at a right angle to ``direction``."""
    vector = random.normal(size=3)
    if flat:
        vector = np.array([-direction[1], direction[0], 0.0]) * random.choice([-1, 1])
    vector = vector - direction * (vector @ direction)
    return vector / np.linalg.norm(vector)


def _turned(random: np.random.Generator, direction: np.ndarray, deviation: float, flat: bool) -> np.ndarray:
    turned = direction + random.normal(0, deviation) * _sideways(random, direction, flat)
    return turned / np.linalg.norm(turned)


def paint(trees: list[Tree], grid: Grid, margin: float) -> Lumen:
    """Distance to the vessels' walls and their calibre on the grid's samples.

    Args:
        margin: mm around each vessel within which the distance is known.
    """
    distance = np.full(grid.fine_shape, margin, dtype=np.float32)
    calibre = np.zeros(grid.fine_shape, dtype=np.float32)
    step = grid.spacing / grid.supersample  # mm between samples
    to_voxel = np.linalg.inv(grid.affine)
    for tree in trees:
        voxels = tree.points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        samples = (voxels + 0.5) * grid.supersample - 0.5
        for centre, radius in zip(samples, tree.radii, strict=True):
            _paint_ball(distance, calibre, centre, float(radius), step, margin)
    return Lumen(distance, calibre)


def _paint_ball(
    distance: np.ndarray,
    calibre: np.ndarray,
    centre: np.ndarray,
    radius: float,
    step: np.ndarray,
    margin: float,
) -> None:
    reach = (radius + margin) / step
    first = np.maximum(np.ceil(centre - reach), 0).astype(int)
    last = np.minimum(np.floor(centre + reach) + 1, distance.shape).astype(int)
    if np.any(last <= first):
        return
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    x, y, z = (((np.arange(a, b) - c) * s) ** 2 for a, b, c, s in zip(first, last, centre, step, strict=True))
    from_wall = np.sqrt(x[:, None, None] + y[:, None] + z).astype(np.float32) - np.float32(radius)
    nearer = from_wall < distance[box]
    distance[box][nearer] = from_wall[nearer]
    calibre[box][nearer] = radius

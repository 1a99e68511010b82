"""Slices of DICOM files as one regular volume: the grid that they lie on, or why they lie on none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared_components.data.faults import Fault, UnfitFile
from shared_components.data.grids import GRID_TOLERANCE

CONVERT = "convert it to NIfTI (dcm2niix does) and name that file"
UNEVEN = 0.1
"""How far, in distances between slices, a slice may lie off its place: scanners round positions."""

_TURNED = 1e-3  # difference of direction cosines that rounding explains
_SAME_PLACE, _SAME_SHARE = 1e-3, 0.05  # mm, and of the largest distance between slices
_OWN_FOLDER = "put each volume into a folder of its own"


class Plane(NamedTuple):
    """A slice: its file and frame (``None`` in a file of one), and what its header says.

    position: of the first pixel, LPS, mm (3). axes: directions of rows and columns, LPS (6). spacing: along rows and
    columns, mm. size: columns and rows. thickness: of a slice, mm. scale: slope and intercept. assumed: what of this
    its header does not say.
    """

    file: Path
    frame: int | None
    position: tuple[float, ...]
    axes: tuple[float, ...]
    spacing: tuple[float, float]
    size: tuple[int, int]
    thickness: float
    scale: tuple[float, float]
    assumed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.file.name if self.frame is None else f"frame {self.frame + 1}"


@dataclass(frozen=True)
class Stack:
    """A regular volume: its slices from the first to the last, and voxel to RAS world, mm, ``(4, 4)``."""

    planes: list[Plane]
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        return (*self.planes[0].size, len(self.planes))


def stacked(path: Path, planes: list[Plane]) -> Stack:
    """Sort the slices along their normal and find the grid.

    Raises:
        UnfitFile: they lie on none.
    """
    first = planes[0]
    for plane in planes:
        if plane.assumed and len(planes) > 1:
            raise unfit(path, f"{plane.name} states no {' and no '.join(plane.assumed)}", CONVERT)
        fault = _difference(first, plane)
        if fault:
            raise unfit(path, f"{len(planes)} slices of {fault} in one series", _OWN_FOLDER)
    right, down = np.reshape(first.axes, (2, 3))
    normal = np.cross(right, down)
    skewed = abs(right @ down) > _TURNED or abs(np.linalg.norm(normal) - 1) > 5 * _TURNED
    if skewed or min(first.spacing) <= 0:
        raise unfit(path, "states axes that are not at right angles, or pixels of no size", CONVERT)
    planes = sorted(planes, key=lambda plane: float(np.dot(plane.position, normal)))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = right * first.spacing[0], down * first.spacing[1]
    affine[:3, 2], affine[:3, 3] = _line(path, planes, normal)
    return Stack(planes, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def _difference(one: Plane, other: Plane) -> str | None:
    """What keeps two slices from being of one volume; thickness may differ."""
    if one.size != other.size:
        return "different sizes ({}×{} and {}×{} pixels)".format(*one.size, *other.size)
    if not np.allclose(one.axes, other.axes, atol=_TURNED):
        return f"different directions ({one.name} and {other.name})"
    if not np.allclose(one.spacing, other.spacing, rtol=_TURNED):
        return f"different pixel sizes ({one.spacing[0]:g} and {other.spacing[0]:g} mm)"
    return None


def _line(path: Path, planes: Sequence[Plane], normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The way from one slice to the next, and the first one's place, LPS, mm, ``(3,)``.

    The way is not the normal's where a gantry was tilted: the grid is sheared then.

    Raises:
        UnfitFile: the slices are not at equal distances along a line.
    """
    if len(planes) == 1:
        return normal * planes[0].thickness, np.array(planes[0].position)
    places = np.array([plane.position for plane in planes])  # (slices, 3)
    gaps = np.diff(places @ normal)
    same = gaps < max(_SAME_PLACE, _SAME_SHARE * gaps.max())
    if same.any():
        raise unfit(path, _repeated(planes, same), _OWN_FOLDER)
    numbers = np.arange(len(planes))
    step, corner = np.polyfit(numbers, places, 1)
    off = np.linalg.norm(places - corner - numbers[:, None] * step, axis=1)
    distance = float(step @ normal)
    if off.max() > UNEVEN * distance:
        cure = "fetch missing slices again, or resample it to equal distances and save it as NIfTI"
        raise unfit(path, _uneven(planes, gaps, float(off.max())), cure)
    aside = np.linalg.norm(step - distance * normal) * (len(planes) - 1)
    straight = aside <= GRID_TOLERANCE * min(*planes[0].spacing, distance)
    return distance * normal if straight else step, corner


def _repeated(planes: Sequence[Plane], same: np.ndarray) -> str:
    """What it means that slices lie where the one before them lies, ``same`` ``(slices - 1,)``."""
    count, places = len(planes), 1 + int((~same).sum())
    at = int(same.argmax())
    if places == 1:
        return (
            f"its {count} slices lie at one place or state none: frames, echoes or directions, not a volume"
        )
    pair = f"{planes[at].name} and {planes[at + 1].name} lie at one"
    return f"{count} slices at {places} places ({pair}): several volumes or copies in one series"


def _uneven(planes: Sequence[Plane], gaps: np.ndarray, off: float) -> str:
    typical = float(np.median(gaps))
    at = int(np.abs(gaps - typical).argmax())
    if abs(gaps[at] - typical) <= UNEVEN * typical:
        return f"its slices are shifted sideways or drift, by up to {off:.3g} mm"
    between = f"{planes[at].name} and {planes[at + 1].name}"
    return f"its {len(planes)} slices lie {typical:.4g} mm apart, but {gaps[at]:.4g} mm between {between}"


def unfit(path: Path, fault: str, cure: str) -> UnfitFile:
    """The error that names a file, its fault and the cure."""
    return UnfitFile(Fault(str(path), fault, cure))

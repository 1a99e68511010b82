"""How large, whole and smooth the classes of label maps are: numbers that tell nonsense from anatomy without labels."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from shared_components.errors import InputError
from shared_components.records import read_record, write_record

WHOLE = "all"  # classes together
SPREADS = {  # least deviation that counts as one: patients differ by as much, and a source may have a single volume
    "area": 0.5,  # logarithm of the mean area of a slice, mm² + 1
    "empty": 0.2,  # share of slices without the class
    "parts": 0.3,  # logarithm of 1 + mean number of parts of a slice
    "largest": 0.1,  # mean share of the largest part of a slice
    "outline": 0.25,  # mean logarithm of perimeter² / area
    "overlap": 0.1,  # mean Dice of neighbouring slices
}
FARTHEST = 4.0  # deviations beyond which a shape is just wrong
Shapes = Mapping[str, float]


def shapes(volume: np.ndarray, classes: Sequence[int], spacing: float | None) -> dict[str, float]:
    """Describe a label map by ``{"<class> <what>": number}``, ``what`` being a key of ``SPREADS``.

    Args:
        volume: label map, (slices, H, W) of whole numbers; 0 is background, anything below 0 unknown.
        classes: label values; beside them ``all`` stands for them together, where there are several.
        spacing: size of a pixel, mm; None counts areas in pixels.
    """
    pixel = spacing or 1.0
    masks = {str(value): volume == value for value in classes}
    if len(masks) > 1:
        masks[WHOLE] = volume > 0
    return {
        f"{name} {what}": float(value)
        for name, mask in masks.items()
        for what, value in _described(mask, pixel).items()
    }


def _described(mask: np.ndarray, pixel: float) -> dict[str, float]:
    areas = mask.sum((1, 2)) * pixel**2
    parts = [np.bincount(ndimage.label(part)[0].ravel())[1:] for part in mask[areas > 0]]
    perimeters = _perimeters(mask)[areas > 0] * pixel
    both = [(a, b) for a, b in zip(mask[1:], mask[:-1], strict=True) if a.any() or b.any()]
    return {
        "area": np.log(areas.mean() + 1),
        "empty": (areas == 0).mean(),
        "parts": np.log1p(sum(map(len, parts)) / len(mask)),
        "largest": np.mean([sizes.max() / sizes.sum() for sizes in parts]) if parts else 1.0,
        "outline": np.mean(np.log(perimeters**2 / areas[areas > 0])) if parts else 0.0,
        "overlap": np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in both]) if both else 0.0,
    }


def _perimeters(mask: np.ndarray) -> np.ndarray:
    """Number of pixel edges around the mask of each slice."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1))).astype(np.int8)
    return sum(np.abs(np.diff(padded, axis=axis)).sum((1, 2)) for axis in (1, 2))


def write_shapes(
    volumes: Iterable[np.ndarray], classes: Sequence[int], spacing: float | None, path: str | os.PathLike
) -> Path:
    """Write mean and deviation of the shapes of some volumes; no label map can be had from them.

    Args:
        volumes: label maps, (slices, H, W); of those that are annotated in part the annotated slices.
        classes: label values.
        spacing: size of a pixel, mm.
        path: JSON file.
    Raises:
        InputError: no volume.
    """
    found = [shapes(volume, classes, spacing) for volume in volumes]
    if not found:
        raise InputError(f"{path}: expected at least one label map to describe, found none; label a volume")
    described = {
        name: {
            "mean": round(statistics.fmean(one[name] for one in found), 4),
            "deviation": round(statistics.pstdev(one[name] for one in found), 4),
        }
        for name in found[0]
    }
    return write_record(Path(path), {"volumes": len(found), "shapes": described})


def read_shapes(paths: Sequence[str | os.PathLike]) -> list[dict[str, dict[str, float]]]:
    """What :func:`write_shapes` wrote at one or several clients.

    Raises:
        InputError: a file is missing or damaged.
    """
    return [read_record(Path(path), "make it again with shapes.yaml")["shapes"] for path in paths]


def implausibility(volumes: Iterable[Shapes], known: Sequence[Mapping[str, Mapping[str, float]]]) -> float:
    """Mean distance of shapes from those of labelled volumes, in deviations of at least ``SPREADS``; 0 is best.

    Each number counts at most ``FARTHEST``; where several clients have labels, the nearest counts.

    Args:
        volumes: shapes of each volume.
        known: what labelled clients have published.
    """
    return float(
        np.mean(
            [
                min(_distance(name, value, one[name]) for one in known)
                for v in volumes
                for name, value in v.items()
            ]
        )
    )


def _distance(name: str, value: float, known: Mapping[str, float]) -> float:
    spread = max(known["deviation"], SPREADS[name.split(" ")[-1]])
    return min(abs(value - known["mean"]) / spread, FARTHEST)

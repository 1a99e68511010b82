"""How large, whole and smooth the classes of label maps are: numbers that tell nonsense from anatomy without labels."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from shared_components.data.slices import SliceDataset
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
FEWEST = 3  # volumes of which exact means may leave a site
Shapes = Mapping[str, float]


def shapes(
    volume: np.ndarray,
    classes: Sequence[int],
    spacing: float | Sequence[float] | None,
    places: Sequence[int] | None = None,
) -> dict[str, float]:
    """Describe a label map by ``{"<class> <what>": number}``, ``what`` being a key of ``SPREADS``.

    What cannot be had is left out: areas without a spacing, the overlap without two neighbouring slices, the share of
    empty slices where some slices are not known, size and outline of a class that is found nowhere.

    Args:
        volume: label map, (slices, H, W) of whole numbers; 0 is background.
        classes: label values; beside them ``all`` stands for them together, where there are several.
        spacing: size of a pixel, mm, or along each axis.
        places: number of each slice in its volume, of which some are missing; None: these are all.
    """
    masks = {str(value): volume == value for value in classes}
    if len(masks) > 1:
        masks[WHOLE] = volume > 0
    return {
        f"{name} {what}": float(value)
        for name, mask in masks.items()
        for what, value in _described(mask, spacing, places)
    }


def _described(
    mask: np.ndarray, spacing: float | Sequence[float] | None, places: Sequence[int] | None
) -> Iterator[tuple[str, float]]:
    pixel = np.broadcast_to(np.asarray(1.0 if spacing is None else spacing, dtype=float), 2)
    areas = mask.sum((1, 2)) * pixel.prod()
    parts = [np.bincount(ndimage.label(part)[0].ravel())[1:] for part in mask[areas > 0]]
    numbers = np.arange(len(mask)) if places is None else np.asarray(places)
    follow = np.flatnonzero(np.diff(numbers) == 1)
    both = [(mask[n], mask[n + 1]) for n in follow if mask[n].any() or mask[n + 1].any()]
    if spacing is not None:
        yield "area", np.log(areas.mean() + 1)
    if places is None:
        yield "empty", (areas == 0).mean()
    yield "parts", np.log1p(sum(map(len, parts)) / len(mask))
    if parts:
        perimeters = _perimeters(mask, pixel)[areas > 0]
        yield "largest", np.mean([sizes.max() / sizes.sum() for sizes in parts])
        yield "outline", np.mean(np.log(perimeters**2 / areas[areas > 0]))
    if len(follow):
        yield "overlap", np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in both]) if both else 0.0


def _perimeters(mask: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Length of the pixel edges around the mask of each slice, mm."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1))).astype(np.int8)
    edges = [np.abs(np.diff(padded, axis=axis)).sum((1, 2)) for axis in (1, 2)]
    return edges[0] * pixel[1] + edges[1] * pixel[0]


class Known(NamedTuple):
    """A label map of which slices are known.

    Attributes:
        labels: of the known slices, (slices, H, W).
        places: their numbers in the volume; None: all are known.
    """

    labels: np.ndarray
    places: Sequence[int] | None = None


def write_shapes(
    volumes: Iterable[Known],
    classes: Sequence[int],
    spacing: float | Sequence[float] | None,
    path: str | os.PathLike,
) -> Path:
    """Write mean and deviation of the shapes of some volumes; no label map can be had from them.

    Of fewer than ``FEWEST`` volumes the means are rounded to half of the least deviation that counts, and there are no
    deviations: they would be one patient's.

    Args:
        volumes: label maps.
        classes: label values.
        spacing: size of a pixel, mm.
        path: JSON file.
    """
    found = [shapes(one.labels, classes, spacing, one.places) for one in volumes]
    names = dict.fromkeys(name for one in found for name in one)
    described = {name: _summary(name, [one[name] for one in found if name in one]) for name in names}
    return write_record(Path(path), {"volumes": len(found), "shapes": described})


def _summary(name: str, values: Sequence[float]) -> dict[str, float]:
    mean = statistics.fmean(values)
    if len(values) < FEWEST:
        step = SPREADS[name.rsplit(" ", maxsplit=1)[-1]] / 2
        return {"mean": round(round(mean / step) * step, 4), "deviation": 0.0}
    return {"mean": round(mean, 4), "deviation": round(statistics.pstdev(values), 4)}


def read_shapes(paths: Sequence[str | os.PathLike]) -> list[dict[str, dict[str, float]]]:
    """What :func:`write_shapes` wrote at one or several clients.

    Raises:
        InputError: a file is missing, damaged, or something else.
    """
    return [_read(Path(path)) for path in paths]


def _read(path: Path) -> dict[str, dict[str, float]]:
    content = read_record(path, "make it again with shapes.yaml").get("shapes")
    whole = isinstance(content, dict) and all(
        isinstance(one, dict) and {"mean", "deviation"} <= one.keys() and name.split(" ")[-1] in SPREADS
        for name, one in content.items()
    )
    if not whole:
        raise InputError(
            f"{path}: expected means and deviations of shapes, found none; make it with shapes.yaml"
        )
    return content


def implausibility(volumes: Iterable[Shapes], known: Sequence[Mapping[str, Mapping[str, float]]]) -> float:
    """Mean distance of shapes from those of labelled volumes, in deviations of at least ``SPREADS``; 0 is best.

    Each number counts at most ``FARTHEST``; where several clients have labels, the nearest counts; what none of them
    knows does not, and if they know nothing the distance is 0.

    Args:
        volumes: shapes of each volume.
        known: what labelled clients have published.
    Raises:
        InputError: they know other classes.
    """
    found = list(volumes)
    names = {name for one in known for name in one}
    strange = {name.split(" ")[0] for name in names} - {name.split(" ")[0] for one in found for name in one}
    if strange:
        raise InputError(
            f"shapes: expected those of these classes, found class {min(strange)}; use those of one label set"
        )
    distances = [
        min(_distance(name, value, one[name]) for one in known if name in one)
        for shape in found
        for name, value in shape.items()
        if name in names
    ]
    return float(np.mean(distances)) if distances else 0.0


def _distance(name: str, value: float, known: Mapping[str, float]) -> float:
    spread = max(known["deviation"], SPREADS[name.rsplit(" ", maxsplit=1)[-1]])
    return min(abs(value - known["mean"]) / spread, FARTHEST)


def label_volumes(dataset: SliceDataset) -> Iterator[Known]:
    """Each labelled volume's label map, of the slices of which nothing is unknown; none of a volume without such."""
    for item in range(len(dataset.items)):
        places = [n for n, where in enumerate(dataset.index) if where.item == item]
        labels = {dataset.index[n].slice: dataset[n]["label"][0] for n in places}
        known = {place: label for place, label in labels.items() if bool((label >= 0).all())}
        if known:
            stack = torch.stack([*known.values()]).numpy()
            yield Known(stack, None if len(known) == len(labels) else [*known])

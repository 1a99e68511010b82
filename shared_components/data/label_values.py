"""What a label map may hold: whole numbers that name classes, and one for what nobody looked at.

One rule for the data check, training and scoring.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from torch import Tensor

from shared_components.data.faults import Fault
from shared_components.data.transforms import source_of
from shared_components.data.volume_faults import refuse

ROUNDING = 1e-3
"""How far from a whole number a label may lie: other programs store 1 as 0.9999999 or 0.9995."""
ROUNDED_ZERO = 1e-6
"""How far from 0: a label map whose header scales it by 1/32767 has a foreground of 0.00003, which is no background."""


def whole(voxels: Tensor) -> Tensor:
    """Label values without their rounding errors, in the type of ``voxels``."""
    return voxels.round() if voxels.is_floating_point() else voxels


def _is_whole(values: Tensor) -> Tensor:
    tolerance = torch.where(whole(values) == 0, ROUNDED_ZERO, ROUNDING)
    return (values - whole(values)).abs() <= tolerance


def value_faults(path: str | Path, voxels: Tensor, labels: Collection[int] | None) -> Iterator[Fault]:
    """Values that no label map has, or, if ``labels`` are given, none of these classes.

    Args:
        path: the label map.
        voxels: what it holds, of any shape.
        labels: the values that may occur; ``None`` if they are not known.
    """
    path = Path(path)
    bad = int((~torch.isfinite(voxels)).sum())
    if bad:
        yield Fault(str(path), f"{bad} voxels of the label are NaN or infinite", "replace them with 0")
        return
    known = torch.tensor(sorted(labels or ()), dtype=voxels.dtype)
    values = torch.unique(voxels[~torch.isin(voxels, known)])  # sorts the few that are not known
    broken = values[~_is_whole(values)]
    if len(broken):
        yield _no_label_map(path, broken, voxels)
        return
    strange = torch.unique(whole(values))
    strange = strange[~torch.isin(strange, known)]
    if labels is not None and len(strange):
        expected = ", ".join(map(str, sorted(labels)))
        fault = f"label values {_listed(strange)} are outside 'labels' ({expected})"
        cure = f"save it with the values {expected}, or add the classes that are missing to 'labels'"
        yield Fault(str(path), fault, cure)


def _no_label_map(path: Path, broken: Tensor, voxels: Tensor) -> Fault:
    fault = f"label values that are no whole numbers ({_listed(broken)})"
    if voxels.min() < 0 or voxels.max() > 1 + ROUNDING:
        return Fault(str(path), fault, "save a label map, not probabilities or a linearly resampled one")
    fault += ", all from 0 to 1: a probability map"
    folder = path.parent
    place = folder.with_name(f"{folder.name}_thresholded") if folder.name else Path("thresholded")
    words = shlex.join([str(path), "--output_dir", str(place)])
    command = f"python scripts/prepare_data.py threshold {words}"
    return Fault(str(path), fault, f"make a label map of it (in the repository: {command})")


def _listed(values: Tensor, limit: int = 5) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:limit].tolist())
    return shown + (", …" if len(values) > limit else "")


def values_in(voxels: Tensor | np.ndarray) -> set[int]:
    """The label values that occur."""
    return {int(value) for value in torch.unique(whole(torch.as_tensor(voxels))).tolist()}


class WholeLabelsd(MapTransform):
    """Label maps without their rounding errors.

    Raises:
        UnfitFile: NaN, or values that are no whole numbers, as of a probability map.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        for key in self.key_iterator(data):
            label = data[key]
            if not bool(_is_whole(label.as_tensor()).all()):
                refuse(value_faults(source_of(label), label.as_tensor(), None))
            data[key] = whole(label)
        return data


UNKNOWN = -1
"""Losses, validation and scores leave such pixels out: they are unknown, not background."""

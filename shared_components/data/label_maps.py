"""What a label map may hold, and which of its voxels somebody looked at: the others are unknown, not background.

Whole numbers name classes: one rule for the data check, training and scoring. An entry of ``dataset.json`` states the
slices that were annotated, counted from 0 along the file's third axis (the one that viewers scroll through), in one of
three forms::

    "annotated": [4, 9]                             the slices 4 and 9, and no other
    "annotated": {"first": 0, "last": 13}           the slices 0 to 13, both included
    "annotated": {"axis": 0, "slices": [4, 9]}      slices across another axis of the file, 0, 1 or 2

and ``"ignore": 255`` beside ``labels`` names a value that marks single voxels as not annotated.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from torch import Tensor

from shared_components.data.faults import Fault
from shared_components.data.transforms import source_of
from shared_components.data.volume_faults import refuse
from shared_components.errors import InputError, shown

ROUNDING = 1e-3
"""How far from a whole number a label may lie: other programs store 1 as 0.9999999 or 0.9995."""
ROUNDED_ZERO = 1e-6
"""How far from 0: a label map whose header scales it by 1/32767 has a foreground of 0.00003, which is no background."""
UNKNOWN = -1
"""Losses, validation and scores leave such pixels out: they are unknown, not background."""
ANNOTATED, IGNORE = "annotated", "ignore"
CLASSES = "classes"  # key of an item: the label values that may occur
FORMS = 'write "annotated": [4, 9] for single slices or {"first": 0, "last": 13} for a range, counted from 0'
AROUND = UNKNOWN - 1
"""Value of what is padded to a label map, until its slices tell what it means."""
FEW = 32
"""As many different whole numbers make an image look like a label map."""
_LAST = 100_000  # no volume has more slices


def whole(voxels: Tensor) -> Tensor:
    """Label values without their rounding errors, in the type of ``voxels``."""
    return voxels.round() if voxels.is_floating_point() else voxels


def _is_whole(values: Tensor) -> Tensor:
    tolerance = torch.where(whole(values) == 0, ROUNDED_ZERO, ROUNDING)
    return (values - whole(values)).abs() <= tolerance


def value_faults(
    path: str | Path, voxels: Tensor, labels: Collection[int] | None, ignore: int | None = None
) -> Iterator[Fault]:
    """Values that no label map has, or, if ``labels`` are given, none of these classes.

    Args:
        path: the label map.
        voxels: what it holds, of any shape.
        labels: the values of classes that may occur; ``None`` if they are not known.
        ignore: the value of voxels that nobody annotated, which may occur as well; ``None``: there is none.
    """
    path = Path(path)
    bad = int((~torch.isfinite(voxels)).sum())
    if bad:
        yield Fault(str(path), f"{bad} voxels of the label are NaN or infinite", "replace them with 0")
        return
    marked = [] if ignore is None else [ignore]
    known = torch.tensor(sorted({*(labels or ()), *marked}), dtype=voxels.dtype)
    values = torch.unique(voxels[~torch.isin(voxels, known)])  # sorts the few that are not known
    broken = values[~_is_whole(values)]
    if len(broken):
        yield _no_label_map(path, broken, voxels)
        return
    strange = torch.unique(whole(values))
    strange = strange[~torch.isin(strange, known)]
    if labels is not None and len(strange):
        expected = _named([*labels, *marked])
        fault = f"label values {_listed(strange)} are outside 'labels' ({expected})"
        cure = f"save it with the values {expected}, or add the classes that are missing to 'labels'"
        found = sorted(values_in(voxels) - {*marked})
        if renumbered(found, labels):
            command = relabelling(path, found, ignore)
            cure += f" (in the repository: {command} makes {_named(labels)} of {_named(found)})"
        yield Fault(str(path), fault, cure)


def renumbered(values: Collection[int], labels: Collection[int]) -> bool:
    """Whether values that are counted anew, as 0, 1, 2, …, become those of ``labels``."""
    return sorted(labels) == list(range(len(values)))


def relabelling(place: str | Path, values: Collection[int], ignore: int | None = None) -> str:
    """The command that writes the label maps ``place``, a file or a folder, anew, with 0, 1, 2, … in the order of
    their values but for ``ignore``, which stays; beside the folder.
    """
    place = Path(place)
    home = Path(os.path.abspath(place if place.is_dir() else place.parent))
    named, folder = ",".join(map(str, sorted(values))), home.with_name(f"{home.name}_relabelled")
    kept = [] if ignore is None else ["--ignore", str(ignore)]
    words = shlex.join([str(place), "--values", named, *kept, "--output_dir", str(folder)])
    return f"python scripts/prepare_data.py relabel {words}"


def _named(values: Collection[int]) -> str:
    return ", ".join(map(str, sorted(values)))


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


def like_a_label_map(voxels: Tensor) -> bool:
    """Whether voxels hold few whole numbers from 0 on, as label maps do and hardly any image does."""
    # tells most images without sorting all of their voxels
    sample = voxels.flatten()[:: max(1, voxels.numel() // 10_000)]
    return _holds_few_whole(sample) and _holds_few_whole(voxels)


def _holds_few_whole(voxels: Tensor) -> bool:
    if voxels.min() < 0 or voxels.max() > 255:
        return False
    values = torch.unique(voxels)
    return len(values) <= FEW and bool(_is_whole(values).all())


class WholeLabelsd(MapTransform):
    """Label maps without their rounding errors.

    Where the data say which ``classes`` may occur, no other values do, but that of voxels to ``ignore``.

    Raises:
        UnfitFile: NaN, values that are no whole numbers, as of a probability map, or values of no class.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        for key in self.key_iterator(data):
            label = data[key]
            if not bool(_is_whole(label.as_tensor()).all()):
                refuse(value_faults(source_of(label), label.as_tensor(), None))
            data[key] = whole(label)
            if CLASSES in data:
                voxels = data[key].as_tensor()
                refuse(value_faults(source_of(label), voxels, data[CLASSES], data.get(IGNORE)))
        return data


@dataclass(frozen=True)
class Annotated:
    """Slices of a file that were annotated.

    Attributes:
        slices: their numbers, from 0, in order.
        axis: the file's axis that they are counted along.
    """

    slices: tuple[int, ...]
    axis: int = 2

    @classmethod
    def parse(cls, value: Any) -> Annotated:
        """What an entry's ``annotated`` says.

        Raises:
            InputError: none of the three forms.
        """
        stated = dict(value) if isinstance(value, Mapping) else {"slices": value}
        axis = stated.pop("axis", 2)
        if set(stated) == {"first", "last"} and all(map(_is_number, stated.values())):
            numbers = list(range(stated["first"], stated["last"] + 1))
        else:
            numbers = stated.pop("slices", None)
            numbers = numbers if isinstance(numbers, list) and not stated else []
        if not _is_number(axis) or axis > 2 or not numbers or not all(map(_is_number, numbers)):
            raise InputError(f"expected numbers of slices, found {shown(value)}; {FORMS}")
        if len(set(numbers)) < len(numbers):
            raise InputError(f"names a slice twice, found {shown(value)}; {FORMS}")
        return cls(tuple(sorted(numbers)), axis)

    def known(self, shape: tuple[int, ...]) -> Tensor:
        """Whether each slice of a volume of ``shape`` was annotated, to be broadcast against it.

        Raises:
            InputError: the volume has no such slice.
        """
        depth = shape[self.axis]
        if self.slices[-1] >= depth:
            raise InputError(
                f"'annotated' names the slice {self.slices[-1]}, its axis {self.axis} has the slices 0 to "
                f"{depth - 1}; count from 0 along that axis of the file"
            )
        known = torch.zeros(depth, dtype=torch.bool)
        known[list(self.slices)] = True
        return known.reshape([-1 if axis == self.axis else 1 for axis in range(len(shape))])


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LAST


def mark_unknown(label: Tensor, item: Mapping[str, Any]) -> Tensor:
    """The label map ``(..., X, Y, Z)`` on the file's axes with ``UNKNOWN`` where nobody annotated.

    Args:
        label: values as stored.
        item: its entry, with ``annotated`` and ``ignore`` where they are stated.
    Raises:
        InputError: it has fewer slices than ``annotated`` names.
    """
    if item.get(IGNORE) is not None:
        label = label.masked_fill(label.round() == item[IGNORE], UNKNOWN)
    if item.get(ANNOTATED) is not None:
        try:
            known = Annotated.parse(item[ANNOTATED]).known(tuple(label.shape[-3:]))
        except InputError as error:
            raise InputError(f"{item.get('label', source_of(label))}: {error}") from error
        label = label.masked_fill(~known, UNKNOWN)
    return label


def _known_slices(label: Tensor) -> Tensor:
    """Whether anything is known in each slice of ``(..., H, W, D)``; ``(D,)``."""
    return (label >= 0).flatten(0, -2).any(dim=0)


def slice_axis(annotated: Any) -> int:
    """The file's axis along which an entry counts its slices."""
    return 2 if annotated is None else Annotated.parse(annotated).axis


def slices_of(mask: Tensor, axis: int) -> list[int]:
    """Numbers of the slices across a file's ``axis`` in which ``(..., X, Y, Z)`` is true anywhere."""
    other = [place for place in range(mask.ndim) if place != mask.ndim - 3 + axis]
    return torch.nonzero(mask.sum(dim=other)).flatten().tolist()


def listed_slices(numbers: Sequence[int], limit: int = 5) -> str:
    """Slice numbers as a text, such as "slices 4, 9 to 12"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs[:limit]]
    more = ", …" if len(runs) > limit else ""
    return f"slice{'s' if len(numbers) > 1 else ''} {', '.join(texts)}{more}"


def known_text(item: Mapping[str, Any]) -> str:
    """What of an item's label map is known, for a reader; nothing where all of it is."""
    parts = []
    if item.get(ANNOTATED) is not None:
        stated = Annotated.parse(item[ANNOTATED])
        across = "" if stated.axis == 2 else f" across axis {stated.axis}"
        parts.append(f"annotated in {listed_slices(stated.slices)}{across} alone")
    if item.get(IGNORE) is not None:
        parts.append(f"without voxels of the value {item[IGNORE]}, which nobody annotated")
    return ", ".join(parts)


class UnknownVoxelsd(MapTransform):
    """:func:`mark_unknown` of label maps on the file's own axes, before anything turns them."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = mark_unknown(data[key], {**data, "label": source_of(data[key])})
        return data


class SettlePaddingd(MapTransform):
    """What was padded to a label map becomes background, but unknown in slices of which nothing is known."""

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            around, known = data[key] == AROUND, _known_slices(data[key])
            data[key] = data[key].masked_fill(around & known, 0).masked_fill(around & ~known, UNKNOWN)
        return data

"""What the check of a data root says of its images and label maps as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from nibabel.orientations import io_orientation

from shared_components.data.client_root import Entry
from shared_components.data.coverage import Frame
from shared_components.data.dataset_json import SPLITS
from shared_components.data.faults import Fault
from shared_components.data.grids import GRID_TOLERANCE
from shared_components.data.label_maps import FEW, like_a_label_map
from shared_components.data.names import states_sizes
from shared_components.data.nifti import forms_apart, is_nifti, open_nifti
from shared_components.data.volume_check import LabelFound
from shared_components.data.volumes import NATIVE, long_axis
from shared_components.errors import counted

_LEAST_OUTSIDE = 0.01  # share of what is labelled
_ACROSS = ("left to right", "back to front", "bottom to top")


class Seen:
    """Takes in one sound image or label map after the other, and says at the end what only all of them tell.

    Args:
        orientation: axis codes, slices along the last; ``None`` or ``"native"`` for the files' own axes.
        frame: what networks see of a slice; ``None`` if that is not known.
    """

    def __init__(self, orientation: str | None = None, frame: Frame | None = None) -> None:
        self.frame = frame
        # label maps, and the share of what is labelled outside the frame
        self.outside: dict[Path, float] = {}
        self.orientation = None if orientation == "native" else orientation
        # images in thick slices across another axis of the body than the orientation's, which one, and voxel edges, mm
        self.turned: dict[Path, tuple[int, np.ndarray]] = {}
        self.seen = 0  # images
        self.airless: list[Path] = []  # images whose air is NaN
        self.sizeless: list[Path] = []  # images that do not say how large a voxel is
        self.placeless: list[Path] = []  # images that do not say where they lie
        self.placed_twice: dict[Path, float] = {}  # images that say it in two ways, how many voxels apart
        self.label_like: list[Path] = []  # images that look like label maps
        # split to the values of each of its label maps; None where it has a fault
        self.values: dict[str, list[Set[int] | None]] = {split: [] for split in SPLITS}
        self.empty: dict[str, list[Path]] = {split: [] for split in SPLITS}  # label maps of background alone
        # slices of a split's label maps, and all of these volumes
        self.annotated = dict.fromkeys(SPLITS, (0, 0))

    def image(self, path: Path, image: MetaTensor) -> None:
        self.seen += 1
        if torch.isnan(image.as_tensor()).any():
            self.airless.append(path)
        if not states_sizes(path):
            self.sizeless.append(path)
        if like_a_label_map(image.as_tensor()):
            self.label_like.append(path)
        self._turn(path, image)
        if is_nifti(path):
            self._place(path, forms_apart(open_nifti(path)))

    def _turn(self, path: Path, image: MetaTensor) -> None:
        edges = np.asarray(affine_to_spacing(image.affine, 3))
        body = io_orientation(np.asarray(image.affine, dtype=np.float64))[:, 0].astype(int)
        read = 2 if self.orientation is None else list(body).index(_axis(self.orientation[-1]))
        longest = long_axis(edges)
        if longest is not None and longest != read:
            self.turned[path] = int(body[longest]), np.sort(edges)

    def _place(self, path: Path, apart: float | None) -> None:
        if apart is None:
            self.placeless.append(path)
        elif apart > GRID_TOLERANCE:
            self.placed_twice[path] = apart

    def label(self, entry: Entry, found: LabelFound | None) -> None:
        self.values[entry.split].append(None if found is None else found.values)
        if found is not None:
            if entry.label is not None and not found.values - {0}:
                self.empty[entry.split].append(entry.label)
            if entry.label is not None and found.outside > _LEAST_OUTSIDE:
                self.outside[entry.label] = found.outside
            annotated, slices = self.annotated[entry.split]
            self.annotated[entry.split] = annotated + found.annotated, slices + found.slices

    def faults(self, file: str) -> Iterator[Fault]:
        cure = "export the label maps again, or take the 'label' of images without one out"
        every = [values for split in SPLITS for values in self.values[split]]
        if _all_empty(every):
            yield Fault(
                file, f"none of the {len(every)} label maps has any foreground: all voxels are 0", cure
            )
        elif _all_empty(self.values["training"]):
            number = len(self.values["training"])
            fault = f"none of the label maps of 'training' ({number}) has any foreground: all voxels are 0"
            yield Fault(file, fault, f"{cure}, or name those that have some in 'training'")

    def notes(self, file: str, names: Any, expected: set[int] | None) -> Iterator[Fault]:
        yield from self._placing_notes(file)
        yield from self._turned_notes(file)
        if self.label_like:
            fault = (
                f"{counted(len(self.label_like), 'image')} with no more than {FEW} different whole numbers, as label "
                f"maps have ({self.label_like[0].name}, …)"
            )
            cure = "if they are some, name them to make-datalist with --label_maps"
            yield Fault(file, fault, cure)
        if self.airless:
            fault = (
                f"{counted(len(self.airless), 'image')} with NaN around the body ({self.airless[0].name}, …)"
            )
            yield Fault(file, fault, "it counts as air")
        if self.sizeless:
            fault = f"{counted(len(self.sizeless), 'image')} of a kind without voxel sizes ({self.sizeless[0].name}, …)"
            yield Fault(
                file, fault, "1 mm is assumed; convert them to NIfTI with the right sizes if they differ"
            )
        if self.outside:
            worst = max(self.outside, key=self.outside.__getitem__)
            fault = (
                f"{counted(len(self.outside), 'label map')} with up to {self.outside[worst]:.0%} of what is labelled "
                f"outside {self.frame} ({worst.name}, …)"
            )
            yield Fault(file, fault, "no training sees it: take a larger spacing or image_size")
        yield from self._empty_notes(file)
        every = [values for split in SPLITS for values in self.values[split]]
        if expected and every and None not in every and set().union(*every) - {0}:
            yield from self._class_notes(file, names, expected, set().union(*every))

    def _empty_notes(self, file: str) -> Iterator[Fault]:
        """Label maps without foreground, where others have some, among those that choose or score a model."""
        for split in ("validation", "test"):
            empty = self.empty[split]
            if empty and not next(self.faults(file), None):
                fault = f"{counted(len(empty), 'label map')} of '{split}' without any foreground ({empty[0].name}, …)"
                cure = (
                    "right where there is none of what is looked for; where nobody annotated, take its 'label' out, or "
                    "all that is found there counts as wrong"
                )
                yield Fault(file, fault, cure)

    def _class_notes(self, file: str, names: Any, expected: set[int], found: set[int]) -> Iterator[Fault]:
        """Classes of which no label map has a voxel, or none of those that are trained on."""

        def note(where: str, absent: set[int], cure: str) -> Iterator[Fault]:
            if absent:
                classes = ", ".join(
                    f"{value} {names.get(str(value), '')}".strip() for value in sorted(absent)
                )
                yield Fault(file, f"no label map{where} has a voxel of the class {classes}", cure)

        look = "look whether that is right"
        absent = f"here it is learnt to be nowhere, and a model that finds it scores 0 for it; {look}"
        yield from note("", expected - {0} - found, absent)
        trained = {0}.union(*self.values["training"])
        if self.values["training"] and trained != {0}:
            yield from note(" of 'training'", found - trained, f"nothing can be learnt of it here; {look}")

    def _turned_notes(self, file: str) -> Iterator[Fault]:
        if not self.turned:
            return
        axis = Counter(axis for axis, _ in self.turned.values()).most_common(1)[0][0]
        images = {path: edges for path, (each, edges) in self.turned.items() if each == axis}
        path, edges = next(iter(images.items()))
        given = "orientation native" if self.orientation is None else f"orientation {self.orientation}"
        fault = (
            f"{counted(len(images), 'image')} of slices {edges[2]:.3g} mm thick from {_ACROSS[axis]} ({path.name}: "
            f"{edges[0]:.3g} × {edges[1]:.3g} mm within them), which {given} cuts into slices with pixels that long"
        )
        cure = (
            f"overrides: {{orientation: {NATIVE[axis]}}} reads their own slices, for all clients alike; sizes for it "
            f"are proposed by check --orientation {NATIVE[axis]}"
        )
        if 2 * len(images) < self.seen:
            cure = "leave them out, or make a client of its own of them: most images here have other slices"
        yield Fault(file, fault, cure)

    def _placing_notes(self, file: str) -> Iterator[Fault]:
        if self.placed_twice:
            most = max(self.placed_twice, key=self.placed_twice.__getitem__)
            fault = (
                f"{counted(len(self.placed_twice), 'image')} placed in two ways by the header ({most.name}: sform and "
                f"qform up to {self.placed_twice[most]:.3g} voxels apart)"
            )
            cure = "the sform counts here; find out which is true: programs that take the qform show them elsewhere"
            yield Fault(file, fault, cure)
        if self.placeless:
            named = f"({self.placeless[0].name}: neither sform nor qform)"
            fault = f"{counted(len(self.placeless), 'image')} that no header places {named}"
            cure = "which side is left is a guess; export them with their orientation"
            yield Fault(file, fault, cure)


def _all_empty(maps: Sequence[Set[int] | None]) -> bool:
    """Whether there are label maps, all sound, and none has any foreground."""
    return bool(maps) and not any(values is None or values - {0} for values in maps)


def _axis(code: str) -> int:
    """The axis of the body, 0 to 2, that a letter such as ``S`` stands for."""
    return next(axis for axis, codes in enumerate(("RL", "AP", "SI")) if code in codes)

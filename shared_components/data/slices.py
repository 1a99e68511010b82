"""Slices of many volumes: which of each are used; each volume is decoded once, and may be kept on disk."""

from __future__ import annotations

import math
import os
import warnings
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.data import PersistentDataset
from monai.data.utils import pickle_hashing
from monai.transforms import Compose, Transform
from monai.utils import convert_to_tensor
from torch import Tensor
from torch.utils.data import Dataset

from shared_components.data.faults import read
from shared_components.data.image_files import files_of
from shared_components.data.label_maps import ANNOTATED, CLASSES, IGNORE, UNKNOWN
from shared_components.data.volumes import volume_transforms
from shared_components.errors import InputError
from shared_components.files import load_tensors, save_tensors
from shared_components.steps import steps

CACHES = ("memory", "disk", "none")
_PATHS = ("image", "label")
_OPEN_VOLUMES = 8  # volumes that a disk cache keeps open
BACKGROUND = -0.9
"""Scaled intensity up to which a pixel counts as empty."""


class SliceIndex(NamedTuple):
    """Where a slice comes from: item number, slice number in its volume, slices of that volume."""

    item: int
    slice: int
    depth: int


class ToSlices(Transform):
    """``(1, H, W, D)`` volumes to contiguous ``(D, 1, H, W)`` slices; labels as int16."""

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        slices = {"image": _slices_first(data["image"])}
        if "label" in data:
            slices["label"] = _slices_first(data["label"]).round().to(torch.int16)
        return slices


def _slices_first(volume: Tensor) -> Tensor:
    return convert_to_tensor(volume, track_meta=False).permute(3, 0, 1, 2).contiguous()


class SliceDataset(Dataset):
    """Slices of the volumes that ``data`` names, as a network takes them; deterministic.

    ``dataset[i]`` is ``{"image": float32 (1, S, S) in [-1, 1], "label": int64 (1, S, S), "labelled": bool (),
    "domain": int64 (), "index": int64 (), "volume": int64 (), "position": float32 (), "interval": float32 (2,)}``. The
    index is i, the volume its item's number. The position of slice i of D is its relative height ``(i + 1/2) / D``; the
    interval holds the heights that are nearer to it than to the volume's other slices in the dataset, so that all of
    them together cover [0, 1]. An image of one slice has no height: both are NaN. The label is -1 where nobody
    annotated, and a slice is labelled if it is anything else anywhere.

    Args:
        data: ``{"image": path, "label": path or absent, "domain": name, "subject": name}``, with ``annotated`` and
            ``ignore`` where not all of the label map is known, as :func:`shared_components.data.datalist` gives them.
        domains: the federation's domain names; a slice carries the index of its own.
        size: height and width of a slice, pixels.
        spacing: in-plane voxel size, mm; ``None`` keeps each file's own.
        orientation: axis codes, slices along the last; ``None`` or ``"native"`` keeps the file's slices, all the
            same way up.
        percentiles: intensities of each volume that become -1 and 1.
        slices_per_volume: this many evenly spaced slices of each volume, those with labels first where only some
            have labels; ``None`` takes all.
        cache: ``"memory"`` holds all slices, ``"disk"`` holds volumes in ``cache_dir`` by MONAI's
            ``PersistentDataset`` (renewed when a file or a setting changes, or when it is damaged),
            ``"none"`` holds the volume that was read last: each is decoded once to count its slices and, if slices are
            read in order, once more.
        cache_dir: folder of the disk cache.
        min_foreground: leave out slices in which a smaller fraction of pixels is brighter than -0.9.
        progress: tell how many volumes are read.
        multiple: what the network's strides ask ``size`` to be a multiple of, pixels.
    Attributes:
        items: the volumes of ``data``.
        index: per slice, its :class:`SliceIndex`.
        labelled: indices of the slices of which a label map tells something.
        unlabelled: indices of the others.
        subjects: the items' subject names.
    Raises:
        InputError: no items, an unknown domain, a volume that cannot be read or has no slice left.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, str]],
        domains: Sequence[str],
        size: int,
        spacing: float | Sequence[float] | None,
        orientation: str | None = "RAS",
        percentiles: Sequence[float] = (0.5, 99.5),
        slices_per_volume: int | None = None,
        cache: str = "memory",
        cache_dir: str | os.PathLike | None = None,
        min_foreground: float = 0.0,
        progress: bool = False,
        multiple: int = 1,
    ) -> None:
        if size % multiple:
            raise InputError(
                f"image_size: expected a multiple of {multiple} pixels, the network's total stride, found {size}"
            )
        if not data:
            raise InputError(
                "no volumes: the data roots' dataset.json name none for a split that is read, or none with a label "
                "where labels are needed; add some to it (of validation, --val_interval 0 does without)"
            )
        if slices_per_volume is not None and slices_per_volume < 1:
            raise InputError(f"slices_per_volume: expected at least 1 or null, found {slices_per_volume}")
        self.items = [dict(item) for item in data]
        self.subjects = [item["subject"] for item in self.items]
        self._domains = torch.tensor([domain_index(item, domains) for item in self.items])
        geometry = volume_transforms(("image", "label"), size, spacing, orientation, percentiles)
        whole = Compose(
            [*geometry.transforms, ToSlices()]
        )  # MONAI's cache takes one within another for random
        self._volumes = self._opened(whole, size, cache, cache_dir)
        self.index: list[SliceIndex] = []
        self._has_label: list[bool] = []
        self._intervals: list[tuple[float, float]] = []
        for number in steps(range(len(self.items)), "reading volumes", "volume", progress):
            image, known = self._volumes[number]["image"], self._known(number)
            chosen = chosen_slices(image, slices_per_volume, min_foreground, known)
            if not chosen:
                raise InputError(
                    f"{self.items[number]['image']}: none of its {len(image)} slices has a foreground of "
                    f"{min_foreground:.0%}; lower min_foreground"
                )
            self._has_label += [i in known for i in chosen]
            self.index += [SliceIndex(number, i, len(image)) for i in chosen]
            self._intervals += height_intervals(chosen, len(image))
        self._no_label = torch.full(image.shape[1:], UNKNOWN, dtype=torch.int64)
        self.labelled = [i for i, has in enumerate(self._has_label) if has]
        self.unlabelled = [i for i, has in enumerate(self._has_label) if not has]

    def _known(self, number: int) -> set[int]:
        """Slices of a volume of which its label map tells something."""
        label = self._volumes[number].get("label")
        return (
            set() if label is None else set(torch.nonzero((label >= 0).flatten(1).any(1)).flatten().tolist())
        )

    def _opened(
        self, transform: Compose, size: int, cache: str, cache_dir: str | os.PathLike | None
    ) -> Mapping[int, Mapping[str, Tensor]] | _Volumes:
        """The items' slices by item number."""
        return _Volumes(self.items, transform, cache, cache_dir)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item, number, depth = self.index[index]
        volume = self._volumes[item]
        label = volume.get("label")
        return {
            "image": volume["image"][number],
            "label": self._no_label if label is None else label[number].long(),
            "labelled": torch.tensor(self._has_label[index]),
            "domain": self._domains[item],
            "index": torch.tensor(index),
            "volume": torch.tensor(item),
            "position": torch.tensor((number + 0.5) / depth if depth > 1 else torch.nan),
            "interval": torch.tensor(self._intervals[index]),
        }


def of_domain(dataset: SliceDataset, domain: str, named_by: str) -> SliceDataset:
    """The dataset itself, whose volumes must all be of one domain.

    Args:
        dataset: to look at.
        domain: its name.
        named_by: the setting that names it, for the message.
    Raises:
        InputError: a volume is of another.
    """
    for item in dataset.items:
        if item["domain"] != domain:
            raise InputError(
                f"{item['image']}: expected an image of domain {domain}, which '{named_by}' names, found one of "
                f"{item['domain']}; name that one, or other images"
            )
    return dataset


def domain_index(item: Mapping[str, str], domains: Sequence[str]) -> int:
    """Index of an item's domain among the federation's.

    Raises:
        InputError: the federation has no domain of that name.
    """
    if item["domain"] not in domains:
        raise InputError(
            f"{item['image']}: its client data root is of domain {item['domain']!r}, the federation has "
            f"{', '.join(map(repr, domains))}; correct `domain` in dataset.json or the federation's `domains`"
        )
    return list(domains).index(item["domain"])


class _Volumes:
    """The items' slices by item number, decoded when first asked for and kept as ``cache`` says."""

    def __init__(
        self, items: list[dict[str, str]], transform: Compose, cache: str, cache_dir: str | os.PathLike | None
    ) -> None:
        if cache not in CACHES:
            raise InputError(f"cache: expected one of {', '.join(CACHES)}, found {cache!r}")
        if cache == "disk" and cache_dir is None:
            raise InputError("cache: 'disk' needs cache_dir, a folder to keep decoded volumes in")
        self._items = [
            {key: item[key] for key in (*_PATHS, ANNOTATED, CLASSES, IGNORE) if key in item} for item in items
        ]
        self._transform = transform
        self._open: OrderedDict[int, dict[str, Tensor]] = OrderedDict()
        self._capacity = {"memory": len(items), "disk": _OPEN_VOLUMES, "none": 1}[cache]
        self._disk = None
        if cache == "disk":
            stamped = [
                item | {"stamps": [_stamp(item[key]) for key in _PATHS if key in item]}
                for item in self._items
            ]
            self._disk = VolumeCache(stamped, transform, cache_dir)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        if number in self._open:
            return self._open[number]
        if self._disk is not None:
            volume = read(self._disk.__getitem__, number, source=self._items[number])
        else:
            volume = read(self._transform, self._items[number])
        self._open[number] = volume
        if len(self._open) > self._capacity:
            self._open.popitem(last=False)
        return volume


def _stamp(path: str) -> list[tuple[str, int, int]]:
    """Sizes and times of change of an image's files, so that a cached copy of an older version is not used."""
    place = Path(path)
    if not place.exists():
        raise InputError(f"{path}: no such file; put it there or take its entry out of dataset.json")
    files = place.iterdir() if place.is_dir() else files_of(place)
    return sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def height_intervals(chosen: Sequence[int], depth: int) -> list[tuple[float, float]]:
    """The relative heights that are nearest to each chosen slice of a volume of ``depth``; NaN of a single slice.

    The lowest one's reach down to 0 and the highest one's up to 1, whatever is left out.
    """
    if depth == 1:
        return [(math.nan, math.nan)]
    between = [(low + high + 1) / (2 * depth) for low, high in pairwise(chosen)]
    return list(zip([0.0, *between], [*between, 1.0], strict=True))


def chosen_slices(
    image: Tensor, count: int | None, min_foreground: float, known: Collection[int] = ()
) -> list[int]:
    """Numbers of the non-empty slices of ``image`` ``(D, 1, H, W)``, or of ``count`` evenly spaced ones.

    Where only some have labels (``known``), these come first: a single annotated slice must not fall between.
    """
    filled = (image > BACKGROUND).flatten(1).float().mean(1)  # (D,)
    full = [i for i, fraction in enumerate(filled.tolist()) if fraction >= min_foreground]
    if count is None or count >= len(full):
        return full
    first = [i for i in full if i in known]
    others = [i for i in full if i not in known]
    chosen = _evenly(first, min(count, len(first)))
    return sorted(chosen + _evenly(others, count - len(chosen)))


def _evenly(numbers: Sequence[int], count: int) -> list[int]:
    return [numbers[(2 * k + 1) * len(numbers) // (2 * count)] for k in range(count)]


class VolumeCache(PersistentDataset):
    """MONAI's ``PersistentDataset`` of dicts of tensors, whose files carry a checksum and are whole or absent.

    Args:
        data: what ``transform`` makes a volume of; its hash and the transform's name the file.
        transform: deterministic, from an item to a dict of tensors.
        cache_dir: folder of the files.
    """

    def __init__(self, data: list[dict[str, Any]], transform: Any, cache_dir: Any) -> None:
        super().__init__(data, transform, cache_dir, hash_transform=pickle_hashing)

    def _cachecheck(self, item_transformed: dict[str, Any]) -> dict[str, Any]:
        name = self.hash_func(item_transformed).decode() + self.transform_hash
        file = self.cache_dir / f"{name}.pt"
        if file.is_file():
            try:
                return load_tensors(file)
            except InputError as error:
                warnings.warn(f"{error}; it is decoded again", stacklevel=2)
        volume = self._pre_transform(deepcopy(item_transformed))
        save_tensors(file, volume)
        return volume

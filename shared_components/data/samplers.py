"""Batches of slices: a fixed number an epoch, with a fixed number of labelled ones, or of a rare class, in each.

Also what makes up for rare classes in a loss, and batches of several loaders as one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError

WEIGHTS = ("none", "balanced")


class SliceBatches(Sampler[list[int]]):
    """Exactly ``batches`` batches of slice indices an epoch.

    Each pool (all slices, or labelled and unlabelled ones apart) is passed over in a new random order again
    and again, so a small pool repeats its slices evenly. Every epoch starts new passes. Orders are drawn from
    torch's global random state when a batch needs them: restoring that state at the start of an epoch repeats
    the epoch.

    Args:
        dataset: the slices.
        batch_size: slices a batch.
        batches: batches an epoch.
        labelled_per_batch: this many slices of each batch have a label, the others have none; ``None`` draws
            from all slices alike.
        rare: slices that some of each batch are drawn from first.
        rare_per_batch: how many of a batch, and of its labelled ones.
    Raises:
        InputError: a size that is no positive number, or a pool that is needed and empty.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        batch_size: int,
        batches: int,
        labelled_per_batch: int | None = None,
        rare: Sequence[int] = (),
        rare_per_batch: int = 0,
    ) -> None:
        if batch_size < 1 or batches < 1:
            raise InputError(
                f"expected at least one slice a batch and one batch, found {batch_size} and {batches}"
            )
        self.batch_size = batch_size
        self.batches = batches
        most = batch_size if labelled_per_batch is None else labelled_per_batch
        if not 0 <= rare_per_batch <= most or (rare_per_batch and not rare):
            raise InputError(
                f"rare_per_batch: expected 0 to {most}, the labelled slices of a batch, and slices to draw from, found "
                f"{rare_per_batch} and {len(rare)} slices"
            )
        self._pools = _pools(dataset, batch_size, labelled_per_batch)
        if rare_per_batch:
            (pool, count), *others = self._pools  # all slices, or the labelled ones
            self._pools = [(rare, rare_per_batch), (pool, count - rare_per_batch), *others]

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        streams = [(shuffled_passes(pool), count) for pool, count in self._pools]
        for _ in range(self.batches):
            yield [index for stream, count in streams for index in islice(stream, count)]


def _pools(
    dataset: SliceDataset, batch_size: int, labelled_per_batch: int | None
) -> list[tuple[Sequence[int], int]]:
    """The pools that a batch draws from, with the number of slices from each."""
    if not len(dataset):
        raise InputError(
            "expected a dataset of slices to train on, found an empty one; check the training data"
        )
    if labelled_per_batch is None:
        return [(range(len(dataset)), batch_size)]
    if not 0 <= labelled_per_batch <= batch_size:
        raise InputError(
            f"labelled_per_batch: expected 0 to batch_size = {batch_size}, found {labelled_per_batch}"
        )
    wanted = [
        ("labelled", dataset.labelled, labelled_per_batch),
        ("unlabelled", dataset.unlabelled, batch_size - labelled_per_batch),
    ]
    for name, pool, count in wanted:
        if count and not pool:
            raise InputError(
                f"labelled_per_batch = {labelled_per_batch} of {batch_size} wants {count} {name} slices "
                f"a batch, the data have none; change labelled_per_batch, or add {name} items to dataset.json"
            )
    return [(pool, count) for _, pool, count in wanted if count]


def shuffled_passes(pool: Sequence[int]) -> Iterator[int]:
    """Endless passes over ``pool``, each in a new order from torch's global random state.

    Raises:
        InputError: the pool is empty, of which passes would never give anything.
    """
    if not len(pool):
        raise InputError("expected slices to draw batches from, found none; check the training data")
    while True:
        for place in torch.randperm(len(pool)).tolist():
            yield pool[place]


def slice_loader(
    dataset: SliceDataset,
    batch_size: int,
    batches: int,
    labelled_per_batch: int | None = None,
    rare_per_batch: int = 0,
    classes: int = 1,
) -> DataLoader:
    """A loader of ``batches`` batches an epoch, see :class:`SliceBatches`; without workers.

    ``rare_per_batch`` of a batch's slices show the rarest of ``classes``.
    """
    rare = rare_slices(dataset, classes) if rare_per_batch else ()
    sampler = SliceBatches(dataset, batch_size, batches, labelled_per_batch, rare, rare_per_batch)
    return DataLoader(dataset, batch_sampler=sampler, num_workers=0)


def _class_pixels(dataset: SliceDataset, classes: int) -> Tensor:
    """Known pixels (slices, C) of each class in each of the dataset's labelled slices.

    Raises:
        InputError: no slice is labelled.
    """
    if not len(dataset.labelled):
        raise InputError(
            "class_weights, rare_per_batch: expected labelled slices, to count their classes, found none; add label "
            "maps to dataset.json, or set class_weights to none and rare_per_batch to 0"
        )
    counts = []
    for number in dataset.labelled:
        label = dataset[number]["label"].flatten()
        counts.append(torch.bincount(label[label >= 0], minlength=classes))
    return torch.stack(counts)


def class_weights(
    dataset: SliceDataset, classes: int, kind: str, device: str | torch.device = "cpu"
) -> Tensor | None:
    r"""Weights (C,) of the classes in a loss, of mean 1, or None for equal ones.

    "balanced" is :math:`w_c \propto 1 / \sqrt{n_c}` of the pixels n of each class: half way, on a logarithmic scale,
    between equal weights, which drown small structures, and full balance, which draws them too large. A class that
    no label shows weighs as much as the others on average.

    Args:
        dataset: the slices that train.
        classes: how many there are, background included.
        kind: "none" or "balanced".
        device: where the weights lie.
    Raises:
        InputError: another kind, or no slice is labelled.
    """
    if kind not in WEIGHTS:
        raise InputError(f"class_weights: expected one of {', '.join(WEIGHTS)}, found {kind!r}")
    if kind == "none":
        return None
    pixels = _class_pixels(dataset, classes).sum(0).float()
    weights = pixels.clamp(min=1).rsqrt()
    weights /= weights[pixels > 0].mean()
    return torch.where(pixels > 0, weights, 1.0).to(device)


def rare_slices(dataset: SliceDataset, classes: int) -> list[int]:
    """Numbers of the labelled slices that show the class, not the background, with the fewest pixels of all.

    Raises:
        InputError: no slice is labelled, or no label shows anything but background.
    """
    pixels = _class_pixels(dataset, classes)
    totals = pixels.sum(0)
    shown = [number for number in range(1, classes) if totals[number] > 0]
    if not shown:
        raise InputError("rare_per_batch: expected labels of some class, found background alone; set it to 0")
    rarest = min(shown, key=lambda number: int(totals[number]))
    return [dataset.labelled[i] for i in torch.nonzero(pixels[:, rarest]).flatten().tolist()]


class _Together(ABC):
    """One batch of each of several loaders at a time.

    Raises:
        InputError: no loader, or numbers of batches that differ.
    """

    def __init__(self, loaders: Sequence[Collection[dict[str, Tensor]]]) -> None:
        lengths = {len(loader) for loader in loaders}
        if len(lengths) != 1:
            raise InputError(
                f"loaders: expected one or more with equally many batches, found {sorted(lengths)}"
            )
        self.loaders = list(loaders)
        self.batches = lengths.pop()

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for parts in zip(*self.loaders, strict=True):
            yield self._joined(parts)

    @abstractmethod
    def _joined(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Batches of all loaders as one."""


class MixedBatches(_Together):
    """Joins the batches of several loaders along the batch dimension, in the order of the loaders.

    Args:
        loaders: loaders of equally many batches of tensors with the same keys, such as one of labelled source
            slices and one of the target's.
    """

    def _joined(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


class SideBySide(_Together):
    """Puts the entries of the loaders' batches into one dict.

    Args:
        loaders: loaders of equally many batches with different keys.
    """

    def _joined(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {key: tensor for part in parts for key, tensor in part.items()}

"""Batches of slices: a fixed number an epoch, with a fixed number of labelled ones in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch.utils.data import DataLoader, Sampler

from shared_components.data.class_balance import rare_slices
from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError


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

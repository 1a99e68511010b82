"""Batches of several loaders as one: along the batch, or side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from shared_components.errors import InputError


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

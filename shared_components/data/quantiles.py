"""The mean quantile curve of a client's slices, and slices whose intensities are sent to another client's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from shared_components.data.augmentation import AugmentedBatch
from shared_components.errors import InputError
from shared_components.records import read_table, write_table

COLUMNS = ("share", "intensity")


def mean_quantiles(dataset: Dataset, nodes: int = 65) -> Tensor:
    """Mean over slices of their quantiles at evenly spaced shares from 0 to 1; ``(nodes,)``, rising.

    Args:
        dataset: of dicts with ``image`` in [-1, 1].
        nodes: how many.
    Raises:
        InputError: fewer than two nodes.
    """
    if nodes < 2:
        raise InputError(f"nodes: expected at least 2 quantiles, found {nodes}")
    return torch.stack(
        [quantiles_of(dataset[number]["image"][None], nodes)[0] for number in range(len(dataset))]
    ).mean(0)


def quantiles_of(images: Tensor, nodes: int) -> Tensor:
    """Quantiles ``(B, nodes)`` of each of ``images`` ``(B, ...)``."""
    shares = torch.linspace(0, 1, nodes, device=images.device)
    return images.flatten(1).quantile(shares, dim=1).T


def matched(images: Tensor, quantiles: Tensor) -> Tensor:
    """Each of ``images`` ``(B, 1, H, W)`` with the quantiles ``(nodes,)``, by a rising curve.

    Where several of an image's own quantiles are one intensity, as in air, it goes to the middle of theirs.
    """
    flat, wanted = images.flatten(1).contiguous(), quantiles.to(images)
    own = quantiles_of(images, len(wanted)).contiguous()
    lower, upper = (torch.searchsorted(own, flat, right=right) for right in (False, True))
    after = lower.clamp(1, len(wanted) - 1)
    left, right = own.gather(1, after - 1), own.gather(1, after)
    between = after - 1 + ((flat - left) / (right - left).clamp_min(1e-8)).clamp(0, 1)
    place = torch.where(upper > lower, (lower + upper - 1) / 2, between)  # among the quantiles, from 0
    before = place.floor().long().clamp(0, len(wanted) - 2)
    return torch.lerp(wanted[before], wanted[before + 1], place - before).reshape(images.shape)


def write_quantiles(quantiles: Tensor, path: str | Path) -> Path:
    """A curve as a table, which a client may hand out: no more of its images is in it."""
    shares = torch.linspace(0, 1, len(quantiles)).tolist()
    rows = (
        {"share": f"{a:.6f}", "intensity": f"{b:.6f}"}
        for a, b in zip(shares, quantiles.tolist(), strict=True)
    )
    return write_table(path, COLUMNS, rows)


def read_quantiles(path: str | Path) -> Tensor:
    """The curve of :func:`write_quantiles`.

    Raises:
        InputError: no such file, it is damaged, or it holds no rising intensities.
    """
    cure = "write it again with quantiles.yaml"
    try:
        values = torch.tensor([float(row["intensity"]) for row in read_table(path, cure)])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: expected the columns {', '.join(COLUMNS)} of numbers; {cure}") from error
    if len(values) < 2 or not bool((values.diff() >= 0).all()):  # NaN is not >= 0 either
        raise InputError(f"{path}: expected at least two rising intensities, found others; {cure}")
    return values


class MatchedBatch(AugmentedBatch):
    """Gives a trainer images with the quantiles of another client's slices, then augmented.

    Args:
        augmentation: called with (image, label).
        quantiles: ``(nodes,)``.
    """

    def __init__(
        self, augmentation: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], quantiles: Tensor
    ) -> None:
        super().__init__(augmentation)
        self.quantiles = quantiles

    def __call__(self, batchdata: dict[str, Tensor], *arguments: Any, **named: Any) -> tuple[Tensor, Tensor]:
        image = matched(batchdata["image"], self.quantiles)
        return super().__call__({**batchdata, "image": image}, *arguments, **named)

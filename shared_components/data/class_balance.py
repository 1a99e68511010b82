"""How common the classes of training labels are, and what makes up for it."""

from __future__ import annotations

import torch
from torch import Tensor

from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError

WEIGHTS = ("none", "balanced")


def class_pixels(dataset: SliceDataset, classes: int) -> Tensor:
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
    pixels = class_pixels(dataset, classes).sum(0).float()
    weights = pixels.clamp(min=1).rsqrt()
    weights /= weights[pixels > 0].mean()
    return torch.where(pixels > 0, weights, 1.0).to(device)


def rare_slices(dataset: SliceDataset, classes: int) -> list[int]:
    """Numbers of the labelled slices that show the class, not the background, with the fewest pixels of all.

    Raises:
        InputError: no slice is labelled, or no label shows anything but background.
    """
    pixels = class_pixels(dataset, classes)
    totals = pixels.sum(0)
    shown = [number for number in range(1, classes) if totals[number] > 0]
    if not shown:
        raise InputError("rare_per_batch: expected labels of some class, found background alone; set it to 0")
    rarest = min(shown, key=lambda number: int(totals[number]))
    return [dataset.labelled[i] for i in torch.nonzero(pixels[:, rarest]).flatten().tolist()]

"""What a segmentation network says of a slice's mirror images: to average it, or to see where it is unsure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain, combinations

import torch
from torch import Tensor, nn

from shared_components.errors import InputError

Scores = Callable[[Tensor], Tensor]


def mirrored_scores(network: Scores, image: Tensor, axes: Sequence[int]) -> Tensor:
    """Class scores (B, C, H, W) of ``image`` (B, 1, H, W), found in its mirror image along in-plane ``axes``."""
    dims = [axis + 2 for axis in axes]
    return network(image.flip(dims)).flip(dims) if dims else network(image)


def flip_averaged(network: Scores, image: Tensor, axes: Sequence[int]) -> Tensor:
    """Logarithms (B, C, H, W) of the mean probabilities over all mirror images that ``axes`` allow.

    Without axes they are the network's scores as they are.
    """
    if not axes:
        return network(image)
    views = list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))
    logs = [torch.log_softmax(mirrored_scores(network, image, view).float(), dim=1) for view in views]
    return torch.logsumexp(torch.stack(logs), dim=0) - math.log(len(views))


def check_flips(flips: Sequence[int]) -> tuple[int, ...]:
    """The in-plane axes to mirror along.

    Raises:
        InputError: they are not some of 0 and 1.
    """
    if not isinstance(flips, Sequence) or not set(flips) <= {0, 1} or len(set(flips)) < len(flips):
        raise InputError(f"flips: expected in-plane axes, [], [0], [1] or [0, 1], found {flips!r}")
    return tuple(flips)


class MirrorDisagreement:
    """How much of what a network finds in a slice it does not find in the mirror image.

    Args:
        network: image (B, 1, H, W) to class scores (B, C, H, W).
        axis: in-plane axis of the mirror.
        batch: slices at a time.
    """

    def __init__(self, network: nn.Module, axis: int = 0, batch: int = 32) -> None:
        self.network, self.axis, self.batch = network, axis, batch

    @torch.no_grad()
    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        """Shares (N,) of N slices (1, H, W): of the pixels that either gives a class, those with two answers.

        A slice in which neither finds anything has 0.
        """
        device = next(self.network.parameters()).device
        self.network.eval()
        parts = []
        for start in range(0, len(images), self.batch):
            image = torch.stack([images[i] for i in range(start, min(start + self.batch, len(images)))]).to(
                device
            )
            one, two = (
                mirrored_scores(self.network, image, axes).argmax(dim=1).flatten(1)
                for axes in ([], [self.axis])
            )
            found = ((one > 0) | (two > 0)).sum(1)
            parts.append(((one != two).sum(1) / found.clamp(min=1)).cpu())
        return torch.cat(parts)

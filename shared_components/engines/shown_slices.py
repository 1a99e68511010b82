"""Slices as the factory's networks are shown them: at which resolution, and with which label maps beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from shared_components.data.label_maps import UNKNOWN
from shared_components.errors import InputError
from shared_components.networks.generator import SynthesisOutput


class Growth:
    """Training at coarser resolutions first: which one is trained after how many updates.

    Args:
        growth: {divisor of the image size: updates}, such as {4: 200, 2: 300}; empty trains the finest alone.
        sizes: the generator's resolutions, px, coarsest first.
        fade: updates over which a new resolution is faded in.
    Raises:
        InputError: a divisor at which the generator has no resolution below the finest.
    """

    def __init__(self, growth: Mapping[int, int], sizes: Sequence[int], fade: int) -> None:
        self.sizes, self.fade = list(sizes), fade
        self.steps = _growth_steps(growth, sizes)

    def resolution(self, update: int) -> tuple[int, float]:
        """Level that is trained after ``update`` updates, and how far it has been faded in."""
        level, start = len(self.sizes) - 1, 0
        for coarse, end in self.steps:
            if update < end:
                level = coarse
                break
            start = end
        if not start or not self.fade:
            return level, 1.0
        return level, min(1.0, (update - start + 1) / self.fade)

    def shrunk(self, image: Tensor, level: int) -> Tensor:
        """Images (B, C, S, S) of the finest resolution at a level's."""
        factor = 2 ** (len(self.sizes) - 1 - level)
        return F.avg_pool2d(image, factor) if factor > 1 else image

    def is_finest(self, level: int) -> bool:
        """Whether a level has the resolution of the training slices."""
        return level == len(self.sizes) - 1

    def pixels(self, level: int) -> float:
        """Share of the finest resolution's pixels that a level has."""
        return (self.sizes[level] / self.sizes[-1]) ** 2


def _growth_steps(growth: Mapping[int, int], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Check a growth schedule: (level, first update after it), coarsest first.

    Args:
        growth: {divisor of the image size: updates}, such as {4: 200, 2: 300}.
        sizes: the generator's resolutions, coarsest first.
    Raises:
        InputError: a divisor at which the generator has no resolution below the finest.
    """
    coarse = [sizes[-1] // size for size in sizes[:-1]]
    steps, end = [], 0
    for divisor in sorted((int(divisor) for divisor in growth), reverse=True):
        if divisor not in coarse:
            raise InputError(f"growth: expected divisors of the image size among {coarse}, found {divisor}")
        end += int(growth[divisor])
        steps.append((coarse.index(divisor), end))
    return steps


def domain_indices(names: Sequence[str], domains: Sequence[str]) -> list[int]:
    """Places of ``names`` among ``domains``.

    Raises:
        InputError: a name that is none of them.
    """
    strange = [name for name in names if name not in domains]
    if strange:
        raise InputError(
            f"label_domains: expected some of the domains {', '.join(domains)}, found {strange[0]!r}"
        )
    return [list(domains).index(name) for name in names]


class Labelled(NamedTuple):
    """Images with label maps as channels.

    Attributes:
        images: (B, 1 + C, S, S): an image and for each class 1 where it is, -1 where another is, 0 where nobody knows.
        known: (B, 1, S, S), 1 where a label map tells something, else 0.
    """

    images: Tensor
    known: Tensor


class LabelChannels:
    """Puts label maps beside images, of those domains alone whose clients agree to it.

    A discriminator then sees whether image and label map fit. Where a slice has no label map, neither the real nor
    the drawn one beside it is shown any, so that a client without labels needs none.

    Args:
        classes: number of classes C, the background counted.
        domains: indices of the domains whose label maps are used.
        count: number of all domains.
        device: of the training.
    Source: Li et al. 2021, Semantic Segmentation with Generative Models (SemanticGAN), for drawing both together.
    Deviation: one discriminator for image and label map, and no encoder.
    """

    def __init__(self, classes: int, domains: Sequence[int], count: int, device: torch.device) -> None:
        self.classes = classes
        self._used = torch.zeros(count, dtype=torch.bool)
        self._used[list(domains)] = True
        self._used = self._used.to(device)

    def real(self, image: Tensor, label: Tensor, domain: Tensor) -> Labelled:
        """``image`` (B, 1, S, S) and ``label`` (B, 1, S, S), -1 where unknown, of ``domain`` (B,)."""
        known = (label != UNKNOWN) & self._used[domain][:, None, None, None]
        # compared, since torch's one_hot looks at the values first, for which an accelerator would be waited
        of_class = label == torch.arange(self.classes, device=label.device)[:, None, None]
        signs = torch.where(of_class, 1.0, -1.0).to(image) * known
        return Labelled(torch.cat([image, signs], 1), known.to(image))

    def drawn(self, output: SynthesisOutput, known: Tensor) -> Tensor:
        """Images (B, 1 + C, s, s) of what a generator draws; ``known`` (B, 1, s, s) of the real ones beside."""
        signs = (2 * output.labels.float().softmax(1) - 1) * known
        return torch.cat([output.image.float(), signs], 1)

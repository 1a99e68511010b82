"""Label maps beside images: what a discriminator sees of them, real and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from shared_components.data.label_maps import UNKNOWN
from shared_components.errors import InputError
from shared_components.networks.generator import SynthesisOutput


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

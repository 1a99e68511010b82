"""Several segmentation networks that answer as one."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared_components.networks.weights import with_weights


class Ensemble(nn.Module):
    """The mean of several networks' class probabilities, as log-probabilities.

    Args:
        networks: each (B, 1, H, W) to class scores (B, C, H, W).
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        """Logarithm of the mean probabilities, (B, C, H, W): scores whose softmax is the mean."""
        return (
            torch.stack([network(image).softmax(1) for network in self.networks])
            .mean(0)
            .clamp_min(1e-8)
            .log()
        )


def ensemble_of(network: nn.Module, paths: Sequence[str | os.PathLike] | None) -> Ensemble | None:
    """Networks of one kind with the weights of several files; None where there are no files.

    Args:
        network: of their kind; it is left as it is.
        paths: files of :func:`~shared_components.networks.weights.export_model`.
    Raises:
        InputError: a file is missing or does not fit.
    """
    return Ensemble([with_weights(copy.deepcopy(network), path) for path in paths]) if paths else None

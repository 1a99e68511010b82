"""Several segmentation networks that answer as one."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared_components.files import load_tensors
from shared_components.networks.weights import is_state_dict, members_in, with_weights


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


def ensemble_of(
    network: nn.Module,
    paths: Sequence[str | os.PathLike] | None,
    settings: Mapping[str, Any] | None = None,
) -> Ensemble | None:
    """Networks of one kind with the weights of several files; None where there are no files.

    Args:
        network: of their kind; it is left as it is.
        paths: files of :func:`~shared_components.networks.weights.export_model`.
        settings: as of :func:`~shared_components.networks.weights.with_weights`.
    Raises:
        InputError: a file is missing, does not fit, or was trained with other settings.
    """
    if not paths:
        return None
    return Ensemble([with_weights(copy.deepcopy(network), path, settings=settings) for path in paths])


def fitting(network: nn.Module, path: str | os.PathLike | None) -> nn.Module:
    """``network``, or where a file holds the weights of several that answer together, as many of its kind.

    What does not fit either is left to who reads the weights.

    Args:
        network: one of their kind; one that is several already is returned as it is.
        path: the file.
    Raises:
        InputError: the file is there and damaged.
    """
    if isinstance(network, Ensemble) or path is None or not Path(path).is_file():
        return network
    members = members_of(path)
    return Ensemble([copy.deepcopy(network) for _ in range(members)]) if members > 1 else network


def members_of(path: str | os.PathLike) -> int:
    """How many networks answer together with a file's weights.

    Raises:
        InputError: the file is missing or damaged.
    """
    content = load_tensors(path)
    weights = content if is_state_dict(content) else content.get("model")
    return members_in(weights)

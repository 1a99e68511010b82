"""A population of slices that can be drawn from at will: a bright blob each, of any place, width and brightness."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from shared_components.networks.generator import Generator

SIZE, DEPTH = 16, 4


def blobs(latents: Tensor) -> Tensor:
    """Slices (N, 1, 16, 16) in [-1, 1] that standard normal latents (N, 4 or more) describe."""
    place = torch.special.ndtr(latents[:, :4, None, None])  # uniform
    y, x = (4 + 8 * place[:, axis] for axis in (0, 1))
    width, height = 1.5 + 2 * place[:, 2], 0.6 + 0.4 * place[:, 3]
    at = torch.arange(SIZE, dtype=torch.float32)
    square = (at[None, :, None] - y) ** 2 + (at[None, None] - x) ** 2
    return (2 * height * torch.exp(-square / (2 * width**2)) - 1)[:, None]


def write_root(root: Path, volumes: dict[str, int], seed: int = 0) -> Path:
    """A client data root with so many volumes of four slices in each split."""
    random = torch.Generator().manual_seed(seed)
    (root / "images").mkdir(parents=True)
    description = {"name": "blobs", "domain": "a", "modality": {"0": "MRI"}, "labels": {"0": "background"}}
    for split in ("training", "validation", "test"):
        description[split] = []
        for number in range(volumes.get(split, 0)):
            name = f"images/{split}_{number}.nii.gz"
            volume = blobs(torch.randn(DEPTH, 4, generator=random))[:, 0].permute(1, 2, 0).numpy().copy()
            volume[0, 0], volume[0, 1] = -1, 1  # so that the percentiles 0 and 100 leave it as it is
            nib.save(nib.Nifti1Image(volume.astype(np.float32), np.eye(4)), root / name)
            description[split].append({"image": name})
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def small_generator() -> Generator:
    """Of 16 px and one domain."""
    torch.manual_seed(0)
    return Generator(
        SIZE, 1, DEPTH, channels=(32, 32, 32), z_dim=4, w_dim=32, mapping_layers=3, mapping_lr=1.0
    )


def fit(generator: Generator, wanted: Callable[[Tensor, Tensor], Tensor], updates: int) -> Generator:
    """Train it to draw ``wanted(z, height)`` (N, 1, 16, 16)."""
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(generator.parameters(), lr=3e-3)
    for _ in range(updates):
        z, height = torch.randn(32, 4, generator=random), torch.rand(32, generator=random)
        drawn = generator(z, torch.zeros(32, dtype=torch.int64), height, noise="none")
        loss = (drawn - wanted(z, height)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return generator.eval()


def description(generator: Generator) -> dict:
    """What a factory file would say of it."""
    return {
        "generator": generator.arguments,
        "domains": ["a"],
        "labels": {0: "background"},
        "spacing": None,
        "orientation": None,
    }

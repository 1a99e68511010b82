"""Networks that are small enough to train in a test."""

from __future__ import annotations

from typing import Any

import torch

from shared_components.networks.generator import Generator


def small_generator(
    domains: int = 2, mapping_lr: float = 0.01, noise: float = 0.0, **settings: Any
) -> Generator:
    """A generator of slices of 24 px, drawn from seed 0, whose layers add noise of one strength."""
    torch.manual_seed(0)
    widths = {"channels": (8, 8, 6, 4), "z_dim": 8, "w_dim": 12, "mapping_layers": 2}
    generator = Generator(24, domains, 4, **{**widths, "mapping_lr": mapping_lr, **settings})
    with torch.no_grad():
        for layer in generator.layers:
            layer.noise_strength.fill_(noise)
    return generator

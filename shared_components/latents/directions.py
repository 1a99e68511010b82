"""Latent means and semantic directions of a factory: numbers, and pictures of what they draw."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared_components.files import save_tensors
from shared_components.handlers.pictures import labelled_grid, save_picture
from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import (
    LatentEdit,
    means_by_position,
    semantic_directions,
    step_along,
    typical_distance,
)
from shared_components.networks.volume_generator import VolumeGenerator

LATENTS = "latents.pt"
DIRECTIONS = "directions.png"
MEANS = "means.png"
COLUMNS = 8  # heights at which a mean volume is shown


@torch.no_grad()
def write_directions(
    generator: Generator,
    description: Mapping[str, Any],
    latent: Tensor,
    domain: int,
    output_dir: str | os.PathLike,
    directions: int = 8,
    strengths: Sequence[float] = (-0.6, -0.3, 0.0, 0.3, 0.6),
    rows: Sequence[int] | None = None,
    height: float = 0.5,
) -> None:
    """Write ``directions.png``, ``means.png`` and ``latents.pt``.

    The first picture has a row for each direction and a column for each strength, the second a row for each domain with
    its mean volume. The file holds ``means`` (K, P, rows, w_dim), ``directions`` (w_dim, w_dim), a unit vector a row,
    the ``shares`` (w_dim,) of each in what all change, the ``distance`` that a strength of 1 is, and the ``domains``.

    Args:
        generator: the factory's.
        description: of the factory file.
        latent: what the directions start from, z (z_dim,).
        domain: index of the domain that the directions are shown in.
        output_dir: folder.
        directions: how many are shown, the strongest first.
        strengths: of the steps, as in :class:`~shared_components.networks.latent_edit.LatentEdit`.
        rows: first and last row of W+ that are moved and in whose layers directions are found; None: all.
        height: relative height of the slice that is shown.
    Raises:
        InputError: rows that W+ does not have, or a file that cannot be written.
    """
    found, distance = semantic_directions(generator, rows), typical_distance(generator)
    shown = range(min(directions, len(found.vectors)))
    images = [
        slice_at(
            generator, latent, domain, height, step_along(generator, found.vectors[number], length, rows)
        )
        for number in shown
        for length in (strength * distance for strength in strengths)
    ]
    names = [f"{number} ({found.shares[number]:.1%})" for number in shown]
    sheet = labelled_grid(torch.cat(images), names, [f"{s:+g}" if s else "0" for s in strengths])
    save_picture(Path(output_dir) / DIRECTIONS, sheet, zoom=1)
    save_picture(Path(output_dir) / MEANS, _mean_volumes(generator, latent, description["domains"]), zoom=1)
    content = {"means": means_by_position(generator), "directions": found.vectors, "shares": found.shares}
    content |= {"distance": distance, "domains": list(description["domains"])}
    save_tensors(Path(output_dir) / LATENTS, content)


def slice_at(generator: Generator, latent: Tensor, domain: int, height: float, step: Tensor) -> Tensor:
    """The slice of a latent (z_dim,) at a height of a domain, W+ moved by (rows, w_dim), no noise: (1, 1, S, S)."""
    device = generator.constant.device
    number = torch.tensor([domain], device=device)
    at = torch.full((1,), torch.nan if generator.is_flat(domain) else float(height), device=device)
    w_plus = generator.w_plus(latent[None].to(device), number, at)
    return generator.synthesis(w_plus + step.to(w_plus), "none").image.cpu()


def _mean_volumes(generator: Generator, latent: Tensor, domains: Sequence[str]) -> Tensor:
    """A row for each domain: what its mean latents draw, from the lowest to the highest slice."""
    edit = LatentEdit(generator, truncation=0.0)
    z = latent[None].to(generator.constant.device)
    volumes = [
        VolumeGenerator(generator, number, COLUMNS, noise=False, edit=edit)(z)[0].movedim(-1, 0).cpu()
        for number in range(len(domains))
    ]
    heights = [f"{(number + 0.5) / COLUMNS:.2f}" for number in range(COLUMNS)]
    return labelled_grid(torch.cat(volumes), list(domains), heights)

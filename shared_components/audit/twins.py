"""Whether a factory's twins show one anatomy, told by the segmentation models of their domains: table and picture.

How well the segmentation of a slice agrees with that of its twin.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.handlers.pictures import labelled_grid, save_picture
from shared_components.networks.generator import Generator
from shared_components.networks.volume_generator import VolumeGenerator, sample_latents
from shared_components.records import write_table

TABLE, PICTURE = "twins.csv", "twins.png"
COLUMNS = ("label", "name", "volumes", "dice_mean", "dice_median", "dice_min")
SHOWN = 6  # latents in the picture
Segment = Callable[[Tensor], Tensor]
"""Slices (N, 1, S, S) in [-1, 1] to class scores (N, C, S, S)."""


@torch.no_grad()
def report_twins(
    generator: Generator,
    models: Mapping[str, nn.Module],
    domains: Sequence[str],
    labels: Mapping[int, str],
    output_dir: str | os.PathLike,
    volumes: int = 20,
    slices: int = 16,
    seed: int = 0,
) -> list[dict[str, object]]:
    """Segment the same synthetic volumes in two domains, each with its domain's model, and compare.

    Writes ``twins.csv``, a line for each class, and ``twins.png``: slices of the first domain, their segmentations,
    their twins, and the twins' segmentations.

    Args:
        generator: the factory.
        models: two domains' names, each with its segmentation model, (B, 1, S, S) to class scores.
        domains: the factory's domain names, in order.
        labels: the label set.
        output_dir: where to write.
        volumes: number of latents.
        slices: of each volume.
        seed: of the latents.
    Returns:
        The lines of the table.
    Raises:
        InputError: other than two domains, or one that the factory does not know.
    """
    strange = [name for name in models if name not in domains]
    if strange or len(models) != 2:
        found = f"{', '.join(models)}" if not strange else repr(strange[0])
        raise InputError(f"twins: expected two of the factory's domains {', '.join(domains)}, found {found}")
    index = {list(domains).index(name): model.eval() for name, model in models.items()}
    (dice,) = twin_dice(generator, index, len(labels), volumes, slices, seed).values()
    rows = [_row(value, labels[value], dice[:, place]) for place, value in enumerate(sorted(labels)[1:])]
    write_table(Path(output_dir) / TABLE, COLUMNS, rows)
    save_picture(
        Path(output_dir) / PICTURE, _picture(generator, models, domains, len(labels), slices, seed), 1
    )
    return rows


def _row(label: int, name: str, dice: Tensor) -> dict[str, object]:
    seen = dice[~dice.isnan()]
    figures = (seen.mean(), seen.median(), seen.min()) if len(seen) else [torch.tensor(torch.nan)] * 3
    return dict(zip(COLUMNS, (label, name, len(seen), *(f"{f.item():.4f}" for f in figures)), strict=True))


def _picture(
    generator: Generator,
    models: Mapping[str, nn.Module],
    domains: Sequence[str],
    classes: int,
    slices: int,
    seed: int,
) -> Tensor:
    rows, names = [], []
    separate = any(generator.is_flat(list(domains).index(name)) for name in models)
    for name, model in models.items():
        volume = VolumeGenerator(generator, list(domains).index(name), slices, separate=separate)
        middle = torch.cat(
            [volume(z[None])[..., slices // 2] for z in sample_latents(SHOWN, generator.z_dim, seed)]
        )
        label = model(middle).argmax(1, keepdim=True).float()
        rows += [middle, label * 2 / max(classes - 1, 1) - 1]
        names += [name, "segmented"]
    return labelled_grid(torch.cat(rows), names, [str(number) for number in range(SHOWN)])


@torch.no_grad()
def twin_dice(
    generator: Generator,
    segment: Mapping[int, Segment],
    classes: int,
    volumes: int = 20,
    slices: int = 8,
    seed: int = 0,
) -> dict[tuple[int, int], Tensor]:
    """Dice of the segmentations of the same synthetic volumes in two domains, each by its domain's own network.

    Each network should segment real slices of its domain well, and none should have been trained on twins: then
    disagreement is the factory's, up to what the networks themselves miss.

    Args:
        generator: the factory.
        segment: index of a domain to its network.
        classes: number of classes C, the background counted.
        volumes: number of latents.
        slices: of each volume.
        seed: of the latents.
    Returns:
        Pair of domains, the lower index first, to the Dice of each volume and class but the background, (volumes,
        C - 1); NaN where neither segmentation has the class.
    """
    separate = any(generator.is_flat(domain) for domain in segment)
    latents = sample_latents(volumes, generator.z_dim, seed)
    drawn = {d: VolumeGenerator(generator, d, slices, separate=separate) for d in sorted(segment)}
    labels = {d: [_label(volume, z, segment[d], classes) for z in latents] for d, volume in drawn.items()}
    pairs = [(a, b) for a in labels for b in labels if a < b]
    return {pair: _dice(labels[pair[0]], labels[pair[1]]) for pair in pairs}


@torch.no_grad()
def drawn_labels_dice(
    generator: Generator, segment: Segment, volumes: int = 20, slices: int = 8, seed: int = 0
) -> list[Tensor]:
    """Dice of the label maps that a factory draws with those that a network gives to its images.

    Args:
        generator: the factory.
        segment: segments real slices of every domain well.
        volumes: number of latents.
        slices: of each volume.
        seed: of the latents.
    Returns:
        For each domain (volumes, C - 1), see :func:`twin_dice`; nothing if the factory draws no label maps.
    """
    found = []
    for domain in range(generator.domains if generator.classes else 0):
        volume = VolumeGenerator(generator, domain, slices)
        latents = [z.to(generator.constant.device) for z in sample_latents(volumes, generator.z_dim, seed)]
        own = [one_hot(volume.labelled(z)[1][None], generator.classes, dim=0) for z in latents]
        found.append(_dice(own, [_label(volume, z, segment, generator.classes) for z in latents]))
    return found


def _label(volume: VolumeGenerator, z: Tensor, segment: Segment, classes: int) -> Tensor:
    """One-hot segmentation (C, S, S, slices) of the volume that a latent gives."""
    stack = volume(z[None].to(volume.generator.constant.device))[0].movedim(-1, 0)  # (slices, 1, S, S)
    return one_hot(segment(stack).argmax(1, keepdim=True), classes).movedim(0, -1)


def _dice(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """(volumes, C - 1), NaN where neither has the class: one that is in one of them alone does not agree."""
    one, other = torch.stack(first), torch.stack(second)
    dice = compute_dice(one, other, include_background=False, ignore_empty=False)
    absent = ~((one != 0) | (other != 0))[:, 1:].flatten(2).any(2)
    return dice.masked_fill(absent, torch.nan)

"""Whether a factory's twins show one anatomy, told by the segmentation models of their domains: table and picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.handlers.labelled_grid import labelled_grid
from shared_components.handlers.pictures import save_picture
from shared_components.metrics.twin_agreement import twin_dice
from shared_components.networks.generator import Generator
from shared_components.networks.volume_generator import VolumeGenerator, sample_latents
from shared_components.records import write_table

TABLE, PICTURE = "twins.csv", "twins.png"
COLUMNS = ("label", "name", "volumes", "dice_mean", "dice_median", "dice_min")
SHOWN = 6  # latents in the picture


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

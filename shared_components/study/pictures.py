"""Pictures of a study for its report: real against generated slices, translations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from shared_components.data.slices import SliceDataset
from shared_components.handlers.pictures import picture_grid, save_picture
from shared_components.networks.factory import factory_description, load_generator
from shared_components.networks.generator import Generator
from shared_components.networks.volume_generator import VolumeGenerator, sample_latents
from shared_components.study_record import ClientPictures

if TYPE_CHECKING:
    from shared_components.study.client_data import ClientData, SiteDescription
    from shared_components.study.study import Study

COLUMNS = 12
ROWS = 2


def real_slices(study: Study, client: str, description: dict) -> Tensor:
    """Evenly spaced training slices of a client's first volumes, (ROWS · COLUMNS, 1, S, S), as the factory saw them."""
    arguments = description["generator"]
    dataset = SliceDataset(
        few_items(study.roots[client]),
        description["domains"],
        arguments["size"],
        description["spacing"],
        description["orientation"],
        min_foreground=0.02,
    )
    rows = []
    for item in sorted({where.item for where in dataset.index}):
        own = [i for i, where in enumerate(dataset.index) if where.item == item]
        rows += [dataset[own[k * len(own) // COLUMNS]]["image"] for k in range(COLUMNS)]
    return torch.stack(rows)


def few_items(data: ClientData | SiteDescription) -> list[dict[str, str]]:
    """The first training volumes, of different data roots where there are several."""
    ranked = [pair for root in data.roots for pair in enumerate(root.items("training"))]
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])[:ROWS]]


@torch.no_grad()
def generated_slices(generator: Generator, domain: int, seed: int) -> Tensor:
    """Volumes of ROWS latents from the lowest to the highest slice, (ROWS · COLUMNS, 1, S, S)."""
    latents = torch.stack(sample_latents(ROWS, generator.z_dim, seed))
    volumes = VolumeGenerator(generator, domain, COLUMNS)(latents)  # (ROWS, 1, S, S, COLUMNS)
    return volumes.movedim(-1, 1).flatten(0, 1)


def write_pictures(study: Study) -> dict[str, ClientPictures]:
    """Write each client's pictures below its folder; none of images that are not here."""
    description = factory_description(study.factory)
    generator = load_generator(study.factory)
    found: dict[str, ClientPictures] = {}
    for client in study.roots:
        place = study.place(client, "pictures")
        slices = torch.cat(
            [
                generated_slices(generator, description["domains"].index(domain), study.federation.seed)
                for domain in study.roots[client].domains
            ]
        )
        generated = save_picture(place / "generated.png", picture_grid(slices, COLUMNS))
        real = None
        if study.is_here(client):
            sheet = picture_grid(real_slices(study, client, description), COLUMNS)
            real = save_picture(place / "real.png", sheet)
        translations = sorted((study.place(client, "adaptation") / "pictures").glob("translation_*.png"))
        found[client] = ClientPictures(generated, real, translations[-1] if translations else None)
    return found

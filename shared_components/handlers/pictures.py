"""Pictures of slices: grids as PNG files and in TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.tensorboard import SummaryWriter

from shared_components.files import write_atomically
from shared_components.handlers.labelled_grid import upright_pixels
from shared_components.networks.factory import FactoryNetwork
from shared_components.networks.translator import AdaptationNetwork


def picture_grid(images: Tensor, columns: int, gap: int = 1) -> Tensor:
    """Tile slices to one picture, each upright.

    Args:
        images: (N, 1, H, W) in [-1, 1].
        columns: pictures in a row.
        gap: white pixels between two pictures.
    Returns:
        (1, rows·(W + gap) - gap, columns·(H + gap) - gap) uint8.
    """
    pixels = upright_pixels(images)
    count, height, width = pixels.shape
    rows = -(-count // columns)
    canvas = torch.full((rows * (height + gap), columns * (width + gap)), 255, dtype=torch.uint8)
    for n, picture in enumerate(pixels):
        top, left = n // columns * (height + gap), n % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas[None, : -gap or None, : -gap or None]


def save_picture(path: str | os.PathLike, grid: Tensor, zoom: int = 3) -> Path:
    """Write a (1, H, W) uint8 picture as PNG, ``zoom`` times enlarged."""
    picture = Image.fromarray(grid[0].numpy())
    picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.BICUBIC)
    write_atomically(Path(path), lambda temporary: picture.save(temporary, format="PNG"))
    return Path(path)


class FactoryPictures:
    """Every few epochs, the same latents under every domain: one row a domain, heights from left to right.

    Draws from its own generator, so that training is the same with and without pictures.

    Args:
        network: the factory; its averaged generator draws.
        output_dir: pictures go to ``pictures/factory_<epoch>.png`` and to TensorBoard in
            ``tensorboard/pictures``.
        domains: names of the domains, in order.
        every: epochs between two pictures; 0 for none.
        columns: pictures in a row.
        seed: of the latents.
    """

    def __init__(
        self,
        network: FactoryNetwork,
        output_dir: str | os.PathLike,
        domains: Sequence[str],
        every: int = 1,
        columns: int = 8,
        seed: int = 0,
    ) -> None:
        self.network = network
        self.output_dir = Path(output_dir)
        self.domains = list(domains)
        self.every = every
        self.columns = columns
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        if self.every:
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self)

    @torch.no_grad()
    def draw(self) -> Tensor:
        """Images (domains · columns, 1, S, S), the rows sharing latents, heights and noise."""
        network = self.network.generator_ema
        device = network.constant.device
        random = torch.Generator().manual_seed(self.seed)
        z = torch.randn(self.columns, network.z_dim, generator=random).to(device)
        noise = network.sample_noise(self.columns, random)
        rows = []
        for number in range(len(self.domains)):
            domain = torch.full((self.columns,), number, device=device)
            rows.append(network(z, domain, network.heights(number, self.columns).to(device), noise))
        return torch.cat(rows)

    def __call__(self, engine: Engine) -> None:
        """Draw and save."""
        grid = picture_grid(self.draw(), self.columns)
        publish_picture(self.output_dir, f"factory_{engine.state.epoch:05d}", grid, engine.state.epoch)


class TranslationPictures:
    """Every few epochs and at the end: rows of synthetic source slices, their translations and their twins.

    Args:
        network: the adaptation's networks.
        dataset: twins, the same slices each time; None for no pictures.
        output_dir: pictures go to ``pictures/translation_<epoch>.png`` and to TensorBoard in
            ``tensorboard/pictures``.
        every: epochs between two pictures; 0 for none.
        columns: pictures in a row.
        translate: show the translator's row; without a translation phase it has learnt nothing.
    """

    def __init__(
        self,
        network: AdaptationNetwork,
        dataset: Dataset | None,
        output_dir: str | os.PathLike,
        every: int = 1,
        columns: int = 10,
        translate: bool = True,
    ) -> None:
        self.network = network
        self.dataset = dataset
        self.output_dir = Path(output_dir)
        self.every = every
        self.columns = columns
        self.translate = translate

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        if self.every and self.dataset is not None:  # at the end too: short runs have pictures as well
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every) | Events.COMPLETED, self)

    @torch.no_grad()
    def draw(self) -> Tensor:
        """Images (rows · columns, 1, S, S), two or three rows."""
        # the golden ratio spreads the slices over subjects and heights alike, however many slices a volume has
        places = sorted(int((k + 1) * 0.6180339887 % 1.0 * len(self.dataset)) for k in range(self.columns))
        chosen = [self.dataset[place] for place in places]
        source, twin = (torch.stack([item[key] for item in chosen]) for key in ("source", "twin"))
        if not self.translate:
            return torch.cat([source, twin])
        device = next(self.network.parameters()).device
        with torch.random.fork_rng(devices=[]):
            translated = self.network.translator(source.to(device)).cpu()
        return torch.cat([source, translated, twin])

    def __call__(self, engine: Engine) -> None:
        """Draw and save."""
        grid = picture_grid(self.draw(), self.columns)
        publish_picture(self.output_dir, f"translation_{engine.state.epoch:05d}", grid, engine.state.epoch)


def publish_picture(output_dir: Path, name: str, grid: Tensor, epoch: int, zoom: int = 3) -> None:
    """Write a picture to ``pictures/<name>.png`` and to TensorBoard, as a run of its own.

    TensorBoard never returns to an event file once there is a newer one in the same folder.
    """
    save_picture(output_dir / "pictures" / f"{name}.png", grid, zoom)
    with SummaryWriter(str(output_dir / "tensorboard" / "pictures")) as writer:
        writer.add_image(name.split("_", maxsplit=1)[0], grid, epoch)

"""Pictures of slices: labelled rows and columns as PNG files and in TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.tensorboard import SummaryWriter

from shared_components.files import remove_files, write_atomically
from shared_components.networks.factory import FactoryNetwork
from shared_components.networks.translator import AdaptationNetwork

WIDTH = 1024  # pixels that a sheet is at most wide, as a report's column
SMALLEST, LARGEST = 64, 144  # pixels, height of one picture on a sheet
GAP = 2
LONGEST = 9000  # pixels of a side; larger pictures are not opened by all programs, and Pillow warns of them
APART = 8  # pixels between the first row or column and the others, where they are set apart
FONT_SIZE = 13


def picture_grid(images: Tensor, columns: int, gap: int = 1) -> Tensor:
    """Tile slices to one picture, each upright.

    Args:
        images: (N, 1, H, W) in [-1, 1].
        columns: pictures in a row.
        gap: white pixels between two pictures.
    Returns:
        (1, rows·(W + gap) - gap, columns·(H + gap) - gap) uint8.
    """
    pixels = _upright_pixels(images)
    count, height, width = pixels.shape
    rows = -(-count // columns)
    canvas = torch.full((rows * (height + gap), columns * (width + gap)), 255, dtype=torch.uint8)
    for n, picture in enumerate(pixels):
        top, left = n // columns * (height + gap), n % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas[None, : -gap or None, : -gap or None]


def save_picture(path: str | os.PathLike, grid: Tensor, zoom: int = 3) -> Path:
    """Write a (1, H, W) uint8 picture as PNG, ``zoom`` times enlarged, as far as it stays within ``LONGEST``."""
    picture = Image.fromarray(grid[0].numpy())
    scale = min(zoom, LONGEST / max(picture.size))
    picture = picture.resize([max(1, int(side * scale)) for side in picture.size], Image.Resampling.BICUBIC)
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
        """Images (rows · columns, 1, S, S), up to three rows: source, translation and, where there is one, twin."""
        # the golden ratio spreads the slices over subjects and heights alike, however many slices a volume has
        places = sorted(int((k + 1) * 0.6180339887 % 1.0 * len(self.dataset)) for k in range(self.columns))
        chosen = [self.dataset[place] for place in places]
        source = torch.stack([item["source"] for item in chosen])
        twin = [torch.stack([item["twin"] for item in chosen])] if "twin" in chosen[0] else []
        if not self.translate:
            return torch.cat([source, *twin])
        device = next(self.network.parameters()).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # it draws noise there
            translated = self.network.translator(source.to(device)).cpu()
        return torch.cat([source, translated, *twin])

    def __call__(self, engine: Engine) -> None:
        """Draw and save."""
        grid = picture_grid(self.draw(), self.columns)
        publish_picture(self.output_dir, f"translation_{engine.state.epoch:05d}", grid, engine.state.epoch)


def publish_picture(output_dir: Path, name: str, grid: Tensor, epoch: int, zoom: int = 3) -> None:
    """Write a picture to ``pictures/<name>.png`` and to TensorBoard, as a run of its own.

    Pictures of its kind and of later epochs, which an earlier run has left, are removed: a report shows the last.
    TensorBoard never returns to an event file once there is a newer one in the same folder.
    """
    place = save_picture(output_dir / "pictures" / f"{name}.png", grid, zoom)
    kind = name.rsplit("_", maxsplit=1)[0]
    remove_files(
        *(other for other in place.parent.glob(f"{kind}_*.png") if _epoch(other.stem) > _epoch(name))
    )
    with SummaryWriter(str(output_dir / "tensorboard" / "pictures")) as writer:
        writer.add_image(name.split("_", maxsplit=1)[0], grid, epoch)


def _epoch(name: str) -> int:
    """The number at the end of a picture's name; -1 if there is none."""
    number = name.rsplit("_", maxsplit=1)[-1]
    return int(number) if number.isdecimal() else -1


def _upright_pixels(images: Tensor) -> Tensor:
    """Slices as they are looked at: their first axis from left to right, the second from bottom to top.

    An axial slice in RAS has the patient's front at the top and left at the left, as in the views of a report.

    Args:
        images: (N, 1, H, W) in [-1, 1]; what lies outside is clamped.
    Returns:
        (N, W, H) uint8 on the CPU.
    """
    pixels = ((images.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels[:, 0].rot90(1, (1, 2))


def labelled_grid(
    images: Tensor, rows: Sequence[str], columns: Sequence[str], first_apart: bool = False
) -> Tensor:
    """Tile slices under headings, enlarged so that the sheet can be read.

    Args:
        images: (rows · columns, 1, H, W) in [-1, 1], row by row.
        rows: text before each row.
        columns: text above each column.
        first_apart: a wider gap after the first row and the first column.
    Returns:
        (1, height, width) uint8.
    """
    font = ImageFont.load_default(FONT_SIZE)
    left = 8 + max(round(font.getlength(text)) for text in rows)
    top = FONT_SIZE + 8
    available = WIDTH - left - APART * first_apart
    pixels = _upright_pixels(images)
    height = cell_height(pixels.shape[-2], pixels.shape[-1], len(columns), available)
    width = round(height * pixels.shape[-1] / pixels.shape[-2])
    across = [left + n * (width + GAP) + APART * (first_apart and n > 0) for n in range(len(columns) + 1)]
    down = [top + n * (height + GAP) + APART * (first_apart and n > 0) for n in range(len(rows) + 1)]
    sheet = Image.new("L", (across[-1] - GAP, down[-1] - GAP), 255)
    draw = ImageDraw.Draw(sheet)
    for text, y in zip(rows, down, strict=False):
        draw.text((left - 6, y + height // 2), text, fill=0, font=font, anchor="rm")
    for text, x in zip(columns, across, strict=False):
        draw.text((x + width // 2, top - 5), text, fill=0, font=font, anchor="ms")
    for n, picture in enumerate(pixels):
        enlarged = Image.fromarray(picture.numpy()).resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(enlarged, (across[n % len(columns)], down[n // len(columns)]))
    return torch.from_numpy(np.array(sheet))[None]


def cell_height(height: int, width: int, columns: int, available: int) -> int:
    """Pixels that a slice of ``height`` × ``width`` is high when ``columns`` of them share ``available`` pixels."""
    fitting = int((available / columns - GAP) * height / width)
    return min(max(fitting, SMALLEST), LARGEST)

"""Pictures of what a disentangling network has taken apart: anatomy and style."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.networks.utils import eval_mode
from torch import Tensor

from shared_components.data.slices import SliceDataset
from shared_components.handlers.pictures import labelled_grid, publish_picture
from shared_components.networks.disentangled import DisentangledNetwork, DisentangledOutput


class DisentanglementPictures:
    """Every few epochs three sheets of the same slices, spread over domains and subjects.

    ``reconstruction``: slices above what the decoder makes of their anatomy and codes. ``anatomy``: slices above the
    soft-maxed channels of their anatomy, the classes first. ``swaps``: the anatomy of the slice at the left under the
    style of the slice above; on the diagonal both are the slice's own. The codes are the distributions' means, so that
    nothing is drawn from the training's random state.

    Args:
        network: takes slices apart.
        dataset: slices to show, such as those of validation; None for no pictures.
        output_dir: pictures go to ``pictures/<sheet>_<epoch>.png`` and to TensorBoard in ``tensorboard/pictures``.
        every: epochs between two pictures; 0 for none.
        columns: slices that are shown.
        labels: names of the classes, in order; without them channels have numbers only.
    """

    def __init__(
        self,
        network: DisentangledNetwork,
        dataset: SliceDataset | None,
        output_dir: str | os.PathLike,
        every: int = 1,
        columns: int = 8,
        labels: Sequence[str] = (),
    ) -> None:
        self.network = network
        self.dataset = dataset
        self.output_dir = Path(output_dir)
        self.every = every
        self.labels = [str(name) for name in labels]
        self.chosen = [] if dataset is None else spread_slices(dataset, columns)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        if self.every and self.chosen:
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self)

    def draw(self) -> dict[str, Tensor]:
        """Sheet name to picture (1, height, width) uint8."""
        items = [self.dataset[index] for index in self.chosen]
        names = [_domain(self.dataset, index) for index in self.chosen]
        image = torch.stack([item["image"] for item in items])  # (B, 1, H, W)
        image = image.to(next(self.network.parameters()).device)
        with eval_mode(self.network):
            output = self.network(image)
            swaps = style_swaps(self.network, output)  # (B, B, 1, H, W)
        anatomy = torch.softmax(output.anatomy, dim=1).transpose(0, 1)[:, :, None] * 2 - 1  # (A, B, 1, H, W)
        blank = torch.ones_like(image[:1])
        margined = [
            blank,
            image,
            *(torch.cat([own[None], row]) for own, row in zip(image, swaps, strict=True)),
        ]
        return {
            "reconstruction": labelled_grid(
                torch.cat([image, output.reconstruction]), ["image", "reconstruction"], names
            ),
            "anatomy": labelled_grid(
                torch.cat([image, *anatomy]), ["image", *self._channels(len(anatomy))], names
            ),
            "swaps": labelled_grid(
                torch.cat(margined), ["style of", *names], ["anatomy of", *names], first_apart=True
            ),
        }

    def _channels(self, count: int) -> list[str]:
        return [*self.labels[:count], *(f"channel {n + 1}" for n in range(len(self.labels), count))]

    def __call__(self, engine: Engine) -> None:
        """Draw and save."""
        for name, sheet in self.draw().items():
            epoch = engine.state.epoch
            publish_picture(self.output_dir, f"{name}_{epoch:05d}", sheet, epoch, zoom=1)


def style_swaps(network: DisentangledNetwork, output: DisentangledOutput) -> Tensor:
    """Every slice's anatomy under every slice's style.

    Args:
        network: takes slices apart.
        output: what it makes of B slices.
    Returns:
        (B, B, 1, H, W): the anatomy of the first index, the means of the codes of the second.
    """
    style, domain = (code.mean for code in output.codes)
    return torch.stack(
        [network.decode(own.expand_as(output.anatomy), style, domain) for own in output.anatomy]
    )


def spread_slices(dataset: SliceDataset, count: int) -> list[int]:
    """Indices of ``count`` slices, as many of each domain, spread over its subjects, from within their volumes.

    A volume that is shown once is shown by its middle slice.
    """
    by_domain: dict[str, dict[int, list[int]]] = {}  # domain -> item -> indices of its slices
    for index, where in enumerate(dataset.index):
        by_domain.setdefault(_domain(dataset, index), {}).setdefault(where.item, []).append(index)
    chosen = []
    for place, volumes in enumerate(by_domain.values()):
        wanted = count // len(by_domain) + (place < count % len(by_domain))
        numbers = [k * len(volumes) // wanted for k in range(wanted)]
        for number, slices in enumerate(volumes.values()):
            times = numbers.count(number)
            chosen += [slices[(k + 1) * len(slices) // (times + 1)] for k in range(times)]
    return chosen


def _domain(dataset: SliceDataset, index: int) -> str:
    return dataset.items[dataset.index[index].item]["domain"]

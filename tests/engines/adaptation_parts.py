"""Tiny networks and batches for the tests of the adaptation's trainers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shared_components.losses.masked_segmentation import MaskedSegmentationLoss
from shared_components.losses.reconstruction import ReconstructionLoss
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.generator import Generator
from shared_components.networks.published_adapter import PublishedAdapter, SegmentationPaths

SIZE, POSITIONS, DOMAINS, CLASSES = 32, 4, 3, 2
SOURCE, TARGET = 0, 2
CHANNELS = (8, 8, 6, 4)


def paths(source: int = SOURCE, target: int = TARGET) -> SegmentationPaths:
    """The same small network on every call."""
    torch.manual_seed(1)
    generator = Generator(
        SIZE, DOMAINS, POSITIONS, CHANNELS, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=0.01
    )
    adapter = PublishedAdapter(
        generator,
        CLASSES,
        widths=(4, 4, 6, 8),
        ramp_updates=4,
        classifier_width=6,
        classifier_hidden=4,
        latent_samples=16,
    )
    return SegmentationPaths(adapter, source, target)


def critic() -> Discriminator:
    """The same small discriminator on every call."""
    torch.manual_seed(2)
    return Discriminator(SIZE, DOMAINS, POSITIONS, CHANNELS, width=8)


def batch(domain: list[int], labelled: list[bool]) -> dict[str, Tensor]:
    """One batch as a slice dataset gives it, from torch's random state."""
    count = len(domain)
    return {
        "image": torch.rand(count, 1, SIZE, SIZE) * 2 - 1,
        "label": torch.randint(0, CLASSES, (count, 1, SIZE, SIZE)),
        "labelled": torch.tensor(labelled),
        "index": torch.arange(count),
        "domain": torch.tensor(domain),
        "position": torch.rand(count),
    }


class RandomBatches:
    """``length`` batches an epoch, drawn one by one from torch's global random state."""

    def __init__(self, domain: list[int], labelled: list[bool], length: int = 2) -> None:
        self.domain, self.labelled, self.length = domain, labelled, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        for _ in range(self.length):
            yield batch(self.domain, self.labelled)


def losses() -> dict[str, nn.Module]:
    return {"loss_function": MaskedSegmentationLoss(), "image_loss": ReconstructionLoss()}


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed_children(adapter: PublishedAdapter, before: dict[str, Tensor]) -> set[str]:
    """Names of the adapter's children with a parameter or buffer that differs from ``before``."""
    after = adapter.state_dict()
    return {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}

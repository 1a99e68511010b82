"""Networks of the default adaptation: a translator of looks, and the module that holds all that trains."""

from __future__ import annotations

import copy

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from shared_components.networks.weight_average import WeightAverage


class Translator(nn.Module):
    """Turns source-looking slices into target-looking ones of the same anatomy.

    A U-Net adds to the image's logit-like pre-activation, so that it starts near the identity; one extra input
    channel of noise lets it draw texture that the source does not show.

    Args:
        channels: widths of the U-Net, finest first.
        noise: standard deviation of the noise channel; 0 makes the translation deterministic.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 64, 128), noise: float = 1.0) -> None:
        super().__init__()
        self.noise = noise
        self.unet = UNet(
            spatial_dims=2,
            in_channels=2,
            out_channels=1,
            channels=tuple(channels),
            strides=(2,) * (len(channels) - 1),
            num_res_units=1,
            norm="instance",
        )

    def forward(self, image: Tensor) -> Tensor:
        """``image`` (B, 1, H, W) in [-1, 1] to (B, 1, H, W) in [-1, 1]."""
        noise = torch.randn_like(image) * self.noise if self.noise else torch.zeros_like(image)
        return torch.tanh(image + self.unet(torch.cat([image, noise], dim=1)))


class AdaptationNetwork(nn.Module):
    """All networks of the default adaptation, as one module.

    Children: ``segmenter``, ``average`` (of its weights), ``teacher`` (frozen), ``translator``, ``discriminator`` (of
    the target's look).

    Args:
        segmenter: network (B, 1, H, W) to (B, classes, H, W); starts from the source model's weights.
        translator: turns source-looking slices into target-looking ones.
        discriminator: critic of the target's look, called with (image, domain, position).
        average: decay of the running average of the segmenter's weights, over its updates; 0: none is made.
        teacher: what labels the client's own images; None: the result as it is when self-training begins.
    Raises:
        InputError: a decay that is none.
    """

    def __init__(
        self,
        segmenter: nn.Module,
        translator: nn.Module,
        discriminator: nn.Module,
        average: float = 0.0,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.average = WeightAverage(segmenter, average)
        self.is_own_teacher = teacher is None
        self.teacher = (copy.deepcopy(segmenter) if teacher is None else teacher).requires_grad_(False)
        self.translator = translator
        self.discriminator = discriminator

    def train(self, mode: bool = True) -> AdaptationNetwork:
        """As of any module, but for the teacher, whose norms and dropout stay as they are in inference."""
        super().train(mode)
        self.teacher.eval()
        return self

    @property
    def result(self) -> nn.Module:
        """What teaches and is exported: the average, or without one the segmenter."""
        return self.average.module if self.average.decay else self.segmenter

    def update_average(self, before: int = 0) -> None:
        """Move the average towards the segmenter; once for each of its updates, ``before`` of which are done."""
        if self.average.decay:
            self.average.update_parameters(self.segmenter, before)

    @torch.no_grad()
    def renew_teacher(self) -> None:
        """Freeze the result as it is now as the teacher, unless another one was given."""
        if self.is_own_teacher:
            self.teacher.load_state_dict(self.result.state_dict())

    def forward(self, image: Tensor) -> Tensor:
        """Class scores of the segmenter: (B, 1, H, W) to (B, classes, H, W)."""
        return self.segmenter(image)

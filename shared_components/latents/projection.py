"""Projection of slices into W+: the latents that draw them best."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.losses import SSIMLoss
from torch import Tensor

from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import typical_distance
from shared_components.steps import steps


def project(
    generator: Generator,
    images: Tensor,
    start: Tensor,
    updates: int = 300,
    rate: float = 0.05,
    ssim_weight: float = 1.0,
    prior_weight: float = 0.05,
    one_latent: bool = False,
    told: str | None = None,
) -> Tensor:
    r"""Optimise W+ by Adam until the generator draws ``images``, without noise; slices do not influence each other.

    The loss of a slice is :math:`\overline{(x-\hat x)^2}` + ``ssim_weight`` :math:`(1 - SSIM)` + ``prior_weight`` times
    the mean square of W+ off its start, in units of how w varies; the rate falls to 0 along half a cosine.

    Args:
        generator: the factory's, frozen.
        images: slices (N, 1, S, S) in [-1, 1], on the generator's device.
        start: latents w (N, w_dim) to start from, such as the domain's mean at each slice's height.
        updates: of Adam.
        rate: its learning rate at the start.
        ssim_weight: 0 for the squared error alone.
        prior_weight: 0 for none; with much of it, W+ stays among what the generator draws by itself.
        one_latent: the same w in all rows (the space W): less exact, but another domain's look suits it better.
        told: what is done, for the progress bar; None for none.
    Returns:
        W+ (N, rows, w_dim).
    Source: Karras et al. 2020, Sec. 5 (projection); Abdal et al. 2019 (W+).
    Deviation: squared error and SSIM in the place of a perceptual distance, whose network would have to be downloaded.
    """
    apart = 1 if one_latent else generator.rows
    latents = start.detach()[:, None].repeat(1, apart, 1).requires_grad_()
    variance = typical_distance(generator) ** 2 / generator.w_dim
    optimizer = torch.optim.Adam([latents], rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    similarity = dissimilarity(images.shape[-1])
    for _ in steps(range(updates), told or "", "update", told is not None):
        drawn = generator.synthesis(latents.expand(-1, generator.rows, -1), "none").image
        loss = (drawn - images).square().mean() + ssim_weight * similarity(
            unit_range(drawn), unit_range(images)
        )
        loss = loss + prior_weight * (latents - start[:, None]).square().mean() / variance
        optimizer.zero_grad(set_to_none=True)
        (len(images) * loss).backward()  # means over slices would make a step depend on their number
        optimizer.step()
        schedule.step()
    return latents.detach().expand(-1, generator.rows, -1).contiguous()


def unit_range(images: Tensor) -> Tensor:
    """Images in [-1, 1] as numbers from 0 to 1, as SSIM wants them."""
    return (images.clamp(-1, 1) + 1) / 2


def ssim_window(size: int) -> int:
    """Pixels of SSIM's window, odd, for slices of ``size`` pixels."""
    return min(11, size - 1 + size % 2)


def dissimilarity(size: int) -> Callable[[Tensor, Tensor], Tensor]:
    """1 - SSIM of images (N, 1, S, S) from 0 to 1."""
    return SSIMLoss(spatial_dims=2, data_range=1.0, win_size=ssim_window(size))

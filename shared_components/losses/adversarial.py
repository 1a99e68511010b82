"""Losses of the generator and its discriminator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.tensors import summed


def discriminator_real_loss(real_logits: Tensor) -> Tensor:
    r"""The real images' part of the logistic loss, :math:`E[\mathrm{softplus}(-D(x))]`; scalar.

    Args:
        real_logits: discriminator output on real images, (B, heads), before any sigmoid.
    Source: Goodfellow et al. 2014, Eq. 1.
    """
    return F.softplus(-real_logits).mean()


def discriminator_fake_loss(fake_logits: Tensor) -> Tensor:
    r"""The generated images' part of the logistic loss, :math:`E[\mathrm{softplus}(D(G(z)))]`; scalar.

    Args:
        fake_logits: discriminator output on generated images, (B, heads), before any sigmoid.
    Source: Goodfellow et al. 2014, Eq. 1.
    """
    return F.softplus(fake_logits).mean()


def discriminator_logistic_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The sum of :func:`discriminator_real_loss` and :func:`discriminator_fake_loss`; scalar."""
    return discriminator_real_loss(real_logits) + discriminator_fake_loss(fake_logits)


def generator_nonsaturating_loss(fake_logits: Tensor) -> Tensor:
    r"""Non-saturating loss :math:`E[\mathrm{softplus}(-D(G(z)))]`; ``fake_logits`` (B, heads); scalar.

    Source: Goodfellow et al. 2014, Sec. 3.
    """
    return F.softplus(-fake_logits).mean()


def r1_penalty(real_logits: Tensor, real: Tensor) -> Tensor:
    r"""R1 penalty :math:`E\,\lVert\nabla_x D(x)\rVert^2`; the caller applies gamma / 2.

    Args:
        real_logits: discriminator output, (B, heads), before any sigmoid; of several heads the mean is D.
        real: images, (B, C, H, W), in [-1, 1], requiring grad.
    Returns:
        Scalar, the mean over B.
    Raises:
        ValueError: ``real`` does not require grad.
    Source: Mescheder et al. 2018, Sec. 4.1.
    """
    if not real.requires_grad:
        raise ValueError(
            "real: expected images that require grad, found requires_grad=False; set it before D(real)"
        )
    (gradient,) = torch.autograd.grad(real_logits.mean(dim=1).sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


class PathLengthPenalty(nn.Module):
    r"""Path-length regularisation :math:`E\,(\lVert J_w^\top y\rVert_2 - a)^2`, y ~ N(0, I), a its running mean.

    The running mean is a buffer: save it with the checkpoint. Several processes have that of all their images.

    Args:
        decay: weight of the old mean, per evaluation.
    Source: Karras et al. 2020, Sec. 3.2, Eq. 4.
    """

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, images: Tensor, w_plus: Tensor) -> Tensor:
        """``images`` (B, C, H, W) computed from ``w_plus`` (B, rows, w_dim), which requires grad; scalar.

        Raises:
            ValueError: ``w_plus`` does not require grad.
        """
        if not w_plus.requires_grad:
            raise ValueError("w_plus: expected a tensor that requires grad, found requires_grad=False")
        y = torch.randn_like(images) / math.sqrt(images.shape[-1] * images.shape[-2])
        (gradient,) = torch.autograd.grad((images * y).sum(), w_plus, create_graph=True)
        lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()  # (B,)
        total, processes = summed(torch.stack([lengths.mean().detach(), lengths.new_ones(())]))
        mean = torch.lerp(total / processes, self.mean, self.decay)
        self.mean.copy_(mean)
        return (lengths - mean).square().mean()

"""Loss between a slice and its reconstruction (method §2)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from monai.losses import SSIMLoss
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.seals import archive_fault
from shared_components.tensors import not_finite


def feature_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    r"""Mean over maps of :math:`\overline{\lVert \hat f_1 - \hat f_2 \rVert^2}`, f̂ of unit length per pixel.

    Args:
        first: feature maps, each (B, C_l, h_l, w_l).
        second: the same of the other image.
    Returns:
        Scalar.
    Source: Zhang et al. 2018 (LPIPS), Eq. 1, with unit weights.
    """
    pairs = zip(first, second, strict=True)
    squares = [(F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(dim=1).mean() for a, b in pairs]
    return torch.stack(squares).mean()


class ReconstructionLoss(nn.Module):
    """``l2``·L2 + ``ssim``·(1 − SSIM) + ``perceptual``·feature distance.

    Args:
        l2: weight of the mean squared error.
        ssim: weight of 1 − SSIM.
        perceptual: weight of the feature distance (published: 0.8); used only with ``perceptual_network``.
        perceptual_network: TorchScript file of a frozen network that maps (B, 1, S, S) in [-1, 1] to one
            feature map or a list of them; None leaves the term out. Nothing is downloaded.
        window: width of the SSIM's Gaussian window, px, odd, at most the image's size.
    Raises:
        InputError: the network's file is missing.
    Source: Galati et al., MultiVesSeg.
    Deviation: the published SSIM term holds the L2 value; ours is of intensities from 0 to 1, for of signed ones it
    takes an inverted image for a likeness. The perceptual term is off without a network.
    """

    def __init__(
        self,
        l2: float = 1.0,
        ssim: float = 1.0,
        perceptual: float = 0.8,
        perceptual_network: str | os.PathLike | None = None,
        window: int = 11,
    ) -> None:
        super().__init__()
        self.l2, self.ssim, self.perceptual = l2, ssim, perceptual
        self.similarity = SSIMLoss(spatial_dims=2, data_range=1.0, win_size=window)
        self.network = None if perceptual_network is None else _load_scripted(perceptual_network)

    def forward(self, reconstruction: Tensor, image: Tensor) -> Tensor:
        """Both (B, 1, S, S) in [-1, 1]; scalar, the mean over B.

        Raises:
            ValueError: the two differ in shape.
        """
        if reconstruction.shape != image.shape:
            raise ValueError(
                "reconstruction and image: expected equal shapes, "
                f"found {tuple(reconstruction.shape)} and {tuple(image.shape)}"
            )
        loss = self.l2 * F.mse_loss(reconstruction, image)
        if self.ssim:
            loss = loss + self.ssim * self.similarity((reconstruction + 1) / 2, (image + 1) / 2)
        if self.network is not None:
            distance = feature_distance(self._features(reconstruction), self._features(image))
            loss = loss + self.perceptual * distance
        return loss

    def _features(self, image: Tensor) -> Sequence[Tensor]:
        features = self.network(image)
        return [features] if isinstance(features, Tensor) else features


def _load_scripted(path: str | os.PathLike) -> nn.Module:
    """A frozen TorchScript network in evaluation mode, on the CPU.

    Raises:
        InputError: the file is missing or damaged, is not TorchScript, or holds NaN or infinite values.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected a TorchScript file, found none; check the path")
    fault = archive_fault(Path(path))
    if fault:
        raise InputError(f"{path}: expected a TorchScript file, found a damaged one ({fault}); copy it again")
    try:
        network = torch.jit.load(str(path), map_location="cpu")
    except RuntimeError as error:
        raise InputError(f"{path}: expected a TorchScript file; write it with torch.jit.save") from error
    bad = not_finite(network.state_dict())
    if bad:
        raise InputError(f"{path}: '{bad}' holds NaN or infinite values; copy it again or name another")
    for parameter in network.parameters():
        parameter.requires_grad = False
    return network.eval()

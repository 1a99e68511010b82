"""Contrast between the classes of a slice, and looks that keep a share of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 0.05  # of the deviation within classes, in units of the scaled intensity: what noise there always is
RING = 3  # pixels around all classes, of which the background's share counts
LEAST = 4  # pixels that a class has in a slice in which it counts
STEPS = 16  # of the share that is mixed back, from none to all


def with_contrast(before: Tensor, after: Tensor, label: Tensor, share: float, classes: int) -> Tensor:
    r"""``after``, mixed back towards ``before`` by the least of 17 shares that keeps the contrast of all classes.

    The contrast of two classes is :math:`|m_i - m_j| / \sqrt{(s_i^2 + s_j^2) / 2 + f^2}` with means m and
    deviations s of their pixels and a floor f. A mixture's means are linear and its variances quadratic in its share,
    so that all shares are tried without mixing. The difference counts without its sign: an inverted look passes. Of
    the background those pixels count that lie next to some class, since the rest (air, skull, other organs) has
    nothing to do with telling classes apart and would forbid any curve that changes its mean.

    Args:
        before: slices (B, 1, H, W).
        after: the same in another look.
        label: (B, 1, H, W) classes, -1 where unknown; a slice where fewer than two classes are known stays ``after``.
        share: of its contrast before, which each pair of classes keeps, 0 to 1.
        classes: how many there are, background included.
    """
    one_hot = _members(label, classes)  # (B, C, N)
    counts = one_hot.sum(2)  # (B, C)
    old, new = (part.flatten(2) for part in (before, after))  # (B, 1, N)

    def mean(values: Tensor) -> Tensor:
        return (one_hot @ values.transpose(1, 2))[..., 0] / counts.clamp(min=1)

    means = torch.stack([mean(new), mean(old)])  # (2, B, C)
    squares = torch.stack([mean(new * new), mean(old * old), mean(new * old)])
    variances = squares - torch.stack([means[0] ** 2, means[1] ** 2, means[0] * means[1]])
    back = torch.linspace(0, 1, STEPS + 1, device=after.device, dtype=after.dtype)
    contrasts = _contrasts(means, variances, back)  # (S, B, C, C)
    occurs = counts >= LEAST
    pairs = occurs[:, :, None] & occurs[:, None]
    kept = (contrasts >= share * contrasts[-1:] * (1 - 1e-6)) | ~pairs
    chosen = back[
        kept.flatten(2).all(2).int().argmax(0)
    ]  # the first of the shares; the last one always keeps it
    return torch.lerp(after, before, chosen[:, None, None, None])


def _members(label: Tensor, classes: int) -> Tensor:
    """Which pixels count for each class, (B, C, N) floats: all of a class, of the background those around classes."""
    found = label == torch.arange(classes, device=label.device)[:, None, None]
    near = F.max_pool2d((label > 0).float(), 2 * RING + 1, stride=1, padding=RING) > 0
    background = found[:, :1] & near
    return torch.cat([background, found[:, 1:]], dim=1).flatten(2).float()


def _contrasts(means: Tensor, variances: Tensor, back: Tensor) -> Tensor:
    """Contrasts (S, B, C, C) of mixtures, of which shares ``back`` (S,) are the old look.

    ``means`` (2, B, C) of new and old, ``variances`` (3, B, C) of new, of old, and their covariance.
    """
    back = back[:, None, None]
    mean = torch.lerp(means[0], means[1], back)
    forth = 1 - back
    variance = forth**2 * variances[0] + back**2 * variances[1] + 2 * back * forth * variances[2]
    pooled = (variance[..., None] + variance[..., None, :]).clamp(min=0) / 2 + FLOOR**2
    return (mean[..., None] - mean[..., None, :]).abs() / pooled.sqrt()

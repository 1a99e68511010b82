"""From volumes to class scores, slice by slice, of what a network has seen in its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import SliceInferer
from monai.transforms.utils import generate_spatial_bounding_box
from torch import Tensor
from torch.nn.functional import avg_pool2d

from shared_components.inferers.file_grid import plain
from shared_components.networks.flips import check_flips, flip_averaged

AIR = -0.9
"""Of intensities in [-1, 1], what lies at the edge of slices is air up to here: where it is brighter, nothing is cut.

A threshold between two classes would take a dim body around bright organs for air.
"""
QUIET = 0.02
"""What means of 3 × 3 pixels are above the noise of air at least, where they are something else."""
EDGE = 12
"""Pixels from the border that count as the edge, more than a padding to a multiple of 16 adds on a side."""
NEVER = -1e4
"""Score of every class but background where no network was asked; float16 holds it."""


class FramedSliceInferer(SliceInferer):
    """MONAI's ``SliceInferer`` on the part of a volume that is not air, with mirror images if wanted.

    Networks that take statistics over a slice, as instance norm does, find other ones in a larger field of view than
    that of their training: they miss organs that they find where the air around is cut off. So slices larger than
    those of the training are cut to what is not air anywhere in the volume; the rest of them is background.

    With flips the probabilities of each slice's mirror images are averaged, and their logarithms returned.

    Args:
        size: H and W of a training slice, pixels: nothing is cut to less.
        air_margin: share of what is not air that is left around it on each side; None: nothing is cut.
        multiple: what H and W must be divisible by after the cut, pixels, as they are before.
        flips: in-plane axes to mirror along, each on its own and all together: [], [0], [1] or [0, 1].
        slices: the rest of ``SliceInferer``; ``spatial_dim`` must be 2.
    Raises:
        InputError: axes that slices do not have.
    """

    def __init__(
        self, size: int, air_margin: float | None, multiple: int, flips: Sequence[int], **slices: Any
    ) -> None:
        super().__init__(**slices)
        self.size, self.air_margin, self.multiple = size, air_margin, multiple
        self.flips = check_flips(flips)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Scores (B, C, H, W, D) of volumes (B, 1, H, W, D) in [-1, 1]."""

        def averaged(slices: Tensor) -> Tensor:
            return flip_averaged(network, slices, self.flips)

        volumes = plain(inputs)
        rows, columns = self._frame(volumes)
        scores = super().__call__(volumes[:, :, rows, columns], averaged, *args, **kwargs)
        if scores.shape[2:] == volumes.shape[2:]:
            return scores
        whole = scores.new_full((*scores.shape[:2], *volumes.shape[2:]), NEVER)
        whole[:, 0] = 0
        whole[:, :, rows, columns] = scores
        return whole

    def _frame(self, volumes: Tensor) -> tuple[slice, slice]:
        """Rows and columns that the network is shown."""
        height, width = volumes.shape[2:4]
        if self.air_margin is None or max(height, width) <= self.size:
            return slice(0, height), slice(0, width)
        seen = _not_air(volumes)
        if not seen.any():
            return slice(0, height), slice(0, width)
        start, end = generate_spatial_bounding_box(seen[None])
        rows, columns = (self._side(*ends) for ends in zip(start, end, (height, width), strict=True))
        return rows, columns

    def _side(self, start: int, end: int, whole: int) -> slice:
        margin = round((self.air_margin or 0) * (end - start))
        wanted = max(self.size, end - start + 2 * margin)
        length = min(whole, -(-wanted // self.multiple) * self.multiple)
        first = (start + end - length) // 2
        first = min(max(first, 0), whole - length)
        return slice(first, first + length)


def _not_air(volumes: Tensor) -> Tensor:
    """Whether there is anything but air at each in-plane place in any slice: (B, 1, H, W, D) to (H, W); nowhere air
    where no air can be told.
    """
    seen = torch.zeros(volumes.shape[2:4], dtype=torch.bool, device=volumes.device)
    for volume in volumes:
        slices = volume.permute(3, 0, 1, 2)
        level = _air_level(slices)
        if level is None:
            return torch.ones_like(seen)
        for some in slices.split(64):
            seen |= (_smooth(some) > level).any(dim=0)[0]
    return seen


def _air_level(slices: Tensor) -> float | None:
    """What means of 3 × 3 pixels of air reach, by those at the edge of slices (D, 1, H, W); None: that is not air."""
    smooth = _smooth(slices[:: max(1, len(slices) // 32)])
    edge = torch.ones_like(smooth[0], dtype=torch.bool)
    edge[:, EDGE:-EDGE, EDGE:-EDGE] = False
    values = smooth[:, edge]
    noisy = values[values > -1]  # and no padding
    if len(noisy) < values.numel() / 2:
        return QUIET - 1
    low, middle = torch.quantile(
        noisy.float()[:: 1 + len(noisy) // 2**20], noisy.new_tensor([0.16, 0.5]).float()
    ).tolist()
    return None if middle > AIR else middle + max(QUIET, 6 * (middle - low))


def _smooth(slices: Tensor) -> Tensor:
    return avg_pool2d(slices, 3, stride=1, padding=1, count_include_pad=False)

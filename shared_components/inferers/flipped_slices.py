"""Slices and their mirror images, segmented and averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.inferers import SliceInferer
from torch import Tensor

from shared_components.networks.flips import check_flips, flip_averaged


class FlippedSliceInferer(SliceInferer):
    """MONAI's ``SliceInferer`` that averages the probabilities of each slice's mirror images.

    With flips it returns logarithms of probabilities, without the network's scores as they are.

    Args:
        flips: in-plane axes to mirror along, each on its own and all together: [], [0], [1] or [0, 1].
        slices: the rest of ``SliceInferer``; ``spatial_dim`` must be 2.
    Raises:
        InputError: axes that slices do not have.
    """

    def __init__(self, flips: Sequence[int] = (), **slices: Any) -> None:
        super().__init__(**slices)
        self.flips = check_flips(flips)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Scores (B, C, H, W, D) of volumes (B, 1, H, W, D)."""

        def averaged(slices: Tensor) -> Tensor:
            return flip_averaged(network, slices, self.flips)

        return super().__call__(inputs, averaged, *args, **kwargs)

"""What stands before the network at inference: the training's transforms without their crop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.transforms import Compose, DivisiblePadd, EnsureTyped, SpatialPadd

from shared_components.data.volumes import volume_transforms


def inference_transforms(
    size: int,
    spacing: float | None,
    orientation: str | None = "RAS",
    percentiles: Sequence[float] = (0.5, 99.5),
    multiple: int = 16,
) -> Compose:
    """Volume file to ``(1, H, W, D)`` in [-1, 1]; ``LabelsOnFileGridd`` (or ``Invertd``) takes a prediction back.

    Without its first step it takes an image in memory, as MONAI Deploy hands it over: a ``MetaTensor`` whose metadata
    state ``original_channel_dim``.

    Training crops slices to ``size``; here nothing is cropped, since what is cut off could not be segmented.
    Slices are padded to at least ``size`` (a volume no larger than training's looks as it did in training),
    then to a multiple of ``multiple``.

    Args:
        size: H and W of a training slice, pixels.
        spacing: in-plane pixel size, mm; ``None`` keeps the volume's.
        orientation: axis codes whose last letter is the slicing axis; ``None`` keeps the volume's.
        percentiles: intensities mapped to -1 and 1.
        multiple: what H and W must be divisible by, pixels; 1 when the inferer cuts windows of its own.
    """
    pad = {"keys": ("image",), "mode": "constant", "value": -1}
    load, channel_first, *steps = volume_transforms(
        ("image",), size, spacing, orientation, percentiles, crop=False, one_step=True, blank=False
    ).transforms
    return Compose(
        [
            load,
            channel_first,
            EnsureTyped(("image",), dtype=torch.float32),  # images of other programs may be integers
            *steps,
            SpatialPadd(spatial_size=(size, size, -1), **pad),
            DivisiblePadd(k=(multiple, multiple, 1), **pad),
        ]
    ).flatten()  # other programs look for the loader in the list: MONAI Deploy leaves it out

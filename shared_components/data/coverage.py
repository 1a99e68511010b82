"""Which part of the images lies outside what the networks see of a slice: ``image_size`` × ``spacing``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import Orientationd
from torch import Tensor

from shared_components.data.intensities import intensity_range, with_air
from shared_components.data.volumes import NativeOrientationd, in_plane_spacing, slice_axes

ENOUGH = 0.98
"""Share of an image's foreground that is nearly all of it."""

WHOLE = 2**31
"""Size of a frame that leaves nothing out, for measuring images of which nothing is known yet, pixels."""

_STEP = 16  # px; sizes that are proposed are multiples, which suit every network's strides
_LOOKED_AT = 64  # voxels along each axis that are looked at, of larger images every second, third …
_BINS = 256
_SEPARATED = 0.9  # share of the variance between two classes that are two; 0.6 to 0.75 of a single one


@dataclass(frozen=True)
class Frame:
    """What the networks see of a slice: its middle.

    Attributes:
        size: height and width, pixels.
        spacing: in-plane pixel size, mm, one number or two; ``None``: the file's own.
        orientation: axis codes, slices along the last; ``None`` or ``"native"``: the file's slices.
    """

    size: int
    spacing: float | Sequence[float] | None
    orientation: str | None = "RAS"

    def __str__(self) -> str:
        if self.spacing is None:
            return f"image_size {self.size} px of the files' own size"
        edges = in_plane_spacing(self.spacing)
        width = " × ".join(f"{self.size * mm:.4g}" for mm in dict.fromkeys(edges))
        return f"image_size {self.size} px × spacing {_listed(edges)} mm = {width} mm"


class Reach:
    """How large a frame must be to take in an image's foreground.

    Attributes:
        shares: ``(n,)``, the share of the foreground for which a frame of that many pixels is just large enough.
    """

    def __init__(self, shares: np.ndarray) -> None:
        self.shares = shares

    def outside(self, size: int) -> float:
        """Share of the foreground outside a frame of ``size`` pixels."""
        return float(self.shares[size + 1 :].sum())

    def needed(self, share: float = ENOUGH) -> int:
        """Smallest size in pixels that takes in that share."""
        return int(np.searchsorted(self.shares.cumsum(), share - 1e-9))


def image_reach(image: MetaTensor, frame: Frame) -> Reach:
    """The reach of a volume ``(1, H, W, D)``, all finite but for air that is NaN, in pixels of the frame's spacing."""
    volume = as_seen(with_air(image), frame.orientation)
    steps = [math.ceil(length / _LOOKED_AT) for length in volume.shape[1:]]
    seen = volume.as_tensor()[0, :: steps[0], :: steps[1], :: steps[2]]
    if seen.min() == seen.max():  # of a sparse image all may be air: then every voxel is looked at
        steps, seen = [1, 1, 1], volume.as_tensor()[0]
    return _reach(foreground(seen).sum(2), volume, steps, frame)


def label_reach(label: MetaTensor, frame: Frame) -> Reach:
    """The same of what is labelled, above 0, in a label map ``(1, H, W, D)``."""
    volume = as_seen(label, frame.orientation)
    return _reach((volume.as_tensor()[0] > 0).sum(2).numpy(), volume, (1, 1), frame)


def _reach(counts: np.ndarray, volume: MetaTensor, steps: Sequence[int], frame: Frame) -> Reach:
    """Of a volume as it is seen; ``counts``: foreground above each of the pixels ``(H, W)`` at these steps."""
    have = affine_to_spacing(volume.affine, 3)[:2].tolist()
    want = have if frame.spacing is None else in_plane_spacing(frame.spacing)
    sizes = [
        2 * np.abs(np.arange(0, length, step) - (length - 1) / 2) * mm / pixel + 1
        for length, step, mm, pixel in zip(volume.shape[1:3], steps[:2], have, want, strict=True)
    ]
    needed = np.ceil(np.maximum(sizes[0][:, None], sizes[1]) - 1e-6).astype(int)  # (H, W)
    shares = np.bincount(needed.ravel(), counts.ravel())
    return Reach(shares / max(shares.sum(), 1))


def as_seen(image: MetaTensor, orientation: str | None) -> MetaTensor:
    """A volume ``(1, H, W, D)`` with its axes turned as a bundle's ``orientation`` says: slices along the last."""
    axes = slice_axes(orientation)
    turn = NativeOrientationd("image") if axes is None else Orientationd("image", axcodes=axes, labels=None)
    return turn({"image": image})["image"]


def foreground(voxels: Tensor) -> np.ndarray:
    """Voxels of a volume brighter than air, by Otsu's threshold, which separates two classes best; all of a constant.

    Where what lies below consists of two classes just as clearly, as a dim body and air around bright organs do, the
    lower threshold counts.
    Source: Otsu 1979, IEEE Trans. Syst. Man Cybern. 9(1), eq. 18 (threshold) and 12 (how well it separates).
    """
    low, high = intensity_range(voxels, (0.5, 99.5))
    values = voxels.clamp(low, high).double().numpy()  # the squares of large float32 are infinite
    if low == high:
        return np.ones_like(values, bool)
    threshold, _ = _two_classes(values)
    while (below := values[values <= threshold]).min() < below.max():
        lower, separated = _two_classes(below)
        if separated < _SEPARATED:
            break
        threshold = lower
    return values > threshold


def _two_classes(values: np.ndarray) -> tuple[float, float]:
    """Otsu's threshold, and the share of the variance that lies between its two classes."""
    counts, edges = np.histogram(values, _BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = counts.cumsum(), (counts * middles).cumsum()
    above, mean = below[-1] - below, total[-1] / below[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    best = int(np.nanargmax(between[:-1]))
    spread = (counts * (middles - mean) ** 2).sum() * below[-1]
    return float(edges[1 + best]), float(between[best] / spread)


def together(reaches: Sequence[Reach]) -> Reach:
    """The mean of several images' reaches, each of the same weight."""
    sums = np.zeros(max(len(reach.shares) for reach in reaches))
    for reach in reaches:
        sums[: len(reach.shares)] += reach.shares
    return Reach(sums / len(reaches))


def coverage(reaches: Mapping[str, Reach], frame: Frame) -> str:
    """A sentence on what a frame leaves out of a client's images.

    Args:
        reaches: an image's name to its reach, in pixels of the frame's spacing; at least one.
        frame: what the networks see.
    """
    out = {name: reach.outside(frame.size) for name, reach in reaches.items()}
    worst = max(out, key=out.__getitem__)
    if out[worst] <= 1 - ENOUGH:
        return f"{frame} take in nearly all of what is brighter than air"
    mean = sum(out.values()) / len(out)
    return f"{_percent(mean)} of what is brighter than air lies outside {frame} ({_percent(out[worst])} in {worst})"


def proposal(reaches: Sequence[Reach], frame: Frame) -> str | None:
    """Values that would take in nearly all of every image, of the least coarse or the smallest kind.

    Returns:
        None where the frame does so already and is not far too large.
    """
    needed = max(reach.needed() for reach in reaches)
    if 0.6 * frame.size <= needed <= frame.size:
        return None
    larger = math.ceil(needed / _STEP) * _STEP
    if frame.spacing is None:
        return f"image_size: {larger}"
    edges = [math.ceil(10 * mm * needed / frame.size) / 10 for mm in in_plane_spacing(frame.spacing)]
    spacing = f"spacing: {_listed(edges)}"
    if needed < frame.size:
        return f"{spacing} (finer: the images need only {needed} of the {frame.size} px)"
    return f"{spacing}, or image_size: {larger} (slower)"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def _listed(edges: Sequence[float]) -> str:
    return f"{edges[0]:g}" if edges[0] == edges[1] else f"[{edges[0]:g}, {edges[1]:g}]"


def advice(reaches: Mapping[str, Reach], orientation: str | None = "RAS") -> str:
    """Values that suit images of which nothing is known yet.

    Args:
        reaches: an image's name to its reach in pixels of 1 mm; at least one.
        orientation: axis codes of the slices that were measured, slices along the last; ``None``: the files' own.
    """
    turned = "" if orientation == "RAS" else f"orientation: {orientation or 'native'}, "
    widest, width = widest_image(reaches)
    values = [f"{{{turned}image_size: {size}, spacing: {spacing_for(width, size):g}}}" for size in (48, 64)]
    return (
        f"in a slice, what is brighter than air spans up to {width} mm ({widest}); overrides: {values[0]} takes it "
        f"in, {values[1]} does so more finely and takes longer"
    )


def widest_image(reaches: Mapping[str, Reach]) -> tuple[str, int]:
    """The image that needs the largest frame, and that frame's size in pixels of its reach."""
    widest = max(reaches, key=lambda name: reaches[name].needed())
    return widest, reaches[widest].needed()


def spacing_for(width: float, size: int) -> float:
    """Pixel size in mm, to a tenth, with which ``size`` pixels span ``width`` mm."""
    return math.ceil(10 * width / size) / 10

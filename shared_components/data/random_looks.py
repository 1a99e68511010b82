"""Random looks of slices: transforms of intensities in [-1, 1], of which -1 is what is empty (air)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import MapTransform, RandBiasFieldd, RandGaussianSmoothd, RandomizableTransform
from torch import Tensor

AIR = -1.0
_TISSUE = 1e-3  # smallest norm that is scaled back, in units of intensity times pixels


class RandLookd(RandomizableTransform, MapTransform):
    """Base of random looks that are a function of an image and a few numbers drawn for it.

    :meth:`randomize` sets ``drawn``, the numbers, or None where the image is left alone; :meth:`applied` is the
    function, for a whole batch.

    Args:
        keys: entries of the dict, images in [-1, 1], (1, H, W); all get the same numbers.
        prob: probability that they are changed.
    """

    def __init__(self, keys: str | Sequence[str] = "image", prob: float = 1.0) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.drawn: np.ndarray | None = None

    def randomize(self, data: object = None) -> None:
        """Draw anew."""
        super().randomize(None)
        self.drawn = self.draw() if self._do_transform else None

    @abstractmethod
    def draw(self) -> np.ndarray:
        """Numbers (N,) for an image, from the random state ``R``."""

    @abstractmethod
    def applied(self, image: Tensor, drawn: Tensor) -> Tensor:
        """``image`` (B, 1, H, W) changed by the numbers ``drawn`` (B, N)."""

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        self.randomize()
        if self.drawn is not None:
            for key in self.key_iterator(data):
                drawn = torch.as_tensor(self.drawn).to(data[key])
                data[key] = self.applied(data[key][None], drawn[None])[0]
        return data


class RandRemapIntensityd(RandLookd):
    """Send intensities through a random piecewise-linear curve, monotone or not.

    The curve has evenly spaced nodes on [-1, 1] whose heights are uniform in [-1, 1]; with probability
    ``monotone`` they are sorted, upwards or downwards. It makes a network tell tissues apart by shape and
    surroundings rather than by level.

    Args:
        keys: see :class:`RandLookd`.
        prob: probability that an image is remapped.
        nodes: number of nodes of the curve.
        monotone: probability that the curve is monotone, rising and falling alike.
    """

    def __init__(
        self, keys: str | Sequence[str] = "image", prob: float = 0.7, nodes: int = 6, monotone: float = 0.5
    ) -> None:
        super().__init__(keys, prob)
        self.nodes, self.monotone = nodes, monotone

    def draw(self) -> np.ndarray:
        """Heights of the curve's nodes."""
        heights = self.R.uniform(-1, 1, self.nodes)
        if self.R.rand() < self.monotone:
            heights.sort()
            heights = heights if self.R.rand() < 0.5 else heights[::-1].copy()
        return heights.astype(np.float32)

    def applied(self, image: Tensor, drawn: Tensor) -> Tensor:
        """Images (B, ...) through curves with heights (B, N) at evenly spaced nodes."""
        last = drawn.shape[1] - 1
        place = ((image.clamp(-1, 1) + 1) / 2 * last).flatten(1)
        low = place.floor().long().clamp(max=last - 1)
        curve = torch.lerp(drawn.gather(1, low), drawn.gather(1, low + 1), place - low)
        return curve.reshape(image.shape)


class RandExposured(RandLookd):
    r"""Gamma and gain: :math:`x + 1 \mapsto 2 g ((x + 1) / 2)^\gamma`; air stays air, no two levels change order.

    Args:
        keys: see :class:`RandLookd`.
        prob: probability that an image is changed.
        gamma: largest exponent, its inverse the smallest; even on a logarithmic scale.
        gain: largest relative change of brightness, up or down.
    """

    def __init__(
        self,
        keys: str | Sequence[str] = "image",
        prob: float = 0.8,
        gamma: float = 1.5,
        gain: float = 0.2,
    ) -> None:
        super().__init__(keys, prob)
        self.gamma, self.gain = gamma, gain

    def draw(self) -> np.ndarray:
        """Exponent and gain."""
        most = math.log(self.gamma)
        return np.array([math.exp(self.R.uniform(-most, most)), 1 + self.R.uniform(-self.gain, self.gain)])

    def applied(self, image: Tensor, drawn: Tensor) -> Tensor:
        """Images (B, 1, H, W) with exponents and gains (B, 2)."""
        exponent, gain = drawn[:, :, None, None, None].unbind(1)
        return 2 * gain * ((image - AIR) / 2).clamp(min=0) ** exponent + AIR


class RandConvolutiond(RandLookd):
    r"""Four random convolutions, mixed with the image: levels *and* texture change, edges stay where they are.

    Convolutions of width 2 with kernels of 1 or 3 pixels and shifts, all standard normal, leaky ReLU between them; of
    their result that of air is taken away, a uniform share of it is added to the rest of :math:`x + 1`, and the
    absolute value of the sum is scaled to the norm of :math:`x + 1`. So air stays air, and tissue brighter than it.

    Args:
        keys: see :class:`RandLookd`.
        prob: probability that an image is changed.
    Source: Xu et al. 2021 (RandConv); Ouyang et al. 2022, Sec. III-C (the four layers, the share and the norm).
    Deviation: air is kept; the published one has images of mean zero and takes no absolute value.
    """

    LAYERS = ((1, 2), (2, 2), (2, 2), (2, 1))  # channels in and out
    SHIFTS = 6  # of all layers but the last, whose shift air's result takes away again

    def draw(self) -> np.ndarray:
        """All kernels, each (out, in, 3, 3), the shifts and the share."""
        kernels = []
        for inner, outer in self.LAYERS:
            kernel = self.R.standard_normal((outer, inner, 3, 3))
            if self.R.rand() < 0.5:  # of 1 pixel, its centre
                kernel *= np.arange(9).reshape(3, 3) == 4
            kernels.append(kernel.ravel())
        return np.concatenate([*kernels, self.R.standard_normal(self.SHIFTS), [self.R.rand()]])

    def applied(self, image: Tensor, drawn: Tensor) -> Tensor:
        """Images (B, 1, H, W) through kernels and shifts, mixed with a share: numbers (B, N) as :meth:`draw` has."""
        above = image - AIR
        changed = self._convolved(above, drawn) - self._convolved(torch.zeros_like(above[..., :1, :1]), drawn)
        mixed = torch.lerp(above, changed, drawn[:, -1, None, None, None]).abs()
        norms = [part.flatten(1).norm(dim=1)[:, None, None, None] for part in (above, mixed)]
        return mixed * (norms[0] / norms[1].clamp(min=_TISSUE)) + AIR

    def _convolved(self, image: Tensor, drawn: Tensor) -> Tensor:
        count, place = len(image), 0
        features = image.transpose(0, 1)  # (1, B, H, W): a group an image
        shifts = drawn[:, -1 - self.SHIFTS : -1]
        for number, (inner, outer) in enumerate(self.LAYERS):
            size = outer * inner * 9
            kernel = drawn[:, place : place + size].reshape(count * outer, inner, 3, 3)
            features = F.conv2d(F.pad(features, [1] * 4, mode="replicate"), kernel, groups=count)
            place += size
            if number < len(self.LAYERS) - 1:
                shift = shifts[:, 2 * number : 2 * number + 2].reshape(1, -1, 1, 1)
                features = F.leaky_relu(features + shift)
        return features.transpose(0, 1)


class _AboveAir:
    """Beside a MONAI transform of images whose zero is what is empty, given images whose -1 is."""

    keys: Sequence[Hashable]

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        lifted = {key: value - AIR if key in self.keys else value for key, value in data.items()}
        return {
            key: value + AIR if key in self.keys else value for key, value in super().__call__(lifted).items()
        }


class RandBlurd(_AboveAir, RandGaussianSmoothd):
    """MONAI's random Gaussian blur for images in [-1, 1]: beyond the border lies what is empty, -1.

    Deviation: ``RandGaussianSmoothd`` takes 0 for what lies beyond, which is grey here and frames the slice.
    """


class RandBiasd(_AboveAir, RandBiasFieldd):
    """MONAI's random bias field for images in [-1, 1]: it multiplies what is above -1, so that air stays air.

    Deviation: ``RandBiasFieldd`` multiplies the values themselves: what is below 0 would darken where it brightens.
    """

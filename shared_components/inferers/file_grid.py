"""From class scores on the network's slices to labels and probabilities on the file's own grid, a slab at a time.

MONAI's ``Invertd`` makes all classes of the whole volume at full size at once, in 32 bits a voxel and class, before
the largest is chosen. A CT of 512 × 512 × 600 voxels with four classes takes 2.5 GB for that, several times over. Here
a slab of slices is brought to the file's in-plane grid, reduced to a byte a voxel, and forgotten.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey
from torch import Tensor

from shared_components.data.resampling import axis_weights, weigh_in_plane
from shared_components.errors import InputError

SLAB = 2**22
"""Numbers in a slab (classes × rows × columns × slices), 16 MB: larger ones are not faster."""

_PADS = ("SpatialPad", "DivisiblePad")


class FileGrid:
    """What undoes the geometry of :func:`~shared_components.inferers.inference_transforms` for one image.

    Deviation: ``Invertd`` resamples along the slices too, by a coordinate that rounding moves off them, which mixes up
    to 1e-4 of a neighbouring slice in. Slices stay slices here; labels differ only where two classes tie to within
    that.

    Args:
        image: what the transforms made of a file, ``(1, H, W, D)``, with their trace.
    Attributes:
        shape: the file's voxels, ``(H', W', D)``, along the network's axes.
    Raises:
        ValueError: another geometric transform is in the trace.
    """

    def __init__(self, image: MetaTensor) -> None:
        rows, columns, depth = image.shape[1:]
        self._source = image.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "image")
        self._crop = [slice(0, rows), slice(0, columns)]
        self._weights: tuple[Tensor, Tensor] | None = None
        self._order = [0, 1, 2]
        self._flips: list[int] = []
        affine = np.asarray(image.affine, dtype=np.float64)
        for step in reversed(image.applied_operations):
            name, noted = step["class"], step["extra_info"]
            if name in _PADS:
                self._unpad(noted["padded"][1:3])
            elif name == "SpatialResample":
                source = np.asarray(noted["src_affine"], dtype=np.float64)
                self._unresample(np.linalg.solve(affine, source), step["orig_size"])
            elif name == "Orientation":
                self._unorient(np.linalg.solve(noted["original_affine"], affine))
            else:
                raise ValueError(
                    f"expected paddings, an in-plane resampling and an orientation, found {name}"
                )
        size = [len(w) for w in self._weights] if self._weights else [c.stop - c.start for c in self._crop]
        self.shape = (*size, depth)

    def _unpad(self, pads: tuple[tuple[int, int], ...]) -> None:
        self._crop = [
            slice(crop.start + first, crop.stop - last)
            for crop, (first, last) in zip(self._crop, pads, strict=True)
        ]

    def _unresample(self, steps: np.ndarray, size: tuple[int, ...]) -> None:
        """``steps``: old voxel to new one, ``(4, 4)``, diagonal; ``size``: old shape."""
        have = [crop.stop - crop.start for crop in self._crop]
        if np.allclose(np.diag(steps), 1) and have == list(size[:2]):
            return
        self._weights = tuple(axis_weights(have[i], int(size[i]), float(steps[i, i])) for i in range(2))

    def _unorient(self, turn: np.ndarray) -> None:
        """``turn``: new voxel to old one, ``(4, 4)``, one entry other than 0 in each column."""
        source = np.abs(turn[:3, :3]).argmax(axis=0)  # the file's axis that each new one runs along
        self._order = [int(axis) for axis in np.argsort(source)]
        self._flips = [axis for axis in range(3) if turn[source[axis], axis] < 0]

    def slabs(self, scores: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Class probabilities on the file's pixels, a few slices at a time.

        Args:
            scores: logits or log-probabilities on the network's grid, ``(C, H, W, D)``.
        Yields:
            The slices, and their probabilities ``(C, H', W', d)``, the axes still the network's.
        Raises:
            InputError: a score is NaN, or infinite in a way that leaves no most probable class.
        """
        height, width, depth = self.shape
        step = max(1, SLAB // (len(scores) * height * width))
        for start in range(0, depth, step):
            slices = slice(start, min(start + step, depth))
            slab = scores[:, self._crop[0], self._crop[1], slices].float().softmax(dim=0)
            if torch.isnan(slab.sum()):
                raise InputError(
                    f"{self._source}: the network's scores are NaN, which would count as background; look at the "
                    "volume's intensities, at the model's settings, or on a GPU at --evaluator::amp False"
                )
            if self._weights:
                slab = weigh_in_plane(slab, *(weights.to(slab.device) for weights in self._weights))
            yield slices, slab

    def place(self, volume: np.ndarray) -> np.ndarray:
        """A volume ``(H', W', D)`` along the file's axes, ``(X, Y, Z)``; a view."""
        return np.flip(volume, self._flips).transpose(self._order)


def label_map(scores: Tensor, image: MetaTensor) -> np.ndarray:
    """The most probable class of each of the file's voxels, ``(X, Y, Z)``, whole numbers.

    Args:
        scores: logits or log-probabilities, ``(C, H, W, D)``.
        image: what the network saw, with the trace of its transforms.
    """
    grid = FileGrid(image)
    labels = torch.empty(grid.shape, dtype=torch.uint8 if len(scores) <= 256 else torch.int32)
    for slices, slab in grid.slabs(scores):
        labels[..., slices] = slab.max(dim=0).indices  # argmax, several times as fast
    return grid.place(labels.numpy())


def class_probabilities(scores: Tensor, image: MetaTensor) -> Iterator[np.ndarray]:
    """Each class's probability on the file's grid in turn, ``(X, Y, Z)``, float32; arguments as of `label_map`."""
    grid = FileGrid(image)
    for index in range(len(scores)):
        probability = torch.empty(grid.shape)
        for slices, slab in grid.slabs(scores):
            probability[..., slices] = slab[index]
        yield grid.place(probability.numpy())


def plain(tensor: Tensor) -> Tensor:
    """The tensor without metadata."""
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


class LabelsOnFileGridd(MapTransform):
    """Class scores on the network's grid to the label map on the file's own; takes the place of ``Invertd``.

    Args:
        keys: key of the scores ``(C, H, W, D)``, which become labels ``(1, X, Y, Z)``.
        image_key: key of the image that the network saw.
    """

    def __init__(self, keys: KeysCollection = "pred", image_key: Hashable = "image") -> None:
        super().__init__(keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        case = dict(data)
        for key in self.key_iterator(case):
            labels = label_map(plain(case[key]), case[self.image_key])
            case[key] = torch.from_numpy(labels.copy())[None]  # numpy takes one mirrored slice for contiguous
        return case

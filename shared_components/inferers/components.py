"""Connected parts of label maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage
from torch import Tensor


def keep_largest(labels: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Of each label in ``values`` keep the largest connected part (26 neighbours), clear the rest.

    Args:
        labels: label map, ``(X, Y, Z)``.
        values: label values; the rest is left alone.
    """
    kept = labels.copy()
    for value in values:
        parts, count = ndimage.label(labels == value, structure=np.ones((3,) * labels.ndim))
        if count > 1:
            sizes = np.bincount(parts.ravel())[1:]
            kept[(parts > 0) & (parts != 1 + sizes.argmax())] = 0
    return kept


class KeepLargestd(MapTransform):
    """:func:`keep_largest` on label maps ``(1, X, Y, Z)``.

    MONAI's ``KeepLargestConnectedComponent`` does the same with scikit-image, which nothing else here needs.
    """

    def __init__(self, keys: KeysCollection, values: Sequence[int]) -> None:
        super().__init__(keys)
        self.values = tuple(values)

    def __call__(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        data = dict(data)
        for key in self.key_iterator(data):
            kept = keep_largest(torch.as_tensor(data[key])[0].cpu().numpy(), self.values)
            data[key] = torch.from_numpy(kept)[None]
        return data

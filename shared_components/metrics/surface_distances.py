"""How far the surfaces of two masks lie apart, mm."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics.utils import get_edge_surface_distance, get_mask_edges
from scipy.spatial import KDTree
from torch import Tensor


def hausdorff(predicted: Tensor, reference: Tensor, axes: np.ndarray) -> tuple[float, float]:
    """95th percentile and maximum of the distances (mm) between two surfaces, the larger of both directions.

    As MONAI's ``compute_hausdorff_distance``, which would search all distances anew for each of the two, and takes
    every grid's axes to be at right angles.

    Args:
        predicted: a mask ``(X, Y, Z)``, or ``(X, Y)`` of a slice, that reaches no border.
        reference: the other.
        axes: a voxel's edges as columns, mm, ``(3, 3)`` or ``(3, 2)``.
    """
    with warnings.catch_warnings():  # MONAI calls its own function with an argument that it deprecated
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*", category=FutureWarning)
        if _sheared(axes):
            distances = _sheared_distances(get_mask_edges(predicted, reference, crop=False), axes)
        else:
            spacing = [float(size) for size in np.linalg.norm(axes, axis=0)]
            _, distances, _ = get_edge_surface_distance(predicted, reference, spacing=spacing, symmetric=True)
    return (
        max(torch.quantile(side, 0.95).item() for side in distances),
        max(side.max().item() for side in distances),
    )


def _sheared(axes: np.ndarray) -> bool:
    """Whether a grid's axes are not at right angles: a tilted gantry's."""
    units = axes / np.linalg.norm(axes, axis=0)
    return not np.allclose(units.T @ units, np.eye(axes.shape[1]), atol=1e-3)


def _sheared_distances(edges: Sequence[np.ndarray], axes: np.ndarray) -> list[Tensor]:
    """Distances from each surface's voxels to the other surface, mm, where steps along the axes do not add up."""
    here, there = (np.argwhere(np.asarray(edge)) @ axes.T for edge in edges)
    return [torch.from_numpy(KDTree(b).query(a)[0]) for a, b in ((here, there), (there, here))]

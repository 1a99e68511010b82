"""Measures that MONAI lacks."""

from __future__ import annotations

from shared_components.metrics.feature_distance import RandomFeatures, feature_distance
from shared_components.metrics.segmentation_scores import (
    read_scores,
    score_segmentations,
    summarize,
    write_scores,
)

__all__ = [
    "RandomFeatures",
    "feature_distance",
    "read_scores",
    "score_segmentations",
    "summarize",
    "write_scores",
]

"""Measures that MONAI lacks."""

from __future__ import annotations

from shared_components.metrics.drawing_quality import feature_distance, neighbour_difference
from shared_components.metrics.score_files import read_scores, summarize, write_scores
from shared_components.metrics.segmentation_scores import score_segmentations

__all__ = [
    "feature_distance",
    "neighbour_difference",
    "read_scores",
    "score_segmentations",
    "summarize",
    "write_scores",
]

"""Volume-wise inference of slice networks: which volumes, how prepared, and how written."""

from __future__ import annotations

from shared_components.inferers.case_dataset import CaseDataset
from shared_components.inferers.case_list import read_case_list, write_case_list
from shared_components.inferers.cases import find_cases
from shared_components.inferers.checkpoint import ModelLoader
from shared_components.inferers.components import KeepLargestd, keep_largest
from shared_components.inferers.preprocessing import inference_transforms
from shared_components.inferers.segmentation_writer import WriteSegmentationd, write_segmentation

__all__ = [
    "CaseDataset",
    "KeepLargestd",
    "ModelLoader",
    "WriteSegmentationd",
    "find_cases",
    "inference_transforms",
    "keep_largest",
    "read_case_list",
    "write_case_list",
    "write_segmentation",
]

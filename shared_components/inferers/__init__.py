"""Volume-wise inference of slice networks: which volumes, how prepared, and how written."""

from __future__ import annotations

from shared_components.inferers.case_dataset import CaseDataset, ReadAheadLoader
from shared_components.inferers.case_evaluator import CaseEvaluator
from shared_components.inferers.case_list import read_case_list, write_case_list
from shared_components.inferers.cases import find_cases
from shared_components.inferers.checkpoint import ModelLoader
from shared_components.inferers.components import KeepLargestd, keep_largest
from shared_components.inferers.file_grid import LabelsOnFileGridd
from shared_components.inferers.flipped_slices import FlippedSliceInferer
from shared_components.inferers.pending import pending_cases
from shared_components.inferers.preprocessing import inference_transforms
from shared_components.inferers.probability_writer import WriteProbabilitiesd
from shared_components.inferers.segmentation_writer import WriteSegmentationd, write_segmentation

__all__ = [
    "CaseDataset",
    "CaseEvaluator",
    "FlippedSliceInferer",
    "KeepLargestd",
    "LabelsOnFileGridd",
    "ModelLoader",
    "ReadAheadLoader",
    "WriteProbabilitiesd",
    "WriteSegmentationd",
    "find_cases",
    "inference_transforms",
    "keep_largest",
    "pending_cases",
    "read_case_list",
    "write_case_list",
    "write_segmentation",
]

"""Volume-wise inference of slice networks: which volumes, how prepared, and how written."""

from __future__ import annotations

from shared_components.data.transforms import KeepLargestd, keep_largest
from shared_components.inferers.case_dataset import (
    CaseDataset,
    ReadAheadLoader,
    inference_transforms,
    pending_cases,
    read_case_list,
    write_case_list,
)
from shared_components.inferers.case_evaluator import CaseEvaluator, ModelLoader
from shared_components.inferers.case_writers import (
    WriteProbabilitiesd,
    WriteSegmentationd,
    write_segmentation,
)
from shared_components.inferers.cases import find_cases, tell_left_out
from shared_components.inferers.file_grid import LabelsOnFileGridd
from shared_components.inferers.replaced import refuse_replacing
from shared_components.inferers.slice_inferer import FramedSliceInferer

__all__ = [
    "CaseDataset",
    "CaseEvaluator",
    "FramedSliceInferer",
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
    "refuse_replacing",
    "tell_left_out",
    "write_case_list",
    "write_segmentation",
]

"""Reports as single HTML files: of a study, of runs, of segmentations, and of their comparison."""

from __future__ import annotations

from shared_components.report.inference_report import write_comparison_report, write_inference_report
from shared_components.report.study_report import write_study_report
from shared_components.report.training_report import write_federated_report, write_training_report

__all__ = [
    "write_comparison_report",
    "write_federated_report",
    "write_inference_report",
    "write_study_report",
    "write_training_report",
]

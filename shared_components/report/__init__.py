"""Reports as single HTML files: of a study, of a training, or of a folder of segmentations."""

from __future__ import annotations

from shared_components.report.inference_report import write_inference_report
from shared_components.report.study_report import write_study_report
from shared_components.report.training_report import write_training_report

__all__ = ["write_inference_report", "write_study_report", "write_training_report"]

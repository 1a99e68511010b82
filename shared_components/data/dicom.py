"""Folders of DICOM files."""

from __future__ import annotations

from pathlib import Path

from shared_components.data.image_loader import require_itk


def count_series(folder: Path) -> int:
    """How many DICOM series lie in a folder itself, told apart as MONAI's ``ITKReader`` does."""
    itk = require_itk(folder)
    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")  # the series' date
    names.SetDirectory(str(folder))
    return len(names.GetSeriesUIDs())

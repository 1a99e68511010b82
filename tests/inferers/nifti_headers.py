"""What places a NIfTI file in space."""

from __future__ import annotations

import nibabel as nib
import numpy as np

FIELDS = ("dim", "pixdim", "sform_code", "qform_code", "srow_x", "quatern_b", "qoffset_x", "xyzt_units")


def assert_same_grid(found: nib.Nifti1Header, wanted: nib.Nifti1Header) -> None:
    for field in FIELDS:
        assert np.array_equal(found[field], wanted[field]), field

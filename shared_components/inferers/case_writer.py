"""What the writers of results have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.data.utils import to_affine_nd
from monai.transforms import MapTransform


class CaseWriter(MapTransform):
    """Writes a file for each case, and passes everything on; a step of postprocessing.

    Items without a case's name are passed on as they are: programs that run this postprocessing on items of their own,
    such as MONAI Label and MONAI Deploy, write the result themselves.

    Args:
        output_dir: folder, made when missing.
        keys: key of what is written.
        image_key: key of the image, whose metadata names the file.
        case_key: key of the case's name.
    """

    def __init__(
        self,
        output_dir: str | Path,
        keys: Hashable = "pred",
        image_key: Hashable = "image",
        case_key: Hashable = "case",
    ) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)
        (self.key,) = self.keys
        self.image_key = image_key
        self.case_key = case_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        case = dict(data)
        if self.case_key in case:
            self.write(case)
        return case

    @abstractmethod
    def write(self, case: Mapping[Hashable, Any]) -> None:
        """Write the file of a case."""

    def source(self, case: Mapping[Hashable, Any]) -> tuple[str, np.ndarray]:
        """The file that a case was read from, and its affine (voxel to RAS world, mm)."""
        meta = case[self.image_key].meta
        affine = to_affine_nd(3, np.asarray(meta["original_affine"]).squeeze())
        return str(meta["filename_or_obj"]), affine

"""Drawing synthetic volumes with an evaluator: latents in, NIfTI files out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Transform
from torch import Tensor
from torch.utils.data import Dataset

from shared_components.data.nifti import write_nifti
from shared_components.errors import InputError


def slice_affine(
    spacing: float | None, thickness: float, orientation: str | None, shape: tuple[int, ...]
) -> np.ndarray:
    """Affine (4, 4), mm, of a centred volume whose axes follow ``orientation``.

    Args:
        spacing: in-plane pixel size in mm; None counts as 1.
        thickness: distance of slices in mm.
        orientation: axis codes, such as "RAS"; None or "native" counts as "RAS".
        shape: of the volume, in voxels.
    """
    codes = "RAS" if orientation in (None, "native") else orientation
    in_plane = 1.0 if spacing is None else float(spacing)
    steps = (in_plane, in_plane, float(thickness))
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, direction) in enumerate(nib.orientations.axcodes2ornt(codes)):
        affine[int(world), axis] = direction * steps[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def write_volume(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray) -> Path:
    """Write a NIfTI volume (X, Y, Z) with an affine in mm, as a whole or not at all.

    Raises:
        InputError: a voxel is NaN or infinite.
    """
    if not np.isfinite(array).all():
        raise InputError(
            f"{path}: not written, since the factory draws NaN or infinite values; use another factory, or train it "
            "again with a lower generator_lr"
        )
    return write_nifti(path, array, affine)


class LatentDataset(Dataset):
    """Numbered latents: ``dataset[i]`` is ``{"image": z (z_dim,), "case": "<domain>_<number>"}``.

    The latent depends on the seed and the number alone.

    Args:
        domain: name of the domain, for the file names.
        volumes: how many.
        first: number of the first.
        z_dim: width of z.
        seed: of the latents.
    Raises:
        InputError: fewer than one volume.
    """

    def __init__(self, domain: str, volumes: int, z_dim: int, first: int = 0, seed: int = 0) -> None:
        if volumes < 1 or first < 0:
            raise InputError(f"volumes: expected at least 1, from 0 on, found {volumes} from {first}")
        self.domain, self.volumes, self.first, self.z_dim, self.seed = domain, volumes, first, z_dim, seed

    def __len__(self) -> int:
        return self.volumes

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = self.first + index
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        return {"image": torch.randn(self.z_dim, generator=random), "case": f"{self.domain}_{number:04d}"}


class WriteSyntheticd(Transform):
    """Writes a drawn volume, ``pred`` (1, S, S, D), to ``<case>_synthetic.nii.gz`` (float32, [-1, 1]).

    Args:
        output_dir: folder.
        spacing: in-plane pixel size in mm.
        thickness: distance of slices in mm.
        orientation: axis codes of the volume.
    """

    def __init__(
        self, output_dir: str | os.PathLike, spacing: float | None, thickness: float, orientation: str | None
    ) -> None:
        self.output_dir = Path(output_dir)
        self.spacing, self.thickness, self.orientation = spacing, thickness, orientation

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        volume: Tensor = data["pred"][0]
        affine = slice_affine(self.spacing, self.thickness, self.orientation, tuple(volume.shape))
        path = self.output_dir / f"{data['case']}_synthetic.nii.gz"
        write_volume(path, volume.detach().cpu().numpy().astype(np.float32), affine)
        return {**data, "path": str(path)}

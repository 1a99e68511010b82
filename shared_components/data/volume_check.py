"""What can be wrong with one image or one label map."""

from __future__ import annotations

import hashlib
import shlex
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing, to_affine_nd
from torch import Tensor

from shared_components.data.grids import GRID_TOLERANCE, grid_distance
from shared_components.data.image_loader import LoadVolume
from shared_components.data.problems import Problem, UnfitFile
from shared_components.data.reading import UNREADABLE, one_line
from shared_components.data.transforms import as_volume

FORMATS = "NIfTI, NRRD, MetaImage, PNG or a folder with one DICOM series"
_RESAMPLE = "resample the label onto its image's grid, nearest neighbour"
_SMALLEST = 1e-6  # mm; a voxel edge below this is a defect of the header


@dataclass(frozen=True)
class Grid:
    """Size and place of an image.

    Attributes:
        shape: voxels along each axis.
        spacing: voxel size along each axis, mm.
        axes: direction of each axis, such as ``"RAS"``.
        digest: fingerprint of the voxels, the same for copies of one image.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    axes: str
    digest: str


def check_image(path: Path) -> tuple[MetaTensor | None, list[Problem]]:
    """Open an image and list its faults.

    Returns:
        The volume ``(1, H, W, D)``, or ``None`` when it cannot be used at all, and the faults.
    """
    image, problems = load_volume(path)
    if image is None:
        return None, problems
    problems += list(_header_faults(path, image))
    bad = int((~torch.isfinite(image.as_tensor())).sum())
    if bad:
        fault = f"{bad} of {image.numel()} voxels are NaN or infinite"
        problems.append(Problem(str(path), fault, "replace them (0 for outside the body) and save it again"))
    elif image.min() == image.max():
        fault = f"constant: every voxel is {float(image.min()):g}"
        problems.append(Problem(str(path), fault, "export the image again or take its entry out"))
    return image, problems


def check_label(path: Path, image: MetaTensor | None, labels: Collection[int] | None) -> list[Problem]:
    """List the faults of a label map.

    Args:
        path: the label map.
        image: its image, ``(1, H, W, D)``; ``None`` if that could not be opened.
        labels: the values that may occur; ``None`` if they are not known.
    """
    label, problems = load_volume(path)
    if label is None:
        return problems
    header = list(_header_faults(path, label))
    problems += header + list(value_faults(path, label.as_tensor(), labels))
    if image is None or header:
        return problems
    return problems + list(_grid_faults(path, label, image))


def load_volume(path: Path) -> tuple[MetaTensor | None, list[Problem]]:
    """Open a file or DICOM folder as one volume ``(1, H, W, D)``; a 2-D image becomes one slice."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            image = LoadVolume()(path)
        except UnfitFile as error:
            return None, [error.problem]
        except UNREADABLE as error:
            return None, [_unreadable(path, error)]
    if any("more than one DICOM series" in str(warning.message) for warning in told):
        fault = "the folder holds more than one DICOM series, only one of which would be read"
        return None, [Problem(str(path), fault, "give each series a folder of its own")]
    dimensions = _dimension_fault(path, image)
    return (None, [dimensions]) if dimensions else (as_volume(image), [])


def _unreadable(path: Path, error: BaseException) -> Problem:
    if path.is_dir():
        fault = f"a folder without a readable DICOM series ({one_line(error)})"
        return Problem(str(path), fault, "put the files of one series into it, or name an image file")
    if path.stat().st_size == 0:
        return Problem(str(path), "unreadable: the file is empty", "copy it again from its source")
    if isinstance(error, EOFError) or _is_cut(error):
        return Problem(str(path), f"unreadable: it ends too early ({one_line(error)})", "copy it again")
    cure = f"copy it again if it is damaged, or convert it to {FORMATS}"
    return Problem(str(path), f"not an image that can be read ({one_line(error)})", cure)


def _is_cut(error: BaseException) -> bool:
    words = (
        "expected",
        "mmap length",
        "not enough",
        "could not be read",
        "ends",
        "truncated",
        "read failure",
    )
    return any(word in str(error).lower() for word in words)


def _dimension_fault(path: Path, image: Tensor) -> Problem | None:
    channels, *spatial = image.shape
    size = "×".join(map(str, spatial))
    if len(spatial) == 3 and channels > 1:
        fault = f"4-D: {channels} volumes (or channels) of {size} voxels, expected one 3-D volume"
        command = f"python scripts/prepare_data.py split {shlex.quote(str(path))}"
        cure = f"save each volume as a file of its own and name the files you want (in the repository: {command})"
        return Problem(str(path), fault, cure)
    if len(spatial) == 2 and channels > 1:
        fault = f"a picture with {channels} colour channels, expected grey levels"
        return Problem(str(path), fault, "save it as 8- or 16-bit grey scale")
    if len(spatial) not in (2, 3) or channels != 1:
        fault = f"{len(spatial) + (channels > 1)}-D ({size}), expected a 2-D image or a 3-D volume"
        return Problem(str(path), fault, "export one volume a file")
    return None


def _header_faults(path: Path, image: MetaTensor) -> Iterator[Problem]:
    affine = stored_affine(path, image)
    if not torch.isfinite(affine).all():
        yield Problem(
            str(path), "its affine has NaN or infinite values", "correct the header or export it again"
        )
        return
    if _edges(affine).min() < _SMALLEST or abs(torch.linalg.det(affine)) < _SMALLEST**3:
        fault = f"its affine has a voxel of zero size or flat axes ({_sizes(affine)} mm)"
        yield Problem(str(path), fault, "correct the header or export it again")
    elif grid_distance(affine, to_affine_nd(3, image.affine), as_volume(image).shape[1:]) > GRID_TOLERANCE:
        sizes, others = (_sizes(each) for each in (affine, to_affine_nd(3, image.affine)))
        fault = (
            f"its header contradicts itself: {sizes} mm voxels by its affine, {others} mm by pixdim or qform"
        )
        yield Problem(str(path), fault, "find out which is true and correct the header")


def stored_affine(path: Path, image: MetaTensor) -> Tensor:
    """The affine that the file states, ``(4, 4)``: MONAI's reader mends that of a NIfTI silently."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return torch.tensor(nibabel.load(path).affine, dtype=torch.float64)
    return to_affine_nd(3, image.affine.double())


def _sizes(affine: Tensor) -> str:
    return "×".join(f"{mm:.4g}" for mm in _edges(affine).tolist())


def _edges(affine: Tensor) -> Tensor:
    """Voxel edges, mm, ``(3,)``; MONAI's ``affine_to_spacing`` makes an edge of zero a one."""
    return affine[:3, :3].norm(dim=0)


def value_faults(path: Path, voxels: Tensor, labels: Collection[int] | None) -> Iterator[Problem]:
    """Values that no label map has, or, if ``labels`` are given, none of these classes.

    Args:
        path: the label map.
        voxels: what it holds, of any shape.
        labels: the values that may occur; ``None`` if they are not known.
    """
    bad = int((~torch.isfinite(voxels)).sum())
    if bad:
        yield Problem(str(path), f"{bad} voxels of the label are NaN or infinite", "replace them with 0")
        return
    known = torch.tensor(sorted(labels or ()), dtype=voxels.dtype)
    values = torch.unique(voxels[~torch.isin(voxels, known)])  # sorts the few that are not known
    broken = values[values != values.round()]
    if len(broken):
        fault = f"label values that are no whole numbers ({_listed(broken)})"
        yield Problem(str(path), fault, "save a label map, not probabilities or a linearly resampled one")
    elif labels is not None and len(values):
        expected = ", ".join(map(str, sorted(labels)))
        fault = f"label values {_listed(values)} are outside 'labels' ({expected})"
        cure = f"save it with the values {expected}, or add the classes that are missing to 'labels'"
        yield Problem(str(path), fault, cure)


def _listed(values: Tensor, limit: int = 5) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:limit].tolist())
    return shown + (", …" if len(values) > limit else "")


def _grid_faults(path: Path, label: MetaTensor, image: MetaTensor) -> Iterator[Problem]:
    if label.shape != image.shape:
        mine, its = ("×".join(map(str, volume.shape[1:])) for volume in (label, image))
        yield Problem(str(path), f"has {mine} voxels, its image {its}", _RESAMPLE)
        return
    if not torch.isfinite(image.affine).all() or _edges(image.affine).min() < _SMALLEST:
        return  # reported with the image
    distance = grid_distance(image.affine, label.affine, image.shape[1:])
    if distance > GRID_TOLERANCE:
        fault = f"another affine than its image's: corners lie up to {distance:.3g} voxels apart"
        yield Problem(str(path), fault, _RESAMPLE)


def grid_of(image: MetaTensor) -> Grid:
    """Shape, voxel size, axes and fingerprint of a sound volume ``(1, H, W, D)``."""
    voxels = np.ascontiguousarray(image.numpy())
    return Grid(
        shape=tuple(image.shape[1:]),
        spacing=tuple(affine_to_spacing(image.affine).tolist()),
        axes="".join(nibabel.aff2axcodes(image.affine.numpy())),
        digest=hashlib.blake2b(voxels.tobytes() + str(voxels.shape).encode(), digest_size=16).hexdigest(),
    )

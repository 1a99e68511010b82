"""What can be wrong with a stranger's file, in one line that names the file and the cure."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.transforms import MapTransform

from shared_components.data.dicom import count_series
from shared_components.data.frames import NIFTI
from shared_components.data.reading import UNREADABLE, one_line
from shared_components.data.transforms import source_of
from shared_components.errors import InputError

FAULT = "fault"
"""Key of an item that is no volume but the text of what is wrong with one."""

SMALLEST = 1e-6  # mm; a voxel edge below this is a defect of the header
FLATTEST = 1e-4  # volume of a voxel, as a share of the product of its edges
DEFLATE = 1100  # times smaller is more than gzip can make anything
CHUNK = 2**20  # bytes that are unzipped at a time
LARGEST = 10_000.0  # mm; no body is that long: its in-plane resampling alone would fill the memory


def require_volume(path: str | os.PathLike) -> None:
    """Check what can be seen of a volume without reading its voxels.

    Raises:
        InputError: nothing there, nothing in it, not readable, or a NIfTI header that cannot be true.
    """
    path = Path(path)
    if not path.exists():
        if path.is_symlink():
            raise _fault(path, "is a link that leads nowhere or round in a circle", "mend the link")
        raise _fault(path, "expected a volume, found nothing", "check the path")
    if not (path.is_file() or path.is_dir()):
        raise _fault(
            path, "is neither a file nor a folder", "name a volume's file"
        )  # opening a pipe would wait
    try:
        if path.is_dir():
            series = count_series(path) if any(path.iterdir()) else 0
        else:
            path.open("rb").close()
    except OSError as error:
        raise _fault(path, f"may not be read ({one_line(error)})", "change its permissions") from error
    if path.is_dir() and series > 1:
        raise _fault(path, f"expected one DICOM series, found {series}", "put each into a folder of its own")
    if path.is_file() and path.stat().st_size == 0:
        raise _fault(path, "the file is empty", "copy it again from its source")
    if path.name.lower().endswith(NIFTI):
        _require_header(path)


def require_whole(path: str | os.PathLike) -> None:
    """Check a gzip to its end: who reads the voxels alone stops before its checksum.

    Raises:
        InputError: it is damaged.
    """
    path = Path(path)
    if not path.name.lower().endswith(".gz"):
        return
    try:
        with gzip.open(path) as file:
            while file.read(CHUNK):
                pass
    except UNREADABLE as error:
        reason = "its checksum does not fit" if "CRC" in str(error) else one_line(error)
        raise _fault(path, f"is damaged ({reason})", "copy it again from its source") from error


def _require_header(path: Path) -> None:
    if path.is_dir():
        raise _fault(path, "expected a file, found a folder of that name", "name the file that is in it")
    try:
        image = nib.load(path)
        dtype, affine = image.get_data_dtype(), np.asarray(image.affine, dtype=np.float64)
    except UNREADABLE as error:
        raise _fault(
            path, f"expected a NIfTI volume ({one_line(error)})", "export or copy it again"
        ) from error
    if dtype.kind not in "iuf":
        raise _fault(path, f"has voxels of type {dtype}, not grey values", "save it as integers or floats")
    if min(image.shape, default=0) < 1:
        raise _fault(path, f"has no voxels (shape {image.shape})", "export it again")
    size = path.stat().st_size
    need = int(np.prod(image.shape, dtype=object)) * dtype.itemsize
    if need > size * (DEFLATE if path.name.lower().endswith(".gz") else 1):
        raise _fault(path, f"ends too early: {size} bytes, its header promises {need}", "copy it again")
    if _states_zero(image):
        raise _fault(path, "its header states a voxel size of zero", "correct the header or export it again")
    require_grid(path, affine, image.shape)


def _states_zero(image: nib.spatialimages.SpatialImage) -> bool:
    """Whether the voxel sizes that place a NIfTI have a zero, of which nibabel silently makes a one."""
    header = image.header
    if not isinstance(header, nib.Nifti1Header) or header["sform_code"] > 0:
        return False
    with nib.openers.ImageOpener(image.file_map.get("header", image.file_map["image"]).filename) as file:
        sizes = type(header).from_fileobj(file, check=False)["pixdim"][1:4]
    return any(mm == 0 and count > 1 for mm, count in zip(sizes, image.shape, strict=False))


def require_grid(path: str | os.PathLike, affine: np.ndarray, shape: tuple[int, ...]) -> None:
    """Check where a volume lies.

    Args:
        path: for the message.
        affine: voxel to world, ``(4, 4)``, mm.
        shape: voxels.
    Raises:
        InputError: the affine is not finite or not invertible, or the volume larger than any body.
    """
    path, cure = Path(path), "correct the header or export it again"
    if min(shape, default=0) < 1:
        raise _fault(path, f"has no voxels (shape {tuple(shape)})", "export it again")
    if not np.isfinite(affine).all():
        raise _fault(path, "its affine has NaN or infinite values", cure)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    flat = edges.min() < SMALLEST or abs(np.linalg.det(affine[:3, :3])) < FLATTEST * edges.prod()
    if flat:
        raise _fault(path, f"its affine has a voxel of zero size or flat axes ({_sizes(edges)} mm)", cure)
    extents = edges[: len(shape)] * np.asarray(shape[:3])
    if extents.max() > LARGEST:
        raise _fault(path, f"would be {extents.max() / 1000:.3g} m long (voxels of {_sizes(edges)} mm)", cure)


def _sizes(edges: np.ndarray) -> str:
    return "×".join(f"{mm:.4g}" for mm in edges)


def _fault(path: Path, fault: str, cure: str) -> InputError:
    return InputError(" ".join(f"{path}: {fault}; {cure}".split()))


def fault_of(path: str | os.PathLike, error: InputError) -> str:
    """The one line that a user reads of an error that reading ``path`` raised."""
    text = " ".join(str(error).split())
    if "could not be read (" not in text:
        return text
    reason = _reason(path, error)
    if Path(path).is_dir():
        fault = f"a folder without a readable DICOM series ({reason})"
        return str(_fault(Path(path), fault, "put the files of one series into it, or name a file"))
    cure = "copy it again if it is damaged, or convert it to NIfTI"
    return str(_fault(Path(path), f"could not be read ({reason})", cure))


def _reason(path: str | os.PathLike, error: BaseException) -> str:
    """What a reader says went wrong, without its own places in the source, in memory and on the disk."""
    text = re.sub(r"^\S+\.cxx:\d+:\s*|(itk::)?ERROR: \w+\(0x[0-9a-f]+\):\s*", "", str(_root(error)).strip())
    return one_line(ValueError(text.replace(str(path), Path(path).name) or type(_root(error)).__name__))


def _root(error: BaseException) -> BaseException:
    """What it all began with."""
    return error if error.__cause__ is None else _root(error.__cause__)


class RequireGridd(MapTransform):
    """:func:`require_grid` of volumes ``(1, X, Y, Z)`` that have been read: of formats whose header ITK reads."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(dict(data)):
            image = data[key]
            require_grid(source_of(image), np.asarray(image.affine), tuple(image.shape[1:]))
        return dict(data)

"""What can be wrong with a file that should be a volume: the data check, training and inference refuse the same."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.transforms import MapTransform
from nibabel.spatialimages import SpatialImage

from shared_components.data.faults import (
    DEFLATE,
    UNREADABLE,
    Fault,
    UnfitFile,
    causes_of,
    dangling_link,
    ends_early,
    one_line,
)
from shared_components.data.grids import GRID_TOLERANCE
from shared_components.data.image_files import files_missing
from shared_components.data.nifti import (
    is_nifti,
    length_unit,
    millimetres,
    open_nifti,
    volume_shape,
    world_affine,
)
from shared_components.data.transforms import source_of

FORMATS = "NIfTI, NRRD, MetaImage, PNG or a folder with one DICOM series"
SMALLEST = 1e-5  # mm; a voxel edge below this, a tenth of a virus, is a defect of the header
LARGEST = 10_000.0  # mm; no body is that long: its in-plane resampling alone would fill the memory
FLATTEST = 1e-4  # volume of a voxel, as a share of the product of its edges
CHUNK = 2**20  # bytes that are unzipped at a time
_HEADER_CURE = "correct the header or export it again"


def refuse(faults: Iterable[Fault]) -> None:
    """Raise the first of some faults.

    Raises:
        UnfitFile: there is one.
    """
    for fault in faults:
        raise UnfitFile(fault)


def file_faults(path: str | os.PathLike) -> Iterator[Fault]:
    """What can be seen of a volume without reading its voxels; a second fault may follow from the first."""
    path = Path(path)
    if not path.exists():
        if path.is_symlink():
            yield dangling_link(path)
        else:
            yield _fault(path, "expected a volume, found nothing", "check the path")
    elif path.is_dir():
        yield from _folder_faults(path)
    elif not path.is_file():  # opening a pipe would wait
        yield _fault(path, "is neither a file nor a folder", "name a volume's file")
    else:
        yield from _single_file_faults(path)


def _folder_faults(path: Path) -> Iterator[Fault]:
    if is_nifti(path):
        yield _fault(path, "expected a file, found a folder of that name", "name the file that is in it")
        return
    try:
        any(path.iterdir())
    except OSError as error:
        yield _fault(path, f"may not be read ({one_line(error)})", "change its permissions")


def _single_file_faults(path: Path) -> Iterator[Fault]:
    try:
        path.open("rb").close()
    except OSError as error:
        yield _fault(path, f"may not be read ({one_line(error)})", "change its permissions")
        return
    if path.stat().st_size == 0:
        yield _fault(path, "unreadable: the file is empty", "copy it again from its source")
    elif is_nifti(path):
        yield from _nifti_faults(path)


def packing_faults(path: str | os.PathLike) -> Iterator[Fault]:
    """Damage of a gzip, looked for to its end: who reads the voxels alone stops before its checksum."""
    path = Path(path)
    if not path.name.lower().endswith(".gz"):
        return
    try:
        with gzip.open(path) as file:
            while file.read(CHUNK):
                pass
    except UNREADABLE as error:
        yield reading_fault(path, error)


def _nifti_faults(path: Path) -> Iterator[Fault]:
    try:
        image = open_nifti(path)
        dtype = image.get_data_dtype()
        size = Path(image.file_map["image"].filename).stat().st_size
    except UnfitFile as error:
        yield error.fault
        return
    except UNREADABLE as error:
        yield reading_fault(path, error)
        return
    if dtype.kind not in "iuf":
        yield _fault(path, f"has voxels of type {dtype}, not grey values", "save it as integers or floats")
        return
    if min(image.shape, default=0) < 1:
        yield _fault(path, f"has no voxels (shape {image.shape})", "export it again")
        return
    shape = volume_shape(image.shape)
    if len(shape) > 4:
        fault = f"{len(shape)}-D ({'×'.join(map(str, shape))}), expected a 2-D image or a 3-D volume"
        yield _fault(path, fault, "export one volume a file")
        return
    need = int(np.prod(image.shape, dtype=object)) * dtype.itemsize
    if need > size * (DEFLATE if path.name.lower().endswith(".gz") else 1):
        yield ends_early(path, size, need)
        return
    yield from _header_faults(path, image)


def _header_faults(path: Path, image: SpatialImage) -> Iterator[Fault]:
    """Sizes that cannot be, by the affine or by the voxel sizes beside it, of which nibabel mends some silently."""
    stated, placed = _stated_sizes(image), _is_placed_by_affine(image)
    if not placed and any(mm == 0 and n > 1 for mm, n in zip(stated, image.shape, strict=False)):
        yield _fault(path, "its header states a voxel size of zero", _HEADER_CURE)
        return
    affine = world_affine(image)
    faults = list(grid_faults(path, affine, image.shape))
    name, length = length_unit(image)
    unit = "" if length == 1 else f" by its header's unit, {name}"
    yield from (replace(each, what=each.what + unit) for each in faults)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    known = np.isfinite(stated) & (stated > 0)
    lengths = np.asarray((*image.shape, 1, 1)[:3]) - 1
    if placed and not faults:
        apart = np.linalg.norm(np.where(known, stated - edges, 0) * lengths) / edges.min()
        if apart > GRID_TOLERANCE:
            sizes = f"{_sizes(edges)} mm voxels by its affine, {_sizes(stated)} mm by pixdim"
            fault = f"its header contradicts itself: {sizes}"
            yield _fault(path, fault, "find out which is true and correct the header")


def _is_placed_by_affine(image: SpatialImage) -> bool:
    """Whether voxel sizes are beside the point, since an affine says where a NIfTI lies."""
    return isinstance(image.header, nib.Nifti1Header) and image.header["sform_code"] > 0


def _stated_sizes(image: SpatialImage) -> np.ndarray:
    """Voxel sizes as the header's bytes have them, mm, ``(3,)``; nibabel silently makes a one of a zero."""
    place = image.file_map.get("header", image.file_map["image"])
    with nib.openers.ImageOpener(place.filename) as file:
        sizes = type(image.header).from_fileobj(file, check=False)["pixdim"][1:4]
    return np.abs(np.asarray(sizes, dtype=np.float64)) * millimetres(image)


def grid_faults(path: str | os.PathLike, affine: np.ndarray, shape: tuple[int, ...]) -> Iterator[Fault]:
    """What is wrong with where a volume lies: not finite, not invertible, or larger than any body.

    Args:
        path: for the message.
        affine: voxel to world, ``(4, 4)``, mm.
        shape: voxels.
    """
    path = Path(path)
    if min(shape, default=0) < 1:
        yield _fault(path, f"has no voxels (shape {tuple(shape)})", "export it again")
        return
    if not np.isfinite(affine).all():
        yield _fault(path, "its affine has NaN or infinite values", _HEADER_CURE)
        return
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if edges.min() < SMALLEST or abs(np.linalg.det(affine[:3, :3])) < FLATTEST * edges.prod():
        fault = f"its affine has a voxel of zero size or flat axes ({_sizes(edges)} mm)"
        yield _fault(path, fault, _HEADER_CURE)
        return
    extents = edges[: len(shape)] * np.asarray(shape[:3])
    if extents.max() > LARGEST:
        fault = f"would be {extents.max() / 1000:.3g} m long (voxels of {_sizes(edges)} mm)"
        yield _fault(path, fault, _HEADER_CURE)


def _sizes(edges: np.ndarray) -> str:
    return "×".join(f"{mm:.4g}" for mm in edges)


def _fault(path: Path, fault: str, cure: str) -> Fault:
    return Fault(str(path), " ".join(fault.split()), cure)


def reading_fault(path: str | os.PathLike, error: BaseException) -> Fault:
    """What it means that a reader, or a chain of transforms with one in it, raised ``error`` over ``path``."""
    path, causes = Path(path), list(causes_of(error))
    for cause in causes:
        if isinstance(cause, UnfitFile):
            return cause.fault
    cause = causes[-1]
    reason = _reason(path, cause)
    if path.is_dir():
        fault = f"a folder without a readable DICOM series ({reason})"
        return _fault(path, fault, "put the files of one series into it, or name an image file")
    if missing := files_missing(path):
        return _missing(path, missing)
    if isinstance(cause, MemoryError):
        cure = "export it again if its sizes are wrong, or use a machine with more memory"
        return _fault(path, f"does not fit into memory ({reason})", cure)
    if "CRC" in reason:
        return _fault(path, "is damaged (its checksum does not fit)", "copy it again from its source")
    if isinstance(cause, EOFError) or any(word in reason.lower() for word in _OF_CUT_FILES):
        return _fault(path, f"unreadable: it ends too early ({reason})", "copy it again from its source")
    if packed := _packing(path):
        return _fault(path, *packed)
    cure = f"copy it again if it is damaged, or convert it to {FORMATS}"
    return _fault(path, f"not an image that can be read ({reason})", cure)


def _missing(path: Path, files: Sequence[Path]) -> Fault:
    """That files are not there without which a sound one says nothing: the voxels of a header, or their header."""
    first, more = files[0], f" and {len(files) - 1} more" if len(files) > 1 else ""
    place = "beside it" if first.parent == path.parent else f"in {first.parent}"
    part, verb = ("header", "is") if path.suffix.lower() == ".img" else ("voxels", "are")
    cure = (
        "copy that file there"
        if is_nifti(path)
        else "copy that file there, or correct its name in the header"
    )
    return _fault(path, f"its {part}, {first.name}{more}, expected {place}, {verb} missing", cure)


def _packing(path: Path) -> tuple[str, str] | None:
    """Fault and cure of a NIfTI file that is called as packed and is not, or the other way round."""
    name, called_packed = path.name, path.name.lower().endswith(".nii.gz")
    try:
        with path.open("rb") if called_packed else gzip.open(path) as file:
            begin = file.read(4)
    except (OSError, EOFError, zlib.error):
        return None
    if begin not in _NIFTI_BEGINS or not name.lower().endswith((".nii", ".nii.gz")):
        return None
    if called_packed:
        return "is not packed (gzip), unlike its name", f"rename the file to {name[:-3]}"
    return "is packed (gzip), unlike its name", f"rename the file to {name}.gz"


_NIFTI_BEGINS = [
    size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")
]  # of the header, bytes


_OF_CUT_FILES = (
    "expected",
    "mmap length",
    "not enough",
    "could not be read",
    "ends",
    "truncated",
    "read failure",
)


def _reason(path: Path, error: BaseException) -> str:
    """What a reader says went wrong, without its own places in the source, in memory and on the disk."""
    text = re.sub(r"^\S+\.cxx:\d+:\s*|(itk::)?ERROR: \w+\(0x[0-9a-f]+\):\s*", "", str(error).strip())
    return one_line(ValueError(text.replace(str(path), path.name) or type(error).__name__))


class RequireGridd(MapTransform):
    """Refuse volumes ``(1, X, Y, Z)`` with :func:`grid_faults`: of formats whose header ITK reads."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(dict(data)):
            refuse(read_grid_faults(source_of(data[key]), data[key]))
        return dict(data)


def read_grid_faults(path: str | os.PathLike, image: MetaTensor) -> Iterator[Fault]:
    """:func:`grid_faults` of a volume ``(1, X, Y, Z)`` that has been read."""
    yield from grid_faults(path, np.asarray(to_affine_nd(3, image.affine)), tuple(image.shape[1:]))

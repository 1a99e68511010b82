"""DICOM files and folders: which files are images, and whether those of a folder are one regular volume.

ITK stacks whatever files a series has at equal distances. Here the places, directions and numbers of the slices are
read first: what is no regular stack is refused with the reason, a gantry's tilt becomes a shear of the affine, and
each slice is scaled by its own slope.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from shared_components.data.dicom_grid import CONVERT, Plane, Stack, stacked, unfit
from shared_components.data.dicom_header import PIXELS, Header, has_mark, packed_at_most, read_header
from shared_components.data.faults import UnfitFile
from shared_components.data.names import DICOM_SUFFIXES, IMAGE_SUFFIXES, VOLUME_SUFFIXES

_IMAGE_TYPE, _SOP_CLASS, _SERIES = 0x00080008, 0x00080016, 0x0020000E
_SLICE_THICKNESS, _SLICE_DISTANCE, _DETECTOR_SPACING = 0x00180050, 0x00180088, 0x00181164
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_BITS = 0x00280100
_SPACING, _INTERCEPT, _SLOPE = 0x00280030, 0x00281052, 0x00281053
_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_DETECTOR, _SLICES, _FRAME_OFFSETS = 0x00540022, 0x00540081, 0x3004000C
_PLANE_POSITION, _PLANE_ORIENTATION, _PIXEL_MEASURES, _PIXEL_VALUES = (
    0x00209113, 0x00209116, 0x00289110, 0x00289145,
)  # fmt: skip
_GROUPS = {
    _POSITION: _PLANE_POSITION, _ORIENTATION: _PLANE_ORIENTATION, _SPACING: _PIXEL_MEASURES,
    _SLICE_THICKNESS: _PIXEL_MEASURES, _SLICE_DISTANCE: _PIXEL_MEASURES, _INTERCEPT: _PIXEL_VALUES,
    _SLOPE: _PIXEL_VALUES,
}  # fmt: skip
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_DIRECTIONS = "directions"


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content, or by its name where that is not another format's."""
    name = path.name.lower()
    if name == "dicomdir" or not path.is_file():
        return False
    if name.endswith(DICOM_SUFFIXES):
        return True
    return not name.endswith(IMAGE_SUFFIXES) and has_mark(path)


def is_series_or_slice(path: Path) -> bool:
    """Whether a path is to be read as DICOM: a folder, or a file of it."""
    return path.is_dir() or is_dicom(path)


def _dicom_images(folder: Path) -> Iterator[tuple[Path, Header]]:
    """The DICOM images that lie in a folder itself, in order of their names; reports and indices are passed over.

    Raises:
        UnfitFile: a damaged one.
        OSError: the folder or a file of it may not be read.
    """
    for file in sorted(folder.iterdir()):
        if not file.name.startswith(".") and is_dicom(file):
            try:
                header = _header(file)
            except UnfitFile as error:
                raise unfit(folder, f"{file.name} {error.fault.what}", error.fault.cure) from error
            if header is not None:
                yield file, header


def is_dicom_image(path: Path) -> bool:
    """Whether a file is DICOM with pixels; a damaged one may be: reading it says so."""
    try:
        return is_dicom(path) and _header(path) is not None
    except (UnfitFile, OSError):
        return True


def holds_dicom(folder: Path) -> bool:
    """Whether a folder has DICOM images in it; one that may not be read may have: reading it says so."""
    try:
        return any(is_dicom_image(file) for file in sorted(folder.iterdir()) if not file.name.startswith("."))
    except OSError:
        return True


def series_of(file: Path) -> str:
    """Identifier of a DICOM image's series; empty for a damaged file."""
    try:
        header = _header(file)
    except (UnfitFile, OSError):
        return ""
    return header.text(_SERIES) if header is not None else ""


def read_stack(path: Path) -> Stack:
    """The slices of a DICOM file or of a folder with one series, and the grid that they lie on.

    Raises:
        UnfitFile: there is no image, more than one, or they are no regular volume.
        OSError: a file may not be read.
    """
    images = list(_dicom_images(path)) if path.is_dir() else [(path, _header(path))]
    if not images or images[0][1] is None:
        raise unfit(path, *_NO_SERIES if path.is_dir() else _NO_IMAGE)
    if path.is_dir():
        _refuse_company(path, images)
    try:
        planes = [plane for file, header in images for plane in _planes(path, file, header)]
    except (ValueError, OverflowError) as error:
        if isinstance(error, UnfitFile):
            raise
        raise unfit(path, f"states its geometry in no numbers ({error})", CONVERT) from error
    return stacked(path, planes)


_NO_SERIES = (
    "a folder without a readable DICOM series (no image is in it)",
    "put the files of one series into it, or name an image file",
)
_NO_IMAGE = ("a DICOM file without pixels", "leave it out")
_NO_DICOM = ("is no DICOM file, whatever its name", "copy it again or leave it out")


def _header(file: Path) -> Header | None:
    """The header of an image; ``None`` for DICOM of other kinds, which has no pixels: reports, plans, indices.

    Raises:
        UnfitFile: a damaged file, or one of another kind that is named as DICOM.
    """
    try:
        header = read_header(file)
    except EOFError as error:
        raise unfit(file, f"is damaged ({error})", "copy it again") from error
    if header is None:
        raise unfit(file, *_NO_DICOM)
    if header.count(_ROWS) and PIXELS not in header:
        raise unfit(file, "is damaged (the file ends before its pixels)", "copy it again")
    size, need = file.stat().st_size, _promised(header)
    if need > size * packed_at_most(header):  # ITK would take the memory before it looks
        fault = f"is damaged (it ends in its pixels: {size} bytes, its header promises {need})"
        raise unfit(file, fault, "copy it again")
    return header if header.count(_ROWS) else None


def _promised(header: Header) -> int:
    """Bytes of the pixels, unpacked."""
    try:
        frames = max(1, int((header.numbers(_FRAMES) or (1,))[0]))
    except (ValueError, OverflowError):  # told where the frames are counted
        frames = 1
    bits = frames * header.count(_ROWS) * header.count(_COLUMNS) * header.count(_BITS)
    return bits * max(1, header.count(_SAMPLES)) // 8


def _refuse_company(folder: Path, images: Sequence[tuple[Path, Header]]) -> None:
    """One series and no volume of another format is an image; previews as pictures are passed over."""
    series = len({header.text(_SERIES) for _, header in images})
    if series > 1:
        raise unfit(folder, f"expected one DICOM series, found {series}", "put each into a folder of its own")
    # what a run has written beside its input is none
    outputs = tuple(f"{folder.name.lower()}_{kind}." for kind in ("seg", "prob"))
    others = [
        file.name
        for file in sorted(folder.iterdir())
        if file.name.lower().endswith(VOLUME_SUFFIXES) and not file.name.lower().startswith((".", *outputs))
    ]
    if others:
        fault = f"holds a series of {len(images)} DICOM files and beside it another image, {others[0]}"
        raise unfit(folder, fault, "put the series into a folder of its own")


def _planes(path: Path, file: Path, header: Header) -> Iterator[Plane]:
    """The slices of a file."""
    for fault, cure in _kind_faults(header):
        raise unfit(path, f"{file.name} is {fault}" if path.is_dir() else fault, cure)
    frames = int((header.numbers(_FRAMES) or (1,))[0])
    shared = (header.sequence(_SHARED) or [Header()])[0]
    groups = header.sequence(_PER_FRAME)
    if groups and len(groups) != frames:
        raise unfit(path, f"{file.name} states places of {len(groups)} frames and has {frames}", CONVERT)
    if frames > 1 and not groups:
        yield from _offset_planes(path, file, header, frames)
        return
    for number, group in enumerate(groups or [Header()]):
        yield _plane(path, file, number if frames > 1 else None, (group, shared, header))


def _offset_planes(path: Path, file: Path, header: Header, frames: int) -> Iterator[Plane]:
    """Frames that lie along the first one's normal: nuclear medicine states their number, dose their offsets."""
    detector = (header.sequence(_DETECTOR) or [Header()])[0]
    first = _plane(path, file, 0, (detector, header))
    offsets = header.numbers(_FRAME_OFFSETS)
    if not offsets and header.count(_SLICES) == frames:
        stated = (*header.numbers(_SLICE_DISTANCE), *header.numbers(_SLICE_THICKNESS))
        # below 0: they are stacked against the normal
        step = next((mm for mm in stated if mm), first.thickness)
        offsets = tuple(step * number for number in range(frames))
    if len(offsets) != frames:
        raise unfit(path, f"{file.name} has {frames} frames without a place in space (a film?)", CONVERT)
    normal = np.cross(*np.reshape(first.axes, (2, 3)))
    # may be left out
    first = first._replace(assumed=tuple(name for name in first.assumed if name != _DIRECTIONS))
    for number, offset in enumerate(offsets):
        position = np.asarray(first.position) + (offset - offsets[0]) * normal
        yield first._replace(frame=number, position=tuple(position.tolist()))


def _kind_faults(header: Header) -> Iterator[tuple[str, str]]:
    """Objects whose pixels are no grey values of slices."""
    if "MOSAIC" in header.text(_IMAGE_TYPE).upper().split("\\"):
        yield "a mosaic, whose slices lie as tiles in one plane", CONVERT
    if header.text(_SOP_CLASS) == _SEGMENTATION:
        yield "a DICOM segmentation object", CONVERT
    colours = header.text(_PHOTOMETRIC)
    if header.count(_SAMPLES) > 1 or (colours and not colours.startswith("MONOCHROME")):
        yield f"a picture with colours ({colours}), expected grey values", "leave it out"


def _plane(path: Path, file: Path, frame: int | None, sources: tuple[Header, ...]) -> Plane:
    """A slice as its frame's group, the shared one and the file itself say, in this order."""

    def numbers(tag: int) -> tuple[float, ...]:
        group = _GROUPS[tag]
        places = [item for source in sources for item in (*source.sequence(group)[:1], source)]
        return next((found for place in places if (found := place.numbers(tag))), ())

    header = sources[-1]
    sizes, directions = numbers(_SPACING) or header.numbers(_DETECTOR_SPACING), numbers(_ORIENTATION)
    position, axes = numbers(_POSITION) or (0.0,) * 3, directions or (1.0, 0, 0, 0, 1, 0)
    rows, columns = (sizes or (1.0, 1.0))[:2]
    thickness = (*numbers(_SLICE_DISTANCE), *numbers(_SLICE_THICKNESS), 0.0)
    plane = Plane(
        file, frame, position, axes, (columns, rows), (header.count(_COLUMNS), header.count(_ROWS)),
        next((mm for mm in map(abs, thickness) if mm > 0), 1.0),
        ((*numbers(_SLOPE), 1.0)[0], (*numbers(_INTERCEPT), 0.0)[0]),
        tuple(name for name, found in (("pixel size", sizes), (_DIRECTIONS, directions)) if not found),
    )  # fmt: skip
    if not (len(position) == 3 and len(axes) == 6 and np.isfinite([*position, *axes, rows, columns]).all()):
        raise unfit(path, f"{plane.name} states no place in space", CONVERT)
    return plane

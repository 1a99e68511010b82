"""What an image is, of which files, and which images lie in a folder: the same for all that read or compare them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from shared_components.data.dicom import (
    holds_dicom,
    is_dicom,
    is_dicom_image,
    is_series_or_slice,
    read_stack,
    series_of,
)
from shared_components.data.faults import UnfitFile, in_one_line
from shared_components.data.names import IMAGE_SUFFIXES, states_sizes, subject_name
from shared_components.data.voxel_headers import is_voxel_header, named_files
from shared_components.errors import InputError

LOOKED_AT = 5000  # files and folders below one that is searched for images
_UNREAD = (
    ".mgz", ".mgh", ".mnc", ".rec", ".brik", ".brik.gz", ".mif", ".mif.gz", ".nii.bz2", ".nii.xz", ".nii.zst",
)  # fmt: skip
"""Endings of volumes that nothing here reads: FreeSurfer, MINC, Philips, AFNI, MRtrix, NIfTI packed in other ways."""
_BESIDE = (".hdr", ".img", ".mat")  # of Analyze and NIfTI in several files


def files_of(image: str | os.PathLike) -> list[Path]:
    """The file that names an image, and the others there that hold its voxels or place, where a header stands alone."""
    place = Path(image)
    return [place, *filter(os.path.isfile, _companions(place))]


def files_missing(image: str | os.PathLike) -> list[Path]:
    """The files without which an image that is there cannot be read, and which are not: voxels, a pair's header."""
    place = Path(image)
    needed = [file for file in _companions(place) if file.suffix.lower() != _BESIDE[2]]
    return [file for file in needed if not os.path.isfile(file)]


def _companions(place: Path) -> list[Path]:
    """The files that should lie beside one that names an image; Analyze's with its place may be absent."""
    suffix, others = place.suffix.lower(), []
    if suffix in _BESIDE[:2]:
        cased = map(str.upper, _BESIDE) if place.suffix.isupper() else _BESIDE
        others = [*map(place.with_suffix, cased)]
    elif is_voxel_header(place):
        others = named_files(place)
    return [file for file in others if file != place]


def header_of(image: str | os.PathLike) -> Path:
    """The header beside the ``.img`` of an Analyze or NIfTI pair, which stands for both; any other image itself."""
    place = Path(image)
    if place.suffix.lower() != _BESIDE[1]:
        return place
    header = place.with_suffix(_BESIDE[0].upper() if place.suffix.isupper() else _BESIDE[0])
    return header if header.is_file() else place


def is_image(path: Path) -> bool:
    """Whether a path is an image by its ending, DICOM by its content, or a folder of DICOM; hidden ones are none."""
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return holds_dicom(path)
    return is_dicom_image(path) if is_dicom(path) else path.name.lower().endswith(IMAGE_SUFFIXES)


def images_in(folder: Path) -> list[Path]:
    """The images in a folder itself, sorted: its files and its folders of DICOM, or the folder where it is a series.

    Several DICOM files of as many series, radiographs say, are an image each, and so is one beside other images. Any
    other folder with DICOM files of its own is one image; whether it is a sound one is told when it is read.

    Raises:
        OSError: the folder may not be read.
    """
    images = [entry for entry in sorted(folder.iterdir()) if is_image(entry)]
    dicom = [image for image in images if is_dicom(image)]
    alone = len(dicom) == len(images) == 1
    series = [series_of(file) for file in dicom]
    if len(dicom) < len(images):  # damaged ones, which say no series, hide nothing that lies beside them
        series = [each for each in series if each]
    if alone or len(set(series)) < len(series):
        return [folder]
    return images


def image_paths(folder: Path) -> list[Path]:
    """Image files and DICOM folders under ``folder``, sorted, hidden ones left out.

    Raises:
        InputError: slices of a DICOM series lie in ``folder`` itself, where each would be an image of its own, or a
            folder in it is a link.
    """
    found: list[Path] = []
    for place, folders, _ in os.walk(folder):
        here = Path(place)
        if here != folder and holds_dicom(here):
            found.append(here)
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (here / name).is_symlink():  # os.walk would pass over it without a word
                raise InputError(
                    f"{here / name}: is a link to a folder, and links out of a data root are not followed; move or "
                    "copy the folder there"
                )
        images = images_in(here)
        if images == [folder]:
            images = _loose_series(folder)
        found += [image for image in images if not image.is_dir()]  # folders are looked into in their turn
    return sorted(found)


def _loose_series(folder: Path) -> list[Path]:
    """The one DICOM file of a folder for images; slices of a series would have no name to go by."""
    files = [file for file in sorted(folder.iterdir()) if is_dicom(file) and is_image(file)]
    if len(files) > 1:
        series = len({series_of(file) for file in files})
        raise InputError(
            f"{folder}: {len(files)} DICOM files of {series} series lie loose in it; put each series into a folder of "
            "its own, named as the subject"
        )
    return files


def first_image_below(folder: Path, passed_over: Callable[[Path], bool]) -> Path | None:
    """An image in a folder below ``folder``, none of those that :func:`images_in` finds; ``None`` without any.

    Nor with none among the first thousands of files: each is opened to see whether it is DICOM.

    Args:
        folder: where to look.
        passed_over: whether a folder is not to be looked into; hidden ones never are.
    """
    return next(filter(is_image, islice(_entries_below(folder, passed_over), LOOKED_AT)), None)


def volumes_left_out(folder: Path, taken: Collection[Path]) -> list[Path]:
    """Volumes in ``folder`` or below it that are none of ``taken``, among the first thousands of other files.

    Pictures and arrays count only where some of ``taken`` are such: others are previews or notes.
    """
    taken = frozenset(taken)
    entries = chain(sorted(folder.iterdir()), _entries_below(folder, passed_over=taken.__contains__))
    others = (entry for entry in entries if entry not in taken)
    all_kinds = not all(map(states_sizes, taken))
    return [
        path for path in islice(others, LOOKED_AT) if (all_kinds or states_sizes(path)) and is_image(path)
    ]


def _entries_below(folder: Path, passed_over: Callable[[Path], bool]) -> Iterator[Path]:
    """Files and folders in the folders of ``folder``; what is in folders of DICOM belongs to these."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        places = [here / name for name in sorted(folders) if not name.startswith(".")]
        places = [entry for entry in places if not passed_over(entry)]
        if here != folder:
            yield from (*places, *(here / name for name in sorted(files)))
        folders[:] = [entry.name for entry in places if not holds_dicom(entry)]


def unread_volumes(folder: Path, deep: bool = True) -> str | None:
    """A line on the volumes in ``folder`` of formats that nothing here reads, with the cure; ``None`` without any.

    Those that have an image of their name beside them, as conversions do, and hidden ones do not count.

    Args:
        folder: where to look.
        deep: look into its folders, too.
    """
    places = os.walk(folder)
    found = sorted(
        path
        for place, folders, names in (places if deep else islice(places, 1))
        for path in _unread(place, folders, names)
    )
    if not found:
        return None
    number = "1 file is" if len(found) == 1 else f"{len(found)} files are"
    name = found[0].name
    converted = f"{_stem(name)}.nii.gz"
    return (
        f"{number} of a format that is not read, such as {found[0]}; convert them to NIfTI (most in Python: "
        f"nibabel.save(nibabel.load({name!r}), {converted!r}))"
    )


def _unread(place: str, folders: list[str], names: list[str]) -> list[Path]:
    """Those of one folder; hidden folders are taken out of ``folders``."""
    folders[:] = [folder for folder in folders if not folder.startswith(".")]
    read = {subject_name(name) for name in names if name.lower().endswith(IMAGE_SUFFIXES)}
    alone = [name for name in names if name.lower().endswith(_UNREAD) and _stem(name) not in read]
    return [Path(place, name) for name in alone if not name.startswith(".")]


def _stem(name: str) -> str:
    """The name of a file of a format that is not read, without its ending."""
    return name[: -max(len(suffix) for suffix in _UNREAD if name.lower().endswith(suffix))]


def refuse_irregular(paths: Iterable[Path | None]) -> None:
    """Say at once of all DICOM images which are no regular volumes: their headers suffice.

    Raises:
        InputError: some are not.
    """
    faults = []
    for path in paths:
        if path is not None and is_series_or_slice(path):
            try:
                read_stack(path)
            except UnfitFile as error:
                faults.append(error.fault)
    if faults:
        raise InputError(in_one_line(faults))

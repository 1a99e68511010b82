"""Which files of a folder are images, and which label map belongs to which image."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared_components.data.dicom import holds_dicom, is_dicom, is_series_or_slice, read_stack, series_of
from shared_components.data.image_files import images_in, is_image
from shared_components.data.names import IMAGE_SUFFIXES, subject_name
from shared_components.data.problems import UnfitFile, in_one_line
from shared_components.errors import InputError

_LAYOUTS = (  # images, labels (any of several names), images of the test split, their labels; in lower case
    ("imagestr", ("labelstr",), "imagests", ("labelsts",)),
    ("images", ("labels", "masks", "segmentations"), None, ()),
)
_LABEL_ENDING = re.compile(r"[_.-](seg|segmentation|label|labels|mask|gt)$", re.IGNORECASE)
_CHANNEL_ENDING = re.compile(r"_(\d{4})$")


@dataclass(frozen=True)
class Pair:
    """An image and its label map, if any; ``subject`` is the image's name without ending and channel."""

    subject: str
    image: Path
    label: Path | None = None
    held_out: bool = False


def find_pairs(root: Path) -> list[Pair]:
    """Images of a folder with their label maps, by file name, in order of subjects.

    Three layouts are known: ``images/`` and ``labels/`` (or ``masks/``, ``segmentations/``); ``imagesTr/``,
    ``labelsTr/``, ``imagesTs/`` and ``labelsTs/`` (Decathlon, nnU-Net; the last two are held out for testing);
    any other folder, searched with its subfolders, where label maps end in ``_seg``, ``_label`` or ``_mask``
    (``s01.nii.gz``, ``s01_seg.nii.gz``). A folder with DICOM files is one image. nnU-Net's ``_0000`` at the end
    of image names is passed over.

    Raises:
        InputError: no images, a label map without an image, two images of one subject, a DICOM series that is no
            regular volume.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name the folder that holds the images")
    folders = {folder.name.lower(): folder for folder in sorted(root.iterdir()) if folder.is_dir()}
    for images, labels, test_images, test_labels in _LAYOUTS:
        if images in folders:
            pairs = _match(image_paths(folders[images]), _label_paths(folders, labels))
            if test_images in folders:
                held_out = _match(image_paths(folders[test_images]), _label_paths(folders, test_labels))
                pairs += [Pair(p.subject, p.image, p.label, held_out=True) for p in held_out]
            break
    else:
        paths = image_paths(root)
        maps = [path for path in paths if _LABEL_ENDING.search(subject_name(path))]
        pairs = _match([path for path in paths if path not in maps], maps)
    if not pairs:
        raise InputError(
            f"{root}: found no images (in images/, imagesTr/ or the folder itself) with one of the endings "
            f"{', '.join(IMAGE_SUFFIXES)}, nor folders of DICOM files"
        )
    _refuse_irregular(path for pair in pairs for path in (pair.image, pair.label))
    return pairs


def _label_paths(folders: Mapping[str, Path], names: Iterable[str]) -> list[Path]:
    return [path for name in names if name in folders for path in image_paths(folders[name])]


def image_paths(folder: Path) -> list[Path]:
    """Image files and DICOM folders under ``folder``, sorted, hidden ones left out.

    Raises:
        InputError: slices of a DICOM series lie in ``folder`` itself, where each would be an image of its own.
    """
    found: list[Path] = []
    for place, folders, _ in os.walk(folder):
        here = Path(place)
        if here != folder and holds_dicom(here):
            found.append(here)
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
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


def _refuse_irregular(paths: Iterable[Path | None]) -> None:
    """Say at once of all DICOM images which are no regular volumes: their headers suffice."""
    problems = []
    for path in paths:
        if path is not None and is_series_or_slice(path):
            try:
                read_stack(path)
            except UnfitFile as error:
                problems.append(error.problem)
    if problems:
        raise InputError(in_one_line(problems))


def _match(images: Iterable[Path], labels: Iterable[Path]) -> list[Pair]:
    by_subject: dict[str, Path] = {}
    for label in labels:
        subject = _CHANNEL_ENDING.sub("", _LABEL_ENDING.sub("", subject_name(label)))
        if subject in by_subject:
            other = by_subject[subject]
            cure = "keep one"
            if label.parent.name != other.parent.name:
                cure += ", or name those of two subjects, and their images, after the subject"
            raise InputError(f"{label}: a second label map of {subject!r} beside {other}; {cure}")
        by_subject[subject] = label
    pairs: dict[str, Pair] = {}
    for image in images:
        subject = _CHANNEL_ENDING.sub("", subject_name(image))
        if subject in pairs:
            raise InputError(
                f"{image}: a second image of {subject!r} beside {pairs[subject].image}; give each subject "
                "one image under a name of its own (of several sequences, each makes a data root)"
            )
        pairs[subject] = Pair(subject, image, by_subject.pop(subject, None))
    if by_subject:
        subject, label = next(iter(by_subject.items()))
        rest = f" (nor have {len(by_subject) - 1} more label maps)" if len(by_subject) > 1 else ""
        raise InputError(f"{label}: no image is named {subject!r}{rest}; name label maps as their images are")
    return list(pairs.values())

"""What an image is, and which images lie in a folder: the same for make-datalist, inference and evaluation."""

from __future__ import annotations

from pathlib import Path

from shared_components.data.dicom import holds_dicom, is_dicom, is_dicom_image, series_of
from shared_components.data.names import IMAGE_SUFFIXES


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

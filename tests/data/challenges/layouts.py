"""Small folders laid out as the challenges publish theirs."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

TABLE = "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"
AFFINE = np.array([[-1.4, 0, 0, 30], [0, 0, 9.6, -20], [0, -1.4, 0, 10], [0, 0, 0, 1.0]])
SHAPE = (8, 7, 3)
FRAMES = 6

MNMS = {  # code: folder, vendor name, vendor, centre, ED, ES
    "A1B2C3": ("Training/Labeled", "Siemens", "A", "1", 0, 3),
    "A4B5C6": ("Training/Labeled", "Siemens", "A", "1", 1, 4),
    "B1B1B1": ("Training/Labeled", "Philips", "B", "2", 5, 2),
    "C9C9C9": ("Training/Unlabeled", "GE", "C", "4", 0, 2),
    "B2B2B2": ("Validation", "Philips", "B", "3", 0, 2),
    "C1C1C1": ("Testing", "GE", "C", "4", 0, 2),
    "D1D1D1": ("Testing", "Canon", "D", "5", 0, 1),
}


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def cine(code: str) -> np.ndarray:
    """Frame t of the cine has voxels around 100 t."""
    noise = np.random.default_rng([ord(letter) for letter in code]).integers(0, 50, (*SHAPE, FRAMES))
    return (noise + 100 * np.arange(FRAMES)).astype(np.int16)


def cine_label(ed: int, es: int) -> np.ndarray:
    label = np.zeros((*SHAPE, FRAMES), np.uint8)
    label[2:5, 2:5, :, ed] = 1
    label[2:4, 2:4, :, es] = 3
    label[4, 4, :, es] = 2
    return label


def write_table(file: Path, delimiter: str = ",", **changed: str) -> Path:
    """The challenge's table, with an unnamed first column as published; ``changed``: another text for a code's ED."""
    lines = [["", "External code", "VendorName", "Vendor", "Centre", "ED", "ES", "Age"]]
    for number, (code, (_, name, vendor, centre, ed, es)) in enumerate(MNMS.items()):
        lines.append([number, code, name, vendor, centre, changed.get(code, ed), es, "44"])
    file.write_text("\n".join(delimiter.join(map(str, line)) for line in lines) + "\n", encoding="utf-8")
    return file


def write_mnms(source: Path) -> Path:
    """The M&Ms challenge with one or two subjects a folder."""
    for code, (folder, _, _, _, ed, es) in MNMS.items():
        save(source / folder / code / f"{code}_sa.nii.gz", cine(code))
        if "Unlabeled" not in folder:
            save(source / folder / code / f"{code}_sa_gt.nii.gz", cine_label(ed, es))
    write_table(source / TABLE)
    return source


def rater_mask(rater: int) -> np.ndarray:
    """A cord of white matter (2) around grey matter (1) that reaches one voxel further by rater."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:7, 1:6] = 2
    mask[2, 2 : 2 + rater] = 1
    return mask


def write_scgm(source: Path) -> Path:
    """Four sites with five subjects each: three labelled by four raters, two without masks."""
    for site in range(1, 5):
        for number in range(1, 6):
            name = f"site{site}-sc{number:02d}"
            image = np.random.default_rng([site, number]).normal(100, 20, SHAPE).astype(np.float32)
            folder = source / ("training-data" if number < 4 else "test-data")
            save(folder / f"{name}-image.nii.gz", image)
            (folder / f"{name}-levels.txt").write_text("C3")
            for rater in range(1, 5) if number < 4 else ():
                save(folder / f"{name}-mask-r{rater}.nii.gz", rater_mask(rater))
    return source

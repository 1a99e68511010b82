"""What the data check refuses and accepts, and what inference does, are the same files, for the same reasons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared_components.data.slices import SliceDataset
from shared_components.data.volume_check import check_image, check_label
from shared_components.errors import InputError
from shared_components.inferers import CaseDataset, inference_transforms, pending_cases, write_case_list
from shared_components.inferers.case_dataset import FAULT
from shared_components.metrics import score_segmentations
from shared_components.report.case_volumes import load_case
from shared_components.study.summary import grid_faults
from tests.bundles.test_input_kinds import KINDS
from tests.inferers.malformed import AFFINE, VOXELS, malformed

SERIES = "4-D"  # what alone is segmented, frame by frame, and not trained on


def _nifti(voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE, unit: str = "mm", pixdim=None):
    def write(path: Path) -> None:
        image = nib.Nifti1Image(voxels, affine)
        image.header.set_xyzt_units(unit)
        if pixdim is not None:
            image.header["pixdim"][1:4] = pixdim
        nib.save(image, path)

    return write


def _sized(edge: float):
    return _nifti(affine=np.diag([edge, edge, edge, 1.0]))


GREY = VOXELS.astype(np.float32)
HOLLOW = np.where(np.indices(VOXELS.shape).min(axis=0) > 0, GREY, np.nan)
FRAMED = np.full((20, 18, 9), np.nan, np.float32)
FRAMED[2:18, 2:16, 2:7] = GREY

OTHERS = {
    **{f"slices of axis {n}.nii": _nifti(VOXELS.take([3], axis=n)) for n in range(3)},
    **{f"voxels of {edge:g} mm.nii": _sized(edge) for edge in (1e-6, 1e-4, 1e3, 1e6)},
    **{f"in {unit}.nii": _nifti(unit=unit) for unit in ("micron", "meter", "mm", "unknown")},
    "header against itself.nii": _nifti(pixdim=(2.5, 2, 5)),
    "header without sizes.nii": _nifti(pixdim=(0, 0, 0)),
    "ones at the end.nii": _nifti(VOXELS[..., None, None]),
    "ones in between.nii": _nifti(VOXELS[..., None, None].repeat(2, axis=-1)),
    "complex.nii": _nifti(VOXELS.astype(np.complex64)),
    "NaN around.nii": _nifti(FRAMED),
    "NaN on a side.nii": _nifti(np.where(np.indices(VOXELS.shape)[0] > 0, GREY, np.nan)),
    "NaN on half of the sides.nii": _nifti(HOLLOW),
    "NaN alone.nii": _nifti(np.full(VOXELS.shape, np.nan, np.float32)),
    "constant.nii": _nifti(np.full(VOXELS.shape, 4, np.int16)),
    "constant within NaN.nii": _nifti(np.where(np.isnan(FRAMED), np.nan, np.float32(4))),
    "hot.nii": _nifti(np.where(np.arange(GREY.size).reshape(GREY.shape) < 3, 1e9, GREY)),
    "plane.nii": _nifti(VOXELS[..., 0]),
    "line.nii": _nifti(VOXELS[:, 0, 0]),
    "analyze.hdr": lambda path: nib.save(nib.AnalyzeImage(VOXELS, np.diag([-2.0, 2, 5, 1])), path),
    "pair.img": lambda path: nib.save(nib.Nifti1Pair(VOXELS, AFFINE), path),
}  # fmt: skip
KINDS_BY_NAME = {
    kind.name: lambda path, kind=kind: kind.save(path, kind.intensities, kind.affine) for kind in KINDS
}


def by_inference(path: Path) -> list[str]:
    """Faults that inference finds in a volume."""
    cases = CaseDataset([{"image": str(path), "case": "x"}], inference_transforms(16, 3.0), keep_going=True)
    return [item[FAULT] for item in cases if FAULT in item]


def by_check(path: Path) -> list[str]:
    return [str(problem) for problem in check_image(path, "RAS")[1]]


@pytest.mark.parametrize("table", [malformed(), OTHERS, KINDS_BY_NAME], ids=["malformed", "others", "sound"])
def test_check_and_inference_give_the_same_verdict(tmp_path, table):
    for name, write in table.items():
        write(tmp_path / name)
    wrong = {}
    for name in table:
        checked, inferred = by_check(tmp_path / name), by_inference(tmp_path / name)
        if checked and not inferred and all(SERIES in line for line in checked):
            continue
        if bool(checked) != bool(inferred):
            wrong[name] = (checked, inferred[:1])
    assert not wrong


def test_what_is_refused_and_what_is_not(tmp_path):
    refused = set()
    for name, write in OTHERS.items():
        write(tmp_path / name)
        if by_check(tmp_path / name):
            refused.add(name.rsplit(".", 1)[0])
    assert refused == {
        "slices of axis 0", "slices of axis 1", "voxels of 1e-06 mm", "voxels of 1e+06 mm", "voxels of 1000 mm",
        "in meter", "header against itself", "ones in between", "complex", "NaN on a side", "NaN alone", "line",
        "constant", "constant within NaN",
    }  # fmt: skip


def _fits(answer: Callable[[], object]) -> bool:
    """Whether an answer is yes: nothing is raised, and it is neither False nor a list of faults."""
    try:
        found = answer()
    except (InputError, RuntimeError):  # MONAI wraps whatever a transform raises
        return False
    return found is None or found is True or found == []


def by_training(folder: Path) -> None:
    item = {
        "image": str(folder / "s.nii.gz"),
        "label": str(folder / "s_seg.nii.gz"),
        "domain": "t",
        "subject": "s",
    }
    SliceDataset([item], ["t"], 16, None)


@pytest.mark.parametrize(("shift", "one_grid"), [(0.005, True), (0.049, True), (0.051, False), (0.5, False)])
def test_two_grids_are_one_for_all_or_for_none(tmp_path, shift, one_grid):
    label = (VOXELS > 120).astype(np.uint8)
    affine = AFFINE.copy()
    affine[0, 3] += shift * 2  # voxels of 2 × 2 × 5 mm
    nib.save(nib.Nifti1Image(VOXELS, AFFINE), tmp_path / "s.nii.gz")
    nib.save(nib.Nifti1Image(label, AFFINE), tmp_path / "truth.nii.gz")
    nib.save(nib.Nifti1Image(label, affine), tmp_path / "s_seg.nii.gz")
    image, other = str(tmp_path / "s.nii.gz"), tmp_path / "s_seg.nii.gz"
    case = {"image": image, "case": "s", "label": str(tmp_path / "truth.nii.gz")}
    labels = {0: "background", 1: "bright"}
    write_case_list([case], labels, tmp_path)
    answers = {
        "check": lambda: check_label(other, check_image(Path(image))[0], {0, 1})[1],
        "training": lambda: by_training(tmp_path),
        "scoring": lambda: score_segmentations(tmp_path, [case], labels) and None,
        "resumption": lambda: pending_cases([case], tmp_path, resume=True),
        "study": lambda: grid_faults(tmp_path),
        "report": lambda: load_case(image, None, {"ours": other}) and None,
    }
    assert {name: _fits(answer) for name, answer in answers.items()} == dict.fromkeys(answers, one_grid)


@pytest.mark.parametrize("damage", [b"", b"no volume", None])
def test_a_study_goes_on_over_a_segmentation_that_was_damaged_since(tmp_path, damage):
    _nifti()(tmp_path / "a.nii")
    seg = tmp_path / "a_seg.nii.gz"
    write_case_list([{"case": "a", "image": str(tmp_path / "a.nii")}], {0: "background", 1: "b"}, tmp_path)
    if damage is None:
        seg.mkdir()
    else:
        seg.write_bytes(damage)
    (line,) = grid_faults(tmp_path)
    assert line.startswith(f"{seg}: ") and "\n" not in line

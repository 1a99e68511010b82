"""DICOM of every kind through inference, resumption and scoring: in its place, or refused in one line."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared_components.data.grids import grid_distance
from shared_components.errors import input_error_in
from shared_components.inferers.case_dataset import pending_cases
from shared_components.metrics.segmentation_scores import score_cases
from tests.data.dicom_files import RIGHT, SHAPE, VOXELS, WRONG, slices, write
from tests.inferers.known_network import LABELS, inference, save_network


def labels_of(voxels: np.ndarray) -> np.ndarray:
    """The class of the nearest of the lowest, the middle and the highest value."""
    scaled = (voxels - voxels.min()) / (voxels.max() - voxels.min())
    return np.rint(scaled * 2).astype(np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Path, list[str]]:
    """Input folder, output folder, and the lines of the error."""
    source, out = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("out")
    for name, right in RIGHT.items():
        right.write(source / f"right {name}")
    for name, (save, _) in WRONG.items():
        save(source / f"wrong {name}")
    cases = [{"image": str(path), "case": path.name} for path in sorted(source.iterdir())]
    flow = inference(cases, out, save_network(out.parent / "model.pt"), orientation="native")
    with pytest.raises(RuntimeError) as raised:
        flow.run()
    return source, out, str(input_error_in(raised.value)).split("\n")


@pytest.mark.parametrize("name", RIGHT)
def test_a_segmentation_lies_on_the_grid_of_its_series(run, name):
    found = nib.load(run[1] / f"right {name}_seg.nii.gz")
    right = RIGHT[name]
    assert grid_distance(right.affine, found.affine, SHAPE) < 0.05
    assert (np.asarray(found.dataobj) == labels_of(right.voxels)).mean() > 0.999


def test_a_sheared_grid_is_in_the_sform_alone(run):
    header = nib.load(run[1] / "right tilted_seg.nii.gz").header
    assert (header["sform_code"], header["qform_code"]) == (1, 0)
    header = nib.load(run[1] / "right regular_seg.nii.gz").header
    assert (header["sform_code"], header["qform_code"]) == (1, 1)


@pytest.mark.parametrize("name", WRONG)
def test_an_irregular_series_is_one_line_and_has_no_output(run, name):
    source, out, lines = run
    assert lines[0] == f"{len(WRONG)} of {len(WRONG) + len(RIGHT)} volumes were not segmented:"
    (line,) = [line for line in lines if line.startswith(f"{source / f'wrong {name}'}: ")]
    assert re.search(WRONG[name][1], line), line
    assert not (out / f"wrong {name}_seg.nii.gz").exists()


def test_resumption_knows_the_grid_of_a_series(run):
    source, out, _ = run
    cases = [{"image": str(path), "case": path.name} for path in sorted(source.iterdir())]
    pending = [case["case"] for case in pending_cases(cases, out, resume=True)]
    assert pending == sorted(f"wrong {name}" for name in WRONG)


def test_scoring_reads_labels_in_dicom_and_refuses_irregular_ones(run, tmp_path):
    source, out, _ = run
    truth = labels_of(VOXELS)
    for name in ("regular", "two series"):
        (tmp_path / f"{name}_seg.nii.gz").write_bytes((out / "right regular_seg.nii.gz").read_bytes())
    cases = [
        {"case": "regular", "label": str(write(tmp_path / "label", slices(truth)))},
        {"case": "two series", "label": str(source / "wrong missing")},
    ]
    rows, faults = score_cases(tmp_path, cases, LABELS)
    assert [row["dice"] for row in rows] == pytest.approx([1.0, 1.0], abs=1e-2)
    (fault,) = faults
    assert re.search(WRONG["missing"][1], fault)

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from shared_components.inferers import find_cases, pending_cases
from tests.inferers.known_network import inference, save_network


def volume(path: Path, shape=(16, 14, 5), shift: float = 0.0) -> Path:
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[0, 3] = shift
    nib.save(nib.Nifti1Image((np.indices(shape).sum(0) % 2).astype(np.uint8), affine), path)
    return path


@pytest.fixture
def folders(tmp_path) -> tuple[list, Path]:
    """Cases a, b (a time series) and c (MetaImage), all of them done."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    volume(source / "a.nii.gz")
    volume(source / "b.nii", (16, 14, 5, 3))
    itk.imwrite(itk.image_from_array(np.zeros((5, 14, 16), np.uint8)), str(source / "c.mha"))
    volume(out / "a_seg.nii.gz")
    volume(out / "b_seg.nii.gz", (16, 14, 5, 3))
    nib.save(
        nib.Nifti1Image(np.zeros((16, 14, 5), np.uint8), np.diag([-1.0, -1, 1, 1])), out / "c_seg.nii.gz"
    )
    return find_cases(source), out


def names(cases) -> list[str]:
    return [case["case"] for case in cases]


def test_without_resume_all_are_pending(folders):
    cases, out = folders
    assert pending_cases(cases, out, resume=False) == cases


def test_cases_with_an_output_on_their_grid_are_left_out(folders):
    cases, out = folders
    assert pending_cases(cases, out, resume=True) == []
    (out / "b_seg.nii.gz").unlink()
    assert names(pending_cases(cases, out, resume=True)) == ["b"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: volume(path, (16, 14, 4)),
        lambda path: volume(path, shift=3.0),
        lambda path: path.write_bytes(path.read_bytes()[:30]),
        lambda path: path.write_text("hello"),
    ],
)
@pytest.mark.parametrize("case", ["a", "c"])
def test_outputs_of_another_grid_and_damaged_ones_are_made_again(case, spoil, folders):
    cases, out = folders
    spoil(out / f"{case}_seg.nii.gz")
    assert names(pending_cases(cases, out, resume=True)) == [case]


def test_probabilities_must_be_there_too_when_they_are_wanted(folders):
    cases, out = folders
    for name in ("a", "b_t00", "b_t01", "c"):
        (out / f"{name}_prob.nii.gz").touch()
    assert names(pending_cases(cases, out, resume=True, probabilities=True)) == ["b"]


def test_the_bundle_resumes(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    network = save_network(tmp_path / "model.pt")
    for name in ("a", "b"):
        volume(source / f"{name}.nii.gz")
    inference(source, out, network).run()
    written = {path.name: path.stat().st_mtime_ns for path in out.glob("*_seg.nii.gz")}
    (out / "b_seg.nii.gz").unlink()
    inference(source, out, network, resume=True).run()
    assert (out / "a_seg.nii.gz").stat().st_mtime_ns == written["a_seg.nii.gz"]
    assert (out / "b_seg.nii.gz").is_file()
    inference(source, out, network, resume=True).run()  # nothing is left to do
    (source / "c.nii.gz").write_text("hello")
    with pytest.raises(RuntimeError, match="run"):
        inference(source, out, network, resume=True).run()

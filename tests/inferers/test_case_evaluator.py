from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose

from shared_components.errors import InputError
from shared_components.inferers import (
    CaseDataset,
    CaseEvaluator,
    LabelsOnFileGridd,
    ReadAheadLoader,
    WriteSegmentationd,
    find_cases,
    inference_transforms,
    read_case_list,
    write_case_list,
)
from shared_components.inferers.case_list import FAULT


def volume(path: Path, shape=(16, 14, 5), bad: bool = False) -> None:
    voxels = np.random.default_rng(0).random(shape).astype(np.float32)
    if bad:
        voxels[(5, 5, 2, -1)[: len(shape)]] = np.inf
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 5.0, 1.0])), path)


class Slices(torch.nn.Module):
    """Two classes by sign; finds nothing in volumes of seven slices and refuses those of nine."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x):
        if x.shape[-1] == 9:
            raise self.error
        if x.shape[-1] == 7:
            x = -x.abs()
        return torch.cat([-x, x], dim=1)


def evaluator(folder: Path, error: Exception | None = None) -> CaseEvaluator:
    dataset = CaseDataset(find_cases(folder), inference_transforms(16, None, multiple=1), keep_going=True)
    return CaseEvaluator(
        device=torch.device("cpu"),
        val_data_loader=ReadAheadLoader(dataset, batch_size=1),
        network=Slices(error or RuntimeError("unused")),
        postprocessing=Compose([LabelsOnFileGridd(), WriteSegmentationd(folder / "out")]),
        output_dir=folder / "out",
    )


def outputs(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out").glob("*"))


def test_good_volumes_are_written_and_each_bad_one_has_a_line(tmp_path):
    volume(tmp_path / "a.nii")
    volume(tmp_path / "b.nii", bad=True)
    volume(tmp_path / "c.nii.gz", (16, 14, 5, 3), bad=True)  # its last frame
    volume(tmp_path / "d.nii.gz", (16, 14, 5, 2))
    (tmp_path / "e.nii.gz").write_text("hello")
    with pytest.raises(InputError) as raised:
        evaluator(tmp_path).run()
    lines = str(raised.value).split("\n")
    assert lines[0] == "3 of 5 volumes were not segmented:"
    assert [re.match(r".*/(.)\.nii", line)[1] for line in lines[1:]] == ["b", "c", "e"]
    assert outputs(tmp_path) == ["a_seg.nii.gz", "d_seg.nii.gz"]


def test_reasons_are_noted_in_the_case_list_and_may_be_told_later(tmp_path):
    volume(tmp_path / "a.nii")
    brain = nib.cifti2.BrainModelAxis.from_mask(
        np.ones((3, 3, 3), bool), affine=np.eye(4), name="thalamus_left"
    )
    axes = (nib.cifti2.ScalarAxis(["a", "b"]), brain)
    nib.save(nib.cifti2.Cifti2Image(np.ones((2, 27), np.float32), axes), tmp_path / "x.dscalar.nii")
    write_case_list(find_cases(tmp_path), {0: "air", 1: "body"}, tmp_path / "out")
    run = evaluator(tmp_path)
    run.run(tell=False)
    (line,) = run.faults.values()
    assert re.fullmatch(r".*x\.dscalar\.nii: a Cifti2 file, which holds no volume; [^\n]+", line)
    a, x = read_case_list(tmp_path / "out")[0]
    assert (FAULT in a, x[FAULT]) == (False, line)
    assert outputs(tmp_path) == ["a_seg.nii.gz", "cases.json"]
    with pytest.raises(InputError, match="1 of 2 volumes were not segmented"):
        evaluator(tmp_path).run()


def test_a_fault_of_one_volume_while_it_is_segmented_stops_no_other(tmp_path):
    volume(tmp_path / "a.nii", (16, 14, 9))
    volume(tmp_path / "b.nii")
    with pytest.raises(InputError, match=r"1 of 2 volumes were not segmented:\na: too long; cut it"):
        evaluator(tmp_path, InputError("a: too long; cut it")).run()
    assert outputs(tmp_path) == ["b_seg.nii.gz"]


def test_any_other_error_stops_the_run(tmp_path):
    volume(tmp_path / "a.nii", (16, 14, 9))
    volume(tmp_path / "b.nii")
    with pytest.raises(RuntimeError, match="a fault of the program"):
        evaluator(tmp_path, RuntimeError("a fault of the program")).run()


def test_a_single_volume_is_a_single_line_and_no_volumes_are_no_error(tmp_path):
    (tmp_path / "a.nii").write_text("hello")
    with pytest.raises(InputError, match=r"^\S+a\.nii: not an image that can be read [^\n]*$"):
        evaluator(tmp_path).run()
    empty = evaluator(tmp_path)
    empty.data_loader = []
    empty.run()


def test_at_the_end_it_says_how_many_are_where_and_in_which_nothing_was_found(tmp_path, capsys):
    volume(tmp_path / "a.nii")
    volume(tmp_path / "c.nii.gz", (16, 14, 5, 2))
    volume(tmp_path / "b.nii", (16, 14, 7))
    evaluator(tmp_path).run()
    said = capsys.readouterr().out
    assert f"3 volumes segmented, in {tmp_path}/out; nothing was found in b\n" in said
    assert f"pictures: python -m shared_components.report {tmp_path}/out" in said
    assert "note:" not in said
    rest = evaluator(tmp_path)
    rest.data_loader = []
    rest.run()
    assert "no volume is left to segment" in capsys.readouterr().out


def test_it_says_whose_voxel_sizes_were_assumed(tmp_path, capsys):
    volume(tmp_path / "a.nii")
    for name in "bcde":
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).random((16, 14, 5), np.float32))
    evaluator(tmp_path).run()
    said = capsys.readouterr().out
    assert "note: b, c, d and 1 more: the file states no voxel size, 1 mm was assumed\n" in said

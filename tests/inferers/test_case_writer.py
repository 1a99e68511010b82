from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from shared_components.inferers import WriteProbabilitiesd, WriteSegmentationd
from shared_components.inferers.case_writer import CaseWriter


class Recorder(CaseWriter):
    def write(self, case):
        self.written = [*getattr(self, "written", []), case[self.case_key]]


def test_cases_are_written_and_all_is_passed_on(tmp_path):
    recorder = Recorder(tmp_path, keys="scores")
    items = [{"case": "a", "scores": 1}, {"scores": 2}, {"case": "b", "scores": 3}]
    assert [recorder(item) for item in items] == items
    assert recorder.written == ["a", "b"]


@pytest.mark.parametrize("batched", [False, True])
def test_the_source_is_the_file_and_its_affine(tmp_path, batched):
    affine = np.diag([2.0, 3, 4, 1])
    meta = {"filename_or_obj": "x.nii", "original_affine": affine[None] if batched else affine}
    file, found = Recorder(tmp_path).source({"image": MetaTensor(torch.zeros(1, 2, 2, 2), meta=meta)})
    assert file == "x.nii"
    assert np.array_equal(found, affine)


@pytest.mark.parametrize("writer", [WriteSegmentationd, WriteProbabilitiesd])
def test_items_that_are_no_case_leave_no_file(tmp_path, writer):
    item = {"image": "anything", "pred": torch.zeros(1, 2, 3, 4)}
    assert writer(tmp_path / "out")(item) == item
    assert not (tmp_path / "out").exists()

from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.inferers import read_case_list, write_case_list


def test_what_is_written_is_read_with_whole_paths(tmp_path):
    cases = [
        {"image": "/data/a.nii", "case": "a"},
        {"image": "/data/b.nii", "case": "b", "label": "/data/l.nii"},
    ]
    write_case_list(cases, {0: "background", 1: "brain"}, tmp_path)
    read, labels = read_case_list(tmp_path)
    assert labels == {0: "background", 1: "brain"}
    assert read == [case | {"segmentation": str(tmp_path / f"{case['case']}_seg.nii.gz")} for case in cases]


def test_a_missing_or_damaged_list_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cases\.json: expected an inference run's case list, found none"):
        read_case_list(tmp_path)
    (tmp_path / "cases.json").write_text('{"cases": []}')
    with pytest.raises(InputError, match=r"cases\.json: expected a case list, found KeyError"):
        read_case_list(tmp_path)

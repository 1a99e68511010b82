from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.report.curves import curves_uri
from tests.report.pixels import pixels


def test_curves_need_a_step_and_numbers(tmp_path):
    (tmp_path / "good.csv").write_text("epoch,update,loss,note\n1,10,0.5,a\n2,20,nan,b\n3,30,0.2,c\n")
    assert pixels(curves_uri(tmp_path / "good.csv"))[..., 3].any()
    (tmp_path / "bad.csv").write_text("epoch,update\n1,10\n")
    with pytest.raises(
        InputError, match=r"bad\.csv: expected one of round, epoch, update and columns of numbers"
    ):
        curves_uri(tmp_path / "bad.csv")
    (tmp_path / "empty.csv").write_text("epoch,loss\n")
    with pytest.raises(InputError, match=r"empty\.csv: expected rows, found none"):
        curves_uri(tmp_path / "empty.csv")
    with pytest.raises(InputError, match=r"none\.csv: expected a table, found no file"):
        curves_uri(tmp_path / "none.csv")

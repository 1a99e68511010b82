from __future__ import annotations

import numpy as np
import pytest

from shared_components.errors import InputError
from shared_components.report.curves import curves_uri, frames_uri
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


def test_curves_have_the_colours_of_the_outlines():
    image = pixels(frames_uri(np.array([[5.0, 9.0], [3.0, 8.0], [5.0, 9.0]]), ["a", "b"]))
    for colour in ((0xF5, 0x9E, 0x0B), (0xE8, 0x79, 0xF9)):
        assert (np.abs(image[..., :3] - colour).max(axis=-1) < 30).mean() > 1e-4

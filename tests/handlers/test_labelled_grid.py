from __future__ import annotations

import pytest
import torch

from shared_components.handlers.labelled_grid import cell_height, labelled_grid


def test_pictures_stand_below_their_columns_and_beside_their_rows():
    levels = torch.tensor([-1.0, -0.5, 0.0, -0.5, 0.0, -1.0]).reshape(6, 1, 1, 1).expand(6, 1, 64, 64)
    sheet = labelled_grid(levels, rows=["first", "second"], columns=["a", "b", "c"])[0]
    height, left = 144, sheet.shape[1] - 3 * 144 - 2 * 2
    assert sheet.dtype == torch.uint8 and sheet.shape[0] == 21 + 2 * height + 2
    middles = [[int(sheet[21 + 72 + 146 * r, left + 72 + 146 * c]) for c in range(3)] for r in range(2)]
    assert middles == [[0, 64, 128], [64, 128, 0]]
    margin = sheet[21:, :left]
    assert (margin[:144] < 128).any() and (margin[146:] < 128).any()  # the rows' names
    assert all((sheet[:21, left + 146 * c : left + 146 * c + 144] < 128).any() for c in range(3))


def test_the_first_row_and_column_can_be_set_apart():
    images = torch.full((4, 1, 32, 32), -1.0)
    close = labelled_grid(images, ["", ""], ["", ""])
    apart = labelled_grid(images, ["", ""], ["", ""], first_apart=True)
    assert [b - a for a, b in zip(close.shape, apart.shape, strict=True)] == [0, 8, 8]
    assert (close == 255).sum() < (apart == 255).sum()


@pytest.mark.parametrize(
    ("columns", "expected"), [(2, 144), (8, 126), (30, 64)], ids=["large", "fitting", "small"]
)
def test_slices_share_the_width_within_limits(columns, expected):
    assert cell_height(96, 96, columns, 1024) == expected


def test_slices_keep_their_proportions():
    wide = labelled_grid(torch.full((1, 1, 80, 40), -1.0), ["x"], ["y"])[0]
    dark = (wide[21:] == 0).nonzero()
    height, width = (dark.max(0).values - dark.min(0).values + 1).tolist()
    assert (height, wide.shape[0]) == (144, 21 + 144) and width >= 288

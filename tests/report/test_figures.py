from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shared_components.errors import InputError
from shared_components.report.figures import file_uri, outlines_uri, read_slices, slices_uri
from tests.report.pixels import pixels


def test_slices_stand_beside_each_other_at_their_grey_values():
    row = np.stack([np.full((8, 8), value) for value in (-1.0, 0.0, 1.0)])
    sheet = pixels(slices_uri([row, row[:2]], zoom=2))[..., 0]
    assert sheet.shape == (2 * 16 + 3, 3 * (16 + 3))
    assert [sheet[8, 8 + 19 * index] for index in range(3)] == [0, 127, 255]
    assert sheet[-8, -8] == 0  # the second line is shorter


def test_only_so_many_slices_are_shown_evenly_spaced():
    row = np.linspace(-1, 1, 21)[:, None, None] * np.ones((21, 4, 4))
    sheet = pixels(slices_uri([row], columns=3, zoom=1))[..., 0]
    assert [sheet[2, 2 + 7 * index] for index in range(3)] == [0, 127, 255]


def test_outlines_are_drawn_in_the_colours_of_reference_and_class():
    planes = np.zeros((2, 30, 30))
    reference, predicted = np.zeros((2, 2, 30, 30), int)
    reference[:, 4:12, 4:12] = 1
    predicted[:, 18:26, 18:26] = 1

    def share(image, colour):
        return (np.abs(image[..., :3] - colour).max(axis=-1) < 30).mean()

    cyan, amber = (0x22, 0xD3, 0xEE), (0xF5, 0x9E, 0x0B)
    both = pixels(outlines_uri(planes, reference, {"ours": predicted}, [1]))
    alone = pixels(outlines_uri(planes, None, {"ours": predicted}, [1]))
    assert share(both, cyan) > 1e-3
    assert share(both, amber) > 1e-3
    assert share(alone, cyan) == 0


def test_picture_and_slice_files_are_checked(tmp_path):
    Image.new("P", (5, 4)).save(tmp_path / "good.png")
    assert pixels(file_uri(tmp_path / "good.png")).shape == (4, 5, 4)
    (tmp_path / "bad.png").write_text("no picture")
    for name in ("bad.png", "none.png"):
        with pytest.raises(InputError, match=f"{name[:-4]}\\.png: expected a picture"):
            file_uri(tmp_path / name)
    np.savez(tmp_path / "flat.npz", row=np.zeros(4))
    with pytest.raises(InputError, match=r"flat\.npz: expected 'row' as \(N, H, W\)"):
        read_slices(tmp_path / "flat.npz")
    np.savez(tmp_path / "objects.npz", row=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"objects\.npz: expected slices"):
        read_slices(tmp_path / "objects.npz")

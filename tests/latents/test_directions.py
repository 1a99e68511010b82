from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from shared_components.errors import InputError
from shared_components.handlers.pictures import labelled_grid
from shared_components.latents.directions import slice_at, write_directions
from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import (
    LatentEdit,
    means_by_position,
    semantic_directions,
    typical_distance,
)
from shared_components.networks.volume_generator import VolumeGenerator
from tests.networks.small import small_generator

DESCRIPTION = {"domains": ["t1", "t2"]}


@pytest.fixture
def generator() -> Generator:
    return small_generator().eval().requires_grad_(False)


def test_pictures_and_numbers(generator, tmp_path):
    write_directions(generator, DESCRIPTION, torch.randn(8), 1, tmp_path, 3, (-1.0, 0.0, 1.0), rows=[0, 3])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["directions.png", "latents.pt", "means.png"]
    heights, widths = zip(
        *(np.array(Image.open(tmp_path / f"{n}.png")).shape for n in ("directions", "means")), strict=True
    )
    assert heights[0] > 1.3 * heights[1] and widths[1] > 1.5 * widths[0]  # 3 × 3 beside 2 × 8
    found = torch.load(tmp_path / "latents.pt", weights_only=True)
    assert torch.equal(found["means"], means_by_position(generator))
    assert torch.equal(found["directions"], semantic_directions(generator, [0, 3]).vectors)
    assert found["distance"] == typical_distance(generator) and found["domains"] == ["t1", "t2"]
    assert float(found["shares"].sum()) == pytest.approx(1)


def test_a_slice_is_that_of_its_height_and_of_none_where_there_is_none(generator):
    z, step = torch.randn(8), torch.zeros(8, 12)
    for height in (0.2, 0.9):
        expected = generator(z[None], torch.tensor([1]), torch.tensor([height]), "none")
        assert torch.allclose(slice_at(generator, z, 1, height, step), expected, atol=1e-6)
    generator.remember(torch.tensor([1]), torch.tensor([torch.nan]))
    expected = generator(z[None], torch.tensor([1]), torch.tensor([torch.nan]), "none")
    assert torch.allclose(slice_at(generator, z, 1, 0.2, step), expected, atol=1e-6)


def test_the_picture_shows_what_drawing_with_these_options_gives(generator, tmp_path):
    z = torch.randn(8)
    write_directions(generator, DESCRIPTION, z, 1, tmp_path, 1, (0.0, 2.0), height=0.5)
    sheet = np.array(Image.open(tmp_path / "directions.png")).astype(int)
    edit = LatentEdit(generator, direction=0, strength=2.0)
    image = VolumeGenerator(generator, 1, 1, noise=False, edit=edit)(z[None])[..., 0]
    expected = labelled_grid(image, [""], [""])[0].numpy().astype(int)[-144:, -144:]
    assert (
        np.abs(sheet[-144:, -144:] - expected).max() <= 1 < np.abs(sheet[-144:, -290:-146] - expected).max()
    )


@pytest.mark.parametrize("height", [0, 1])
def test_whole_heights_are_heights(generator, height):
    z, step = torch.randn(8), torch.zeros(8, 12)
    whole, real = (slice_at(generator, z, 1, at, step) for at in (height, float(height)))
    assert torch.equal(whole, real)


def test_rows_that_are_not_there_are_refused(generator, tmp_path):
    with pytest.raises(InputError, match="direction_rows"):
        write_directions(generator, DESCRIPTION, torch.randn(8), 0, tmp_path, rows=[0, 9])
    assert list(tmp_path.iterdir()) == []

from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from shared_components.handlers.pictures import (
    FactoryPictures,
    TranslationPictures,
    cell_height,
    labelled_grid,
    picture_grid,
    save_picture,
)
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.factory import FactoryNetwork
from shared_components.networks.generator import Generator
from shared_components.networks.translator import AdaptationNetwork, Translator


def test_grid_places_pictures_row_by_row_with_white_between():
    images = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1).expand(3, 1, 2, 2)
    grid = picture_grid(images, columns=2)
    expected = torch.full((5, 5), 255)
    expected[:2, :2], expected[:2, 3:], expected[3:, :2] = 0, 128, 255
    assert grid.dtype == torch.uint8 and torch.equal(grid[0].long(), expected)


def test_grid_without_gap_clamps_what_lies_outside():
    grid = picture_grid(torch.tensor([-3.0, 2.0]).reshape(2, 1, 1, 1), columns=2, gap=0)
    assert grid.tolist() == [[[0, 255]]]


def test_slices_stand_upright():
    """The second axis, towards the front of an axial slice in RAS, goes up."""
    image = torch.full((1, 1, 2, 3), -1.0)
    image[0, 0, 0, 2] = 1.0  # at the left, in front
    assert picture_grid(image, columns=1).tolist() == [[[255, 0], [0, 0], [0, 0]]]


def test_saved_picture_is_enlarged(tmp_path):
    path = save_picture(tmp_path / "new" / "p.png", torch.full((1, 4, 6), 90, dtype=torch.uint8), zoom=2)
    with Image.open(path) as picture:
        assert picture.size == (12, 8) and np.asarray(picture).min() == np.asarray(picture).max() == 90


@pytest.fixture
def network() -> FactoryNetwork:
    generator = Generator(16, 2, 4, channels=(4, 4, 4), z_dim=4, w_dim=4, mapping_layers=1, mapping_lr=0.01)
    return FactoryNetwork(generator, Discriminator(16, 2, 4, channels=(4, 4, 4), width=4))


def run(handler, epochs: int) -> None:
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    engine.run([0], max_epochs=epochs)


def test_factory_pictures_come_every_few_epochs_and_draw_nothing_from_training(network, tmp_path):
    before = torch.get_rng_state()
    run(FactoryPictures(network, tmp_path, ["a", "b"], every=2), epochs=5)
    assert torch.equal(before, torch.get_rng_state())
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["factory_00002.png", "factory_00004.png"]
    assert list((tmp_path / "tensorboard" / "pictures").glob("events*"))


def test_pictures_of_a_longer_run_before_are_no_longer_the_newest(network, tmp_path):
    run(FactoryPictures(network, tmp_path, ["a", "b"], every=2), epochs=4)
    (tmp_path / "pictures" / "translation_00009.png").touch()
    run(FactoryPictures(network, tmp_path, ["a", "b"], every=2), epochs=2)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["factory_00002.png", "translation_00009.png"]


def test_large_pictures_stay_within_what_programs_open(tmp_path):
    grid = torch.zeros(1, 4, 12_000, dtype=torch.uint8)
    with Image.open(save_picture(tmp_path / "p.png", grid)) as picture:
        assert picture.size == (9000, 3)


def test_factory_pictures_show_the_same_latents_in_every_domain_each_time(network, tmp_path):
    handler = FactoryPictures(network, tmp_path, ["a", "b"], columns=3)
    images = handler.draw()
    assert images.shape == (6, 1, 16, 16) and torch.equal(images, handler.draw())
    assert not torch.equal(images[0], images[1])


def test_no_pictures_when_switched_off(network, tmp_path):
    run(FactoryPictures(network, tmp_path, ["a", "b"], every=0), epochs=2)
    run(TranslationPictures(None, None, tmp_path, every=1), epochs=2)
    assert not list(tmp_path.iterdir())


def test_run_shorter_than_the_distance_of_two_pictures_has_one(tmp_path):
    pairs = [{"source": torch.zeros(1, 16, 16), "twin": torch.zeros(1, 16, 16)}]
    adaptation = AdaptationNetwork(torch.nn.Identity(), Translator(channels=(4, 4)), torch.nn.Identity())
    run(TranslationPictures(adaptation, pairs, tmp_path, every=5, columns=1), epochs=3)
    assert [file.name for file in (tmp_path / "pictures").iterdir()] == ["translation_00003.png"]


def test_translations_stand_between_source_and_twin(tmp_path):
    pairs = [
        {"source": torch.full((1, 16, 16), n / 10), "twin": torch.full((1, 16, 16), -n / 10)}
        for n in range(4)
    ]
    translator = Translator(channels=(4, 4))
    adaptation = AdaptationNetwork(torch.nn.Identity(), translator, torch.nn.Identity())
    handler = TranslationPictures(adaptation, pairs, tmp_path, columns=2)
    before = torch.get_rng_state()
    rows = handler.draw()
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(rows[:2], torch.stack([pairs[0]["source"], pairs[2]["source"]]))
    assert torch.equal(rows[4:], torch.stack([pairs[0]["twin"], pairs[2]["twin"]]))
    assert rows[2:4].abs().max() < 1
    run(handler, epochs=1)
    assert (tmp_path / "pictures" / "translation_00001.png").is_file()


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

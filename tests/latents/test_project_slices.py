from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared_components.audit.client_slices import ClientSlices
from shared_components.errors import InputError
from shared_components.handlers.pictures import labelled_grid
from shared_components.latents.project_slices import (
    SliceProjector,
    dissimilarity,
    image_items,
    project,
    slice_errors,
    ssim_window,
    unit_range,
)
from shared_components.networks.generator import Generator
from shared_components.networks.latent_edit import mean_at, means_by_position
from tests.bundles.tiny import make_root
from tests.networks.small import small_generator

READING = {"slices_per_volume": 3, "percentiles": (0.5, 99.5)}
QUICK = {"updates": 3}


@pytest.fixture
def generator() -> Generator:
    return small_generator().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return make_root(tmp_path_factory.mktemp("client") / "north", "t1")


def described(generator: Generator) -> dict:
    geometry = {"spacing": 4.0, "orientation": "RAS", "domains": ["t1", "t2"]}
    return {"generator": generator.arguments, **geometry}


def test_table_latents_and_pictures_of_a_root(generator, root, tmp_path, capsys):
    projector = SliceProjector(generator, described(generator), tmp_path, "t2", 2, READING, QUICK)
    mean = projector.run(image_items(root, "training"))
    with (tmp_path / "projection.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "domain", "slice", "height", "mae", "ssim", "psnr"]
    latents = torch.load(tmp_path / "projection.pt", weights_only=True)
    assert sorted(latents) == sorted({row["case"] for row in rows}) and len(latents) == 3
    for case, found in latents.items():
        own = [row for row in rows if row["case"] == case]
        assert found["w_plus"].shape == (3, 8, 12) and found["domain"] == "t1"
        assert [int(row["slice"]) for row in own] == found["slices"].tolist()
        assert [float(row["height"]) for row in own] == pytest.approx(
            [(n + 0.5) / 6 for n in found["slices"].tolist()], abs=1e-4
        )
        sheet = np.array(Image.open(tmp_path / f"{case}_projection.png"))
        assert sheet.shape[1] > 3 * 64 and sheet.std() > 10
    assert mean["mae"] == pytest.approx(np.mean([float(row["mae"]) for row in rows]))
    said = capsys.readouterr().err
    assert "projected 9 slices: MAE" in said and str(tmp_path / "projection.csv") in said


def test_another_domain_is_the_difference_of_the_means_away(generator, root, tmp_path):
    projector = SliceProjector(
        generator, described(generator), tmp_path, "t2", reading=READING, settings=QUICK
    )
    projector.run(image_items(root, "test"))
    found = torch.load(tmp_path / "projection.pt", weights_only=True)["test0"]
    heights = (found["slices"] + 0.5) / 6
    one, other = (mean_at(means_by_position(generator), torch.full((3,), k), heights) for k in (0, 1))
    moved = found["w_plus"] + (other - one)
    images = torch.cat([generator.synthesis(w, "none").image for w in (found["w_plus"], moved)])
    expected = labelled_grid(images, ["drawn", "as t2"], ["", "", ""])[0].numpy().astype(int)
    sheet = np.array(Image.open(tmp_path / "test0_projection.png")).astype(int)
    high, wide = (expected.shape[0] - 21 - 2) // 2, expected.shape[1]
    for row, place in ((0, 1), (1, 3)):  # of the expected sheet, and of the four rows of the picture
        pixels = [
            of[21 + at * (high + 2) :][:high, -3 * high - 4 :] for of, at in ((expected, row), (sheet, place))
        ]
        assert pixels[0].shape == pixels[1].shape and np.abs(pixels[0] - pixels[1]).max() <= 1
    assert wide < sheet.shape[1]


def test_errors_are_those_of_intensities_from_0_to_1():
    real = torch.rand(2, 1, 24, 24) - 0.5
    slices = ClientSlices(
        real, torch.tensor([0.25, torch.nan]), torch.zeros(2), torch.zeros(2), torch.tensor([3, 0]), 8
    )
    found = slice_errors(slices, real + 0.2)
    assert [row["slice"] for row in found] == [3, 0] and found[0]["height"] == 0.25
    for row in found:
        assert row["mae"] == pytest.approx(0.1, abs=1e-6) and row["psnr"] == pytest.approx(20, abs=1e-3)
        assert 0.5 < row["ssim"] < 1
    assert slice_errors(slices, real)[0]["ssim"] == pytest.approx(1, abs=1e-6)


def test_one_file_needs_its_domain(root, tmp_path):
    image = next((root / "images").glob("*.nii.gz"))
    assert image_items(image, "test", "t2") == [
        {"image": str(image), "subject": image.name.split(".")[0], "domain": "t2"}
    ]
    with pytest.raises(InputError, match=r"expected a client data root .* --image_domain"):
        image_items(image, "test")
    assert {item["domain"] for item in image_items([root], "test")} == {"t1"}


def test_an_empty_list_and_unknown_domains_are_refused(generator, root, tmp_path):
    empty = shutil.copytree(root, tmp_path / "empty")
    content = json.loads((root / "dataset.json").read_text()) | {"test": []}
    (empty / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="expected images in its 'test' list, found none"):
        image_items(empty, "test")
    with pytest.raises(InputError, match=r"to_domain: expected one of .*\['t1', 't2'\], found 'ct'"):
        SliceProjector(generator, described(generator), tmp_path, "ct")
    projector = SliceProjector(generator, described(generator), tmp_path)
    items = image_items(next((root / "images").glob("*.nii.gz")), "test", "ct")
    with pytest.raises(InputError, match=r"image_domain: expected one of .* found 'ct'"):
        projector.run(items)


def test_two_volumes_of_one_name_are_refused(generator, root, tmp_path):
    shutil.copytree(root, tmp_path / "south")
    items = image_items([root, tmp_path / "south"], "training")
    projector = SliceProjector(generator, described(generator), tmp_path / "out", reading=READING)
    with pytest.raises(InputError, match="has the same name, which their results would share"):
        projector.run(items)
    assert not (tmp_path / "out").exists()


def test_an_unreadable_volume_is_named_when_the_others_are_written(generator, root, tmp_path):
    south = shutil.copytree(root, tmp_path / "south")
    items = image_items(south, "training")
    Path(items[0]["image"]).write_text("no image")
    projector = SliceProjector(generator, described(generator), tmp_path, reading=READING, settings=QUICK)
    with pytest.raises(InputError) as told:
        projector.run(items)
    lines = str(told.value).splitlines()
    assert lines[0] == "1 of 3 volumes were not projected:" and lines[1].startswith(items[0]["image"])
    latents = torch.load(tmp_path / "projection.pt", weights_only=True)
    assert sorted(latents) == sorted(item["subject"] for item in items[1:])
    assert len((tmp_path / "projection.csv").read_text().splitlines()) == 1 + 2 * 3
    with pytest.raises(InputError, match=r"^[^\n]*: not an image"):
        SliceProjector(generator, described(generator), tmp_path / "none", reading=READING).run(items[:1])


@pytest.fixture
def drawing() -> Generator:
    return small_generator(mapping_lr=1.0).eval().requires_grad_(False)


@pytest.fixture
def slices(drawing) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (3, 1, 24, 24) that the generator can draw, and where to start, (3, rows, w_dim)."""
    w_plus = drawing.w_plus(torch.randn(6, 8), torch.zeros(6, dtype=torch.long), torch.full((6,), 0.5))
    return drawing.synthesis(w_plus[:3], "none").image.clamp(-1, 1), w_plus[3:]


def error(drawing, w_plus, images) -> torch.Tensor:
    return (drawing.synthesis(w_plus, "none").image - images).square().flatten(1).mean(1)


def test_what_the_generator_can_draw_is_found(drawing, slices):
    images, start = slices
    before = error(drawing, start, images)
    w_plus = project(drawing, images, start, updates=150, rate=0.1, prior_weight=0.0)
    assert w_plus.shape == (3, 8, 12) and not w_plus.requires_grad
    assert bool((error(drawing, w_plus, images) < 0.1 * before).all())


def test_slices_do_not_influence_each_other(drawing, slices):
    images, start = slices
    together = project(drawing, images, start, updates=20)
    alone = torch.cat(
        [project(drawing, x, w, updates=20) for x, w in zip(images.split(1), start.split(1), strict=True)]
    )
    assert torch.allclose(together, alone, atol=1e-3)


def test_one_latent_for_all_rows_is_less_exact(drawing, slices):
    images, start = slices
    images = images.flip(2)  # what it cannot draw
    one, own = (project(drawing, images, start, 60, one_latent=single) for single in (True, False))
    assert torch.equal(one, one[:, :1].expand(-1, 8, -1)) and not torch.allclose(own[:, 0], own[:, 1])
    assert float(error(drawing, one, images).mean()) > 1.1 * float(error(drawing, own, images).mean())


def test_a_heavy_prior_holds_the_latents_at_their_start(drawing, slices):
    images, start = slices
    off = [
        float((project(drawing, images, start, 60, prior_weight=p) - start).square().mean())
        for p in (0.0, 1.0, 1000.0)
    ]
    assert off[0] > off[1] > off[2]
    assert off[2] < 0.01 * off[0]


def test_dissimilarity_is_none_of_equal_images_and_its_window_fits():
    images = torch.rand(2, 1, 24, 24)
    assert float(dissimilarity(24)(images, images)) == pytest.approx(0, abs=1e-6)
    assert float(dissimilarity(24)(images, 1 - images)) > 0.5
    assert [ssim_window(size) for size in (8, 9, 10, 12, 64)] == [7, 9, 9, 11, 11]
    np.testing.assert_allclose(unit_range(torch.tensor([-2.0, -1.0, 0.0, 1.0])), [0, 0, 0.5, 1])
